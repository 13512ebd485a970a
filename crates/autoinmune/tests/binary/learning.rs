//! `train` and `eval` on tables made here: figures, treatment of odd values, and what is refused. docs/learning.md tells of
//! what is tested.

use crate::common::{autoinmune, repository, scratch, stderr, stdout};
use lab::simulation::Simulation;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

fn path(p: &Path) -> &str {
    p.to_str().expect("a plain path")
}

/// Standard output as JSON, and standard error, of a command that succeeds.
fn json(args: &[&str]) -> (Value, String) {
    let output = autoinmune(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    (serde_json::from_str(&stdout(&output)).expect("JSON"), stderr(&output))
}

/// Exit code 2, one sentence, which contains all of `words`.
fn refused(output: &Output, words: &[&str]) {
    let text = stderr(output);
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(words.iter().all(|w| last.contains(w)), "'{last}' does not say {words:?}");
}

/// Numbers that look drawn at random and are the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A table of flows: `scan` has short flows to many ports, `flood` many packets, normal neither. A few are mistaken.
fn flows(seed: u64, rows: usize) -> String {
    let mut draw = Draw(seed);
    let mut out = String::from("id,dur,packets,ports,proto,kind\n");
    for i in 0..rows {
        let kind = draw.below(10);
        let odd = u64::from(draw.below(25) == 0) * 40;
        let noise = draw.below(40);
        let (name, dur, packets, ports) = match kind {
            0..=5 => ("normal", 50 + noise, 10 + draw.below(30) + odd, 1 + draw.below(3)),
            6..=7 => ("scan", 1 + noise / 3 + odd, 1 + draw.below(3), 20 + draw.below(60)),
            _ => ("flood", 40 + noise, 60 + draw.below(100) - odd, 1 + draw.below(2)),
        };
        let proto = if draw.below(3) == 0 { "udp" } else { "tcp" };
        let _ = writeln!(out, "{i},{dur}.5,{packets},{ports},{proto},{name}");
    }
    out
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, text).expect("written");
    file
}

/// Learns from a table and tests with another.
fn eval(train: &Path, test: &Path, more: &[&str]) -> Output {
    let mut args =
        vec!["eval", "--train", path(train), "--test", path(test), "--model", "boosting", "-o", "json"];
    args.extend(more);
    autoinmune(&args)
}

fn evaluated(train: &Path, test: &Path, more: &[&str]) -> (Value, String) {
    let output = eval(train, test, more);
    assert!(output.status.success(), "{}", stderr(&output));
    (serde_json::from_str(&stdout(&output)).expect("JSON"), stderr(&output))
}

#[test]
fn eval_prints_the_keys_that_scripts_rely_on() {
    let dir = scratch("eval-keys");
    let train = write(&dir, "train.csv", &flows(1, 900));
    let test = write(&dir, "test.csv", &flows(2, 500));
    for model in ["forest", "boosting", "hybrid"] {
        let args = ["eval", "--train", path(&train), "--test", path(&test), "--label", "kind", "--seed", "7"];
        let (v, _) = json(&[&args[..], &["--model", model, "-o", "json"]].concat());
        assert_eq!(v["rows"], 500);
        assert_eq!(v["classes"], serde_json::json!(["flood", "normal", "scan"]));
        for key in ["auc", "threshold", "precision", "recall", "f1", "fpr"] {
            let value = v["binary"][key].as_f64().unwrap_or_else(|| panic!("{model}: {key}"));
            assert!((0.0..=1.0).contains(&value), "{model} {key}: {value}");
        }
        for rate in ["0.01", "0.001", "0.0001"] {
            assert!(v["binary"]["recall_at_fpr"][rate].is_f64(), "{model}: {rate}");
        }
        let classes = v["per_class"].as_object().expect("classes");
        assert_eq!(classes.len(), 3);
        let mut support = 0;
        for (name, class) in classes {
            for key in ["precision", "recall", "f1"] {
                assert!(class[key].as_f64().is_some_and(|f| f > 0.7), "{model} {name} {key}: {class}");
            }
            support += class["support"].as_u64().expect("rows");
        }
        assert_eq!(support, 500);
        for (name, value) in [
            ("macro_f1", &v["macro_f1"]),
            ("train_seconds", &v["train_seconds"]),
            ("single", &v["inference_ns_per_row"]["single"]),
            ("batch", &v["inference_ns_per_row"]["batch"]),
        ] {
            assert!(value.as_f64().is_some_and(|f| f > 0.0), "{model} {name}: {value}");
        }
        assert!(v["binary"]["auc"].as_f64() > Some(0.97), "{model}: {}", v["binary"]);
    }
}

