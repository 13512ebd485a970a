//! Trees laid out for judging: eight bytes a node, one comparison of whole numbers a step, no branch to predict.
//!
//! Numbers are compared by keys: whole numbers in the same order, the key of an absent one (NaN) above all. A step goes right
//! if the key is above the node's, so that what is absent goes right; a node where it goes left looks at a second key, in
//! which numbers are in the opposite order, and has its children exchanged. Each set of categories has a key of its own, 1 in
//! rows that go right, copied from a table by the row's category; where there are too many sets for that, nodes look theirs up
//! in a table. The last key is 0 in all rows, and leaves ask whether it is above: it never is, their left child is 0 ahead,
//! and walks stay where they arrived, so that several go on side by side until the last has. So a leaf has room for its value.

use super::{ABSENT_RIGHT, CATEGORICAL, Root, Trees};
use crate::bins::category;
use std::collections::BTreeMap;

/// Walks side by side: their loads overlap, and a step costs a fraction of its latency.
const LANES: usize = 8;
/// Steps without looking whether all have arrived.
const STEPS: u16 = 2;
/// Keys of rows that stay in the second cache while trees pass over them.
const BLOCK_KEYS: usize = 65_536;
/// The same in the first cache, for trees that are small beside it.
const SMALL_BLOCK_KEYS: usize = 6_144;
/// Nodes on average up to which trees are small.
const SMALL_TREE: usize = 512;
/// Bits of a node above what it compares with: which key, whether it looks up a set, way to the left child, which the right
/// one follows.
const KEY_BITS: u32 = 10;
const SET_BIT: u32 = 32 + KEY_BITS;
const AHEAD: u32 = SET_BIT + 1;
/// Keys of a row: two of each feature, one of each set, and the one that is 0.
const MOST_KEYS: usize = 1 << KEY_BITS;
/// Nodes a tree may have.
const MOST_NODES: usize = 1 << (64 - AHEAD);
/// Bytes of the table of sets, and keys of the tables by category.
const MOST_TABLE: usize = 1 << 26;

/// Trees laid out for judging.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Paths {
    /// A leaf compares with the bits of its value, or with the place of its values where there is one for each output.
    nodes: Vec<u64>,
    /// First node, depth and output of each tree.
    roots: Vec<(u32, u16, u16)>,
    features: usize,
    /// Keys of a row.
    width: usize,
    /// Features that nodes ask for sets of.
    categorical: Vec<Categorical>,
    /// By set and category, then for what is absent: 1 if it goes right. Begins with zeros, as many as any feature has
    /// categories and one more. Empty where sets have keys.
    table: Vec<u8>,
    /// Nodes in all by trees.
    small: bool,
}

/// A feature of categories.
#[derive(Clone, Debug, Default, PartialEq)]
struct Categorical {
    feature: usize,
    categories: usize,
    /// The first key of its sets.
    first: usize,
    /// How many keys they have: 0 where nodes look sets up.
    sets: usize,
    /// By category, then for what is absent: the keys.
    keys: Vec<u32>,
}

/// Whole numbers in the order of numbers; NaN above all.
#[inline]
fn key(v: f32) -> u32 {
    // 0 and -0 are the same number.
    let bits = (v + 0.0).to_bits();
    // All bits of a negative number are turned, of another one the sign.
    let ordered = bits ^ (((bits as i32 >> 31) as u32) | 1 << 31);
    if v.is_nan() { u32::MAX } else { ordered }
}

/// Whole numbers in the opposite order; NaN above all again.
#[inline]
fn turned_key(v: f32) -> u32 {
    if v.is_nan() { u32::MAX } else { !key(v) }
}

/// Sets of categories that go right, by feature: a byte for each category and one for what is absent.
type Sets = BTreeMap<(u16, Vec<u8>), u32>;

/// Lays out trees.
struct Layout<'a> {
    trees: &'a Trees,
    paths: Paths,
    /// Categories by feature.
    categories: BTreeMap<u16, u32>,
    /// The key of each set, or its place in the table.
    sets: Sets,
}

