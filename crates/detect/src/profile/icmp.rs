//! Echoes that carry something: an honest reply returns exactly what was sent.

use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::metric::Metric;
use wire::packet::protocol;

/// Requests or replies of a pair before anything is observed.
const ENOUGH: u64 = 16;

/// Echo conversations; what is known of one is in its flow.
#[derive(Debug, Default)]
pub(crate) struct Echoes {}

impl Profile for Echoes {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::Echoes]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Grown, Kind::Ended]
    }

    fn learn(&mut self, _now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let (Fact::Grown(flow) | Fact::Ended(flow, _)) = fact else { return };
        let request = match flow.key.protocol {
            protocol::ICMP => 8,
            protocol::ICMPV6 => 128,
            _ => return,
        };
        let (asked, answered) = (flow.stats.from_initiator(), flow.stats.from_responder());
        if flow.initiator().1 != request
            || asked.packets.max(answered.packets) < ENOUGH
            || asked.packets.min(answered.packets) == 0
        {
            return;
        }
        let mean = |bytes: u64, packets: u64| bytes as f64 / packets as f64;
        let (up, down) =
            (mean(asked.payload_bytes, asked.packets), mean(answered.payload_bytes, answered.packets));
        let values = Values::default()
            .with(Metric::EchoPairs, asked.packets.min(answered.packets) as f64)
            .with(Metric::EchoUnasked, answered.packets.saturating_sub(asked.packets) as f64)
            .with(Metric::EchoAsymmetry, (up - down).abs() / up.max(down).max(1.0))
            .with(
                Metric::EchoSizes,
                f64::from(
                    asked.payload_max.max(answered.payload_max) - asked.payload_min.min(answered.payload_min),
                ),
            )
            .with(Metric::EchoKilobytes, (asked.payload_bytes + answered.payload_bytes) as f64 / 1e3);
        let mut o = Observation::of_record(Subject::Echoes, flow, flow.first_ns(), values);
        o.port = None;
        out.push(o);
    }

    fn evicted(&self) -> u64 {
        0
    }
}
