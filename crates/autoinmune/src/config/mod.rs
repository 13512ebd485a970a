//! Configuration: [`RawConfig`] as typed by people, [`Config`] as checked.
//!
//! Unknown keys are errors with file, line and a suggestion. Nothing that decides about an attack has a value outside
//! the rule files and this configuration.

mod api;
mod learner;
mod load;
mod post;
mod raw;

pub use api::Api;
pub use load::{describe_default, load, schema};
pub use post::{DEFAULT_URL, Post};
pub use raw::{Attach, LearnedBy, RawConfig};

use crate::exit::{Exit, fail};
use detect::RuleSet;
use respond::Policy;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration is looked for.
pub const DEFAULT_FILE: &str = "/etc/autoinmune/config.toml";
/// Default directory of control socket and lock.
pub const RUN_DIR: &str = "/run/autoinmune";
/// Default directory of audit log and kept blocks.
pub const STATE_DIR: &str = "/var/lib/autoinmune";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// File it came from, if any.
    pub file: Option<PathBuf>,
    /// Interfaces, or `auto`.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub attach: Attach,
    /// Flows in the kernel map and in the table of user space.
    pub flow_capacity: u32,
    /// Sources in the kernel map and entities in user space.
    pub source_capacity: u32,
    /// Bytes of the event ring, a power of two.
    pub ring_bytes: u32,
    /// Payload bytes of each direction of a flow that the kernel sends up.
    pub head_bytes: u32,
    /// Likewise of flows that speak in messages.
    pub head_bytes_long: u32,
    /// Bytes of the ring of flow heads, a power of two.
    pub head_ring_bytes: u32,
    /// Bytes of each frame that AF_PACKET copies.
    pub snap: u32,
    /// Worker threads of AF_PACKET; 0: one per core.
    pub workers: u32,
    /// Limits of the kernel's fast path.
    pub limits: kernel::LimitRates,
    /// Whether SYNs over the limit of their service are answered with SYN cookies where the host takes them.
    pub syn_cookies: bool,
    /// Blocks the kernel maps can hold, per IP version.
    pub block_capacity: u32,
    /// How often the kernel's flows are read.
    pub snapshot: Duration,
    /// Flow-start events a source may cause per second.
    pub flow_events_per_source: u32,
    /// Flow-start events a processor may send per second.
    pub flow_events_per_cpu: u32,
    /// Flow table timeouts.
    pub tracker: flow::TrackerConfig,
    /// Entity table.
    pub census: flow::CensusConfig,
    /// Quiet time after which an incident ends.
    pub incident_quiet: Duration,
    /// Rules with overrides applied.
    pub rules: RuleSet,
    /// Logs to follow.
    pub logs: crate::logs::Settings,
    /// Databases of addresses.
    pub geoip: enrich::config::GeoIp,
    /// Reputation lists.
    pub reputation: enrich::config::Reputation,
    /// Which learned models are put into the line.
    pub models: crate::learned::Choice,
    /// Whose model bundles are loaded, beside those of this machine.
    pub models_trust: Vec<bundle::PublicKey>,
    /// Learning while the agent runs.
    pub learner: learner::Learner,
    /// Response policy.
    pub policy: Policy,
    /// EVE destination.
    pub eve: Option<PathBuf>,
    /// Events queued for the EVE writer before they are dropped and counted.
    pub eve_queue: usize,
    /// Whether an event is written for each message.
    pub eve_messages: bool,
    /// How often a `stats` event is written.
    pub stats_interval: Duration,
    /// HTTP API address; `None` is off.
    pub http: Option<SocketAddr>,
    /// The detector's API; `None` is off.
    pub api: Option<Api>,
    /// Where and how figures are sent.
    pub post: Post,
    /// Log filter as understood by `tracing`.
    pub log: String,
    /// Control socket and lock.
    pub run_dir: PathBuf,
    /// Audit log and kept blocks.
    pub state_dir: PathBuf,
    /// Parent of the pinned maps.
    pub bpffs: PathBuf,
}

/// Has the rules count a prefix as inside.
pub fn add_home(rules: &mut RuleSet, prefix: respond::Prefix) {
    let mapped = if prefix.addr().is_v4() { 96 } else { 0 };
    rules.home_mut().add(prefix.addr(), mapped + prefix.len());
}

