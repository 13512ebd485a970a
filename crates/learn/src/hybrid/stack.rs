//! Weighs models against each other on rows that none of them learnt from (stacking: Wolpert, 1992): one weight a model,
//! the same for all scores, by logistic regression.

use crate::tree::boosting::softmax;

/// Steps of Newton's method at most; it takes about six.
const STEPS: usize = 50;
/// Pull towards 0, in rows: keeps weights finite where a model is never wrong.
const RIDGE: f64 = 0.5;

/// Scores of some rows by several models.
pub(super) struct Held<'a> {
    /// By model: scores of all rows, `outputs` of each row.
    pub(super) scores: Vec<&'a [f32]>,
    /// Scores of a row: 1 where there are two classes.
    pub(super) outputs: usize,
    /// Class of each row.
    pub(super) classes: &'a [u32],
    /// Weight of each row.
    pub(super) weights: &'a [f32],
}

/// How much each model counts, and the offset (two classes only).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stack {
    pub(super) weights: Vec<f64>,
    pub(super) offset: f64,
}

impl Held<'_> {
    fn rows(&self) -> usize {
        self.classes.len()
    }

    /// Score of one output of a row with some weights.
    fn score(&self, row: usize, output: usize, beta: &[f64]) -> f64 {
        let at = row * self.outputs + output;
        let sum: f64 = self.scores.iter().zip(beta).map(|(s, b)| b * f64::from(s[at])).sum();
        sum + beta.get(self.scores.len()).copied().unwrap_or(0.0)
    }

    /// Probabilities of a row, for two classes that of the second alone.
    fn probabilities(&self, row: usize, beta: &[f64], out: &mut [f32]) {
        if self.outputs == 1 {
            out[0] = (1.0 / (1.0 + (-self.score(row, 0, beta)).exp())) as f32;
        } else {
            (0..self.outputs).for_each(|o| out[o] = self.score(row, o, beta) as f32);
            softmax(out);
        }
    }

    fn loss(&self, beta: &[f64], prior: &[f64]) -> f64 {
        let mut p = vec![0.0; self.outputs];
        let mut sum: f64 = beta.iter().zip(prior).map(|(b, m)| RIDGE * (b - m) * (b - m) / 2.0).sum();
        for row in 0..self.rows() {
            self.probabilities(row, beta, &mut p);
            let class = self.classes[row] as usize;
            let own = if self.outputs > 1 {
                p[class]
            } else if class == 1 {
                p[0]
            } else {
                1.0 - p[0]
            };
            sum -= f64::from(self.weights[row]) * f64::from(own).max(1e-12).ln();
        }
        sum
    }

    /// The weights under which what happened was likeliest, none of them negative.
    pub(super) fn fit(&self) -> Stack {
        let models = self.scores.len();
        let size = models + usize::from(self.outputs == 1);
        // Equal shares to begin with.
        let mut prior = vec![1.0 / models as f64; models];
        prior.resize(size, 0.0);
        let mut beta = prior.clone();
        let mut free = vec![true; size];
        loop {
            self.newton(&mut beta, &prior, &free);
            // A model that would count against itself is left out.
            let Some(worst) =
                (0..models).filter(|m| beta[*m] < 0.0).reduce(|a, b| if beta[b] < beta[a] { b } else { a })
            else {
                break;
            };
            free[worst] = false;
            beta[worst] = 0.0;
        }
        let offset = beta.get(models).copied().unwrap_or(0.0);
        beta.truncate(models);
        Stack { weights: beta, offset }
    }

    fn newton(&self, beta: &mut [f64], prior: &[f64], free: &[bool]) {
        let size = beta.len();
        let mut now = self.loss(beta, prior);
        let mut p = vec![0.0; self.outputs];
        for _ in 0..STEPS {
            let mut gradient: Vec<f64> = beta.iter().zip(prior).map(|(b, m)| RIDGE * (b - m)).collect();
            let mut hessian = vec![0.0; size * size];
            (0..size).for_each(|i| hessian[i * size + i] = RIDGE);
            let input = |row: usize, output: usize, i: usize| {
                self.scores.get(i).map_or(1.0, |s| f64::from(s[row * self.outputs + output]))
            };
            for row in 0..self.rows() {
                self.probabilities(row, beta, &mut p);
                let (class, w) = (self.classes[row] as usize, f64::from(self.weights[row]));
                let mut mean = vec![0.0; size];
                for (o, p) in p.iter().enumerate() {
                    let p = f64::from(*p);
                    let is = if self.outputs == 1 { class == 1 } else { class == o };
                    for i in 0..size {
                        let x = input(row, o, i);
                        gradient[i] += w * (p - f64::from(u8::from(is))) * x;
                        mean[i] += p * x;
                        for j in 0..size {
                            hessian[i * size + j] += w * p * x * input(row, o, j);
                        }
                    }
                }
                for i in 0..size {
                    for j in 0..size {
                        hessian[i * size + j] -= w * mean[i] * mean[j];
                    }
                }
            }
            for i in (0..size).filter(|i| !free[*i]) {
                gradient[i] = 0.0;
                for j in 0..size {
                    (hessian[i * size + j], hessian[j * size + i]) = (0.0, 0.0);
                }
                hessian[i * size + i] = 1.0;
            }
            let step = solve(hessian, gradient);
            let mut by = 1.0;
            let found = loop {
                let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b - by * s).collect();
                let loss = self.loss(&next, prior);
                if loss < now {
                    break Some((next, loss));
                }
                by /= 2.0;
                if by < 1e-6 {
                    break None;
                }
            };
            let Some((next, loss)) = found else { break };
            let done = now - loss < 1e-7 * now.abs();
            beta.copy_from_slice(&next);
            now = loss;
            if done {
                break;
            }
        }
    }
}

