//! Training of the ensemble.

use super::ensemble::{Ensemble, Views, Voting};
use super::evidence::{Evidence, e_value};
use super::vector::{FEATURES, WIDTH};
use super::watch::{SEQUENCE, Sequence, latest};
use learn::anomaly::zscore::Collector;
use learn::anomaly::{dbscan, vae};
use learn::calibrate::Conformal;
use learn::random::Random;
use learn::{LearnError, Matrix, Pool};
use std::collections::{BTreeMap, BTreeSet};

/// A window to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Whose ([`super::ensemble::source_key`]).
    pub source: u64,
    /// What it has in common with others, such as the capture it is from: samples of one group are either learnt from or
    /// calibrated with.
    pub group: u64,
    /// Hour of the week.
    pub hour: u16,
    /// When the window began, ns.
    pub start_ns: u64,
    /// How sure it is that this is usual, 0..=1.
    pub confidence: f32,
    /// The window and those before it.
    pub sequence: Sequence,
}

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Seed of everything drawn.
    pub seed: u64,
    /// Confidence from which on the conservative model learns from a sample.
    pub confident: f32,
    /// False alarms of one host a day that are accepted.
    pub alarms_per_day: f64,
    /// Most samples learnt from, drawn where there are more: time of training grows with them.
    pub most: usize,
    /// Most sources of which what is usual is kept apart; 0 where those of training are not those to judge.
    pub sources: usize,
    /// How views become one judgement.
    pub voting: Voting,
    /// The temporal view.
    pub vae: vae::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            confident: 0.8,
            alarms_per_day: 1.0,
            most: 8192,
            sources: 256,
            voting: Voting::TwoOfThree,
            vae: vae::Options { hidden: 48, latent: 8, epochs: 30, ..vae::Options::default() },
        }
    }
}

/// Neighbours of a dense window: enough that a handful of like windows of one source are no region of their own.
const DENSE: usize = 12;

/// Learns from samples of usual traffic. Three fifths of the groups are learnt from, the others calibrate.
///
/// # Errors
/// Too few samples: there must be some of each part with enough confidence, and some dense region among them.
pub fn fit(samples: &[Sample], options: &Options, pool: &dyn Pool) -> Result<Ensemble, LearnError> {
    let held = held_out(samples, options.seed);
    let side = |out: bool| samples.iter().zip(&held).filter(move |(_, h)| **h == out).map(|(s, _)| s);
    let (learning, calibrating): (Vec<&Sample>, Vec<&Sample>) = (side(false).collect(), side(true).collect());
    let mut random = Random::new(options.seed, 1);
    let everything = weighted(&learning, &mut random);
    let (conservative, seen_c) =
        views(&draw(sure(&learning, options), options, 2), &sure(&calibrating, options), options, pool)?;
    let (adaptive, seen_a) =
        views(&draw(everything, options, 3), &weighted(&calibrating, &mut random), options, pool)?;
    Ok(Ensemble {
        features: FEATURES.iter().map(|f| f.name.to_owned()).collect(),
        conservative,
        adaptive,
        voting: options.voting,
        alarms_per_day: options.alarms_per_day,
        seen: [seen_c, seen_a],
        windows: [learning.len() as u64, calibrating.len() as u64],
    })
}

/// Which samples are held out for calibration: two groups of five, or sources or moments where there are too few groups.
#[must_use]
pub fn held_out(samples: &[Sample], seed: u64) -> Vec<bool> {
    const FEW: usize = 5;
    let distinct = |key: fn(&Sample) -> u64| samples.iter().map(key).collect::<BTreeSet<u64>>();
    let keys: [fn(&Sample) -> u64; 3] = [|s| s.group, |s| s.source, |s| s.start_ns / 600_000_000_000];
    let key = keys.into_iter().find(|k| distinct(*k).len() >= FEW).unwrap_or(|s| s.start_ns);
    let mut groups: Vec<u64> = distinct(key).into_iter().collect();
    Random::new(seed, 4).shuffle(&mut groups);
    let out: BTreeSet<u64> =
        groups.into_iter().enumerate().filter(|(i, _)| i % FEW > 2).map(|(_, g)| g).collect();
    samples.iter().map(|s| out.contains(&key(s))).collect()
}

fn sure<'a>(samples: &[&'a Sample], options: &Options) -> Vec<&'a Sample> {
    samples.iter().copied().filter(|s| s.confidence >= options.confident).collect()
}

