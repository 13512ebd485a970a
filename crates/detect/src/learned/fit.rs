//! Training of the ensemble.

use super::calibrate::most;
use super::ensemble::{Ensemble, Sequences, Temporal, View, Views, Voting, score};
use super::habit::Habitual;
use super::vector::{FEATURES, WIDTH};
use super::watch::{SEQUENCE, Sequence, latest};
use learn::anomaly::isolation::Isolation;
use learn::anomaly::zscore::{Collector, Usual};
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
    /// How views become one judgement; `None` takes what tells known attacks of half of the groups apart best.
    pub way: Option<Way>,
    /// Parts into which groups are divided for calibration, at least 2; training takes one more time than there are parts.
    pub folds: usize,
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
            way: Some(Way::ALL[0]),
            folds: 3,
            vae: vae::Options { hidden: 48, latent: 8, epochs: 30, ..vae::Options::default() },
        }
    }
}

/// What is the temporal view, and how views become one judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// What the temporal view is.
    pub sequences: Sequences,
    /// How views become one.
    pub voting: Voting,
}

impl Way {
    /// All there are: two of three, each view alone, and the isolation forest, the baseline, in place of the autoencoder.
    pub const ALL: [Self; 6] = [
        Self { sequences: Sequences::Autoencoder, voting: Voting::TwoOfThree },
        Self { sequences: Sequences::Isolation, voting: Voting::TwoOfThree },
        Self { sequences: Sequences::Autoencoder, voting: Voting::Only(View::Spatial) },
        Self { sequences: Sequences::Autoencoder, voting: Voting::Only(View::Temporal) },
        Self { sequences: Sequences::Isolation, voting: Voting::Only(View::Temporal) },
        Self { sequences: Sequences::Autoencoder, voting: Voting::Only(View::Statistical) },
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.voting, self.sequences) {
            (Voting::TwoOfThree, Sequences::Autoencoder) => "two of three",
            (Voting::TwoOfThree, Sequences::Isolation) => "two of three, with the isolation forest",
            (Voting::Only(View::Temporal), Sequences::Autoencoder) => "temporal: autoencoder",
            (Voting::Only(View::Temporal), Sequences::Isolation) => "temporal: isolation forest (baseline)",
            (Voting::Only(view), _) => view.name(),
        }
    }

    /// The p-value of the views together.
    #[must_use]
    pub fn combine(self, heard: &Heard) -> f64 {
        self.voting.combine(&heard.by_view(self.sequences))
    }
}

/// Neighbours of a dense window: enough that a handful of like windows of one source are no region of their own.
const DENSE: usize = 12;

/// A window of which it is known what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The window.
    pub sample: Sample,
    /// Whether the source attacked. Nothing is learnt from it then.
    pub attack: bool,
}

/// An ensemble and what it makes of the windows it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Learnt from all usual windows.
    pub ensemble: Ensemble,
    /// For each window what the conservative model of the others' groups makes of it.
    pub out_of_fold: Vec<Heard>,
}

/// p-values of one window, small for strange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Of the spatial view.
    pub spatial: f64,
    /// Of each model that may be the temporal view, by [`Sequences`].
    pub temporal: [f64; 2],
    /// Of the statistical view.
    pub statistical: f64,
}

impl Heard {
    /// By [`super::ensemble::View`].
    #[must_use]
    pub const fn by_view(&self, sequences: Sequences) -> [f64; 3] {
        [self.spatial, self.temporal[sequences as usize], self.statistical]
    }
}

/// Learns from samples of usual traffic, and calibrates with scores that each gets from models which did not see its group
/// (cross-conformal, Vovk, "Cross-conformal predictors", 2015).
///
/// # Errors
/// Too few samples: there must be some with enough confidence in several groups, and some dense region among them.
pub fn fit(samples: &[Sample], options: &Options, pool: &dyn Pool) -> Result<Ensemble, LearnError> {
    let all: Vec<(&Sample, bool)> = samples.iter().map(|s| (s, false)).collect();
    cross(&all, options, pool).map(|fitted| fitted.ensemble)
}

