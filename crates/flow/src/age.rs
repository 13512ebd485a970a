//! Windows of flows: the age at which a flow is reported and begun anew, by what it is.
//!
//! One active timeout for all either cuts conversations into crumbs or lets a download of an hour be one row. Datasets are made
//! with three windows: short ones for questions and answers, long ones for what is the same for long, and one for the rest.

use crate::app::{App, of_head};
use crate::{FlowKey, FlowStats};
use serde::Serialize;
use wire::packet::protocol;

/// Packets up to which a flow other than TCP is a short exchange: a question and its answer, each repeated once.
const SHORT_PACKETS: u64 = 4;

/// Payload from which a flow is a transfer, bytes: within the ordinary window 0.8 Mbit/s, the least of moving pictures.
const BULK_BYTES: u64 = 1 << 20;

/// Ports of name resolution: DNS (RFC 1035), mDNS (RFC 6762), LLMNR (RFC 4795).
const NAMES: [u16; 3] = [53, 5353, 5355];

/// Port of SSH (RFC 4253).
const SSH: u16 = 22;

/// Three windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ages {
    /// Of DNS, ICMP and short exchanges, ns.
    pub short_ns: u64,
    /// Of all others, ns.
    pub ordinary_ns: u64,
    /// Of SSH and of transfers, which are downloads, uploads and streams, ns.
    pub long_ns: u64,
}

impl Default for Ages {
    /// 1, 10 and 60 s.
    fn default() -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self { short_ns: SECOND, ordinary_ns: 10 * SECOND, long_ns: 60 * SECOND }
    }
}

impl Ages {
    /// The window of a flow with these sums, ns. It may grow as the flow does, never shrink, but for the first packets of an
    /// exchange that turns out not to be short.
    #[must_use]
    pub fn of(&self, key: &FlowKey, stats: &FlowStats) -> u64 {
        let has_port = |ports: &[u16]| ports.contains(&key.lo_port) || ports.contains(&key.hi_port);
        let app = of_head(stats, key);
        let [a, b] = &stats.dir;
        match key.protocol {
            protocol::ICMP | protocol::ICMPV6 => self.short_ns,
            protocol::TCP | protocol::UDP if app == App::Dns || has_port(&NAMES) => self.short_ns,
            protocol::TCP if app == App::Ssh || has_port(&[SSH]) => self.long_ns,
            _ if a.payload_bytes.saturating_add(b.payload_bytes) >= BULK_BYTES => self.long_ns,
            protocol::TCP => self.ordinary_ns,
            _ if a.packets.saturating_add(b.packets) <= SHORT_PACKETS => self.short_ns,
            _ => self.ordinary_ns,
        }
    }
}
