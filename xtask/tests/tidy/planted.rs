//! An offence of each kind, planted, and seen to be caught; beside what looks like one and is none.

use super::rules::{self, Offence};
use super::tree::Package;
use std::collections::BTreeMap;

const DOC: &str = "//! About.\n";

fn list(offences: &[Offence]) -> Vec<String> {
    offences.iter().map(ToString::to_string).collect()
}

fn check(path: &str, text: &str, expected: &[&str]) {
    assert_eq!(list(&rules::file(path, text)), expected, "{text}");
}

#[test]
fn module_docs() {
    check("crates/kernel/src/a.rs", DOC, &[]);
    check("crates/kernel/src/a.rs", "", &["crates/kernel/src/a.rs:1: does not begin with a `//!` doc"]);
    check(
        "crates/kernel/tests/a/b.rs",
        "// About.\nfn f() {}\n",
        &["crates/kernel/tests/a/b.rs:1: does not begin with a `//!` doc"],
    );
}

#[test]
fn long_modules() {
    let text = |lines: usize| format!("{DOC}{}", "fn f() {}\n".repeat(lines - 1));
    let too_long = |path: &str| format!("{path}:701: 701 lines; a module has at most 700");
    check("crates/kernel/src/a.rs", &text(700), &[]);
    for path in ["crates/kernel/src/a.rs", "crates/kernel/bpf/a.h", "crates/kernel/bpf/a.c"] {
        check(path, &text(701), &[&too_long(path)]);
    }
    check("README.md", &text(701), &[]);
}

#[test]
fn forbidding_unsafe_in_pure_crates() {
    check("crates/wire/src/lib.rs", "//! About.\n#![forbid(unsafe_code)]\n", &[]);
    check("crates/kernel/src/lib.rs", DOC, &[]);
    check(
        "crates/wire/src/lib.rs",
        "//! About.\n// #![forbid(unsafe_code)]\n",
        &["crates/wire/src/lib.rs:1: a pure crate says `#![forbid(unsafe_code)]` here"],
    );
}

#[test]
fn places_of_unsafe() {
    let with = |body: &str| format!("{DOC}{}", body.replace("UNSAFE", concat!("un", "safe")));
    let kernel = |body: &str, lines: &[usize]| {
        let bare = |l: &usize| {
            format!(
                "crates/kernel/src/a.rs:{l}: `unsafe` without a `// SAFETY:` comment, or `# Safety` on an \
                 `unsafe fn`, just above"
            )
        };
        let expected: Vec<String> = lines.iter().map(bare).collect();
        assert_eq!(list(&rules::file("crates/kernel/src/a.rs", &with(body))), expected, "{body}");
    };
    kernel("fn f() { UNSAFE { g() } }\n", &[2]);
    kernel("// SAFETY: it is.\nfn f() { UNSAFE { g() } }\n", &[]);
    kernel("// SAFETY: it is.\n// And so on.\n#[inline]\nUNSAFE impl Pod for X {}\n", &[]);
    kernel("// SAFETY: it is.\nlet x =\n    UNSAFE { g() };\n", &[]);
    kernel("// SAFETY: of x.\nlet x = 1;\nlet y = UNSAFE { g() };\n", &[4]);
    kernel("// SAFETY: of something else.\n\nlet y = UNSAFE { g() };\n", &[4]);
    kernel("/// # Safety\n/// With care.\nUNSAFE fn f() {}\n", &[]);
    kernel("/// # Safety\n/// With care.\nfn f() { UNSAFE { g() } }\n", &[4]);
    kernel("// UNSAFE\nlet s = \"UNSAFE\"; let r = r#\"UNSAFE \"# ; /* UNSAFE */\n", &[]);
    kernel("#![deny(UNSAFE_code)]\n", &[]);
    kernel("let c = '\"'; UNSAFE { g() }\n", &[2]);
    kernel("fn f<'a>(x: &'a str) { UNSAFE { g(x) } }\n", &[2]);
    check(
        "crates/server/src/a.rs",
        &with("// SAFETY: it is.\nfn f() { UNSAFE { g() } }\n"),
        &["crates/server/src/a.rs:3: `unsafe` outside crates/kernel"],
    );
}

