//! The one way through: packets or kernel snapshots in, flow records, incidents and decisions out.
//!
//! Live traffic, capture files and simulation all pass here; only what feeds the line and what drinks from its taps
//! differs. The way has two parts: a [`Worker`] knows flows, and the [`Judge`] all else. [`Line`] is one of each, on one
//! thread; [`crate::engine`] runs several workers.

mod judge;
#[cfg(test)]
mod tests;
mod worker;

pub use judge::{Judge, JudgeConfig, Reputation};
pub use worker::{Cursor, Intake, Report, Reports, Worked, Worker};

use auth::LoginEvent;
use detect::{Detector, Exceptions, Incident, IncidentBook, RuleSet, Signal, Update};
use flow::fragment::OddFragment;
use flow::{
    Census, Conversation, Direction, EndReason, FlowKey, FlowRecord, FlowStats, Segment, TrackerConfig,
    Window,
};
use respond::{Decision, Responder};
use wire::message::{Message, Side};
use wire::{Addr, LinkType};

/// Flows ended at once at the end of input: the records of a full table would double its memory.
pub const FINISH_PORTION: usize = 4096;

/// Who drinks from the line. Calls come in the order in which things happened.
pub trait Tap {
    /// A flow left the table.
    fn flow(&mut self, at_ns: u64, record: &FlowRecord, reason: EndReason);
    /// A message was completed in a flow.
    fn message(&mut self, at_ns: u64, flow: &Conversation, from: Side, message: &Message);
    /// An incident opened, changed or ended; with the signal that caused it (none at the end) and what policy decided
    /// about it, if anything.
    fn incident(&mut self, at_ns: u64, update: &Update, signal: Option<&Signal>, decision: Option<&Decision>);
    /// A block was put in force, lifted or ran out; also those passed to `incident`.
    fn decision(&mut self, decision: &Decision);
    /// A flow has grown by [`flow::window::JUDGE_EVERY`] packets.
    fn grown(&mut self, _at_ns: u64, _record: &FlowRecord) {}
    /// A window of a source is over, judged or not; called only where [`JudgeConfig::tell_windows`] is set.
    fn window(&mut self, _window: &detect::learned::JudgedWindow) {}
    /// Frames that could not be parsed: called at the first and at each power of two, with the count so far.
    fn anomaly(&mut self, at_ns: u64, reason: &'static str, count: u64);
}

/// What the line is made from.
#[derive(Clone, Debug)]
pub struct LineConfig {
    /// Flow table.
    pub tracker: TrackerConfig,
    /// What judges.
    pub judge: JudgeConfig,
}

/// A worker and a judge, one behind the other.
pub struct Line {
    worker: Worker,
    judge: Judge,
    /// On their way from the one to the other; empty between calls.
    reports: Reports,
    /// What workers on other threads counted, whose reports the judge takes too.
    elsewhere: Worked,
}

impl Line {
    /// An empty line.
    pub fn new(config: LineConfig) -> Self {
        Self {
            worker: Worker::new(config.tracker),
            judge: Judge::new(config.judge),
            reports: Reports::default(),
            elsewhere: Worked::default(),
        }
    }

    /// Takes one frame.
    pub fn frame(
        &mut self,
        at_ns: u64,
        link: Option<LinkType>,
        data: &[u8],
        frame_len: u32,
        tap: &mut impl Tap,
    ) {
        if self.worker.ticks_at(at_ns) {
            self.advance(at_ns, tap);
        }
        self.worker.frame(at_ns, link, data, frame_len, &mut self.reports);
        self.hand_over(tap);
    }

    /// Takes a flow's counts as the kernel holds them.
    pub fn snapshot(&mut self, at_ns: u64, key: FlowKey, stats: &FlowStats, tap: &mut impl Tap) {
        self.worker.snapshot(at_ns, key, stats, &mut self.reports);
        self.hand_over(tap);
    }

    /// Takes the start of a payload as the kernel sends it up; its packet is counted by [`Self::snapshot`].
    pub fn segment(
        &mut self,
        at_ns: u64,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        tap: &mut impl Tap,
    ) {
        self.worker.segment(at_ns, key, direction, segment, &mut self.reports);
        self.hand_over(tap);
    }