#[test]
fn figures_are_the_same_for_the_same_seed_and_any_number_of_threads() {
    let dir = scratch("eval-seed");
    let train = write(&dir, "train.csv", &flows(1, 600));
    let test = write(&dir, "test.csv", &flows(2, 300));
    let of = |seed: &str, threads: &str| {
        let (v, _) = evaluated(&train, &test, &["--label", "kind", "--seed", seed, "--threads", threads]);
        (v["binary"].clone(), v["confusion"].clone())
    };
    assert_eq!(of("3", "1"), of("3", "2"));
}

#[test]
fn a_label_of_zeros_and_ones_works_as_well() {
    let dir = scratch("eval-binary");
    let zeros = |text: String| {
        text.replace(",normal\n", ",0\n").replace(",scan\n", ",1\n").replace(",flood\n", ",1.0\n")
    };
    let train = write(&dir, "train.csv", &zeros(flows(1, 600)));
    let test = write(&dir, "test.csv", &zeros(flows(2, 300)));
    let (v, _) = evaluated(&train, &test, &["--label", "KIND"]);
    assert_eq!((&v["classes"], &v["normal"]), (&serde_json::json!(["0", "1"]), &"0".into()));
    assert!(v["binary"]["recall"].as_f64() > Some(0.9));
}

#[test]
fn packed_tables_directories_and_parquet_are_read_alike() {
    let dir = scratch("eval-formats");
    std::fs::create_dir(dir.join("parts")).expect("made");
    let text = flows(1, 600);
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let lines: Vec<&str> = lines.collect();
    for (i, part) in lines.chunks(300).enumerate() {
        write(&dir.join("parts"), &format!("part-{i}.csv"), &format!("{header}\n{}\n", part.join("\n")));
    }
    let train = write(&dir, "train.csv", &text);
    let test = write(&dir, "test.csv", &flows(2, 300));
    let parquet = dir.join("train.parquet");
    let merged = autoinmune(&["dataset", "merge", path(&train), "--out", path(&parquet)]);
    assert!(merged.status.success(), "{}", stderr(&merged));
    let of = |train: &Path| {
        let (v, _) = evaluated(train, &test, &["--label", "kind"]);
        (v["binary"].clone(), v["confusion"].clone())
    };
    let plain = of(&train);
    assert_eq!(of(&dir.join("parts")), plain);
    assert_eq!(of(&parquet), plain);
}

#[test]
fn odd_values_are_treated_as_documented() {
    let dir = scratch("eval-odd");
    let train = write(
        &dir,
        "train.csv",
        &flows(1, 600).replacen("50.5", "NaN", 3).replacen("51.5", "Infinity", 2).replacen(",tcp,", ",,", 1),
    );
    let mut odd = flows(2, 300);
    odd.push_str("900,inf,-inf,,sctp,scan\n901,n/a,1e300,?,SCTP,scan\n902,1,1,1,tcp,\n903,5,5,5,tcp,worm\n");
    let test = write(&dir, "test.csv", &odd);
    let (v, notes) = evaluated(&train, &test, &["--label", "kind"]);
    assert_eq!((&v["train"]["absent"], &v["train"]["infinite"]), (&4.into(), &2.into()));
    assert_eq!(v["test"]["rows_read"], 304);
    assert_eq!((&v["rows"], &v["test"]["unlabelled"]), (&303.into(), &1.into()));
    assert_eq!((&v["test"]["infinite"], &v["test"]["absent"]), (&3.into(), &3.into()));
    assert_eq!(v["test"]["unknown_categories"], 2);
    let worm = &v["per_class"]["worm"];
    assert_eq!(
        (&worm["support"], &worm["recall"], &worm["trained"]),
        (&1.into(), &0.0.into(), &false.into()),
        "{v}"
    );
    assert_eq!(v["unknown"]["new_rows"], 1);
    assert!(notes.contains("training did not have") && notes.contains("worm"), "{notes}");
    assert!(v["dropped"]["id"].is_string(), "{}", v["dropped"]);
}

