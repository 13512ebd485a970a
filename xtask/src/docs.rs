//! Generated documents: each comes from the program's own definitions, is committed, and is compared with them by the tests.

use crate::shell;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a generator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Its standard output is the file.
    File,
    /// It fills a directory that is given as its last argument.
    Directory,
}

/// Path in the repository, form, and the arguments of `autoinmune` that produce it. To add a generated document, add a
/// line; everything else follows.
const GENERATED: &[(&str, Form, &[&str])] = &[
    ("docs/cli.md", Form::File, &["reference", "commands"]),
    ("docs/features.md", Form::File, &["reference", "features"]),
    ("docs/learning-ensemble.md", Form::File, &["reference", "learning"]),
    ("docs/lab-reference.md", Form::File, &["reference", "lab"]),
    ("docs/metrics.md", Form::File, &["reference", "metrics"]),
    ("docs/openapi.json", Form::File, &["reference", "openapi"]),
    ("docs/rules.md", Form::File, &["reference", "rules"]),
    ("docs/config.schema.json", Form::File, &["config", "schema"]),
    ("docs/config.toml", Form::File, &["config", "default"]),
    ("docs/man", Form::Directory, &["man"]),
];

/// `cargo xtask docs [--check]`: `Ok(false)` if something differs.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => anyhow::bail!("unknown arguments {args:?}; usage: cargo xtask docs [--check]"),
    };
    let mut same = true;
    for (path, form, args) in GENERATED {
        for (file, wanted) in generate(Path::new(path), *form, args)? {
            same &= settle(&file, wanted.as_deref(), check)?;
        }
    }
    Ok(same || !check)
}

/// What is to be where, `None` where a file must not be.
fn generate(path: &Path, form: Form, args: &[&str]) -> anyhow::Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
    match form {
        Form::File => Ok(BTreeMap::from([(path.to_owned(), Some(shell::output(autoinmune(args))?))])),
        Form::Directory => {
            let scratch = shell::root().join("target/xtask-docs");
            if scratch.exists() {
                fs::remove_dir_all(&scratch)
                    .with_context(|| format!("cannot empty {}", scratch.display()))?;
            }
            let place = scratch.to_string_lossy();
            shell::output(autoinmune(&[args, &[&*place]].concat()))?;
            let there = names(&shell::root().join(path))?;
            let mut all: BTreeMap<_, _> = there.into_iter().map(|name| (path.join(name), None)).collect();
            for name in names(&scratch)? {
                let contents = fs::read(scratch.join(&name))?;
                all.insert(path.join(name), Some(contents));
            }
            Ok(all)
        }
    }
}

fn autoinmune(args: &[&str]) -> std::process::Command {
    shell::cargo(&[&["run", "--quiet", "--package", "autoinmune", "--"], args].concat())
}

/// File names in a directory; none if it does not exist.
fn names(dir: &Path) -> anyhow::Result<Vec<String>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect()
}

/// Compares the file with what it is to be; writes it unless only a check is asked for. Whether it was the same.
fn settle(path: &Path, wanted: Option<&[u8]>, check: bool) -> anyhow::Result<bool> {
    let full = shell::root().join(path);
    let found = match fs::read(&full) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", full.display())),
    };
    if found.as_deref() == wanted {
        return Ok(true);
    }
    let state = match (&found, wanted) {
        (None, _) => "is missing",
        (_, None) => "is generated no longer",
        _ => "differs from its source",
    };
    if check {
        println!("{} {state}; run `cargo xtask docs` and commit the result", path.display());
        return Ok(false);
    }
    match wanted {
        Some(bytes) => {
            if let Some(parent) = full.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&full, bytes).with_context(|| format!("cannot write {}", full.display()))?;
            println!("wrote {}", path.display());
        }
        None => {
            fs::remove_file(&full).with_context(|| format!("cannot remove {}", full.display()))?;
            println!("removed {}", path.display());
        }
    }
    Ok(false)
}
