//! Trees laid out for judging: eight bytes a node, one comparison a step, no branch to predict.
//!
//! The left child follows its parent, so that a node only says how far ahead the right one is. A step goes right unless
//! `value <= threshold`; what is absent (NaN) therefore goes right. A node where it goes left looks at the value with its
//! sign turned and has its children exchanged. A leaf has a threshold that nothing is at most, and a right child 0 ahead:
//! walks stay where they arrived, and several go on side by side until the last has.

use super::{ABSENT_RIGHT, CATEGORICAL, Root, Trees};
use crate::bins::category;
use crate::matrix::Matrix;

/// Walks side by side: their loads overlap, and a step costs a fraction of its latency.
const LANES: usize = 8;
/// Steps without looking whether all have arrived.
const STEPS: u16 = 4;
/// Values of rows that stay in the second cache while trees pass over them.
const BLOCK_VALUES: usize = 65_536;
/// Bits of a node, above those of the threshold or set: feature, whether it is categorical, way to the right child.
const FEATURE_BITS: u32 = 10;
const AHEAD: u32 = 32 + FEATURE_BITS + 1;
/// Features there may be, as each has two values.
const MOST_FEATURES: usize = 1 << (FEATURE_BITS - 1);
/// Nodes a tree may have.
const MOST_NODES: usize = 1 << (64 - AHEAD);

/// Trees laid out for judging. Values of leaves stay where they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Paths {
    nodes: Vec<u64>,
    /// By node, for leaves: the place of the values.
    leaves: Vec<u32>,
    /// First node, depth and output of each tree.
    roots: Vec<(u32, u16, u16)>,
    /// Categories of each feature; 0 for numbers.
    categories: Vec<u32>,
    /// Bits of categories that go right, and one more for what is absent.
    words: Vec<u64>,
    categorical: bool,
}

/// A number below another one that is not NaN, as near as can be.
fn below(v: f32) -> f32 {
    v.next_down()
}

impl Paths {
    /// Lays out trees; `None` if they have more features than fit, or more nodes.
    pub(super) fn new(trees: &Trees) -> Option<Self> {
        if trees.features > MOST_FEATURES {
            return None;
        }
        let mut paths = Self { categories: vec![0; trees.features], words: vec![0], ..Self::default() };
        for node in trees.nodes.iter().filter(|n| n.flags & CATEGORICAL != 0) {
            let known = &mut paths.categories[usize::from(node.feature)];
            *known = trees.sets[node.extra as usize].1.max(*known);
            paths.categorical = true;
        }
        for root in &trees.roots {
            let first = paths.nodes.len();
            paths.roots.push((u32::try_from(first).ok()?, root.depth, root.output));
            paths.lay_out(trees, root.node);
            if paths.nodes.len() - first > MOST_NODES {
                return None;
            }
        }
        Some(paths)
    }

    /// Lays out a tree: parents before their left children before their right ones.
    fn lay_out(&mut self, trees: &Trees, root: u32) {
        // (node, the new place of the parent whose right child it is)
        let mut open = vec![(root, None)];
        while let Some((old, parent)) = open.pop() {
            let own = self.nodes.len();
            if let Some(parent) = parent {
                let parent: usize = parent;
                self.nodes[parent] |= ((own - parent) as u64) << AHEAD;
            }
            let node = &trees.nodes[old as usize];
            if node.is_leaf() {
                self.nodes.push(u64::from(f32::NAN.to_bits()));
                self.leaves.push(node.extra);
                continue;
            }
            self.leaves.push(0);
            let absent_right = node.flags & ABSENT_RIGHT != 0;
            let feature = u64::from(node.feature);
            let (mut left, mut right) = (node.left, node.left + 1);
            if node.flags & CATEGORICAL != 0 {
                let set = self.words.len() as u64;
                self.add_set(trees, node.extra, usize::from(node.feature), absent_right);
                self.nodes.push(set | feature << 32 | 1 << (32 + FEATURE_BITS));
            } else if absent_right {
                self.nodes.push(u64::from(node.threshold.to_bits()) | feature << 32);
            } else {
                // `value > threshold` with signs turned, and strictly.
                let threshold = below(-node.threshold);
                let turned = feature + trees.features as u64;
                self.nodes.push(u64::from(threshold.to_bits()) | turned << 32);
                (left, right) = (right, left);
            }
            open.push((right, Some(own)));
            open.push((left, None));
        }
    }

