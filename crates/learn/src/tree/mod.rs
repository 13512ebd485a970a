//! Decision trees: one array of nodes for every kind of ensemble, two growers.
//!
//! - [`forest`]: random forest (Breiman, "Random Forests", 2001).
//! - [`boosting`]: gradient boosting on histograms (Friedman, "Greedy Function Approximation", 2001; Ke et al.,
//!   "LightGBM", 2017).
//! - [`shap`]: what each feature contributed to a score.

pub mod boosting;
pub mod forest;
mod histogram;
mod leafwise;
mod pack;
pub mod shap;
mod split;
mod walk;

use crate::bins::{Bins, category};
use crate::matrix::Matrix;
use serde::{Deserialize, Serialize};

/// Most splits on a path: what recursion over trees costs of a stack is bounded by it.
pub const MOST_DEPTH: u16 = 256;

/// The node is a leaf.
const LEAF: u16 = 1;
/// Its feature is categorical.
const CATEGORICAL: u16 = 2;
/// Absent values go right.
const ABSENT_RIGHT: u16 = 4;
/// Fewer rows than this go down several trees at once one by one, rather than down one tree side by side.
const FEW_ROWS: usize = 4;

/// A place where a path divides or ends.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(16))]
pub(crate) struct Node {
    /// Present numbers above it go right; infinite in leaves and categorical nodes, so that none does.
    threshold: f32,
    /// The left child; the right one follows it. A leaf names itself, so that a walk may go on over it.
    left: u32,
    feature: u16,
    flags: u16,
    /// In a leaf the place of its values, in a categorical node that of its set.
    extra: u32,
}

impl Node {
    pub(crate) const fn is_leaf(&self) -> bool {
        self.flags & LEAF != 0
    }
}

/// Where a node divides rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Split {
    pub(crate) feature: usize,
    pub(crate) test: Test,
    pub(crate) absent_right: bool,
}

/// What goes left, in bins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// Bins up to this one.
    UpTo(u8),
    /// Bins whose bits are set.
    OneOf([u64; 4]),
}

impl Split {
    /// Whether rows with this code go left.
    #[inline]
    pub(crate) fn left(&self, code: u8, absent: u8) -> bool {
        if code == absent {
            return !self.absent_right;
        }
        match &self.test {
            Test::UpTo(bin) => code <= *bin,
            Test::OneOf(set) => set[usize::from(code) / 64] >> (code % 64) & 1 == 1,
        }
    }
}

/// A tree's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    node: u32,
    /// The output its leaves add to; [`Root::ALL`] where a leaf has a value for each.
    output: u16,
    depth: u16,
}

impl Root {
    pub(crate) const ALL: u16 = u16::MAX;
}

/// Trees whose leaves add up to scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "pack::Wire", try_from = "pack::Wire")]
pub struct Trees {
    features: usize,
    outputs: usize,
    nodes: Vec<Node>,
    /// Weight of the training rows that reached a node.
    cover: Vec<f32>,
    roots: Vec<Root>,
    values: Vec<f32>,
    /// Bits of categories that go left: where each set begins and how many categories it is about.
    sets: Vec<(u32, u32)>,
    words: Vec<u64>,
    /// The same laid out for judging, once grown.
    paths: Option<walk::Paths>,
}

impl Trees {
    pub(crate) fn new(features: usize, outputs: usize) -> Self {
        Self { features, outputs, ..Self::default() }
    }

    /// Number of trees.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there are no trees.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Number of nodes of all trees, leaves included.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Values of a row.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// Scores of a row.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Adds the scores of one row to `scores`, which has [`Self::outputs`] values. A row of another length scores nothing.
    pub fn add(&self, row: &[f32], scores: &mut [f32]) {
        if row.len() != self.features {
            return;
        }
        match &self.paths {
            Some(paths) => paths.add(self, row, scores),
            None => (0..self.roots.len()).for_each(|tree| self.add_one(tree, row, scores)),
        }
    }

    /// Adds the scores of many rows, [`Self::outputs`] values each. Trees of another width than the matrix score nothing.
    pub fn add_batch(&self, rows: &Matrix, scores: &mut [f32]) {
        if rows.features() == self.features {
            self.add_rows(rows.values(), scores);
        }
    }