/// As [`fit`], and judges windows of attacks too, each by models that did not see its group.
///
/// # Errors
/// As [`fit`].
pub fn fit_known(windows: &[Known], options: &Options, pool: &dyn Pool) -> Result<Fitted, LearnError> {
    let all: Vec<(&Sample, bool)> = windows.iter().map(|k| (&k.sample, k.attack)).collect();
    cross(&all, options, pool)
}

fn cross(windows: &[(&Sample, bool)], options: &Options, pool: &dyn Pool) -> Result<Fitted, LearnError> {
    let all: Vec<&Sample> = windows.iter().map(|(s, _)| *s).collect();
    let usual = || windows.iter().enumerate().filter(|(_, (_, attack))| !attack).map(|(i, (s, _))| (i, *s));
    let sure: Vec<usize> =
        usual().filter(|(_, s)| s.confidence >= options.confident).map(|(i, _)| i).collect();
    // Models take no weights: a sample of half the confidence is there half of the time.
    let mut random = Random::new(options.seed, 1);
    let weighted: Vec<usize> =
        usual().filter(|(_, s)| random.unit() < f64::from(s.confidence)).map(|(i, _)| i).collect();
    let folds = Folds::new(&all, options);

    let (conservative, heard) = learn(&sure, &all, &folds, options, pool)?;
    let way = options.way.unwrap_or_else(|| best(windows, &heard, options));
    let (habitual_c, seen_c) = usual_of(&by_source(&sure, &all, &heard, way))?;
    let (adaptive, heard_a) = learn(&weighted, &all, &folds, options, pool)?;
    let (habitual_a, seen_a) = usual_of(&by_source(&sure, &all, &heard_a, way))?;
    let ensemble = Ensemble {
        features: FEATURES.iter().map(|f| f.name.to_owned()).collect(),
        conservative: conservative.views(way.sequences),
        adaptive: adaptive.views(way.sequences),
        voting: way.voting,
        alarms_per_day: options.alarms_per_day,
        habitual: [habitual_c, habitual_a],
        seen: [seen_c, seen_a],
        windows: [sure.len() as u64, weighted.len() as u64],
    };
    Ok(Fitted { ensemble, out_of_fold: heard })
}

/// The way of combining that tells attacks and usual windows of the choosing groups apart best; the first where there are no
/// attacks.
fn best(windows: &[(&Sample, bool)], heard: &[Heard], options: &Options) -> Way {
    let own = windows.iter().zip(heard).filter(|((s, _), _)| chooses(s.group));
    let cases: Vec<Case<'_>> =
        own.map(|((sample, attack), heard)| Case { sample, attack: *attack, heard: *heard }).collect();
    match super::measure::measure(&cases, &cases, options.alarms_per_day) {
        Ok(report) if report.attacks > 0 => report.best().map_or(Way::ALL[0], |quality| quality.way),
        _ => Way::ALL[0],
    }
}

/// Whether captures of a group are of the half by which is chosen and, for figures, calibrated. Figures are those of the others.
#[must_use]
pub fn chooses(group: u64) -> bool {
    Random::new(group, 6).unit() < 0.5
}

/// Which groups are judged by which models: those that did not see them.
#[derive(Clone, Debug)]
struct Folds {
    count: usize,
    key: fn(&Sample) -> u64,
    of: BTreeMap<u64, usize>,
}

impl Folds {
    /// By groups; by sources or moments where there are too few groups.
    fn new(samples: &[&Sample], options: &Options) -> Self {
        let count = options.folds.max(2);
        let distinct = |key: fn(&Sample) -> u64| samples.iter().map(|s| key(s)).collect::<BTreeSet<u64>>();
        let keys: [fn(&Sample) -> u64; 3] = [|s| s.group, |s| s.source, |s| s.start_ns / 600_000_000_000];
        let key = keys.into_iter().find(|k| distinct(*k).len() >= count).unwrap_or(|s| s.start_ns);
        let mut groups: Vec<u64> = distinct(key).into_iter().collect();
        Random::new(options.seed, 4).shuffle(&mut groups);
        Self { count, key, of: groups.into_iter().enumerate().map(|(i, g)| (g, i % count)).collect() }
    }

