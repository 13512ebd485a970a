//! Kernel snapshots into the same table.

use crate::event::{Share, What};
use crate::outcome::{Before, is_exempt, opening};
use crate::slot::Mark;
use crate::summary::Young;
use crate::table::Arrival;
use crate::tracker::millis;
use crate::window::JUDGE_EVERY;
use crate::{Accumulator, EndReason, Event, FlowKey, FlowRecord, FlowStats, Outcome, Talk, Tracker};

/// How much longer than a flow seen packet by packet one seen in snapshots may be silent, ns (2 s): the packets that keep
/// it alive may be in a snapshot still to come.
pub(crate) const SNAPSHOT_SLACK_NS: u64 = 2_000_000_000;

/// Beginnings at most this far apart are one beginning, ns (5 ms): a source that converts its clock to another tells them
/// a little differently each time that it compares the two. No connection ends and begins anew so soon.
const SAME_NS: u64 = 5_000_000;

impl Tracker {
    /// Takes in a snapshot of a flow read at `now_ns`: `stats` are its sums since it began. The difference to what is
    /// known goes into the windows; the same snapshot again changes nothing.
    ///
    /// - Outcomes follow from the snapshot: `Refused` if all the responder's packets had RST and no handshake completed;
    ///   `Unanswered` if a snapshot read after the grace time shows no answer. A flow that vanishes from the source
    ///   before that stays `Pending`.
    /// - A flow that began anew at the source ends here (`Reused`, or `Idle` after the idle time) and begins anew.
    /// - A snapshot older than what is known, or of an unknown flow that is past its idle or linger time, is ignored and
    ///   counted: the source has not yet forgotten a flow that ended here. Keys reported by [`What::Ended`] should be
    ///   forgotten at the source, except after [`EndReason::Active`].
    /// - Packets count in the windows of the time of the last of them. Snapshots of one reading need no order, but windows
    ///   of one second are only as sharp as the readings are frequent.
    ///
    /// A flow is to be fed by either packets or snapshots, not both. What its packets said may come through [`Self::data`].
    pub fn merge(&mut self, now_ns: u64, key: FlowKey, stats: &FlowStats, events: &mut Vec<Event>) {
        self.begin_call(now_ns, events);
        self.counters.snapshots += 1;
        self.take_in(now_ns, key, stats, events);
        self.end_call();
    }

    fn take_in(&mut self, now_ns: u64, key: FlowKey, stats: &FlowStats, events: &mut Vec<Event>) {
        let hash = self.flows.hash(&key);
        let Some(slot) = self.flows.find(hash, &key) else {
            let last = stats.last_ns();
            let stay = if stats.is_over() { self.config.linger_ns } else { self.idle_ns(key.protocol) };
            if packets(stats) == 0 || now_ns > last.saturating_add(stay).saturating_add(SNAPSHOT_SLACK_NS) {
                self.counters.snapshots_stale += 1;
                return;
            }
            self.begin_merged(hash, key, stats, events);
            return;
        };
        let known = self.known(slot);
        if packets(&known) == 0 {
            if packets(stats) > 0 {
                self.adopt(slot, stats, events);
            }
            return;
        }
        let (first, last) = (stats.first_ns(), stats.last_ns());
        let fewer = packets(stats) < packets(&known);
        let other = first.abs_diff(known.first_ns()) > SAME_NS;
        if other && (first > known.last_ns() || (fewer && first > known.first_ns())) {
            let idle = first.saturating_sub(known.last_ns()) > self.idle_ns(key.protocol);
            self.end(slot, if idle { EndReason::Idle } else { EndReason::Reused }, events);
            self.begin_merged(hash, key, stats, events);
            return;
        }
        let grown = packets(stats) > packets(&known);
        if fewer && last <= known.last_ns() || !grown && last < known.last_ns() {
            // With as many packets it is what is known, told by a clock converted a little differently.
            if fewer || known.last_ns() - last > SAME_NS {
                self.counters.snapshots_stale += 1;
            } else {
                self.wait_out(slot, now_ns, events);
            }
            return;
        }
        let first_ns = self.flows.first_ns(slot);
        let active_ns = self.config.active_ns(&key, self.flows.stats(slot));
        if grown && last.saturating_sub(first_ns) > active_ns {
            let record = self.flows.record(slot);
            let session = self.detach(slot);
            self.end(slot, EndReason::Active, events);
            let rest = difference(stats, &known);
            *self.flows.draft() = FlowRecord { stats: rest, talk: record.talk.resumed(), ..*record };
            let at = last.min(self.clock);
            let arrival = Arrival { resumed: true, merged: true, young: None };
            let slot = self.begin_flow(hash, at, &arrival, Share::default(), events);
            self.attach(slot, session);
            self.bases.insert(slot, known);
            self.apply(slot, now_ns, &known, stats, events);
            return;
        }
        let rest = match self.bases.get(&slot) {
            Some(base) => difference(stats, base),
            None => *stats,
        };
        self.flows.set_stats(slot, &rest);
        self.apply(slot, now_ns, &known, stats, events);
    }

