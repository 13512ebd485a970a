//! `models …`: what is listed, put into use and refused.

use crate::common::{autoinmune, repository, scratch, stderr, stdout};
use bundle::{Bundle, Draft, FORMAT, Lineage, Manifest, PublicKey, Schema, SigningKey, Trust};
use learn::{Feature, Kind};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

fn path(p: &Path) -> &str {
    p.to_str().expect("a plain path")
}

struct Models {
    dir: PathBuf,
    key: SigningKey,
}

impl Models {
    fn new(name: &str) -> Self {
        Self { dir: scratch(name), key: SigningKey::generate().expect("a key") }
    }

    /// A bundle with the models of the one that is shipped.
    fn bundle(&self, name: &str, auc: f64) -> String {
        let shipped = repository().join("models/default");
        let key = std::fs::read_to_string(shipped.join("public-key")).expect("a key");
        let trust = Trust::new(PublicKey::parse(key.trim()));
        let shipped = Bundle::load(&shipped, &trust).expect("the shipped bundle");
        let mut draft = Draft::new(Manifest {
            name: name.into(),
            models: Vec::new(),
            figures: serde_json::json!({"binary": {"auc": auc}}),
            ..shipped.manifest().clone()
        });
        for model in &shipped.manifest().models {
            let bytes = shipped.model(&model.name, &model.kind, None).expect("a model");
            draft.add(&model.name, &model.kind, model.schema.as_deref(), bytes.to_vec());
        }
        let dir = self.dir.join(name);
        draft.write(&dir, &self.key).expect("written");
        path(&dir).to_owned()
    }

