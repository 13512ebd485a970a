//! The rules.

use super::code;
use super::tree::Package;
use std::collections::BTreeMap;
use std::fmt;

/// A line that breaks a rule.
pub(crate) struct Offence {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Crates without I/O, clock, threads or globals.
pub(crate) const PURE: [&str; 6] = ["wire", "auth", "flow", "learn", "detect", "respond"];

/// Of the workspace's crates, which may use which. The binary may use them all; `xtask`
/// drives cargo, trains the classifiers of texts, and its benchmark makes captures, a range to measure in, and asks the agent.
const DIRECTION: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("flow", &["wire"]),
    ("auth", &["wire"]),
    ("detect", &["wire", "auth", "flow", "learn"]),
    ("respond", &["wire", "flow", "detect"]),
    ("kernel", &["wire", "flow", "respond"]),
    ("server", &["wire", "detect", "respond"]),
    ("enrich", &["wire"]),
    ("dataset", &["wire", "flow"]),
    ("lab", &["wire", "flow"]),
    ("learn", &[]),
    ("bundle", &["learn"]),
    (
        "autoinmune",
        &[
            "wire", "auth", "flow", "learn", "detect", "respond", "kernel", "server", "lab", "enrich",
            "dataset", "bundle",
        ],
    ),
    ("xtask", &["wire", "flow", "detect", "learn", "server", "lab"]),
];

/// What pure crates may use from elsewhere outside of tests: none of it opens, waits, spawns or tells the time.
const PURE_DEPENDENCIES: [&str; 13] = [
    "base64",
    "md-5",
    "postcard",
    "regex",
    "rustc-hash",
    "schemars",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "strsim",
    "thiserror",
    "toml",
];

/// What code of pure crates may not name. Clippy knows the clocks and the like by type; this list knows the rest by name.
const IMPURE: [&str; 17] = [
    concat!("Instant", "::now"),
    concat!("SystemTime", "::now"),
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "println!",
    "eprintln!",
    "thread_local!",
    "async fn",
];

/// Types that make a `static` one that changes.
const CHANGING: [&str; 6] = ["Atomic", "Mutex", "RwLock", "OnceLock", "LazyLock", "Cell"];

/// Files and directories under docs/, and the file (or beginning of the names of files) whose code keeps each true.
pub(crate) const DOCUMENTS: &[(&str, &str)] = &[
    ("docs/benchmarks.md", "xtask/src/bench"),
    ("docs/cli.md", "xtask/src/docs.rs"),
    ("docs/config.schema.json", "xtask/src/docs.rs"),
    ("docs/config.toml", "xtask/src/docs.rs"),
    ("docs/continuous-learning.md", "crates/learn/tests/life_poisoning.rs"),
    ("docs/datasets.md", "crates/dataset/tests/it/document.rs"),
    ("docs/detector.md", "crates/autoinmune/tests/binary/detector.rs"),
    ("docs/domains.md", "xtask/src/text"),
    ("docs/enrichment.md", "crates/autoinmune/tests/binary/intel.rs"),
    ("docs/events.md", "crates/autoinmune/tests/binary/replay.rs"),
    ("docs/features.md", "xtask/src/docs.rs"),
    ("docs/exactness.md", "xtask/src/exactness"),
    ("docs/generate.md", "crates/lab/tests/visit/lists.rs"),
    ("docs/lab-reference.md", "xtask/src/docs.rs"),
    ("docs/lab-scoreboard.md", "xtask/src/e2e"),
    ("docs/learning.md", "crates/autoinmune/tests/binary/learning.rs"),
    ("docs/lab.md", "crates/lab/tests/scenarios.rs"),
    ("docs/learning-ensemble.md", "xtask/src/docs.rs"),
    ("docs/logins.md", "crates/autoinmune/tests/binary/logs.rs"),
    ("docs/man", "xtask/src/docs.rs"),
    ("docs/SCOREBOARD.md", "xtask/src/scoreboard"),
    ("docs/metrics.md", "xtask/src/docs.rs"),
    ("docs/openapi.json", "xtask/src/docs.rs"),
    ("docs/rules.md", "crates/detect/tests/rules.rs"),
    ("docs/soak.md", "xtask/src/soak"),
];

