//! The temporal view: a variational autoencoder of sequences of windows (Kingma and Welling, "Auto-Encoding Variational
//! Bayes", 2014). A sequence that can't be put together again from a few numbers is strange.
//!
//! ```text
//! x → tanh layer → mean, log variance → z → tanh layer → x again
//! ```
//!
//! Loss of a sequence: half the squared error plus β times the divergence of z from the standard normal; β rises from 0
//! during the first half of training, so that z is used before it is made smooth (Bowman et al., 2016). Optimiser: Adam
//! (Kingma and Ba, 2015). A score is the mean squared error of the sequence rebuilt from the mean of z: no chance is in it.

use super::{Scaling, sum_pairs};
use crate::codec::{CodecError, Pack, ensure};
use crate::pool::{self, Pool};
use crate::random::Random;
use crate::{LearnError, Matrix};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Scaled values are kept within this many deviations.
const LIMIT: f32 = 8.0;
/// Log variances are kept within this.
const MOST_LOG_VARIANCE: f32 = 8.0;
/// Most units of a layer of a model that is read.
const MOST_UNITS: usize = 1 << 16;
/// Parts of a batch whose gradients are summed apart. Fixed, so that the sums do not depend on the number of threads.
const PARTS: usize = 4;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Units of each tanh layer, at least 1.
    pub hidden: usize,
    /// Numbers a sequence is told by, at least 1.
    pub latent: usize,
    /// Passes over the rows, at least 1.
    pub epochs: usize,
    /// Rows of a step, at least 1.
    pub batch: usize,
    /// Adam's step size.
    pub rate: f32,
    /// Weight of the divergence at the end.
    pub beta: f32,
    /// Seed of weights, order and noise.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { hidden: 64, latent: 8, epochs: 40, batch: 64, rate: 2e-3, beta: 0.5, seed: 0 }
    }
}

/// A layer's place among all weights: a row of weights for each output, then the biases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Layer {
    at: usize,
    inputs: usize,
    outputs: usize,
}

impl Layer {
    const fn weights(&self) -> Range<usize> {
        self.at..self.at + self.inputs * self.outputs
    }

    const fn biases(&self) -> Range<usize> {
        self.at + self.inputs * self.outputs..self.end()
    }

    const fn end(&self) -> usize {
        self.at + (self.inputs + 1) * self.outputs
    }

    fn forward(&self, all: &[f32], x: &[f32], out: &mut Vec<f32>) {
        out.clear();
        let rows = all[self.weights()].chunks_exact(self.inputs);
        out.extend(rows.zip(&all[self.biases()]).map(|(row, bias)| sum_pairs(row, x, |a, b| a * b) + bias));
    }

    /// Adds to the gradients what an error at the outputs means, and to `back` what it means for the inputs.
    fn backward(
        &self,
        all: &[f32],
        x: &[f32],
        error: &[f32],
        gradients: &mut [f32],
        back: Option<&mut [f32]>,
    ) {
        for (row, e) in gradients[self.weights()].chunks_exact_mut(self.inputs).zip(error) {
            axpy(row, *e, x);
        }
        axpy(&mut gradients[self.biases()], 1.0, error);
        if let Some(back) = back {
            for (row, e) in all[self.weights()].chunks_exact(self.inputs).zip(error) {
                axpy(back, *e, row);
            }
        }
    }
}

fn axpy(to: &mut [f32], by: f32, from: &[f32]) {
    for (t, f) in to.iter_mut().zip(from) {
        *t += by * f;
    }
}

/// A trained autoencoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vae {
    scaling: Scaling,
    net: Net,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Net {
    encode: Layer,
    mean: Layer,
    log_variance: Layer,
    decode: Layer,
    rebuild: Layer,
    weights: Vec<f32>,
}

/// Values of one pass.
#[derive(Clone, Debug, Default)]
struct Pass {
    h: Vec<f32>,
    mean: Vec<f32>,
    log_variance: Vec<f32>,
    z: Vec<f32>,
    g: Vec<f32>,
    y: Vec<f32>,
    back: Vec<f32>,
    back_z: Vec<f32>,
    error: Vec<f32>,
}