#[test]
fn markers_of_unfinished_work() {
    for marker in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
        let check = |path: &str, text: String, line: usize| {
            check(path, &text, &[&format!("{path}:{line}: unfinished: {marker}")]);
        };
        check("crates/kernel/src/a.rs", format!("{DOC}// {marker}: later\n"), 2);
        check("crates/kernel/bpf/a.h", format!("/* {marker} */\n"), 1);
        check("README.md", format!("a\n{marker}\n"), 2);
    }
    check("x.sh", &format!("mktemp /tmp/a.{}\n", "X".repeat(6)), &[]);
    for call in [concat!("to", "do!"), concat!("unimple", "mented!")] {
        let text = format!("{DOC}fn f() {{ {call}() }}\n");
        check("crates/lab/src/a.rs", &text, &[&format!("crates/lab/src/a.rs:2: unfinished: {call}")]);
        check("crates/lab/src/a.rs", &format!("{DOC}// {call}() is not used\n"), &[]);
    }
}

#[test]
fn silenced_lints() {
    let bare = "crates/lab/src/a.rs:2: silences a lint without a reason; use #[expect(…, reason = \"…\")]";
    for open in ["#[", "#![", "#[cfg_attr(test, "] {
        let text = format!("{DOC}{open}{}(dead_code)]\nfn f() {{}}\n", concat!("al", "low"));
        check("crates/lab/src/a.rs", &text, &[bare]);
    }
    for word in ["expect", concat!("al", "low")] {
        let reasoned = format!("{DOC}#[{word}(\n    dead_code,\n    reason = \"because\"\n)]\nfn f() {{}}\n");
        check("crates/lab/src/a.rs", &reasoned, &[]);
    }
}

#[test]
fn home_directories() {
    for home in [concat!("/ho", "me/jo/x"), concat!("/ro", "ot/x"), concat!("/Us", "ers/jo/x")] {
        let text = format!("a = 1\npath = \"{home}\"\n");
        check("a.toml", &text, &["a.toml:2: an absolute path of one person's machine"]);
    }
    check("a.md", "the user's home/jo and a chroot/x\n", &[]);
}

#[test]
fn impure_code() {
    let clock = concat!("Instant", "::now");
    let text = format!("{DOC}fn f() {{ {clock}(); }}\n");
    check("crates/flow/src/a.rs", &text, &[&format!("crates/flow/src/a.rs:2: `{clock}` in a pure crate")]);
    check("crates/server/src/a.rs", &text, &[]);
    check("crates/flow/tests/a.rs", &text, &[]);
    check("crates/flow/src/a.rs", &format!("{DOC}// not {clock}\n"), &[]);
    for word in ["std::fs::read", "std::thread::spawn", "println!", "std::env::var", "std::net::TcpStream"] {
        let text = format!("{DOC}fn f() {{ {word}(x) }}\n");
        assert_eq!(rules::file("crates/wire/src/a.rs", &text).len(), 1, "{word}");
    }
    check("crates/wire/src/a.rs", &format!("{DOC}use std::net::{{IpAddr, Ipv4Addr}};\n"), &[]);
    for global in ["static mut N: u8 = 0;", "pub static N: AtomicU8 = x;", "static M: LazyLock<u8> = x;"] {
        let text = format!("{DOC}{global}\n");
        check("crates/flow/src/a.rs", &text, &["crates/flow/src/a.rs:2: mutable global in a pure crate"]);
    }
    check("crates/flow/src/a.rs", &format!("{DOC}static NAMES: [&str; 1] = [\"a\"];\n"), &[]);
    check("crates/flow/src/a.rs", &format!("{DOC}fn f(x: &'static str, mut y: u8) {{}}\n"), &[]);
}

/// A package whose dependencies are those of `manifest`, written `name.workspace = true`.
fn package(name: &str, manifest: &str) -> Package {
    let dir = if name == "xtask" { String::new() } else { "crates/".to_owned() };
    let (normal, dev) = manifest.split_once("[dev-dependencies]").unwrap_or((manifest, ""));
    let names = |text: &str, only_tests: bool| -> Vec<(String, bool)> {
        text.lines()
            .filter_map(|l| l.split_once(".workspace"))
            .map(|(n, _)| (n.to_owned(), only_tests))
            .collect()
    };
    Package {
        name: name.to_owned(),
        manifest: format!("{dir}{name}/Cargo.toml"),
        text: manifest.to_owned(),
        dependencies: [names(normal, false), names(dev, true)].concat(),
    }
}