impl Config {
    /// Checks a typed configuration.
    ///
    /// # Errors
    /// One sentence naming the key, what is wrong and what is accepted; exit code [`Exit::Config`].
    pub fn check(raw: RawConfig, file: Option<&Path>) -> anyhow::Result<Self> {
        let wrong = |key: &str, why: String| fail(Exit::Config, format!("{}{key}: {why}", in_file(file)));
        for (key, power) in [
            ("sensor.ring_bytes", raw.sensor.ring_bytes),
            ("sensor.head_ring_bytes", raw.sensor.head_ring_bytes),
        ] {
            if !power.is_power_of_two() || !(65_536..=1 << 30).contains(&power) {
                return Err(wrong(
                    key,
                    format!("{power} is not a power of two between 65536 and 1073741824"),
                ));
            }
        }
        for (key, value, low, high) in [
            ("sensor.flow_capacity", raw.sensor.flow_capacity, 1024, 1 << 24),
            ("sensor.source_capacity", raw.sensor.source_capacity, 1024, 1 << 24),
            ("respond.max_blocks", raw.respond.max_blocks, 1, 1 << 22),
            ("sensor.flow_events_per_source", raw.sensor.flow_events_per_source, 1, 1_000_000),
            ("sensor.flow_events_per_cpu", raw.sensor.flow_events_per_cpu, 1, 10_000_000),
            ("sensor.head_bytes", raw.sensor.head_bytes, 0, 1 << 24),
            ("sensor.head_bytes_long", raw.sensor.head_bytes_long, 0, 1 << 30),
            ("sensor.snap", raw.sensor.snap, 128, 65_535),
            ("sensor.workers", raw.sensor.workers, 0, wire::steer::MAX_WORKERS as u32),
            ("limits.source_syn", raw.limits.source_syn, 0, 1_000_000_000),
            ("limits.source_udp", raw.limits.source_udp, 0, 1_000_000_000),
            ("limits.source_icmp", raw.limits.source_icmp, 0, 1_000_000_000),
            ("limits.service_syn", raw.limits.service_syn, 0, 1_000_000_000),
            ("limits.known_s", raw.limits.known_s, 1, 30 * 86_400),
            ("sensor.snapshot_ms", raw.sensor.snapshot_ms, 100, 60_000),
            ("flow.idle_tcp_s", raw.flow.idle_tcp_s, 1, 86_400),
            ("flow.idle_s", raw.flow.idle_s, 1, 86_400),
            ("flow.active_s", raw.flow.active_s, 10, 7 * 86_400),
            ("flow.answer_ms", raw.flow.answer_ms, 10, 60_000),
            ("flow.sessions", raw.flow.sessions, 16, 1 << 22),
            ("flow.session_mb", raw.flow.session_mb, 1, 65_536),
            ("incidents.quiet_s", raw.incidents.quiet_s, 1, 86_400),
            ("output.eve_queue", raw.output.eve_queue, 16, 1 << 20),
            ("output.stats_s", raw.output.stats_s, 1, 86_400),
        ] {
            if !(low..=high).contains(&value) {
                return Err(wrong(key, format!("{value} is not between {low} and {high}")));
            }
        }
        if raw.sensor.interfaces.is_empty() {
            return Err(wrong("sensor.interfaces", "is empty; use [\"auto\"] or interface names".into()));
        }
        let http = parse_http(&raw.http.address).map_err(|why| wrong("http.address", why))?;
        let api = api::check(&raw.api).map_err(|e| wrong(&format!("api.{}", e.0), e.1))?;
        let post = post::check(&raw.post).map_err(|e| wrong(&format!("post.{}", e.0), e.1))?;
        let learner = raw.learner.check().map_err(|(key, why)| wrong(&format!("learner.{key}"), why))?;
        raw.respond.validate().map_err(|e| wrong("respond", e.to_string()))?;
        raw.geoip.validate().map_err(|e| wrong(&format!("geoip.{}", e.key), e.why))?;
        raw.reputation.validate().map_err(|e| wrong(&format!("reputation.{}", e.key), e.why))?;
        let mut models_trust = Vec::new();
        for text in &raw.models.trust {
            let key = bundle::PublicKey::parse(text).ok_or_else(|| {
                wrong("models.trust", format!("'{text}' is no public key, which has 64 hexadecimal digits"))
            })?;
            models_trust.push(key);
        }
        if let Some(why) = raw.logs.fault() {
            return Err(wrong("logs", why));
        }
        let mut rules = RuleSet::builtin();
        if !raw.rule_files.is_empty() {
            let mut texts = Vec::new();
            for path in &raw.rule_files {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| wrong("rule_files", format!("cannot read {}: {e}", path.display())))?;
                texts.push((path.display().to_string(), text));
            }
            let files: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
            rules.extend(&files).map_err(|e| fail(Exit::Config, e.to_string()))?;
        }
        rules.apply(&raw.rules).map_err(|e| wrong("rules", e.to_string()))?;
        for prefix in &raw.networks.inside {
            add_home(&mut rules, *prefix);
        }
        let second = 1_000_000_000;
        Ok(Self {
            file: file.map(Path::to_path_buf),
            interfaces: raw.sensor.interfaces,
            attach: raw.sensor.attach,
            flow_capacity: raw.sensor.flow_capacity,
            source_capacity: raw.sensor.source_capacity,
            ring_bytes: raw.sensor.ring_bytes,
            head_bytes: raw.sensor.head_bytes,
            head_bytes_long: raw.sensor.head_bytes_long,
            head_ring_bytes: raw.sensor.head_ring_bytes,
            snap: raw.sensor.snap,
            workers: raw.sensor.workers,
            limits: raw.limits.rates(),
            syn_cookies: raw.limits.syn_cookies == raw::SynCookies::Auto,
            block_capacity: raw.respond.max_blocks,
            snapshot: Duration::from_millis(raw.sensor.snapshot_ms.into()),
            flow_events_per_source: raw.sensor.flow_events_per_source,
            flow_events_per_cpu: raw.sensor.flow_events_per_cpu,
            tracker: flow::TrackerConfig {
                flow_capacity: raw.sensor.flow_capacity as usize,
                idle_tcp_ns: u64::from(raw.flow.idle_tcp_s) * second,
                idle_ns: u64::from(raw.flow.idle_s) * second,
                active_ns: u64::from(raw.flow.active_s) * second,
                grace_ns: u64::from(raw.flow.answer_ms) * 1_000_000,
                session_capacity: raw.flow.sessions as usize,
                session_bytes: raw.flow.session_mb as usize * (1 << 20),
                ..flow::TrackerConfig::default()
            },
            census: flow::CensusConfig {
                entity_capacity: raw.sensor.source_capacity as usize,
                ..flow::CensusConfig::default()
            },
            incident_quiet: Duration::from_secs(raw.incidents.quiet_s.into()),
            rules,
            logs: raw.logs,
            geoip: raw.geoip,
            reputation: raw.reputation,
            models: crate::learned::Choice::parse(&raw.models.bundle),
            models_trust,
            learner,
            policy: raw.respond,
            eve: raw.output.eve,
            eve_queue: raw.output.eve_queue as usize,
            eve_messages: raw.output.eve_messages,
            stats_interval: Duration::from_secs(raw.output.stats_s.into()),
            http,
            api,
            post,
            log: raw.output.log,
            run_dir: raw.paths.run_dir,
            state_dir: raw.paths.state_dir,
            bpffs: raw.paths.bpffs,
        })
    }
}

