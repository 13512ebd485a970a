//! Trees as they are written, and the checks that what is read are trees.
//!
//! What can be worked out is not written: where a node is, how deep a tree is.

use super::{ABSENT_RIGHT, CATEGORICAL, LEAF, MOST_DEPTH, Node, Root, Trees};
use crate::codec::{CodecError, ensure};
use serde::{Deserialize, Serialize};

/// Most scores of a row: roots name them in 16 bits.
const MOST_OUTPUTS: usize = u16::MAX as usize;

/// A node as written. Children are named by their distance, which is small and takes one or two bytes.
#[derive(Serialize, Deserialize)]
enum Part {
    Leaf { value: u32, cover: f32 },
    Number { threshold: f32, feature: u16, ahead: u32, absent_right: bool, cover: f32 },
    Category { set: u32, feature: u16, ahead: u32, absent_right: bool, cover: f32 },
}

/// Trees as written.
#[derive(Serialize, Deserialize)]
pub(super) struct Wire {
    features: usize,
    outputs: usize,
    nodes: Vec<Part>,
    /// First node and output of each tree.
    roots: Vec<(u32, u16)>,
    values: Vec<f32>,
    sets: Vec<(u32, u32)>,
    words: Vec<u64>,
}

impl From<Trees> for Wire {
    fn from(trees: Trees) -> Self {
        let part = |(i, (n, cover)): (usize, (&Node, &f32))| {
            let (feature, absent_right, cover) = (n.feature, n.flags & ABSENT_RIGHT != 0, *cover);
            let ahead = n.left.wrapping_sub(i as u32);
            if n.is_leaf() {
                Part::Leaf { value: n.extra, cover }
            } else if n.flags & CATEGORICAL != 0 {
                Part::Category { set: n.extra, feature, ahead, absent_right, cover }
            } else {
                Part::Number { threshold: n.threshold, feature, ahead, absent_right, cover }
            }
        };
        Self {
            features: trees.features,
            outputs: trees.outputs,
            nodes: trees.nodes.iter().zip(&trees.cover).enumerate().map(part).collect(),
            roots: trees.roots.iter().map(|r| (r.node, r.output)).collect(),
            values: trees.values,
            sets: trees.sets,
            words: trees.words,
        }
    }
}

impl TryFrom<Wire> for Trees {
    type Error = CodecError;

    fn try_from(wire: Wire) -> Result<Self, CodecError> {
        ensure((1..usize::from(u16::MAX)).contains(&wire.features), "the number of features of trees")?;
        ensure((1..MOST_OUTPUTS).contains(&wire.outputs), "the number of scores of trees")?;
        ensure(wire.nodes.len() < u32::MAX as usize, "the number of nodes")?;
        ensure(wire.values.iter().all(|v| v.is_finite()), "the value of a leaf")?;
        for (begin, categories) in &wire.sets {
            let end = *begin as usize + (*categories as usize).div_ceil(64);
            ensure(end <= wire.words.len(), "the categories of a node")?;
        }
        let n = wire.nodes.len();
        let flags = |absent_right: bool| if absent_right { ABSENT_RIGHT } else { 0 };
        let mut nodes = Vec::with_capacity(n);
        let mut cover = Vec::with_capacity(n);
        for (i, part) in wire.nodes.iter().enumerate() {
            let own = i as u32;
            let (node, weight) = match *part {
                Part::Leaf { value, cover } => {
                    let flags = LEAF;
                    (Node { threshold: f32::INFINITY, left: own, feature: 0, flags, extra: value }, cover)
                }
                Part::Number { threshold, feature, ahead, absent_right, cover } => {
                    ensure(!threshold.is_nan(), "the threshold of a node")?;
                    let (left, flags) = (own.saturating_add(ahead), flags(absent_right));
                    (Node { threshold, left, feature, flags, extra: 0 }, cover)
                }
                Part::Category { set, feature, ahead, absent_right, cover } => {
                    ensure((set as usize) < wire.sets.len(), "the categories of a node")?;
                    let (left, flags) = (own.saturating_add(ahead), flags(absent_right) | CATEGORICAL);
                    (Node { threshold: f32::INFINITY, left, feature, flags, extra: set }, cover)
                }
            };
            ensure(usize::from(node.feature) < wire.features, "the feature of a node")?;
            ensure(weight.is_finite() && weight >= 0.0, "the rows of a node")?;
            nodes.push(node);
            cover.push(weight);
        }
        let roots = roots(&wire, &nodes)?;
        let mut trees = Self {
            features: wire.features,
            outputs: wire.outputs,
            nodes,
            cover,
            roots,
            values: wire.values,
            sets: wire.sets,
            words: wire.words,
            paths: None,
        };
        trees.lay_out();
        Ok(trees)
    }
}

/// Finds the depth of each tree, and that each node belongs to exactly one place of exactly one tree.
fn roots(wire: &Wire, nodes: &[Node]) -> Result<Vec<Root>, CodecError> {
    let mut roots = Vec::with_capacity(wire.roots.len());
    ensure(wire.roots.first().map_or(0, |r| r.0) == 0, "the first tree")?;
    // Depth of a node plus one; 0 where no parent named it so far.
    let mut depths = vec![0_u16; nodes.len()];
    for (i, (first, output)) in wire.roots.iter().enumerate() {
        let end = wire.roots.get(i + 1).map_or(nodes.len(), |r| r.0 as usize);
        let first = *first as usize;
        ensure(first < end && end <= nodes.len(), "the place of a tree")?;
        let all = *output == Root::ALL;
        ensure(all || usize::from(*output) < wire.outputs, "the score a tree adds to")?;
        let width = if all { wire.outputs } else { 1 };
        depths[first] = 1;
        let mut deepest = 1;
        for at in first..end {
            let (node, depth) = (&nodes[at], depths[at]);
            ensure(depth > 0, "a node without a parent")?;
            deepest = deepest.max(depth);
            if node.is_leaf() {
                ensure(node.extra as usize + width <= wire.values.len(), "the place of a leaf's value")?;
                continue;
            }
            let left = node.left as usize;
            ensure(left > at && left + 1 < end, "the place of a node's children")?;
            ensure(depths[left] == 0 && depths[left + 1] == 0, "a node with two parents")?;
            ensure(depth <= MOST_DEPTH, "the depth of a tree")?;
            depths[left] = depth + 1;
            depths[left + 1] = depth + 1;
        }
        roots.push(Root { node: first as u32, output: *output, depth: deepest - 1 });
    }
    ensure(!roots.is_empty() || nodes.is_empty(), "nodes without a tree")?;
    Ok(roots)
}