impl Net {
    fn new(inputs: usize, options: &Options) -> Self {
        let [encode, mean, log_variance, decode, rebuild] =
            Self::layers(inputs, options.hidden, options.latent);
        let mut weights = vec![0.0; rebuild.end()];
        let mut random = Random::new(options.seed, 0);
        for l in [encode, mean, log_variance, decode, rebuild] {
            // Glorot and Bengio (2010).
            let most = (6.0 / (l.inputs + l.outputs) as f64).sqrt();
            weights[l.weights()].iter_mut().for_each(|w| *w = ((random.unit() * 2.0 - 1.0) * most) as f32);
        }
        Self { encode, mean, log_variance, decode, rebuild, weights }
    }

    /// Encoder, mean, log variance, decoder, output; one after the other.
    const fn layers(inputs: usize, hidden: usize, latent: usize) -> [Layer; 5] {
        let encode = Layer { at: 0, inputs, outputs: hidden };
        let mean = Layer { at: encode.end(), inputs: hidden, outputs: latent };
        let log_variance = Layer { at: mean.end(), ..mean };
        let decode = Layer { at: log_variance.end(), inputs: latent, outputs: hidden };
        let rebuild = Layer { at: decode.end(), inputs: hidden, outputs: inputs };
        [encode, mean, log_variance, decode, rebuild]
    }

    /// Rebuilds `x` from its mean, or from a draw around it where there is `noise`.
    fn forward(&self, x: &[f32], noise: Option<&[f32]>, p: &mut Pass) {
        let all = &self.weights[..];
        self.encode.forward(all, x, &mut p.h);
        p.h.iter_mut().for_each(|v| *v = v.tanh());
        self.mean.forward(all, &p.h, &mut p.mean);
        p.z.clone_from(&p.mean);
        if let Some(noise) = noise {
            self.log_variance.forward(all, &p.h, &mut p.log_variance);
            for ((z, l), e) in p.z.iter_mut().zip(&p.log_variance).zip(noise) {
                *z += (l.clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE) / 2.0).exp() * e;
            }
        }
        self.decode.forward(all, &p.z, &mut p.g);
        p.g.iter_mut().for_each(|v| *v = v.tanh());
        self.rebuild.forward(all, &p.g, &mut p.y);
    }

    /// The loss of one row; adds its gradients.
    fn backward(&self, x: &[f32], noise: &[f32], beta: f32, gradients: &mut [f32], p: &mut Pass) -> f64 {
        self.forward(x, Some(noise), p);
        let all = &self.weights[..];
        let zeros = |v: &mut Vec<f32>, n: usize| {
            v.clear();
            v.resize(n, 0.0);
        };
        p.error.clear();
        p.error.extend(p.y.iter().zip(x).map(|(y, x)| y - x));
        let mut loss: f64 = p.error.iter().map(|e| 0.5 * f64::from(e * e)).sum();
        zeros(&mut p.back, p.g.len());
        self.rebuild.backward(all, &p.g, &p.error, gradients, Some(&mut p.back));
        p.back.iter_mut().zip(&p.g).for_each(|(b, g)| *b *= 1.0 - g * g);
        zeros(&mut p.back_z, p.z.len());
        self.decode.backward(all, &p.z, &p.back, gradients, Some(&mut p.back_z));
        zeros(&mut p.back, p.h.len());
        p.error.clear();
        for ((dz, m), (l, e)) in p.back_z.iter_mut().zip(&p.mean).zip(p.log_variance.iter().zip(noise)) {
            let kept = l.clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE);
            let variance = kept.exp();
            loss += f64::from(beta * 0.5 * (m * m + variance - 1.0 - kept));
            let free = if kept == *l { 1.0 } else { 0.0 };
            p.error.push(free * (*dz * e * 0.5 * variance.sqrt() + beta * 0.5 * (variance - 1.0)));
            *dz += beta * m;
        }
        self.mean.backward(all, &p.h, &p.back_z, gradients, Some(&mut p.back));
        self.log_variance.backward(all, &p.h, &p.error, gradients, Some(&mut p.back));
        p.back.iter_mut().zip(&p.h).for_each(|(b, h)| *b *= 1.0 - h * h);
        self.encode.backward(all, x, &p.back, gradients, None);
        loss
    }
}

impl Pack for Vae {
    const KIND: [u8; 4] = *b"vaut";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        self.scaling.check()?;
        let n = &self.net;
        let (inputs, hidden, latent) = (self.scaling.len(), n.encode.outputs, n.mean.outputs);
        let most = MOST_UNITS;
        ensure(hidden > 0 && latent > 0 && inputs <= most && hidden <= most && latent <= most, "a layer")?;
        // Sizes decide where everything is.
        let layers = Net::layers(inputs, hidden, latent);
        ensure([n.encode, n.mean, n.log_variance, n.decode, n.rebuild] == layers, "a layer's place")?;
        ensure(n.weights.len() == n.rebuild.end(), "the number of weights")?;
        ensure(n.weights.iter().all(|w| w.is_finite()), "a weight")
    }
}