impl Config {
    /// Has the detector's API listen elsewhere than the file says, or not at all.
    ///
    /// # Errors
    /// No address, or one beyond loopback without credentials in the file.
    pub fn set_api(&mut self, text: &str) -> anyhow::Result<()> {
        self.api =
            api::moved(self.api.take(), text).map_err(|why| fail(Exit::Input, format!("--api: {why}")))?;
        Ok(())
    }

    /// Whether everything that is fixed at attach time is equal.
    pub fn same_sensor(&self, other: &Self) -> bool {
        let fixed = |c: &Self| {
            (
                c.interfaces.clone(),
                c.attach,
                (c.flow_capacity, c.source_capacity, c.ring_bytes, c.block_capacity),
                (c.head_bytes, c.head_bytes_long, c.head_ring_bytes, c.snap, c.workers),
                (c.snapshot, c.flow_events_per_source, c.flow_events_per_cpu),
                (c.tracker.idle_tcp_ns, c.tracker.idle_ns, c.tracker.active_ns, c.tracker.grace_ns),
                (c.policy.mode == respond::Mode::Enforce, c.syn_cookies),
                c.bpffs.clone(),
            )
        };
        fixed(self) == fixed(other)
    }
}

fn in_file(file: Option<&Path>) -> String {
    file.map(|f| format!("{}: ", f.display())).unwrap_or_default()
}

/// Parses `ADDR` or `off`.
///
/// # Errors
/// What is accepted.
pub fn parse_http(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let addr: SocketAddr = text
        .parse()
        .map_err(|_| format!("'{text}' is neither 'off' nor an address with port such as 127.0.0.1:8800"))?;
    if !addr.ip().is_loopback() {
        return Err(format!(
            "{addr} is not a loopback address; the API has no authentication yet and listens on this host only"
        ));
    }
    Ok(Some(addr))
}

/// Loads the named file, or the default one if it exists, or built-in defaults.
///
/// # Errors
/// Unreadable or wrong configuration.
pub fn resolve(file: Option<&Path>) -> anyhow::Result<Config> {
    match file {
        Some(path) => load(path),
        None if Path::new(DEFAULT_FILE).exists() => load(Path::new(DEFAULT_FILE)),
        None => Config::check(RawConfig::default(), None),
    }
}