/// Solves a small symmetric system by elimination. A pivot of nothing solves to nothing.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        let pivot = a[i * n + i];
        if pivot.abs() < 1e-12 {
            continue;
        }
        for row in 0..n {
            if row == i {
                continue;
            }
            let by = a[row * n + i] / pivot;
            for column in 0..n {
                a[row * n + column] -= by * a[i * n + column];
            }
            b[row] -= by * b[i];
        }
    }
    (0..n).map(|i| if a[i * n + i].abs() < 1e-12 { 0.0 } else { b[i] / a[i * n + i] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_model_that_knows_outweighs_one_that_guesses() {
        let mut random = Random::new(1, 0);
        let (mut good, mut bad, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..4000 {
            let score = 2.0 * random.normal();
            classes.push(u32::from(random.unit() < 1.0 / (1.0 + (-(0.5 * score - 1.0)).exp())));
            good.push(score as f32);
            bad.push(random.normal() as f32);
        }
        let weights = vec![1.0; 4000];
        let held = Held { scores: vec![&good, &bad], outputs: 1, classes: &classes, weights: &weights };
        let stack = held.fit();
        assert!((stack.weights[0] - 0.5).abs() < 0.08 && stack.weights[1] < 0.1, "{stack:?}");
        assert!((stack.offset + 1.0).abs() < 0.15, "{stack:?}");
    }

    #[test]
    fn scores_of_many_classes_are_brought_to_their_size() {
        let mut random = Random::new(2, 0);
        let (mut scores, mut classes) = (Vec::new(), Vec::new());
        for _ in 0..3000 {
            let z: Vec<f32> = (0..3).map(|_| random.normal() as f32).collect();
            let mut p: Vec<f32> = z.iter().map(|z| 2.0 * z).collect();
            softmax(&mut p);
            let draw = random.unit() as f32;
            classes.push(u32::from(draw > p[0]) + u32::from(draw > p[0] + p[1]));
            scores.extend(z);
        }
        let weights = vec![1.0; 3000];
        let against: Vec<f32> = scores.iter().map(|s| -s).collect();
        let held = Held { scores: vec![&scores, &against], outputs: 3, classes: &classes, weights: &weights };
        let stack = held.fit();
        assert!(stack.weights[1] >= 0.0);
        assert!((stack.weights[0] - stack.weights[1] - 2.0).abs() < 0.2, "{stack:?}");
    }

    #[test]
    fn a_model_that_is_never_wrong_has_a_finite_weight() {
        let scores: Vec<f32> = (0..100).map(|i| i as f32 - 49.5).collect();
        let classes: Vec<u32> = (0..100).map(|i| u32::from(i >= 50)).collect();
        let weights = vec![1.0; 100];
        let held = Held { scores: vec![&scores], outputs: 1, classes: &classes, weights: &weights };
        let stack = held.fit();
        assert!(stack.weights[0] > 0.1 && stack.weights[0] < 100.0, "{stack:?}");
    }
}
