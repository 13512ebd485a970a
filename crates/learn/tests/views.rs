//! The autoencoder beside its baseline, the isolation forest: on sequences that neither learnt from.

use learn::anomaly::isolation::Isolation;
use learn::anomaly::vae::{Options, Vae};
use learn::metric::Ranking;
use learn::random::Random;
use learn::{Inline, Matrix};

const WINDOWS: usize = 6;
const FEATURES: usize = 3;

/// Six windows of an entity that gets busier and quieter again: packets and bytes follow each other, with noise.
fn ordinary(random: &mut Random) -> Vec<f32> {
    let (phase, level) = (random.unit() * std::f64::consts::TAU, 3.0 + random.normal());
    let mut row = Vec::new();
    for window in 0..WINDOWS {
        let busy = level + 2.0 * (phase + window as f64).sin();
        let noise = |random: &mut Random| 0.3 * random.normal();
        row.extend([
            (busy + noise(random)) as f32,
            (2.0 * busy + noise(random)) as f32,
            (5.0 - busy + noise(random)) as f32,
        ]);
    }
    row
}

/// The same windows, out of order: each by itself is ordinary.
fn shuffled(random: &mut Random) -> Vec<f32> {
    let row = ordinary(random);
    let mut order: Vec<usize> = (0..WINDOWS).collect();
    random.shuffle(&mut order);
    order.iter().flat_map(|w| &row[w * FEATURES..][..FEATURES]).copied().collect()
}

/// One feature of one window is far out.
fn spiked(random: &mut Random) -> Vec<f32> {
    let mut row = ordinary(random);
    let place = random.below(row.len());
    row[place] += 6.0;
    row
}

/// Windows whose packets and bytes no longer follow each other.
fn parted(random: &mut Random) -> Vec<f32> {
    let (row, other) = (ordinary(random), ordinary(random));
    let pick = |(i, (a, b)): (usize, (f32, f32))| if i % FEATURES == 1 { b } else { a };
    row.into_iter().zip(other).enumerate().map(pick).collect()
}

#[test]
fn the_autoencoder_beats_its_baseline_on_each_kind_of_oddity() {
    let mut random = Random::new(1, 0);
    let mut rows = |n: usize, make: fn(&mut Random) -> Vec<f32>| {
        (0..n).map(|_| make(&mut random)).collect::<Vec<Vec<f32>>>()
    };
    let train = Matrix::new(WINDOWS * FEATURES, rows(1500, ordinary).concat()).unwrap();
    let vae = Vae::fit(&train, &Options { seed: 3, ..Options::default() }, &Inline).unwrap();
    let isolation = Isolation::fit(&train, 3).unwrap();
    let normal = rows(500, ordinary);
    type Make = fn(&mut Random) -> Vec<f32>;
    let kinds: [(&str, Make, f64); 3] =
        [("shuffled", shuffled, 0.85), ("spiked", spiked, 0.95), ("parted", parted, 0.95)];
    for (name, make, least) in kinds {
        let odd = rows(500, make);
        let auc = |score: &dyn Fn(&[f32]) -> f32| {
            let all = normal.iter().map(|r| (score(r), false)).chain(odd.iter().map(|r| (score(r), true)));
            Ranking::new(all).auc()
        };
        let (own, baseline) = (auc(&|r| vae.score(r)), auc(&|r| isolation.score(r)));
        println!("{name}: autoencoder {own:.3}, isolation forest {baseline:.3}");
        assert!(own > least && own > baseline + 0.02, "{name}: {own} beside {baseline}");
    }
}
