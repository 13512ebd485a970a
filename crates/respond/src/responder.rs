//! From incidents, commands and time to decisions.

use crate::aged::Aged;
use crate::allowlist::Allowlist;
use crate::budget::Budget;
use crate::known_good::KnownGood;
use crate::table::{Table, prefixes_of};
use crate::ttl::rough;
use crate::{
    Allowed, Block, Counters, Decision, Effect, Explanation, Mode, Outcome, Owner, Past, Policy, Prefix,
    Refusal, Ttl,
};
use detect::{Actor, Change, Incident, Update};
use std::collections::VecDeque;
use wire::Addr;

/// Offenders remembered; beyond, the one whose last block ended or ends first is forgotten.
pub const MAX_OFFENDERS: usize = 16_384;
/// Blocks remembered of each offender; beyond, the oldest is forgotten.
pub const MAX_HISTORY: usize = 4;
/// Pardons remembered; beyond, the one that ends first is forgotten.
pub const MAX_PARDONS: usize = 1024;
/// Bytes of an operator's reason that are kept.
pub const MAX_REASON: usize = 256;
/// A clock that goes back by up to this is taken to stand still; threads that stamp events do not agree to the nanosecond.
/// One that goes back by more was set, and all times held are moved with it.
pub const CLOCK_SLACK_NS: u64 = 5_000_000_000;

/// An offender in memory.
#[derive(Clone, Debug, Default)]
struct Offender {
    offences: u32,
    history: VecDeque<Past>,
}

/// Decides who is blocked, for how long, and when it ends.
///
/// Blocks are held as long as they are in force: at most [`Policy::max_blocks`], after which new ones are refused and none is
/// evicted. Call [`Responder::tick`] about once a second, or more often, so that what ended makes room.
///
/// Times are wall-clock ns since 1970. Where the clock is set back, everything held moves back with it, so that a block lasts
/// no longer than it was given; where it is set forward, blocks end early.
#[derive(Clone, Debug)]
pub struct Responder {
    policy: Policy,
    given: Vec<Allowed>,
    allowlist: Allowlist,
    /// In force; empty in shadow mode.
    blocks: Table,
    /// Would be in force; empty in enforce mode.
    would: Table,
    offenders: Aged<Prefix, Offender>,
    pardons: Aged<Prefix, ()>,
    known_good: KnownGood,
    by_policy: Budget,
    by_operators: Budget,
    latest_ns: u64,
    counters: Counters,
}

