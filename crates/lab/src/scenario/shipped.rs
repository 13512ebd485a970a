//! The scenarios that come with the program: the files of `crates/lab/scenarios`.

use super::{Scenario, ScenarioError};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// Name and text of each, in order of names.
pub const SHIPPED: &[(&str, &str)] = files![
    "administration",
    "amplification-dns",
    "amplification-memcached",
    "amplification-reflector",
    "arp-spoof",
    "automation",
    "backup",
    "brute-ftp",
    "brute-smb",
    "brute-ssh",
    "bulk-transfer",
    "busy-morning",
    "c2-beacon",
    "crawler",
    "dga",
    "dhcp-spoof",
    "directory-replication",
    "discovery",
    "dns-heavy",
    "dns-reputation",
    "dns-tunnel-iodine",
    "dns-tunnel-txt",
    "dns-typos",
    "evasion-overlap",
    "evasion-segments",
    "evasion-tiny",
    "exfiltration",
    "flood-http",
    "flood-icmp",
    "flood-syn",
    "flood-syn-forged",
    "flood-udp",
    "forced-logon",
    "fragmented-datagrams",
    "ftp-delivery",
    "hmi-polling",
    "icmp-tunnel",
    "keep-alives",
    "large-pings",
    "lateral-movement",
    "modbus-functions",
    "modbus-units",
    "modbus-write",
    "monitoring",
    "office-day",
    "poor-line",
    "ransomware",
    "scan-ack",
    "scan-connect",
    "scan-fin",
    "scan-ipv6",
    "scan-replayed",
    "scan-services",
    "scan-slow",
    "scan-sweep",
    "scan-syn",
    "scan-udp",
    "scan-xmas",
    "slow-http-body",
    "slow-http-headers",
    "slow-http-read",
    "software-update",
    "spraying-ftp",
    "stuffing-web",
    "video-call",
    "vulnerability-scanner",
    "web-attacks",
    "web-sql-injection",
];

/// A scenario that comes with the program.
///
/// # Errors
/// There is none of that name; or its file is wrong, which a test excludes.
pub fn shipped(name: &str) -> Result<Scenario, ScenarioError> {
    let (_, text) = SHIPPED.iter().find(|(n, _)| *n == name).ok_or_else(|| {
        let names: Vec<&str> = SHIPPED.iter().map(|(n, _)| *n).collect();
        ScenarioError(format!("there is no scenario '{name}'; there are {}", names.join(", ")))
    })?;
    Scenario::parse(text)
}
