//! `cargo xtask bench`: measures, prints, and writes docs/benchmarks.md.
//!
//! The document has one section per part of the bench. A run of one part writes its section anew and leaves the others;
//! a quick run writes nothing. Where a part cannot be measured, its section says so and why.

mod agent;
mod api;
mod background;
mod capture;
mod enrich;
mod figure;
mod flood;
mod generate;
mod kernel;
mod learn;
mod load;
mod logs;
pub(crate) mod machine;
mod memory;
mod process;
mod rate;
mod reaction;
mod replay;

use crate::sections::{self, Sections};
use crate::shell;
use anyhow::Context as _;
use figure::Section;
use std::path::PathBuf;
use std::time::Instant;

const DOCUMENT: &str = "docs/benchmarks.md";

/// Load average from which on a section says that it was not measured alone: one other program all the time.
const BUSY: f64 = 1.5;

/// What every part needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Fewer rounds, for a look.
    pub(crate) quick: bool,
    /// The release build of `autoinmune`.
    pub(crate) program: PathBuf,
}

/// One part: the name for `--section`, its title, and what measures it.
type Part = (&'static str, &'static str, fn(&Setup) -> anyhow::Result<Section>);

const PARTS: [Part; 12] = [
    ("kernel", "Kernel programs", kernel::measure),
    ("replay", "Replay of captures", replay::measure),
    ("reaction", "Reaction", reaction::measure),
    ("memory", "Memory", memory::measure),
    ("load", "Processor", load::measure),
    ("flood", "Floods", flood::measure),
    ("capture", "Dataset capture", rate::measure),
    ("generate", "Ordinary traffic", generate::measure),
    ("enrich", "Knowledge of addresses", enrich::measure),
    ("logs", "Logs", logs::measure),
    ("api", "Detector's API", api::measure),
    ("learn", "Learning", learn::measure),
];

/// Says what goes on.
pub(crate) fn progress(what: &str) {
    eprintln!("bench: {what}");
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    quick: bool,
    sections: Sections,
}

impl Selection {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let names = PARTS.map(|(name, ..)| name);
        let mut selection = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => selection.quick = true,
                "--section" => selection.sections.add(args.next(), &names)?,
                _ => anyhow::bail!(
                    "unknown argument '{arg}'; usage: cargo xtask bench [--quick] [--section NAME]…"
                ),
            }
        }
        Ok(selection)
    }
}

/// Measures everything, or some parts; whether all of it could be measured.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let selection = Selection::parse(args)?;
    let begun = Instant::now();
    progress("building");
    // The other parts run the program.
    let needed = PARTS.iter().any(|(name, ..)| *name != "learn" && selection.sections.has(name));
    for build in [
        &["build", "--quiet", "--release", "--package", "autoinmune"][..],
        &["build", "--quiet", "--release", "--package", "kernel", "--example", "testrun"],
    ]
    .into_iter()
    .filter(|_| needed)
    {
        let built = shell::cargo(build).status().context("cannot run cargo")?;
        anyhow::ensure!(built.success(), "the release build failed");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    let setup = Setup { quick: selection.quick, program: target.join("release/autoinmune") };
    let document = shell::root().join(DOCUMENT);
    let mut text = std::fs::read_to_string(&document).unwrap_or_default();
    let mut complete = true;
    for (_, title, measure) in PARTS.into_iter().filter(|(name, ..)| selection.sections.has(name)) {
        let before = machine::load();
        let mut section = measure(&setup).unwrap_or_else(|why| {
            complete = false;
            Section::new(format!("**Not measured:** {why:#}."))
        });
        if before >= BUSY {
            section.note(format!(
                "Other programs ran meanwhile (load average {before:.1} before this section) and took processors and caches \
                 from it."
            ));
        }
        let section = section.markdown(title);
        println!("{section}");
        progress(&format!("load average before this section {before:.2}, after it {:.2}", machine::load()));
        text = with_section(&text, title, &section);
    }
    if selection.quick {
        progress(&format!("{:.0} s; quick figures are not written", begun.elapsed().as_secs_f64()));
        return Ok(complete);
    }
    let head = head(&machine::describe());
    let order: Vec<&str> = PARTS.iter().map(|(_, title, _)| *title).collect();
    std::fs::write(&document, assemble(&head, &text, &order))
        .with_context(|| format!("cannot write {DOCUMENT}"))?;
    progress(&format!("wrote {DOCUMENT} after {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(complete)
}

fn head(machine: &str) -> String {
    format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench` (as root, with the Debian packages xdp-tools, libndpi-bin, netsniff-ng, nginx-light and wrk; \
         captures from `AUTOINMUNE_DATA` if present). `--section NAME` measures one section anew: {}. Figures hold for \
         the machine described here and nothing else; the rows beside them were measured in the same run.\n\n{machine}",
        PARTS.map(|(name, ..)| format!("`{name}`")).join(", ")
    )
}

/// The document with one section replaced or added.
fn with_section(text: &str, title: &str, section: &str) -> String {
    let mut out: String = sections::of(text)
        .filter(|(t, _)| *t != title)
        .map(|(t, body)| format!("\n## {t}\n{}\n", body.trim_end()))
        .collect();
    out.push('\n');
    out.push_str(section);
    out
}

/// Head and sections in order; sections that no part writes are left out.
fn assemble(head: &str, text: &str, order: &[&str]) -> String {
    let mut out = format!("{}\n", head.trim_end());
    for title in order {
        if let Some(body) = sections::body(text, title) {
            out.push_str(&format!("\n## {title}\n{}\n", body.trim_end()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse =
            |args: &[&str]| Selection::parse(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        let all = parse(&[]).expect("no arguments");
        assert!(all.sections.has("kernel") && all.sections.has("load") && !all.quick);
        let one = parse(&["--section", "replay", "--quick"]).expect("known");
        assert!(one.sections.has("replay") && !one.sections.has("kernel") && one.quick);
        for wrong in [&["--section"][..], &["--section", "nothing"], &["--fast"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn one_section_is_replaced_and_the_others_stay_in_order() {
        let old = "# Benchmarks\n\nhead\n\n## A\n\na\n\n## Gone\n\nx\n\n## B\n\nb\n";
        let text = with_section(old, "A", "## A\n\nnew\n");
        assert_eq!(assemble("# H\n\nh\n", &text, &["A", "B"]), "# H\n\nh\n\n## A\n\nnew\n\n## B\n\nb\n");
        let first = with_section("", "B", "## B\n\nb\n");
        assert_eq!(assemble("# H", &first, &["A", "B"]), "# H\n\n## B\n\nb\n");
    }
}