impl Responder {
    /// A responder that has blocked nobody yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let policy = policy.bounded();
        Self {
            allowlist: Allowlist::new(&policy.allow, &[]),
            policy,
            given: Vec::new(),
            blocks: Table::default(),
            would: Table::default(),
            offenders: Aged::new(MAX_OFFENDERS),
            pardons: Aged::new(MAX_PARDONS),
            known_good: KnownGood::default(),
            by_policy: Budget::default(),
            by_operators: Budget::default(),
            latest_ns: 0,
            counters: Counters::default(),
        }
    }

    /// Replaces what the caller knows must not be blocked: own addresses, gateways, name servers, live peers. What policy
    /// allows and what is always allowed stays. Blocks that touch the new list are lifted.
    pub fn set_allowlist(&mut self, allowed: Vec<Allowed>, now: u64) -> Vec<Decision> {
        let now = self.clock(now);
        self.given = allowed;
        self.allowlist = Allowlist::new(&self.policy.allow, &self.given);
        self.lift_allowed(now)
    }

    /// Replaces the policy. A switch to shadow mode lifts every block, an operator's too: shadow mode does nothing. A
    /// switch from it forgets would-be blocks and all offences, so that a first real block is a first offence. Blocks in
    /// force keep their ends, also where the new policy would have made them shorter or fewer; what budgets have been spent
    /// stays spent.
    pub fn set_policy(&mut self, policy: Policy, now: u64) -> Vec<Decision> {
        let now = self.clock(now);
        let before = self.policy.mode;
        self.policy = policy.bounded();
        self.allowlist = Allowlist::new(&self.policy.allow, &self.given);
        let mut decisions = self.lift_allowed(now);
        match (before, self.policy.mode) {
            (Mode::Enforce, Mode::Shadow) => {
                for block in self.blocks.take(|_| true) {
                    decisions.push(self.lift(block, "the agent was switched to shadow mode".to_owned(), now));
                }
            }
            (Mode::Shadow, Mode::Enforce) => {
                self.would.clear();
                self.offenders.clear();
            }
            _ => {}
        }
        decisions
    }

    /// Decides about a report of an incident. Nothing is decided where it ended, where its actor is blocked already and not
    /// about to go free, and where it merely continues and could not be blocked before either.
    pub fn on_update(&mut self, update: &Update, now: u64) -> Option<Decision> {
        let now = self.clock(now);
        let incident = &update.incident;
        let news = match update.change {
            Change::Ended => return None,
            Change::Continued => false,
            Change::Opened | Change::Escalated => true,
        };
        let addr = match incident.actor {
            Actor::Source { addr } => addr,
            Actor::Distributed { target } => {
                return news.then(|| self.refuse(Refusal::Distributed, Prefix::host(target), incident, now));
            }
        };
        let host = Prefix::host(addr);
        if let Err(refusal) = self.blockable(incident, &host) {
            return news.then(|| self.refuse(refusal, host, incident, now));
        }
        let shadow = self.policy.mode == Mode::Shadow;
        let standing = if shadow { &self.would } else { &self.blocks };
        if let Some(longest) = standing.covering(host, now).max_by_key(|b| b.until_ns) {
            let block = longest.clone();
            return (!shadow && block.owner == Owner::Policy)
                .then(|| self.prolong(block, incident, now))
                .flatten();
        }
        let room = self.room(Owner::Policy, now).and_then(|()| self.pardoned(addr, now));
        match room.and_then(|()| self.widest(addr)) {
            Ok(prefix) => {
                let ttl = self.policy.ttl_of(self.offences(&prefix).saturating_add(1));
                Some(self.block(prefix, ttl.ns(), Owner::Policy, reason(incident), Some(incident.id), now))
            }
            Err(refusal) => Some(self.refuse(refusal, host, incident, now)),
        }
    }

    /// An operator's command to block `prefix` for `ttl_ns`; on what is blocked already, it moves the end, in either
    /// direction, and makes the block the operator's. Neither severity, confidence nor known-good clients are asked about.
    ///
    /// # Errors
    /// In shadow mode, where `prefix` touches the allowlist, where `ttl_ns` is out of bounds, and at the limits
    /// [`Policy::max_blocks`] and [`Policy::max_blocks_per_minute`].
    pub fn ban(&mut self, prefix: Prefix, ttl_ns: u64, why: &str, now: u64) -> Result<Decision, Refusal> {
        let now = self.clock(now);
        let known = self.blocks.get(&prefix).filter(|b| b.until_ns > now).cloned();
        let checked = self.bannable(&prefix, ttl_ns).and_then(|()| match known {
            Some(_) => Ok(()),
            None => self.room(Owner::Operator, now),
        });
        if let Err(refusal) = checked {
            self.count(&refusal);
            return Err(refusal);
        }
        self.pardons.remove(&prefix);
        let why = clean(why);
        let Some(mut block) = known else {
            return Ok(self.block(prefix, ttl_ns, Owner::Operator, why, None, now));
        };
        block.owner = Owner::Operator;
        block.reason.clone_from(&why);
        Ok(self.extend(block, ttl_ns, why, now))
    }

    /// An operator's command to lift the block on exactly `prefix`. Policy then leaves it alone for [`Policy::ttl`], and its
    /// offences are forgotten: the operator has said that the block was wrong.
    ///
    /// # Errors
    /// Where no such block is in force; what is in force around or within `prefix` is named.
    pub fn unban(&mut self, prefix: Prefix, now: u64) -> Result<Decision, Refusal> {
        let now = self.clock(now);
        if let Some(block) = self.blocks.remove(&prefix) {
            self.offenders.remove(&prefix);
            self.pardons.insert(prefix, now.saturating_add(self.policy.ttl.ns()), ());
            return Ok(self.lift(block, "by an operator".to_owned(), now));
        }
        let around = self.blocks.covering(prefix, now).next().map(|b| b.prefix);
        let within = || self.blocks.iter().map(|b| b.prefix).filter(|p| prefix.covers(p));
        let refusal = match (around, within().next()) {
            (Some(by), _) => Refusal::PartOf { prefix, by },
            (None, Some(example)) => Refusal::PartsBlocked { prefix, example, count: within().count() },
            (None, None) => Refusal::NotBlocked(prefix),
        };
        self.count(&refusal);
        Err(refusal)
    }

    /// Ends what has reached its end.
    pub fn tick(&mut self, now: u64) -> Vec<Decision> {
        let now = self.clock(now);
        self.would.take_ended(now);
        let ended = self.blocks.take_ended(now);
        ended.into_iter().map(|block| self.expire(block, now)).collect()
    }

    /// Takes over blocks that an effector still holds from an earlier run. Those that still hold under the present policy
    /// are adopted as they are (a decision without an effect), with an end out of bounds moved within; the others are
    /// lifted. Of more than [`Policy::max_blocks`], those that end last stay. What is known already stays as known.
    pub fn restore(&mut self, mut held: Vec<Block>, now: u64) -> Vec<Decision> {
        let now = self.clock(now);
        held.sort_by(|a, b| b.until_ns.cmp(&a.until_ns).then(a.prefix.cmp(&b.prefix)));
        let mut decisions = Vec::new();
        for mut block in held {
            if self.blocks.get(&block.prefix).is_some() {
                continue;
            }
            if block.until_ns <= now {
                decisions.push(self.expire(block, now));
                continue;
            }
            if let Err(refusal) = self.adoptable(&block.prefix) {
                decisions.push(self.lift(block, refusal.to_string(), now));
                continue;
            }
            block.since_ns = block.since_ns.min(now);
            block.offence = block.offence.max(1);
            block.reason = clean(&block.reason);
            let longest = match block.owner {
                Owner::Policy => self.policy.ttl_max,
                Owner::Operator => Ttl::MAX,
            };
            let latest_end = now.saturating_add(longest.ns());
            let too_long = block.until_ns > latest_end;
            block.until_ns = block.until_ns.min(latest_end);
            self.remember(&block, now, false);
            self.blocks.insert(block.clone());
            self.counters.restored += 1;
            decisions.push(Decision {
                at_ns: now,
                prefix: block.prefix,
                outcome: if too_long { Outcome::Extended } else { Outcome::Blocked },
                why: format!("found in force at start: {}", block.reason),
                incident: block.incident,
                effect: too_long.then(|| Effect::Insert(block.clone())),
                block: Some(block),
            });
        }
        decisions
    }

    /// Notes that `addr` completed a session without incident. What is blocked at the moment is not noted.
    pub fn note_known_good(&mut self, addr: Addr, now: u64) {
        let now = self.clock(now);
        if self.blocks.covering(Prefix::host(addr), now).next().is_none() {
            self.known_good.note(addr, now);
        }
    }

    /// Blocks in force as of the latest call, in order of prefix.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
    }

    /// In shadow mode, blocks that would be in force as of the latest call, in order of prefix.
    pub fn would_be_blocks(&self) -> impl Iterator<Item = &Block> {
        self.would.iter()
    }

    /// Everything that is never blocked, in order of prefix.
    #[must_use]
    pub fn allowlist(&self) -> &[Allowed] {
        self.allowlist.entries()
    }

    /// Whether an address is on the allowlist.
    #[must_use]
    pub fn is_allowed(&self, addr: Addr) -> bool {
        self.allowlist.touched_by(&Prefix::host(addr)).is_some()
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (known_good_evicted, known_good_hits_evicted) = self.known_good.evicted();
        Counters {
            offenders_evicted: self.offenders.evicted(),
            pardons_evicted: self.pardons.evicted(),
            known_good_evicted,
            known_good_hits_evicted,
            ..self.counters
        }
    }

    /// All that is known of `addr`.
    #[must_use]
    pub fn explain(&self, addr: Addr, now: u64) -> Explanation {
        let host = Prefix::host(addr);
        let blocks: Vec<_> = self.blocks.covering(host, now).cloned().collect();
        let would_block = self.would.covering(host, now).next().cloned();
        let offenders = prefixes_of(addr).filter_map(|p| self.offenders.get(&p));
        let mut offences = 0_u32;
        let mut history = Vec::new();
        for offender in offenders {
            offences = offences.saturating_add(offender.offences);
            history.extend(offender.history.iter().cloned());
        }
        history.sort_by_key(|past| past.at_ns);
        history.drain(..history.len().saturating_sub(MAX_HISTORY));
        Explanation {
            addr,
            mode: self.policy.mode,
            allowed: self.allowlist.touched_by(&host).cloned(),
            blocks,
            would_block,
            pardoned_until_ns: self.pardon(addr, now).map(|(_, until)| until),
            known_good: self.known_good.knows(addr),
            offences,
            history,
        }
    }

    /// The time to go by, with everything held brought up to it.
    fn clock(&mut self, now: u64) -> u64 {
        let back = self.latest_ns.saturating_sub(now);
        if back > CLOCK_SLACK_NS {
            self.counters.clock_set_back += 1;
            self.blocks.shift(back);
            self.would.shift(back);
            self.offenders.shift(back);
            self.pardons.shift(back);
            self.known_good.shift(back);
            self.by_policy.shift(back);
            self.by_operators.shift(back);
            self.latest_ns = now;
        }
        self.latest_ns = self.latest_ns.max(now);
        let now = self.latest_ns;
        if let Some(until) = now.checked_sub(self.policy.forget_after.ns()) {
            self.offenders.drop_until(until);
        }
        self.pardons.drop_until(now);
        self.known_good.forget(now, self.policy.known_good_window.ns());
        now
    }

    /// Whether policy may block for this incident at all.
    fn blockable(&self, incident: &Incident, host: &Prefix) -> Result<(), Refusal> {
        let min = (self.policy.min_severity, self.policy.min_confidence);
        if !incident.suffices() {
            Err(Refusal::Evidence)
        } else if incident.severity < min.0 {
            Err(Refusal::Severity { severity: incident.severity, min: min.0 })
        } else if incident.confidence.is_nan() || incident.confidence < min.1 {
            let (confidence, min) = (format!("{:.2}", incident.confidence), format!("{:.2}", min.1));
            Err(Refusal::Confidence { confidence, min })
        } else {
            self.not_allowlisted(host)
        }
    }

    fn bannable(&self, prefix: &Prefix, ttl_ns: u64) -> Result<(), Refusal> {
        if self.policy.mode == Mode::Shadow {
            Err(Refusal::Shadow)
        } else if !(Ttl::MIN.ns()..=Ttl::MAX.ns()).contains(&ttl_ns) {
            Err(Refusal::Ttl { ttl_ns })
        } else {
            self.not_allowlisted(prefix)
        }
    }

    fn adoptable(&self, prefix: &Prefix) -> Result<(), Refusal> {
        if self.policy.mode == Mode::Shadow {
            return Err(Refusal::Shadow);
        }
        self.not_allowlisted(prefix)?;
        self.has_room(&self.blocks)
    }

    fn not_allowlisted(&self, prefix: &Prefix) -> Result<(), Refusal> {
        match self.allowlist.touched_by(prefix) {
            Some(allowed) => Err(Refusal::Allowlisted { prefix: *prefix, allowed: allowed.clone() }),
            None => Ok(()),
        }
    }

    fn has_room(&self, table: &Table) -> Result<(), Refusal> {
        let max_blocks = self.policy.max_blocks;
        if table.len() < max_blocks as usize { Ok(()) } else { Err(Refusal::Capacity { max_blocks }) }
    }

    /// Whether one more block is within capacity and budget.
    fn room(&self, owner: Owner, now: u64) -> Result<(), Refusal> {
        self.has_room(if self.policy.mode == Mode::Shadow { &self.would } else { &self.blocks })?;
        let per_minute = self.policy.max_blocks_per_minute;
        let budget = if owner == Owner::Policy { &self.by_policy } else { &self.by_operators };
        match budget.wait(per_minute, now) {
            0 => Ok(()),
            wait_ns => Err(Refusal::Budget { per_minute, wait_ns }),
        }
    }

    fn pardon(&self, addr: Addr, now: u64) -> Option<(Prefix, u64)> {
        if self.pardons.len() == 0 {
            return None;
        }
        prefixes_of(addr).find_map(|p| Some((p, self.pardons.time(&p).filter(|until| *until > now)?)))
    }

    fn pardoned(&self, addr: Addr, now: u64) -> Result<(), Refusal> {
        match self.pardon(addr, now) {
            Some((prefix, until)) => Err(Refusal::Pardoned { prefix, wait_ns: until - now }),
            None => Ok(()),
        }
    }

    /// The prefix to block for `addr`: the network where policy says so and nobody protected is in it, else the address.
    fn widest(&self, addr: Addr) -> Result<Prefix, Refusal> {
        let share = self.policy.max_known_good_share;
        // All neighbours on a link share fe80::/64.
        let link_local = addr.0[0] == 0xfe && addr.0[1] & 0xc0 == 0x80;
        if self.policy.ipv6_prefix < 128
            && !addr.is_v4()
            && !link_local
            && let Ok(network) = Prefix::new(addr, self.policy.ipv6_prefix)
            && self.not_allowlisted(&network).is_ok()
            && self.known_good.check(&network, share).is_ok()
        {
            return Ok(network);
        }
        let host = Prefix::host(addr);
        self.known_good.check(&host, share).map(|()| host)
    }

    fn offences(&self, prefix: &Prefix) -> u32 {
        self.offenders.get(prefix).map_or(0, |o| o.offences)
    }

    /// Puts a new block in force, or in shadow mode notes that it would be. Whoever calls has asked whether it may.
    fn block(
        &mut self,
        prefix: Prefix,
        ttl_ns: u64,
        owner: Owner,
        reason: String,
        incident: Option<u64>,
        now: u64,
    ) -> Decision {
        let offence = self.offences(&prefix).saturating_add(1);
        let until_ns = now.saturating_add(ttl_ns);
        let block = Block { prefix, since_ns: now, until_ns, owner, reason, incident, offence };
        let shadow = self.policy.mode == Mode::Shadow;
        self.remember(&block, now, shadow);
        let budget = match owner {
            Owner::Policy => {
                self.known_good.hit(&prefix, now);
                &mut self.by_policy
            }
            Owner::Operator => &mut self.by_operators,
        };
        budget.spend(self.policy.max_blocks_per_minute, now);
        let why = format!("{}; for {}, offence {offence}", block.reason, rough(ttl_ns));
        let (outcome, effect) = if shadow {
            self.counters.would_block += 1;
            self.would.insert(block.clone());
            (Outcome::WouldBlock, None)
        } else {
            self.counters.blocked += 1;
            self.blocks.insert(block.clone());
            (Outcome::Blocked, Some(Effect::Insert(block.clone())))
        };
        Decision { at_ns: now, prefix, outcome, why, incident, block: Some(block), effect }
    }

    /// Moves the end of a policy block whose incident goes on in the last quarter of its time.
    fn prolong(&mut self, block: Block, incident: &Incident, now: u64) -> Option<Decision> {
        let ttl_ns = self.policy.ttl_of(block.offence).ns();
        let left = block.until_ns.saturating_sub(now);
        (left < ttl_ns / 4)
            .then(|| self.extend(block, ttl_ns, format!("continues: {}", reason(incident)), now))
    }

    fn extend(&mut self, mut block: Block, ttl_ns: u64, why: String, now: u64) -> Decision {
        block.until_ns = now.saturating_add(ttl_ns);
        if let Some(offender) = self.offenders.remove(&block.prefix) {
            self.offenders.insert(block.prefix, block.until_ns, offender);
        }
        self.blocks.insert(block.clone());
        self.counters.extended += 1;
        Decision {
            at_ns: now,
            prefix: block.prefix,
            outcome: Outcome::Extended,
            why: format!("{why}; for another {}", rough(ttl_ns)),
            incident: block.incident,
            block: Some(block.clone()),
            effect: Some(Effect::Insert(block)),
        }
    }

    fn remember(&mut self, block: &Block, now: u64, shadow: bool) {
        let mut offender = self.offenders.remove(&block.prefix).unwrap_or_default();
        offender.offences = offender.offences.max(block.offence);
        if offender.history.len() >= MAX_HISTORY {
            offender.history.pop_front();
        }
        offender.history.push_back(Past {
            at_ns: now,
            until_ns: block.until_ns,
            owner: block.owner,
            shadow,
            reason: block.reason.clone(),
            incident: block.incident,
        });
        self.offenders.insert(block.prefix, block.until_ns, offender);
    }

    fn lift_allowed(&mut self, now: u64) -> Vec<Decision> {
        let allowlist = &self.allowlist;
        self.would.take(|b| allowlist.touched_by(&b.prefix).is_some());
        let touched = self.blocks.take(|b| allowlist.touched_by(&b.prefix).is_some());
        touched
            .into_iter()
            .map(|block| {
                let why =
                    self.not_allowlisted(&block.prefix).err().map(|r| r.to_string()).unwrap_or_default();
                self.lift(block, why, now)
            })
            .collect()
    }

    fn lift(&mut self, block: Block, why: String, now: u64) -> Decision {
        self.counters.lifted += 1;
        undo(block, Outcome::Lifted, why, now)
    }

    fn expire(&mut self, block: Block, now: u64) -> Decision {
        self.counters.expired += 1;
        let why = format!("reached its end: {}", block.reason);
        undo(block, Outcome::Expired, why, now)
    }

    fn refuse(&mut self, refusal: Refusal, prefix: Prefix, incident: &Incident, now: u64) -> Decision {
        self.count(&refusal);
        Decision { incident: Some(incident.id), ..refusal.decision(prefix, now) }
    }

    const fn count(&mut self, refusal: &Refusal) {
        let c = &mut self.counters;
        *match refusal {
            Refusal::Evidence | Refusal::Severity { .. } | Refusal::Confidence { .. } => {
                &mut c.refused_evidence
            }
            Refusal::Distributed => &mut c.refused_distributed,
            Refusal::Allowlisted { .. } => &mut c.refused_allowlist,
            Refusal::Capacity { .. } => &mut c.refused_capacity,
            Refusal::Budget { .. } => &mut c.refused_budget,
            Refusal::KnownGood { .. } => &mut c.refused_known_good,
            Refusal::Pardoned { .. } => &mut c.refused_pardoned,
            Refusal::Shadow
            | Refusal::Ttl { .. }
            | Refusal::NotBlocked(_)
            | Refusal::PartOf { .. }
            | Refusal::PartsBlocked { .. } => &mut c.refused_command,
        } += 1;
    }
}

