//! What the tracker tells the stages after it.

use crate::{Direction, FlowKey, FlowStats};
use serde::Serialize;
use wire::Addr;

/// Handle of a live flow; stale handles are detected, not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl FlowId {
    /// No flow.
    pub(crate) const NONE: Self = Self { slot: u32::MAX, generation: 0 };
}

/// Handle of a live entity (one address in one role); stale handles are detected, not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntityId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// How a flow's opening turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not known yet.
    Pending,
    /// The responder answered and nothing below applies.
    Answered,
    /// The responder's first answer was RST.
    Refused,
    /// No answer within the grace time.
    Unanswered,
    /// The initiator reset the connection before either side sent payload (half-open and connect scans do).
    Aborted,
}

/// Why a flow left the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Both FIN or a RST, and the linger time passed.
    Closed,
    /// Nothing for the idle time.
    Idle,
    /// Longer than the active timeout: reported and begun anew under the same key.
    Active,
    /// A new SYN reused the key.
    Reused,
    /// The table was full.
    Evicted,
    /// End of input.
    Shutdown,
}

/// A flow as reported when it leaves the table, or as looked at while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FlowRecord {
    /// Identity.
    pub key: FlowKey,
    /// Accumulators.
    pub stats: FlowStats,
    /// How the opening turned out.
    pub outcome: Outcome,
}

impl FlowRecord {
    /// Address and port of the side that began the flow.
    #[must_use]
    pub const fn initiator(&self) -> (Addr, u16) {
        self.key.source(self.stats.initiator)
    }

    /// Address and port of the side that was contacted.
    #[must_use]
    pub const fn responder(&self) -> (Addr, u16) {
        self.key.source(self.stats.initiator.reverse())
    }

    /// Time of the first packet in either direction, ns.
    #[must_use]
    pub const fn first_ns(&self) -> u64 {
        self.stats.first_ns()
    }

    /// Time of the last packet in either direction, ns.
    #[must_use]
    pub const fn last_ns(&self) -> u64 {
        self.stats.last_ns()
    }

    /// Direction of the initiator's packets.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.stats.initiator
    }
}

/// Something the stages after the tracker may want to look at. Handles stay valid until the next call into the tracker.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A flow's first packet.
    FlowStarted(FlowId),
    /// A flow's opening failed: [`Outcome::Refused`], `Unanswered` or `Aborted`.
    FlowFailed(FlowId),
    /// A TCP flow closed (both FIN or RST); its counts are complete but for a last acknowledgement. At most once a flow.
    FlowClosed(FlowId),
    /// A flow left the table.
    FlowEnded(Box<FlowRecord>, EndReason),
    /// An entity's windows changed in a way worth judging: a failure, a handshake, or another
    /// [`crate::window::JUDGE_EVERY`] packets.
    Active(EntityId),
}