/// Adam's moments.
struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl Adam {
    fn step(&mut self, weights: &mut [f32], gradients: &[f32], rate: f32) {
        const DECAY: (f32, f32) = (0.9, 0.999);
        self.steps += 1;
        let rate = rate * (1.0 - DECAY.1.powi(self.steps)).sqrt() / (1.0 - DECAY.0.powi(self.steps));
        for ((w, g), (m, v)) in
            weights.iter_mut().zip(gradients).zip(self.first.iter_mut().zip(&mut self.second))
        {
            *m = DECAY.0 * *m + (1.0 - DECAY.0) * g;
            *v = DECAY.1 * *v + (1.0 - DECAY.1) * g * g;
            *w -= rate * *m / (v.sqrt() + 1e-8);
        }
    }
}

impl Vae {
    /// Learns from sequences of normal windows, one a row.
    ///
    /// # Errors
    /// No rows, or options out of range.
    pub fn fit(rows: &Matrix, options: &Options, pool: &dyn Pool) -> Result<Self, LearnError> {
        if [options.hidden, options.latent, options.epochs, options.batch].contains(&0) {
            return Err(LearnError::Option {
                option: "hidden, latent, epochs and batch",
                expected: "at least 1",
            });
        }
        if !(options.rate > 0.0 && options.rate < 1.0 && options.beta >= 0.0 && options.beta.is_finite()) {
            return Err(LearnError::Option {
                option: "rate and beta",
                expected: "above 0, and the rate below 1",
            });
        }
        let scaling = Scaling::fit(rows)?;
        let mut scaled = Vec::with_capacity(rows.values().len());
        let mut row_out = Vec::new();
        for row in rows.iter() {
            scaling.apply(row, LIMIT, &mut row_out);
            scaled.extend(&row_out);
        }
        let mut net = Net::new(rows.features(), options);
        let mut adam =
            Adam { first: vec![0.0; net.weights.len()], second: vec![0.0; net.weights.len()], steps: 0 };
        let mut order: Vec<usize> = (0..rows.rows()).collect();
        let mut parts: Vec<(Vec<f32>, Pass)> =
            (0..PARTS).map(|_| (vec![0.0; net.weights.len()], Pass::default())).collect();
        for epoch in 0..options.epochs {
            Random::new(options.seed, 1 + epoch as u64).shuffle(&mut order);
            let rise = (epoch as f32 + 1.0) / (options.epochs as f32 / 2.0).max(1.0);
            let beta = options.beta * rise.min(1.0);
            for (step, batch) in order.chunks(options.batch).enumerate() {
                let share = batch.len().div_ceil(PARTS);
                pool::each_mut(pool, &mut parts, |i, (gradients, pass)| {
                    gradients.fill(0.0);
                    let stream = ((epoch as u64) << 32 | step as u64) << 3 | i as u64;
                    let mut random = Random::new(!options.seed, stream);
                    for row in batch.iter().skip(i * share).take(share) {
                        let x = &scaled[row * rows.features()..][..rows.features()];
                        let noise: Vec<f32> = (0..options.latent).map(|_| random.normal() as f32).collect();
                        net.backward(x, &noise, beta, gradients, pass);
                    }
                });
                if let [(first, _), rest @ ..] = &mut parts[..] {
                    rest.iter().for_each(|(g, _)| axpy(first, 1.0, g));
                    let by = 1.0 / batch.len() as f32;
                    first.iter_mut().for_each(|g| *g *= by);
                    // The last tenth is taken in small steps.
                    let late = epoch * 10 >= options.epochs * 9;
                    adam.step(&mut net.weights, first, if late { options.rate / 10.0 } else { options.rate });
                }
            }
        }
        Ok(Self { scaling, net })
    }

