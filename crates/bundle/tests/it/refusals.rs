//! Loading fails closed.

use crate::common::{Scratch, draft, features, key, written};
use bundle::{Bundle, Error, MANIFEST, Manifest, SIGNATURE, SigningKey, Trust};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
fn what_was_signed_loads_and_gives_its_models() {
    let scratch = Scratch::new();
    let (bundle, trust) = written(&scratch.path("b"), "test");
    assert_eq!(Bundle::load(&scratch.path("b"), &trust).expect("loaded"), bundle);
    assert_eq!(bundle.model("flow", "hybrid", Some(&features())).expect("the model"), b"model bytes");
    assert!(bundle.id().starts_with("test-") && bundle.id().len() == 17, "{}", bundle.id());
    let named = bundle.model("window", "vae", None).expect_err("no such model");
    assert!(named.to_string().contains("flow (hybrid)"), "{named}");
    let names: Vec<&str> = vec![MANIFEST, SIGNATURE, "flow.model"];
    let files: Vec<Vec<u8>> =
        names.iter().map(|n| fs::read(scratch.path("b").join(n)).expect("a file")).collect();
    let built_in: Vec<(&str, &[u8])> = names.iter().copied().zip(files.iter().map(Vec::as_slice)).collect();
    assert_eq!(Bundle::from_files(&built_in, &trust).expect("loaded"), bundle);
    assert!(matches!(Bundle::from_files(&built_in[..2], &trust), Err(Error::Missing { .. })));
}

#[test]
fn other_features_are_refused() {
    let scratch = Scratch::new();
    let (bundle, _) = written(&scratch.path("b"), "test");
    let check = |change: fn(&mut Vec<learn::Feature>), expected: &str| {
        let mut other = features();
        change(&mut other);
        let error = bundle.model("flow", "hybrid", Some(&other)).expect_err("refused");
        assert!(
            matches!(&error, Error::Schema { how, .. } if how.contains(expected)),
            "{error} is not '{expected}'"
        );
    };
    check(|f| f.truncate(1), "2 features where 1");
    check(|f| f.swap(0, 1), "feature 1 is 'dur' where 'proto'");
    check(|f| f[1].kind = learn::Kind::Numeric, "'proto') has other categories");
}

