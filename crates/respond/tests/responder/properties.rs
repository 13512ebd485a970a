//! What the responder never does, whatever the sequence of events, commands, lists and clocks.
//!
//! Every effect is carried out on a model of a block map. The model keeps its own time, which only passes; the wall clock
//! that the responder is told may be set.

use crate::world::{DAY, MINUTE, SECOND, START, update};
use detect::{Actor, Change, Severity};
use proptest::prelude::*;
use respond::{Allowed, Block, Decision, Effect, Mode, Owner, Policy, Prefix, Responder, Ttl};
use std::collections::BTreeMap;
use wire::Addr;

#[derive(Clone, Debug)]
enum Step {
    Incident { change: Change, actor: Actor, severity: Severity, confidence: f64, may_block: bool },
    Ban { prefix: Prefix, ttl_ns: u64 },
    Unban { prefix: Prefix },
    UnbanSome { index: usize },
    Allowlist { list: Vec<Prefix> },
    Policy { policy: Policy },
    KnownGood { addr: Addr },
    Pass { ns: u64 },
    SetBack { ns: u64 },
    Restart { keep: bool, extra: Vec<(Prefix, i64, Owner)> },
}

/// Few addresses, so that steps meet: hosts of one /29 and two /64s, and the always allowed of either version.
fn addrs() -> impl Strategy<Value = Addr> {
    let v6 = |tail: [u8; 8], last: u8| {
        let [a, b, c, d, e, f, g, _] = tail;
        Addr([0x20, 1, 0xd, 0xb8, 0, 0, 0, a, b, c, d, e, f, g, 0, last])
    };
    prop_oneof![
        8 => (0..8_u8).prop_map(|i| Addr::v4([203, 0, 113, i])),
        4 => (0..4_u8).prop_map(move |i| v6([0; 8], i)),
        2 => (0..2_u8).prop_map(move |i| v6([1; 8], i)),
        1 => prop::sample::select(vec!["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1",
            "fe80::1", "198.51.100.1"]).prop_map(|s| s.parse().expect("address")),
    ]
}

fn prefixes() -> impl Strategy<Value = Prefix> {
    (addrs(), prop::sample::select(vec![0_u8, 1, 2, 5, 24, 29, 30, 31, 32, 64, 65, 127, 128]))
        .prop_map(|(addr, len)| Prefix::new(addr, len).unwrap_or_else(|_| Prefix::host(addr)))
}