/// Models take no weights: a sample of half the confidence is there half of the time.
fn weighted<'a>(samples: &[&'a Sample], random: &mut Random) -> Vec<&'a Sample> {
    samples.iter().copied().filter(|s| random.unit() < f64::from(s.confidence)).collect()
}

fn draw<'a>(mut samples: Vec<&'a Sample>, options: &Options, stream: u64) -> Vec<&'a Sample> {
    if samples.len() > options.most {
        Random::new(options.seed, stream).draw_first(&mut samples, options.most);
        samples.truncate(options.most);
    }
    samples
}

fn views(
    learning: &[&Sample],
    calibrating: &[&Sample],
    options: &Options,
    pool: &dyn Pool,
) -> Result<(Views, f64), LearnError> {
    let windows = Matrix::new(WIDTH, learning.iter().flat_map(|s| latest(&s.sequence)).copied().collect())?;
    let sequences =
        Matrix::new(WIDTH * SEQUENCE, learning.iter().flat_map(|s| s.sequence.iter()).copied().collect())?;
    let dense = dbscan::Options { min_points: DENSE, eps: None, seed: options.seed };
    let mut usual = Collector::new(WIDTH, options.sources, options.seed);
    for s in learning {
        usual.add(s.source, s.hour, latest(&s.sequence));
    }
    let vae = vae::Options { seed: options.seed, ..options.vae };
    let spatial = dbscan::Dbscan::fit(&windows, &dense, pool)?;
    let temporal = vae::Vae::fit(&sequences, &vae, pool)?;
    let nobody = || Conformal::fit([0.0]);
    let mut views = Views {
        spatial,
        temporal,
        statistical: usual.finish()?,
        calibration: [nobody()?, nobody()?, nobody()?],
    };
    let scores: Vec<[f32; 3]> =
        calibrating.iter().map(|s| views.scores(s.source, s.hour, &s.sequence)).collect();
    for (view, calibration) in views.calibration.iter_mut().enumerate() {
        *calibration = Conformal::fit(scores.iter().filter_map(|s| s.get(view).copied()))?;
    }
    let combined: Vec<f64> = scores.iter().map(|s| options.voting.combine(&views.p_values(*s))).collect();
    Ok((views, most_evidence(calibrating, &combined)))
}

