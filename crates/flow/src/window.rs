//! What one entity did in 1, 10 and 60 s.

use serde::{Deserialize, Serialize};

/// Length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Span {
    /// One second.
    #[serde(rename = "1s")]
    S1 = 0,
    /// Ten seconds.
    #[serde(rename = "10s")]
    S10 = 1,
    /// One minute.
    #[serde(rename = "60s")]
    S60 = 2,
}

impl Span {
    /// All spans, shortest first; the discriminant is the index.
    pub const ALL: [Self; 3] = [Self::S1, Self::S10, Self::S60];

    /// Length in nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        match self {
            Self::S1 => 1_000_000_000,
            Self::S10 => 10_000_000_000,
            Self::S60 => 60_000_000_000,
        }
    }
}

/// Which side of its flows an entity is judged on. The same address has one set of windows per role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one who begins flows: a possible actor.
    Source = 0,
    /// The one who is contacted: a possible victim.
    Target = 1,
}

/// Counts of one entity in one role over one window. For [`Role::Source`] "sent" is by the entity and peers are whom it
/// contacted; for [`Role::Target`] "sent" is towards the entity and peers are who contacted it.
///
/// A window opens with the entity's first activity after the previous one ran out, and lasts its span: a burst from a
/// new source is therefore never split. A flow's outcome counts in the window in which it becomes known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// When it opened, ns.
    pub start_ns: u64,
    /// Packets from initiator to responder.
    pub packets: u64,
    /// IP bytes from initiator to responder.
    pub bytes: u64,
    /// Packets back.
    pub reply_packets: u64,
    /// IP bytes back.
    pub reply_bytes: u64,
    /// TCP packets from initiator to responder.
    pub tcp_packets: u64,
    /// UDP packets from initiator to responder.
    pub udp_packets: u64,
    /// UDP packets back.
    pub udp_reply_packets: u64,
    /// ICMP and ICMPv6 packets from initiator to responder.
    pub icmp_packets: u64,
    /// SYN without ACK from the initiator.
    pub syn_packets: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Flows begun.
    pub flows: u64,
    /// Flows that failed: [`crate::Outcome::Refused`], `Unanswered` or `Aborted`.
    pub failed_flows: u64,
    /// Of those, flows whose first packet had no SYN, RST or ACK (FIN, NULL and Xmas probes).
    pub stealth_flows: u64,
    /// Sets below, allocated on first need.
    pub sets: Option<Box<WindowSets>>,
}

/// Distinct counts of a window; see [`crate::sketch::Distinct`] for accuracy and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WindowSets {}
