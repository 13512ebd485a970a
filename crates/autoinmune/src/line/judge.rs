//! The part of the line that there is one of: reports of workers in, incidents and decisions out.

use super::{Report, Tap};
use auth::LoginEvent;
use detect::incident::AGREE_NS;
use detect::learned::{Finding, JudgedWindow, Learned, LearnedCounters, ModelError, Models};
use detect::{Actor, BookConfig, Detector, Exceptions, Incident, IncidentBook, RuleSet, Signal, Update};
use flow::tracker::CLOCK_RESTART_NS;
use flow::{Census, CensusConfig, FlowRecord, Role, Span, What, Window};
use respond::{Policy, Responder};
use std::sync::Arc;
use wire::Addr;

/// Tells the reputation of an address, 0..=100, higher is worse; `None` where nobody says anything of it.
pub type Reputation = Arc<dyn Fn(Addr) -> Option<u8> + Send + Sync>;

/// What a judge is made from.
#[derive(Clone, Debug)]
pub struct JudgeConfig {
    /// Entity table.
    pub census: CensusConfig,
    /// Rules.
    pub rules: RuleSet,
    /// What is learnt; without any models, nothing learned speaks.
    pub models: Models,
    /// Whether the tap is told of windows of sources, judged or not.
    pub tell_windows: bool,
    /// Incidents.
    pub book: BookConfig,
    /// Response.
    pub policy: Policy,
}

/// Whether a flow is one that a client without ill intent leaves behind: a TCP session that was set up, carried data
/// both ways and was closed by both sides.
fn is_good(record: &FlowRecord) -> bool {
    record.stats.established_ns != 0
        && record.stats.fin_mask == 3
        && record.stats.dir.iter().all(|d| d.payload_bytes > 0)
}

/// The judge; see the module. Its clock is the largest time told; it begins anew as that of a worker does.
pub struct Judge {
    census: Census,
    detector: Detector,
    /// `None` if nobody learnt anything and nobody wants windows: nothing is watched then.
    learned: Option<Learned>,
    windows: Vec<JudgedWindow>,
    book: IncidentBook,
    responder: Responder,
    reputation: Option<Reputation>,
    exceptions: Exceptions,
    now_ns: u64,
    signals: Vec<Signal>,
    updates: Vec<Update>,
    caused: Vec<(Update, Option<Signal>)>,
}

impl Judge {
    /// A judge who knows nothing yet.
    pub fn new(config: JudgeConfig) -> Self {
        let mut census = Census::new(config.census);
        // Models that do not fit this program were refused where they were loaded.
        let wanted = config.tell_windows || !config.models.is_empty();
        let mut learned = if wanted { Learned::new(&config.models, config.census.seed).ok() } else { None };
        if let Some(learned) = &mut learned {
            census.keep_past();
            if config.tell_windows {
                learned.keep_judged();
            }
        }
        Self {
            census,
            detector: Detector::new(config.rules),
            learned,
            windows: Vec::new(),
            book: IncidentBook::new(config.book),
            responder: Responder::new(config.policy),
            reputation: None,
            exceptions: Exceptions::default(),
            now_ns: 0,
            signals: Vec::new(),
            updates: Vec::new(),
            caused: Vec::new(),
        }
    }

    fn set_time(&mut self, at_ns: u64) {
        if at_ns > self.now_ns || self.now_ns - at_ns > CLOCK_RESTART_NS {
            self.now_ns = at_ns;
        }
    }

    /// Judges a report. Whether reports come one by one or many at once makes no difference.
    pub fn take(&mut self, report: Report<'_>, tap: &mut impl Tap) {
        self.set_time(report.at_ns());
        match report {
            Report::Flow(event) => {
                self.detector.judge(&mut self.census, std::slice::from_ref(event), &mut self.signals);
                if let Some(learned) = &mut self.learned {
                    let responder = &self.responder;
                    let allowed = |addr| responder.is_allowed(addr);
                    learned.take(event, &mut self.census, &allowed, &mut self.signals);
                }
                match &event.what {
                    What::Message(from, message) => tap.message(event.at_ns, &event.flow, *from, message),
                    What::Grown(record) => tap.grown(event.at_ns, record),
                    What::Ended(record, reason) => {
                        if is_good(record) {
                            let (client, _) = record.initiator();
                            if self.book.about(client).is_empty() {
                                self.responder.note_known_good(client, event.at_ns);
                            }
                        }
                        tap.flow(event.at_ns, record, *reason);
                    }
                    _ => {}
                }
            }
            Report::Arp { at_ns, arp } => self.detector.judge_arp(at_ns, arp, &mut self.signals),
            Report::Anomaly { at_ns, reason, count } => tap.anomaly(at_ns, reason, count),
        }
        if !self.signals.is_empty() {
            self.decide(tap);
        }
    }

    /// Takes the kernel's word that a source crossed a tunable within its one-second window.
    pub fn source_over(&mut self, at_ns: u64, addr: Addr, window: &Window, tap: &mut impl Tap) {
        self.set_time(at_ns);
        let who = (addr, Role::Source);
        self.detector.judge_window(self.now_ns, &self.census, who, Span::S1, window, &mut self.signals);
        self.decide(tap);
    }