    /// As [`Self::add_batch`], of whole rows one after the other.
    pub(crate) fn add_rows(&self, rows: &[f32], scores: &mut [f32]) {
        let few = rows.len() < self.features * FEW_ROWS;
        match self.paths.as_ref().filter(|_| !few) {
            Some(paths) => paths.add_batch(self, rows, scores),
            None => (rows.chunks_exact(self.features).zip(scores.chunks_mut(self.outputs)))
                .for_each(|(row, scores)| self.add(row, scores)),
        }
    }

    /// As [`Self::add_batch`], of some of the trees, in the order they were grown.
    pub(crate) fn add_some(&self, trees: std::ops::Range<usize>, rows: &Matrix, scores: &mut [f32]) {
        if rows.features() != self.features {
            return;
        }
        for tree in trees {
            for (row, scores) in rows.iter().zip(scores.chunks_mut(self.outputs)) {
                self.add_one(tree, row, scores);
            }
        }
    }

    /// Lays the trees out for judging, which is several times faster then. Trees beyond its limits are judged as they are.
    pub(crate) fn lay_out(&mut self) {
        self.paths = walk::Paths::new(self);
    }

    /// Adds what one tree says of a row.
    pub(crate) fn add_one(&self, tree: usize, row: &[f32], scores: &mut [f32]) {
        let root = self.roots[tree];
        self.add_leaf(root, self.leaf(root, row), scores);
    }

    /// The leaf a row reaches.
    fn leaf(&self, root: Root, row: &[f32]) -> u32 {
        let mut at = root.node;
        while !self.nodes[at as usize].is_leaf() {
            let node = &self.nodes[at as usize];
            at = node.left + u32::from(self.goes_right(node, row));
        }
        at
    }

    #[inline]
    fn goes_right(&self, node: &Node, row: &[f32]) -> bool {
        let value = row[usize::from(node.feature)];
        if node.flags & CATEGORICAL != 0 {
            return self.is_outside(node, value);
        }
        (value > node.threshold) | ((node.flags & ABSENT_RIGHT != 0) & value.is_nan())
    }

    fn is_outside(&self, node: &Node, value: f32) -> bool {
        let (begin, categories) = self.sets[node.extra as usize];
        let Some(category) = category(value).filter(|c| *c < categories as usize) else {
            return node.flags & ABSENT_RIGHT != 0;
        };
        self.words[begin as usize + category / 64] >> (category % 64) & 1 == 0
    }

    #[inline]
    fn add_leaf(&self, root: Root, leaf: u32, scores: &mut [f32]) {
        let at = self.nodes[leaf as usize].extra as usize;
        if root.output == Root::ALL {
            for (score, value) in scores.iter_mut().zip(&self.values[at..at + self.outputs]) {
                *score += value;
            }
        } else {
            scores[usize::from(root.output)] += self.values[at];
        }
    }

    /// Puts another ensemble's trees behind these.
    pub(crate) fn append(&mut self, other: &Self) {
        self.paths = None;
        let (nodes, values) = (self.nodes.len() as u32, self.values.len() as u32);
        let (sets, words) = (self.sets.len() as u32, self.words.len() as u32);
        self.nodes.extend(other.nodes.iter().map(|n| Node {
            left: n.left + nodes,
            extra: n.extra
                + match n.flags & (LEAF | CATEGORICAL) {
                    LEAF => values,
                    CATEGORICAL => sets,
                    _ => 0,
                },
            ..*n
        }));
        self.cover.extend(&other.cover);
        self.roots.extend(other.roots.iter().map(|r| Root { node: r.node + nodes, ..*r }));
        self.values.extend(&other.values);
        self.sets.extend(other.sets.iter().map(|(begin, n)| (begin + words, *n)));
        self.words.extend(&other.words);
    }

