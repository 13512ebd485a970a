//! Models as bytes: they come back as they were, and whatever else the bytes are, the answer is an error or a model that
//! works.

use learn::anomaly::{dbscan, isolation, vae, zscore};
use learn::calibrate::{Conformal, Isotonic, Platt};
use learn::codec::{CodecError, Pack, from_bytes, kind_of, to_bytes};
use learn::hybrid::{self, Hybrid, Scratch, Training, Verdict};
use learn::life::Ground;
use learn::life::ground::Known;
use learn::random::Random;
use learn::text::Classifier;
use learn::tree::boosting::{self, Boosting, Samples};
use learn::tree::forest::{self, Forest};
use learn::{Feature, Inline, Kind, Matrix};
use proptest::prelude::*;
use std::fmt::Debug;

struct Data {
    rows: Matrix,
    schema: Vec<Feature>,
    classes: Vec<u32>,
}

fn data() -> Data {
    let mut random = Random::new(1, 0);
    let (mut values, mut classes) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let (x, category) = (random.normal() as f32, random.below(5));
        classes.push(u32::from(x > 0.0) + u32::from(x > 0.0 && category > 2));
        values.extend([x, category as f32]);
    }
    let names = (0..5).map(|i| format!("k{i}")).collect();
    let schema = vec![
        Feature { name: "x".into(), kind: Kind::Numeric },
        Feature { name: "k".into(), kind: Kind::Categorical(names) },
    ];
    Data { rows: Matrix::new(2, values).unwrap(), schema, classes }
}

fn names() -> Vec<String> {
    ["ordinary", "one", "two"].map(str::to_owned).to_vec()
}

fn hybrid(kind: hybrid::Kind) -> Hybrid {
    let d = data();
    let training = Training {
        rows: &d.rows,
        schema: &d.schema,
        classes: &d.classes,
        names: &names(),
        normal: 0,
        weights: None,
        groups: None,
    };
    let options = hybrid::Options { kind, ..hybrid::Options::default() };
    Hybrid::train(&training, &options, &Inline, &mut |_| {}).unwrap()
}

fn boosting() -> Boosting {
    let d = data();
    let samples = Samples { rows: &d.rows, classes: &d.classes, weights: None };
    let options = boosting::Options { rounds: 3, ..boosting::Options::default() };
    Boosting::train(&samples, &d.schema, 3, &options, None, &Inline).unwrap()
}

fn forest() -> Forest {
    let d = data();
    let samples = Samples { rows: &d.rows, classes: &d.classes, weights: None };
    let options = forest::Options { trees: 3, ..forest::Options::default() };
    Forest::train(&samples, &d.schema, 3, &options, &Inline).unwrap()
}

fn usual() -> zscore::Usual {
    let mut collector = zscore::Collector::new(2, 4, 0);
    data().rows.iter().enumerate().for_each(|(i, r)| collector.add(i as u64 % 2, (i % 9) as u16, r));
    collector.finish().unwrap()
}

fn density() -> dbscan::Dbscan {
    dbscan::Dbscan::fit(&data().rows, &dbscan::Options { min_points: 4, eps: None, seed: 0 }, &Inline)
        .unwrap()
}

fn autoencoder() -> vae::Vae {
    let options = vae::Options { hidden: 4, latent: 2, epochs: 1, ..vae::Options::default() };
    vae::Vae::fit(&data().rows, &options, &Inline).unwrap()
}

fn ground() -> Ground {
    let d = data();
    let taken = vec![Verdict::Normal; d.classes.len()];
    let groups: Vec<u64> = (0..d.classes.len() as u64).map(|i| i % 7).collect();
    let known = Known {
        rows: &d.rows,
        schema: &d.schema,
        classes: &d.classes,
        names: &names(),
        normal: 0,
        groups: &groups,
        taken: &taken,
    };
    Ground::draw(&known, 1).unwrap()
}

