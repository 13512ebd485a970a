//! Generated traffic in real time: what `run --simulate` watches instead of the network.

use lab::simulation::EPOCH_NS;
use std::time::{Duration, Instant};

type Frames = Box<dyn Iterator<Item = (u64, Vec<u8>)> + Send>;

/// A scenario played in a loop, each round with the next seed, its times shifted to now.
pub struct Simulation {
    scenario: lab::simulation::Simulation,
    seed: u64,
    frames: Frames,
    next: Option<(u64, Vec<u8>)>,
    round_began: Instant,
    round_wall_ns: u64,
}

/// Pause between two rounds, so that incidents and flows of one end before the next.
const PAUSE: Duration = Duration::from_secs(2);

impl Simulation {
    /// Begins the first round at `wall_ns`.
    pub fn new(scenario: lab::simulation::Simulation, seed: u64, wall_ns: u64) -> Self {
        let mut frames: Frames = Box::new(scenario.frames(seed));
        let next = frames.next();
        Self { scenario, seed, frames, next, round_began: Instant::now(), round_wall_ns: wall_ns }
    }

    /// The scenario's name.
    pub fn name(&self) -> &'static str {
        self.scenario.name()
    }

    /// Hands over every frame that is due within `patience`, each at its time. Returns the time up to which all were, ns.
    pub fn play(&mut self, patience: Duration, mut sink: impl FnMut(u64, &[u8])) -> u64 {
        let deadline = Instant::now() + patience;
        loop {
            let Some((at_ns, _)) = self.next else {
                if self.round_began.elapsed() < PAUSE {
                    std::thread::sleep(patience);
                    return self.time_at(deadline);
                }
                self.begin_next_round();
                continue;
            };
            let offset = Duration::from_nanos(at_ns.saturating_sub(EPOCH_NS));
            let due = self.round_began + offset;
            let now = Instant::now();
            if due > deadline {
                std::thread::sleep(deadline.saturating_duration_since(now));
                return self.time_at(deadline);
            }
            std::thread::sleep(due.saturating_duration_since(now));
            if let Some((at_ns, frame)) = self.next.take() {
                sink(self.round_wall_ns + at_ns.saturating_sub(EPOCH_NS), &frame);
                self.next = self.frames.next();
                if self.next.is_none() {
                    // From here on the round's clock measures the pause.
                    self.round_began = Instant::now();
                    self.round_wall_ns += at_ns.saturating_sub(EPOCH_NS);
                }
            }
        }
    }

    /// The line's time at an instant of this round.
    fn time_at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.round_began);
        self.round_wall_ns + u64::try_from(since.as_nanos()).unwrap_or(0)
    }

    fn begin_next_round(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        self.round_wall_ns += u64::try_from(self.round_began.elapsed().as_nanos()).unwrap_or(0);
        self.round_began = Instant::now();
        self.frames = Box::new(self.scenario.frames(self.seed));
        self.next = self.frames.next();
    }
}