    /// Takes a login at `server` that a log tells of.
    pub fn login(&mut self, at_ns: u64, event: &LoginEvent, server: Addr, tap: &mut impl Tap) {
        self.set_time(at_ns);
        self.detector.judge_login(self.now_ns, event, server, &mut self.signals);
        if !self.signals.is_empty() {
            self.decide(tap);
        }
    }

    /// Takes what a detector elsewhere found of what passed here. Of the allowlist nothing is heard: `false`.
    pub fn found(&mut self, mut finding: Finding, tap: &mut impl Tap) -> bool {
        if self.responder.is_allowed(finding.source) {
            return false;
        }
        finding.at_ns = finding.at_ns.min(self.now_ns);
        let mut signal = finding.signal();
        // What comes late is told, and is no ground for a block any more.
        signal.may_agree &= self.now_ns - signal.at_ns <= AGREE_NS;
        self.signals.push(signal);
        self.decide(tap);
        true
    }

    /// Lets time pass, once all workers have told what was before: ends of incidents, ends of blocks.
    pub fn advance(&mut self, now_ns: u64, tap: &mut impl Tap) {
        self.set_time(now_ns);
        self.census.advance(self.now_ns);
        if let Some(learned) = &mut self.learned {
            let responder = &self.responder;
            let allowed = |addr| responder.is_allowed(addr);
            learned.advance(self.now_ns, &mut self.census, &allowed, &mut self.signals);
        }
        self.tell_windows(tap);
        self.detector.advance(self.now_ns, &mut self.signals);
        self.decide(tap);
        self.book.advance(self.now_ns, &mut self.updates);
        self.report(tap);
        for decision in self.responder.tick(self.now_ns) {
            tap.decision(&decision);
        }
    }

    /// Ends every incident. Blocks stay as they are.
    pub fn finish(&mut self, tap: &mut impl Tap) {
        if let Some(learned) = &mut self.learned {
            let responder = &self.responder;
            let allowed = |addr| responder.is_allowed(addr);
            learned.finish(self.now_ns, &mut self.census, &allowed, &mut self.signals);
        }
        self.tell_windows(tap);
        self.decide(tap);
        self.book.finish(&mut self.updates);
        self.report(tap);
    }

    /// Hands on the windows that were judged, at most a second ago.
    fn tell_windows(&mut self, tap: &mut impl Tap) {
        if let Some(learned) = &mut self.learned {
            learned.take_judged(&mut self.windows);
            for window in self.windows.drain(..) {
                tap.window(&window);
            }
        }
    }

    fn decide(&mut self, tap: &mut impl Tap) {
        for mut signal in self.signals.drain(..) {
            if self.exceptions.covers(&signal) {
                continue;
            }
            // Who is on the allowlist is judged by what they do alone.
            if let Some(reputation) = &self.reputation
                && let Actor::Source { addr } = signal.actor
                && !self.responder.is_allowed(addr)
                && let Some(score) = reputation(addr)
            {
                signal.weigh_reputation(score);
            }
            if let Some(update) = self.book.absorb(signal.clone()) {
                self.caused.push((update, Some(signal)));
            }
        }
        self.report(tap);
    }

    fn report(&mut self, tap: &mut impl Tap) {
        self.caused.extend(self.updates.drain(..).map(|u| (u, None)));
        for (update, signal) in self.caused.drain(..) {
            let decision = self.responder.on_update(&update, self.now_ns);
            tap.incident(self.now_ns, &update, signal.as_ref(), decision.as_ref());
            if let Some(decision) = &decision {
                tap.decision(decision);
            }
        }
    }

    /// Time of the latest report, ns.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Entities and rates.
    pub const fn census(&self) -> &Census {
        &self.census
    }

    /// Rules in force and their state.
    pub const fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Incidents.
    pub const fn book(&self) -> &IncidentBook {
        &self.book
    }

    /// Policy and blocks.
    pub const fn responder(&self) -> &Responder {
        &self.responder
    }

    /// Policy and blocks, to command them.
    pub const fn responder_mut(&mut self) -> &mut Responder {
        &mut self.responder
    }

    /// Replaces rules after a reload; the state of rules begins anew, incidents and windows stay.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.detector = Detector::new(rules);
    }

    /// What learned detectors counted; `None` where there are none.
    pub fn learned(&self) -> Option<LearnedCounters> {
        self.learned.as_ref().map(Learned::counters)
    }

    /// Puts other models in place between two reports. Evidence against sources begins anew; incidents stay.
    ///
    /// # Errors
    /// Models made for other features; those at work stay.
    pub fn set_models(&mut self, models: &Models) -> Result<(), ModelError> {
        match &mut self.learned {
            Some(learned) => learned.set_models(models),
            None if models.is_empty() => Ok(()),
            None => {
                self.learned = Some(Learned::new(models, self.census.seed())?);
                self.census.keep_past();
                Ok(())
            }
        }
    }

    /// What operators declared to be no attack.
    pub const fn exceptions(&self) -> &Exceptions {
        &self.exceptions
    }

    /// The same, to change it.
    pub const fn exceptions_mut(&mut self) -> &mut Exceptions {
        &mut self.exceptions
    }

    /// Has signals weighed by the reputation of their actors from now on.
    pub fn set_reputation(&mut self, reputation: Option<Reputation>) {
        self.reputation = reputation;
    }

    /// Open incidents that name an address as actor or target.
    pub fn incidents_about(&self, addr: Addr) -> Vec<&Incident> {
        self.book.about(addr)
    }
}