fn undo(block: Block, outcome: Outcome, why: String, now: u64) -> Decision {
    Decision {
        at_ns: now,
        prefix: block.prefix,
        outcome,
        why,
        incident: block.incident,
        effect: Some(Effect::Remove(block.prefix)),
        block: Some(block),
    }
}

/// What an incident is, in words: class, rules, the first of its evidence.
fn reason(incident: &Incident) -> String {
    let rules = incident.rules.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut text = format!("{} ({rules}), confidence {:.2}", incident.class.name(), incident.confidence);
    for (i, e) in incident.evidence.iter().take(3).enumerate() {
        let bound = if e.at_least { "at least" } else { "at most" };
        let lead = if i == 0 { ": " } else { ", " };
        text += &format!("{lead}{} {} ({bound} {})", e.metric, number(e.observed), number(e.threshold));
    }
    clean(&text)
}

/// At most three decimals, none that say nothing.
fn number(v: f64) -> String {
    let text = format!("{v:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A reason as it may stand in a log or on a terminal: one line, no control characters, bounded.
fn clean(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        let c = if c.is_control() { ' ' } else { c };
        if out.len() + c.len_utf8() > MAX_REASON {
            break;
        }
        out.push(c);
    }
    if out.is_empty() { "no reason given".to_owned() } else { out }
}
