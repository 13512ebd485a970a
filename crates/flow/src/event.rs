//! What the tracker tells the stages after it.

use crate::fragment::Finding;
use crate::{App, Direction, FlowKey, FlowStats};
use serde::Serialize;
use wire::Addr;
use wire::message::{Message, Side};

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

/// What is worth knowing about a flow wherever something is said about it: whose it is, and as far as it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Identity.
    pub key: FlowKey,
    /// Time of the first packet in either direction, ns.
    pub first_ns: u64,
    /// TCP: receive window of the initiator's first packet, in bytes and without scale; `None` unless a SYN was seen.
    pub syn_window: Option<u16>,
    /// Direction of the initiator's packets.
    pub initiator: Direction,
    /// Application by content; `Unknown` where it was not recognised.
    pub app: App,
    /// Whether the side that was contacted has sent payload.
    pub replied: bool,
}

// An event is to fit into two cache lines.
const _: () = assert!(size_of::<Conversation>() <= 64 && size_of::<Event>() <= 128);

impl Conversation {
    /// What is worth knowing of a whole record.
    #[must_use]
    pub fn of(record: &FlowRecord) -> Self {
        Self::from_parts(&record.key, &record.stats, record.talk.app)
    }

    #[inline]
    pub(crate) fn from_parts(key: &FlowKey, stats: &FlowStats, app: App) -> Self {
        Self {
            key: *key,
            first_ns: stats.first_ns(),
            syn_window: (stats.syn_ns != 0).then(|| stats.from_initiator().first_window),
            initiator: stats.initiator,
            app,
            replied: stats.from_responder().data_packets > 0,
        }
    }

    /// Address and port of the side that began the flow.
    #[must_use]
    pub const fn initiator(&self) -> (Addr, u16) {
        self.key.source(self.initiator)
    }

    /// Address and port of the side that was contacted.
    #[must_use]
    pub const fn responder(&self) -> (Addr, u16) {
        self.key.source(self.initiator.reverse())
    }

    /// Community ID with a seed, as [`FlowRecord::community_id`].
    #[must_use]
    pub fn community_id(&self, seed: u16) -> String {
        crate::community_id_from(&self.key, self.initiator, seed)
    }
}

/// What packets of one flow add to windows and rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// IP bytes from initiator to responder.
    pub bytes: u64,
    /// IP bytes back.
    pub reply_bytes: u64,
    /// Packets from initiator to responder.
    pub packets: u32,
    /// Packets back.
    pub reply_packets: u32,
    /// Packets with SYN from the initiator.
    pub syn_packets: u32,
    /// Packets with RST from the responder.
    pub reply_resets: u32,
}

impl Share {
    /// Whether it adds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets == 0 && self.reply_packets == 0
    }

    /// Packets both ways.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.packets as u64 + self.reply_packets as u64
    }
}

/// What a flow's beginning was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// TCP with SYN and neither ACK nor RST.
    pub syn: bool,
    /// TCP with none of SYN, ACK and RST (FIN, NULL and Xmas probes).
    pub stealth: bool,
    /// An ICMP or ICMPv6 echo request.
    pub echo: bool,
}

/// Something a [`crate::Tracker`] tells the stages after it. It stands for itself: nothing in it is to be looked up, so
/// that these stages may be on another thread and know no flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The tracker's clock when it was told, ns. Goes back only where the clock was set back by more than
    /// [`crate::tracker::CLOCK_RESTART_NS`]: then all is begun anew.
    pub at_ns: u64,
    /// The flow it is about, as it stood then.
    pub flow: Conversation,
    /// What happened.
    pub what: What,
}

/// What happened to a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// It began, at [`Conversation::first_ns`].
    Started {
        /// How; `None` if it counts as no beginning: it continues one cut by the active timeout, or only its payload is
        /// known so far ([`Self::Opened`] follows).
        opening: Option<Opening>,
        /// Its first packet; nothing if its counts come as snapshots.
        share: Share,
    },
    /// The first counts of a flow of which only payload was known: it began at [`Conversation::first_ns`].
    Opened(Opening),
    /// Packets of it, none before `begins_ns` and none after `last_ns`: of the same tick, or between two snapshots. Told
    /// before anything else is told of the flow, at each [`crate::window::JUDGE_EVERY`]th packet and at ticks.
    Counted {
        /// The packets.
        share: Share,
        /// None was before, ns.
        begins_ns: u64,
        /// None was after, ns; not after [`Event::at_ns`].
        last_ns: u64,
    },
    /// Its opening failed at `due_ns`. At most once a flow.
    Failed {
        /// [`Outcome::Refused`], `Unanswered` or `Aborted`.
        outcome: Outcome,
        /// When, ns: an answer was due then.
        due_ns: u64,
    },
    /// Its TCP handshake completed. At most once a flow.
    Handshake {
        /// It began with a SYN.
        with_syn: bool,
        /// Time since it began, in whole milliseconds, ns.
        age_ns: u64,
    },
    /// A packet of the initiator was an odd fragment.
    Fragment(Finding),
    /// Its application was recognised by content: [`Conversation::app`]. At most once a flow.
    Recognised,
    /// A session completed a message.
    Message(Side, Box<Message>),
    /// Reassembly or fragments were odd; at most once a flow and kind.
    Odd(Oddity),
    /// It has had another [`crate::window::JUDGE_EVERY`] packets, or an odd fragment.
    Grown(Box<FlowRecord>),
    /// A TCP flow closed (both FIN or RST); its counts are complete but for a last acknowledgement. At most once a flow.
    Closed(Box<FlowRecord>),
    /// It left the table.
    Ended(Box<FlowRecord>, EndReason),
}
