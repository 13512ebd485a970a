//! Calls at regular intervals: who contacts the same service again and again, and how evenly.
//!
//! Dispersion and skew follow RITA's idea (Active Countermeasures): the median absolute deviation of the intervals over
//! their median, and Bowley's measure of skewness. An agent that waits its interval with a uniform jitter of ± j has an
//! expected dispersion of j / 2 and no skew; people and crawlers come in bursts, with a dispersion near 1.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::home::{Home, is_host};
use crate::metric::Metric;
use flow::Conversation;
use std::sync::Arc;
use wire::Addr;
use wire::packet::protocol;

/// Pairs of caller and service remembered, some 350 bytes each.
const CAPACITY: usize = 16_384;
/// A pair that is silent for longer is forgotten: slower beacons are not seen.
const MEMORY_NS: u64 = 2 * 3600 * 1_000_000_000;
/// Connections closer together are one call: programs open several at once.
const ONE_CALL_NS: u64 = 1_000_000_000;
/// Intervals and sizes kept for each pair.
const KEPT: usize = 24;
/// Calls before anything is observed.
const ENOUGH: usize = 8;
/// Services that are asked at intervals by their nature: DHCP, DNS, NTP, NetBIOS, SSDP, mDNS, LLMNR.
const REGULAR_PORTS: [u16; 9] = [53, 67, 68, 123, 137, 138, 1900, 5353, 5355];

/// Caller, service, port, protocol.
type Pair = (Addr, Addr, u16, u8);

/// What is remembered of a pair. Rings of the latest [`KEPT`].
#[derive(Debug, Default)]
struct Calls {
    first_ns: u64,
    last_ns: u64,
    calls: u32,
    /// Milliseconds between calls.
    intervals: [u32; KEPT],
    /// Payload bytes sent in a call.
    sizes: [u32; KEPT],
    sized: u32,
}

/// Calls at regular intervals; see the module.
#[derive(Debug)]
pub(crate) struct Beacons {
    home: Arc<Home>,
    pairs: Table<Pair, Calls>,
    /// Callers of each service outside, up to [`Callers::MOST`].
    callers: Table<(Addr, u16), Callers>,
}

/// The few that call a service.
#[derive(Debug, Default)]
struct Callers {
    some: [Option<Addr>; Self::MOST],
}

impl Callers {
    /// Beyond this many, the service is popular.
    const MOST: usize = 8;

    fn add(&mut self, addr: Addr) -> usize {
        for (n, place) in self.some.iter_mut().enumerate() {
            match place {
                Some(known) if *known == addr => break,
                Some(_) => {}
                None => {
                    *place = Some(addr);
                    return n + 1;
                }
            }
        }
        self.some.iter().flatten().count()
    }
}

impl Beacons {
    pub(crate) fn new(home: Arc<Home>) -> Self {
        Self { home, pairs: Table::new(CAPACITY, MEMORY_NS), callers: Table::new(CAPACITY / 4, MEMORY_NS) }
    }
}

fn pair(home: &Home, flow: &Conversation) -> Option<Pair> {
    let ((source, _), (target, port)) = (flow.initiator(), flow.responder());
    let spoken = matches!(flow.key.protocol, protocol::TCP | protocol::UDP);
    let calls = spoken && is_host(target) && home.contains(source) && !home.contains(target);
    (calls && !REGULAR_PORTS.contains(&port)).then_some((source, target, port, flow.key.protocol))
}

