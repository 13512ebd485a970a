//! A small bundle, and directories that vanish.

use bundle::{Bundle, Draft, FORMAT, Lineage, Manifest, Schema, SigningKey, Trust};
use learn::{Feature, Kind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that vanishes with this value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("autoinmune-bundle-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn features() -> Vec<Feature> {
    vec![
        Feature { name: "dur".into(), kind: Kind::Numeric },
        Feature { name: "proto".into(), kind: Kind::Categorical(vec!["tcp".into(), "udp".into()]) },
    ]
}

pub(crate) fn draft(name: &str) -> Draft {
    let mut draft = Draft::new(Manifest {
        format: FORMAT,
        name: name.into(),
        created: "2026-01-01T00:00:00Z".into(),
        program: "test".into(),
        schemas: [("flow".to_owned(), Schema::new(features()))].into(),
        models: Vec::new(),
        thresholds: [("normal_at".to_owned(), 0.85)].into(),
        lineage: Lineage::default(),
        figures: serde_json::json!({"binary": {"auc": 0.5}}),
    });
    draft.add("flow", "hybrid", Some("flow"), b"model bytes".to_vec());
    draft
}

pub(crate) fn key() -> SigningKey {
    SigningKey::generate().expect("a key")
}

pub(crate) fn written(dir: &Path, name: &str) -> (Bundle, Trust) {
    let key = key();
    let trust = Trust::new([key.public()]);
    (draft(name).write(dir, &key).expect("written"), trust)
}
