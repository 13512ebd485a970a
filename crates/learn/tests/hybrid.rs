//! Behaviour of the two-stage classifier on data made here.

use learn::hybrid::{Hybrid, Judgement, Kind, Options, Scratch, Training, Verdict};
use learn::metric::{Confusion, Ranking};
use learn::random::Random;
use learn::{Feature, Inline, Kind as FeatureKind, LearnError, Matrix, Pool};

struct Data {
    rows: Matrix,
    classes: Vec<u32>,
    schema: Vec<Feature>,
    names: Vec<String>,
}

/// Normal rows around 0; three families around places of their own, the last of them rare; some noise.
fn data(n: usize, seed: u64) -> Data {
    let mut random = Random::new(seed, 0);
    let (mut values, mut classes) = (Vec::new(), Vec::new());
    for i in 0..n {
        let class = match i % 20 {
            0..=9 => 1,
            10..=14 => 0,
            15..=18 => 2,
            _ => 3,
        };
        let centre = [[4.0, 0.0], [0.0, 0.0], [0.0, 4.0], [4.0, 4.0]][class as usize];
        classes.push(class);
        values.extend(centre.map(|c| (c + random.normal()) as f32));
        values.extend([random.normal() as f32, random.below(3) as f32]);
    }
    let numeric = |n: &str| Feature { name: n.into(), kind: FeatureKind::Numeric };
    let kinds = FeatureKind::Categorical(["a", "b", "c"].map(str::to_owned).to_vec());
    let schema =
        vec![numeric("x"), numeric("y"), numeric("noise"), Feature { name: "kind".into(), kind: kinds }];
    let names = ["scan", "ordinary", "flood", "rare"].map(str::to_owned).to_vec();
    Data { rows: Matrix::new(4, values).unwrap(), classes, schema, names }
}

fn training(d: &Data) -> Training<'_> {
    Training {
        rows: &d.rows,
        schema: &d.schema,
        classes: &d.classes,
        names: &d.names,
        normal: 1,
        weights: None,
        groups: None,
    }
}

fn train(d: &Data, kind: Kind) -> Hybrid {
    let options = Options { kind, ..Options::default() };
    Hybrid::train(&training(d), &options, &Inline, &mut |_| {}).unwrap()
}

