//! The tracker's side of sessions: which flow a payload belongs to, and what becomes of what its session understood.

use crate::{Accumulator, Direction, Event, FlowKey, FlowRecord, FlowStats, Outcome, Segment, Talk, Tracker};

impl Tracker {
    /// Takes the start of a payload seen at `now_ns`, sent in `direction` of the flow under `key`, from a source whose
    /// counts come as snapshots ([`Self::merge`]). Nothing is counted but what the session counts. A flow not in the table
    /// is begun with zero counts; the first snapshot of it completes the beginning, and without one it ends after the
    /// idle time.
    pub fn data(
        &mut self,
        now_ns: u64,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        events: &mut Vec<Event>,
    ) {
        let now = self.begin_call(now_ns, events);
        let hash = self.flows.hash(&key);
        let slot = match self.flows.find(hash, &key) {
            Some(slot) => slot,
            None => {
                let record = FlowRecord {
                    key,
                    stats: awaited(now, segment.initiator),
                    outcome: Outcome::Pending,
                    talk: Talk::default(),
                };
                self.begin_flow(hash, now, record, true, true, events)
            }
        };
        let _ = (slot, direction);
        self.end_call();
    }
}

/// The counts of a flow of which the source's are still to come: none, at `now_ns`.
fn awaited(now_ns: u64, initiator: Direction) -> FlowStats {
    let none = Accumulator { first_ns: now_ns, last_ns: now_ns, ..Accumulator::EMPTY };
    FlowStats { dir: [none; 2], initiator, ..FlowStats::EMPTY }
}
