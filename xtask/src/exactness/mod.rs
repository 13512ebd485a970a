//! `cargo xtask exactness`: compares what the program says about real captures with what others say about them, and
//! writes docs/exactness.md.
//!
//! The program is the development build, with overflow checks: a slip in arithmetic is a failure here. Nothing in the
//! document depends on the machine or the time of day, so that `--check` can compare it with a new run.

mod attacks;
mod benign;
mod community_id;
pub(crate) mod data;
mod evidence;
mod modbus;
mod ndpi;
mod ndpi_results;
mod reasons;
mod replayed;

use crate::sections::{self, Sections};
use crate::shell;
use anyhow::Context as _;
use data::Data;
use std::path::PathBuf;
use std::time::Instant;

const DOCUMENT: &str = "docs/exactness.md";

/// What every part needs.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The program under test.
    pub(crate) program: PathBuf,
    /// The captures.
    pub(crate) data: Data,
}

/// What a part found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Its section in Markdown, without the heading.
    pub(crate) text: String,
    /// What must not be, and is: the task fails.
    pub(crate) faults: Vec<String>,
}

/// One part: the name for `--section`, its title, and what makes it.
type Part = (&'static str, &'static str, fn(&Setup) -> anyhow::Result<Findings>);

const PARTS: [Part; 5] = [
    ("community-id", "Community ID", community_id::compare),
    ("ndpi", "Protocols against nDPI", ndpi::compare),
    ("modbus", "Modbus attacks, packet by packet", modbus::compare),
    ("attacks", "Attack captures", attacks::compare),
    ("benign", "Benign captures", benign::compare),
];

const HEAD: &str = "# Exactness\n\nWritten by `cargo xtask exactness` from captures that nobody on this project made \
     (`AUTOINMUNE_DATA`; they are not part of the repository). Each capture is replayed by a process of its own with the \
     default configuration. `--section NAME` makes one section anew, `--check` compares all of it with a new run. A part \
     of the rules was written with these captures at hand, so the figures say what is recognised, not how well the rules \
     do on traffic nobody has seen.\n";

#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    check: bool,
    program: Option<PathBuf>,
    sections: Sections,
}

impl Selection {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let names = PARTS.map(|(name, ..)| name);
        let mut selection = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--check" => selection.check = true,
                "--program" => {
                    selection.program = Some(args.next().context("--program needs a path")?.into());
                }
                "--section" => selection.sections.add(args.next(), &names)?,
                _ => anyhow::bail!(
                    "unknown argument '{arg}'; usage: cargo xtask exactness [--check] [--program PATH] [--section NAME]…"
                ),
            }
        }
        Ok(selection)
    }
}

/// Writes or checks the document; whether nothing was found that must not be, and, with `--check`, nothing differed.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let selection = Selection::parse(args)?;
    let Some(data) = Data::find() else {
        anyhow::ensure!(selection.check, "there are no captures: set AUTOINMUNE_DATA");
        println!("skipped: exactness: there are no captures (AUTOINMUNE_DATA)");
        return Ok(true);
    };
    let begun = Instant::now();
    let setup = Setup { program: program(&selection)?, data };
    let document = shell::root().join(DOCUMENT);
    let old = std::fs::read_to_string(&document).unwrap_or_default();
    let mut bodies: Vec<(&str, String)> = Vec::new();
    let mut faults = Vec::new();
    for (name, title, compare) in PARTS {
        if !selection.sections.has(name) {
            bodies.extend(sections::body(&old, title).map(|body| (title, body.to_owned())));
            continue;
        }
        let findings = compare(&setup).with_context(|| format!("section {name}"))?;
        faults.extend(findings.faults.into_iter().map(|f| format!("{name}: {f}")));
        bodies.push((title, findings.text));
    }
    let new = assemble(&bodies);
    for fault in &faults {
        println!("fault: {fault}");
    }
    if selection.check {
        if new != old {
            println!("{DOCUMENT} differs from a new run; run `cargo xtask exactness` and commit the result");
        }
        return Ok(faults.is_empty() && new == old);
    }
    std::fs::write(&document, new).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("wrote {DOCUMENT} after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(faults.is_empty())
}

/// The program to test: the one given, or the development build, made first.
fn program(selection: &Selection) -> anyhow::Result<PathBuf> {
    if let Some(path) = &selection.program {
        return std::path::absolute(path).context("--program");
    }
    let built = shell::cargo(&["build", "--quiet", "--package", "autoinmune"])
        .status()
        .context("cannot run cargo")?;
    anyhow::ensure!(built.success(), "the build failed");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    Ok(target.join("debug/autoinmune"))
}

fn assemble(bodies: &[(&str, String)]) -> String {
    let mut out = HEAD.to_owned();
    for (title, body) in bodies {
        out.push_str(&format!("\n## {title}\n\n{}\n", body.trim()));
    }
    out
}

/// A table in Markdown. Cells are escaped.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut out = line(&head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    out.push_str(&format!("|{}\n", "---|".repeat(head.len())));
    for row in rows {
        out.push_str(&line(&row.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>()));
    }
    out
}

/// `part` of `whole` in percent with one digit, or a dash without a whole.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    // Rounded down, so that 100 % means all.
    let mille = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", mille / 10, mille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse =
            |args: &[&str]| Selection::parse(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        let all = parse(&[]).expect("no arguments");
        assert!(all.sections.has("ndpi") && all.sections.has("benign") && !all.check);
        let one = parse(&["--section", "ndpi", "--check"]).expect("known");
        assert!(one.sections.has("ndpi") && !one.sections.has("benign") && one.check);
        for wrong in [&["--section"][..], &["--section", "nothing"], &["--fast"], &["--program"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_section_survives_the_making_of_another() {
        let text = assemble(&[("A", "a\n\nb".to_owned()), ("B", "c\n".to_owned())]);
        let again: Vec<(&str, String)> =
            ["A", "B"].map(|t| (t, sections::body(&text, t).unwrap_or_default().to_owned())).into();
        assert_eq!(assemble(&again), text);
    }

    #[test]
    fn all_is_said_of_all_only() {
        assert_eq!(percent(999_999, 1_000_000), "99.9 %");
        assert_eq!(percent(2, 2), "100.0 %");
        assert_eq!(percent(0, 0), "–");
    }
}
