//! Trees laid out for judging: eight bytes a node, one comparison of whole numbers a step, no branch to predict.
//!
//! Numbers are compared by keys: whole numbers in the same order, the key of an absent one (NaN) above all. A step goes right
//! if the key is above the node's, so that what is absent goes right; a node where it goes left looks at a second key, in
//! which numbers are in the opposite order, and has its children exchanged. Categories are looked up in a table of what goes
//! right, and a node about one has a key that no category is above. Nothing is above a leaf's key, and its left child is 0
//! ahead: walks stay where they arrived, and several go on side by side until the last has.

use super::{ABSENT_RIGHT, CATEGORICAL, Root, Trees};
use crate::bins::category;
use crate::matrix::Matrix;
use std::collections::BTreeMap;

/// Walks side by side: their loads overlap, and a step costs a fraction of its latency.
const LANES: usize = 8;
/// Steps without looking whether all have arrived.
const STEPS: u16 = 2;
/// Keys of rows that stay in the second cache while trees pass over them.
const BLOCK_KEYS: usize = 65_536;
/// Bits of a node above its key: feature, whether it is categorical, way to the left child, which the right one follows.
const FEATURE_BITS: u32 = 10;
const CATEGORY_BIT: u32 = 32 + FEATURE_BITS;
const AHEAD: u32 = CATEGORY_BIT + 1;
/// Keys of a row: two of each feature.
const MOST_KEYS: usize = 1 << FEATURE_BITS;
/// Nodes a tree may have.
const MOST_NODES: usize = 1 << (64 - AHEAD);
/// Bytes of the table of categories.
const MOST_TABLE: usize = 1 << 26;

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
    /// By node and category, then for what is absent: 1 if it goes right. Begins with zeros, as many as any feature has
    /// categories and one more.
    table: Vec<u8>,
    categorical: bool,
}

/// Whole numbers in the order of numbers; NaN above all.
#[inline]
fn key(v: f32) -> u32 {
    if v.is_nan() {
        return u32::MAX;
    }
    // 0 and -0 are the same number.
    let bits = (v + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Whole numbers in the opposite order; NaN above all again.
#[inline]
fn turned_key(v: f32) -> u32 {
    if v.is_nan() { u32::MAX } else { !key(v) }
}

/// Lays out trees.
struct Layout<'a> {
    trees: &'a Trees,
    paths: Paths,
    /// Where a set that was met before is in the table.
    known: BTreeMap<(u16, Vec<u8>), u32>,
}

impl Layout<'_> {
    /// Lays out a tree from its root; the two children of a node beside each other.
    fn add(&mut self, root: u32) -> Option<()> {
        let mut open = vec![(root, self.paths.nodes.len())];
        self.sprout(1);
        while let Some((old, own)) = open.pop() {
            let node = &self.trees.nodes[old as usize];
            if node.is_leaf() {
                self.paths.nodes[own] = u64::from(u32::MAX);
                self.paths.leaves[own] = node.extra;
                continue;
            }
            let absent_right = node.flags & ABSENT_RIGHT != 0;
            let feature = u64::from(node.feature);
            let (mut left, mut right) = (node.left, node.left + 1);
            let what = if node.flags & CATEGORICAL != 0 {
                let set = self.set(node.extra, node.feature, absent_right)?;
                u64::from(set) | feature << 32 | 1 << CATEGORY_BIT
            } else if absent_right {
                u64::from(key(node.threshold)) | feature << 32
            } else {
                (left, right) = (right, left);
                // Above the threshold is below it when turned: not above the key before it.
                let before = turned_key(node.threshold).saturating_sub(1);
                u64::from(before) | (feature + self.trees.features as u64) << 32
            };
            let ahead = self.paths.nodes.len() - own;
            if ahead >= MOST_NODES {
                return None;
            }
            self.paths.nodes[own] = what | (ahead as u64) << AHEAD;
            open.push((right, own + ahead + 1));
            open.push((left, own + ahead));
            self.sprout(2);
        }
        Some(())
    }

    fn sprout(&mut self, nodes: usize) {
        self.paths.nodes.resize(self.paths.nodes.len() + nodes, 0);
        self.paths.leaves.resize(self.paths.nodes.len(), 0);
    }

    /// The place of a set in the table.
    fn set(&mut self, set: u32, feature: u16, absent_right: bool) -> Option<u32> {
        let (begin, known) = self.trees.sets[set as usize];
        let goes_right = |category: u32| {
            let word = self.trees.words[begin as usize + category as usize / 64];
            if category < known { u8::from(word >> (category % 64) & 1 == 0) } else { u8::from(absent_right) }
        };
        let all = self.paths.categories[usize::from(feature)];
        let mut set: Vec<u8> = (0..all.min(known)).map(goes_right).collect();
        set.resize(all as usize + 1, u8::from(absent_right));
        let next = self.paths.table.len();
        let table = &mut self.paths.table;
        let place = *self.known.entry((feature, set)).or_insert_with_key(|(_, set)| {
            table.extend(set);
            next as u32
        });
        (table.len() <= MOST_TABLE).then_some(place)
    }
}

impl Paths {
    /// Lays out trees; `None` if they have more features, nodes or categories than fit.
    pub(super) fn new(trees: &Trees) -> Option<Self> {
        if trees.features * 2 > MOST_KEYS {
            return None;
        }
        let mut paths = Self { categories: vec![0; trees.features], ..Self::default() };
        for node in trees.nodes.iter().filter(|n| n.flags & CATEGORICAL != 0) {
            let known = &mut paths.categories[usize::from(node.feature)];
            *known = trees.sets[node.extra as usize].1.max(*known);
            paths.categorical = true;
        }
        let most = paths.categories.iter().max().map_or(0, |m| *m as usize);
        paths.table = vec![0; most + 1];
        let mut layout = Layout { trees, paths, known: BTreeMap::new() };
        for root in &trees.roots {
            let first = u32::try_from(layout.paths.nodes.len()).ok()?;
            layout.paths.roots.push((first, root.depth, root.output));
            layout.add(root.node)?;
        }
        Some(layout.paths)
    }

