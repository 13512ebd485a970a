//! The configuration as people type it.

use detect::RuleOverride;
use respond::{Policy, Prefix};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole file. Every key has a default.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawConfig {
    /// Further rule files, beside the built-in rules.
    pub rule_files: Vec<PathBuf>,
    /// The kernel sensor.
    pub sensor: Sensor,
    /// Limits of the kernel's fast path.
    pub limits: Limits,
    /// Which networks are whose.
    pub networks: Networks,
    /// The flow table.
    pub flow: Flow,
    /// Logs in which services tell of logins.
    pub logs: crate::logs::Settings,
    /// Incidents.
    pub incidents: Incidents,
    /// Where addresses are and whose.
    pub geoip: enrich::config::GeoIp,
    /// What others say of addresses.
    pub reputation: enrich::config::Reputation,
    /// Learned models.
    pub models: Models,
    /// Learning from the network while the agent runs.
    pub learner: super::learner::RawLearner,
    /// What to do about incidents.
    pub respond: Policy,
    /// Logs and events.
    pub output: Output,
    /// The sensor's HTTP API.
    pub http: Http,
    /// The detector's HTTP API.
    pub api: Api,
    /// Where a sensor sends its figures.
    pub post: Post,
    /// Directories.
    pub paths: Paths,
    /// Changes to rules, by rule identifier.
    pub rules: BTreeMap<String, RuleOverride>,
}

/// Which networks are whose.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Networks {
    /// Addresses and prefixes that count as inside, beside private ones and, live, the agent's own addresses. What leaves the
    /// inside is judged for uploads and regular calls home.
    #[schemars(with = "Vec<String>")]
    pub inside: Vec<Prefix>,
}

/// Learned models.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// The bundle whose models judge beside the rules: "default", which is the one that comes with the program and, in an agent,
    /// the one that was promoted if one was; the directory of a bundle; or "none".
    pub bundle: String,
    /// Public keys, 64 hexadecimal digits each, whose model bundles are loaded, beside the bundle built in and those that this
    /// machine trained itself.
    pub trust: Vec<String>,
}

impl Default for Models {
    fn default() -> Self {
        Self { bundle: "default".into(), trust: Vec::new() }
    }
}

/// How to attach to interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attach {
    /// Native XDP, else generic XDP, else tcx, else AF_PACKET with nftables.
    #[default]
    Auto,
    /// Native XDP only.
    Native,
    /// Generic XDP only.
    Generic,
    /// tcx only.
    Tcx,
    /// AF_PACKET, blocking through nftables.
    AfPacket,
}

/// The kernel sensor.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sensor {
    /// Interfaces to watch; "auto" is that of the default route.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub attach: Attach,
    /// Flows held at once, in the kernel and in user space; the least recently used makes room.
    pub flow_capacity: u32,
    /// Sources held at once; the least recently used makes room.
    pub source_capacity: u32,
    /// Bytes of the ring that carries events from the kernel, a power of two; an event has up to 368 bytes. The process
    /// maps it twice, so it counts double in resident memory.
    pub ring_bytes: u32,
    /// Payload bytes of each direction of a flow that the kernel sends up for its messages to be read; 0: none.
    pub head_bytes: u32,
    /// Likewise of flows that speak in messages throughout: DNS, DHCP, SMB, DCE/RPC, Modbus. Beyond it the packets that
    /// begin a message go on to be sent, as those of HTTP do beyond `head_bytes`.
    pub head_bytes_long: u32,
    /// Bytes of the ring that carries them, a power of two; counts double in resident memory, as above.
    pub head_ring_bytes: u32,
    /// Bytes of each frame copied where the sensor is AF_PACKET. Fewer cost less copying, but messages are read from what
    /// is copied: below 1514 some are cut short.
    pub snap: u32,
    /// Threads that read frames where the sensor is AF_PACKET, each the flows of its own; 0: one per core. The kernel programs
    /// need none: they run on whichever core receives.
    pub workers: u32,
    /// Milliseconds between reads of the kernel's flow counters.
    pub snapshot_ms: u32,
    /// Flow-start events one source may cause per second; beyond, flows are still counted and read by snapshot.
    pub flow_events_per_source: u32,
    /// Flow-start events one processor may send per second.
    pub flow_events_per_cpu: u32,
}

