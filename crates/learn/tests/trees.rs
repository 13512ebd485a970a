//! Behaviour of both growers on data made here.

#![expect(clippy::disallowed_methods, reason = "a pool of threads, to show that results do not depend on it")]

use learn::metric::{Ranking, largest};
use learn::random::Random;
use learn::tree::boosting::{self, Boosting, Samples};
use learn::tree::forest::{self, Forest};
use learn::{Feature, Inline, Kind, LearnError, Matrix, Pool};

struct Data {
    rows: Matrix,
    classes: Vec<u32>,
    schema: Vec<Feature>,
}

impl Data {
    fn samples(&self) -> Samples<'_> {
        Samples { rows: &self.rows, classes: &self.classes, weights: None }
    }
}

fn numeric(name: &str) -> Feature {
    Feature { name: name.into(), kind: Kind::Numeric }
}

/// Class 1 inside a ring, or outside where one feature is absent; class 2 where a category of 40 is one of five.
fn data(n: usize, seed: u64) -> Data {
    let mut random = Random::new(seed, 0);
    let (mut values, mut classes) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (x, y) = (random.normal() as f32, random.normal() as f32);
        let category = random.below(40);
        let absent = random.unit() < 0.2;
        let ring = x * x + y * y < 1.0;
        classes.push(if category % 8 == 3 { 2 } else { u32::from(ring != absent) });
        values.extend([x, y, if absent { f32::NAN } else { random.unit() as f32 }, category as f32]);
        values.push(random.normal() as f32);
    }
    let names = (0..40).map(|i| format!("k{i}")).collect();
    let schema = vec![
        numeric("x"),
        numeric("y"),
        numeric("sometimes"),
        Feature { name: "kind".into(), kind: Kind::Categorical(names) },
        numeric("noise"),
    ];
    Data { rows: Matrix::new(5, values).unwrap(), classes, schema }
}

fn accuracy(probabilities: &[f32], data: &Data) -> f64 {
    let k = probabilities.len() / data.classes.len();
    let right =
        probabilities.chunks(k).zip(&data.classes).filter(|(p, c)| largest(p) == **c as usize).count();
    right as f64 / data.classes.len() as f64
}

const BOOSTING: boosting::Options = boosting::Options {
    rounds: 60,
    rate: 0.15,
    leaves: 31,
    depth: 64,
    min_rows: 5.0,
    min_hessian: 1e-3,
    l2: 0.0,
    most_step: 5.0,
    features: 1.0,
    rows: 1.0,
    patience: 0,
    seed: 0,
};
const FOREST: forest::Options =
    forest::Options { trees: 60, features: 3, depth: 64, min_leaf: 1, balanced: false, seed: 0 };

#[test]
fn both_learn_numbers_categories_and_absence() {
    let (train, test) = (data(6000, 1), data(3000, 2));
    let b = Boosting::train(&train.samples(), &train.schema, 3, &BOOSTING, None, &Inline).unwrap();
    let f = Forest::train(&train.samples(), &train.schema, 3, &FOREST, &Inline).unwrap();
    let (b, f) =
        (accuracy(&b.predict_batch(&test.rows), &test), accuracy(&f.predict_batch(&test.rows), &test));
    assert!(b > 0.96, "boosting: {b}");
    assert!(f > 0.93, "forest: {f}");
}

#[test]
fn one_row_and_many_say_the_same() {
    let train = data(1500, 1);
    for classes in [2, 3] {
        let labels: Vec<u32> = train.classes.iter().map(|c| (*c).min(classes - 1)).collect();
        let samples = Samples { classes: &labels, ..train.samples() };
        let k = classes as usize;
        let b = Boosting::train(&samples, &train.schema, k, &BOOSTING, None, &Inline).unwrap();
        let f = Forest::train(&samples, &train.schema, k, &FOREST, &Inline).unwrap();
        // Strange values too, and a number of rows that fills no last block.
        let mut values = data(203, 3).rows.values().to_vec();
        for (i, odd) in
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 39.5, 1e30, 77.0].into_iter().enumerate()
        {
            values.iter_mut().skip(i * 3).step_by(31).for_each(|v| *v = odd);
        }
        let rows = Matrix::new(5, values).unwrap();
        let (all_b, all_f) = (b.predict_batch(&rows), f.predict_batch(&rows));
        let mut out = vec![0.0; k];
        for (i, row) in rows.iter().enumerate() {
            b.predict(row, &mut out);
            assert!(out.iter().zip(&all_b[i * k..]).all(|(a, b)| (a - b).abs() < 1e-5), "row {i}");
            f.predict(row, &mut out);
            assert!(out.iter().zip(&all_f[i * k..]).all(|(a, b)| (a - b).abs() < 1e-5), "row {i}");
            assert!((out.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }
}

struct Threads;

impl Pool for Threads {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|s| {
            for first in 0..3 {
                s.spawn(move || (first..jobs).step_by(3).for_each(job));
            }
        });
    }
}