    fn begin_merged(&mut self, hash: u32, key: FlowKey, stats: &FlowStats, events: &mut Vec<Event>) {
        self.make_room(events);
        *self.flows.draft() =
            FlowRecord { key, stats: *stats, outcome: Outcome::Pending, talk: Talk::NOTHING };
        let begun = stats.first_ns().min(self.clock);
        let young = Young::of_stats(stats, key.protocol);
        let arrival = Arrival { young, resumed: false, merged: true };
        let slot = self.begin_flow(hash, begun, &arrival, Share::default(), events);
        let nothing = FlowStats { dir: [Accumulator::EMPTY; 2], established_ns: 0, ..*stats };
        self.apply_from(slot, self.clock, &nothing, stats, Before::default(), events);
    }

    /// Completes the beginning of a flow that [`Self::data`] began: its first snapshot is here.
    fn adopt(&mut self, slot: u32, stats: &FlowStats, events: &mut Vec<Event>) {
        let begun = stats.first_ns().min(self.clock);
        self.flows.set_stats(slot, stats);
        let s = self.flows.at_mut(slot);
        s.begun_ms = millis(begun);
        let opening = opening(&s.key, stats);
        s.mark(Mark::Exempt, is_exempt(&s.key, stats, opening, &s.target().0));
        self.watch_idle(slot);
        self.tell(slot, What::Opened(opening), events);
        let nothing = FlowStats { dir: [Accumulator::EMPTY; 2], established_ns: 0, ..*stats };
        self.apply_from(slot, self.clock, &nothing, stats, Before::default(), events);
    }

    fn apply(
        &mut self,
        slot: u32,
        now_ns: u64,
        known: &FlowStats,
        stats: &FlowStats,
        events: &mut Vec<Event>,
    ) {
        self.apply_from(slot, now_ns, known, stats, Before::of(known), events);
    }

    /// Counts what `stats` has more than `known`, then settles the flow.
    fn apply_from(
        &mut self,
        slot: u32,
        now_ns: u64,
        known: &FlowStats,
        stats: &FlowStats,
        before: Before,
        events: &mut Vec<Event>,
    ) {
        let share = share(known, stats);
        let at = stats.last_ns().min(self.clock);
        if !share.is_empty() {
            let begins = if packets(known) == 0 { stats.first_ns() } else { known.last_ns() };
            self.counters.packets += share.total();
            self.counters.bytes =
                self.counters.bytes.saturating_add(share.bytes.saturating_add(share.reply_bytes));
            self.tell(slot, What::Counted { share, begins_ns: begins.min(at), last_ns: at }, events);
            let rounds = |s: &FlowStats| packets(s) / u64::from(JUDGE_EVERY);
            if rounds(stats) != rounds(known) {
                let record = self.flows.record(slot);
                self.tell(slot, What::Grown(record), events);
            }
            self.settle(slot, at, before, events);
        }
        self.wait_out(slot, now_ns, events);
    }

    /// Fails a flow that a snapshot read at `now_ns` shows without an answer after the grace time.
    fn wait_out(&mut self, slot: u32, now_ns: u64, events: &mut Vec<Event>) {
        let due = self.flows.first_ns(slot).saturating_add(self.config.grace_ns);
        let s = self.flows.at(slot);
        if s.outcome == Outcome::Pending && !s.is(Mark::Exempt) && now_ns >= due {
            self.fail(slot, Outcome::Unanswered, due.min(self.clock), events);
        }
    }