impl Default for Sensor {
    fn default() -> Self {
        Self {
            interfaces: vec!["auto".into()],
            attach: Attach::Auto,
            flow_capacity: 131_072,
            source_capacity: 32_768,
            ring_bytes: 1 << 21,
            head_bytes: 2048,
            head_bytes_long: 65_536,
            head_ring_bytes: 1 << 21,
            snap: 2048,
            workers: 0,
            snapshot_ms: 1000,
            flow_events_per_source: 512,
            flow_events_per_cpu: 20_000,
        }
    }
}

/// What becomes of new connections over the limit of their service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SynCookies {
    /// They are dropped.
    #[default]
    Off,
    /// They are answered with SYN cookies where the host takes them.
    Auto,
}

/// Limits of the kernel's fast path: packets per second from which on packets of a kind are dropped at once and only while
/// the excess lasts; 0 is no limit. Never against the allowlist; in shadow mode what would be dropped is counted and passes.
/// The defaults are far above what a client does, or many behind one address. A source is an address, in IPv6 its /64. A
/// reload changes them at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// New TCP connections (SYNs) of one source. A browser opens tens at a time, a proxy or load test thousands.
    pub source_syn: u32,
    /// UDP packets of one source in flows that nobody here answered; 50,000 of full size are 600 Mbit/s.
    pub source_udp: u32,
    /// Echo requests (ping) of one source.
    pub source_icmp: u32,
    /// New TCP connections to one service (address and port) of sources it has not served lately.
    pub service_syn: u32,
    /// What becomes of new connections over `service_syn`. "off": they are dropped. "auto": they are answered with SYN
    /// cookies, so that whoever is there can still connect; needs XDP, Linux 6.0 and `net.ipv4.tcp_syncookies=2`, which
    /// the agent checks and does not set. Such connections have no window scaling and no selective acknowledgements.
    /// Takes effect at start.
    pub syn_cookies: SynCookies,
    /// Seconds for which a source that a service has answered with payload counts as known good.
    pub known_s: u32,
    /// Drop fragments too small for anything but evasion, and the rest of their datagrams.
    pub block_tiny_fragments: bool,
    /// Drop fragments that overlap others, and the rest of their datagrams.
    pub block_overlapping_fragments: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_syn: 2000,
            source_udp: 50_000,
            source_icmp: 1000,
            service_syn: 20_000,
            syn_cookies: SynCookies::Off,
            known_s: 86_400,
            block_tiny_fragments: false,
            block_overlapping_fragments: false,
        }
    }
}

impl Limits {
    /// As the sensor takes them.
    pub(super) const fn rates(&self) -> kernel::LimitRates {
        kernel::LimitRates {
            source_syn: self.source_syn,
            source_udp: self.source_udp,
            source_icmp: self.source_icmp,
            service_syn: self.service_syn,
            known_s: self.known_s,
            block_tiny: self.block_tiny_fragments,
            block_overlapping: self.block_overlapping_fragments,
        }
    }
}

/// The flow table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flow {
    /// Seconds of silence that end a TCP flow.
    pub idle_tcp_s: u32,
    /// Seconds of silence that end any other flow.
    pub idle_s: u32,
    /// Seconds after which a flow still going is reported and counted anew.
    pub active_s: u32,
    /// Milliseconds the responder has to answer before a flow counts as unanswered.
    pub answer_ms: u32,
    /// Flows whose content is read at once; the one silent longest makes room.
    pub sessions: u32,
    /// Megabytes that sessions may hold of what is out of order or unread.
    pub session_mb: u32,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            idle_tcp_s: 300,
            idle_s: 60,
            active_s: 1800,
            answer_ms: 1000,
            sessions: 65_536,
            session_mb: 64,
        }
    }
}

