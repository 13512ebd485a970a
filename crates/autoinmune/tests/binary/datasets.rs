//! `dataset …` and `replay --labels`: what they print, write and refuse.

use crate::common::{autoinmune, repository, scratch, stderr, stdout};
use std::path::Path;
use std::process::Command;

const KEY: &str = "15220e173a33a4cf80130a5b16493f0a7d10d8988f8379796527625b4c2d2a84";

fn path(p: &Path) -> &str {
    p.to_str().expect("a plain path")
}

fn capture() -> String {
    path(&repository().join("testdata/story.pcap")).to_owned()
}

/// Standard output as JSON of a command that succeeds.
fn json(args: &[&str]) -> serde_json::Value {
    let output = autoinmune(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

/// The features of the story's flows as a table.
fn table(dir: &Path, name: &str) -> String {
    let table = dir.join(name);
    let output = autoinmune(&["replay", &capture(), "--features", path(&table), "-o", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    path(&table).to_owned()
}

#[test]
fn a_bundle_is_evaluated_by_its_flows_and_by_the_whole_line() {
    let dir = scratch("evaluated");
    let labels = dir.join("story.labels.csv");
    std::fs::write(&labels, LABELS).expect("written");
    let args = ["eval", "--bundle", "default", "--test", &capture(), "--labels", path(&labels), "-o", "json"];
    let report = json(&args);
    assert!(report["rows"]["test"].as_u64().or(report["rows"].as_u64()).is_some_and(|n| n > 500), "{report}");
    let line = report["line"].as_array().expect("what the line made of it");
    assert_eq!((line.len(), &line[0]["captures"]), (1, &serde_json::json!(["story.pcap"])));
    let of = |class: &str| {
        let classes = line[0]["classes"].as_array().expect("classes");
        classes.iter().find(|c| c["class"] == class).unwrap_or_else(|| panic!("{class}")).clone()
    };
    for class in ["port_scan", "syn_flood", "brute_force"] {
        assert_eq!((&of(class)["attacks"], &of(class)["detected"]), (&1.into(), &1.into()), "{class}");
    }
    assert!(line[0]["incidents"].as_u64().is_some_and(|n| n >= 3), "{}", line[0]);
    assert_eq!(line[0]["attacks_without_traffic"], 1);
    // The same without the rules' help: the story's own attacks are known to the shipped classifier.
    assert!(report["binary"]["auc"].as_f64().is_some_and(|auc| auc > 0.9), "{}", report["binary"]);
    let human = stdout(&autoinmune(&args[..args.len() - 2]));
    assert!(human.contains("In the whole line, rules included: story.pcap"), "{human}");
}

const LABELS: &str = "# what the story's generator does\n\
    start_ns,end_ns,protocol,source,source_port,target,target_port,actor,class,technique,scenario\n\
    ,,tcp,192.0.2.201,,192.0.2.110,,scanner,port_scan,T1046,story\n\
    ,,tcp,192.0.2.222,,192.0.2.110,,flooder,syn_flood,T1499.001,story\n\
    ,,tcp,192.0.2.203,,192.0.2.110,22,guesser,brute_force,T1110.001,story\n\
    ,,tcp,198.51.100.1,,,,nobody,dos,,story\n\
    ,,udp,192.0.2.0/24,,,,everybody,dga,,story\n";

#[test]
fn replay_is_weighed_against_labels() {
    let dir = scratch("weighed");
    let labels = dir.join("story.labels.csv");
    std::fs::write(&labels, LABELS).expect("written");
    let summary = json(&["replay", &capture(), "--labels", path(&labels), "-o", "json"]);
    let of = |class: &str| {
        let classes = summary["labels"]["classes"].as_array().expect("classes");
        classes.iter().find(|c| c["class"] == class).unwrap_or_else(|| panic!("{class}")).clone()
    };
    for class in ["port_scan", "syn_flood", "brute_force"] {
        let f = of(class);
        assert_eq!(
            (&f["recall"], &f["precision"], &f["flow_recall"]),
            (&1.0.into(), &1.0.into(), &1.0.into()),
            "{f}"
        );
        let seconds = f["seconds_to_detect"]["max"].as_f64().expect("a time");
        assert!((0.0..2.0).contains(&seconds), "{f}");
    }
    // An attack that nobody recognises, and one that is not in the capture.
    let missed = of("dga");
    assert_eq!((&missed["attacks"], &missed["detected"]), (&1.into(), &0.into()), "{missed}");
    assert_eq!((&missed["recall"], &missed["precision"]), (&0.0.into(), &serde_json::Value::Null));
    assert_eq!(summary["labels"]["attacks_without_traffic"], 1);
    let any = of("any");
    assert_eq!((&any["attacks"], &any["detected"], &any["right"]), (&4.into(), &3.into(), &3.into()));
    let human = stdout(&autoinmune(&["replay", &capture(), "--labels", path(&labels)]));
    assert!(
        human.contains("Against the labels:")
            && human.contains("1 attacks of the labels are not in the captures.")
    );

    // Labels that call the attackers benign make every incident wrong.
    let empty = dir.join("benign.labels.csv");
    std::fs::write(&empty, LABELS.lines().take(2).collect::<Vec<_>>().join("\n")).expect("written");
    let summary = json(&["replay", &capture(), "--labels", path(&empty), "-o", "json"]);
    let classes = summary["labels"]["classes"].as_array().expect("classes");
    assert!(classes.len() > 3 && classes.iter().all(|c| c["precision"] == 0.0 && c["attacks"] == 0));

    let wrong = autoinmune(&["replay", &capture(), "--labels", &capture()]);
    assert_eq!(wrong.status.code(), Some(2));
    std::fs::write(&empty, LABELS.replace("192.0.2.201", "192.0.2")).expect("written");
    let wrong = autoinmune(&["replay", &capture(), "--labels", path(&empty)]);
    assert!(stderr(&wrong).contains("line 3: source is '192.0.2', which it cannot be"), "{}", stderr(&wrong));
}

#[test]
fn a_table_extracted_anew_has_no_skew_and_a_changed_one_has() {
    let dir = scratch("skew");
    let table = table(&dir, "story.csv");
    let report = json(&["dataset", "check", &table, "--pcap", &capture(), "-o", "json"]);
    assert_eq!(report["skew"]["joined"], report["rows"]);
    assert_eq!(report["skew"]["columns"], serde_json::json!([]), "{}", report["skew"]);
    let changed = dir.join("changed.csv");
    let text =
        std::fs::read_to_string(&table).expect("the table").replace(",SF,", ",XX,").replace(",FIN,", ",XX,");
    std::fs::write(&changed, text).expect("written");
    let report = json(&["dataset", "check", path(&changed), "--pcap", &capture(), "-o", "json"]);
    assert_eq!(report["skew"]["columns"][0]["column"], "state", "{}", report["skew"]);
    for ending in ["md", "html"] {
        let sheet =
            std::fs::read_to_string(dir.join(format!("changed.datasheet.{ending}"))).expect("a datasheet");
        assert!(sheet.contains("Train-serve skew") && sheet.contains("hours 1/12"), "{ending}");
        assert!(!sheet.contains("<script") && !sheet.contains("://"), "{ending} loads nothing");
    }
}

#[test]
fn datasets_are_split_merged_labelled_and_anonymised() {
    let dir = scratch("transforms");
    let table = table(&dir, "story.parquet");
    let at = |name: &str| path(&dir.join(name)).to_owned();
    let labels = at("story.labels.csv");
    std::fs::write(&labels, LABELS).expect("written");

    let report =
        json(&["dataset", "label", &table, "--labels", &labels, "--out", &at("labelled"), "-o", "json"]);
    assert_eq!(report["unreadable"], 0);
    let (rows, named) = (report["rows"].as_u64().expect("rows"), report["named"].as_u64().expect("named"));
    assert!(rows > 900 && named > 800 && named < rows, "{report}");
    assert!(dir.join("labelled/part-00001.parquet").exists() && dir.join("labelled/dataset.toml").exists());

    let report = json(&[
        "dataset",
        "split",
        &at("labelled"),
        "--grouped",
        "--seed",
        "7",
        "--out",
        &at("split"),
        "-o",
        "json",
    ]);
    assert_eq!(report["train"].as_u64().expect("rows") + report["test"].as_u64().expect("rows"), rows);
    let check = json(&["dataset", "check", &at("split/train"), "--split", &at("split/test"), "-o", "json"]);
    assert_eq!((&check["duplicates"]["leaked"], &check["drift"]), (&0.into(), &serde_json::Value::Null));
    assert!(check["classes"]["port_scan"].as_u64().is_some_and(|n| n > 100), "{}", check["classes"]);

    let report = json(&[
        "dataset",
        "merge",
        &at("split/train"),
        &at("split/test"),
        "--out",
        &at("whole.csv"),
        "-o",
        "json",
    ]);
    assert_eq!(report["rows"], rows);
    let check = json(&["dataset", "check", &at("whole.csv"), "--against", &at("labelled"), "-o", "json"]);
    assert!(check["drift"]["columns"].as_array().is_some_and(|c| c.iter().all(|c| c["psi"] == 0.0)));

    std::fs::write(at("key"), KEY).expect("written");
    let report = json(&[
        "dataset",
        "anonymise",
        &at("labelled"),
        "--key-file",
        &at("key"),
        "--out",
        &at("public"),
        "-o",
        "json",
    ]);
    assert_eq!(
        (&report["addresses"], &report["emptied"]),
        (&(2 * rows).into(), &serde_json::json!(["community_id"]))
    );
    let text = std::fs::read_to_string(at("public/dataset.toml")).expect("a manifest");
    assert!(text.contains("anonymised = \"crypto-pan\""), "{text}");
    json(&["dataset", "merge", &at("public"), "--out", &at("public.csv"), "-o", "json"]);
    let text = std::fs::read_to_string(at("public.csv")).expect("a table");
    assert!(
        !text.contains("192.0.2.") && !text.contains("1:"),
        "no address and no Community ID in the clear"
    );
}

/// The same incidents, under other names.
#[test]
fn an_anonymised_capture_tells_the_same_story() {
    let dir = scratch("anonymised");
    let to = dir.join("public.pcap");
    let run = |key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autoinmune"));
        command
            .args(["dataset", "anonymise", &capture(), "--out", path(&to)])
            .env_remove("AUTOINMUNE_ANONYMISE_KEY");
        if let Some(key) = key {
            command.env("AUTOINMUNE_ANONYMISE_KEY", key);
        }
        command.output().expect("the binary runs")
    };
    for (key, why) in
        [(None, "no key: give --key-file"), (Some("abc"), "AUTOINMUNE_ANONYMISE_KEY: the key is not 64")]
    {
        let output = run(key);
        assert!(output.status.code() == Some(2) && stderr(&output).contains(why), "{}", stderr(&output));
        assert!(!to.exists());
    }
    assert!(run(Some(KEY)).status.success());
    assert_eq!(run(Some(KEY)).status.code(), Some(2), "nothing is overwritten");
    let of = |capture: &str| {
        let summary = json(&["replay", capture, "-o", "json"]);
        let incidents = summary["incidents"].as_array().expect("incidents");
        let found: Vec<String> = incidents.iter().map(|i| i["class"].to_string()).collect();
        (summary["flows"].clone(), summary["bytes"].clone(), found)
    };
    assert_eq!(of(path(&to)), of(&capture()));
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let dir = scratch("dataset-refusals");
    let plain = dir.join("plain.csv");
    std::fs::write(&plain, "dur,rate\n1,2\n3\n").expect("written");
    let (plain, out) = (path(&plain), path(&dir).to_owned() + "/out");
    for (args, why) in [
        (&["check", "nowhere.csv"][..], "cannot read nowhere.csv"),
        (&["check", "/nowhere"], "cannot read /nowhere: No such file"),
        (&["check", plain], "line 3: 1 fields where the header has 2"),
        (&["check", plain, "--label", "kind"], "there is no column 'kind'; there are dur, rate"),
        (&["split", plain, "--time", "--out", &out], "no column tells the time"),
        (
            &["split", plain, "--grouped", "--test-share", "1.5", "--out", &out],
            "a test share of 1.5 is not between 0 and 1",
        ),
        (&["split", plain, "--grouped", "--out", "x.csv"], "a split makes a directory"),
        (&["label", plain, "--labels", "nowhere.csv", "--out", &out], "labels nowhere.csv: cannot read"),
        (&["merge", plain, "--out", plain], "exists; name another file"),
    ] {
        let output = autoinmune(&[&["dataset"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(why) && stderr(&output).lines().count() == 1,
            "{args:?}: {}",
            stderr(&output)
        );
    }
}
