//! What the agent shows of itself: plain structs with one JSON form, read by people's tools and by `autoinmune -o json`.
//!
//! Times named `_ns` are nanoseconds of the wall clock since 1970. Counters count since the agent started. Fields are
//! added, never renamed: scripts read them.

mod learning;

pub use learning::{FeedbackView, FlowLearnerView, LabelledView, LearnerView};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::Addr;

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Blocks are decided and reported, never put in force.
    #[default]
    Shadow,
    /// Blocks are put in force.
    Enforce,
}

impl Mode {
    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Enforce => "enforce",
        }
    }
}

/// What is known of an address beyond its traffic. Context: none of it is by itself a reason to block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Country (ISO 3166-1 alpha-2), region and city, as far as known, the largest last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Number of its autonomous system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// Whose network that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// What the network is for: `hosting`, `access`, `cdn`, `education`, `government` or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Risk by reputation lists, 0..=100; absent where none names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reputation: Option<u8>,
    /// What each list adds to that, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// Answer of `GET /ready`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether traffic is being judged now; `false` gives HTTP status 503.
    pub ready: bool,
    /// The best sensor attached: `xdp-native`, `xdp-generic`, `tcx`, `af-packet`, `simulation`, or `none`.
    pub sensor: String,
    /// Whether the traffic is made up.
    pub simulated: bool,
    /// One entry per interface.
    pub interfaces: Vec<Attachment>,
    /// Why it is not ready; absent if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How the sensor sits on one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Interface name.
    pub name: String,
    /// `native`, `generic`, `tcx`, `af_packet`, or `simulation`.
    pub mode: String,
    /// Whether outgoing packets are seen too.
    pub egress: bool,
    /// Better modes that were tried first, each with the reason it failed.
    pub fallbacks: Vec<String>,
}

/// The current window: answer of `GET /stats`, and `traffic` in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Packets per second over the window.
    pub packets_per_second: f64,
    /// Bytes per second over the window.
    pub bytes_per_second: f64,
    /// Distinct source addresses in the window.
    pub unique_ips: u64,
    /// Distinct destination ports in the window.
    pub unique_ports: u64,
    /// TCP packets in the window.
    pub tcp_packets: u64,
    /// UDP packets in the window.
    pub udp_packets: u64,
    /// TCP packets with SYN and without ACK in the window.
    pub syn_packets: u64,
    /// Length of the window, s.
    pub window_seconds: f64,
    /// The sources with most packets in the window, most first.
    pub top_sources: Vec<TopSource>,
    /// Whether the traffic is made up.
    pub simulated: bool,
}

/// One of the busiest sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopSource {
    /// Who.
    pub address: Addr,
    /// Packets sent in the window.
    pub packets: u64,
    /// Bytes sent in the window.
    pub bytes: u64,
}

/// One kernel program's own cost, as the kernel counts it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramView {
    /// Program name.
    pub name: String,
    /// Times run.
    pub runs: u64,
    /// Processor time spent, s.
    pub run_seconds: f64,
}

/// What this process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Processor time since start, all threads, s.
    pub cpu_seconds: f64,
    /// Share of one processor, percent, over the time between the last two looks; above 100 with several busy threads.
    pub cpu_percent: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
}

/// One interface in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// How the sensor is attached.
    #[serde(flatten)]
    pub attachment: Attachment,
    /// Packets per second, lately.
    pub packets_per_second: f64,
    /// Bytes per second, lately.
    pub bytes_per_second: f64,
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// Packets dropped because of a block.
    pub dropped_packets: u64,
}

/// A worker thread, who has the flows of some pairs of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Packets that it has seen.
    pub packets: u64,
    /// Flows that it holds now.
    pub flows: u64,
    /// Packets that did not fit into its sockets.
    pub dropped_packets: u64,
}

/// What the learned detectors did since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedView {
    /// Flows judged, when they ended or had grown.
    pub flows: u64,
    /// Of these, those not taken for normal.
    pub flows_not_normal: u64,
    /// Windows of sources judged.
    pub windows: u64,
    /// Signals given.
    pub signals: u64,
    /// Sources whose evidence was forgotten before its time.
    pub sources_evicted: u64,
}