/// Incidents.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Incidents {
    /// Seconds of quiet that end an incident.
    pub quiet_s: u32,
}

impl Default for Incidents {
    fn default() -> Self {
        Self { quiet_s: 60 }
    }
}

/// Logs and events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// File for EVE JSON events; reopened on SIGHUP. Absent: none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eve: Option<PathBuf>,
    /// Events waiting for the writer before further ones are dropped and counted.
    pub eve_queue: u32,
    /// Whether each message (a DNS query, an HTTP request, a TLS hello, …) makes an event, beside flows and alerts.
    pub eve_messages: bool,
    /// Seconds between `stats` events.
    pub stats_s: u32,
    /// Log level or filter, such as "info" or "warn,kernel=debug".
    pub log: String,
}

impl Default for Output {
    fn default() -> Self {
        Self { eve: None, eve_queue: 8192, eve_messages: true, stats_s: 10, log: "info".into() }
    }
}

/// The HTTP API.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Loopback address and port, or "off".
    pub address: String,
}

impl Default for Http {
    fn default() -> Self {
        Self { address: "127.0.0.1:8800".into() }
    }
}

/// The detector's HTTP API, of `run` and of `detector`. Takes effect at start.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Address and port, or "off". Beyond loopback only with keys or tokens.
    pub address: String,
    /// File of API keys, one on each line, at least 16 characters each. Clients send theirs in X-API-Key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// File with the secret that signs tokens (JWT, HS256), at least 16 bytes. Clients send theirs in Authorization: Bearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_secret_file: Option<PathBuf>,
    /// Requests a second of one client (key, token subject, or address, in IPv6 its /64); 0: no limit.
    pub requests_per_second: f64,
    /// Prometheus server that has the sensor's figures, for `GET /detect/prom`, such as "http://127.0.0.1:9090".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<String>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            address: server::api::DEFAULT_ADDRESS.to_string(),
            keys_file: None,
            token_secret_file: None,
            requests_per_second: 0.0,
            prometheus: None,
        }
    }
}

/// Who judges by learned models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearnedBy {
    /// The detector.
    Detector,
    /// The sensor itself.
    Local,
}

/// Where a sensor sends its figures, of `sensor` and, if an address is set, of `run`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Post {
    /// The detector, such as "http://127.0.0.1:5000/detect". Absent: `sensor` takes that address, `run` sends nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// File with the API key to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Seconds from one to the next. The environment variable POST_INTERVAL goes before it.
    pub interval_s: f64,
    /// Seconds that the figures are of. The environment variable STATS_WINDOW goes before it.
    pub window_s: f64,
    /// Figures that wait while the detector is away; beyond, the oldest are dropped and counted.
    pub queue: u32,
    /// Who judges flows and windows by learned models. "detector": they are sent there and not judged here; while it is away,
    /// rules judge alone. "local": they are judged here and not sent. Absent: the detector for `sensor`, local for `run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedBy>,
    /// Name by which the detector knows this sensor: letters, digits and .-_. Absent: that of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Flows and windows that wait while the detector is away; beyond, the oldest are dropped and counted.
    pub rows: u32,
}

impl Default for Post {
    fn default() -> Self {
        Self {
            url: None,
            key_file: None,
            interval_s: 2.0,
            window_s: 1.0,
            queue: 1024,
            learned: None,
            name: None,
            rows: 20_000,
        }
    }
}

/// Directories.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Control socket and lock.
    pub run_dir: PathBuf,
    /// Audit log and blocks kept over a restart.
    pub state_dir: PathBuf,
    /// Directory on a BPF file system under which maps are pinned.
    pub bpffs: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            run_dir: super::RUN_DIR.into(),
            state_dir: super::STATE_DIR.into(),
            bpffs: "/sys/fs/bpf/autoinmune".into(),
        }
    }
}
