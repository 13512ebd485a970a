//! The two-stage classifier: "is this normal?" first, and of the rest "which family?", or none that is known.
//!
//! Both stages are trees whose leaves add up to log odds, whatever grew them ([`Kind`]). So one walk judges, and exact
//! contributions of features explain it.

mod train;

use crate::codec::{CodecError, Pack, ensure};
use crate::matrix::{Feature, Matrix};
use crate::pool::{self, Pool};
use crate::tree::boosting::{Boosting, logistic};
use serde::{Deserialize, Serialize};
pub use train::{Options, Progress, Step, Training};

/// Rows judged by one job of a batch.
const PART: usize = 4096;

/// What grows the trees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Random forests, checked by the rows that trees did not draw: quick to train, large, slow to judge.
    Forest,
    /// Boosted trees, checked by one row in seven, which they do not learn from: quick to train, small, quick to judge.
    Boosting,
    /// Boosted trees, more and larger, that learn from all rows, checked by models that each left out a quarter: the most
    /// exact, about eight times as slow to train as [`Self::Boosting`] and two to three times as slow to judge.
    #[default]
    Hybrid,
}

/// What a row is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Normal, with a probability of at least [`Hybrid::normal_at`].
    Normal,
    /// Of this class: its place in [`Hybrid::names`].
    Known(u32),
    /// Not normal, and like no class that training saw.
    Unknown,
}

/// A row judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement<'a> {
    /// Probability that the row is normal.
    pub p_normal: f32,
    /// Log odds that it is not: says the same as `p_normal`, but tells apart what is next to certain. Rank by this.
    pub score: f32,
    /// Probability of each class, in the order of [`Hybrid::names`]; they add up to 1. Where stage 2 was not asked, the
    /// classes share what is not normal as they did in training.
    pub probabilities: &'a [f32],
    /// The class to decide for if one must be: normal below [`Hybrid::threshold`], else the family that makes the mean F1 of
    /// all classes highest, which need not be the most probable one where classes differ much in size.
    pub class: u32,
    /// Normal, known or unknown.
    pub verdict: Verdict,
}

/// Rows judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgements {
    classes: usize,
    scores: Vec<f32>,
    probabilities: Vec<f32>,
    decisions: Vec<(u32, Verdict)>,
}

impl Judgements {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// One row's; `None` beyond the end.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Judgement<'_>> {
        let (class, verdict) = *self.decisions.get(row)?;
        let probabilities = self.probabilities.get(row * self.classes..(row + 1) * self.classes)?;
        let score = *self.scores.get(row)?;
        Some(Judgement { p_normal: logistic(-score), score, probabilities, class, verdict })
    }

    /// All, in the order of the rows.
    pub fn iter(&self) -> impl Iterator<Item = Judgement<'_>> {
        (0..self.len()).filter_map(|row| self.get(row))
    }
}

/// Memory that judging uses again and again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    families: Vec<f32>,
    probabilities: Vec<f32>,
    /// Of many rows: scores of stage 1, the rows that stage 2 is asked about, and what it says.
    scores: Vec<f32>,
    asked: Vec<f32>,
    said: Vec<f32>,
}

/// What one feature had to do with a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Its place in [`Hybrid::schema`].
    pub feature: usize,
    /// Its value in the row; of a categorical feature the place of the category.
    pub value: f32,
    /// What it usually is in normal rows: the median, or the most frequent category. NaN if mostly absent.
    pub usual: f32,
    /// What it added to the log odds, in natural units: positive speaks for the answer asked about.
    pub contribution: f32,
}

/// The two-stage classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hybrid {
    kind: Kind,
    schema: Vec<Feature>,
    names: Vec<String>,
    normal: u32,
    /// Log odds of not being normal.
    gate: Boosting,
    /// Scores of the families; none where there is only one.
    families: Option<Boosting>,
    /// The class of each family.
    classes: Vec<u32>,
    /// Share of each family in training.
    shares: Vec<f32>,
    /// By which the probability of each family is multiplied before one is decided for.
    factors: Vec<f32>,
    /// What is usual in normal rows, by feature.
    usual: Vec<f32>,
    /// Probability of being normal from which on a row is: 0.85 unless asked otherwise.
    pub normal_at: f32,
    /// Probability of not being normal from which on [`Judgement::class`] is a family.
    pub threshold: f32,
    /// Probability that the likeliest family must have among the families; below it none is known.
    pub known_at: f32,
}

impl Hybrid {
    /// What grew it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The features, in the order of a row's values.
    #[must_use]
    pub fn schema(&self) -> &[Feature] {
        &self.schema
    }

