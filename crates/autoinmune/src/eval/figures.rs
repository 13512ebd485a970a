//! Figures of merit of a classifier on rows it did not learn from.

use crate::text;
use learn::hybrid::{Judgements, Verdict};
use learn::metric::{Confusion, Ranking};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// False-positive rates at which recall is told.
const RATES: [(&str, f64); 3] = [("0.01", 0.01), ("0.001", 0.001), ("0.0001", 0.0001)];

/// What was measured. The names are a contract with scripts: docs/learning.md.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Rows tested.
    pub rows: u64,
    /// Classes of training and test, those of training first.
    pub classes: Vec<String>,
    /// The class that means that nothing is wrong.
    pub normal: String,
    /// Normal or not.
    pub binary: Binary,
    /// Each class that occurs in the test or in what was decided.
    pub per_class: BTreeMap<String, PerClass>,
    /// Mean F1 of the classes of `per_class`.
    pub macro_f1: f64,
    /// Share of rows whose class was decided rightly.
    pub accuracy: f64,
    /// Rows decided to be like no class that training saw.
    pub unknown: Unknown,
    /// Rows by true class and decided class, in the order of `classes`.
    pub confusion: Vec<Vec<u64>>,
}

/// Figures of "is it normal?", of which the positive answer is no.
#[derive(Clone, Debug, Serialize)]
pub struct Binary {
    /// Area under the ROC curve; null if the test has one of the two only.
    #[serde(serialize_with = "number")]
    pub auc: f64,
    /// Average precision; null likewise.
    #[serde(serialize_with = "number")]
    pub average_precision: f64,
    /// Probability of not being normal from which on a row is not: chosen in training, never by the test.
    pub threshold: f64,
    /// Share of what was found that is not normal; 0 if nothing was found.
    pub precision: f64,
    /// Share of what is not normal that was found; null if there is nothing.
    #[serde(serialize_with = "number")]
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Share of normal rows that were taken for others; null if there are none.
    #[serde(serialize_with = "number")]
    pub fpr: f64,
    /// Best recall at a false-positive rate of at most the name.
    pub recall_at_fpr: BTreeMap<&'static str, f64>,
}

/// Figures of one class against the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PerClass {
    /// Share of what was decided to be of this class that is; 0 if nothing was.
    pub precision: f64,
    /// Share of the class that was decided to be; 0 if the test has none.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Rows of the class in the test.
    pub support: u64,
    /// Whether training had the class: else recall is 0 of necessity.
    pub trained: bool,
}

/// What was decided to be unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Of classes that training had.
    pub known_classes: u64,
    /// Of classes that training did not have: rightly so.
    pub new_classes: u64,
    /// Rows of classes that training did not have.
    pub new_rows: u64,
}

/// JSON has no NaN.
fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { to.serialize_some(value) } else { to.serialize_none() }
}

fn or_zero(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// A test, judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// What was decided of each row.
    pub judgements: &'a Judgements,
    /// The true class of each, a place in `names`.
    pub classes: &'a [u32],
    /// Classes: the first `trained` were learnt.
    pub names: &'a [String],
    /// How many classes were learnt.
    pub trained: usize,
    /// The normal class.
    pub normal: u32,
    /// Probability of not being normal from which on a row is not.
    pub threshold: f32,
}