impl Layout<'_> {
    /// Finds all sets, and where nodes find them.
    fn find_sets(&mut self) -> Option<()> {
        let trees = self.trees;
        let about_sets = || trees.nodes.iter().filter(|n| n.flags & CATEGORICAL != 0);
        for node in about_sets() {
            let known = self.categories.entry(node.feature).or_default();
            *known = trees.sets[node.extra as usize].1.max(*known);
        }
        for node in about_sets() {
            let set = self.set(node.extra, node.feature, node.flags & ABSENT_RIGHT != 0);
            self.sets.insert((node.feature, set), 0);
        }
        let numbers = trees.features * 2;
        let have_keys = numbers + self.sets.len() < MOST_KEYS;
        let mut next = if have_keys {
            numbers
        } else {
            let most = self.categories.values().max().map_or(0, |m| *m as usize);
            self.paths.table = vec![0; most + 1];
            most + 1
        };
        let mut size = 0;
        for (feature, categories) in &self.categories {
            let mut all = Categorical {
                feature: usize::from(*feature),
                categories: *categories as usize,
                first: next,
                ..Categorical::default()
            };
            let own = (*feature, Vec::new())..(feature + 1, Vec::new());
            for ((_, set), place) in self.sets.range_mut(own.clone()) {
                *place = u32::try_from(next).ok()?;
                if have_keys {
                    all.sets += 1;
                    next += 1;
                } else {
                    self.paths.table.extend(set);
                    next = self.paths.table.len();
                }
            }
            if have_keys {
                for category in 0..=*categories as usize {
                    let right = |set: &[u8]| set.get(category).copied().map_or(0, u32::from);
                    all.keys.extend(self.sets.range(own.clone()).map(|((_, set), _)| right(set)));
                }
            }
            size += all.keys.len();
            self.paths.categorical.push(all);
        }
        self.paths.width = if have_keys { next } else { numbers } + 1;
        (self.paths.table.len() <= MOST_TABLE && size <= MOST_TABLE).then_some(())
    }

    /// What goes right by category, then for what is absent.
    fn set(&self, set: u32, feature: u16, absent_right: bool) -> Vec<u8> {
        let (begin, known) = self.trees.sets[set as usize];
        let goes_right = |category: u32| {
            let word = self.trees.words[begin as usize + category as usize / 64];
            u8::from(word >> (category % 64) & 1 == 0)
        };
        let all = self.categories.get(&feature).copied().unwrap_or_default();
        let mut set: Vec<u8> = (0..all.min(known)).map(goes_right).collect();
        set.resize(all as usize + 1, u8::from(absent_right));
        set
    }

    /// Lays out a tree from its root; the two children of a node beside each other, and first what follows the one that more
    /// rows went to.
    fn add(&mut self, root: &Root) -> Option<()> {
        let trees = self.trees;
        let never = self.paths.width as u64 - 1;
        let mut open = vec![(root.node, self.paths.nodes.len())];
        self.paths.nodes.push(0);
        while let Some((old, own)) = open.pop() {
            let node = &trees.nodes[old as usize];
            if node.is_leaf() {
                let wide = root.output == Root::ALL;
                let said = if wide { node.extra } else { trees.values[node.extra as usize].to_bits() };
                self.paths.nodes[own] = u64::from(said) | never << 32;
                continue;
            }
            let absent_right = node.flags & ABSENT_RIGHT != 0;
            let feature = u64::from(node.feature);
            let (mut left, mut right) = (node.left, node.left + 1);
            let what = if node.flags & CATEGORICAL != 0 {
                let set = self.set(node.extra, node.feature, absent_right);
                let place = u64::from(*self.sets.get(&(node.feature, set))?);
                if self.paths.table.is_empty() { place << 32 } else { place | feature << 32 | 1 << SET_BIT }
            } else if absent_right {
                u64::from(key(node.threshold)) | feature << 32
            } else {
                (left, right) = (right, left);
                // Above the threshold is below it when turned: not above the key before it.
                let before = turned_key(node.threshold).saturating_sub(1);
                u64::from(before) | (feature + trees.features as u64) << 32
            };
            let ahead = self.paths.nodes.len() - own;
            if ahead >= MOST_NODES {
                return None;
            }
            self.paths.nodes[own] = what | (ahead as u64) << AHEAD;
            let mut children = [(right, own + ahead + 1), (left, own + ahead)];
            if trees.cover[right as usize] > trees.cover[left as usize] {
                children.reverse();
            }
            open.extend(children);
            self.paths.nodes.extend([0, 0]);
        }
        Some(())
    }
}

impl Paths {
    /// Lays out trees; `None` if they have more features, nodes or categories than fit.
    pub(super) fn new(trees: &Trees) -> Option<Self> {
        if trees.features * 2 >= MOST_KEYS {
            return None;
        }
        let paths = Self { features: trees.features, ..Self::default() };
        let mut layout = Layout { trees, paths, categories: BTreeMap::new(), sets: Sets::new() };
        layout.find_sets()?;
        for root in &trees.roots {
            let first = u32::try_from(layout.paths.nodes.len()).ok()?;
            layout.paths.roots.push((first, root.depth, root.output));
            layout.add(root)?;
        }
        layout.paths.small = layout.paths.nodes.len() <= trees.len().saturating_mul(SMALL_TREE);
        Some(layout.paths)
    }

