//! The baseline: isolation forest (Liu, Ting and Zhou, 2008). What is cut off from the rest by few random cuts is strange.

use crate::codec::{CodecError, Pack, ensure};
use crate::random::Random;
use crate::{LearnError, Matrix};
use serde::{Deserialize, Serialize};

/// Trees.
const TREES: usize = 100;
/// Rows each tree sees: the paper's figure; more makes no difference.
const SAMPLE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    /// Rows below it go left; infinite in a leaf.
    cut: f32,
    feature: u16,
    /// Left child, the right one follows; in a leaf the rows that ended there.
    left: u32,
}

/// An isolation forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isolation {
    features: usize,
    nodes: Vec<Node>,
    roots: Vec<u32>,
    usual_path: f32,
}

/// Mean path of an unsuccessful search in a binary tree of `n` keys.
fn path(n: usize) -> f32 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let m = (n - 1) as f64;
            (2.0 * (m.ln() + 0.577_215_664_9) - 2.0 * m / n as f64) as f32
        }
    }
}

impl Isolation {
    /// Learns from rows; absent values count as 0.
    ///
    /// # Errors
    /// No rows.
    pub fn fit(rows: &Matrix, seed: u64) -> Result<Self, LearnError> {
        if rows.rows() == 0 {
            return Err(LearnError::Empty);
        }
        let n = rows.rows().min(SAMPLE);
        let mut forest =
            Self { features: rows.features(), nodes: Vec::new(), roots: Vec::new(), usual_path: path(n) };
        let most_depth = (n as f64).log2().ceil() as u32;
        let mut all: Vec<usize> = (0..rows.rows()).collect();
        for tree in 0..TREES {
            let mut random = Random::new(seed, tree as u64);
            random.draw_first(&mut all, n);
            let root = forest.nodes.len() as u32;
            forest.roots.push(root);
            forest.nodes.push(Node { cut: f32::INFINITY, feature: 0, left: 0 });
            forest.grow(root, &mut all[..n].to_vec(), rows, most_depth, &mut random);
        }
        Ok(forest)
    }

    fn grow(&mut self, node: u32, items: &mut [usize], rows: &Matrix, depth: u32, random: &mut Random) {
        self.nodes[node as usize].left = items.len() as u32;
        if depth == 0 || items.len() < 2 {
            return;
        }
        let value = |r: usize, f: usize| present(rows.row(r)[f]);
        // A feature that varies here, if one is found soon.
        for _ in 0..self.features.max(4) {
            let f = random.below(self.features);
            let (low, high) = items
                .iter()
                .map(|r| value(*r, f))
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            let cut = low + (high - low) * random.unit() as f32;
            if !(cut > low && cut <= high && cut.is_finite()) {
                continue;
            }
            let middle = front(items, |r| value(*r, f) < cut);
            let left = self.nodes.len() as u32;
            self.nodes[node as usize] = Node { cut, feature: f as u16, left };
            self.nodes.extend([Node { cut: f32::INFINITY, feature: 0, left: 0 }; 2]);
            let (a, b) = items.split_at_mut(middle);
            self.grow(left, a, rows, depth - 1, random);
            self.grow(left + 1, b, rows, depth - 1, random);
            return;
        }
    }

    /// Values of a row.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// How strange a row is: 2^(-mean path / usual path), in (0, 1]; about 0.5 for the ordinary. 0 for rows of another width.
    #[must_use]
    pub fn score(&self, row: &[f32]) -> f32 {
        if row.len() != self.features {
            return 0.0;
        }
        let mut sum = 0.0;
        for root in &self.roots {
            let (mut at, mut depth) = (*root, 0.0);
            loop {
                let node = &self.nodes[at as usize];
                if node.cut.is_infinite() {
                    sum += depth + path(node.left as usize);
                    break;
                }
                at = node.left + u32::from(present(row[usize::from(node.feature)]) >= node.cut);
                depth += 1.0;
            }
        }
        let mean = sum / self.roots.len() as f32;
        if self.usual_path > 0.0 { (-mean / self.usual_path).exp2() } else { 0.5 }
    }
}

impl Pack for Isolation {
    const KIND: [u8; 4] = *b"isol";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        let n = self.nodes.len();
        ensure(
            !self.roots.is_empty() && self.roots.iter().all(|r| (*r as usize) < n),
            "the place of a tree",
        )?;
        ensure(self.usual_path.is_finite(), "the usual path")?;
        for (i, node) in self.nodes.iter().enumerate() {
            if node.cut.is_infinite() {
                continue;
            }
            let left = node.left as usize;
            ensure(!node.cut.is_nan() && usize::from(node.feature) < self.features, "the cut of a node")?;
            // Children come later than their parent: every walk ends.
            ensure(left > i && left < n - 1, "the place of a node's children")?;
        }
        Ok(())
    }
}

fn present(v: f32) -> f32 {
    if v.is_nan() { 0.0 } else { v }
}

/// Brings the items that fit to the front; returns how many they are.
fn front(items: &mut [usize], fits: impl Fn(&usize) -> bool) -> usize {
    let mut n = 0;
    for i in 0..items.len() {
        if fits(&items[i]) {
            items.swap(i, n);
            n += 1;
        }
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Ranking;

    #[test]
    fn outliers_score_above_the_crowd() {
        let mut random = Random::new(1, 0);
        let mut draw = |shift: f32| -> Vec<f32> { (0..4).map(|_| random.normal() as f32 + shift).collect() };
        let rows = Matrix::new(4, (0..2000).flat_map(|_| draw(0.0)).collect()).unwrap();
        let forest = Isolation::fit(&rows, 7).unwrap();
        let r = Ranking::new((0..500).map(|i| {
            let odd = i % 5 == 0;
            (forest.score(&draw(if odd { 3.0 } else { 0.0 })), odd)
        }));
        assert!(r.auc() > 0.98, "{}", r.auc());
        assert!(Isolation::fit(&rows, 7).unwrap() == forest);
        assert_eq!(forest.score(&[0.0]), 0.0);
    }

    #[test]
    fn rows_that_are_all_the_same_are_all_ordinary() {
        let rows = Matrix::new(2, vec![1.0; 40]).unwrap();
        let forest = Isolation::fit(&rows, 0).unwrap();
        assert!(forest.score(&[1.0, 1.0]) <= 0.6);
        assert!(Isolation::fit(&Matrix::new(2, Vec::new()).unwrap(), 0).is_err());
    }
}