    fn add_set(&mut self, trees: &Trees, set: u32, feature: usize, absent_right: bool) {
        let (begin, known) = trees.sets[set as usize];
        let all = self.categories[feature] as usize;
        let first = self.words.len();
        self.words.resize(first + all / 64 + 1, 0);
        for category in 0..=all {
            let left = if category < known as usize {
                trees.words[begin as usize + category / 64] >> (category % 64) & 1 == 1
            } else {
                !absent_right
            };
            self.words[first + category / 64] |= u64::from(!left) << (category % 64);
        }
    }

    /// Values as nodes look at them: numbers as they are, categories as whole numbers, then numbers with signs turned.
    fn prepare(&self, row: &[f32], out: &mut [u32]) {
        let (plain, turned) = out.split_at_mut(row.len());
        for ((value, categories), (plain, turned)) in
            row.iter().zip(&self.categories).zip(plain.iter_mut().zip(turned))
        {
            (*plain, *turned) = (value.to_bits(), (-value).to_bits());
            if *categories > 0 {
                *plain = match category(*value) {
                    Some(c) if c < *categories as usize => c as u32,
                    _ => *categories,
                };
            }
        }
    }

    /// Goes on from some places until all are at leaves, at most `depth` steps away. The row of each place begins `stride`
    /// after the one before in `values`: 0 for one row and several trees.
    #[inline(always)]
    fn walk<const CATEGORIES: bool>(
        &self,
        at: [u32; LANES],
        values: &[u32],
        stride: usize,
        depth: u16,
    ) -> [u32; LANES] {
        // By name, so that each is kept in a register.
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = at;
        let mut left = depth;
        while left > 0 {
            let steps = left.min(STEPS);
            left -= steps;
            let mut open = 0;
            for _ in 0..steps {
                open = self.step::<CATEGORIES>(&mut a, values, 0)
                    | self.step::<CATEGORIES>(&mut b, values, stride)
                    | self.step::<CATEGORIES>(&mut c, values, stride * 2)
                    | self.step::<CATEGORIES>(&mut d, values, stride * 3)
                    | self.step::<CATEGORIES>(&mut e, values, stride * 4)
                    | self.step::<CATEGORIES>(&mut f, values, stride * 5)
                    | self.step::<CATEGORIES>(&mut g, values, stride * 6)
                    | self.step::<CATEGORIES>(&mut h, values, stride * 7);
            }
            if open == 0 {
                break;
            }
        }
        [a, b, c, d, e, f, g, h]
    }

    /// Goes one step; 0 if it was at a leaf.
    #[inline(always)]
    fn step<const CATEGORIES: bool>(&self, at: &mut u32, values: &[u32], row: usize) -> u32 {
        let node = self.nodes[*at as usize];
        let ahead = (node >> AHEAD) as u32;
        *at += if self.goes_right::<CATEGORIES>(node, &values[row..]) { ahead } else { 1 };
        ahead
    }

    #[inline(always)]
    fn goes_right<const CATEGORIES: bool>(&self, node: u64, row: &[u32]) -> bool {
        let value = row[(node >> 32) as usize & ((1 << FEATURE_BITS) - 1)];
        #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is not at most anything, and goes right")]
        let above = !(f32::from_bits(value) <= f32::from_bits(node as u32));
        if !CATEGORIES {
            return above;
        }
        // Either way is worked out, as which one it is can't be foreseen.
        let categorical = node >> (32 + FEATURE_BITS) & 1;
        let word =
            (node as u32 as usize + (value as usize >> 6)) & 0_usize.wrapping_sub(categorical as usize);
        let outside = self.words[word] >> (value & 63) & 1;
        (categorical & outside) | (!categorical & u64::from(above)) & 1 == 1
    }

    #[inline]
    fn add_leaf(&self, trees: &Trees, output: u16, at: u32, scores: &mut [f32]) {
        let place = self.leaves[at as usize] as usize;
        if output == Root::ALL {
            for (score, value) in scores.iter_mut().zip(&trees.values[place..place + trees.outputs]) {
                *score += value;
            }
        } else {
            scores[usize::from(output)] += trees.values[place];
        }
    }

    /// Adds the scores of one row.
    pub(super) fn add(&self, trees: &Trees, row: &[f32], scores: &mut [f32]) {
        let mut prepared = vec![0; row.len() * 2];
        self.prepare(row, &mut prepared);
        if self.categorical {
            self.add_prepared::<true>(trees, &prepared, scores);
        } else {
            self.add_prepared::<false>(trees, &prepared, scores);
        }
    }

    fn add_prepared<const CATEGORIES: bool>(&self, trees: &Trees, row: &[u32], scores: &mut [f32]) {
        for roots in self.roots.chunks(LANES) {
            let mut at = [roots[0].0; LANES];
            let mut depth = 0;
            for (at, root) in at.iter_mut().zip(roots) {
                *at = root.0;
                depth = depth.max(root.1);
            }
            let at = self.walk::<CATEGORIES>(at, row, 0, depth);
            for (at, root) in at.iter().zip(roots) {
                self.add_leaf(trees, root.2, *at, scores);
            }
        }
    }

