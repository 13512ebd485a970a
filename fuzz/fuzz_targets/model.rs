//! Models as bytes: whatever they are, what is read can judge and explain, and is written as it was read.

#![no_main]

use learn::anomaly::dbscan::Dbscan;
use learn::anomaly::isolation::Isolation;
use learn::anomaly::vae::Vae;
use learn::anomaly::zscore::Usual;
use learn::calibrate::{Conformal, Isotonic, Platt};
use learn::codec::{self, Pack};
use learn::hybrid::{Hybrid, Scratch};
use learn::life::{Ground, Life, Options, Stored};
use learn::text::Classifier;
use learn::tree::boosting::Boosting;
use learn::tree::forest::Forest;

/// Widest row tried: wider ones cost time and reach no other code.
const WIDEST: usize = 64;

fn read<T: Pack>(bytes: &[u8]) -> Option<T> {
    let model: T = codec::from_bytes(bytes).ok()?;
    let again = codec::to_bytes(&model);
    assert!(codec::from_bytes::<T>(&again).is_ok());
    Some(model)
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let row = [0.5_f32; WIDEST];
    if let Some(m) = read::<Hybrid>(input) {
        let row = &row[..m.schema().len().min(WIDEST)];
        m.judge(row, &mut Scratch::default());
        let _ = m.explain(row);
    }
    if let Some(m) = read::<Boosting>(input) {
        let mut scores = vec![0.0; m.trees().outputs()];
        m.trees().add(&row[..m.trees().features().min(WIDEST)], &mut scores);
    }
    if let Some(m) = read::<Forest>(input) {
        let mut scores = vec![0.0; m.trees().outputs()];
        m.trees().add(&row[..m.trees().features().min(WIDEST)], &mut scores);
    }
    if let Some(m) = read::<Vae>(input) {
        let _ = m.score(&row[..m.features().min(WIDEST)]);
    }
    if let Some(m) = read::<Dbscan>(input) {
        for n in 0..8 {
            let _ = (m.score(&row[..n]), m.differences(&row[..n]));
        }
    }
    if let Some(m) = read::<Usual>(input) {
        for n in 0..8 {
            let _ = m.deviations(1, 2, &row[..n], 3);
        }
    }
    if let Some(m) = read::<Isolation>(input) {
        for n in 0..8 {
            let _ = m.score(&row[..n]);
        }
    }
    if let Some(g) = read::<Ground>(input) {
        let rows = g.rows(Some((1, 5)));
        assert_eq!(rows.values.len(), rows.classes.len() * g.schema().len());
        let _ = g.cases(1, 5);
    }
    if let Some(stored) = read::<Stored>(input) {
        let mut life = Life::new(Options::default(), 1);
        life.resume(stored, 1);
        life.advance(u64::MAX / 2);
        let _ = life.store();
    }
    if let Some(m) = read::<Classifier>(input) {
        let _ = m.predict("alice");
    }
    if let Some(m) = read::<Conformal>(input) {
        assert!(m.p_value(1.0) > 0.0);
    }
    let _ = read::<Isotonic>(input).map(|m| m.probability(0.5));
    let _ = read::<Platt>(input).map(|m| m.probability(0.5));
});