    /// Hands out the keys of a row with their places, but for the last one, which is 0.
    #[inline(always)]
    fn prepare(&self, row: &[f32], mut set: impl FnMut(usize, u32)) {
        for (feature, value) in row.iter().enumerate() {
            set(feature, key(*value));
            set(self.features + feature, turned_key(*value));
        }
        for Categorical { feature, categories, first, sets, keys } in &self.categorical {
            let category = category(row[*feature]).filter(|c| c < categories).unwrap_or(*categories);
            if *sets == 0 {
                set(*feature, category as u32);
            } else {
                let keys = keys[category * sets..(category + 1) * sets].iter();
                keys.enumerate().for_each(|(place, key)| set(first + place, *key));
            }
        }
    }

    /// Goes on from some places until all are at leaves, at most `depth` steps away. `look` tells the key at a place of the row
    /// that goes down a lane. Returns the leaves.
    #[inline(always)]
    fn walk<const LOOKUP: bool>(
        &self,
        at: [u32; LANES],
        depth: u16,
        look: impl Fn(usize, usize) -> u32 + Copy,
    ) -> [u32; LANES] {
        // By name, so that each is kept in a register.
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = at;
        let mut left = depth;
        while left > 0 {
            let steps = left.min(STEPS);
            left -= steps;
            let mut open = 0;
            for _ in 0..steps {
                open = self.step::<LOOKUP>(&mut a, |key| look(0, key))
                    | self.step::<LOOKUP>(&mut b, |key| look(1, key))
                    | self.step::<LOOKUP>(&mut c, |key| look(2, key))
                    | self.step::<LOOKUP>(&mut d, |key| look(3, key))
                    | self.step::<LOOKUP>(&mut e, |key| look(4, key))
                    | self.step::<LOOKUP>(&mut f, |key| look(5, key))
                    | self.step::<LOOKUP>(&mut g, |key| look(6, key))
                    | self.step::<LOOKUP>(&mut h, |key| look(7, key));
            }
            if open == 0 {
                break;
            }
        }
        [a, b, c, d, e, f, g, h]
    }

    /// Goes one step; 0 if it was at a leaf.
    #[inline(always)]
    fn step<const LOOKUP: bool>(&self, at: &mut u32, look: impl Fn(usize) -> u32) -> u32 {
        let node = self.nodes[*at as usize];
        let ahead = (node >> AHEAD) as u32;
        let value = look((node >> 32) as usize & (MOST_KEYS - 1));
        let mut right = u32::from(value > node as u32);
        if LOOKUP {
            // Worked out for numbers too, as what a node is about can't be foreseen: the table begins with a 0.
            let is_set = node >> SET_BIT & 1 == 1;
            let place = if is_set { (node as u32).wrapping_add(value) as usize } else { 0 };
            // A place in the table is beyond all categories, so that none is above it.
            right |= u32::from(self.table[place]);
        }
        *at += ahead + right;
        ahead
    }

    #[inline]
    fn add_leaf(&self, trees: &Trees, output: u16, leaf: u32, scores: &mut [f32]) {
        // What a leaf compares with is what it says.
        let said = self.nodes[leaf as usize] as u32;
        if output == Root::ALL {
            let values = &trees.values[said as usize..said as usize + trees.outputs];
            scores.iter_mut().zip(values).for_each(|(score, value)| *score += value);
        } else {
            scores[usize::from(output)] += f32::from_bits(said);
        }
    }

    /// Adds the scores of one row.
    pub(super) fn add(&self, trees: &Trees, row: &[f32], scores: &mut [f32]) {
        // As long as a node can name, so that no step has to look whether a key is there.
        let mut keys = [0; MOST_KEYS];
        self.prepare(row, |place, key| keys[place] = key);
        if self.table.is_empty() {
            self.add_one::<false>(trees, &keys, scores);
        } else {
            self.add_one::<true>(trees, &keys, scores);
        }
    }

    fn add_one<const LOOKUP: bool>(&self, trees: &Trees, keys: &[u32; MOST_KEYS], scores: &mut [f32]) {
        for roots in self.roots.chunks(LANES) {
            let mut at = [roots[0].0; LANES];
            let mut depth = 0;
            for (at, root) in at.iter_mut().zip(roots) {
                *at = root.0;
                depth = depth.max(root.1);
            }
            let leaves = self.walk::<LOOKUP>(at, depth, |_, key| keys[key]);
            for (leaf, root) in leaves.iter().zip(roots) {
                self.add_leaf(trees, root.2, *leaf, scores);
            }
        }
    }