    /// Values of a row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.scaling.len()
    }

    /// How strange a sequence is: mean squared error, in typical deviations. 0 for rows of another width.
    #[must_use]
    pub fn score(&self, row: &[f32]) -> f32 {
        let (x, y) = self.rebuild(row);
        x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum::<f32>() / x.len().max(1) as f32
    }

    /// What each value was expected to be: (feature, expected value, share of the squared error), largest share first.
    #[must_use]
    pub fn surprises(&self, row: &[f32]) -> Vec<(usize, f32, f32)> {
        let (x, y) = self.rebuild(row);
        let whole: f32 = x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum();
        let mut all: Vec<(usize, f32, f32)> = x
            .iter()
            .zip(&y)
            .zip(self.scaling.features())
            .enumerate()
            .map(|(f, ((x, y), scale))| {
                (f, scale.value(*y), (x - y) * (x - y) / whole.max(f32::MIN_POSITIVE))
            })
            .collect();
        all.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        all
    }

    fn rebuild(&self, row: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut x = Vec::with_capacity(row.len());
        if row.len() != self.scaling.len() {
            return (x, Vec::new());
        }
        self.scaling.apply(row, LIMIT, &mut x);
        let mut pass = Pass::default();
        self.net.forward(&x, None, &mut pass);
        (x, pass.y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Ranking;
    use crate::pool::Inline;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let options = Options { hidden: 5, latent: 2, ..Options::default() };
        let mut net = Net::new(4, &options);
        let mut random = Random::new(9, 0);
        net.weights.iter_mut().for_each(|w| *w += (random.normal() * 0.3) as f32);
        let (x, noise, beta) = ([0.5, -1.0, 0.3, 1.2], [0.7, -0.4], 0.6);
        let mut gradients = vec![0.0; net.weights.len()];
        let mut pass = Pass::default();
        net.backward(&x, &noise, beta, &mut gradients, &mut pass);
        let mut unused = vec![0.0; net.weights.len()];
        for (i, found) in gradients.iter().enumerate() {
            let mut at = |by: f32| {
                let mut moved = net.clone();
                moved.weights[i] += by;
                moved.backward(&x, &noise, beta, &mut unused, &mut pass)
            };
            let step = 5e-3;
            let expected = (at(step) - at(-step)) / (2.0 * f64::from(step));
            let found = f64::from(*found);
            assert!(
                (found - expected).abs() < 2e-3 + 1e-2 * expected.abs(),
                "{i}: {found} is not {expected}"
            );
        }
    }

    /// Sequences of 6 windows that rise and fall together, or, when odd, each for itself.
    fn waves(n: usize, odd: bool, seed: u64) -> Matrix {
        let mut random = Random::new(seed, 0);
        let mut values = Vec::new();
        for _ in 0..n {
            let phase = random.unit() * std::f64::consts::TAU;
            for t in 0..6 {
                let phase = if odd { random.unit() * std::f64::consts::TAU } else { phase };
                let wave = (phase + f64::from(t) * 0.7).sin();
                values.extend([5.0 + 2.0 * wave, 1.0 - wave].map(|v| (v + random.normal() * 0.05) as f32));
            }
        }
        Matrix::new(12, values).unwrap()
    }

    #[test]
    fn sequences_that_do_not_hang_together_are_strange_though_each_value_is_usual() {
        let options =
            Options { hidden: 24, latent: 3, epochs: 30, batch: 32, beta: 0.05, ..Options::default() };
        let model = Vae::fit(&waves(1500, false, 1), &options, &Inline).unwrap();
        let (normal, odd) = (waves(300, false, 2), waves(300, true, 3));
        let scores = normal.iter().map(|r| (r, false)).chain(odd.iter().map(|r| (r, true)));
        let auc = Ranking::new(scores.map(|(r, odd)| (model.score(r), odd))).auc();
        assert!(auc > 0.97, "{auc}");
        let mut row = normal.row(0).to_vec();
        row[4] = 30.0;
        let top = model.surprises(&row);
        assert_eq!(top[0].0, 4);
        assert!(top[0].1 < 12.0, "{top:?}");
    }

    #[test]
    fn training_repeats_and_bad_options_are_refused() {
        let options = Options { hidden: 4, latent: 1, epochs: 2, ..Options::default() };
        let rows = waves(70, false, 4);
        assert!(Vae::fit(&rows, &options, &Inline).unwrap() == Vae::fit(&rows, &options, &Inline).unwrap());
        for bad in [Options { hidden: 0, ..options }, Options { rate: f32::NAN, ..options }] {
            assert!(matches!(Vae::fit(&rows, &bad, &Inline), Err(LearnError::Option { .. })));
        }
        let model = Vae::fit(&rows, &options, &Inline).unwrap();
        assert_eq!(model.score(&[1.0]), 0.0);
        assert!(model.score(&[f32::NAN; 12]).is_finite() && model.score(&[f32::INFINITY; 12]).is_finite());
    }
}
