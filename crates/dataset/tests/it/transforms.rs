//! Merging, splitting, labelling; duplicates, drift and skew of what comes out.

use crate::common::{Scratch, lines, open};
use dataset::{
    Dataset, Duplicates, Format, Leakage, Merged, Repeats, Side, SplitBy, SplitOptions, label, merge, skew,
    split, tuple_digest,
};
use flow::Labels;
use std::path::Path;

fn leakage(a: &Dataset, b: Option<&Dataset>) -> Leakage {
    let mut d = Duplicates::default();
    for (dataset, side) in [(Some(a), Side::First), (b, Side::Second)] {
        let Some(dataset) = dataset else { continue };
        let places = dataset.schema().features();
        dataset.rows(|row| d.add(tuple_digest(row, &places), 0, side)).expect("read");
    }
    d.finish().expect("counted")
}

fn options(by: SplitBy, seed: u64) -> SplitOptions {
    SplitOptions { by, test: 0.3, seed, format: Format::Csv }
}

#[test]
fn merged_columns_are_matched_by_name() {
    let scratch = Scratch::new("merge");
    let a = open(&scratch.write("a.csv", "x,y\n1,2\n"));
    let b = open(&scratch.write("b.csv", "y,z\n3,0.5\n"));
    for (out, format) in [("m.csv", Format::Csv), ("m.parquet", Format::Parquet)] {
        let out = scratch.path(out);
        assert_eq!(merge(&[a.clone(), b.clone()], &out, format, Repeats::Keep).expect("merged").rows, 2);
        assert_eq!(lines(&out), ["x,y,z", "1,2,", ",3,0.5"]);
        assert!(
            merge(std::slice::from_ref(&a), &out, format, Repeats::Keep).is_err(),
            "nothing is overwritten"
        );
    }
}

#[test]
fn repeats_are_left_out_across_datasets_formats_and_spellings() {
    let scratch = Scratch::new("dedupe");
    // Identities do not count; the same values of another class do; numbers are equal by value, whatever they are spelt.
    let a = scratch.write("a.csv", "id,x,y,class\n1,1,a,benign\n2,1,a,benign\n3,1,a,dos\n4,2,b,dos\n");
    let b = scratch
        .write("b.csv", "id,y,x,class\n5,a,1.0,benign\n6,b,2,dos\n7,b,2.5,dos\n8,,2,dos\n9,,2e0,dos\n");
    let expected = ["id,x,y,class", "1,1,a,benign", "3,1,a,dos", "4,2,b,dos", "7,2.5,b,dos", "8,2,,dos"];
    for (name, format) in [("m.csv", Format::Csv), ("m.parquet", Format::Parquet)] {
        let to = scratch.path(name);
        let merged = merge(&[open(&a), open(&b)], &to, format, Repeats::Drop).expect("merged");
        assert_eq!(merged, Merged { rows: 5, repeats: 4 });
        assert_eq!(lines(&to), expected);
        // What has none stays as it is.
        let again = merge(&[open(&to)], &scratch.path(&format!("again-{name}")), format, Repeats::Drop);
        assert_eq!(again.expect("merged"), Merged { rows: 5, repeats: 0 });
    }
    let none = open(&scratch.write("none.csv", "id,class\n1,a\n1,a\n"));
    let error = merge(&[none], &scratch.path("n.csv"), Format::Csv, Repeats::Drop).expect_err("no features");
    assert!(error.to_string().contains("there is no feature"), "{error}");
}