const MAX_LINES: usize = 700;

/// The rules that look at one file.
pub(crate) fn file(path: &str, text: &str) -> Vec<Offence> {
    let mut found = Vec::new();
    let mut offence = |line: usize, what: String| found.push(Offence { path: path.to_owned(), line, what });
    let rust = path.ends_with(".rs");
    let length = text.lines().count();
    if (rust || path.ends_with(".c") || path.ends_with(".h")) && length > MAX_LINES {
        offence(length, format!("{length} lines; a module has at most {MAX_LINES}"));
    }
    for (i, line) in text.lines().enumerate() {
        for marker in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
            if code::has_word(line, marker) {
                offence(i + 1, format!("unfinished: {marker}"));
            }
        }
        if names_a_home(line) {
            offence(i + 1, "an absolute path of one person's machine".to_owned());
        }
    }
    if rust {
        rust_file(path, text, &mut offence);
    }
    found
}

fn rust_file(path: &str, text: &str, offence: &mut impl FnMut(usize, String)) {
    if !text.starts_with("//!") {
        offence(1, "does not begin with a `//!` doc".to_owned());
    }
    let code = code::lines(text);
    let raw: Vec<&str> = text.lines().collect();
    let pure = PURE.iter().any(|c| path.starts_with(&format!("crates/{c}/src/")));
    if pure && path.ends_with("/src/lib.rs") && !code.iter().any(|l| l.trim() == "#![forbid(unsafe_code)]") {
        offence(1, "a pure crate says `#![forbid(unsafe_code)]` here".to_owned());
    }
    for (i, line) in code.iter().enumerate() {
        if code::has_word(line, concat!("un", "safe")) {
            if !path.starts_with("crates/kernel/") {
                offence(i + 1, "`unsafe` outside crates/kernel".to_owned());
            } else if !is_justified(&raw, &code, i) {
                let what =
                    "`unsafe` without a `// SAFETY:` comment, or `# Safety` on an `unsafe fn`, just above";
                offence(i + 1, what.to_owned());
            }
        }
        for call in [concat!("to", "do!"), concat!("unimple", "mented!")] {
            if line.contains(call) {
                offence(i + 1, format!("unfinished: {call}"));
            }
        }
        let attribute = line.find('#').and_then(|at| line[at..].find(concat!("al", "low(")));
        if attribute.is_some() && !has_reason(&code[i..]) {
            offence(i + 1, "silences a lint without a reason; use #[expect(…, reason = \"…\")]".to_owned());
        }
        if pure {
            if let Some(word) = IMPURE.iter().find(|w| line.contains(**w)) {
                offence(i + 1, format!("`{word}` in a pure crate"));
            }
            let is_global = code::has_word(line, "static") && !line.contains("'static");
            if is_global && (code::has_word(line, "mut") || CHANGING.iter().any(|t| line.contains(t))) {
                offence(i + 1, "mutable global in a pure crate".to_owned());
            }
        }
    }
}

/// Whether the attribute that begins in the first line gives a reason before it ends.
fn has_reason(code: &[String]) -> bool {
    let end = code.iter().position(|l| l.contains(']')).unwrap_or(0);
    code[..=end].iter().any(|l| code::has_word(l, "reason"))
}

