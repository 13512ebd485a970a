//! Judgement of traffic that somebody else has counted: a second or so of a whole host or network in a few figures.
//!
//! Rules judge the figures as they are (`subject = "snapshot"`, rules/snapshot.toml). Beside them a [`Baseline`] says how
//! unlike ordinary traffic they are, in three views, and a [`History`] whether the like of it has been going on lately. Both
//! together make a [`Reading`]; [`Judge`] puts it all into one [`Verdict`].

mod baseline;
mod history;
mod judge;

pub use baseline::{Baseline, Options, Sample, Strangeness};
pub use history::{Held, History};
pub use judge::{Judge, Verdict};

use crate::metric::Metric;
use crate::profile::Values;
use wire::Addr;

#[doc(no_inline)]
pub use crate::learned::ensemble::Reading;

/// Figures of one window of traffic. All are finite and at least 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When it was, ns since 1970.
    pub at_ns: u64,
    /// Packets a second.
    pub packets_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Different addresses.
    pub addresses: f64,
    /// Different destination ports.
    pub ports: f64,
    /// UDP packets over TCP and UDP packets, 0 to 1; of neither 0.
    pub udp_share: f64,
    /// TCP packets that ask for a connection.
    pub syn_packets: f64,
    /// TCP packets, where they were counted.
    pub tcp_packets: f64,
    /// The address that sent most of it, where one is known.
    pub source: Option<Addr>,
}

/// Numbers of a [`Vector`].
pub const WIDTH: usize = 8;

/// A snapshot as models see it: amounts by the natural logarithm of one plus them, for their heavy tails.
pub type Vector = [f32; WIDTH];

/// A quantity of a vector.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// Its name in evidence.
    pub name: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// Whether the vector holds its logarithm.
    pub log: bool,
    /// How far two snapshots may differ in it and still be alike: a third as much again, or a sixth of the whole.
    pub(crate) tolerance: f32,
    of: fn(&Snapshot) -> f64,
}

/// A difference of logarithms of about 1.33.
const A_THIRD: f32 = 0.288;

const fn amount(name: &'static str, label: &'static str, of: fn(&Snapshot) -> f64) -> Quantity {
    Quantity { name, label, log: true, tolerance: A_THIRD, of }
}

const fn share(name: &'static str, label: &'static str, of: fn(&Snapshot) -> f64) -> Quantity {
    Quantity { name, label, log: false, tolerance: 1.0 / 6.0, of }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl Snapshot {
    /// Requests for connections over TCP packets, 0 to 1.
    #[must_use]
    pub fn syn_share(&self) -> f64 {
        ratio(self.syn_packets, self.tcp_packets).min(1.0)
    }

    /// Mean length of a packet, bytes.
    #[must_use]
    pub fn bytes_per_packet(&self) -> f64 {
        ratio(self.bytes_per_second, self.packets_per_second)
    }

    /// What rules may bound.
    #[must_use]
    pub fn values(&self) -> Values {
        Values::default()
            .with(Metric::SnapshotPacketsPerSecond, self.packets_per_second)
            .with(Metric::SnapshotBytesPerSecond, self.bytes_per_second)
            .with(Metric::SnapshotAddresses, self.addresses)
            .with(Metric::SnapshotPorts, self.ports)
            .with(Metric::SnapshotSynPackets, self.syn_packets)
            .with(Metric::SnapshotSynShare, self.syn_share())
            .with(Metric::SnapshotUdpShare, self.udp_share)
            .with(Metric::SnapshotBytesPerPacket, self.bytes_per_packet())
    }

    /// As models see it.
    #[must_use]
    pub fn vector(&self) -> Vector {
        QUANTITIES.map(|q| {
            let value = (q.of)(self);
            if q.log { value.ln_1p() as f32 } else { value as f32 }
        })
    }
}

impl Quantity {
    /// A number of a vector in its own unit.
    #[must_use]
    pub fn natural(&self, value: f32) -> f64 {
        if self.log { f64::from(value).exp_m1().max(0.0) } else { f64::from(value) }
    }
}

/// The quantities, in the order of a vector.
pub const QUANTITIES: [Quantity; WIDTH] = [
    amount("packets_per_second", "packets a second", |s| s.packets_per_second),
    amount("bytes_per_second", "bytes a second", |s| s.bytes_per_second),
    amount("unique_ips", "different addresses", |s| s.addresses),
    amount("unique_ports", "different ports", |s| s.ports),
    share("udp_share", "share of UDP", |s| s.udp_share),
    share("syn_share", "share of connection requests among TCP packets", Snapshot::syn_share),
    amount("bytes_per_packet", "bytes a packet", Snapshot::bytes_per_packet),
    amount("packets_per_address", "packets of each address", |s| ratio(s.packets_per_second, s.addresses)),
];