#[test]
fn every_kind_tells_normal_from_attack_and_families_apart() {
    let (d, test) = (data(2400, 1), data(1200, 2));
    for kind in [Kind::Forest, Kind::Boosting, Kind::Hybrid] {
        let model = train(&d, kind);
        let judged = model.judge_batch(&test.rows, &Inline);
        let ranking = Ranking::new(judged.iter().zip(&test.classes).map(|(j, c)| (j.score, *c != 1)));
        assert!(ranking.auc() > 0.985, "{kind:?}: {}", ranking.auc());
        let mut confusion = Confusion::new(4);
        for (j, c) in judged.iter().zip(&test.classes) {
            confusion.add(*c as usize, j.class as usize);
            assert!((j.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
        assert!(confusion.macro_f1() > 0.85, "{kind:?}: {}", confusion.macro_f1());
    }
}

/// Attacks that differ from normal rows a little in each of twelve features: only all of them together tell.
fn overlapping(n: usize, seed: u64) -> Data {
    let mut random = Random::new(seed, 0);
    let classes: Vec<u32> = (0..n).map(|i| u32::from(i % 2 == 0)).collect();
    let centre = |class: &u32| if *class == 1 { 0.0 } else { 0.9 };
    let values = classes.iter().flat_map(|c| [centre(c); 12]).collect::<Vec<f64>>();
    let values = values.into_iter().map(|c| (c + random.normal()) as f32).collect();
    let schema = (0..12).map(|i| Feature { name: format!("f{i}"), kind: FeatureKind::Numeric }).collect();
    let names = ["scan", "ordinary"].map(str::to_owned).to_vec();
    Data { rows: Matrix::new(12, values).unwrap(), classes, schema, names }
}

#[test]
fn the_default_finds_more_than_quick_boosting_where_few_false_alarms_count() {
    let (d, test) = (overlapping(3000, 1), overlapping(8000, 2));
    let recall = |kind| {
        let judged = train(&d, kind).judge_batch(&test.rows, &Inline);
        let ranking = Ranking::new(judged.iter().zip(&test.classes).map(|(j, c)| (j.score, *c != 1)));
        ranking.recall_at_fpr(0.01).0
    };
    let (quick, thorough) = (recall(Kind::Boosting), recall(Kind::default()));
    assert!(thorough > quick + 0.02, "{thorough} {quick}");
    // In small steps more trees than one stage of quick boosting may have.
    assert!(train(&d, Kind::default()).trees() > 100);
}

#[test]
fn one_row_and_many_are_judged_the_same() {
    let (d, test) = (data(1000, 1), data(300, 2));
    for kind in [Kind::Forest, Kind::Boosting] {
        let model = train(&d, kind);
        let (many, mut scratch) = (model.judge_batch(&test.rows, &Inline), Scratch::default());
        assert_eq!(many.len(), 300);
        for (row, all) in test.rows.iter().zip(many.iter()) {
            let one = model.judge(row, &mut scratch);
            assert!((one.p_normal - all.p_normal).abs() < 1e-5);
            assert_eq!((one.class, one.verdict), (all.class, all.verdict));
            let pairs = one.probabilities.iter().zip(all.probabilities);
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}

#[test]
fn normal_is_what_is_normal_with_the_probability_asked() {
    let d = data(2400, 1);
    let mut model = train(&d, Kind::Boosting);
    let mut scratch = Scratch::default();
    let normal = |j: Judgement<'_>| j.verdict == Verdict::Normal;
    let ordinary = [0.0, 0.0, 0.0, 1.0];
    assert!(normal(model.judge(&ordinary, &mut scratch)));
    assert!(matches!(model.judge(&[4.0, 0.0, 0.0, 1.0], &mut scratch).verdict, Verdict::Known(0)));
    model.normal_at = 1.0;
    assert!(!normal(model.judge(&ordinary, &mut scratch)));
}

#[test]
fn between_the_families_nothing_is_known() {
    let d = data(4000, 1);
    let mut model = train(&d, Kind::Boosting);
    let judged = model.judge_batch(&d.rows, &Inline);
    let unknown = judged.iter().filter(|j| j.verdict == Verdict::Unknown).count();
    // Few of the families' own rows: 2 % of them by the threshold, some fewer as they were learnt from.
    assert!(unknown < 100, "{unknown}");
    model.known_at = 1.0;
    let judged = model.judge_batch(&d.rows, &Inline);
    assert!(judged.iter().all(|j| !matches!(j.verdict, Verdict::Known(_))));
}

#[test]
fn reasons_add_up_and_name_what_is_usual() {
    let d = data(2400, 1);
    let model = train(&d, Kind::Boosting);
    let mut scratch = Scratch::default();
    let row = [4.0, 0.0, 0.0, 1.0];
    let reasons = model.explain(&row);
    assert_eq!((reasons[0].feature, reasons[0].value), (0, 4.0));
    assert!(reasons[0].contribution > 1.0 && reasons[0].usual.abs() < 0.3, "{reasons:?}");
    // Between two rows scores differ as the sums of contributions do.
    let sum = |row: &[f32]| model.explain(row).iter().map(|r| r.contribution).sum::<f32>();
    let mut score = |row: &[f32]| model.judge(row, &mut scratch).score;
    let other = [0.0, 4.0, 1.0, 2.0];
    assert!((score(&row) - score(&other) - (sum(&row) - sum(&other))).abs() < 1e-2);
    let family = model.explain_class(&row, 0);
    assert!(family[0].contribution > 0.0, "{family:?}");
    assert!(model.explain_class(&row, 1)[0].contribution < 0.0);
}

struct Threads;

impl Pool for Threads {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        #[expect(clippy::disallowed_methods, reason = "to show that results do not depend on threads")]
        std::thread::scope(|s| {
            for first in 0..2 {
                s.spawn(move || (first..jobs).step_by(2).for_each(job));
            }
        });
    }
}

#[test]
fn a_seed_decides_and_threads_do_not() {
    let d = data(800, 1);
    for kind in [Kind::Forest, Kind::Boosting, Kind::Hybrid] {
        let with = |seed, pool: &dyn Pool| {
            let options = Options { kind, seed, ..Options::default() };
            Hybrid::train(&training(&d), &options, pool, &mut |_| {}).unwrap()
        };
        let one = with(1, &Inline);
        assert!(one == with(1, &Threads), "{kind:?}");
        assert!(one != with(2, &Inline), "{kind:?}");
    }
}

#[test]
fn two_classes_need_no_second_stage() {
    let mut d = data(800, 1);
    d.classes.iter_mut().for_each(|c| *c = u32::from(*c == 1));
    d.names.truncate(2);
    let model = train(&d, Kind::Boosting);
    let mut scratch = Scratch::default();
    let attack = model.judge(&[4.0, 4.0, 0.0, 0.0], &mut scratch);
    assert_eq!((attack.class, attack.verdict), (0, Verdict::Known(0)));
    assert_eq!(model.judge(&[0.0; 4], &mut scratch).class, 1);
    assert!(model.explain_class(&[0.0; 4], 0)[0].contribution < 0.0);
}

#[test]
fn a_class_without_rows_and_a_row_of_another_length_do_no_harm() {
    let mut d = data(800, 1);
    d.names.push("never seen".into());
    let model = train(&d, Kind::Boosting);
    let mut scratch = Scratch::default();
    assert!(model.judge(&[4.0, 0.0, 0.0, 0.0], &mut scratch).probabilities[4] < 0.05);
    for row in [&[][..], &[1.0], &[f32::NAN; 4], &[f32::INFINITY; 4], &[f32::NEG_INFINITY; 4]] {
        let j = model.judge(row, &mut scratch);
        assert!(j.p_normal.is_finite() && j.probabilities.iter().all(|p| p.is_finite()), "{row:?}");
        assert!(model.explain(row).iter().all(|r| r.contribution.is_finite()));
    }
}

#[test]
fn progress_is_told_for_each_model() {
    let d = data(800, 1);
    let mut told = Vec::new();
    Hybrid::train(&training(&d), &Options::default(), &Inline, &mut |p| told.push(p)).unwrap();
    assert!(told.windows(2).all(|w| w[0].step != w[1].step || w[0].done + 1 == w[1].done), "{told:?}");
    assert!(told.last().is_some_and(|p| p.done == p.of));
}

#[test]
fn bad_input_is_named() {
    let d = data(100, 1);
    let fit = |t: &Training<'_>, o: &Options| Hybrid::train(t, o, &Inline, &mut |_| {}).err();
    let (good, options) = (training(&d), Options { kind: Kind::Boosting, ..Options::default() });
    let attacks = vec![0; 100];
    let no_normal: Vec<u32> = d.classes.iter().map(|c| if *c == 1 { 0 } else { *c }).collect();
    let empty = Matrix::new(4, Vec::new()).unwrap();
    for (training, expected) in [
        (Training { rows: &empty, classes: &[], ..good }, LearnError::Empty),
        (Training { classes: &attacks, ..good }, LearnError::OneClass),
        (Training { classes: &no_normal, ..good }, LearnError::OneClass),
    ] {
        assert_eq!(fit(&training, &options), Some(expected));
    }
    for training in [
        Training { classes: &attacks[..7], ..good },
        Training { schema: &d.schema[..2], ..good },
        Training { names: &d.names[..2], ..good },
        Training { normal: 9, ..good },
        Training { weights: Some(&[1.0]), ..good },
        Training { groups: Some(&[1]), ..good },
    ] {
        assert!(matches!(fit(&training, &options), Some(LearnError::Shape { .. })), "{training:?}");
    }
    for options in [
        Options { normal_at: 1.0, ..options },
        Options { normal_at: f32::NAN, ..options },
        Options { precision: Some(98.0), ..options },
    ] {
        assert!(matches!(fit(&good, &options), Some(LearnError::Option { .. })), "{options:?}");
    }
}
