//! The classifier of domains (`models/domains.bin`) and the figures about it in docs/domains.md.
//!
//! Ordinary names come from captures of ordinary DNS and from grammars of our own ([`grammar`]), drawn ones from generators
//! after the shapes of known families ([`families`]). Each label and each family is either learnt from, or sets the
//! temperature, or is measured. The captures of ordinary DNS are slices of one alphabetical list, so labels are dealt out by their
//! hash: whole captures held out would leave letters that no ordinary name begins with. Captures of another source are measured
//! only.

mod captures;
mod families;
mod grammar;
mod words;

use super::draw::family;
use super::{Made, lower, read};
use crate::exactness::data::Data;
use anyhow::Context as _;
use captures::Labels;
use detect::domains::{DomainKind, Domains, SHORTEST};
use detect::{Metric, RuleSet};
use families::{FAMILIES, Family, Part};
use learn::metric::Ranking;
use learn::text::{Classifier, Options};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Names of a family that are learnt from or measured.
const EACH: usize = 3000;
/// Log odds from which a name counts as drawn for the rules, and those of the mean.
const DRAWN: f64 = detect::domains::DRAWN;

/// Ordinary labels by what they are for.
struct Ordinary {
    train: BTreeSet<String>,
    calibrate: BTreeSet<String>,
    /// Of captures: existing ones, and all that are missing.
    test: Labels,
    /// Of the grammars.
    made: BTreeSet<String>,
}

/// Trains and measures.
pub(super) fn make(data: &Data) -> anyhow::Result<Made> {
    let ordinary = ordinary(data)?;
    let drawn = |part: Part| -> Vec<(String, DomainKind)> {
        let of = |f: &Family| {
            let kind = f.kind?;
            (f.part == part).then(|| f.names(EACH).into_iter().map(move |n| (n, kind)))
        };
        FAMILIES.iter().filter_map(of).flatten().collect()
    };
    let (train, calibrate) = (drawn(Part::Train), drawn(Part::Calibrate));
    let options = Options { bits: 14, epochs: 4, rate: 0.2, l2: 1e-5, seed: 20_261_122 };
    let names: Vec<&str> = DomainKind::ALL.iter().map(|k| k.name()).collect();
    let mut model = Classifier::train(&rows(&ordinary.train, &train), &names, &options)?;
    let temperature = model.temper(&rows(&ordinary.calibrate, &calibrate))?;
    let mut figures = format!(
        "\nMeasured by `cargo xtask text domains`. {} ordinary labels and {} drawn ones trained, {} and {} for the temperature \
         ({temperature:.2}); the model has {} bytes. None of the labels below was among them.\n",
        ordinary.train.len(),
        train.len(),
        ordinary.calibrate.len(),
        calibrate.len(),
        learn::codec::to_bytes(&model).len()
    );
    let domains = Domains::of(model.clone());
    let mut tinba = Labels::default();
    captures::read(&data.path("pcap/malware/ustc-tinba.pcap"), &mut tinba)?;
    let mut elsewhere = Labels::default();
    for capture in data.captures("ndpi")? {
        captures::read(&capture.path, &mut elsewhere)?;
    }
    let known = |l: &String| !ordinary.train.contains(l) && !ordinary.calibrate.contains(l);
    let elsewhere: BTreeSet<String> = elsewhere.existing.into_iter().filter(known).collect();
    let mut held_out: Vec<String> = Vec::new();
    let mut row = |title: &str, labels: Vec<String>| {
        let odds: Vec<f64> = labels.iter().map(|l| domains.log_odds(l)).collect();
        let share = |at: f64| 100.0 * odds.iter().filter(|o| **o >= at).count() as f64 / odds.len() as f64;
        let mean = odds.iter().sum::<f64>() / odds.len() as f64;
        let _ = write!(
            figures,
            "\n| {title} | {} | {mean:.2} | {:.1} % | {:.1} % |",
            odds.len(),
            share(0.0),
            share(DRAWN)
        );
        held_out.extend(labels.into_iter().take(200));
        odds
    };
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<String>>();
    let mut table = Vec::new();
    let existing = row("captures, names that exist, one in five held out", list(&ordinary.test.existing));
    let missing =
        row("captures, names that do not exist (none of them trained)", list(&ordinary.test.missing));
    row("captures of another source (nDPI), names that exist", list(&elsewhere));
    row("grammars, by words held out", list(&ordinary.made));
    for family in FAMILIES.iter().filter(|f| f.part == Part::Test) {
        let title = format!("{}{}", family.name, if family.kind.is_none() { " (words)" } else { "" });
        let odds = row(&title, family.names(EACH));
        if family.kind.is_some() {
            table.extend(odds);
        }
    }
    let real = row("Tinba, a capture of the real one", list(&tinba.missing));
    table.extend(&real);
    let head = format!(
        "\n| labels | number | mean log odds | drawn rather than chosen | log odds ≥ {DRAWN} |\n|---|---|---|---|---|"
    );
    let at = figures.find("\n|").unwrap_or(figures.len());
    figures.insert_str(at, &head);
    let rule = RuleSet::builtin().get("dga-odds").cloned().context("no rule dga-odds")?;
    let bound = |m: Metric| rule.when.get(&m).and_then(|b| b.at_least).context("dga-odds has other metrics");
    let (at_least, group) = (bound(Metric::NxOddsHour)?, bound(Metric::NxJudgedHour)? as usize);
    let scores = existing.iter().map(|o| (*o, false)).chain(table.iter().map(|o| (*o, true)));
    let auc = Ranking::new(scores.map(|(o, drawn)| (o as f32, drawn))).auc();
    let groups = |odds: &[f64], at: f64| {
        // Dealt out, so that neighbours in the alphabet are not together.
        let count = odds.len() / group;
        let mean = |g: usize| (0..group).map(|i| odds[g + i * count]).sum::<f64>() / group as f64;
        (count, (0..count).filter(|g| mean(*g) >= at).count())
    };
    let (all, over) = groups(&existing, at_least);
    let (few, few_over) = groups(&missing, at_least);
    let _ = writeln!(
        figures,
        "\n\nArea under the curve of the first row against the families that do not string words together: {auc:.4}. The rule \
         `dga-odds` asks for mean log odds of {at_least} over {group} names or more. Of {all} groups of {group} of the first row {over} have \
         that, of {few} of the second {few_over}."
    );
    Ok(Made { model, figures, held_out })
}

