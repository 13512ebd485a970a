//! `cargo xtask bpf`: builds the kernel programs; `--check` verifies that the committed objects are those of the
//! committed sources.
//!
//! `sensor.bpf.lock` holds the compiler's flags and the SHA-256 of every source and object. That much is checked
//! everywhere. Where clang 19 is installed the objects are also rebuilt and their loadable sections (programs, maps,
//! data) compared byte for byte; type and line information may differ with the versions of system headers.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const CLANG: &str = "clang-19";
const STRIP: &str = "llvm-strip-19";
const LOCK: &str = "sensor.bpf.lock";
const OBJECTS: [&str; 2] = ["sensor.bpf", "bench.bpf"];

/// What decides the generated code. `-fno-strict-aliasing` because packet bytes and addresses are read as words.
/// Relative paths keep the build directory out of the objects.
const FLAGS: &[&str] = &[
    "-O2",
    "-g",
    "-target",
    "bpf",
    "-mcpu=v3",
    "-fno-strict-aliasing",
    "-ffile-compilation-dir=.",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
];

/// Runs the subcommand with the arguments behind its name.
///
/// # Errors
/// On unknown arguments, missing tools, a failing compiler, or (with `--check`) any difference.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/kernel/bpf").canonicalize()?;
    match args {
        [] => build(&dir),
        [flag] if flag == "--check" => check(&dir),
        _ => bail!("usage: cargo xtask bpf [--check]"),
    }
}

fn build(dir: &Path) -> Result<()> {
    ensure!(
        has(CLANG) && has(STRIP),
        "{CLANG} and {STRIP} are needed: apt-get install clang-19 llvm-19 libbpf-dev linux-libc-dev"
    );
    for object in OBJECTS {
        compile(dir, object, &dir.join(format!("{object}.o")))?;
    }
    std::fs::write(dir.join(LOCK), lock_text(dir)?)?;
    record_budget(dir)?;
    println!("built {} and {LOCK}", OBJECTS.map(|o| format!("{o}.o")).join(", "));
    Ok(())
}

/// Has tests/budget.rs write what the verifier makes of the new object; that needs root, and without it the old record
/// stays.
fn record_budget(dir: &Path) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .current_dir(dir)
        .env("AUTOINMUNE_BUDGET_UPDATE", "1")
        .args(["test", "-q", "-p", "kernel", "--test", "budget", "--", "--nocapture"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the verifier does not take the new object");
    Ok(())
}

fn check(dir: &Path) -> Result<()> {
    let committed = std::fs::read_to_string(dir.join(LOCK)).with_context(|| format!("cannot read {LOCK}"))?;
    let actual = lock_text(dir)?;
    if committed != actual {
        let old: Vec<&str> = committed.lines().collect();
        for line in actual.lines().filter(|l| !old.contains(l)) {
            eprintln!("differs from {LOCK}: {line}");
        }
        bail!("the compiled kernel programs are not those of their sources; run `cargo xtask bpf`");
    }
    if !has(CLANG) || !has(STRIP) {
        println!("{LOCK} matches; skipped: rebuilding needs {CLANG} and {STRIP}");
        return Ok(());
    }
    let scratch = std::env::temp_dir().join(format!("xtask-bpf-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let compared = OBJECTS.iter().try_for_each(|object| {
        let rebuilt = scratch.join(format!("{object}.o"));
        compile(dir, object, &rebuilt)?;
        compare(object, &std::fs::read(dir.join(format!("{object}.o")))?, &std::fs::read(rebuilt)?)
    });
    std::fs::remove_dir_all(&scratch)?;
    compared?;
    println!("{LOCK} matches, and rebuilt objects are equal");
    Ok(())
}

fn has(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success())
}

fn compile(dir: &Path, object: &str, to: &Path) -> Result<()> {
    // Debian and Ubuntu keep <asm/types.h> in the architecture's own directory, where `-target bpf` does not look.
    let include = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let status = Command::new(CLANG)
        .current_dir(dir)
        .args(FLAGS)
        .arg(include)
        .args(["-c", &format!("{object}.c"), "-o"])
        .arg(to)
        .status()
        .with_context(|| format!("cannot run {CLANG}"))?;
    ensure!(status.success(), "{CLANG} failed on {object}.c");
    // DWARF goes; BTF, which the kernel and the loader read, stays.
    let status =
        Command::new(STRIP).arg("-g").arg(to).status().with_context(|| format!("cannot run {STRIP}"))?;
    ensure!(status.success(), "{STRIP} failed on {object}.o");
    Ok(())
}

/// The lock file as the tree has it now.
fn lock_text(dir: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()?
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "c" || e == "h" || e == "o"))
        .collect();
    files.sort();
    let out = Command::new("sha256sum")
        .current_dir(dir)
        .args(files.iter().filter_map(|p| p.file_name()))
        .output()
        .context("cannot run sha256sum (coreutils)")?;
    ensure!(out.status.success(), "sha256sum failed: {}", String::from_utf8_lossy(&out.stderr));
    let mut text = String::from("# Written by `cargo xtask bpf`; `cargo xtask bpf --check` compares.\n");
    writeln!(text, "flags {}", FLAGS.join(" "))?;
    text.push_str(&String::from_utf8(out.stdout)?);
    Ok(text)
}

fn compare(object: &str, committed: &[u8], rebuilt: &[u8]) -> Result<()> {
    let (a, b) = (loadable(committed)?, loadable(rebuilt)?);
    let names = |s: &BTreeMap<String, &[u8]>| s.keys().cloned().collect::<Vec<_>>();
    ensure!(names(&a) == names(&b), "{object}.o: sections {:?}, rebuilt {:?}", names(&a), names(&b));
    for (name, bytes) in &a {
        ensure!(b.get(name) == Some(bytes), "{object}.o: section {name} differs from the rebuilt one");
    }
    Ok(())
}

/// The sections of a little-endian ELF64 file that are loaded (`SHF_ALLOC`), by name.
fn loadable(elf: &[u8]) -> Result<BTreeMap<String, &[u8]>> {
    const SHT_NOBITS: u64 = 8;
    const SHF_ALLOC: u64 = 2;
    let int = |at: usize, width: usize| -> Result<u64> {
        let bytes = elf.get(at..at + width).context("ELF file ends early")?;
        Ok(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    };
    let index = |at: usize, width: usize| -> Result<usize> { Ok(usize::try_from(int(at, width)?)?) };
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a little-endian ELF64 file");
    let (table, entry, count, names) = (index(0x28, 8)?, index(0x3a, 2)?, index(0x3c, 2)?, index(0x3e, 2)?);
    let strings = index(table + names * entry + 0x18, 8)?;
    let mut sections = BTreeMap::new();
    for header in (0..count).map(|i| table + i * entry) {
        if int(header + 4, 4)? == SHT_NOBITS || int(header + 8, 8)? & SHF_ALLOC == 0 {
            continue;
        }
        let name = elf.get(strings + index(header, 4)?..).context("section name lies outside the file")?;
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        let (at, size) = (index(header + 0x18, 8)?, index(header + 0x20, 8)?);
        let bytes = elf.get(at..at + size).context("section lies outside the file")?;
        sections.insert(String::from_utf8_lossy(name).into_owned(), bytes);
    }
    Ok(sections)
}