#[test]
fn a_seed_decides_and_threads_do_not() {
    let train = data(4000, 1);
    let options = boosting::Options { rounds: 5, features: 0.6, rows: 0.7, ..BOOSTING };
    let boost = |seed, pool: &dyn Pool| {
        let options = boosting::Options { seed, ..options };
        Boosting::train(&train.samples(), &train.schema, 3, &options, None, pool).unwrap()
    };
    assert!(boost(1, &Inline) == boost(1, &Threads));
    assert!(boost(1, &Inline) != boost(2, &Inline));
    let plant = |seed, pool: &dyn Pool| {
        let options = forest::Options { trees: 7, seed, ..FOREST };
        Forest::train(&train.samples(), &train.schema, 3, &options, pool).unwrap()
    };
    assert!(plant(1, &Inline) == plant(1, &Threads));
    assert!(plant(1, &Inline) != plant(2, &Inline));
}

#[test]
fn held_out_rows_stop_training_and_the_best_round_is_kept() {
    let mut train = data(800, 1);
    // A third of the labels are drawn anew: soon there is nothing left to learn but errors.
    let mut random = Random::new(9, 9);
    train
        .classes
        .iter_mut()
        .for_each(|c| *c = if random.unit() < 0.33 { random.below(3) as u32 } else { *c });
    let held_out = data(800, 2);
    let options = boosting::Options { rounds: 400, patience: 10, ..BOOSTING };
    let fit = |held_out: Option<&Samples<'_>>| {
        Boosting::train(&train.samples(), &train.schema, 3, &options, held_out, &Inline).unwrap()
    };
    let (stopped, all) = (fit(Some(&held_out.samples())), fit(None));
    let rounds = stopped.trees().len();
    assert!((3..300).contains(&rounds), "{rounds}");
    let test = data(2000, 3);
    let (early, late) = (stopped.predict_batch(&test.rows), all.predict_batch(&test.rows));
    assert!(accuracy(&early, &test) > accuracy(&late, &test));
}

#[test]
fn weights_move_the_decision() {
    let train = data(2000, 1);
    let noisy: Vec<u32> =
        train.classes.iter().enumerate().map(|(i, c)| u32::from(*c == 2 && i % 4 != 0)).collect();
    let weights: Vec<f32> = noisy.iter().map(|c| if *c == 1 { 20.0 } else { 1.0 }).collect();
    let mean = |weights: Option<&[f32]>| {
        let samples = Samples { rows: &train.rows, classes: &noisy, weights };
        // Too small to learn the rows by heart.
        let (few, small) = (
            boosting::Options { rounds: 8, leaves: 6, ..BOOSTING },
            forest::Options { min_leaf: 20, ..FOREST },
        );
        let b = Boosting::train(&samples, &train.schema, 2, &few, None, &Inline).unwrap();
        let f = Forest::train(&samples, &train.schema, 2, &small, &Inline).unwrap();
        let share = |p: &[f32]| p.chunks(2).map(|p| f64::from(p[1])).sum::<f64>() / train.rows.rows() as f64;
        (share(&b.predict_batch(&train.rows)), share(&f.predict_batch(&train.rows)))
    };
    let (plain, heavy) = (mean(None), mean(Some(&weights)));
    assert!(heavy.0 > plain.0 + 0.01 && heavy.1 > plain.1 + 0.01, "{plain:?} {heavy:?}");
}

#[test]
fn balanced_classes_find_the_rare_one() {
    let train = data(3000, 1);
    let rare: Vec<u32> =
        train.classes.iter().enumerate().map(|(i, c)| u32::from(*c == 2 && i % 12 == 0)).collect();
    let samples = Samples { classes: &rare, ..train.samples() };
    let found = |balanced| {
        let options = forest::Options { balanced, min_leaf: 10, ..FOREST };
        let f = Forest::train(&samples, &train.schema, 2, &options, &Inline).unwrap();
        f.predict_batch(&train.rows).chunks(2).zip(&rare).filter(|(p, c)| **c == 1 && p[1] > 0.5).count()
    };
    assert!(found(true) > found(false));
}

