//! Makes the classifiers of texts: of user names (`models/usernames.bin`, figures in docs/logins.md) and of domains
//! (`models/domains.bin`, figures in docs/domains.md).
//!
//! Both learn from grammars of our own and from lists and captures of the data folder. `--check` trains anew and says whether
//! the committed models and figures are what comes out.

mod domains;
mod draw;
mod usernames;

use crate::exactness::data::Data;
use anyhow::{Context as _, bail, ensure};
use learn::text::Classifier;

/// Models are part of the binary and of the repository.
const MOST_BYTES: usize = 300_000;
/// Another processor may round otherwise in the last place, and training carries that on: by how much a probability may
/// differ from that of the committed model.
const ROUNDING: f32 = 0.02;

/// What a task makes.
struct Made {
    model: Classifier,
    /// Its figures, for the document.
    figures: String,
    /// Texts that nothing was trained on, to compare models by.
    held_out: Vec<String>,
}

/// A classifier and where it and its figures are kept.
struct Text {
    name: &'static str,
    model: &'static str,
    document: &'static str,
    /// The figures are the end of the document, from this heading on.
    heading: &'static str,
    make: fn(&Data) -> anyhow::Result<Made>,
}

const TEXTS: [Text; 2] = [
    Text {
        name: "usernames",
        model: "models/usernames.bin",
        document: "docs/logins.md",
        heading: "\n## The classifier of user names: figures\n",
        make: usernames::make,
    },
    Text {
        name: "domains",
        model: "models/domains.bin",
        document: "docs/domains.md",
        heading: "\n## Figures\n",
        make: domains::make,
    },
];

/// Trains, measures, and writes models and figures, or compares them.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let (mut check, mut named) = (false, Vec::new());
    for arg in args {
        match TEXTS.iter().find(|t| t.name == arg) {
            Some(text) => named.push(text),
            None if arg == "--check" => check = true,
            None => {
                bail!("unknown argument '{arg}'; usage: cargo xtask text [--check] [usernames] [domains]")
            }
        }
    }
    let Some(data) = Data::find() else {
        ensure!(check, "the data folder is missing; AUTOINMUNE_DATA names it");
        println!("skipped: text models: no data folder (AUTOINMUNE_DATA)");
        return Ok(true);
    };
    let mut good = true;
    for text in if named.is_empty() { TEXTS.iter().collect() } else { named } {
        let made = (text.make)(&data)?;
        if check { good &= same(text, &made)? } else { write(text, &made)? }
    }
    Ok(good)
}

/// Reads a file of the data folder as text, whatever its bytes.
fn read(data: &Data, name: &str) -> anyhow::Result<String> {
    let path = data.path(name);
    std::fs::read(&path)
        .map(|b| String::from_utf8_lossy(&b).into_owned())
        .with_context(|| format!("cannot read {}", path.display()))
}

/// The lines of a text that are not empty, in lower case.
fn lower(text: &str) -> Vec<String> {
    text.lines().map(|l| l.trim().to_lowercase()).filter(|l| !l.is_empty()).collect()
}

fn write(text: &Text, made: &Made) -> anyhow::Result<()> {
    let bytes = learn::codec::to_bytes(&made.model);
    ensure!(
        bytes.len() < MOST_BYTES,
        "{} has {} bytes; at most {MOST_BYTES} go into the binary",
        text.model,
        bytes.len()
    );
    // Untouched if it is the same: what embeds it would be compiled again.
    if std::fs::read(text.model).ok().as_ref() != Some(&bytes) {
        std::fs::write(text.model, &bytes).with_context(|| format!("cannot write {}", text.model))?;
    }
    print!("{}", made.figures);
    let document =
        std::fs::read_to_string(text.document).with_context(|| format!("cannot read {}", text.document))?;
    let kept = document.split(text.heading).next().unwrap_or_default();
    std::fs::write(text.document, format!("{kept}{}{}", text.heading, made.figures))
        .with_context(|| format!("cannot write {}", text.document))
}

/// Whether the committed model judges as the one made now, and, where it is the same to the bit, has the same figures.
fn same(text: &Text, made: &Made) -> anyhow::Result<bool> {
    let bytes = std::fs::read(text.model).with_context(|| format!("cannot read {}", text.model))?;
    let document =
        std::fs::read_to_string(text.document).with_context(|| format!("cannot read {}", text.document))?;
    if bytes == learn::codec::to_bytes(&made.model) {
        let told = document.ends_with(&format!("{}{}", text.heading, made.figures));
        if !told {
            eprintln!("{} has other figures; run `cargo xtask text {}`", text.document, text.name);
        }
        return Ok(told);
    }
    let kept: Classifier = learn::codec::from_bytes(&bytes)?;
    let apart = |t: &String| {
        let (a, b) = (kept.predict(t), made.model.predict(t));
        a.len() != b.len() || a.iter().zip(&b).any(|(a, b)| (a - b).abs() > ROUNDING)
    };
    let differs = kept.classes() != made.model.classes() || made.held_out.iter().any(apart);
    if differs {
        eprintln!("{} is not what its sources make; run `cargo xtask text {}`", text.model, text.name);
    }
    Ok(!differs)
}