#[test]
fn dependency_direction() {
    let check = |name: &str, manifest: &str, expected: &[&str]| {
        let lints = "[lints]\nworkspace = true\n";
        let others = ["wire", "flow", "detect", "respond", "kernel", "server", "lab", "autoinmune", "xtask"];
        let mut all: Vec<Package> =
            others.iter().filter(|n| **n != name).map(|n| package(n, lints)).collect();
        all.push(package(name, &format!("{lints}[dependencies]\n{manifest}")));
        assert_eq!(list(&rules::dependencies(&all)), expected);
    };
    check("flow", "wire.workspace = true\nserde.workspace = true\n", &[]);
    check("wire", "flow.workspace = true\n", &["crates/wire/Cargo.toml:4: wire may not depend on flow"]);
    check(
        "detect",
        "serde.workspace = true\nrespond.workspace = true\n",
        &["crates/detect/Cargo.toml:5: detect may not depend on respond"],
    );
    check(
        "kernel",
        "server.workspace = true\n",
        &["crates/kernel/Cargo.toml:4: kernel may not depend on server"],
    );
    check(
        "server",
        "kernel.workspace = true\n",
        &["crates/server/Cargo.toml:4: server may not depend on kernel"],
    );
    check(
        "lab",
        "[dev-dependencies]\ndetect.workspace = true\n",
        &["crates/lab/Cargo.toml:5: lab may not depend on detect"],
    );
    check("xtask", "kernel.workspace = true\n", &["xtask/Cargo.toml:4: xtask may not depend on kernel"]);
    check("autoinmune", "kernel.workspace = true\nlab.workspace = true\nserver.workspace = true\n", &[]);
    check(
        "flow",
        "tokio.workspace = true\n",
        &["crates/flow/Cargo.toml:4: flow is pure; tokio is not among the dependencies known to be"],
    );
    check("flow", "[dev-dependencies]\ntokio.workspace = true\n", &[]);
    check(
        "novel",
        "",
        &["crates/novel/Cargo.toml:1: novel is not among the crates whose direction is known"],
    );
}

#[test]
fn workspace_lints() {
    let packages = [package("wire", "[lints]\nworkspace = false\n")];
    let expected = ["crates/wire/Cargo.toml:1: does not take part in [workspace.lints]"];
    assert_eq!(list(&rules::dependencies(&packages)), expected);
}

#[test]
fn documents_without_a_keeper() {
    let mut files = BTreeMap::<String, String>::new();
    for (document, keeper) in rules::DOCUMENTS {
        files.entry((*keeper).to_owned()).or_default().push_str(&format!("{document}\n"));
    }
    let with = |path: &str, text: &str| {
        let mut files = files.clone();
        files.insert(path.to_owned(), text.to_owned());
        list(&rules::documents(&files))
    };
    assert!(with("docs/cli.md", "").is_empty());
    assert!(with("docs/man/autoinmune.1", "").is_empty());
    assert_eq!(
        with("docs/stray.md", "a\n"),
        ["docs/stray.md:1: nothing is known to keep it true; list it in xtask/tests/tidy/rules.rs"]
    );
    let expected = "xtask/src/docs.rs:1: says nothing of docs/cli.md, which it is to keep true";
    files.insert("xtask/src/docs.rs".to_owned(), "nothing".to_owned());
    assert!(list(&rules::documents(&files)).is_empty(), "nothing to keep yet");
    files.insert("docs/cli.md".to_owned(), String::new());
    assert_eq!(list(&rules::documents(&files)), [expected]);
}

#[test]
fn clippy_files_of_pure_crates() {
    let clocks = [concat!("Instant", "::now"), concat!("SystemTime", "::now")];
    let files = |text: &str| -> BTreeMap<String, String> {
        rules::PURE.iter().map(|c| (format!("crates/{c}/clippy.toml"), text.to_owned())).collect()
    };
    assert!(rules::clippy_files(&files(&clocks.join(" "))).is_empty());
    assert_eq!(rules::clippy_files(&files(clocks[0])).len(), rules::PURE.len());
    assert_eq!(rules::clippy_files(&BTreeMap::new()).len(), rules::PURE.len());
}