impl Judged<'_> {
    /// Rows ranked by how little normal they are.
    pub fn ranking(&self) -> Ranking {
        Ranking::new(self.judgements.iter().zip(self.classes).map(|(j, c)| (j.score, *c != self.normal)))
    }

    /// (probability of not being normal, whether it is not) of each row.
    pub fn probabilities(&self) -> Vec<(f32, bool)> {
        self.judgements.iter().zip(self.classes).map(|(j, c)| (1.0 - j.p_normal, *c != self.normal)).collect()
    }

    /// The figures.
    pub fn figures(&self) -> Figures {
        let many = self.names.len();
        let mut confusion = Confusion::new(many);
        let mut binary = Confusion::new(2);
        let mut unknown = Unknown::default();
        for (judgement, class) in self.judgements.iter().zip(self.classes) {
            let truth = *class as usize;
            confusion.add(truth, judgement.class as usize);
            binary.add(usize::from(*class != self.normal), usize::from(judgement.class != self.normal));
            let new = truth >= self.trained;
            unknown.new_rows += u64::from(new);
            if judgement.verdict == Verdict::Unknown {
                *if new { &mut unknown.new_classes } else { &mut unknown.known_classes } += 1;
            }
        }
        let ranking = self.ranking();
        let counts = binary.of(1);
        let per_class = self.names.iter().enumerate().filter_map(|(i, name)| {
            let of = confusion.of(i);
            let support = of.true_positives + of.false_negatives;
            let figures = PerClass {
                precision: or_zero(of.precision()),
                recall: or_zero(of.recall()),
                f1: or_zero(of.f1()),
                support,
                trained: i < self.trained,
            };
            (support + of.false_positives > 0).then(|| (name.clone(), figures))
        });
        Figures {
            rows: self.classes.len() as u64,
            classes: self.names.to_vec(),
            normal: self.names.get(self.normal as usize).cloned().unwrap_or_default(),
            binary: Binary {
                auc: ranking.auc(),
                average_precision: ranking.average_precision(),
                threshold: as_written(self.threshold),
                precision: or_zero(counts.precision()),
                recall: counts.recall(),
                f1: or_zero(counts.f1()),
                fpr: counts.false_positive_rate(),
                recall_at_fpr: RATES
                    .iter()
                    .map(|(n, r)| (*n, or_zero(ranking.recall_at_fpr(*r).0)))
                    .collect(),
            },
            per_class: per_class.collect(),
            macro_f1: or_zero(confusion.macro_f1()),
            accuracy: or_zero(confusion.accuracy()),
            unknown,
            confusion: (0..many).map(|t| (0..many).map(|d| confusion.get(t, d)).collect()).collect(),
        }
    }
}

/// A single-precision number as one of double precision that is written the same: 0.85, not 0.8500000238418579.
pub fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A share for people.
pub fn share(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "-".to_owned() }
}

impl Figures {
    /// A report for people.
    pub fn human(&self) -> String {
        let b = &self.binary;
        let mut out = format!(
            "Normal ('{}') or not, on {} rows: AUC {}, precision {}, recall {}, F1 {}, false positives {} at {:.3}\n",
            self.normal,
            self.rows,
            share(b.auc),
            share(b.precision),
            share(b.recall),
            share(b.f1),
            share(b.fpr),
            b.threshold
        );
        let at: Vec<String> =
            b.recall_at_fpr.iter().rev().map(|(r, v)| format!("{} at {r}", share(*v))).collect();
        // Writing to a String does not fail.
        let _ = writeln!(out, "Recall by false-positive rate: {}", at.join(", "));
        let _ =
            writeln!(out, "Classes: macro F1 {}, accuracy {}", share(self.macro_f1), share(self.accuracy));
        let mut rows = vec![["class", "rows", "precision", "recall", "F1"].map(str::to_owned).to_vec()];
        let mut classes: Vec<(&String, &PerClass)> = self.per_class.iter().collect();
        classes.sort_by(|a, b| b.1.support.cmp(&a.1.support).then(a.0.cmp(b.0)));
        for (name, c) in classes {
            let name = if c.trained { name.clone() } else { format!("{name} (not in training)") };
            rows.push(vec![name, c.support.to_string(), share(c.precision), share(c.recall), share(c.f1)]);
        }
        out.push_str(&text::table(&rows));
        let u = &self.unknown;
        if u.new_rows > 0 {
            let _ = writeln!(
                out,
                "{} rows are of classes that training did not have; {} of them were called unknown.",
                u.new_rows, u.new_classes
            );
        }
        if u.known_classes > 0 {
            let _ = writeln!(out, "{} rows of known classes were called unknown.", u.known_classes);
        }
        out
    }
}