#[test]
fn what_tells_the_label_by_another_name_is_left_out_or_warned_of() {
    let dir = scratch("eval-leak");
    let leak = |text: String| {
        let mut out = String::new();
        for (i, line) in text.lines().enumerate() {
            let attack = u8::from(!line.ends_with("normal"));
            let more = if i == 0 {
                "label,mark,src_ip,who,seen".to_owned()
            } else {
                format!("{attack},{},10.0.0.{attack},host-{i},2026-01-01T00:00:{:02}Z", attack * 3, i % 60)
            };
            let _ = writeln!(out, "{line},{more}");
        }
        out
    };
    let train = write(&dir, "train.csv", &leak(flows(1, 600)));
    let test = write(&dir, "test.csv", &leak(flows(2, 300)));
    let (v, notes) = evaluated(&train, &test, &["--label", "kind"]);
    assert_eq!(v["telling_features"], serde_json::json!(["mark"]));
    assert!(notes.contains("warning: mark alone tell the label"), "{notes}");
    for column in ["id", "label", "src_ip", "who", "seen"] {
        assert!(v["dropped"][column].is_string(), "{column}: {}", v["dropped"]);
    }
    let (v, notes) = evaluated(&train, &test, &["--label", "kind", "--drop", "mark, NOSUCH", "--keep", "id"]);
    assert_eq!(v["telling_features"], serde_json::json!([]));
    assert!(notes.contains("--drop: there is no column 'NOSUCH'"), "{notes}");
    let features = v["features"].as_array().expect("features");
    assert!(features.contains(&"id".into()) && !features.contains(&"mark".into()), "{features:?}");
}

#[test]
fn rows_that_were_learnt_from_are_noticed_in_the_test() {
    let dir = scratch("eval-overlap");
    let train = write(&dir, "train.csv", &flows(1, 600));
    let (v, notes) = evaluated(&train, &train, &["--label", "kind"]);
    assert_eq!(v["overlap"]["rows"], 600);
    assert!(notes.contains("the figures are too good"), "{notes}");
}

#[test]
fn of_a_table_too_large_rows_are_drawn() {
    let dir = scratch("eval-draw");
    let train = write(&dir, "train.csv", &flows(1, 2000));
    let test = write(&dir, "test.csv", &flows(2, 300));
    let (v, notes) = evaluated(&train, &test, &["--label", "kind", "--max-rows", "500"]);
    let used = v["train"]["rows_used"].as_u64().expect("rows");
    assert!((400..600).contains(&used) && v["train"]["rows_read"] == 2000, "{used}");
    assert_eq!(v["rows"], 300);
    assert!(notes.contains("of 2000 rows were drawn at random"), "{notes}");
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let dir = scratch("eval-refused");
    let good = write(&dir, "good.csv", &flows(1, 200));
    let check = |name: &str, text: &str, more: &[&str], words: &[&str]| {
        let bad = write(&dir, name, text);
        refused(&eval(&bad, &good, more), words);
    };
    let label = ["--label", "kind"];
    let one = flows(1, 200).replace(",scan\n", ",normal\n").replace(",flood\n", ",normal\n");
    let both = flows(1, 200).replace(",scan\n", ",benign\n");
    let none = flows(1, 200).replace(",normal\n", ",web\n");
    check("empty.csv", "", &label, &["empty.csv", "is empty"]);
    check("header.csv", "dur,kind\n", &label, &["header.csv", "no rows"]);
    check("one.csv", &one, &label, &["all rows are labelled 'normal'"]);
    check("both.csv", &both, &label, &["'benign' and 'normal'", "--normal"]);
    check("none.csv", &none, &label, &["--normal", "'web'"]);
    check("unlabelled.csv", "dur,kind\n1,\n2,\n", &label, &["no row", "has a label"]);
    check("ids.csv", &flows(1, 400), &["--label", "id"], &["more than 255 different values"]);
    check("short.csv", "dur,kind\n1\n", &label, &["short.csv, line 2", "1 fields"]);
    check("only.csv", "id,kind\n1,normal\n2,scan\n", &label, &["no column is left"]);
    let of = |more: &[&str]| eval(&good, &good, more);
    refused(&of(&["--label", "nosuch"]), &["--label", "no column 'nosuch'", "kind"]);
    refused(&of(&["--label", "kind", "--normal", "peace"]), &["--normal peace", "'flood'"]);
    refused(&of(&["--label", "kind", "--drop", "kind"]), &["--drop kind", "the label"]);
    let unsaid = of(&[]);
    assert!(unsaid.status.code() == Some(2) && stderr(&unsaid).contains("--label"), "{}", stderr(&unsaid));
    refused(&eval(&dir.join("absent.csv"), &good, &label), &["absent.csv"]);
    refused(&eval(&good, &write(&dir, "x.txt", "a"), &label), &["x.txt", ".csv"]);

    let lacks = flows(2, 50).replace("packets", "pakets");
    refused(&eval(&good, &write(&dir, "lacks.csv", &lacks), &label), &["lacks 1", "packets", "same header"]);
    let unlabelled = flows(2, 50).replace("kind", "sort");
    refused(&eval(&good, &write(&dir, "sort.csv", &unlabelled), &label), &["--test", "no column 'kind'"]);
    refused(&eval(&good, &write(&dir, "none-left.csv", ""), &label), &["none-left.csv", "is empty"]);
}