    /// Keys of a row: of the numbers, or categories as whole numbers; then of the numbers turned.
    fn prepare(&self, row: &[f32], keys: &mut [u32]) {
        let (plain, turned) = keys.split_at_mut(row.len());
        for ((value, categories), (plain, turned)) in
            row.iter().zip(&self.categories).zip(plain.iter_mut().zip(turned))
        {
            (*plain, *turned) = (key(*value), turned_key(*value));
            if *categories > 0 {
                *plain = match category(*value) {
                    Some(c) if c < *categories as usize => c as u32,
                    _ => *categories,
                };
            }
        }
    }

    /// Goes on from some places until all are at leaves, at most `depth` steps away. The keys for each place begin `stride`
    /// after those for the one before: 0 for one row and several trees.
    #[inline(always)]
    fn walk<const CATEGORIES: bool>(
        &self,
        at: [u32; LANES],
        keys: &[u32],
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
                open = self.step::<CATEGORIES>(&mut a, keys, 0)
                    | self.step::<CATEGORIES>(&mut b, keys, stride)
                    | self.step::<CATEGORIES>(&mut c, keys, stride * 2)
                    | self.step::<CATEGORIES>(&mut d, keys, stride * 3)
                    | self.step::<CATEGORIES>(&mut e, keys, stride * 4)
                    | self.step::<CATEGORIES>(&mut f, keys, stride * 5)
                    | self.step::<CATEGORIES>(&mut g, keys, stride * 6)
                    | self.step::<CATEGORIES>(&mut h, keys, stride * 7);
            }
            if open == 0 {
                break;
            }
        }
        [a, b, c, d, e, f, g, h]
    }

    /// Goes one step; 0 if it was at a leaf.
    #[inline(always)]
    fn step<const CATEGORIES: bool>(&self, at: &mut u32, keys: &[u32], row: usize) -> u32 {
        let node = self.nodes[*at as usize];
        let ahead = (node >> AHEAD) as u32;
        let value = keys[row + ((node >> 32) as usize & (MOST_KEYS - 1))];
        let mut right = u32::from(value > node as u32);
        if CATEGORIES {
            // Worked out for numbers too, as what a node is about can't be foreseen: the table begins with a 0.
            let place = (node as u32).wrapping_add(value) as usize;
            right |= u32::from(self.table[if node >> CATEGORY_BIT & 1 == 1 { place } else { 0 }]);
        }
        *at += ahead + right;
        ahead
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
        // As long as a node can name, so that no step has to look whether a key is there.
        let mut keys = [0; MOST_KEYS];
        self.prepare(row, &mut keys[..row.len() * 2]);
        if self.categorical {
            self.add_one::<true>(trees, &keys, scores);
        } else {
            self.add_one::<false>(trees, &keys, scores);
        }
    }

    fn add_one<const CATEGORIES: bool>(&self, trees: &Trees, keys: &[u32; MOST_KEYS], scores: &mut [f32]) {
        for roots in self.roots.chunks(LANES) {
            let mut at = [roots[0].0; LANES];
            let mut depth = 0;
            for (at, root) in at.iter_mut().zip(roots) {
                *at = root.0;
                depth = depth.max(root.1);
            }
            let at = self.walk::<CATEGORIES>(at, keys, 0, depth);
            for (at, root) in at.iter().zip(roots) {
                self.add_leaf(trees, root.2, *at, scores);
            }
        }
    }

    /// Adds the scores of many rows.
    pub(super) fn add_batch(&self, trees: &Trees, rows: &Matrix, scores: &mut [f32]) {
        let (width, outputs) = (rows.features() * 2, trees.outputs);
        let block = (BLOCK_KEYS / width).max(LANES);
        let mut keys = vec![0; block * width];
        for (rows, scores) in
            rows.values().chunks(block * rows.features()).zip(scores.chunks_mut(block * outputs))
        {
            for (row, keys) in rows.chunks(width / 2).zip(keys.chunks_mut(width)) {
                self.prepare(row, keys);
            }
            let keys = &keys[..rows.len() * 2];
            for root in &self.roots {
                if self.categorical {
                    self.add_block::<true>(trees, *root, keys, scores);
                } else {
                    self.add_block::<false>(trees, *root, keys, scores);
                }
            }
        }
    }

    fn add_block<const CATEGORIES: bool>(
        &self,
        trees: &Trees,
        (first, depth, output): (u32, u16, u16),
        keys: &[u32],
        scores: &mut [f32],
    ) {
        let width = trees.features * 2;
        for (keys, scores) in keys.chunks(LANES * width).zip(scores.chunks_mut(LANES * trees.outputs)) {
            // Too few rows for all lanes: one at a time.
            if keys.len() < LANES * width {
                for (keys, scores) in keys.chunks(width).zip(scores.chunks_mut(trees.outputs)) {
                    let at = self.walk::<CATEGORIES>([first; LANES], keys, 0, depth);
                    self.add_leaf(trees, output, at[0], scores);
                }
                continue;
            }
            let at = self.walk::<CATEGORIES>([first; LANES], keys, width, depth);
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
        let trees = Trees::new(MOST_KEYS / 2 + 1, 1);
        assert!(Paths::new(&trees).is_none());
        assert!(Paths::new(&Trees::new(MOST_KEYS / 2, 1)).is_some());
    }
}