/// The most evidence that adds up against any source, given the p-value of each of its windows.
#[must_use]
pub fn most_evidence(samples: &[&Sample], p_values: &[f64]) -> f64 {
    let mut by_source: BTreeMap<(u64, u64), Vec<(u64, f64)>> = BTreeMap::new();
    for (s, p) in samples.iter().zip(p_values) {
        by_source.entry((s.group, s.source)).or_default().push((s.start_ns, *p));
    }
    let mut most = 0.0_f64;
    for windows in by_source.values_mut() {
        windows.sort_by(|a, b| a.0.cmp(&b.0));
        let mut evidence = Evidence::default();
        for (_, p) in windows {
            evidence.add(e_value(*p));
            most = most.max(evidence.value());
        }
    }
    most
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::learned::evidence::Limits;
    use learn::Inline;

    /// Windows of hosts that browse: some flows to some hosts, with answers; `busy` times as much of everything.
    pub(in crate::learned) fn sample(
        random: &mut Random,
        group: u64,
        n: u64,
        busy: f64,
        scan: f64,
    ) -> Sample {
        let mut sequence = [f32::NAN; SEQUENCE * WIDTH];
        for window in sequence.chunks_exact_mut(WIDTH) {
            let flows = (3.0 + random.unit() * 9.0) * busy + scan;
            let packets = flows * (6.0 + random.unit() * 4.0);
            for (feature, place) in FEATURES.iter().zip(window) {
                let value = match feature.name {
                    "window_packets" => packets,
                    "window_reply_packets" => packets * 1.2 - scan * 8.0,
                    "window_bytes" => packets * 120.0,
                    "window_reply_bytes" => packets * 800.0 - scan * 5_000.0,
                    "window_flows" | "window_connections" => flows,
                    "window_hosts" => flows / 3.0 + scan,
                    "window_services" => flows / 2.0 + scan,
                    "window_failed_flows" | "window_failed_hosts" => scan,
                    "window_failure_ratio" => scan / flows,
                    "window_packet_size" => 120.0,
                    "window_reply_size" => 700.0,
                    _ => 0.0,
                };
                *place = (if feature.log { f64::max(value, 0.0).ln_1p() } else { value }) as f32;
            }
        }
        Sample { source: group, group, hour: 0, start_ns: n * 10_000_000_000, confidence: 1.0, sequence }
    }

    pub(in crate::learned) fn normal(groups: u64, each: u64) -> Vec<Sample> {
        let mut random = Random::new(5, 0);
        (0..groups * each).map(|n| sample(&mut random, n / each, n % each, 1.0, 0.0)).collect()
    }

    const OPTIONS: Options = Options {
        seed: 1,
        confident: 0.8,
        alarms_per_day: 1.0,
        most: 4096,
        sources: 0,
        voting: Voting::TwoOfThree,
        vae: vae::Options { hidden: 16, latent: 3, epochs: 6, batch: 32, rate: 2e-3, beta: 0.5, seed: 0 },
    };

    pub(in crate::learned) fn trained() -> Ensemble {
        fit(&normal(10, 80), &OPTIONS, &Inline).expect("trains")
    }

    #[test]
    fn a_scan_is_strange_and_another_quiet_morning_is_not() {
        let ensemble = trained();
        assert!(ensemble.fits());
        let mut random = Random::new(9, 0);
        let scan = sample(&mut random, 99, 0, 1.0, 400.0);
        let judged = ensemble.judge(scan.source, 0, &scan.sequence);
        for opinion in [judged.conservative, judged.adaptive] {
            assert!(opinion.p.iter().all(|p| *p < 0.01), "{opinion:?}");
            assert!(opinion.e_value() > 10.0);
        }
        let calm = (0..100).filter(|n| {
            let s = sample(&mut random, 98, *n, 1.0, 0.0);
            ensemble.judge(s.source, 0, &s.sequence).conservative.combined > 0.05
        });
        assert!(calm.count() > 85);
    }

    #[test]
    fn reasons_are_named_with_what_is_usual() {
        let ensemble = trained();
        let scan = sample(&mut Random::new(9, 0), 99, 0, 1.0, 400.0);
        let reasons = ensemble.explain(scan.source, 0, &scan.sequence);
        assert_eq!(reasons.len(), 3);
        let text: Vec<String> = reasons.iter().map(Evidence2::explain).collect();
        assert!(text.iter().any(|t| t.contains("failed") && t.contains("usually 0")), "{text:?}");
        let shares: f64 = reasons.iter().filter_map(|r| r.contribution).sum();
        assert!(shares > 0.5 && shares <= 1.0 + 1e-9);
    }

    use crate::Evidence as Evidence2;

    #[test]
    fn training_is_the_same_for_the_same_seed_and_groups_are_not_torn() {
        let samples = normal(10, 40);
        assert!(
            fit(&samples, &OPTIONS, &Inline).expect("trains")
                == fit(&samples, &OPTIONS, &Inline).expect("trains")
        );
        let held = held_out(&samples, 1);
        for group in samples.chunks(40).zip(held.chunks(40)) {
            assert!(group.1.iter().all(|h| *h == group.1[0]));
        }
        assert_eq!(held.iter().filter(|h| **h).count(), 160);
        assert!(fit(&[], &OPTIONS, &Inline).is_err());
    }

    #[test]
    fn doubtful_samples_teach_the_adaptive_model_alone() {
        let mut random = Random::new(11, 0);
        let mut samples = normal(10, 80);
        samples.extend(
            (0..400)
                .map(|n| Sample { confidence: 0.5, ..sample(&mut random, 20 + n / 40, n % 40, 12.0, 0.0) }),
        );
        let ensemble = fit(&samples, &OPTIONS, &Inline).expect("trains");
        let busy = sample(&mut random, 77, 0, 12.0, 0.0);
        let judged = ensemble.judge(busy.source, 0, &busy.sequence);
        assert!(judged.conservative.combined < 0.02, "{judged:?}");
        assert!(judged.adaptive.combined > 0.02, "{judged:?}");
    }

    #[test]
    fn evidence_adds_up_by_source_in_order_of_time() {
        let samples = normal(2, 3);
        let all: Vec<&Sample> = samples.iter().collect();
        let most = most_evidence(&all, &[0.5, 1e-4, 1e-4, 0.5, 0.5, 0.5]);
        let mut evidence = Evidence::default();
        [0.5, 1e-4, 1e-4].iter().for_each(|p| evidence.add(e_value(*p)));
        assert_eq!(most, evidence.value());
        assert!(Limits::new(1.0, most).low() >= most);
    }
}