/// Options of `train` that every test needs.
fn train(dir: &Path, data: &[&str], more: &[&str]) -> Output {
    let (store, out) = (dir.join("store"), dir.join("bundle"));
    let mut args = vec!["train", "--data"];
    args.extend(data);
    args.extend(["--model", "boosting", "--store", path(&store), "--out", path(&out), "-o", "json"]);
    args.extend(more);
    autoinmune(&args)
}

fn trained(dir: &Path, data: &[&str], more: &[&str]) -> (Value, String) {
    let output = train(dir, data, more);
    assert!(output.status.success(), "{}", stderr(&output));
    (serde_json::from_str(&stdout(&output)).expect("JSON"), stderr(&output))
}

#[test]
fn a_trained_bundle_tells_what_it_is_and_is_tested_again() {
    let dir = scratch("train-bundle");
    let data = write(&dir, "data.csv", &flows(1, 1500));
    let report = dir.join("report.html");
    let (v, _) = trained(
        &dir,
        &[path(&data)],
        &["--label", "kind", "--report", path(&report), "--precision-target", "90", "--name", "own"],
    );
    assert_eq!(v["split"], "grouped");
    assert_eq!(v["overlap"]["rows"], 0, "equal rows stand on one side");
    let tested = v["rows"].as_u64().expect("rows");
    assert!((300..600).contains(&tested) && v["train_rows"].as_u64() == Some(1500 - tested));
    assert!(v["binary"]["precision"].as_f64() > Some(0.85), "{}", v["binary"]);
    let html = std::fs::read_to_string(&report).expect("a page");
    for word in
        ["ROC", "Precision and recall", "Calibration", "taken for", "contribution", "<svg", "polyline"]
    {
        assert!(html.contains(word), "{word}");
    }
    assert!(!html.contains("<script") && !html.contains("http"), "nothing is loaded from elsewhere");

    let manifest: Value =
        serde_json::from_slice(&std::fs::read(dir.join("bundle/manifest.json")).expect("read"))
            .expect("JSON");
    let lineage = &manifest["lineage"];
    assert_eq!((&manifest["name"], &lineage["seed"]), (&"own".into(), &1.into()));
    assert_eq!((&lineage["label"], &lineage["normal"]), (&"kind".into(), &"normal".into()));
    assert_eq!(lineage["data"][0]["file"], "data.csv");
    assert_eq!(lineage["data"][0]["sha256"].as_str().map(str::len), Some(64));
    assert!(!manifest.to_string().contains(path(&dir)), "a bundle names no places of this machine");

    let store = dir.join("store");
    let bundle = dir.join("bundle");
    let args = ["eval", "--bundle", path(&bundle), "--store", path(&store), "-o", "json", "--label", "kind"];
    let test = write(&dir, "fresh.csv", &flows(9, 300));
    let (v, _) = json(&[&args[..], &["--test", path(&test)]].concat());
    assert_eq!((&v["rows"], &v["train_seconds"]), (&300.into(), &Value::Null));
    assert!(v["macro_f1"].as_f64() > Some(0.8), "{}", v["macro_f1"]);
    let lacks = write(&dir, "lacks.csv", &flows(2, 50).replace("packets", "pakets"));
    refused(&autoinmune(&[&args[..], &["--test", path(&lacks)]].concat()), &["lacks 1", "packets"]);
}

