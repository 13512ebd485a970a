//! Fragments and segments that different readers would read differently.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::metric::Metric;
use flow::{FlowRecord, Oddity};
use wire::Addr;

/// Sources remembered, some 40 bytes each.
const CAPACITY: usize = 8192;
/// A source that does nothing odd for this long begins anew.
const MEMORY_NS: u64 = 60_000_000_000;

/// Fragments of a flow before its fragments alone are observed.
const ENOUGH: u32 = 4;
/// Content below which no path makes a fragment, as in [`flow::fragment`]; the last of a datagram may be shorter.
const MIN_CONTENT: u16 = 256;

/// Flows of one source in which something was odd.
#[derive(Debug, Default)]
struct Oddities {
    since_ns: u64,
    conflicts: u32,
    overlaps: u32,
    tiny: u32,
}

/// Odd fragments and segments, by source.
#[derive(Debug)]
pub(crate) struct Evasions {
    sources: Table<Addr, Oddities>,
}

impl Default for Evasions {
    fn default() -> Self {
        Self { sources: Table::new(CAPACITY, MEMORY_NS) }
    }
}

impl Profile for Evasions {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::Oddities]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Odd, Kind::Grown, Kind::Ended]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let (flow, oddity) = match fact {
            Fact::Odd(flow, oddity) => (flow, oddity),
            // Where even the first fragment is too short to be read, the counts of the flow are all there is.
            Fact::Grown(flow) | Fact::Ended(flow, _) => return small_fragments(now_ns, flow, out),
            _ => return,
        };
        let odd = self.sources.touch(flow.initiator().0, now_ns);
        if odd.since_ns == 0 {
            odd.since_ns = now_ns;
        }
        let count = match oddity {
            Oddity::SegmentConflict => &mut odd.conflicts,
            Oddity::FragmentOverlap => &mut odd.overlaps,
            Oddity::FragmentTiny => &mut odd.tiny,
            Oddity::StreamGap | Oddity::StreamOverrun | Oddity::FragmentOrphan => return,
        };
        *count = count.saturating_add(1);
        let values = Values::default()
            .with(Metric::ConflictingFlows, f64::from(odd.conflicts))
            .with(Metric::OverlappingFlows, f64::from(odd.overlaps))
            .with(Metric::TinyFragmentFlows, f64::from(odd.tiny));
        out.push(Observation::of_flow(Subject::Oddities, flow, odd.since_ns, values));
    }

    fn evicted(&self) -> u64 {
        self.sources.evicted()
    }
}

/// Observes a flow that consists of fragments none of which any network makes, except as the last of a datagram.
fn small_fragments(now_ns: u64, flow: &FlowRecord, out: &mut Vec<Observation>) {
    let sent = flow.stats.from_initiator();
    if sent.fragments < ENOUGH || sent.payload_max >= MIN_CONTENT {
        return;
    }
    let values = Values::default().with(Metric::TinyFragments, f64::from(sent.fragments));
    out.push(Observation::of_record(Subject::Oddities, flow, flow.first_ns().min(now_ns), values));
}
