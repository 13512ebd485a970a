//! `cargo xtask scoreboard`: how well the learned classifier does on data it did not learn from, by data set, model and
//! split, and writes docs/SCOREBOARD.md. What falls short is in the tables like everything else.

mod alarms;
mod asked;
mod runs;
mod sources;

use crate::bench::machine;
use crate::exactness::data::Data;
use crate::sections::{self, Sections};
use crate::shell;
use anyhow::Context as _;
use std::path::PathBuf;
use std::time::Instant;

const DOCUMENT: &str = "docs/SCOREBOARD.md";

const HEAD: &str = "# Scoreboard\n\nWritten by `cargo xtask scoreboard` from data that nobody on this project made \
     (`AUTOINMUNE_DATA`; it is not part of the repository and may not be: see its licences). Every figure is of rows that \
     the model did not learn from. The classifier's options were chosen on inner parts of the UNSW-NB15 and CICIDS2017 \
     training rows, so figures on these two are of known ground; families and sources held out are not. Data sets are not \
     networks: a high figure here says little about yours. `--section NAME` makes one section anew.\n";

/// What every part needs.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The program that trains and tests.
    program: PathBuf,
    /// The shared data.
    data: Data,
    /// For bundles and tables that are made on the way.
    scratch: PathBuf,
}

/// One part: the name for `--section`, its title, and what makes it.
type Part = (&'static str, &'static str, fn(&Setup) -> anyhow::Result<String>);

const PARTS: [Part; 6] = [
    ("grouped", "Equal rows on one side", runs::grouped),
    ("random", "What a random split would say", runs::random),
    ("time", "The latest rows held out", runs::time),
    ("families", "Families held out", runs::families),
    ("sources", "From one source to another", sources::compare),
    ("alarms", "False alarms per host-day", alarms::shipped),
];

fn usage(names: &[&str]) -> String {
    format!("usage: cargo xtask scoreboard [--program PATH] [--section {}]…", names.join("|"))
}

/// Says what goes on.
fn progress(what: &str) {
    eprintln!("scoreboard: {what}");
}

/// Writes the document. Without shared data there is nothing to write, and that is said.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let names = PARTS.map(|(name, ..)| name);
    let (mut given, mut wanted) = (None, Sections::default());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--program" => given = Some(PathBuf::from(args.next().context("--program needs a path")?)),
            "--section" => wanted.add(args.next(), &names)?,
            _ => anyhow::bail!("unknown argument '{arg}'; {}", usage(&names)),
        }
    }
    let Some(data) = Data::find() else {
        println!("skipped: scoreboard: there is no shared data (AUTOINMUNE_DATA)");
        return Ok(true);
    };
    let begun = Instant::now();
    let scratch = std::env::temp_dir().join(format!("autoinmune-scoreboard-{}", std::process::id()));
    std::fs::create_dir(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let setup = Setup { program: program(given)?, data, scratch };
    let document = shell::root().join(DOCUMENT);
    let old = std::fs::read_to_string(&document).unwrap_or_default();
    let mut new = format!("{HEAD}\n{}", machine::describe());
    let made = parts(&setup, &wanted, &old);
    // What cannot be removed is left to whoever clears temporary files.
    let _ = std::fs::remove_dir_all(&setup.scratch);
    for (title, body) in made? {
        new.push_str(&format!("\n## {title}\n\n{}\n", body.trim()));
    }
    std::fs::write(&document, new).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("wrote {DOCUMENT} after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(true)
}

fn parts(setup: &Setup, wanted: &Sections, old: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut bodies = Vec::new();
    for (name, title, make) in PARTS {
        if wanted.has(name) {
            bodies.push((title, make(setup).with_context(|| format!("section {name}"))?));
        } else {
            bodies.extend(sections::body(old, title).map(|body| (title, body.to_owned())));
        }
    }
    Ok(bodies)
}

/// The program given, or the release build, made first: times are part of the figures.
fn program(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return std::path::absolute(path).context("--program");
    }
    let built = shell::cargo(&["build", "--quiet", "--release", "--package", "autoinmune"])
        .status()
        .context("cannot run cargo")?;
    anyhow::ensure!(built.success(), "the build failed");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    Ok(target.join("release/autoinmune"))
}