/// How fast blocks follow: from the kernel seeing what led to a block, to the block being in its map. Over the latest
/// 1,024 blocks; absent where no kernel program reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReactionView {
    /// Blocks measured since start.
    pub blocks: u64,
    /// Half of them took no longer, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<f64>,
    /// 99 of 100 took no longer, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<f64>,
}

/// Answer of `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Time since start, s.
    pub uptime_seconds: f64,
    /// Whether blocks are put in force.
    pub mode: Mode,
    /// Whether the traffic is made up.
    pub simulated: bool,
    /// The best sensor attached, as in [`Ready::sensor`].
    pub sensor: String,
    /// One entry per interface.
    pub interfaces: Vec<InterfaceView>,
    /// One entry per worker thread; none where the kernel programs watch.
    #[serde(default)]
    pub workers: Vec<WorkerView>,
    /// The current window.
    pub traffic: Stats,
    /// Everything that was dropped or not understood, by reason. Reasons with zero are listed too.
    pub losses: BTreeMap<String, u64>,
    /// Own use of the machine.
    pub process: ProcessView,
    /// How fast blocks follow.
    #[serde(default)]
    pub reaction: ReactionView,
    /// What the kernel's limits did; absent where the kernel program does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitTotals>,
    /// Own kernel programs.
    pub programs: Vec<ProgramView>,
    /// Flows held now.
    pub flows: u64,
    /// Entities held now.
    pub entities: u64,
    /// Blocks in force, or in shadow mode those that would be.
    pub blocks: u64,
    /// Allowlist entries.
    pub allowlist: u64,
    /// Incidents not yet ended.
    pub incidents_open: u64,
    /// What the learned detectors judged; absent where none are at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedView>,
    /// What is being learnt; absent where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learner: Option<LearnerView>,
    /// Address of the HTTP API, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Address of the detector's API, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// The detector that figures are sent to, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Configuration file in use, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// What the limits of the kernel's fast path did since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitTotals {
    /// Packets dropped: over a limit, and odd fragments where those are dropped.
    pub dropped_packets: u64,
    /// Packets that would have been but for shadow mode.
    pub would_drop_packets: u64,
    /// Packets over a limit that the allowlist saved.
    pub allowed_packets: u64,
    /// SYNs over the limit of their service that were answered with SYN cookies instead of dropped.
    pub cookies_sent: u64,
    /// Acknowledgements that carried a valid cookie.
    pub cookies_valid: u64,
    /// Acknowledgements of no known flow that did not, to a service that was over its limit.
    pub cookies_invalid: u64,
}

/// Answer of `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsView {
    /// Whether packets over a limit are dropped; `false` in shadow mode.
    pub enforced: bool,
    /// Rates in force by the limit's name in the configuration, packets per second; 0: no limit.
    pub rates: BTreeMap<String, u32>,
    /// How long a source stays known good, s.
    pub known_seconds: u32,
    /// Whether tiny fragments are dropped.
    pub block_tiny_fragments: bool,
    /// Whether overlapping fragments are dropped.
    pub block_overlapping_fragments: bool,
    /// Whether SYNs over the limit of their service are answered with SYN cookies.
    pub syn_cookies: bool,
    /// What they did so far.
    pub totals: LimitTotals,
    /// Who was over one within the last minute, most packets first.
    pub excesses: Vec<ExcessView>,
}

/// One source or service over a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcessView {
    /// The source (IPv6: first address of its /64), or the service.
    pub address: Addr,
    /// The service's port; absent for a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name of the limit; `several` if it was over more than one.
    pub limit: String,
    /// When it began, ns.
    pub since_ns: u64,
    /// The last packet over the limit, ns.
    pub last_ns: u64,
    /// Packets over the limit.
    pub packets: u64,
    /// Their frame bytes.
    pub bytes: u64,
}

/// One block: entry of the answer to `bans`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockView {
    /// Address or CIDR prefix.
    pub prefix: String,
    /// Since when, ns.
    pub since_ns: u64,
    /// Until when, ns.
    pub until_ns: u64,
    /// Time left, s.
    pub remaining_seconds: f64,
    /// `policy` or `operator`.
    pub owner: String,
    /// Why, in words.
    pub reason: String,
    /// Incident that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<u64>,
    /// How many times this prefix has been blocked, this one included.
    pub offence: u32,
    /// Whether packets are dropped; `false` in shadow mode.
    pub enforced: bool,
    /// Packets dropped by it, where the effector counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_packets: Option<u64>,
}