fn policies() -> impl Strategy<Value = Policy> {
    let numbers = (1..20_u64, 1..60_u64, prop::sample::select(vec![1.0, 2.0, 100.0, f64::NAN, -1.0]));
    let limits = (0..8_u32, 0..6_u32, prop::sample::select(vec![0.0, 0.1, 0.5, 1.0, f64::NAN]));
    (any::<[bool; 4]>(), numbers, limits, prop::collection::vec(prefixes(), 0..2)).prop_map(
        |(
            [enforce, enforce_too, wide, listed],
            (ttl, more, escalation),
            (max_blocks, per_minute, share),
            allow,
        )| {
            let minutes = |m: u64| Ttl::from_secs(m * 60).expect("in range");
            Policy {
                mode: if enforce || enforce_too { Mode::Enforce } else { Mode::Shadow },
                ttl: minutes(ttl),
                ttl_max: minutes(ttl + more),
                escalation,
                forget_after: minutes(30),
                max_blocks,
                max_blocks_per_minute: per_minute,
                max_known_good_share: share,
                ipv6_prefix: if wide { 64 } else { 128 },
                allow: if listed { allow } else { Vec::new() },
                ..Policy::default()
            }
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let change =
        prop::sample::select(vec![Change::Opened, Change::Continued, Change::Escalated, Change::Ended]);
    let severity = prop::sample::select(vec![Severity::Info, Severity::Medium, Severity::Critical]);
    let actor = (addrs(), prop::bool::weighted(0.1)).prop_map(|(addr, many)| {
        if many { Actor::Distributed { target: addr } } else { Actor::Source { addr } }
    });
    let confidence = prop::sample::select(vec![0.9, 1.0, 0.9, 0.1, f64::NAN]);
    let owner = prop::sample::select(vec![Owner::Policy, Owner::Operator]);
    let end = -(DAY as i64)..40 * DAY as i64;
    prop_oneof![
        12 => (change, actor, severity, confidence, prop::bool::weighted(0.9)).prop_map(
            |(change, actor, severity, confidence, may_block)| Step::Incident { change, actor, severity, confidence, may_block }
        ),
        4 => (prefixes(), prop_oneof![0..2 * MINUTE, 0..40 * DAY])
            .prop_map(|(prefix, ttl_ns)| Step::Ban { prefix, ttl_ns }),
        1 => prefixes().prop_map(|prefix| Step::Unban { prefix }),
        1 => any::<usize>().prop_map(|index| Step::UnbanSome { index }),
        2 => prop::collection::vec(prefixes(), 0..3).prop_map(|list| Step::Allowlist { list }),
        1 => policies().prop_map(|policy| Step::Policy { policy }),
        2 => addrs().prop_map(|addr| Step::KnownGood { addr }),
        6 => prop_oneof![0..10 * SECOND, 0..MINUTE, 0..30 * MINUTE].prop_map(|ns| Step::Pass { ns }),
        1 => (6 * SECOND..10 * DAY).prop_map(|ns| Step::SetBack { ns }),
        1 => (any::<bool>(), prop::collection::vec((prefixes(), end, owner), 0..4))
            .prop_map(|(keep, extra)| Step::Restart { keep, extra }),
    ]
}

/// A block map as an effector holds it, and what was asked of it.
struct World {
    responder: Responder,
    policy: Policy,
    given: Vec<Prefix>,
    /// Until when, in the model's own time, and what was inserted.
    map: BTreeMap<Prefix, (i128, Block)>,
    inserts: Vec<(i128, Owner)>,
    passed: i128,
    wall: u64,
    log: Vec<Decision>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            responder: Responder::new(policy.clone()),
            policy,
            given: Vec::new(),
            map: BTreeMap::new(),
            inserts: Vec::new(),
            passed: 0,
            wall: START,
            log: Vec::new(),
        }
    }

    /// The allowlist, written down independently of the crate's.
    fn protected(&self) -> Vec<Prefix> {
        ["127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/4", "255.255.255.255", "::", "::1", "ff00::/8"]
            .map(|s| s.parse().expect("prefix"))
            .into_iter()
            .chain(self.policy.allow.iter().copied())
            .chain(self.given.iter().copied())
            .collect()
    }

    fn model_time(&self, wall_ns: u64) -> i128 {
        self.passed + i128::from(wall_ns) - i128::from(self.wall)
    }

    fn carry_out(&mut self, decisions: Vec<Decision>) {
        for d in decisions {
            match &d.effect {
                Some(Effect::Insert(block)) => self.insert(block),
                Some(Effect::Remove(prefix)) => {
                    assert!(self.map.remove(prefix).is_some(), "not inside: {d:?}");
                }
                None => {}
            }
            self.log.push(d);
        }
    }

    fn insert(&mut self, block: &Block) {
        assert_eq!(self.policy.mode, Mode::Enforce, "{block:?}");
        for p in self.protected() {
            assert!(!p.overlaps(&block.prefix), "{block:?} touches {p}");
        }
        assert!(block.since_ns <= self.wall && block.until_ns > self.wall, "{block:?} at {}", self.wall);
        let longest = if block.owner == Owner::Operator { Ttl::MAX } else { self.policy.ttl_max };
        assert!(block.until_ns - self.wall <= longest.ns(), "{block:?} at {}", self.wall);
        let until = self.model_time(block.until_ns);
        let known = self.map.insert(block.prefix, (until, block.clone()));
        if known.is_some_and(|(until, _)| until > self.passed) {
            return;
        }
        assert!(self.map.len() <= self.policy.max_blocks as usize, "{block:?} is one too many");
        self.inserts.push((self.passed, block.owner));
        let minute_ago = self.passed - i128::from(MINUTE);
        let within =
            self.inserts.iter().filter(|(at, owner)| *owner == block.owner && *at > minute_ago).count();
        assert!(within <= self.policy.max_blocks_per_minute as usize, "{within} within a minute");
    }

    fn step(&mut self, step: &Step) {
        let now = self.wall;
        match step {
            Step::Incident { change, actor, severity, confidence, may_block } => {
                let mut u = update(*change, *actor);
                (u.incident.severity, u.incident.confidence, u.incident.may_block) =
                    (*severity, *confidence, *may_block);
                let decision = self.responder.on_update(&u, now);
                let blocks = decision.as_ref().is_some_and(|d| d.effect.is_some());
                assert!(!blocks || (*may_block && matches!(actor, Actor::Source { .. })), "{decision:?}");
                self.carry_out(decision.into_iter().collect());
            }
            Step::Ban { prefix, ttl_ns } => {
                let decision = self.responder.ban(*prefix, *ttl_ns, "because", now);
                self.carry_out(decision.into_iter().collect());
            }
            Step::Unban { prefix } => {
                let decision = self.responder.unban(*prefix, now);
                self.carry_out(decision.into_iter().collect());
            }
            Step::UnbanSome { index } => {
                if let Some(prefix) = self.map.keys().nth(index % self.map.len().max(1)).copied() {
                    let decision = self.responder.unban(prefix, now).expect("what is in force can be lifted");
                    self.carry_out(vec![decision]);
                }
            }
            Step::Allowlist { list } => {
                self.given.clone_from(list);
                let allowed = list.iter().map(|p| Allowed { prefix: *p, why: "listed".into() }).collect();
                let decisions = self.responder.set_allowlist(allowed, now);
                self.carry_out(decisions);
            }
            Step::Policy { policy } => {
                self.policy = policy.clone();
                let decisions = self.responder.set_policy(policy.clone(), now);
                self.carry_out(decisions);
            }
            Step::KnownGood { addr } => self.responder.note_known_good(*addr, now),
            Step::Pass { ns } => {
                self.passed += i128::from(*ns);
                self.wall += ns;
            }
            Step::SetBack { ns } => self.wall -= ns,
            Step::Restart { keep, extra } => self.restart(*keep, extra),
        }
        let decisions = self.responder.tick(self.wall);
        self.carry_out(decisions);
    }

    /// A new responder finds what the map holds, and what somebody else left there.
    fn restart(&mut self, keep: bool, extra: &[(Prefix, i64, Owner)]) {
        if !keep {
            self.map.clear();
        }
        for (prefix, end, owner) in extra {
            let until_ns = self.wall.saturating_add_signed(*end);
            let block = Block {
                prefix: *prefix,
                since_ns: START,
                until_ns,
                owner: *owner,
                reason: "left".into(),
                incident: None,
                offence: 1,
            };
            self.map.insert(*prefix, (self.model_time(until_ns), block));
        }
        // What the map holds, in the wall-clock time of now.
        let wall = |until: i128| u64::try_from(until - self.passed + i128::from(self.wall)).unwrap_or(0);
        let held =
            self.map.values().map(|(until, b)| Block { until_ns: wall(*until), ..b.clone() }).collect();
        // The budgets begin anew with the process.
        self.inserts.clear();
        self.responder = Responder::new(self.policy.clone());
        let given = self.given.iter().map(|p| Allowed { prefix: *p, why: "listed".into() }).collect();
        assert!(self.responder.set_allowlist(given, self.wall).is_empty());
        let decisions = self.responder.restore(held, self.wall);
        // An end moved within bounds is an insert of something inside, never a new block.
        self.carry_out(decisions);
    }

    fn check(&self) {
        let protected = self.protected();
        for (prefix, (until, block)) in &self.map {
            for p in &protected {
                assert!(!p.overlaps(prefix), "{prefix} touches {p}");
            }
            assert!(*until > self.passed, "{prefix} outlives its end: {block:?}");
        }
        assert!(self.policy.mode == Mode::Enforce || self.map.is_empty(), "shadow mode did something");
        let held: Vec<_> = self.map.iter().map(|(p, (until, _))| (*p, *until)).collect();
        let known: Vec<_> =
            self.responder.blocks().map(|b| (b.prefix, self.model_time(b.until_ns))).collect();
        assert_eq!(held, known, "map and book differ");
    }
}

fn run(policy: &Policy, steps: &[Step]) -> Vec<Decision> {
    let mut world = World::new(policy.clone());
    for step in steps {
        world.step(step);
        world.check();
    }
    world.log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_whatever_the_sequence(policy in policies(), steps in prop::collection::vec(steps(), 1..80)) {
        let log = run(&policy, &steps);
        prop_assert_eq!(log, run(&policy, &steps), "the same steps, the same decisions");
    }
}
