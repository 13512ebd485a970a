//! Reading and writing tables: what is kept, what is refused.

use crate::common::{Scratch, lines, open};
use dataset::{Dataset, Format, Kind, Profile, Repeats, merge};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use parquet::data_type::Int64Type;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::io::Write as _;
use std::sync::Arc;

#[test]
fn what_is_no_table_is_refused_with_file_and_line() {
    let scratch = Scratch::new("faults");
    let check = |name: &str, content: &[u8], expected: &str| {
        let path = scratch.write(name, content);
        let read = Dataset::open(&path).and_then(|d| d.rows(|_| Ok(())));
        let error = read.expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(expected), "{name}: {error}");
    };
    check("empty.csv", b"", "is empty; a table begins with a line of column names");
    check("twice.csv", b"a,b,a\n", "line 1: column 'a' is there twice");
    check("nameless.csv", b"a,,c\n", "line 1: a column has no name");
    check("ragged.csv", b"a,b\n1,2\n3\n", "line 3: 1 fields where the header has 2");
    check("long.csv", b"a,b\n1,2,3\n", "line 2: 3 fields where the header has 2");
    check("latin1.csv", b"a,b\n1,2\n3,\xe9\n", "line 3: the field of column 'b' is not UTF-8");
    check("header.csv", b"a,\xe9\n", "line 1: the name of column 2 is not UTF-8");
    check("semicolons.csv", b"a;b;c\n1;2;3\n", "fields are separated by commas");
    check("open-quote.csv", &[b"a,b\n1,\"".as_slice(), &[b'x'; 3 << 20]].concat(), "is a quote left open?");
    check("noise.parquet", b"PAR1 noise", "not a Parquet file, or not a whole one");
    check("other.txt", b"a,b\n", "neither .csv, .csv.gz nor .parquet");
    let error = Dataset::open(&scratch.path("none.csv")).expect_err("no file").to_string();
    assert!(error.contains("cannot read") && error.contains("none.csv"), "{error}");
    let error = Dataset::open(&scratch.path("")).expect_err("parts differ").to_string();
    assert!(error.contains(".csv") || error.contains(".parquet"), "{error}");
}

#[test]
fn parts_with_other_columns_are_refused() {
    let scratch = Scratch::new("mixed");
    scratch.write("d/part-1.csv", "a,b\n1,2\n");
    scratch.write("d/part-2.csv", "a,c\n1,2\n");
    scratch.write("d/x.labels.csv", "not,a,part\n");
    let error = Dataset::open(&scratch.path("d")).expect_err("mixed").to_string();
    assert!(
        error.contains("part-2.csv") && error.contains("its column 2 is 'c', that of the first file 'b'"),
        "{error}"
    );
}

#[test]
fn types_are_those_that_every_value_fits() {
    let scratch = Scratch::new("types");
    let path = scratch.write(
        "t.csv",
        "whole,real,when,word,none\r\n1,1,2026-01-01T00:00:00Z,a,\r\n-5,NaN,2026-01-01 00:00:01.5,\"b, \"\"c\"\"\",\r\n,inf,,,\r\n",
    );
    let typed = open(&path).typed().expect("typed");
    let kinds: Vec<Kind> = typed.columns().iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [Kind::Integer, Kind::Real, Kind::Time, Kind::Text, Kind::Text]);
    let profile = Profile::of(&open(&path)).expect("a profile");
    let column = |name: &str| profile.column(name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!((column("whole").absent, column("whole").histogram.range()), (1, Some((-5.0, 1.0))));
    // Not finite numbers count, and are in no statistic.
    assert_eq!((column("real").not_finite, column("real").histogram.range()), (2, Some((1.0, 1.0))));
    assert_eq!(column("word").categories.sorted(), [("a", 1), ("b, \"c\"", 1)]);
    assert!(column("none").is_constant() && !column("word").is_constant());
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(text.as_bytes()).and_then(|()| out.finish()).expect("packed")
}

#[test]
fn a_packed_csv_is_read_as_the_plain_one() {
    let scratch = Scratch::new("packed");
    let rows: String = (0..50_000).map(|n| format!("{n},{}\n", n * 7 % 1000)).collect();
    let text = format!("n,m\n{rows}");
    let plain = scratch.write("plain.csv", &text);
    assert_eq!(lines(&scratch.write("a.csv.gz", gzip(&text))), lines(&plain));
    // As `cat a.gz b.gz` makes it.
    let (head, tail) = text.split_at(text.len() / 3);
    assert_eq!(lines(&scratch.write("b.csv.gz", [gzip(head), gzip(tail)].concat())), lines(&plain));
    // Parts may be packed; they are read in the order of their names.
    scratch.write("d/part-00001.csv.gz", gzip("n\n1\n"));
    scratch.write("d/part-00002.csv", "n\n2\n");
    scratch.write("d/x.labels.csv.gz", gzip("not,a,part\n"));
    assert_eq!(lines(&scratch.path("d")), ["n", "1", "2"]);
}