#[test]
fn leaving_repeats_out_leaves_what_counting_them_counts() {
    let scratch = Scratch::new("dedupe-many");
    let whole = table(&scratch);
    let to = scratch.path("m.csv");
    let merged = merge(&[whole.clone(), whole], &to, Format::Csv, Repeats::Drop).expect("merged");
    assert_eq!(merged, Merged { rows: 1000, repeats: 1500 });
    assert_eq!(leakage(&open(&to), None).unique, [1000, 0]);
    // The first of each stays, in its place.
    let ids: Vec<String> =
        lines(&to).iter().skip(1).filter_map(|l| Some(l.split_once(',')?.0.into())).collect();
    assert_eq!(ids, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// A thousand rows, every fourth repeated under another identity.
fn table(scratch: &Scratch) -> Dataset {
    let row = |id: usize, n: usize| {
        format!("{id},2026-01-01T{:02}:{:02}:00Z,10.0.{}.1,{n},{}\n", n / 60, n % 60, n % 7, n as f64 / 8.0)
    };
    let mut text = String::from("id,ts,src_ip,dur,rate\n");
    for n in 0..1000 {
        text.push_str(&row(n, n));
        if n % 4 == 0 {
            text.push_str(&row(n + 5000, n));
        }
    }
    open(&scratch.write("t.csv", text))
}

#[test]
fn a_grouped_split_tears_no_equal_rows_apart_and_is_the_same_each_time() {
    let scratch = Scratch::new("grouped");
    let whole = table(&scratch);
    assert_eq!(leakage(&whole, None), Leakage { rows: [1250, 0], unique: [1000, 0], ..Leakage::default() });
    let run = |name: &str, by: SplitBy, seed: u64| {
        let to = scratch.path(name);
        let report = split(&whole, &to, &options(by, seed)).expect("split");
        assert_eq!(report.train + report.test, 1250);
        assert!((250..500).contains(&report.test), "{report:?}");
        (open(&to.join("train")), open(&to.join("test")))
    };
    let (train, test) = run("a", SplitBy::Features, 1);
    assert_eq!(leakage(&train, Some(&test)).shared, 0);
    let (_, again) = run("b", SplitBy::Features, 1);
    let (_, other) = run("c", SplitBy::Features, 2);
    assert_eq!(lines(test.path()), lines(again.path()));
    assert_ne!(lines(test.path()), lines(other.path()));
    let error = split(&whole, &scratch.path("d"), &options(SplitBy::Columns(vec!["ip".into()]), 1));
    assert!(error.is_err_and(|e| e.to_string().contains("there is no column 'ip'; there are id, ts")));
}

#[test]
fn a_split_by_column_keeps_each_value_on_one_side() {
    let scratch = Scratch::new("by-column");
    let to = scratch.path("s");
    split(&table(&scratch), &to, &options(SplitBy::Columns(vec!["src_ip".into()]), 3)).expect("split");
    let sources = |side: &str| {
        let mut all: Vec<String> = lines(&to.join(side))
            .iter()
            .skip(1)
            .filter_map(|l| l.split(',').nth(2))
            .map(str::to_owned)
            .collect();
        all.sort();
        all.dedup();
        all
    };
    let (train, test) = (sources("train"), sources("test"));
    assert_eq!(train.len() + test.len(), 7);
    assert!(!train.is_empty() && !test.is_empty() && train.iter().all(|s| !test.contains(s)));
}

#[test]
fn a_split_by_time_tests_with_the_latest() {
    let scratch = Scratch::new("by-time");
    let to = scratch.path("s");
    let report = split(&table(&scratch), &to, &options(SplitBy::Time, 0)).expect("split");
    let times = |side: &str| -> Vec<String> {
        lines(&to.join(side)).iter().skip(1).filter_map(|l| l.split(',').nth(1)).map(str::to_owned).collect()
    };
    let (train, test) = (times("train"), times("test"));
    assert!(train.iter().max() < test.iter().min());
    assert!((370..=380).contains(&report.test) && report.left_out == 0, "{report:?}");
    let untimed = open(&scratch.write("u.csv", "dur\n1\n"));
    let error = split(&untimed, &scratch.path("v"), &options(SplitBy::Time, 0)).expect_err("no time");
    assert!(error.to_string().contains("no column tells the time"), "{error}");
}

#[test]
fn labels_name_rows_by_their_parties_and_time() {
    let scratch = Scratch::new("label");
    let rows = "ts,src_ip,src_port,dst_ip,dst_port,protocol,dur\n\
                2026-01-01T00:00:00Z,10.0.0.1,1000,10.0.0.2,22,6,5\n\
                2026-01-01T00:00:00Z,10.0.0.3,1000,10.0.0.2,22,6,5\n\
                ,10.0.0.1,1000,10.0.0.2,22,6,5\n";
    let d = open(&scratch.write("t.csv", rows));
    // Three seconds after the first packet, two before the last.
    let at = dataset::parse_time("2026-01-01T00:00:03Z").expect("a time");
    let text = format!("{}\n{at},{at},tcp,10.0.0.1,,,22,mallory,brute_force,T1110,night\n", Labels::HEADER);
    let labels = Labels::parse(&text).expect("labels");
    let out = scratch.path("o.csv");
    let report = label(&d, Some(&labels), flow::label::BENIGN, &out, Format::Csv).expect("labelled");
    assert_eq!((report.rows, report.named, report.unreadable), (3, 1, 1));
    let ends: Vec<String> =
        lines(&out).iter().map(|l| l.split(',').skip(7).collect::<Vec<_>>().join(",")).collect();
    assert_eq!(ends, ["class,technique,scenario,label", "brute_force,T1110,night,1", "benign,,,0", ",,,"]);
    let out = scratch.path("p.csv");
    label(&d, None, "dos", &out, Format::Csv).expect("labelled");
    assert!(lines(&out).iter().skip(1).all(|l| l.ends_with(",dos,,,1")), "{:?}", lines(&out));
}

#[test]
fn skew_is_found_row_by_row() {
    let scratch = Scratch::new("skew");
    let header = "ts,src_ip,src_port,dst_ip,dst_port,protocol,dur,state,gone\n";
    let row =
        |n: usize, rest: &str| format!("2026-01-01T00:00:{:02}Z,10.0.0.1,{n},10.0.0.2,22,6,{rest}\n", n % 60);
    let there = header.to_owned()
        + &row(1, "0.5,FIN,1")
        + &row(2, "1,CON,1")
        + &row(3, "2,CON,1")
        + &row(4, ",FIN,1");
    let again = header.replace(",gone", "")
        + &row(1, "0.50000000000001,FIN").replace(":01Z", ":01.300000Z")
        + &row(2, "2,REQ")
        + &row(4, "7,FIN")
        // The same parties, another conversation.
        + &row(3, "2,CON").replace(":03Z", ":04Z")
        + &row(5, "1,FIN");
    let found = skew::compare(&open(&scratch.write("a.csv", there)), &open(&scratch.write("b.csv", again)))
        .expect("compared");
    assert_eq!((found.joined, found.missing, found.extra, found.sampled), (3, 1, 2, false));
    assert_eq!(found.unknown, ["gone"]);
    let columns: Vec<(&str, u64, f64)> =
        found.columns.iter().map(|c| (c.column.as_str(), c.differing, c.largest)).collect();
    assert_eq!(columns, [("dur", 2, 2.0), ("state", 1, 2.0)]);
    let keyless = open(&scratch.write("c.csv", "dur\n1\n"));
    let error = skew::compare(&keyless, &keyless).expect_err("no key").to_string();
    assert!(error.contains("no columns for time, addresses, ports and protocol"), "{error}");
}

#[test]
fn outputs_are_refused_where_something_is() {
    let scratch = Scratch::new("taken");
    let d = table(&scratch);
    let taken: &Path = &scratch.write("o.csv", "x\n");
    assert!(label(&d, None, "dos", taken, Format::Csv).is_err());
    assert_eq!(std::fs::read_to_string(taken).expect("still there"), "x\n");
}