/// Samples with weights by which each class counts the same.
fn rows<'a>(ordinary: &'a BTreeSet<String>, drawn: &'a [(String, DomainKind)]) -> Vec<(&'a str, u32, f32)> {
    let chosen = ordinary.iter().map(|l| (l.as_str(), DomainKind::Ordinary));
    let all: Vec<(&str, DomainKind)> =
        chosen.chain(drawn.iter().map(|(l, kind)| (l.as_str(), *kind))).collect();
    let count = |kind| all.iter().filter(|(_, k)| *k == kind).count().max(1) as f32;
    // Chosen and drawn weigh the same, so that odds are those beforehand even; of the drawn, each its number.
    let chosen = count(DomainKind::Ordinary);
    let weight = all.len() as f32 / 2.0;
    let others = all.len() as f32 - chosen;
    all.iter()
        .map(|(l, kind)| {
            (*l, *kind as u32, weight / if *kind == DomainKind::Ordinary { chosen } else { others })
        })
        .collect()
}

fn ordinary(data: &Data) -> anyhow::Result<Ordinary> {
    let mut captured = Labels::default();
    for capture in data.captures("benign/dns")? {
        captures::read(&capture.path, &mut captured)?;
    }
    let mut all = Ordinary {
        train: BTreeSet::new(),
        calibrate: BTreeSet::new(),
        test: Labels { existing: BTreeSet::new(), missing: captured.missing },
        made: BTreeSet::new(),
    };
    for label in captured.existing {
        let part = family(&label) % 5;
        all.part(part, |all| &mut all.test.existing).insert(label);
    }
    let given = lower(&read(data, "auth/names/Names/names.txt")?);
    let family_names = lower(&read(data, "auth/names/Names/familynames-usa-top1000.txt")?);
    for (text, family) in grammar::all(&given, &family_names) {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain && text.len() >= SHORTEST {
            all.part(family % 5, |all| &mut all.made).insert(text);
        }
    }
    let Ordinary { train, calibrate, test, made } = &mut all;
    calibrate.retain(|l| !train.contains(l));
    for set in [&mut test.existing, &mut test.missing, made] {
        set.retain(|l| !train.contains(l) && !calibrate.contains(l));
    }
    Ok(all)
}

impl Ordinary {
    /// Where the fifth with this number belongs: one is measured, one sets the temperature, three are learnt from.
    fn part(
        &mut self,
        fifth: u64,
        measured: impl FnOnce(&mut Self) -> &mut BTreeSet<String>,
    ) -> &mut BTreeSet<String> {
        match fifth {
            0 => measured(self),
            1 => &mut self.calibrate,
            _ => &mut self.train,
        }
    }
}
