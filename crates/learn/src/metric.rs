//! Figures of merit of scores and of decisions.

/// Of scores for two classes, higher for the positive one. Undefined figures are NaN: those of one class only.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// Thresholds, descending, with the counts of (true positives, false positives) at or above each.
    steps: Vec<(f32, u64, u64)>,
    positives: u64,
    negatives: u64,
}

/// Counts of decisions about two classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Positives found.
    pub true_positives: u64,
    /// Negatives taken for positives.
    pub false_positives: u64,
    /// Positives missed.
    pub false_negatives: u64,
    /// Negatives left alone.
    pub true_negatives: u64,
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

impl Counts {
    /// Share of the found that are positive; NaN if none was found.
    #[must_use]
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of the positives that were found; NaN without positives.
    #[must_use]
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the negatives taken for positives; NaN without negatives.
    #[must_use]
    pub fn false_positive_rate(&self) -> f64 {
        ratio(self.false_positives, self.false_positives + self.true_negatives)
    }

    /// Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN); NaN if there is nothing to find and nothing found.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let twice = 2 * self.true_positives;
        ratio(twice, twice + self.false_positives + self.false_negatives)
    }
}

impl Ranking {
    /// Ranks (score, is positive). Scores that are no numbers rank below all.
    pub fn new(scores: impl IntoIterator<Item = (f32, bool)>) -> Self {
        let mut all: Vec<(f32, bool)> = scores
            .into_iter()
            .map(|(score, positive)| (if score.is_nan() { f32::NEG_INFINITY } else { score }, positive))
            .collect();
        all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut steps: Vec<(f32, u64, u64)> = Vec::new();
        let (mut tp, mut fp) = (0, 0);
        for (score, positive) in all {
            tp += u64::from(positive);
            fp += u64::from(!positive);
            match steps.last_mut() {
                Some(last) if last.0 == score => (last.1, last.2) = (tp, fp),
                _ => steps.push((score, tp, fp)),
            }
        }
        Self { steps, positives: tp, negatives: fp }
    }

    /// Points of the ROC curve: (threshold, false-positive rate, recall), from the highest threshold down.
    pub fn roc(&self) -> impl Iterator<Item = (f32, f64, f64)> {
        self.steps.iter().map(|(t, tp, fp)| (*t, ratio(*fp, self.negatives), ratio(*tp, self.positives)))
    }

    /// Points of the precision–recall curve: (threshold, recall, precision), from the highest threshold down.
    pub fn precision_recall(&self) -> impl Iterator<Item = (f32, f64, f64)> {
        self.steps.iter().map(|(t, tp, fp)| (*t, ratio(*tp, self.positives), ratio(*tp, tp + fp)))
    }

    /// Area under the ROC curve: how often a positive scores above a negative, ties counting half.
    #[must_use]
    pub fn auc(&self) -> f64 {
        let (mut area, mut tp_before, mut fp_before) = (0.0, 0, 0);
        for (_, tp, fp) in &self.steps {
            area += (fp - fp_before) as f64 * (tp + tp_before) as f64 / 2.0;
            (tp_before, fp_before) = (*tp, *fp);
        }
        area / (self.positives as f64 * self.negatives as f64)
    }

    /// Average precision: the sum of precision over the steps of recall.
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        let (mut sum, mut before) = (0.0, 0);
        for (_, tp, fp) in &self.steps {
            sum += ratio(tp - before, self.positives) * ratio(*tp, tp + fp);
            before = *tp;
        }
        sum
    }

    /// Best recall with at most this share of false positives, and its threshold (`score >= threshold` is positive). No
    /// interpolation: 0 at an infinite threshold if even the highest score costs more.
    #[must_use]
    pub fn recall_at_fpr(&self, rate: f64) -> (f64, f32) {
        let allowed = self.steps.iter().take_while(|(_, _, fp)| ratio(*fp, self.negatives) <= rate);
        allowed.last().map_or((0.0, f32::INFINITY), |(t, tp, _)| (ratio(*tp, self.positives), *t))
    }

    /// The lowest threshold with at least this precision from there up, if any has it.
    #[must_use]
    pub fn threshold_for_precision(&self, precision: f64) -> Option<f32> {
        self.steps.iter().rev().find(|(_, tp, fp)| ratio(*tp, tp + fp) >= precision).map(|(t, ..)| *t)
    }

    /// The threshold with the highest F1, and that F1.
    #[must_use]
    pub fn best_f1(&self) -> (f32, f64) {
        self.steps.iter().fold((f32::INFINITY, 0.0), |best, (t, ..)| {
            let f1 = self.at(*t).f1();
            if f1 > best.1 { (*t, f1) } else { best }
        })
    }

    /// What deciding by a threshold gives.
    #[must_use]
    pub fn at(&self, threshold: f32) -> Counts {
        let above = self.steps.partition_point(|(t, ..)| *t >= threshold);
        let (tp, fp) = above.checked_sub(1).map_or((0, 0), |i| (self.steps[i].1, self.steps[i].2));
        Counts {
            true_positives: tp,
            false_positives: fp,
            false_negatives: self.positives - tp,
            true_negatives: self.negatives - fp,
        }
    }
}

