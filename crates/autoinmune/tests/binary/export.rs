//! `replay --features` and `--conn-log`: golden tables of our own captures, formats, and what is refused.
//!
//! `UPDATE_GOLDEN=1 cargo test -p autoinmune --test binary export` writes the golden files anew.

use crate::common::{autoinmune, repository, scratch, shared, stderr, stdout};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn replay(capture: &str, more: &[&str]) -> String {
    let path = repository().join("testdata").join(capture);
    // The order of what happens at one instant depends on the number of workers.
    let mut args = vec!["replay", "--workers", "1", path.to_str().expect("a plain path")];
    args.extend(more);
    let output = autoinmune(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

fn golden(name: &str, found: &str) {
    let path = repository().join("testdata/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("the directory");
        std::fs::write(&path, found).expect("the golden file");
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    for (i, (a, b)) in wanted.lines().zip(found.lines()).enumerate() {
        assert_eq!(a, b, "{name}, line {}", i + 1);
    }
    assert_eq!(wanted.lines().count(), found.lines().count(), "lines of {name}");
}

/// Columns of a CSV by name; no field of the table holds a comma.
fn columns(csv: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut out: BTreeMap<&str, Vec<&str>> = names.iter().map(|n| (*n, Vec::new())).collect();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), names.len(), "{line}");
        for (name, field) in names.iter().zip(fields) {
            out.entry(name).or_default().push(field);
        }
    }
    out
}

#[test]
fn features_of_ordinary_traffic_are_as_ever() {
    golden("ordinary.features.csv", &replay("ordinary.pcap", &["--features", "-"]));
}

/// Of the story, whose table is long, how many values each column has, how many different ones, and their sum.
#[test]
fn features_of_the_story_are_as_ever() {
    let csv = replay("story.pcap", &["--features", "-"]);
    let mut digest = String::from("column,present,distinct,sum\n");
    for (name, values) in columns(&csv) {
        let mut present: Vec<&str> = values.into_iter().filter(|v| !v.is_empty()).collect();
        let sum: f64 = present.iter().filter_map(|v| v.parse::<f64>().ok()).sum();
        let count = present.len();
        present.sort_unstable();
        present.dedup();
        digest.push_str(&format!("{name},{count},{},{sum:.3}\n", present.len()));
    }
    golden("story.features.digest.csv", &digest);
}

#[test]
fn conn_log_of_ordinary_traffic_is_as_ever() {
    golden("ordinary.conn.log", &replay("ordinary.pcap", &["--conn-log", "-"]));
}

#[test]
fn a_set_of_features_is_chosen_by_name() {
    let names = |set: &str| -> Vec<String> {
        let csv = replay("ordinary.pcap", &["--features", "-", "--feature-set", set]);
        csv.lines().next().unwrap_or_default().split(',').skip(10).map(str::to_owned).collect()
    };
    let (unsw, cicids, all) = (names("unsw"), names("cicids"), names("all"));
    assert_eq!((unsw.len(), unsw.first().map(String::as_str)), (42, Some("dur")));
    assert_eq!(cicids.first().map(String::as_str), Some("Flow Duration"));
    assert_eq!(all, [unsw, cicids].concat());
}

/// The file is as long as its parts say, and the same each time; that other readers read it was seen with Apache Arrow.
#[test]
fn parquet_files_are_framed_and_the_same_each_time() {
    let dir = scratch("parquet");
    let mut files = Vec::new();
    for name in ["a.parquet", "b.parquet"] {
        let path = dir.join(name);
        replay("story.pcap", &["--features", path.to_str().expect("a plain path")]);
        files.push(std::fs::read(path).expect("the file"));
    }
    assert_eq!(files[0], files[1]);
    let file = &files[0];
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    let (rest, tail) = file.split_at(file.len() - 8);
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    // FileMetaData begins with version 1 and a list of the root and 122 columns.
    assert_eq!(rest[rest.len() - length..][..6], [0x15, 0x02, 0x19, 0xfc, 123, 0x48]);
}

