//! Snapshots in a few words.

use super::EPOCH_NS;
use crate::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

/// Figures of one window of traffic, see [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Packets a second.
    pub packets_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Different addresses.
    pub addresses: f64,
    /// Different destination ports.
    pub ports: f64,
    /// TCP packets.
    pub tcp_packets: f64,
    /// UDP packets.
    pub udp_packets: f64,
    /// TCP packets that ask for a connection.
    pub syn_packets: f64,
}

impl Figures {
    /// As the judge takes them.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let both = self.tcp_packets + self.udp_packets;
        Snapshot {
            at_ns: EPOCH_NS,
            packets_per_second: self.packets_per_second,
            bytes_per_second: self.bytes_per_second,
            addresses: self.addresses,
            ports: self.ports,
            udp_share: if both > 0.0 { self.udp_packets / both } else { 0.0 },
            syn_packets: self.syn_packets,
            tcp_packets: self.tcp_packets,
            source: None,
        }
    }
}