/// Counts of (truth, decision) for several classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Nothing counted for classes `0..classes`.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts a decision. Classes out of range are not counted.
    pub fn add(&mut self, truth: usize, decided: usize) {
        if truth < self.classes && decided < self.classes {
            self.counts[truth * self.classes + decided] += 1;
        }
    }

    /// How often `truth` was decided to be `decided`.
    #[must_use]
    pub fn get(&self, truth: usize, decided: usize) -> u64 {
        self.counts.get(truth * self.classes + decided).copied().unwrap_or(0)
    }

    /// One class against the rest.
    #[must_use]
    pub fn of(&self, class: usize) -> Counts {
        let row: u64 = (0..self.classes).map(|c| self.get(class, c)).sum();
        let column: u64 = (0..self.classes).map(|c| self.get(c, class)).sum();
        let hit = self.get(class, class);
        let all: u64 = self.counts.iter().sum();
        Counts {
            true_positives: hit,
            false_positives: column - hit,
            false_negatives: row - hit,
            true_negatives: all + hit - row - column,
        }
    }

    /// Mean F1 of the classes that occur, in truth or decision.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let scores: Vec<f64> = (0..self.classes).map(|c| self.of(c).f1()).filter(|f| !f.is_nan()).collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    }

    /// Share of decisions that are right.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes).map(|c| self.get(c, c)).sum();
        ratio(right, self.counts.iter().sum())
    }
}

/// The class with the largest value; the first of equals.
#[must_use]
pub fn largest(values: &[f32]) -> usize {
    (0..values.len()).reduce(|a, b| if values[b] > values[a] { b } else { a }).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn a_ranking_with_a_tie_has_the_textbook_figures() {
        // Scores 0.9+, 0.8-, 0.8+, 0.4-, 0.2-.
        let r = Ranking::new([(0.8, false), (0.9, true), (0.4, false), (0.8, true), (f32::NAN, false)]);
        // Of six pairs five are in order and one is tied.
        close(r.auc(), 5.5 / 6.0);
        close(r.average_precision(), 0.5 * 1.0 + 0.5 * 2.0 / 3.0);
        assert_eq!(r.recall_at_fpr(0.0), (0.5, 0.9));
        assert_eq!(r.recall_at_fpr(0.4), (1.0, 0.8));
        assert_eq!(r.threshold_for_precision(0.7), Some(0.9));
        assert_eq!(r.threshold_for_precision(0.6), Some(0.8));
        let (threshold, f1) = r.best_f1();
        assert_eq!(threshold, 0.8);
        close(f1, 0.8);
        let at = r.at(0.5);
        assert_eq!(
            (at.true_positives, at.false_positives, at.false_negatives, at.true_negatives),
            (2, 1, 0, 2)
        );
        assert_eq!(r.at(0.95), Counts { false_negatives: 2, true_negatives: 3, ..Counts::default() });
    }

    #[test]
    fn figures_of_one_class_are_undefined() {
        let r = Ranking::new([(0.1, true), (0.2, true)]);
        assert!(
            r.auc().is_nan() && Counts::default().precision().is_nan() && Counts::default().f1().is_nan()
        );
    }

    #[test]
    fn a_confusion_has_figures_by_class() {
        let mut c = Confusion::new(4);
        for (truth, decided) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (2, 1)] {
            c.add(truth, decided);
        }
        c.add(9, 0);
        close(c.of(0).f1(), 2.0 / 3.0);
        close(c.of(1).precision(), 1.0 / 3.0);
        close(c.of(2).recall(), 0.0);
        close(c.macro_f1(), (2.0 / 3.0 + 2.0 / 5.0 + 0.0) / 3.0);
        close(c.accuracy(), 0.5);
        assert_eq!(largest(&[0.1, 0.7, 0.7]), 1);
    }
}
