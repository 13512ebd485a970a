//! What the tracker tells the stages after it.

use crate::{App, Direction, FlowKey, FlowStats};
use serde::Serialize;
use wire::Addr;
use wire::message::{Message, Side};

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

impl EntityId {
    /// No entity.
    pub(crate) const NONE: Self = Self { slot: u32::MAX, generation: 0 };
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
    /// What was said, as far as it was understood.
    pub talk: Talk,
}

/// A flow's record as [`crate::Tracker::flow`] hands it out: that of most is kept, that of a flow of few packets may have to
/// be made from these.
#[derive(Clone, Debug)]
pub enum Record<'a> {
    /// In the tracker.
    Kept(&'a FlowRecord),
    /// Made for the caller.
    Made(Box<FlowRecord>),
}

impl std::ops::Deref for Record<'_> {
    type Target = FlowRecord;

    fn deref(&self) -> &FlowRecord {
        match self {
            Self::Kept(record) => record,
            Self::Made(record) => record,
        }
    }
}

impl Record<'_> {
    /// For keeping.
    #[must_use]
    pub fn into_box(self) -> Box<FlowRecord> {
        match self {
            Self::Kept(record) => Box::new(*record),
            Self::Made(record) => record,
        }
    }
}

/// What a session learnt of a flow's content; all zero where nothing was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Talk {
    /// Application by content; `Unknown` where it was not recognised.
    pub app: App,
    /// Whether an FTP user logged in with a password.
    pub ftp_login: bool,
    /// HTTP requests on the connection (pipelined depth).
    pub http_requests: u16,
    /// Of those, with a method of RFC 9110 §9.3.
    pub http_methods: u16,
    /// FTP commands.
    pub ftp_commands: u16,
    /// Bytes of HTTP response bodies, without chunk framing.
    pub http_body_bytes: u64,
}

impl Talk {
    /// Nothing was understood.
    pub const NOTHING: Self = Self {
        app: App::Unknown,
        ftp_login: false,
        http_requests: 0,
        http_methods: 0,
        ftp_commands: 0,
        http_body_bytes: 0,
    };

    /// Of the flow that goes on under the same key: what it is stays known, what was said begins at zero.
    #[must_use]
    pub fn resumed(&self) -> Self {
        Self { app: self.app, ftp_login: self.ftp_login, ..Self::default() }
    }
}

/// What reassembly or the fragment table found odd about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// A TCP segment repeats bytes with other content.
    SegmentConflict,
    /// Bytes of a TCP stream are missing for good.
    StreamGap,
    /// More was left unread or out of order than the limits allow.
    StreamOverrun,
    /// A fragment overlaps an earlier one of its datagram.
    FragmentOverlap,
    /// A first fragment too short for its transport header, or another that is not the last and is tiny.
    FragmentTiny,
    /// A later fragment whose first was not seen.
    FragmentOrphan,
}

impl FlowRecord {
    /// Of no flow.
    pub(crate) const NOTHING: Self = Self {
        key: FlowKey {
            lo: Addr::UNSPECIFIED,
            hi: Addr::UNSPECIFIED,
            lo_port: 0,
            hi_port: 0,
            vlan: 0,
            protocol: 0,
            tunnel: 0,
        },
        stats: FlowStats::EMPTY,
        outcome: Outcome::Pending,
        talk: Talk::NOTHING,
    };

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

    /// The application, by session if it was recognised there, else by the first bytes.
    #[must_use]
    pub fn app(&self) -> App {
        match self.talk.app {
            App::Unknown => crate::app::of_head(&self.stats, &self.key),
            known => known,
        }
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
    /// A session recognised the application by content. At most once a flow.
    Recognised(FlowId, App),
    /// A session completed a message.
    Message(FlowId, Side, Box<Message>),
    /// Reassembly or fragments were odd; at most once a flow and kind.
    Odd(FlowId, Oddity),
    /// A flow left the table.
    FlowEnded(Box<FlowRecord>, EndReason),
    /// An entity's windows changed in a way worth judging: a failure, a handshake, or another
    /// [`crate::window::JUDGE_EVERY`] packets.
    Active(EntityId),
}
