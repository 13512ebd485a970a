//! Known facts of public datasets, where they are at hand.

use crate::common::{Scratch, open};
use dataset::{
    Dataset, Duplicates, Format, Profile, Side, SplitBy, SplitOptions, drift, split, tuple_digest,
};
use std::path::PathBuf;

/// A table in the data folder; says so where there is none.
fn table(name: &str) -> Option<Dataset> {
    let root = std::env::var_os("AUTOINMUNE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join("flows").join(name);
    if !path.exists() {
        println!("skipped: no {} in the data folder (AUTOINMUNE_DATA)", path.display());
        return None;
    }
    Some(open(&path))
}

/// The published rows of UNSW-NB15 are known to repeat: what is here was split by a hash of the features, so that the
/// share of different rows is that of the whole file, 53,946 of 82,332.
#[test]
fn unsw_nb15_repeats_itself() {
    let Some(d) = table("unsw-nb15/train.csv.gz") else { return };
    let scratch = Scratch::new("unsw");
    let places = d.schema().features();
    assert_eq!(places.len(), 42, "all but id, attack_cat and label");
    let class = d.schema().class(None).expect("no name asked").expect("attack_cat");
    assert_eq!(d.schema().columns()[class].name, "attack_cat");
    let mut all = Duplicates::holding(10_000);
    d.rows(|row| all.add(tuple_digest(row, &places), 0, Side::First)).expect("read");
    let found = all.finish().expect("counted");
    assert_eq!(found.rows[0], 57_843);
    let share = found.unique[0] as f64 / found.rows[0] as f64;
    assert!((share - 53_946.0 / 82_332.0).abs() < 0.02, "{found:?}");

    // At random by row a split leaks; by the hash of features it does not.
    let to = scratch.path("split");
    let options = SplitOptions { by: SplitBy::Features, test: 0.3, seed: 1, format: Format::Parquet };
    split(&d, &to, &options).expect("split");
    let (train, test) = (open(&to.join("train")), open(&to.join("test")));
    let mut both = Duplicates::default();
    for (part, side) in [(&train, Side::First), (&test, Side::Second)] {
        let places = part.schema().features();
        part.rows(|row| both.add(tuple_digest(row, &places), 0, side)).expect("read");
    }
    let leak = both.finish().expect("counted");
    assert_eq!((leak.shared, leak.rows[0] + leak.rows[1]), (0, 57_843));
    assert_eq!(leak.unique[0] + leak.unique[1], found.unique[0], "Parquet and CSV rows are equal");
    let of_interest = |name: &str| dataset::Role::of(name).is_feature();
    let drift = drift::compare(
        &Profile::of(&test).expect("a profile"),
        &Profile::of(&train).expect("a profile"),
        of_interest,
    );
    assert_eq!((drift.columns.len(), drift.changed().count()), (42, 0), "{:?}", drift.columns.first());
}

/// Rows of malware differ from ordinary ones, and infinite rates are read.
#[test]
fn cicids2017_is_read_with_its_infinities() {
    let Some(d) = table("cicids2017-corrected/train.csv.gz") else { return };
    let profile = Profile::of(&d).expect("a profile");
    assert_eq!(profile.rows, 30_314);
    let rate = profile.column("Flow Bytes/s").expect("a rate");
    assert_eq!(rate.column.kind, dataset::Kind::Real);
    let time = profile.column("Timestamp").expect("a time");
    assert_eq!(time.column.kind, dataset::Kind::Time);
}
