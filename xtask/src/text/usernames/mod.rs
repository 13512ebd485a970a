//! The classifier of user names (`models/usernames.bin`) and the figures about it in docs/logins.md.
//!
//! Samples are made by grammars of our own ([`grammar`]) and from two lists of the data folder: given and family names, and
//! what attackers typed as passwords at a honeypot. A fifth is held out, by the family a sample is of (a command by its
//! program, a name or password by its own text), so that nothing held out has a brother in training. Payloads of web attacks
//! from another source, none of them seen, tell how far what was learnt reaches.

mod grammar;

use super::{Made, lower, read};
use crate::exactness::data::Data;
use anyhow::Context as _;
use detect::login::NameKind;
use grammar::Sample;
use learn::text::{Classifier, Options};
use std::fmt::Write as _;

/// Trains and measures.
pub(super) fn make(data: &Data) -> anyhow::Result<Made> {
    let samples = samples(data)?;
    let (held_out, training): (Vec<&Sample>, Vec<&Sample>) =
        samples.iter().partition(|s| s.family.is_multiple_of(5));
    let classes: Vec<&str> = NameKind::ALL.iter().map(|k| k.name()).collect();
    // Classes weigh the same, however many samples they have.
    let count = |kind: NameKind| training.iter().filter(|s| s.kind == kind).count().max(1) as f32;
    let weights: Vec<f32> = NameKind::ALL.iter().map(|k| training.len() as f32 / 7.0 / count(*k)).collect();
    let rows: Vec<(&str, u32, f32)> =
        training.iter().map(|s| (s.text.as_str(), s.kind as u32, weights[s.kind as usize])).collect();
    let options = Options { bits: 13, epochs: 6, seed: 20_261_121, ..Options::default() };
    let model = Classifier::train(&rows, &classes, &options)?;
    let bytes = learn::codec::to_bytes(&model).len();
    let mut figures = confusion(&model, &held_out, training.len(), bytes);
    figures.push_str(&payloads(&model, data)?);
    let held_out = held_out.into_iter().map(|s| s.text.clone()).collect();
    Ok(Made { model, figures, held_out })
}

/// All samples, each text once for a kind.
fn samples(data: &Data) -> anyhow::Result<Vec<Sample>> {
    let given = lower(&read(data, "auth/names/Names/names.txt")?);
    let family = lower(&read(data, "auth/names/Names/familynames-usa-top1000.txt")?);
    let typed: Vec<(String, String)> = read(data, "auth/honeypot-user-pass-counts.txt")?
        .lines()
        .filter_map(|l| l.rsplit_once(' ')?.0.split_once(':'))
        .map(|(user, password)| (user.to_owned(), password.to_owned()))
        .collect();
    let mut all = grammar::all(&given, &family, &typed);
    all.sort_by(|a, b| (&a.text, a.kind as u32).cmp(&(&b.text, b.kind as u32)));
    all.dedup_by(|a, b| a.text == b.text && a.kind == b.kind);
    Ok(all)
}

/// Held-out samples by what they are and what they are taken for.
fn confusion(model: &Classifier, held_out: &[&Sample], trained: usize, bytes: usize) -> String {
    let mut table = [[0_usize; 7]; 7];
    for s in held_out {
        table[s.kind as usize][learn::metric::largest(&model.predict(&s.text))] += 1;
    }
    let right: usize = (0..7).map(|k| table[k][k]).sum();
    let mut out = format!(
        "\nMeasured by `cargo xtask text usernames`. {trained} samples trained, {} held out by family; the model has {bytes} bytes. \
         {:.1} % of the held-out samples are taken for what they are. Most are made by the same grammars as those trained, \
         from other words, so they are easier than what people type.\n\n| is \\ taken for |",
        held_out.len(),
        100.0 * right as f64 / held_out.len().max(1) as f64
    );
    for kind in NameKind::ALL {
        let _ = write!(out, " {} |", kind.name());
    }
    out.push_str(" recall | precision |\n|---|");
    out.push_str(&"---|".repeat(9));
    for (k, kind) in NameKind::ALL.iter().enumerate() {
        let _ = write!(out, "\n| {} |", kind.name());
        for cell in table[k] {
            let _ = write!(out, " {cell} |");
        }
        let share = |whole: usize| 100.0 * table[k][k] as f64 / whole.max(1) as f64;
        let taken = table.iter().map(|row| row[k]).sum();
        let _ = write!(out, " {:.1} % | {:.1} % |", share(table[k].iter().sum()), share(taken));
    }
    // What the rules ask, of what is not hostile.
    let names = [NameKind::Person, NameKind::ServiceAccount, NameKind::Email, NameKind::Random];
    let benign: Vec<Vec<f32>> =
        held_out.iter().filter(|s| names.contains(&s.kind)).map(|s| model.predict(&s.text)).collect();
    let command = |p: &[f32]| p[NameKind::Command as usize] + p[NameKind::SqlOrScript as usize];
    let over = |f: &dyn Fn(&[f32]) -> f32| benign.iter().filter(|p| f(p) >= 0.9).count();
    let _ = writeln!(
        out,
        "\n\nOf {} held-out names, addresses and random strings, {} reach 0.9 for command, SQL or script, and {} for password: \
         the thresholds of the rules.",
        benign.len(),
        over(&command),
        over(&|p| p[NameKind::PasswordLike as usize])
    );
    out
}

/// Attack payloads of another source, of which nothing was trained on.
fn payloads(model: &Classifier, data: &Data) -> anyhow::Result<String> {
    let path = data.path("http/http-params/payload_train.csv");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut out = String::from(
        "\nParameters of web requests from another source (HttpParamsDataset), none of them trained on, at the rule's \
         threshold. The last row was looked at once before names with a space became part of the grammar (8.3 % then):\n\n| payloads | number | command, SQL or script ≥ 0.9 |\n|---|---|---|\n",
    );
    for kind in ["sqli", "xss", "cmdi", "path-traversal", "norm"] {
        let (mut number, mut hits) = (0_u32, 0_u32);
        for line in text.lines() {
            // payload, length, attack type, label; a payload with a comma or quote is quoted.
            let mut fields = line.rsplitn(4, ',');
            let (Some(_label), Some(attack), Some(_length), Some(payload)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if attack.trim_matches('"') != kind {
                continue;
            }
            let payload = payload.strip_prefix('"').and_then(|p| p.strip_suffix('"')).unwrap_or(payload);
            let p = model.predict(&payload.replace("\"\"", "\""));
            number += 1;
            hits += u32::from(p[NameKind::Command as usize] + p[NameKind::SqlOrScript as usize] >= 0.9);
        }
        let share = 100.0 * f64::from(hits) / f64::from(number.max(1));
        let _ = writeln!(out, "| {kind} | {number} | {hits} ({share:.1} %) |");
    }
    Ok(out)
}