#[test]
fn conn_log_as_json_has_the_lines_of_the_table() {
    let dir = scratch("conn-json");
    let path = dir.join("conn.json");
    replay("ordinary.pcap", &["--conn-log", path.to_str().expect("a plain path")]);
    let json = std::fs::read_to_string(path).expect("the file");
    let table = replay("ordinary.pcap", &["--conn-log", "-"]);
    let uids: Vec<&str> =
        table.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split('\t').nth(1)).collect();
    assert_eq!(json.lines().count(), uids.len());
    for (line, uid) in json.lines().zip(uids) {
        let entry: serde_json::Value = serde_json::from_str(line).expect("an object");
        assert_eq!(entry["uid"], uid);
        assert!(entry["id.orig_h"].is_string() && entry["ts"].is_number());
    }
}

#[test]
fn output_stands_for_the_option_with_standard_output() {
    for (short, long) in [
        (&["-o", "csv"][..], &["--features", "-"][..]),
        (&["--features", "csv"], &["--features", "-"]),
        (&["-o", "conn-log"], &["--conn-log", "-"]),
        (&["-o", "eve"], &["--eve", "-"]),
    ] {
        assert_eq!(replay("ordinary.pcap", short), replay("ordinary.pcap", long), "{short:?}");
    }
    assert!(replay("ordinary.pcap", &["-o", "json"]).starts_with('{'));
}

#[test]
fn unusable_destinations_are_refused_with_a_reason() {
    let capture = repository().join("testdata/ordinary.pcap");
    let capture = capture.to_str().expect("a plain path");
    for (args, reason) in [
        (&["--features", "flows.xml"][..], ".csv or .parquet"),
        (&["--features", "flows"], ".csv or .parquet"),
        (&["--features", "-", "--conn-log", "-"], "cannot share standard output"),
        (&["--features", "/nonexistent/flows.csv"], "/nonexistent/flows.csv"),
        (&["--feature-set", "unsw"], "--features"),
        (&["-o", "eve", "--eve", "x.json"], "one of the two"),
    ] {
        let output = autoinmune(&[&["replay", capture], args].concat());
        assert!(!output.status.success(), "{args:?}");
        assert!(stderr(&output).contains(reason), "{args:?}: {}", stderr(&output));
    }
    assert!(!Path::new("flows.xml").exists() && !Path::new("flows").exists());
}

/// A table of numbers, by column; words are NaN.
struct Rows(BTreeMap<String, Vec<f64>>);

impl Rows {
    /// A compressed CSV of the shared data.
    fn of(path: &Path) -> Self {
        let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip");
        let csv = String::from_utf8_lossy(&output.stdout);
        let number = |v: &str| v.parse().unwrap_or(f64::NAN);
        Self(
            columns(&csv)
                .into_iter()
                .map(|(name, values)| (name.to_owned(), values.into_iter().map(number).collect()))
                .collect(),
        )
    }

    /// Of the rows for which a relation of columns can be asked (not `None`), the share in which it holds.
    fn share(&self, relation: impl Fn(&dyn Fn(&str) -> f64) -> Option<bool>) -> f64 {
        let rows = self.0.values().next().map_or(0, Vec::len);
        let asked: Vec<bool> = (0..rows).filter_map(|i| relation(&|name| self.0[name][i])).collect();
        assert!(!asked.is_empty());
        asked.iter().filter(|h| **h).count() as f64 / asked.len() as f64
    }
}

fn near(a: f64, b: f64, by: f64) -> bool {
    (a - b).abs() <= by * b.abs().max(1e-9)
}

/// The definitions that docs/features.md states for UNSW-NB15, put to the published rows.
#[test]
fn rows_of_unsw_nb15_obey_the_stated_definitions() {
    let Some(path) = shared("rows of UNSW-NB15", "flows/unsw-nb15/train.csv.gz") else { return };
    let rows = Rows::of(&path);
    let smean = rows.share(|c| Some((c("sbytes") / c("spkts") + 0.5).floor() == c("smean")));
    let tcprtt = rows.share(|c| Some((c("synack") + c("ackdat") - c("tcprtt")).abs() < 2e-6));
    assert_eq!((smean, tcprtt), (1.0, 1.0));
    let rate = rows.share(|c| {
        (c("dur") > 0.0).then(|| near((c("spkts") + c("dpkts") - 1.0) / c("dur"), c("rate"), 1e-4))
    });
    let sload = rows.share(|c| {
        let load = 8.0 * c("sbytes") * (c("spkts") - 1.0) / c("spkts") / c("dur");
        (c("dur") > 0.0).then(|| near(load, c("sload"), 0.01))
    });
    assert!(rate > 0.98 && sload > 0.98, "rate {rate}, sload {sload}");
}