    /// Adds the scores of many rows, one after the other in `rows`.
    pub(super) fn add_batch(&self, trees: &Trees, rows: &[f32], scores: &mut [f32]) {
        let (features, outputs) = (self.features, trees.outputs);
        let most = if self.small { SMALL_BLOCK_KEYS } else { BLOCK_KEYS } / (self.width * LANES);
        let groups = most.clamp(1, (rows.len() / features).div_ceil(LANES).max(1));
        // Keys of as many rows as there are lanes stand beside each other, those of the next rows after them; so that no step
        // has to look whether a key is there, as many as a node can name follow the last.
        let mut keys = vec![[0; LANES]; groups * self.width + MOST_KEYS];
        let block = groups * LANES;
        let (mut order, mut own) = (Vec::new(), Vec::new());
        for (rows, scores) in rows.chunks(block * features).zip(scores.chunks_mut(block * outputs)) {
            order.clear();
            order.extend(0..rows.len() / features);
            self.set_keys(rows, &order, &mut keys);
            if self.small {
                self.add_keys(trees, &keys, scores);
                continue;
            }
            self.sort(&keys, &mut order);
            self.set_keys(rows, &order, &mut keys);
            own.clear();
            order.iter().for_each(|row| own.extend(&scores[row * outputs..][..outputs]));
            self.add_keys(trees, &keys, &mut own);
            for (row, own) in order.iter().zip(own.chunks_exact(outputs)) {
                scores[row * outputs..][..outputs].copy_from_slice(own);
            }
        }
    }

    /// Sets the keys of rows in some order.
    fn set_keys(&self, rows: &[f32], order: &[usize], keys: &mut [[u32; LANES]]) {
        for (place, row) in order.iter().enumerate() {
            let (keys, lane) = (&mut keys[place / LANES * self.width..], place % LANES);
            let row = &rows[row * self.features..][..self.features];
            self.prepare(row, |place, key| keys[place][lane] = key);
        }
    }

    /// Puts rows that go alike ways beside each other, by where they arrive in the first tree: lanes wait less for the last.
    fn sort(&self, keys: &[[u32; LANES]], order: &mut [usize]) {
        let Some(first) = self.roots.first() else { return };
        let mut places = Vec::with_capacity(order.len() + LANES);
        for group in 0..order.len().div_ceil(LANES) {
            let keys = &keys[group * self.width..];
            places.extend(if self.table.is_empty() {
                self.walk_group::<false>(*first, keys)
            } else {
                self.walk_group::<true>(*first, keys)
            });
        }
        order.sort_by_key(|row| places[*row]);
    }

    /// The leaves of a tree at which the rows arrive whose keys stand first.
    #[inline(always)]
    fn walk_group<const LOOKUP: bool>(
        &self,
        (first, depth, _): (u32, u16, u16),
        keys: &[[u32; LANES]],
    ) -> [u32; LANES] {
        // There are as many behind the last group.
        let Some(keys) = keys.first_chunk::<MOST_KEYS>() else { return [first; LANES] };
        self.walk::<LOOKUP>([first; LANES], depth, |lane, key| keys[key][lane])
    }

    fn add_keys(&self, trees: &Trees, keys: &[[u32; LANES]], scores: &mut [f32]) {
        for root in &self.roots {
            if self.table.is_empty() {
                self.add_tree::<false>(trees, *root, keys, scores);
            } else {
                self.add_tree::<true>(trees, *root, keys, scores);
            }
        }
    }

    /// Adds what one tree says. Where rows are missing to the last lane, keys of others walk along and say nothing.
    fn add_tree<const LOOKUP: bool>(
        &self,
        trees: &Trees,
        root: (u32, u16, u16),
        mut keys: &[[u32; LANES]],
        scores: &mut [f32],
    ) {
        for scores in scores.chunks_mut(LANES * trees.outputs) {
            let leaves = self.walk_group::<LOOKUP>(root, keys);
            for (leaf, scores) in leaves.iter().zip(scores.chunks_mut(trees.outputs)) {
                self.add_leaf(trees, root.2, *leaf, scores);
            }
            keys = &keys[self.width..];
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
    use crate::{Feature, Kind, Matrix};

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
        let kinds =
            [([names(70), names(3)], 21), ([names(70), names(3)], 400), ([Kind::Numeric, Kind::Numeric], 21)];
        for ([a, b], count) in kinds {
            let kinds = [a, b, Kind::Numeric, Kind::Numeric];
            let schema = kinds.map(|kind| Feature { name: "f".into(), kind });
            let options = Options { trees: count, ..Options::default() };
            let forest = Forest::train(&samples, &schema, 3, &options, &Inline).unwrap();
            let trees = &forest.trees;
            // Few sets have keys of their own, many stand in the table.
            assert_eq!(trees.paths.as_ref().map(|p| p.table.is_empty()), Some(count < 100));
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
        assert!(Paths::new(&Trees::new(MOST_KEYS / 2, 1)).is_none());
        assert!(Paths::new(&Trees::new(MOST_KEYS / 2 - 1, 1)).is_some());
    }
}