#[test]
fn what_gzip_did_not_write_is_refused() {
    let scratch = Scratch::new("packed-faults");
    let whole = gzip(&format!("a,b\n{}", "1,2\n".repeat(100_000)));
    let (half, _) = whole.split_at(whole.len() / 2);
    let mut damaged = whole.clone();
    if let Some(byte) = damaged.iter_mut().rev().nth(5) {
        *byte ^= 1;
    }
    let check = |name: &str, content: &[u8], expected: &str| {
        let path = scratch.write(name, content);
        let read = Dataset::open(&path).and_then(|d| d.rows(|_| Ok(())));
        let error = read.expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(expected), "{name}: {error}");
    };
    check("plain.csv.gz", b"a,b\n1,2\n3,4\n5,6\n", "is not what gzip wrote");
    check("empty.csv.gz", b"", "the gzip stream is cut off");
    check("half.csv.gz", half, "the gzip stream is cut off");
    check("damaged.csv.gz", &damaged, "is not what gzip wrote");
    // Unpacking goes on only as far as one record may be long.
    check("bomb.csv.gz", &gzip(&format!("a,b\n1,\"{}", "x".repeat(64 << 20))), "is a quote left open?");

    let plain = scratch.write("d/part.csv", "a\n1\n");
    scratch.write("d/part.csv.gz", gzip("a\n1\n"));
    let error = Dataset::open(&scratch.path("d")).expect_err("twice").to_string();
    assert!(error.contains("part.csv: is there packed and unpacked"), "{error}");
    let error = merge(&[open(&plain)], &scratch.path("out.csv.gz"), Format::Csv, Repeats::Keep)
        .expect_err("packed")
        .to_string();
    assert!(error.contains("out.csv.gz: tables are read packed, but not written so"), "{error}");
}

/// Through our writer and the Arrow project's reader.
#[test]
fn values_survive_parquet_and_the_way_back() {
    let scratch = Scratch::new("parquet");
    let csv = "ts,n,x,word,none\n2026-01-01T00:00:00.123456Z,-7,0.1,tcp,\n,,,,\n2026-01-01T00:00:01.000000Z,9007199254740993,-1e300,ü,\n";
    let path = scratch.write("a.csv", csv);
    let parquet = scratch.path("b.parquet");
    assert_eq!(merge(&[open(&path)], &parquet, Format::Parquet, Repeats::Keep).expect("written").rows, 3);
    let kinds: Vec<Kind> = open(&parquet).schema().columns().iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [Kind::Time, Kind::Integer, Kind::Real, Kind::Text, Kind::Text]);
    let back = scratch.path("c.csv");
    merge(&[open(&parquet)], &back, Format::Csv, Repeats::Keep).expect("written");
    let number = format!("-1{}", "0".repeat(300));
    let expected: Vec<String> = csv.lines().map(|l| l.replace("-1e300", &number)).collect();
    assert_eq!(lines(&back), expected);
    // Text of CSV is copied as it stands.
    let copy = scratch.path("d.csv");
    merge(&[open(&path)], &copy, Format::Csv, Repeats::Keep).expect("written");
    assert_eq!(std::fs::read_to_string(copy).expect("a file"), csv);
}

/// As other programs write it.
#[test]
fn compressed_parquet_is_read() {
    let scratch = Scratch::new("compressed");
    for (name, codec) in [
        ("plain", Codec::UNCOMPRESSED),
        ("snappy", Codec::SNAPPY),
        ("gzip", Codec::GZIP(GzipLevel::default())),
        ("zstd", Codec::ZSTD(ZstdLevel::default())),
    ] {
        let path = scratch.path(&format!("{name}.parquet"));
        let schema = parse_message_type("message m { required int64 n; }").expect("a schema");
        let options = WriterProperties::builder().set_compression(codec).build();
        let file = std::fs::File::create(&path).expect("a file");
        let mut writer =
            SerializedFileWriter::new(file, Arc::new(schema), Arc::new(options)).expect("a writer");
        let mut group = writer.next_row_group().expect("a row group");
        let mut column = group.next_column().expect("a column").expect("the only one");
        let values: Vec<i64> = (0..5000).map(|n| n / 10).collect();
        column.typed::<Int64Type>().write_batch(&values, None, None).expect("written");
        column.close().expect("closed");
        group.close().expect("closed");
        writer.close().expect("closed");
        let expected: Vec<String> =
            std::iter::once("n".to_owned()).chain(values.iter().map(i64::to_string)).collect();
        assert_eq!(lines(&path), expected, "{name}");
    }
}

/// An empty line is no row, so an absent value alone in its line is written in quotes.
#[test]
fn a_row_of_one_absent_value_is_not_lost() {
    let scratch = Scratch::new("one-column");
    let path = scratch.write("a.csv", "n\n\"\"\n1\n");
    let copy = scratch.path("b.csv");
    assert_eq!(merge(&[open(&path)], &copy, Format::Csv, Repeats::Keep).expect("written").rows, 2);
    assert_eq!(lines(&copy), ["n", "", "1"]);
}

/// More rows than a row group has.
#[test]
fn many_row_groups_are_read_in_order() {
    let scratch = Scratch::new("groups");
    let rows = dataset::table::GROUP as u64 * 2 + 17;
    let text: String = (0..rows).map(|n| format!("{n}\n")).collect();
    let path = scratch.write("a.csv", format!("n\n{text}"));
    let parquet = scratch.path("b.parquet");
    assert_eq!(merge(&[open(&path)], &parquet, Format::Parquet, Repeats::Keep).expect("written").rows, rows);
    assert_eq!(lines(&parquet), lines(&path));
}