#[test]
fn a_category_never_seen_is_absent() {
    let train = data(3000, 1);
    let b = Boosting::train(&train.samples(), &train.schema, 3, &BOOSTING, None, &Inline).unwrap();
    let p = |category: f32| {
        let mut out = [0.0; 3];
        b.predict(&[0.1, 0.1, 0.5, category, 0.0], &mut out);
        out
    };
    let absent = p(f32::NAN);
    assert_eq!(p(1e6), absent);
    assert_eq!(p(-3.0), absent);
    assert_ne!(p(3.0), absent);
}

#[test]
fn values_far_outside_training_are_judged_by_the_last_bin() {
    let train = data(3000, 1);
    let b = Boosting::train(&train.samples(), &train.schema, 3, &BOOSTING, None, &Inline).unwrap();
    let p = |x: f32| {
        let mut out = [0.0; 3];
        b.predict(&[x, 0.0, 0.5, 1.0, 0.0], &mut out);
        out
    };
    assert_eq!(p(f32::INFINITY), p(1e30));
    assert_eq!(p(f32::NEG_INFINITY), p(-1e30));
}

#[test]
fn a_constant_column_and_few_rows_do_no_harm() {
    let rows = Matrix::new(2, vec![1.0, 5.0, 1.0, 6.0, 1.0, 7.0, 1.0, 8.0]).unwrap();
    let schema = [numeric("same"), numeric("x")];
    let samples = Samples { rows: &rows, classes: &[0, 0, 1, 1], weights: None };
    let options = boosting::Options { min_rows: 1.0, rounds: 20, ..BOOSTING };
    let b = Boosting::train(&samples, &schema, 2, &options, None, &Inline).unwrap();
    let f = Forest::train(&samples, &schema, 2, &FOREST, &Inline).unwrap();
    for p in [b.predict_batch(&rows), f.predict_batch(&rows)] {
        let ranking = Ranking::new(p.chunks(2).zip([0, 0, 1, 1]).map(|(p, c)| (p[1], c == 1)));
        assert_eq!(ranking.auc(), 1.0, "{p:?}");
    }
    let same = Matrix::new(1, vec![3.0; 4]).unwrap();
    let samples = Samples { rows: &same, classes: &[0, 1, 1, 1], weights: None };
    let b = Boosting::train(&samples, &schema[..1], 2, &options, None, &Inline).unwrap();
    assert!((b.predict_batch(&same)[1] - 0.75).abs() < 1e-4);
}

#[test]
fn bad_input_is_named() {
    let train = data(50, 1);
    let fit = |samples: &Samples<'_>, options: &boosting::Options| {
        Boosting::train(samples, &train.schema, 3, options, None, &Inline).err()
    };
    let good = train.samples();
    let one = vec![1; 50];
    assert_eq!(fit(&Samples { classes: &one, ..good }, &BOOSTING), Some(LearnError::OneClass));
    assert!(matches!(
        fit(&Samples { classes: &one[..9], ..good }, &BOOSTING),
        Some(LearnError::Shape { .. })
    ));
    let seven = vec![7; 50];
    assert!(matches!(fit(&Samples { classes: &seven, ..good }, &BOOSTING), Some(LearnError::Shape { .. })));
    let nan = vec![f32::NAN; 50];
    assert!(matches!(
        fit(&Samples { weights: Some(&nan), ..good }, &BOOSTING),
        Some(LearnError::Option { .. })
    ));
    for options in [
        boosting::Options { rate: 0.0, ..BOOSTING },
        boosting::Options { leaves: 1, ..BOOSTING },
        boosting::Options { rounds: 0, ..BOOSTING },
        boosting::Options { l2: f64::NAN, ..BOOSTING },
    ] {
        assert!(matches!(fit(&good, &options), Some(LearnError::Option { .. })), "{options:?}");
    }
    let empty = Matrix::new(5, Vec::new()).unwrap();
    let none = Samples { rows: &empty, classes: &[], weights: None };
    assert_eq!(fit(&none, &BOOSTING), Some(LearnError::Empty));
    assert_eq!(Forest::train(&none, &train.schema, 3, &FOREST, &Inline).err(), Some(LearnError::Empty));
    let no_trees = forest::Options { trees: 0, ..FOREST };
    assert!(Forest::train(&good, &train.schema, 3, &no_trees, &Inline).is_err());
}
