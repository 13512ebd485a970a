//! The demo without the kernel: the same story from a generated capture, through the same line. Blocks are applied to
//! the frames before they enter the line, as the kernel would.

use super::show::Show;
use super::view::{Ordinary, Style, View};
use super::{Ending, because};
use crate::line::{JudgeConfig, Line, LineConfig, Tap};
use anyhow::Context as _;
use detect::{Actor, BookConfig, RuleSet, Signal, Update};
use flow::{CensusConfig, Conversation, EndReason, FlowRecord, TrackerConfig};
use lab::address::{CLIENT, CLIENT6};
use lab::simulation::{EPOCH_NS, Simulation};
use respond::{Block, Decision, Mode, Outcome, Policy, Prefix};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::message::{Message, Side};
use wire::{Addr, LinkType};

/// Length of a block, so that its end is seen.
const TTL: &str = "6s";
/// Time between looks at the clock and redraws.
const TICK: Duration = Duration::from_millis(50);
/// An attack that sent nothing for this long after it began is over, s.
const OVER: f64 = 1.2;

/// Plays the story in real time; the view's sensor says that it is simulated.
///
/// # Errors
/// Standard output is gone.
pub fn play(view: &mut View, show: &mut Show, stop: &AtomicBool, seed: u64) -> anyhow::Result<Ending> {
    let mut line = Line::new(LineConfig {
        tracker: TrackerConfig::default(),
        judge: JudgeConfig {
            census: CensusConfig::default(),
            rules: RuleSet::builtin(),
            models: detect::learned::Models::default(),
            tell_windows: false,
            book: BookConfig::default(),
            policy: Policy {
                mode: Mode::Enforce,
                ttl: TTL.parse().context("the length of a block")?,
                escalation: 1.0,
                ..Policy::default()
            },
        },
    });
    let mut hall = Hall {
        view,
        blocks: Vec::new(),
        attack_ns: [0; 3],
        sent: [0; 3],
        reached: [0; 3],
        client: Counts::default(),
    };
    hall.view.say(
        Style::Warn,
        "simulated: frames are generated, and blocks applied to them in this process".into(),
    );
    for act in &mut hall.view.acts {
        // Here frames are counted for every attack; a connection is many.
        act.unit = "packets";
    }
    let begun = Instant::now();
    let mut frames = Simulation::Story.frames(seed).peekable();
    loop {
        let elapsed = begun.elapsed();
        let now_ns = EPOCH_NS + u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX - EPOCH_NS);
        hall.view.at = elapsed.as_secs_f64();
        while let Some((at_ns, frame)) = frames.next_if(|(at_ns, _)| *at_ns <= now_ns) {
            let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            if hall.admit(at_ns, &frame, len) {
                line.frame(at_ns, Some(LinkType::Ethernet), &frame, len, &mut hall);
            }
        }
        line.advance(now_ns, &mut hall);
        hall.look(&line, now_ns);
        show.draw(hall.view)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(Ending::Interrupted);
        }
        if frames.peek().is_none() && hall.blocks.is_empty() {
            break;
        }
        std::thread::sleep(TICK);
    }
    line.finish(&mut hall);
    hall.view.ordinary.over = true;
    Ok(Ending::Played)
}

/// Ordinary frames by what came of them.
#[derive(Default)]
struct Counts {
    passed: u64,
    dropped: u64,
    bytes: u64,
}

/// Stands where the kernel would: admits or drops frames, and takes what the line decides.
struct Hall<'a> {
    view: &'a mut View,
    blocks: Vec<Block>,
    attack_ns: [u64; 3],
    sent: [u64; 3],
    reached: [u64; 3],
    client: Counts,
}