/// Changes a written bundle by `harm` and says why it is refused.
fn refusal(harm: impl FnOnce(&Path, &SigningKey)) -> Error {
    let scratch = Scratch::new();
    let dir = scratch.path("b");
    let key = key();
    draft("test").write(&dir, &key).expect("written");
    harm(&dir, &key);
    let error = Bundle::load(&dir, &Trust::new([key.public()])).expect_err("refused");
    match error {
        Error::In { source, .. } => *source,
        other => other,
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("written");
}

#[test]
fn what_was_changed_after_signing_is_refused() {
    let changed = refusal(|dir, _| {
        let text = fs::read_to_string(dir.join(MANIFEST)).expect("a manifest");
        write(dir, MANIFEST, text.replace("0.85", "0.05").as_bytes());
    });
    assert!(matches!(changed, Error::Signature), "{changed}");
    for signature in [&b""[..], b"zz", &[b'0'; 128], b"\xff\xfe", &[b'0'; 4096]] {
        let error = refusal(|dir, _| write(dir, SIGNATURE, signature));
        assert!(matches!(error, Error::Signature | Error::TooLong { .. }), "{error}");
    }
    for (bytes, expected) in [
        (&b"model byte"[..], "it is shorter"),
        (b"", "it is shorter"),
        (b"model bytes!", "it is longer"),
        (b"Model bytes", "its bytes differ"),
    ] {
        let error = refusal(|dir, _| write(dir, "flow.model", bytes));
        assert!(matches!(error, Error::Content { what, .. } if what == expected), "{error}");
    }
}

#[test]
fn files_that_are_missing_are_named() {
    for name in [MANIFEST, SIGNATURE, "flow.model"] {
        let error = refusal(|dir, _| fs::remove_file(dir.join(name)).expect("removed"));
        assert!(matches!(&error, Error::Missing { file } if file == name), "{error}");
    }
    let nowhere = Bundle::load(Path::new("/nonexistent"), &Trust::default()).expect_err("refused");
    assert!(matches!(nowhere, Error::Io { .. }), "{nowhere}");
}

#[test]
fn somebody_elses_bundle_is_refused_by_the_name_of_the_key() {
    let scratch = Scratch::new();
    let (bundle, _) = written(&scratch.path("b"), "test");
    let error = Bundle::load(&scratch.path("b"), &Trust::new([key().public()])).expect_err("refused");
    assert!(error.to_string().contains(&bundle.signer().to_string()), "{error}");
    let nobody = Bundle::load(&scratch.path("b"), &Trust::default()).expect_err("refused");
    assert!(matches!(nobody.root(), Error::Untrusted { trusted: 0, .. }), "{nobody}");
    // A key that is written beside does not make it trusted, nor does one that did not sign get named.
    fs::write(scratch.path("b").join("public-key"), format!("{}\n", key().public())).expect("written");
    let error = Bundle::load(&scratch.path("b"), &Trust::default()).expect_err("refused");
    assert!(matches!(error.root(), Error::Signature), "{error}");
}

#[test]
fn links_pipes_and_directories_are_not_followed() {
    let scratch = Scratch::new();
    let secret = scratch.path("secret");
    fs::write(&secret, b"model bytes").expect("written");
    for name in [MANIFEST, SIGNATURE, "flow.model"] {
        let error = refusal(|dir, _| {
            let target = scratch.path(&format!("moved-{name}"));
            fs::rename(dir.join(name), &target).expect("moved");
            symlink(&target, dir.join(name)).expect("linked");
        });
        assert!(matches!(&error, Error::NotAFile { file } if file == name), "{error}");
        let error = refusal(|dir, _| {
            fs::remove_file(dir.join(name)).expect("removed");
            fs::create_dir(dir.join(name)).expect("made");
        });
        assert!(matches!(&error, Error::NotAFile { .. }), "{error}");
    }
    let error = refusal(|dir, _| {
        fs::remove_file(dir.join("flow.model")).expect("removed");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.join("flow.model"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe");
    });
    assert!(matches!(&error, Error::NotAFile { .. }), "{error}");
}

/// A manifest changed and signed again by the trusted key itself: the signature does not excuse what it says.
fn resigned(change: impl FnOnce(&mut Value)) -> Error {
    refusal(|dir, key| {
        let text = fs::read(dir.join(MANIFEST)).expect("a manifest");
        let mut value: Value = serde_json::from_slice(&text).expect("JSON");
        change(&mut value);
        sign(dir, key, &serde_json::to_vec(&value).expect("JSON"));
    })
}

fn sign(dir: &Path, key: &SigningKey, manifest: &[u8]) {
    write(dir, MANIFEST, manifest);
    let hex: String = key.sign(manifest).iter().map(|b| format!("{b:02x}")).collect();
    write(dir, SIGNATURE, hex.as_bytes());
}

#[test]
fn names_that_lead_out_of_the_bundle_are_refused() {
    for name in ["../secret", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "a\\b", "A", "a b", "a\0b", "ä"]
    {
        let error = resigned(|m| m["models"][0]["file"] = name.into());
        assert!(matches!(&error, Error::Name(n) if n == name), "{name}: {error}");
        let error = resigned(|m| m["name"] = name.into());
        assert!(matches!(&error, Error::Name(_)), "{name}: {error}");
    }
    let long = "a".repeat(65);
    assert!(matches!(resigned(|m| m["models"][0]["name"] = long.into()), Error::Name(_)));
    let error = resigned(|m| m["models"][0]["file"] = MANIFEST.into());
    assert!(error.to_string().contains("is taken"), "{error}");
}

#[test]
fn versions_and_fields_that_are_not_known_are_refused() {
    for (version, found) in [(0_u64, 0), (2, 2), (u64::MAX, u64::MAX)] {
        let error = resigned(|m| m["format"] = version.into());
        assert!(matches!(error, Error::Version { found: f, .. } if f == found), "{error}");
    }
    // The version is looked at first, as other versions have other fields.
    let error = resigned(|m| *m = serde_json::json!({"format": 9, "novel": true}));
    assert!(matches!(error, Error::Version { found: 9, .. }), "{error}");
    for change in [
        |m: &mut Value| m["novel"] = true.into(),
        |m: &mut Value| m["models"] = Value::Array(Vec::new()),
        |m: &mut Value| m["models"] = vec![m["models"][0].clone(); 65].into(),
        |m: &mut Value| m["models"] = vec![m["models"][0].clone(); 2].into(),
        |m: &mut Value| m["models"][0]["schema"] = "other".into(),
        |m: &mut Value| m["schemas"]["flow"]["features"][0]["name"] = "other".into(),
        |m: &mut Value| m["schemas"]["flow"]["sha256"] = "".into(),
        |m: &mut Value| m["thresholds"]["normal_at"] = "high".into(),
        |m: &mut Value| drop(m.as_object_mut().map(|m| m.remove("lineage"))),
        |m: &mut Value| *m = Value::Null,
    ] {
        let error = resigned(change);
        assert!(matches!(error, Error::Manifest(_)), "{error}");
    }
    for bytes in [&b""[..], b"{", b"\xff", b"[[[[[[", &[b'['; 100_000]] {
        let error = refusal(|dir, key| sign(dir, key, bytes));
        assert!(matches!(error, Error::Manifest(_)), "{error}");
    }
    let huge = resigned(|m| m["models"][0]["bytes"] = u64::MAX.into());
    assert!(matches!(huge, Error::TooLong { .. }), "{huge}");
}

#[test]
fn a_directory_that_is_there_is_not_written_over() {
    let scratch = Scratch::new();
    let dir = scratch.path("b");
    fs::create_dir(&dir).expect("made");
    assert!(draft("test").write(&dir, &key()).is_err());
    assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 0);
    let mut bad: Manifest = written(&scratch.path("c"), "test").0.manifest().clone();
    bad.name = "../x".into();
    assert!(matches!(bundle::Draft::new(bad).sign(&key()), Err(Error::Name(_))));
}

#[test]
fn differences_are_told_by_field() {
    let scratch = Scratch::new();
    let a = written(&scratch.path("a"), "test").0.manifest().clone();
    let mut b = a.clone();
    assert!(bundle::difference(&a, &b).is_empty());
    b.figures["binary"]["auc"] = 0.75.into();
    b.thresholds.insert("attack".into(), 0.5);
    b.models[0].sha256 = "00".into();
    let found: Vec<String> =
        bundle::difference(&a, &b).iter().map(|d| format!("{} {} {}", d.field, d.from, d.to)).collect();
    let own = format!("models.flow.sha256 \"{}\" \"00\"", a.models[0].sha256);
    assert_eq!(found, ["figures.binary.auc 0.5 0.75", own.as_str(), "thresholds.attack null 0.5"]);
}