fn text() -> Classifier {
    let samples = [("ab", 0, 1.0), ("12", 1, 1.0)];
    let options = learn::text::Options { bits: 8, ..learn::text::Options::default() };
    Classifier::train(&samples, &["letters", "digits"], &options).unwrap()
}

fn returns<T: Pack + PartialEq + Debug>(model: &T) {
    let bytes = to_bytes(model);
    assert_eq!(kind_of(&bytes), Some((T::KIND, T::VERSION)));
    assert_eq!(from_bytes::<T>(&bytes).as_ref(), Ok(model));
    // Cut off anywhere, or with more behind, it is refused.
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 400) {
        assert!(from_bytes::<T>(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(from_bytes::<T>(&longer).err(), Some(CodecError::Garbled));
}

#[test]
fn every_model_comes_back_as_it_was() {
    returns(&hybrid(hybrid::Kind::Boosting));
    returns(&hybrid(hybrid::Kind::Forest));
    returns(&boosting());
    returns(&forest());
    returns(&usual());
    returns(&density());
    returns(&autoencoder());
    returns(&isolation::Isolation::fit(&data().rows, 1).unwrap());
    returns(&text());
    returns(&ground());
    returns(&Conformal::fit((0..6000).map(|i| i as f32)).unwrap());
    returns(&Isotonic::fit([(0.0, false, 1.0), (1.0, true, 1.0)]).unwrap());
    returns(&Platt::fit(&[(0.0, false), (1.0, true)]).unwrap());
}

#[test]
fn other_kinds_and_versions_are_named() {
    let bytes = to_bytes(&boosting());
    let error = from_bytes::<Forest>(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "a model of kind \"bost\" where \"frst\" was expected");
    let mut other = bytes.clone();
    other[8] = 77;
    assert!(matches!(from_bytes::<Boosting>(&other), Err(CodecError::Version { found: 77, .. })));
    other[0] = b'x';
    assert_eq!(from_bytes::<Boosting>(&other).err(), Some(CodecError::NoModel));
    assert_eq!(from_bytes::<Boosting>(b"").err(), Some(CodecError::NoModel));
}

/// What is read from altered bytes works, or is refused.
fn survives<T: Pack>(bytes: &[u8], changes: &[(usize, u8)], work: impl Fn(&T)) {
    let mut bytes = bytes.to_vec();
    for (at, value) in changes {
        let at = 10 + at % (bytes.len() - 10);
        bytes[at] = *value;
    }
    if let Ok(model) = from_bytes::<T>(&bytes) {
        work(&model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn altered_bytes_do_no_harm(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        use std::sync::LazyLock;
        static HYBRID: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&hybrid(hybrid::Kind::Boosting)));
        static FOREST: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&forest()));
        static VAE: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&autoencoder()));
        static DENSITY: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&density()));
        static USUAL: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&usual()));
        static GROUND: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&ground()));
        static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&text()));
        let row = [0.3_f32, 2.0];
        survives(&HYBRID, &changes, |m: &Hybrid| {
            let _ = m.judge(&row, &mut Scratch::default());
            let _ = m.judge_batch(&data().rows, &Inline);
            let _ = m.explain(&row);
            let _ = m.explain_class(&row, 1);
        });
        survives(&FOREST, &changes, |m: &Forest| {
            let _ = m.predict_batch(&data().rows);
        });
        survives(&VAE, &changes, |m: &vae::Vae| {
            let _ = m.score(&row);
        });
        survives(&DENSITY, &changes, |m: &dbscan::Dbscan| {
            let _ = m.score(&row);
            let _ = m.differences(&row);
        });
        survives(&USUAL, &changes, |m: &zscore::Usual| {
            let _ = m.score(1, 2, &row);
        });
        survives(&GROUND, &changes, |g: &Ground| {
            let rows = g.rows(Some((1, 5)));
            assert_eq!(rows.values.len(), rows.classes.len() * g.schema().len());
            assert!(g.cases(1, 5).iter().all(|c| (c.class as usize) < g.names().len()));
        });
        survives(&TEXT, &changes, |m: &Classifier| {
            let _ = m.predict("alice");
        });
    }
}
