//! What an act really did: flows with their time spans, and what came of them. Labels are written from this.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Ports of one pair of addresses that are told apart in a report; beyond, the pair is one row without ports.
const PORTS: usize = 64;
/// Rows kept while an act runs: every port of a host. What comes after is counted in [`Report::unlisted`].
const ROWS: usize = 65_536;

/// A protocol of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6.
    Icmpv6,
    /// ARP: no flow; source and target are the addresses claimed and told.
    Arp,
}

/// An address, or a prefix of forged ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    /// Address or beginning of the prefix.
    pub addr: IpAddr,
    /// Length of the prefix, bits.
    pub len: u8,
}

impl From<IpAddr> for Net {
    fn from(addr: IpAddr) -> Self {
        Self { addr, len: if addr.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Net {
    /// An address alone, or `address/length`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::from(self.addr) {
            write!(f, "{}", self.addr)
        } else {
            write!(f, "{}/{}", self.addr, self.len)
        }
    }
}

impl Serialize for Net {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Flows of one kind: who began them, to whom, and between when and when they began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Protocol.
    pub protocol: Protocol,
    /// Who began them, as a sensor sees it: of forged packets the forged address.
    pub source: Net,
    /// Their source port, if all had the same.
    pub source_port: Option<u16>,
    /// Who was contacted.
    pub target: Net,
    /// The port contacted; absent where there is none, or where too many were to list them.
    pub target_port: Option<u16>,
    /// When the first of them began, ns since 1970.
    pub start_ns: u64,
    /// When the last connection was closed, or the last datagram or packet sent; ns since 1970.
    pub end_ns: u64,
    /// How often: connections, datagrams or packets.
    pub count: u64,
}

/// The report of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The act.
    pub act: String,
    /// When it began, ns since 1970.
    pub start_ns: u64,
    /// When it ended, ns since 1970.
    pub end_ns: u64,
    /// Units begun: packets of floods, connections of guessers, requests or exchanges of everything else.
    pub tried: u64,
    /// Of those, done in full.
    pub completed: u64,
    /// Of those, not. What only sends, such as a flood, has neither.
    pub failed: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Flows that found no row because there were too many; 0 in every act with its default arguments.
    pub unlisted: u64,
    /// What it did.
    pub flows: Vec<Row>,
}