/// What holds for an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// On the allowlist: never blocked.
    Allowed,
    /// A block is in force.
    Blocked,
    /// A block would be in force, but the agent is in shadow mode.
    WouldBlock,
    /// Neither.
    #[default]
    Free,
}

impl Standing {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::WouldBlock => "would be blocked (shadow mode)",
            Self::Free => "neither allowed nor blocked",
        }
    }
}

/// An allowlist entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedView {
    /// Address or CIDR prefix.
    pub prefix: String,
    /// Why it is on the list.
    pub why: String,
}

/// One observed quantity against its bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvidenceView {
    /// The metric's name, as in docs/rules.md.
    pub metric: String,
    /// What was observed, in the metric's unit.
    pub observed: f64,
    /// Bound that was crossed.
    pub threshold: f64,
    /// Whether crossing means reaching it from below (`true`) or falling to it from above.
    pub at_least: bool,
}

/// One incident: entry of the answers to `incidents` and `explain`. Reads the JSON of `detect::Incident`, without the
/// fields only machines need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Serial number within this run.
    pub id: u64,
    /// Who, as in `detect::Actor`: `{"type":"source","addr":…}` or `{"type":"distributed","target":…}`.
    pub actor: serde_json::Value,
    /// Class of threat, of the most severe signal.
    pub class: String,
    /// Every class of threat seen.
    #[serde(default)]
    pub classes: Vec<String>,
    /// What it is about in other words, such as domains.
    #[serde(default)]
    pub details: Vec<String>,
    /// Finer kinds.
    pub kinds: Vec<String>,
    /// Rules that fired.
    pub rules: Vec<String>,
    /// Severity.
    pub severity: String,
    /// MITRE ATT&CK techniques.
    pub techniques: Vec<String>,
    /// Addresses hit; the list is bounded.
    pub targets: Vec<Addr>,
    /// First evidence, ns.
    pub first_ns: u64,
    /// Last evidence, ns.
    pub last_ns: u64,
    /// 0..=1.
    pub confidence: f64,
    /// Whether it may cause a block.
    pub may_block: bool,
    /// Signals merged.
    pub signals: u64,
    /// Why.
    pub evidence: Vec<EvidenceView>,
}

/// What an address did in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowView {
    /// `source` (it began the flows) or `target` (it was contacted).
    pub role: String,
    /// Length of the window, s.
    pub span_seconds: u64,
    /// Packets from initiator to responder.
    pub packets: u64,
    /// Bytes from initiator to responder.
    pub bytes: u64,
    /// Packets back.
    pub reply_packets: u64,
    /// Flows begun.
    pub flows: u64,
    /// Flows refused, unanswered or aborted.
    pub failed_flows: u64,
    /// TCP packets with SYN and without ACK.
    pub syn_packets: u64,
}

/// Answer of `explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// Who was asked about.
    pub address: Addr,
    /// What holds.
    pub standing: Standing,
    /// The allowlist entry that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<AllowedView>,
    /// The block that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockView>,
    /// Where it is, whose network it is in and what lists say; absent where nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// Times it has been blocked in memory.
    pub offences: u32,
    /// Incidents it is the actor or the target of.
    pub incidents: Vec<IncidentView>,
    /// What it did lately; empty if nothing was seen.
    pub windows: Vec<WindowView>,
    /// What would change the standing, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_people_script_against() {
        let status = serde_json::to_value(Status {
            interfaces: vec![InterfaceView {
                attachment: Attachment {
                    name: "eth0".into(),
                    mode: "native".into(),
                    ..Attachment::default()
                },
                ..InterfaceView::default()
            }],
            ..Status::default()
        })
        .expect("serialises");
        assert_eq!(status["mode"], "shadow");
        assert_eq!(status["interfaces"][0]["name"], "eth0", "attachment is flattened");
        assert_eq!(status["interfaces"][0]["packets"], 0);
        assert_eq!(status["traffic"]["packets_per_second"], 0.0);
        let back: Status = serde_json::from_value(status).expect("reads its own form");
        assert_eq!(back.interfaces[0].attachment.mode, "native");
        assert_eq!(serde_json::to_value(Standing::WouldBlock).expect("serialises"), "would_block");
    }
}