    /// Sums of the source's flow as of the last snapshot.
    fn known(&mut self, slot: u32) -> FlowStats {
        let mut known = *self.flows.stats(slot);
        if let Some(base) = self.bases.get(&slot) {
            for (d, b) in known.dir.iter_mut().zip(&base.dir) {
                combine(d, b, u64::wrapping_add, u32::wrapping_add);
                d.first_ns = b.first_ns;
            }
            combine_flow(&mut known, base, u64::wrapping_add, u32::wrapping_add);
            known.syn_ns = base.syn_ns;
            known.synack_ns = base.synack_ns;
            known.established_ns = base.established_ns;
        }
        known
    }
}

fn packets(s: &FlowStats) -> u64 {
    s.dir[0].packets.wrapping_add(s.dir[1].packets)
}

/// Applies an operation to every field of `d` that is a sum.
fn combine(d: &mut Accumulator, b: &Accumulator, wide: fn(u64, u64) -> u64, narrow: fn(u32, u32) -> u32) {
    for (to, from) in [
        (&mut d.packets, b.packets),
        (&mut d.bytes, b.bytes),
        (&mut d.payload_bytes, b.payload_bytes),
        (&mut d.payload_squares, b.payload_squares),
        (&mut d.header_bytes, b.header_bytes),
        (&mut d.gap_sum_us, b.gap_sum_us),
        (&mut d.gap_squares, b.gap_squares),
    ] {
        *to = wide(*to, from);
    }
    for (to, from) in d.flags.iter_mut().zip(b.flags) {
        *to = narrow(*to, from);
    }
    d.data_packets = narrow(d.data_packets, b.data_packets);
    d.fragments = narrow(d.fragments, b.fragments);
    d.retransmitted = narrow(d.retransmitted, b.retransmitted);
    d.lost = narrow(d.lost, b.lost);
}

/// Applies an operation to every sum over both directions.
fn combine_flow(s: &mut FlowStats, b: &FlowStats, wide: fn(u64, u64) -> u64, narrow: fn(u32, u32) -> u32) {
    s.gap_sum_us = wide(s.gap_sum_us, b.gap_sum_us);
    s.gap_squares = wide(s.gap_squares, b.gap_squares);
    for (to, from) in [(&mut s.active, &b.active), (&mut s.idle, &b.idle)] {
        to.sum_us = wide(to.sum_us, from.sum_us);
        to.squares = wide(to.squares, from.squares);
        to.count = narrow(to.count, from.count);
    }
}

/// The part of `now` after `cut`: sums are differences. A direction's first time is the time of the cut, since that of
/// its next packet is not in the sums; minima, maxima, first segment and head are those of the whole.
fn difference(now: &FlowStats, cut: &FlowStats) -> FlowStats {
    let mut rest = *now;
    for (d, c) in rest.dir.iter_mut().zip(&cut.dir) {
        combine(d, c, u64::wrapping_sub, u32::wrapping_sub);
        if d.packets == 0 {
            *d = Accumulator { last_ns: d.last_ns, ..Accumulator::EMPTY };
        } else if c.packets > 0 {
            d.first_ns = c.last_ns;
        }
    }
    combine_flow(&mut rest, cut, u64::wrapping_sub, u32::wrapping_sub);
    if cut.syn_ns != 0 {
        rest.syn_ns = 0;
    }
    if cut.synack_ns != 0 {
        rest.synack_ns = 0;
    }
    if cut.established_ns != 0 {
        rest.established_ns = 0;
    }
    rest
}

/// What a flow's packets between two snapshots add to a window.
fn share(known: &FlowStats, stats: &FlowStats) -> Share {
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let (sent, sent_known) = (stats.from_initiator(), known.from_initiator());
    let (back, back_known) = (stats.from_responder(), known.from_responder());
    Share {
        packets: narrow(sent.packets.saturating_sub(sent_known.packets)),
        bytes: sent.bytes.saturating_sub(sent_known.bytes),
        reply_packets: narrow(back.packets.saturating_sub(back_known.packets)),
        reply_bytes: back.bytes.saturating_sub(back_known.bytes),
        syn_packets: sent.flags[1].saturating_sub(sent_known.flags[1]),
        reply_resets: back.flags[2].saturating_sub(back_known.flags[2]),
    }
}