    /// Names of the classes.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The normal class: its place in [`Self::names`].
    #[must_use]
    pub const fn normal(&self) -> u32 {
        self.normal
    }

    /// Number of trees of both stages.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.gate.trees().len() + self.families.as_ref().map_or(0, |f| f.trees().len())
    }

    /// Number of nodes of both stages.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.gate.trees().nodes() + self.families.as_ref().map_or(0, |f| f.trees().nodes())
    }

    /// Whether the second stage has something to say at this score of the first.
    fn goes_on(&self, score: f32) -> bool {
        let p_normal = logistic(-score);
        p_normal < self.normal_at || 1.0 - p_normal >= self.threshold
    }

    /// Judges one row. A row of another length is judged by how frequent the classes were.
    pub fn judge<'s>(&self, row: &[f32], scratch: &'s mut Scratch) -> Judgement<'s> {
        let mut score = [0.0];
        self.gate.score(row, &mut score);
        let score = score[0];
        scratch.families.clear();
        if self.goes_on(score) {
            match &self.families {
                Some(families) => {
                    scratch.families.resize(self.classes.len(), 0.0);
                    families.predict(row, &mut scratch.families);
                }
                None => scratch.families.extend(&self.shares),
            }
        }
        scratch.probabilities.clear();
        scratch.probabilities.resize(self.names.len(), 0.0);
        let (class, verdict) = self.decide(score, &scratch.families, &mut scratch.probabilities);
        Judgement { p_normal: logistic(-score), score, probabilities: &scratch.probabilities, class, verdict }
    }

    /// Judges many rows.
    #[must_use]
    pub fn judge_batch(&self, rows: &Matrix, pool: &dyn Pool) -> Judgements {
        let classes = self.names.len();
        let fits = rows.features() == self.schema.len();
        let parts: Vec<&[f32]> = rows.values().chunks(PART * rows.features().max(1)).collect();
        let parts = pool::map(pool, parts.len(), |part| {
            let mut own = Judgements { classes, ..Judgements::default() };
            let mut scratch = Scratch::default();
            let mut keep = |judged: Judgement<'_>| {
                own.scores.push(judged.score);
                own.probabilities.extend(judged.probabilities);
                own.decisions.push((judged.class, judged.verdict));
            };
            if fits {
                self.judge_rows(parts[part], &mut scratch, |_, judged| keep(judged));
            } else {
                parts[part].chunks(rows.features()).for_each(|row| keep(self.judge(row, &mut scratch)));
            }
            own
        });
        let mut all = Judgements { classes, ..Judgements::default() };
        for part in parts {
            all.scores.extend(part.scores);
            all.probabilities.extend(part.probabilities);
            all.decisions.extend(part.decisions);
        }
        all
    }

    /// Judges rows that stand one after the other, which costs a fraction of judging each alone, with the same outcome. Calls
    /// `each` with the place of each row, in order. Values after the last whole row are left out.
    pub fn judge_rows(
        &self,
        rows: &[f32],
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, Judgement<'_>),
    ) {
        let features = self.schema.len().max(1);
        let Scratch { families: own, probabilities, scores, asked, said } = scratch;
        let rows = &rows[..rows.len() - rows.len() % features];
        self.gate.score_rows(rows, scores);
        asked.clear();
        for (row, score) in rows.chunks_exact(features).zip(scores.iter()) {
            if self.goes_on(*score) {
                asked.extend(row);
            }
        }
        let width = self.families.as_ref().map_or(1, |families| {
            families.score_rows(asked, said);
            families.trees().outputs()
        });
        let mut said = said.chunks_exact(width);
        for (place, score) in scores.iter().enumerate() {
            own.clear();
            if self.goes_on(*score) {
                match &self.families {
                    Some(families) => {
                        own.resize(self.classes.len(), 0.0);
                        if let Some(scores) = said.next() {
                            families.finish(scores, own);
                        }
                    }
                    None => own.extend(&self.shares),
                }
            }
            probabilities.clear();
            probabilities.resize(self.names.len(), 0.0);
            let (class, verdict) = self.decide(*score, own, probabilities);
            each(
                place,
                Judgement { p_normal: logistic(-score), score: *score, probabilities, class, verdict },
            );
        }
    }

    /// Puts both stages together. No families: stage 2 was not asked.
    fn decide(&self, score: f32, families: &[f32], out: &mut [f32]) -> (u32, Verdict) {
        let p_normal = logistic(-score);
        let rest = logistic(score);
        let shares = if families.is_empty() { &self.shares } else { families };
        for (class, share) in self.classes.iter().zip(shares) {
            out[*class as usize] = rest * share;
        }
        out[self.normal as usize] = p_normal;
        let best = |value: &dyn Fn(usize) -> f32| {
            (0..families.len()).reduce(|a, b| if value(b) > value(a) { b } else { a })
        };
        let decided = best(&|i| families[i] * self.factors[i]);
        let class = match decided {
            Some(family) if rest >= self.threshold => self.classes[family],
            _ => self.normal,
        };
        let verdict = match best(&|i| families[i]) {
            _ if p_normal >= self.normal_at => Verdict::Normal,
            Some(likeliest) if families[likeliest] < self.known_at => Verdict::Unknown,
            _ => decided.map_or(Verdict::Unknown, |family| Verdict::Known(self.classes[family])),
        };
        (class, verdict)
    }

    /// Why a row is taken for normal or not: what each feature added to the log odds of not being normal, largest first.
    /// Features that did nothing are left out.
    #[must_use]
    pub fn explain(&self, row: &[f32]) -> Vec<Reason> {
        self.reasons(&self.gate, row, 0)
    }

    /// Why a row is taken for a class: what each feature added to the class's score over the other families', largest
    /// first. As [`Self::explain`] where there is one family only, and for the normal class with the sign turned.
    #[must_use]
    pub fn explain_class(&self, row: &[f32], class: u32) -> Vec<Reason> {
        let family = self.classes.iter().position(|c| *c == class);
        let (mut reasons, flip) = match (&self.families, family) {
            (Some(families), Some(family)) => {
                let two = self.classes.len() == 2;
                (self.reasons(families, row, if two { 0 } else { family }), two && family == 0)
            }
            _ => (self.explain(row), class == self.normal),
        };
        if flip {
            reasons.iter_mut().for_each(|r| r.contribution = -r.contribution);
        }
        reasons
    }

    fn reasons(&self, model: &Boosting, row: &[f32], output: usize) -> Vec<Reason> {
        let mut contributions = vec![0.0; self.schema.len()];
        model.trees().contributions(row, output, &mut contributions);
        let mut all: Vec<Reason> = (contributions.iter().zip(row).zip(&self.usual).enumerate())
            .filter(|(_, ((c, _), _))| **c != 0.0)
            .map(|(feature, ((c, value), usual))| Reason {
                feature,
                value: *value,
                usual: *usual,
                contribution: *c as f32,
            })
            .collect();
        all.sort_by(|a, b| {
            b.contribution.abs().total_cmp(&a.contribution.abs()).then(a.feature.cmp(&b.feature))
        });
        all
    }

    /// How much each feature has to do with being normal or not: the mean size of its contribution over some rows, in log
    /// odds. Takes about a millisecond a row.
    #[must_use]
    pub fn importance(&self, rows: &Matrix, pool: &dyn Pool) -> Vec<f64> {
        let each = pool::map(pool, rows.rows(), |r| {
            let mut out = vec![0.0; self.schema.len()];
            self.gate.trees().contributions(rows.row(r), 0, &mut out);
            out
        });
        let mut mean = vec![0.0; self.schema.len()];
        for row in &each {
            mean.iter_mut().zip(row).for_each(|(m, c)| *m += c.abs() / each.len() as f64);
        }
        mean
    }
}

impl Pack for Hybrid {
    const KIND: [u8; 4] = *b"hybr";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        self.gate.check()?;
        let (features, families) = (self.schema.len(), self.classes.len());
        ensure(self.gate.classes() == 2 && self.gate.trees().features() == features, "the first stage")?;
        if let Some(second) = &self.families {
            second.check()?;
            ensure(
                second.classes() == families && second.trees().features() == features,
                "the second stage",
            )?;
        }
        ensure(families > 0 && families + 1 == self.names.len(), "the number of classes")?;
        ensure((self.normal as usize) < self.names.len(), "the normal class")?;
        let others = (0..self.names.len() as u32).filter(|c| *c != self.normal);
        ensure(self.classes.iter().copied().eq(others), "the classes of the second stage")?;
        ensure(self.shares.len() == families && self.factors.len() == families, "the families")?;
        ensure(self.usual.len() == features, "the usual values")?;
        let share = |p: &f32| (0.0..=1.0).contains(p);
        ensure(self.shares.iter().all(share), "the share of a family")?;
        ensure(self.factors.iter().all(|f| f.is_finite() && *f >= 0.0), "the factor of a family")?;
        ensure([self.normal_at, self.threshold, self.known_at].iter().all(share), "a threshold")
    }
}