    /// Adds the scores of many rows.
    pub(super) fn add_batch(&self, trees: &Trees, rows: &Matrix, scores: &mut [f32]) {
        let (width, outputs) = (rows.features() * 2, trees.outputs);
        let block = (BLOCK_VALUES / width).max(LANES);
        let mut prepared = vec![0; block * width];
        for (rows, scores) in
            rows.values().chunks(block * rows.features()).zip(scores.chunks_mut(block * outputs))
        {
            for (row, out) in rows.chunks(width / 2).zip(prepared.chunks_mut(width)) {
                self.prepare(row, out);
            }
            let prepared = &prepared[..rows.len() * 2];
            for root in &self.roots {
                if self.categorical {
                    self.add_block::<true>(trees, *root, prepared, scores);
                } else {
                    self.add_block::<false>(trees, *root, prepared, scores);
                }
            }
        }
    }

    fn add_block<const CATEGORIES: bool>(
        &self,
        trees: &Trees,
        (first, depth, output): (u32, u16, u16),
        rows: &[u32],
        scores: &mut [f32],
    ) {
        let width = trees.features * 2;
        for (rows, scores) in rows.chunks(LANES * width).zip(scores.chunks_mut(LANES * trees.outputs)) {
            // Too few rows for all lanes: one at a time.
            if rows.len() < LANES * width {
                for (row, scores) in rows.chunks(width).zip(scores.chunks_mut(trees.outputs)) {
                    let at = self.walk::<CATEGORIES>([first; LANES], row, 0, depth);
                    self.add_leaf(trees, output, at[0], scores);
                }
                continue;
            }
            let at = self.walk::<CATEGORIES>([first; LANES], rows, width, depth);
            for (at, scores) in at.iter().zip(scores.chunks_mut(trees.outputs)) {
                self.add_leaf(trees, output, *at, scores);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Inline;
    use crate::random::Random;
    use crate::tree::boosting::Samples;
    use crate::tree::forest::{Forest, Options};
    use crate::{Feature, Kind};

    /// Rows with absent numbers, unknown categories and extremes.
    fn rows(n: usize) -> Matrix {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 70.0, -1.0, 1e30];
        let mut random = Random::new(4, 0);
        let values = (0..n * 4).map(|i| match (random.below(6), i % 4) {
            (0, _) => odd[random.below(odd.len())],
            (_, 0) => random.below(70) as f32,
            (_, 1) => random.below(3) as f32,
            _ => random.normal() as f32,
        });
        Matrix::new(4, values.collect()).unwrap()
    }

    #[test]
    fn paths_lead_where_the_trees_do() {
        let rows = rows(803);
        let mut random = Random::new(5, 0);
        let classes: Vec<u32> = rows
            .iter()
            .map(|r| u32::from(r[2] > 0.0) + u32::from(r[0] % 3.0 > 1.0 && random.unit() < 0.8))
            .collect();
        let samples = Samples { rows: &rows, classes: &classes, weights: None };
        let names = |n: usize| Kind::Categorical((0..n).map(|i| i.to_string()).collect());
        for kinds in [[names(70), names(3)], [Kind::Numeric, Kind::Numeric]] {
            let [a, b] = kinds;
            let kinds = [a, b, Kind::Numeric, Kind::Numeric];
            let schema = kinds.map(|kind| Feature { name: "f".into(), kind });
            let options = Options { trees: 21, ..Options::default() };
            let forest = Forest::train(&samples, &schema, 3, &options, &Inline).unwrap();
            let trees = &forest.trees;
            assert!(trees.paths.is_some());
            let mut plain = vec![0.0; 803 * 3];
            trees.add_some(0..trees.len(), &rows, &mut plain);
            let mut batch = vec![0.0; 803 * 3];
            trees.add_batch(&rows, &mut batch);
            assert_eq!(plain, batch);
            for (row, plain) in rows.iter().zip(plain.chunks(3)) {
                let mut one = [0.0; 3];
                trees.add(row, &mut one);
                assert_eq!(one, plain, "{row:?}");
            }
        }
    }

    #[test]
    fn more_features_than_fit_are_judged_by_the_trees_themselves() {
        let trees = Trees::new(MOST_FEATURES + 1, 1);
        assert!(Paths::new(&trees).is_none());
        assert!(Paths::new(&Trees::new(MOST_FEATURES, 1)).is_some());
    }
}