impl Profile for Beacons {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::Beacon]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Started, Kind::Ended]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        match fact {
            Fact::Started(flow) => {
                if let Some(pair) = pair(&self.home, flow) {
                    self.call(now_ns, pair, flow, out);
                }
            }
            Fact::Ended(flow, _) => {
                let pair = pair(&self.home, &Conversation::of(flow));
                if let Some(calls) = pair.and_then(|p| self.pairs.get_mut(&p, now_ns)) {
                    let size = u32::try_from(flow.stats.from_initiator().payload_bytes).unwrap_or(u32::MAX);
                    calls.sizes[calls.sized as usize % KEPT] = size;
                    calls.sized = calls.sized.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted() + self.callers.evicted()
    }
}

impl Beacons {
    fn call(&mut self, now_ns: u64, pair: Pair, flow: &Conversation, out: &mut Vec<Observation>) {
        let calls = self.pairs.touch(pair, now_ns);
        if calls.calls == 0 {
            calls.first_ns = now_ns;
        } else {
            let gap = now_ns.saturating_sub(calls.last_ns);
            if gap < ONE_CALL_NS {
                return;
            }
            let millis = u32::try_from(gap / 1_000_000).unwrap_or(u32::MAX);
            calls.intervals[(calls.calls as usize - 1) % KEPT] = millis;
        }
        calls.last_ns = now_ns;
        calls.calls = calls.calls.saturating_add(1);
        let callers = self.callers.touch((pair.1, pair.2), now_ns).add(pair.0);
        if calls.calls as usize <= ENOUGH {
            return;
        }
        let Some(spread) = Spread::of(&calls.intervals, calls.calls as usize - 1) else { return };
        let sizes = Spread::of(&calls.sizes, calls.sized as usize);
        let values = Values::default()
            .with(Metric::BeaconCalls, f64::from(calls.calls))
            .with(Metric::BeaconIntervalSeconds, spread.median / 1000.0)
            .with(Metric::BeaconDispersion, spread.dispersion)
            .with(Metric::BeaconSkew, spread.skew)
            .with(Metric::BeaconMinutes, (now_ns - calls.first_ns) as f64 / 60e9)
            .with(Metric::BeaconCallers, callers as f64)
            .with_some(Metric::BeaconSizeDispersion, sizes.map(|s| s.dispersion));
        out.push(Observation::of_flow(Subject::Beacon, flow, calls.first_ns, values));
    }
}

/// Location and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    /// Median absolute deviation over the median.
    dispersion: f64,
    /// Bowley's skewness, absolute, 0..=1.
    skew: f64,
}

impl Spread {
    /// Of the first `n` entries of a ring, all of it if `n` is larger; `None` below four.
    fn of(ring: &[u32; KEPT], n: usize) -> Option<Self> {
        let n = n.min(KEPT);
        if n < 4 {
            return None;
        }
        let mut sorted = *ring;
        let sample = &mut sorted[..n];
        sample.sort_unstable();
        let [q1, median, q3] = [1, 2, 3].map(|quarter| f64::from(sample[(n - 1) * quarter / 4]));
        let skew = if q3 > q1 { ((q1 + q3 - 2.0 * median) / (q3 - q1)).abs() } else { 0.0 };
        for value in sample.iter_mut() {
            *value = (f64::from(*value) - median).abs() as u32;
        }
        sample.sort_unstable();
        let deviation = f64::from(sample[(n - 1) / 2]);
        let dispersion = if median > 0.0 { deviation / median } else { 0.0 };
        Some(Self { median, dispersion, skew })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(values: &[u32]) -> [u32; KEPT] {
        let mut ring = [0; KEPT];
        ring[..values.len()].copy_from_slice(values);
        ring
    }

    #[test]
    fn spread_by_hand() {
        for (values, median, dispersion, skew) in [
            (vec![100, 100, 100, 100, 100], 100.0, 0.0, 0.0),
            (vec![80, 90, 100, 110, 120], 100.0, 0.1, 0.0),
            (vec![10, 10, 10, 100, 1000], 10.0, 0.0, 1.0),
        ] {
            let s = Spread::of(&ring(&values), values.len()).unwrap();
            assert_eq!(s, Spread { median, dispersion, skew }, "{values:?}");
        }
        assert_eq!(Spread::of(&ring(&[1, 2, 3]), 3), None);
    }

    #[test]
    fn popular_services_are_told_from_private_ones() {
        let mut callers = Callers::default();
        let host = |n| Addr::v4([10, 0, 0, n]);
        assert_eq!((callers.add(host(1)), callers.add(host(1)), callers.add(host(2))), (1, 1, 2));
        let most = (0..50).map(|n| callers.add(host(n))).max();
        assert_eq!(most, Some(Callers::MOST));
    }
}