    /// A bundle whose model is none that the line could use.
    fn foreign(&self, name: &str) -> String {
        let feature = Feature { name: "dur".into(), kind: Kind::Numeric };
        let mut draft = Draft::new(Manifest {
            format: FORMAT,
            name: name.into(),
            created: "2026-01-01T00:00:00Z".into(),
            program: "test".into(),
            schemas: [("flow".to_owned(), Schema::new(vec![feature]))].into(),
            models: Vec::new(),
            thresholds: [("normal_at".to_owned(), 0.85)].into(),
            lineage: Lineage::default(),
            figures: serde_json::json!({}),
        });
        draft.add("flow", "hybrid", Some("flow"), name.as_bytes().to_vec());
        let dir = self.dir.join(name);
        draft.write(&dir, &self.key).expect("written");
        path(&dir).to_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        let (store, key) = (self.dir.join("store"), self.key.public().to_string());
        let own = ["--store", path(&store), "--trust", &key];
        autoinmune(&[&["models"], args, &own].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["-o", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }
}

#[test]
fn bundles_are_promoted_and_rolled_back() {
    let m = Models::new("models-promote");
    let list = m.json(&["list"]);
    assert_eq!(
        (&list[0]["id"], &list[0]["active"], &list[1]),
        (&"default".into(), &true.into(), &Value::Null)
    );
    assert_eq!(m.json(&["verify", "default"])["manifest"]["name"], "default");
    let (a, b) = (m.bundle("a", 0.5), m.bundle("b", 0.75));
    let first = m.json(&["promote", &a])["active"].as_str().expect("an identifier").to_owned();
    let second = m.json(&["promote", &b])["active"].as_str().expect("an identifier").to_owned();
    let active = || {
        let list = m.json(&["list"]);
        let list = list.as_array().expect("a list");
        assert_eq!(list.len(), 3);
        let active: Vec<&Value> = list.iter().filter(|e| e["active"] == true).map(|e| &e["id"]).collect();
        assert_eq!(active.len(), 1);
        active[0].as_str().expect("text").to_owned()
    };
    assert_eq!(active(), second);
    assert_eq!(m.json(&["rollback"])["active"], first.as_str());
    assert_eq!(active(), first);
    assert_eq!(m.json(&["rollback"])["active"], Value::Null);
    assert_eq!(active(), "default");
    let output = m.run(&["rollback"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(m.json(&["promote", "b-"])["active"], second.as_str());
    assert_eq!(m.json(&["show", &a])["manifest"]["figures"]["binary"]["auc"], 0.5);
    assert_eq!(m.json(&["verify", &second])["id"], second.as_str());
    let found = m.json(&["diff", &first, &b]);
    let auc = found.as_array().expect("a list").iter().find(|d| d["field"] == "figures.binary.auc");
    assert_eq!(auc.map(|d| (&d["from"], &d["to"])), Some((&0.5.into(), &0.75.into())), "{found}");
    let human = stdout(&m.run(&["list"]));
    assert!(human.contains("0.7500") && human.contains("yes"), "{human}");
    assert!(stdout(&m.run(&["show", "a"])).contains("signed by"), "a directory of this name is not needed");
}

#[test]
fn what_the_line_cannot_use_is_kept_and_not_put_in_use() {
    let m = Models::new("models-foreign");
    let bundle = m.foreign("unsw");
    let output = m.run(&["promote", &bundle]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    for word in ["calibrat", "--keep-only"] {
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
    assert_eq!(m.json(&["list"]).as_array().map(Vec::len), Some(1), "nothing is kept by a refusal");
    let kept = m.json(&["promote", &bundle, "--keep-only"]);
    assert_eq!(kept["active"], Value::Null, "{kept}");
    assert!(kept["kept"].as_str().is_some_and(|id| id.starts_with("unsw-")), "{kept}");
    let list = m.json(&["list"]);
    assert_eq!((&list[0]["active"], &list[1]["active"]), (&true.into(), &false.into()), "{list}");
    assert_eq!(m.run(&["promote", "unsw-"]).status.code(), Some(2), "nor when it is kept");
}

#[test]
fn a_bundle_that_was_changed_or_is_a_strangers_is_refused() {
    let m = Models::new("models-refused");
    let bundle = m.bundle("a", 0.5);
    let refused = |args: &[&str], word: &str| {
        let output = m.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    };
    let store = m.dir.join("store");
    let stranger = autoinmune(&["models", "verify", &bundle, "--store", path(&store)]);
    assert_eq!(stranger.status.code(), Some(2));
    assert!(stderr(&stranger).contains(&m.key.public().to_string()), "{}", stderr(&stranger));
    // The key may stand in the configuration, or in a file.
    let config = m.dir.join("config.toml");
    std::fs::write(&config, format!("[models]\ntrust = [\"{}\"]\n", m.key.public())).expect("written");
    for more in [["--config", path(&config)], ["--trust", &format!("{bundle}/public-key")]] {
        let output =
            autoinmune(&[&["models", "verify", &bundle, "--store", path(&store)], &more[..]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    std::fs::write(&config, "[models]\ntrust = [\"12\"]\n").expect("written");
    let output = autoinmune(&["models", "list", "--config", path(&config)]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("models.trust"), "{}", stderr(&output));

    m.json(&["promote", &bundle]);
    let kept = std::fs::read_dir(store.join("bundles")).expect("a directory").next().expect("a bundle");
    let model = kept.expect("a bundle").path().join("flow.model");
    let mut bytes = std::fs::read(&model).expect("a model");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&model, bytes).expect("written");
    refused(&["verify", "a-"], "its bytes differ");
    refused(&["show", "a-"], "its bytes differ");
    refused(&["promote", "a-"], "its bytes differ");
    assert!(m.json(&["list"])[1]["error"].is_string(), "a list tells of it and goes on");
    assert!(stdout(&m.run(&["list"])).contains("refused"));
    refused(&["verify", "nosuch"], "no bundle 'nosuch'");
    refused(&["verify", path(&m.dir.join("nosuch/x"))], "cannot open");
    refused(&["verify", &bundle, "--trust", "nosuch"], "--trust nosuch");
    std::fs::write(Path::new(&bundle).join("manifest.json"), b"{}").expect("written");
    refused(&["diff", &bundle, &bundle], "was changed or damaged");
}