    fn of(&self, sample: &Sample) -> usize {
        self.of.get(&(self.key)(sample)).copied().unwrap_or(0)
    }
}

/// Everything that may be a view, learnt from the same samples.
struct Learnt {
    spatial: dbscan::Dbscan,
    statistical: Usual,
    autoencoder: vae::Vae,
    isolation: Isolation,
    /// In the order of [`Self::scores`].
    calibration: [Conformal; 4],
}

impl Learnt {
    fn scores(&self, s: &Sample) -> [f32; 4] {
        let window = latest(&s.sequence);
        [
            self.spatial.score(window).0,
            self.autoencoder.score(&s.sequence),
            self.isolation.score(&s.sequence),
            self.statistical.score(s.source, s.hour, window),
        ]
    }

    fn heard(&self, scores: &[f32; 4]) -> Heard {
        let p = |i: usize| self.calibration[i].p_value(scores[i]);
        Heard { spatial: p(0), temporal: [p(1), p(2)], statistical: p(3) }
    }

    fn views(self, sequences: Sequences) -> Views {
        let [spatial, autoencoder, isolation, statistical] = self.calibration;
        let (temporal, calibrated) = match sequences {
            Sequences::Autoencoder => (Temporal::Autoencoder(self.autoencoder), autoencoder),
            Sequences::Isolation => (Temporal::Isolation(self.isolation), isolation),
        };
        Views {
            spatial: self.spatial,
            temporal,
            statistical: self.statistical,
            calibration: [spatial, calibrated, statistical],
        }
    }
}

/// What learnt from the samples at some places, calibrated; and what models that did not see a sample's group make of each.
fn learn(
    learning: &[usize],
    all: &[&Sample],
    folds: &Folds,
    options: &Options,
    pool: &dyn Pool,
) -> Result<(Learnt, Vec<Heard>), LearnError> {
    let fold_of: Vec<usize> = all.iter().map(|s| folds.of(s)).collect();
    let mut scores = vec![[f32::NAN; 4]; all.len()];
    for fold in 0..folds.count {
        let others = learning.iter().copied().filter(|i| fold_of[*i] != fold).collect();
        let learnt = bare(&draw(others, all, options), options, pool)?;
        for ((scores, s), _) in scores.iter_mut().zip(all).zip(&fold_of).filter(|(_, f)| **f == fold) {
            *scores = learnt.scores(s);
        }
    }
    let mut learnt = bare(&draw(learning.to_vec(), all, options), options, pool)?;
    for (at, calibration) in learnt.calibration.iter_mut().enumerate() {
        *calibration = Conformal::fit(learning.iter().map(|i| scores[*i][at]))?;
    }
    let heard = scores.iter().map(|s| learnt.heard(s)).collect();
    Ok((learnt, heard))
}

/// The samples at some places, or as many of them as are learnt from at most.
fn draw<'a>(mut places: Vec<usize>, all: &[&'a Sample], options: &Options) -> Vec<&'a Sample> {
    if places.len() > options.most {
        Random::new(options.seed, 2).draw_first(&mut places, options.most);
        places.truncate(options.most);
    }
    places.into_iter().map(|i| all[i]).collect()
}

/// Learnt, not calibrated yet.
fn bare(learning: &[&Sample], options: &Options, pool: &dyn Pool) -> Result<Learnt, LearnError> {
    let windows = Matrix::new(WIDTH, learning.iter().flat_map(|s| latest(&s.sequence)).copied().collect())?;
    let sequences =
        Matrix::new(WIDTH * SEQUENCE, learning.iter().flat_map(|s| s.sequence.iter()).copied().collect())?;
    let dense = dbscan::Options { min_points: DENSE, eps: None, seed: options.seed };
    let mut usual = Collector::new(WIDTH, options.sources, options.seed);
    for s in learning {
        usual.add(s.source, s.hour, latest(&s.sequence));
    }
    let vae = vae::Options { seed: options.seed, ..options.vae };
    let nobody = || Conformal::fit([0.0]);
    Ok(Learnt {
        spatial: dbscan::Dbscan::fit(&windows, &dense, pool)?,
        statistical: usual.finish()?,
        autoencoder: vae::Vae::fit(&sequences, &vae, pool)?,
        isolation: Isolation::fit(&sequences, options.seed)?,
        calibration: [nobody()?, nobody()?, nobody()?, nobody()?],
    })
}