impl Hall<'_> {
    /// Whether a frame passes the blocks in force, with everything counted.
    fn admit(&mut self, at_ns: u64, frame: &[u8], len: u32) -> bool {
        let Ok(packet) = wire::parse(LinkType::Ethernet, frame, len) else { return true };
        let blocked = self.blocks.iter().any(|b| b.prefix.contains(packet.src) && at_ns < b.until_ns);
        if [addr(CLIENT), addr(CLIENT6)].contains(&packet.src) {
            if blocked {
                self.client.dropped += 1;
            } else {
                self.client.passed += 1;
                self.client.bytes += u64::from(len);
            }
        }
        // What the victim would answer to packets that never came.
        if self.blocks.iter().any(|b| b.prefix.contains(packet.dst) && at_ns < b.until_ns) {
            return false;
        }
        let Some(i) = self.view.acts.iter().position(|a| packet.src == addr(a.attacker)) else {
            return !blocked;
        };
        let act = &mut self.view.acts[i];
        self.sent[i] += 1;
        if blocked {
            act.dropped += 1;
        } else {
            self.reached[i] += 1;
        }
        if act.began.is_none() {
            act.began = Some(seconds(at_ns));
            self.attack_ns[i] = at_ns;
            let text = format!("{} from {} begins", act.title, act.attacker);
            self.view.say(Style::Bad, text);
        }
        !blocked
    }

    /// Brings the view up to date.
    fn look(&mut self, line: &Line, now_ns: u64) {
        let traffic = line.census().traffic();
        let view = &mut *self.view;
        view.packets_per_second = traffic.packets_per_second as f64;
        view.bytes_per_second = traffic.bytes_per_second as f64;
        view.sources = traffic.unique_ips.into();
        view.ordinary = Ordinary {
            completed: vec![("frames", self.client.passed)],
            tried: self.client.passed + self.client.dropped,
            lost: self.client.dropped,
            bytes: self.client.bytes,
            over: false,
        };
        for i in 0..view.acts.len() {
            let act = &mut view.acts[i];
            act.note(view.at, self.sent[i], self.reached[i]);
            if let Some(block) = self.blocks.iter().find(|b| b.prefix == Prefix::host(addr(act.attacker))) {
                act.remaining = block.until_ns.saturating_sub(now_ns) as f64 / 1e9;
            }
            let quiet = act.began.is_some_and(|b| view.at - b >= OVER) && act.sent.rate() == 0.0;
            if quiet && act.ended.is_none() {
                view.conclude(i);
            }
        }
    }
}

fn addr(ip: impl Into<IpAddr>) -> Addr {
    ip.into().into()
}

/// Seconds since the story began.
fn seconds(at_ns: u64) -> f64 {
    at_ns.saturating_sub(EPOCH_NS) as f64 / 1e9
}

impl Tap for Hall<'_> {
    fn flow(&mut self, _: u64, _: &FlowRecord, _: EndReason) {}

    fn message(&mut self, _: u64, _: &Conversation, _: Side, _: &Message) {}

    fn incident(&mut self, at_ns: u64, update: &Update, _: Option<&Signal>, _: Option<&Decision>) {
        let Actor::Source { addr: actor } = update.incident.actor else { return };
        let acts = &mut self.view.acts;
        let Some(act) = acts.iter_mut().find(|a| {
            update.incident.classes.iter().any(|c| c.name() == a.class) && addr(a.attacker) == actor
        }) else {
            return;
        };
        let evidence = update.incident.evidence.iter().map(|e| (e.metric, e.observed, e.threshold));
        act.why = because(&update.incident.techniques, evidence);
        if act.recognised.is_none() {
            act.recognised = Some(seconds(at_ns));
            let text = format!("recognised as {}: {}", act.class, act.why);
            self.view.say(Style::Warn, text);
        }
    }

    fn decision(&mut self, decision: &Decision) {
        self.blocks.retain(|b| b.prefix != decision.prefix);
        let act = self.view.acts.iter_mut().enumerate();
        let mine = act.into_iter().find(|(_, a)| decision.prefix == Prefix::host(addr(a.attacker)));
        match (decision.outcome, &decision.block) {
            (Outcome::Blocked | Outcome::Extended, Some(block)) => {
                self.blocks.push(block.clone());
                if let Some((i, act)) = mine
                    && act.blocked.is_none()
                {
                    act.blocked = Some(seconds(decision.at_ns));
                    act.reached_before = Some(self.reached[i]);
                    let ms = block.since_ns.saturating_sub(self.attack_ns[i]) as f64 / 1e6;
                    act.block_ms = Some(ms);
                    let text = format!("{} is blocked, {ms:.0} ms after its first packet", act.attacker);
                    self.view.say(Style::Good, text);
                }
            }
            (Outcome::Expired | Outcome::Lifted, _) => {
                if let Some((_, act)) = mine {
                    act.expired = Some(seconds(decision.at_ns));
                    act.remaining = 0.0;
                    let text = format!("the block of {} has expired", act.attacker);
                    self.view.say(Style::Plain, text);
                }
            }
            _ => {}
        }
    }

    fn anomaly(&mut self, _: u64, _: &'static str, _: u64) {}
}
