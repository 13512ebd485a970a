//! What a new model is measured with: windows whose truth is known and from which nothing is learnt.
//!
//! Attacks are generated and pass the same line as all traffic; those that people confirmed come on top. What is normal is
//! of the network itself: samples of high confidence that were set aside.

use super::course::Meter;
use crate::line::{Line, LineConfig, Tap};
use detect::learned::JudgedWindow;
use detect::learned::ensemble::{Ensemble, hour_of_week, source_key};
use detect::learned::watch::Sequence;
use detect::{Signal, Update};
use flow::{Conversation, EndReason, FlowRecord};
use lab::address::ATTACKERS;
use lab::simulation::Simulation;
use learn::life::Figures;
use respond::Decision;
use wire::message::{Message, Side};
use wire::{Addr, LinkType};

/// A p-value at or below which a window of the set counts as an alarm.
const ALARM: f64 = 0.01;
/// Times that the set is judged to measure how long that takes. Of each case the shortest counts: the others were disturbed.
const ROUNDS: usize = 9;
/// Generated attacks.
const ATTACKS: [Simulation; 5] = [
    Simulation::PortScan,
    Simulation::SynFlood,
    Simulation::UdpFlood,
    Simulation::IcmpFlood,
    Simulation::SshGuessing,
];
/// Times each of them is generated, with another seed: together at least as many windows as gates ask for.
const TIMES: u64 = 8;

/// The set.
pub struct Golden {
    pub(super) attacks: Vec<(u64, u16, Sequence)>,
    confirmed: Vec<(u64, u16, Sequence)>,
}

/// Takes windows of attackers.
#[derive(Default)]
struct Windows(Vec<(u64, u16, Sequence)>);

impl Tap for Windows {
    fn window(&mut self, window: &JudgedWindow) {
        let observed = &window.observed;
        if ATTACKERS.iter().any(|a| Addr::from(std::net::IpAddr::V4(*a)) == observed.addr) {
            self.0.push((source_key(observed.addr), hour_of_week(observed.start_ns), observed.sequence));
        }
    }

    fn flow(&mut self, _: u64, _: &FlowRecord, _: EndReason) {}

    fn message(&mut self, _: u64, _: &Conversation, _: Side, _: &Message) {}

    fn incident(&mut self, _: u64, _: &Update, _: Option<&Signal>, _: Option<&Decision>) {}

    fn decision(&mut self, _: &Decision) {}

    fn anomaly(&mut self, _: u64, _: &'static str, _: u64) {}
}

impl Golden {
    /// Generates the attacks and has a line like the agent's own see them, in shadow mode: nothing real happens.
    pub fn generate(line: &LineConfig) -> Self {
        let mut windows = Windows::default();
        for attack in ATTACKS {
            for seed in 0..TIMES {
                let mut config = line.clone();
                config.judge.policy.mode = respond::Mode::Shadow;
                config.judge.models = detect::learned::Models::default();
                config.judge.tell_windows = true;
                let mut line = Line::new(config);
                for (at_ns, frame) in attack.frames(seed) {
                    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    line.frame(at_ns, Some(LinkType::Ethernet), &frame, length, &mut windows);
                }
                line.finish(&mut windows);
            }
        }
        Self { attacks: windows.0, confirmed: Vec::new() }
    }

    /// Windows of attacks that people confirmed, each of a source.
    pub fn set_confirmed(&mut self, windows: Vec<(u64, Sequence)>) {
        self.confirmed = windows.into_iter().map(|(source, sequence)| (source, 0, sequence)).collect();
    }

    /// What is to be said of some models, all measured side by side.
    pub fn figures<const N: usize>(
        &self,
        models: [Option<&Ensemble>; N],
        normal: &[(u64, u16, Sequence)],
        meter: &dyn Meter,
    ) -> [Option<Figures>; N] {
        let attacks = self.attacks.iter().chain(&self.confirmed);
        let cases: Vec<_> = attacks.map(|c| (c, true)).chain(normal.iter().map(|c| (c, false))).collect();
        let mut times = [(); N].map(|()| vec![u64::MAX; cases.len()]);
        let mut judged = [(); N].map(|()| vec![(false, false); cases.len()]);
        for _ in 0..ROUNDS {
            for ((model, times), judged) in models.iter().zip(&mut times).zip(&mut judged) {
                let Some(model) = model else { continue };
                let places = times.iter_mut().zip(judged);
                for (((source, hour, sequence), attack), (time, judged)) in cases.iter().zip(places) {
                    let begun = meter.time_ns();
                    let p = model.judge(*source, *hour, sequence).conservative.combined;
                    *time = meter.time_ns().saturating_sub(begun).min(*time);
                    *judged = (*attack, p <= ALARM);
                }
            }
        }
        std::array::from_fn(|i| {
            let (model, times, judged) = (models.get(i)?, times.get_mut(i)?, judged.get(i)?);
            model.map(|_| Figures::of(judged.iter().copied(), times))
        })
    }

    /// Attacks in the set.
    pub fn attacks(&self) -> usize {
        self.attacks.len() + self.confirmed.len()
    }
}