    /// Takes the kernel's word of an odd fragment; its packet is counted by [`Self::snapshot`] unless it was dropped.
    pub fn odd_fragment(&mut self, at_ns: u64, odd: &OddFragment, tap: &mut impl Tap) {
        self.worker.odd_fragment(at_ns, odd, &mut self.reports);
        self.hand_over(tap);
    }

    /// Takes the kernel's word that a source crossed a tunable within its one-second window.
    pub fn source_over(&mut self, at_ns: u64, addr: Addr, window: &Window, tap: &mut impl Tap) {
        self.judge.source_over(at_ns, addr, window, tap);
    }

    /// Takes a login at `server` that a log tells of.
    pub fn login(&mut self, at_ns: u64, event: &LoginEvent, server: Addr, tap: &mut impl Tap) {
        self.judge.login(at_ns, event, server, tap);
    }

    /// Takes what a detector elsewhere found of what passed here; `false` if it is about somebody on the allowlist.
    pub fn found(&mut self, finding: detect::learned::Finding, tap: &mut impl Tap) -> bool {
        self.judge.found(finding, tap)
    }

    /// Lets time pass: timeouts, ends of incidents, ends of blocks.
    pub fn advance(&mut self, now_ns: u64, tap: &mut impl Tap) {
        self.worker.advance(now_ns, &mut self.reports);
        self.hand_over(tap);
        self.judge.advance(self.worker.tracker().now_ns(), tap);
    }

    /// Ends every flow and incident. Blocks stay as they are.
    pub fn finish(&mut self, tap: &mut impl Tap) {
        self.advance(self.now_ns(), tap);
        loop {
            let more = self.worker.finish_some(FINISH_PORTION, &mut self.reports);
            self.hand_over(tap);
            if !more {
                break;
            }
        }
        self.judge.finish(tap);
    }

    #[inline]
    fn hand_over(&mut self, tap: &mut impl Tap) {
        if !self.reports.is_empty() {
            for report in self.reports.iter() {
                self.judge.take(report, tap);
            }
            self.worker.clear(&mut self.reports);
        }
    }

    /// Time of the latest input, ns.
    pub fn now_ns(&self) -> u64 {
        self.judge.now_ns().max(self.worker.tracker().now_ns())
    }

    /// What was counted, by workers on other threads too.
    pub fn worked(&self) -> Worked {
        let mut worked = self.worker.worked();
        worked += &self.elsewhere;
        worked
    }

    /// What is left when everything has ended.
    pub fn into_judge(self) -> Judge {
        self.judge
    }

    /// The judge of this worker and of those on other threads.
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The same, to hand it reports of workers on other threads, and what those have counted so far.
    pub const fn judge_of_others(&mut self) -> (&mut Judge, &mut Worked) {
        (&mut self.judge, &mut self.elsewhere)
    }

    /// Entities and rates.
    pub const fn census(&self) -> &Census {
        self.judge.census()
    }

    /// Rules in force and their state.
    pub const fn detector(&self) -> &Detector {
        self.judge.detector()
    }

    /// Incidents.
    pub const fn book(&self) -> &IncidentBook {
        self.judge.book()
    }

    /// Policy and blocks.
    pub const fn responder(&self) -> &Responder {
        self.judge.responder()
    }

    /// Policy and blocks, to command them.
    pub const fn responder_mut(&mut self) -> &mut Responder {
        self.judge.responder_mut()
    }

    /// Replaces rules after a reload; the state of rules begins anew, incidents, windows and flows stay.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.judge.set_rules(rules);
    }

    /// Puts other models in place; evidence against sources begins anew.
    ///
    /// # Errors
    /// Models made for other features; those at work stay.
    pub fn set_models(
        &mut self,
        models: &detect::learned::Models,
    ) -> Result<(), detect::learned::ModelError> {
        self.judge.set_models(models)
    }

    /// What operators declared to be no attack.
    pub const fn exceptions(&self) -> &Exceptions {
        self.judge.exceptions()
    }

    /// The same, to change it.
    pub const fn exceptions_mut(&mut self) -> &mut Exceptions {
        self.judge.exceptions_mut()
    }

    /// Has signals weighed by the reputation of their actors from now on.
    pub fn set_reputation(&mut self, reputation: Option<Reputation>) {
        self.judge.set_reputation(reputation);
    }

    /// Open incidents that name an address as actor or target.
    pub fn incidents_about(&self, addr: Addr) -> Vec<&Incident> {
        self.judge.incidents_about(addr)
    }
}
