//! Part files: rotation, resuming, and what is saved of one that was cut off.

use crate::common::{Scratch, lines};
use dataset::{Cell, Column, Format, Kind, PartLimits, Parts, Schema};
use std::path::Path;

fn schema() -> Schema {
    Schema::new(vec![Column { name: "n".into(), kind: Kind::Integer }]).expect("a column")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn add(parts: &mut Parts, numbers: impl IntoIterator<Item = i64>) {
    for n in numbers {
        parts.row(&[Some(Cell::Integer(n))], n as u64).expect("written");
    }
}

#[test]
fn parts_rotate_by_rows_and_by_time() {
    for format in [Format::Csv, Format::Parquet] {
        let scratch = Scratch::new(&format!("rotate-{}", format.ending()));
        let dir = scratch.path("d");
        let limits = PartLimits { rows: 3, span_ns: 10 };
        let mut parts = Parts::create(&dir, schema(), format, limits).expect("begun");
        add(&mut parts, [1, 2, 3, 4, 50, 51]);
        assert_eq!(parts.finish().expect("ended"), 6);
        assert_eq!(names(&dir), [1, 2, 3].map(|n| format!("part-0000{n}.{}", format.ending())));
        assert_eq!(lines(&dir), ["n", "1", "2", "3", "4", "50", "51"]);
        let error = Parts::create(&dir, schema(), format, limits).err().expect("taken").to_string();
        assert!(error.contains("holds parts of a dataset already"), "{error}");
    }
}

#[test]
fn resuming_goes_on_behind_what_is_there() {
    let scratch = Scratch::new("resume");
    let dir = scratch.path("d");
    for round in 0..2 {
        let (mut parts, lost) =
            Parts::resume(&dir, schema(), Format::Csv, PartLimits::default()).expect("resumed");
        assert_eq!(lost, 0);
        add(&mut parts, [round]);
        parts.finish().expect("ended");
    }
    assert_eq!(lines(&dir), ["n", "0", "1"]);
    let other = Schema::new(vec![Column { name: "m".into(), kind: Kind::Integer }]).expect("a column");
    let error = Parts::resume(&dir, other, Format::Csv, PartLimits::default()).err().expect("refused");
    assert!(error.to_string().contains("holds another table than would be written"), "{error}");
}

#[test]
fn of_a_part_that_was_cut_off_whole_lines_are_kept() {
    let scratch = Scratch::new("cut");
    let dir = scratch.path("d");
    scratch.write("d/part-00001.csv", "n\n1\n");
    scratch.write("d/part-00002.csv.partial", "n\n2\n3\n4444");
    scratch.write("d/part-00003.csv.partial", "");
    scratch.write("d/part-00004.parquet.partial", "PAR1");
    let (mut parts, lost) =
        Parts::resume(&dir, schema(), Format::Csv, PartLimits::default()).expect("resumed");
    assert_eq!(lost, 2, "nothing of the empty and the Parquet part");
    add(&mut parts, [5]);
    parts.finish().expect("ended");
    assert_eq!(names(&dir), ["part-00001.csv", "part-00002.csv", "part-00005.csv"]);
    assert_eq!(lines(&dir), ["n", "1", "2", "3", "5"]);
}

#[test]
fn a_dataset_without_rows_still_has_columns() {
    let scratch = Scratch::new("no-rows");
    for name in ["d", "one.csv", "one.parquet"] {
        let path = scratch.path(name);
        let parts = Parts::create(&path, schema(), Format::Csv, PartLimits::default()).expect("begun");
        assert_eq!(parts.finish().expect("ended"), 0);
        assert_eq!(lines(&path), ["n"]);
    }
}