/// Share of usual sources that may reach an alarm because nothing like them was learnt.
const STRANGERS: f64 = 0.01;

/// What is usual by the scores of usual sources, and the evidence that at most one in a hundred of them reaches.
///
/// # Errors
/// No windows.
pub(super) fn usual_of(sources: &[Vec<f32>]) -> Result<(Habitual, f64), LearnError> {
    let habitual = Habitual::fit(sources)?;
    let seen = strangest(sources.iter().map(|s| most(s, &habitual)).collect());
    Ok((habitual, seen))
}

/// A window, whether its source attacked, and what models that did not see its group made of it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The window.
    pub sample: &'a Sample,
    /// Whether the source attacked.
    pub attack: bool,
    /// What was made of it.
    pub heard: Heard,
}

/// The scores of the samples at some places, of each source of a group in order of time.
fn by_source(places: &[usize], all: &[&Sample], heard: &[Heard], way: Way) -> Vec<Vec<f32>> {
    let case = |i: &usize| Case { sample: all[*i], attack: false, heard: heard[*i] };
    scores(places.iter().map(case), way)
}

/// The scores of cases, of each source of a group in order of time.
pub(super) fn scores<'a>(cases: impl IntoIterator<Item = Case<'a>>, way: Way) -> Vec<Vec<f32>> {
    let mut by_source: BTreeMap<(u64, u64), Vec<(u64, f32)>> = BTreeMap::new();
    for Case { sample, heard, .. } in cases {
        let windows = by_source.entry((sample.group, sample.source)).or_default();
        windows.push((sample.start_ns, score(way.combine(&heard))));
    }
    let in_order = |mut windows: Vec<(u64, f32)>| {
        windows.sort_by_key(|w| w.0);
        windows.into_iter().map(|(_, score)| score).collect()
    };
    by_source.into_values().map(in_order).collect()
}

/// The value that at most one in a hundred exceed; 0 of none.
#[must_use]
pub fn strangest(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    values.get((values.len() as f64 * STRANGERS) as usize).copied().unwrap_or(0.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::habit::Habit;
    use super::*;
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

    pub(in crate::learned) const OPTIONS: Options = Options {
        seed: 1,
        confident: 0.8,
        alarms_per_day: 1.0,
        most: 4096,
        sources: 0,
        way: Some(Way::ALL[0]),
        folds: 3,
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
        for (opinion, habitual) in [judged.conservative, judged.adaptive].iter().zip(ensemble.habitual()) {
            assert!(opinion.p.iter().all(|p| *p < 0.01), "{opinion:?}");
            assert!(habitual.p_value(&mut Habit::default(), opinion.score()) < 0.01);
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
        let all: Vec<&Sample> = samples.iter().collect();
        let folds = Folds::new(&all, &OPTIONS);
        let of: Vec<usize> = samples.iter().map(|s| folds.of(s)).collect();
        assert!(of.chunks(40).all(|group| group.iter().all(|f| *f == group[0])));
        assert!((0..3).all(|fold| of.iter().filter(|f| **f == fold).count() >= 120));
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
    fn scores_are_those_of_a_source_in_order_of_time() {
        let mut samples = normal(2, 3);
        samples.reverse();
        let heard = |p: f64| Heard { spatial: p, temporal: [p, 1.0], statistical: p };
        let cases = samples.iter().map(|sample| Case {
            sample,
            attack: false,
            heard: heard(1.0 / (1.0 + (sample.group * 10 + sample.start_ns / 10_000_000_000) as f64)),
        });
        let scores: Vec<Vec<f32>> = scores(cases, Way::ALL[2])
            .into_iter()
            .map(|s| s.into_iter().map(|s| (s.exp() - 1.0).round()).collect())
            .collect();
        assert_eq!(scores, [[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]);
    }
}
