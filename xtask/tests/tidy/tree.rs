//! The repository as the rules see it: text files and packages.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 5] = [".git", "target", "corpus", "artifacts", "node_modules"];
/// Names of text files; anything else is not read.
const TEXT: [&str; 13] =
    ["rs", "c", "h", "toml", "md", "json", "sh", "yml", "yaml", "service", "conf", "1", "run"];

/// A workspace member.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Path of its manifest in the repository, and what it says.
    pub(crate) manifest: String,
    pub(crate) text: String,
    /// Names, and whether only tests use them.
    pub(crate) dependencies: Vec<(String, bool)>,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}

/// Every text file, by path in the repository.
pub(crate) fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the repository can be listed") {
            let entry = entry.expect("a directory of the repository can be listed");
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let kind = entry.file_type().expect("a file of the repository has a type");
            if kind.is_dir() && !SKIPPED.contains(&&*name) {
                dirs.push(path);
            } else if kind.is_file() && (TEXT.contains(&name.rsplit('.').next().unwrap_or_default())) {
                // A file that is no UTF-8, or that goes away while another test works, is nothing to check.
                if let Ok(text) = std::fs::read_to_string(&path) {
                    let path = path.strip_prefix(root).expect("found below the root");
                    found.insert(path.to_string_lossy().into_owned(), text);
                }
            }
        }
    }
    found
}

/// Every workspace member, as cargo understands its manifest.
pub(crate) fn packages(root: &Path) -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON");
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    packages
        .iter()
        .map(|p| {
            let path = PathBuf::from(text(p, "manifest_path"));
            let dependencies = p["dependencies"].as_array().into_iter().flatten();
            Package {
                name: text(p, "name"),
                text: std::fs::read_to_string(&path).expect("a manifest can be read"),
                manifest: path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned(),
                dependencies: dependencies.map(|d| (text(d, "name"), d["kind"] == "dev")).collect(),
            }
        })
        .collect()
}