/// The same for CICIDS2017.
#[test]
fn rows_of_cicids2017_obey_the_stated_definitions() {
    let Some(path) = shared("rows of CICIDS2017", "flows/cicids2017-corrected/train.csv.gz") else { return };
    let rows = Rows::of(&path);
    let (fwd, bwd) = ("Total Fwd Packet", "Total Bwd packets");
    let mean = rows.share(|c| {
        let payload = c("Total Length of Fwd Packet") + c("Total Length of Bwd Packet");
        Some(near(payload / (c(fwd) + c(bwd)), c("Packet Length Mean"), 1e-9))
    });
    let gap = rows.share(|c| {
        let packets = c(fwd) + c(bwd);
        (packets > 1.0).then(|| near(c("Flow Duration") / (packets - 1.0), c("Flow IAT Mean"), 1e-9))
    });
    // Of two values the deviation of a sample is their difference over the root of 2.
    let deviation = rows.share(|c| {
        let apart = c("Fwd Packet Length Max") - c("Fwd Packet Length Min");
        (c(fwd) == 2.0).then(|| near(apart / 2.0_f64.sqrt(), c("Fwd Packet Length Std"), 1e-9))
    });
    let ratio = rows.share(|c| Some(near(c(bwd) / c(fwd), c("Down/Up Ratio"), 1e-9)));
    let idle = rows.share(|c| (c("Idle Max") > 0.0).then(|| c("Idle Min") > 5e6));
    assert_eq!([mean, gap, deviation, ratio, idle], [1.0; 5]);
}

/// Counts by flow as tshark takes them from the same frames.
#[test]
fn tshark_counts_the_same() {
    let capture = repository().join("testdata/ordinary.pcap");
    let fields =
        ["tcp.stream", "ip.src", "tcp.srcport", "ip.len", "tcp.len", "tcp.hdr_len", "tcp.flags.push"];
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-E", "separator=,", "-Y", "tcp", "-r"]).arg(&capture);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let Ok(output) = tshark.output() else {
        println!("skipped: tshark is not installed");
        return;
    };
    // Stream → who began it, and for both sides: packets, bytes, payload, headers, PSH.
    let mut streams: BTreeMap<u64, (String, [[u64; 5]; 2])> = BTreeMap::new();
    for line in stdout(&output).lines() {
        let f: Vec<&str> = line.split(',').collect();
        let number = |i: usize| f[i].parse::<u64>().unwrap_or(u64::from(f[i] == "True"));
        let from = format!("{}:{}", f[1], f[2]);
        let (initiator, sides) = streams.entry(number(0)).or_insert_with(|| (from.clone(), [[0; 5]; 2]));
        let side = &mut sides[usize::from(*initiator != from)];
        for (to, more) in side.iter_mut().zip([1, number(3), number(4), number(5), number(6)]) {
            *to += more;
        }
    }
    assert!(streams.len() > 10, "{} streams", streams.len());
    let csv = replay("ordinary.pcap", &["--features", "-"]);
    let table = columns(&csv);
    let mut compared = 0;
    for i in (0..table["ts"].len()).filter(|&i| table["proto"][i] == "tcp") {
        let begun_by = format!("{}:{}", table["src_ip"][i], table["src_port"][i]);
        let side = |names: [&str; 5]| names.map(|n| table[n][i].parse::<u64>().unwrap_or(0));
        let found = [
            side(["spkts", "sbytes", "Total Length of Fwd Packet", "Fwd Header Length", "Fwd PSH Flags"]),
            side(["dpkts", "dbytes", "Total Length of Bwd Packet", "Bwd Header Length", "Bwd PSH Flags"]),
        ];
        let wanted: Vec<_> = streams.values().filter(|(who, _)| *who == begun_by).collect();
        assert!(wanted.iter().any(|(_, sides)| *sides == found), "{begun_by}: {found:?}, not in {wanted:?}");
        compared += 1;
    }
    assert_eq!(compared, streams.len());
}