    /// Leaves out all but the first trees.
    pub(crate) fn truncate(&mut self, trees: usize) {
        if let Some(first) = self.roots.get(trees) {
            self.paths = None;
            self.nodes.truncate(first.node as usize);
            self.cover.truncate(first.node as usize);
            let leaves = self.nodes.iter().filter(|n| n.is_leaf());
            let wide = self.roots.first().is_some_and(|r| r.output == Root::ALL);
            let value = leaves.map(|n| n.extra as usize + if wide { self.outputs } else { 1 }).max();
            self.values.truncate(value.unwrap_or(0));
            let sets = self.nodes.iter().filter(|n| n.flags & CATEGORICAL != 0).map(|n| n.extra as usize + 1);
            self.sets.truncate(sets.max().unwrap_or(0));
            self.words
                .truncate(self.sets.last().map_or(0, |(at, n)| *at as usize + (*n as usize).div_ceil(64)));
            self.roots.truncate(trees);
        }
    }

    /// Multiplies all values of leaves.
    pub(crate) fn scale(&mut self, by: f32) {
        self.values.iter_mut().for_each(|v| *v *= by);
        if self.paths.is_some() {
            self.lay_out();
        }
    }
}

/// One tree while it grows.
#[derive(Debug)]
pub(crate) struct Sapling {
    trees: Trees,
    output: u16,
    depths: Vec<u16>,
}

impl Sapling {
    /// A tree that is one node so far.
    pub(crate) fn new(features: usize, outputs: usize, output: u16) -> Self {
        let mut tree = Self { trees: Trees::new(features, outputs), output, depths: Vec::new() };
        tree.sprout(0);
        tree
    }

    fn sprout(&mut self, depth: u16) {
        let own = self.trees.nodes.len() as u32;
        let node = Node { threshold: f32::INFINITY, left: own, feature: 0, flags: LEAF, extra: 0 };
        self.trees.nodes.push(node);
        self.trees.cover.push(0.0);
        self.depths.push(depth);
    }

    pub(crate) fn set_cover(&mut self, node: u32, cover: f64) {
        self.trees.cover[node as usize] = cover as f32;
    }

    pub(crate) fn depth(&self, node: u32) -> u16 {
        self.depths[node as usize]
    }

    /// Divides a node. Returns its left child; the right one follows.
    pub(crate) fn split(&mut self, node: u32, split: &Split, bins: &Bins) -> u32 {
        let depth = self.depths[node as usize] + 1;
        let left = self.trees.nodes.len() as u32;
        self.sprout(depth);
        self.sprout(depth);
        let trees = &mut self.trees;
        let mut flags = if split.absent_right { ABSENT_RIGHT } else { 0 };
        let (mut threshold, mut extra) = (f32::INFINITY, 0);
        match (&split.test, bins) {
            (Test::UpTo(bin), Bins::Numeric { cuts }) => {
                // Beyond the last cut there is only what is absent.
                threshold = cuts.get(usize::from(*bin)).copied().unwrap_or(f32::INFINITY);
            }
            (Test::OneOf(set), Bins::Categorical { bins, count }) => {
                flags |= CATEGORICAL;
                extra = trees.sets.len() as u32;
                let begin = trees.words.len();
                trees.words.resize(begin + bins.len().div_ceil(64), 0);
                for (category, bin) in bins.iter().enumerate() {
                    let code = usize::from(*bin);
                    // A category too rare for a bin goes where absent values go.
                    let left = if code == *count {
                        !split.absent_right
                    } else {
                        set[code / 64] >> (code % 64) & 1 == 1
                    };
                    trees.words[begin + category / 64] |= u64::from(left) << (category % 64);
                }
                trees.sets.push((begin as u32, bins.len() as u32));
            }
            // A grower tests bins of the feature's own kind.
            _ => {}
        }
        trees.nodes[node as usize] = Node { threshold, left, feature: split.feature as u16, flags, extra };
        left
    }

    /// Gives a leaf its values.
    pub(crate) fn set_leaf(&mut self, node: u32, values: &[f32]) {
        self.trees.nodes[node as usize].extra = self.trees.values.len() as u32;
        self.trees.values.extend(values);
    }

    /// The tree, grown.
    pub(crate) fn finish(mut self) -> Trees {
        let depth = self.depths.iter().max().copied().unwrap_or(0);
        self.trees.roots.push(Root { node: 0, output: self.output, depth });
        self.trees
    }
}