#[test]
fn rows_are_divided_as_asked() {
    let dir = scratch("train-split");
    let data = write(&dir, "data.csv", &flows(1, 600));
    let test = write(&dir, "test.csv", &flows(2, 300));
    let label = ["--label", "kind"];
    let of = |out: &str, more: &[&str]| {
        let sub = dir.join(out);
        std::fs::create_dir_all(&sub).expect("made");
        train(&sub, &[path(&data)], &[&label[..], more].concat())
    };
    let given = of("given", &["--split", "given", "--test", path(&test)]);
    assert!(given.status.success(), "{}", stderr(&given));
    let v: Value = serde_json::from_str(&stdout(&given)).expect("JSON");
    assert_eq!((&v["rows"], &v["train_rows"]), (&300.into(), &600.into()));
    refused(&of("time", &["--split", "time"]), &["--split time", "no column"]);
    refused(&of("random", &["--split", "random"]), &["--accept-leakage"]);
    let random = of("random", &["--split", "random", "--accept-leakage"]);
    assert!(random.status.success() && stderr(&random).contains("warning: rows were divided at random"));
    refused(&of("x", &["--split", "grouped", "--test", path(&test)]), &["--test is for --split given"]);
    refused(&of("x", &["--test-share", "1"]), &["--test-share"]);
    refused(&of("x", &["--precision-target", "101"]), &["--precision-target"]);
    refused(&of("given", &[]), &["--out", "is there already"]);
    assert!(!dir.join("x/bundle").exists(), "nothing is left of what was refused");
}

#[test]
fn the_latest_rows_are_tested_with_and_new_classes_are_counted() {
    let dir = scratch("train-time");
    let mut text = String::new();
    for (i, line) in flows(1, 600).lines().enumerate() {
        let line = if i > 550 { line.replace("flood", "worm") } else { line.to_owned() };
        let time =
            if i == 0 { "ts".to_owned() } else { format!("2026-01-01 {:02}:{:02}:00", i / 60, i % 60) };
        let _ = writeln!(text, "{time},{line}");
    }
    let data = write(&dir, "data.csv", &text);
    let (v, notes) = trained(&dir, &[path(&data)], &["--label", "kind", "--split", "time"]);
    assert_eq!((&v["rows"], &v["train_rows"]), (&180.into(), &420.into()));
    assert_eq!(v["per_class"]["worm"]["trained"], false);
    assert!(notes.contains("no rows to learn from: worm"), "{notes}");
    let manifest = std::fs::read_to_string(dir.join("bundle/manifest.json")).expect("read");
    assert!(manifest.contains("2026-01-01T00:01:00Z") && manifest.contains("2026-01-01T10:00:00Z"));
}

#[test]
fn files_and_directories_can_be_labels() {
    let dir = scratch("train-files");
    let text = flows(1, 900);
    let mut lines = text.lines();
    let header = lines.next().expect("a header").trim_end_matches(",kind");
    let mut of = std::collections::BTreeMap::<&str, String>::new();
    for line in lines {
        let (rest, kind) = line.rsplit_once(',').expect("a label");
        let _ = writeln!(of.entry(kind).or_insert_with(|| format!("{header}\n")), "{rest}");
    }
    for (kind, rows) in &of {
        let sub = dir.join(if *kind == "normal" { "Benign" } else { "Malware" });
        std::fs::create_dir_all(&sub).expect("made");
        write(&sub, &format!("{kind}.csv"), rows);
    }
    let (good, bad) = (dir.join("Benign"), dir.join("Malware"));
    let (v, _) = trained(&dir, &[path(&good), path(&bad)], &["--label", "@file"]);
    assert_eq!(v["classes"], serde_json::json!(["flood", "normal", "scan"]));
    std::fs::remove_dir_all(dir.join("bundle")).expect("removed");
    let (v, _) = trained(&dir, &[path(&good), path(&bad)], &["--label", "@directory"]);
    assert_eq!((&v["classes"], &v["normal"]), (&serde_json::json!(["Benign", "Malware"]), &"Benign".into()));
}

const STORY: &str = "start_ns,end_ns,protocol,source,source_port,target,target_port,actor,class,technique,scenario\n\
    ,,tcp,192.0.2.201,,192.0.2.110,,scanner,port_scan,T1046,story\n\
    ,,tcp,192.0.2.222,,192.0.2.110,,flooder,syn_flood,T1499.001,story\n\
    ,,tcp,192.0.2.203,,192.0.2.110,22,guesser,brute_force,T1110.001,story\n";