impl Report {
    /// One line of JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        // Numbers, words and lists cannot fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

type Key = (Protocol, Net, Net, Option<u16>);

/// Keeps the account while an act runs; shared by its threads.
#[derive(Debug, Default)]
pub(super) struct Account {
    rows: Mutex<BTreeMap<Key, Row>>,
    unlisted: AtomicU64,
    tried: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Time now, ns since 1970: captures tell time so.
pub(super) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Account {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes `count` flows or packets, between `start_ns` and now. Port 0 means none. A count of 0 says that what was noted
    /// before went on until now.
    pub(super) fn note(
        &self,
        protocol: Protocol,
        source: (Net, u16),
        target: (Net, u16),
        start_ns: u64,
        count: u64,
    ) {
        let port = |p: u16| (p != 0).then_some(p);
        let key = (protocol, source.0, target.0, port(target.1));
        let mut rows = self.rows();
        if rows.len() >= ROWS && !rows.contains_key(&key) {
            self.unlisted.fetch_add(count, Ordering::Relaxed);
            return;
        }
        let row = rows.entry(key).or_insert_with(|| Row {
            protocol,
            source: source.0,
            source_port: port(source.1),
            target: target.0,
            target_port: port(target.1),
            start_ns,
            end_ns: start_ns,
            count: 0,
        });
        if row.source_port != port(source.1) {
            row.source_port = None;
        }
        row.start_ns = row.start_ns.min(start_ns);
        row.end_ns = row.end_ns.max(now_ns());
        row.count += count;
    }

    /// As [`Account::note`] for one flow between two sockets, now.
    pub(super) fn flow(&self, protocol: Protocol, source: SocketAddr, target: SocketAddr) {
        let (from, to) = (source.ip().into(), target.ip().into());
        self.note(protocol, (from, source.port()), (to, target.port()), now_ns(), 1);
    }

    pub(super) fn tried(&self, n: u64) {
        self.tried.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn completed(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The report of `act`, which began at `start_ns` and ends now.
    pub(super) fn report(&self, act: &str, start_ns: u64) -> Report {
        let value = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Report {
            act: act.to_owned(),
            start_ns,
            end_ns: now_ns(),
            tried: value(&self.tried),
            completed: value(&self.completed),
            failed: value(&self.failed),
            bytes_sent: value(&self.sent),
            bytes_received: value(&self.received),
            unlisted: value(&self.unlisted),
            flows: summary(self.rows().values()),
        }
    }
}

/// Rows, with those of one pair of addresses and too many ports put into one.
fn summary<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Vec<Row> {
    let pair = |r: &Row| (r.protocol, r.source, r.target);
    let mut ports: BTreeMap<_, usize> = BTreeMap::new();
    for row in rows.clone() {
        *ports.entry(pair(row)).or_default() += 1;
    }
    let many: BTreeSet<_> = ports.into_iter().filter(|(_, n)| *n > PORTS).map(|(pair, _)| pair).collect();
    let mut out: Vec<Row> = Vec::new();
    for row in rows {
        // The rows come in the order of their keys, so those of a pair are neighbours.
        match out.last_mut().filter(|last| pair(last) == pair(row) && many.contains(&pair(row))) {
            Some(last) => {
                last.target_port = None;
                last.source_port = last.source_port.filter(|p| row.source_port == Some(*p));
                last.start_ns = last.start_ns.min(row.start_ns);
                last.end_ns = last.end_ns.max(row.end_ns);
                last.count += row.count;
            }
            None => out.push(row.clone()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(addr: [u8; 4], port: u16) -> SocketAddr {
        (addr, port).into()
    }

    #[test]
    fn flows_of_one_kind_are_one_row() {
        let account = Account::default();
        account.flow(Protocol::Tcp, end([192, 0, 2, 1], 40_000), end([192, 0, 2, 9], 80));
        account.flow(Protocol::Tcp, end([192, 0, 2, 1], 40_000), end([192, 0, 2, 9], 80));
        account.flow(Protocol::Tcp, end([192, 0, 2, 1], 40_001), end([192, 0, 2, 9], 81));
        account.flow(Protocol::Tcp, end([192, 0, 2, 1], 40_002), end([192, 0, 2, 9], 81));
        let report = account.report("test", 5);
        let rows: Vec<_> = report.flows.iter().map(|r| (r.source_port, r.target_port, r.count)).collect();
        assert_eq!(rows, [(Some(40_000), Some(80), 2), (None, Some(81), 2)]);
        assert!(report.flows.iter().all(|r| r.start_ns <= r.end_ns && r.start_ns > 0));
    }

    #[test]
    fn a_scan_is_one_row_and_a_second_host_another() {
        let account = Account::default();
        for port in 1..=1000 {
            account.flow(Protocol::Tcp, end([192, 0, 2, 1], 51_813), end([192, 0, 2, 9], port));
        }
        account.flow(Protocol::Tcp, end([192, 0, 2, 1], 51_813), end([192, 0, 2, 10], 7));
        let report = account.report("scan", 0);
        let rows: Vec<_> = report.flows.iter().map(|r| (r.source_port, r.target_port, r.count)).collect();
        assert_eq!(rows, [(Some(51_813), None, 1000), (Some(51_813), Some(7), 1)]);
    }

    #[test]
    fn a_line_is_json_with_addresses_as_text() {
        let account = Account::default();
        let forged = Net { addr: [198, 18, 0, 0].into(), len: 15 };
        account.note(Protocol::Udp, (forged, 0), (IpAddr::from([192, 0, 2, 9]).into(), 53), 1, 7);
        let line = account.report("x", 0).to_line();
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["flows"][0]["source"], "198.18.0.0/15");
        assert_eq!(value["flows"][0]["target"], "192.0.2.9");
        assert_eq!(value["flows"][0]["source_port"], serde_json::Value::Null);
        assert_eq!(value["flows"][0]["protocol"], "udp");
        assert!(!line.contains('\n'));
    }
}