/// Whether a `// SAFETY:` comment (for the declaration of a function, `/// # Safety`) stands above the statement or item
/// that line `at` belongs to, with nothing between but comments and attributes.
fn is_justified(raw: &[&str], code: &[String], at: usize) -> bool {
    let is_comment = |i: usize| raw[i].trim_start().starts_with("//");
    let is_attribute = |i: usize| code[i].trim_start().starts_with("#[");
    let ends_something =
        |i: usize| code[i].trim_end().ends_with([';', '{', '}']) || code[i].trim().is_empty();
    let declares = code[at].contains(concat!("un", "safe fn"));
    (0..at).rev().take_while(|i| is_comment(*i) || is_attribute(*i) || !ends_something(*i)).any(|i| {
        let line = raw[i].trim_start();
        line.starts_with("// SAFETY:") || (declares && line.starts_with("/// # Safety"))
    })
}

fn names_a_home(line: &str) -> bool {
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")].iter().any(|home| {
        line.match_indices(home).any(|(at, _)| {
            // "chroot/x" and the like are not absolute.
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.')
        })
    })
}

/// Who uses whom, and whether the workspace's lints hold everywhere.
pub(crate) fn dependencies(packages: &[Package]) -> Vec<Offence> {
    let mut found = Vec::new();
    for p in packages {
        let mut offence =
            |line: usize, what: String| found.push(Offence { path: p.manifest.clone(), line, what });
        let lints = p
            .text
            .split_once("[lints]")
            .is_some_and(|(_, rest)| rest.trim_start().starts_with("workspace = true"));
        if !lints {
            offence(1, "does not take part in [workspace.lints]".to_owned());
        }
        let Some((name, may_use)) = DIRECTION.iter().find(|(name, _)| *name == p.name) else {
            offence(1, format!("{} is not among the crates whose direction is known", p.name));
            continue;
        };
        for (dependency, only_tests) in &p.dependencies {
            let stated = |l: &str| {
                let rest = l.trim_start().strip_prefix(dependency.as_str());
                rest.is_some_and(|r| r.starts_with(['.', ' ', '=']))
            };
            let line = p.text.lines().position(stated).map_or(1, |i| i + 1);
            let ours = packages.iter().any(|other| other.name == *dependency);
            if ours && !may_use.contains(&dependency.as_str()) {
                offence(line, format!("{name} may not depend on {dependency}"));
            }
            let known = PURE_DEPENDENCIES.contains(&dependency.as_str());
            if PURE.contains(name) && !ours && !only_tests && !known {
                offence(
                    line,
                    format!("{name} is pure; {dependency} is not among the dependencies known to be"),
                );
            }
        }
    }
    found
}

/// Whether each document has something that keeps it true, and that knows of it.
pub(crate) fn documents(files: &BTreeMap<String, String>) -> Vec<Offence> {
    let mut found = Vec::new();
    for path in files.keys().filter(|p| p.starts_with("docs/")) {
        let listed = DOCUMENTS
            .iter()
            .any(|(d, _)| path == d || path.strip_prefix(d).is_some_and(|r| r.starts_with('/')));
        if !listed {
            let what = "nothing is known to keep it true; list it in xtask/tests/tidy/rules.rs".to_owned();
            found.push(Offence { path: path.clone(), line: 1, what });
        }
    }
    for (document, keeper) in DOCUMENTS {
        let stands = files.keys().any(|p| p.starts_with(document));
        let mut keepers = files.iter().filter(|(p, _)| p.starts_with(keeper));
        if stands && !keepers.any(|(_, text)| text.contains(document)) {
            let what = format!("says nothing of {document}, which it is to keep true");
            found.push(Offence { path: (*keeper).to_owned(), line: 1, what });
        }
    }
    found
}

/// Whether clippy knows of each pure crate that it has no clock.
pub(crate) fn clippy_files(files: &BTreeMap<String, String>) -> Vec<Offence> {
    let mut found = Vec::new();
    for name in PURE {
        let path = format!("crates/{name}/clippy.toml");
        let text = files.get(&path).map_or("", String::as_str);
        let clocks = [concat!("Instant", "::now"), concat!("SystemTime", "::now")];
        if let Some(clock) = clocks.into_iter().find(|c| !text.contains(c)) {
            found.push(Offence { path, line: 1, what: format!("does not refuse {clock}") });
        }
    }
    found
}