#[test]
fn captures_are_learnt_from_through_our_own_line() {
    let dir = scratch("train-captures");
    let capture = dir.join("story.pcap");
    std::fs::copy(repository().join("testdata/story.pcap"), &capture).expect("copied");
    refused(&train(&dir, &[path(&capture)], &[]), &["story.labels.csv", "--labels"]);
    let labels = write(&dir, "story.labels.csv", STORY);
    let (v, _) = trained(&dir, &[path(&capture)], &["--test-share", "0.4"]);
    let classes = v["classes"].as_array().expect("classes");
    assert!(classes.contains(&"port_scan".into()) && v["normal"] == "benign", "{classes:?}");
    for column in ["src_ip", "dst_port", "technique", "label", "ts"] {
        assert!(v["dropped"][column].is_string(), "{column}: {}", v["dropped"]);
    }
    let (store, bundle) = (dir.join("store"), dir.join("bundle"));
    let (v, _) = json(&[
        "eval",
        "--bundle",
        path(&bundle),
        "--test",
        path(&capture),
        "--labels",
        path(&labels),
        "--store",
        path(&store),
        "-o",
        "json",
    ]);
    assert!(v["binary"]["auc"].as_f64() > Some(0.9), "{}", v["binary"]);
    assert!(v["line"].is_null(), "so few normal flows calibrate nothing: {v}");
    std::fs::remove_dir_all(&bundle).expect("removed");
    let table = write(&dir, "t.csv", "a,b\n1,2\n");
    refused(&train(&dir, &[path(&table), path(&capture)], &["--label", "b"]), &["cannot be read together"]);
    refused(&train(&dir, &[path(&table)], &["--labels", path(&labels)]), &["--labels is about captures"]);
}

#[test]
fn what_was_learnt_from_captures_judges_live_and_what_from_tables_is_only_kept() {
    let dir = scratch("train-live");
    let captures: Vec<PathBuf> = (1..=10)
        .map(|seed| {
            let mut bytes = Vec::new();
            lab::simulation::write_capture(Simulation::Story, seed, &mut bytes).expect("in memory");
            let capture = dir.join(format!("story-{seed}.pcap"));
            std::fs::write(&capture, bytes).expect("written");
            write(&dir, &format!("story-{seed}.labels.csv"), STORY);
            capture
        })
        .collect();
    let captures: Vec<&str> = captures.iter().map(|c| path(c)).collect();
    let (v, _) = trained(&dir, &captures, &["--test-share", "0.5"]);
    assert_eq!((&v["live"], &v["not_live"]), (&true.into(), &Value::Null), "{v}");
    let (store, bundle) = (dir.join("store"), dir.join("bundle"));
    let own = ["--store", path(&store), "-o", "json"];
    let (kept, _) = json(&[&["models", "promote", path(&bundle)], &own[..]].concat());
    assert!(kept["active"].as_str().is_some_and(|id| id.starts_with("flow-")), "{kept}");
    let (shown, _) = json(&[&["models", "show", path(&bundle)], &own[..]].concat());
    let models = shown["manifest"]["models"].as_array().expect("models");
    let names: Vec<&Value> = models.iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["flow", "windows", "flow-calibration"]);
    let from = shown["manifest"]["figures"]["windows_from"].as_str();
    assert!(from.is_some_and(|id| id.starts_with("default-")), "{shown}");
    // The line takes it: its incidents are weighed.
    let (v, _) = json(&[&["eval", "--bundle", path(&bundle), "--test", captures[0]], &own[..]].concat());
    assert!(v["line"].is_array(), "{v}");
    let key = std::fs::read_to_string(bundle.join("public-key")).expect("a key");
    let config = write(&dir, "config.toml", &format!("[models]\ntrust = [\"{}\"]\n", key.trim()));
    json(&["replay", captures[0], "--models", path(&bundle), "--config", path(&config), "-o", "json"]);

    // Columns of our names, made by who knows whom.
    std::fs::remove_dir_all(&bundle).expect("removed");
    let table = flows(1, 1500).replace("packets,ports,", "spkts,dpkts,");
    let table = write(&dir, "unsw.csv", &table);
    let (v, _) = trained(&dir, &[path(&table)], &["--label", "kind"]);
    assert_eq!(v["live"], false);
    assert!(v["not_live"].as_str().is_some_and(|why| why.contains("tables")), "{v}");
    let output = autoinmune(&["models", "promote", path(&bundle), "--store", path(&store)]);
    refused(&output, &["cannot judge live", "--keep-only"]);
    let args = ["models", "promote", path(&bundle), "--keep-only"];
    let (v, _) = json(&[&args, &own[..]].concat());
    assert_eq!(v["active"], kept["active"], "what is in use stays");
}
