//! Random forest: trees grown to the end on bootstrap samples, each split chosen among a few features by Gini impurity
//! (Breiman, 2001). Probabilities are the mean of the class shares in the leaves.

use super::boosting::Samples;
use super::leafwise::partition;
use super::{MOST_DEPTH, Root, Sapling, Split, Test, Trees};
use crate::LearnError;
use crate::bins::{Binned, Binning, Bins};
use crate::codec::{CodecError, Pack, ensure};
use crate::matrix::{Feature, Matrix};
use crate::pool::{self, Pool};
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// Rows of a node up to which they are sorted instead of counted in a histogram.
const SORT_UP_TO: usize = 96;
/// Least relative fall of impurity, so that noise of rounding does not split.
const LEAST_GAIN: f64 = 1e-9;

/// Rows judged by one job.
const PART: usize = 1024;

/// How to grow a forest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Number of trees, at least 1.
    pub trees: usize,
    /// Features looked at for each split; 0 takes the square root of their number.
    pub features: usize,
    /// Most splits on a path, at most [`MOST_DEPTH`].
    pub depth: u16,
    /// Least rows in a leaf, at least 1.
    pub min_leaf: usize,
    /// Whether each class weighs the same, however rare it is.
    pub balanced: bool,
    /// Seed of the drawing of rows and features.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { trees: 200, features: 0, depth: 64, min_leaf: 1, balanced: false, seed: 0 }
    }
}

/// A random forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    pub(crate) trees: Trees,
    pub(crate) classes: usize,
}

impl Forest {
    /// Trains on `samples` of classes `0..classes`.
    ///
    /// # Errors
    /// Rows, labels, weights or options that do not fit; a single class.
    pub fn train(
        samples: &Samples<'_>,
        schema: &[Feature],
        classes: usize,
        options: &Options,
        pool: &dyn Pool,
    ) -> Result<Self, LearnError> {
        let groups: Vec<u32> = (0..samples.rows.rows() as u32).collect();
        Ok(Self::plant(samples, schema, classes, options, &groups, pool)?.0)
    }

    /// As [`Self::train`], with bootstrap samples of whole groups (numbered from 0): all rows of one or none. Also returns
    /// what trees say of rows that they did not learn from, mean over those trees: the probability of class 1 of two, else
    /// those of all classes, row by row; NaN of rows that all trees learnt from.
    ///
    /// # Errors
    /// As [`Self::train`]; not one group for each row.
    pub fn train_grouped(
        samples: &Samples<'_>,
        schema: &[Feature],
        classes: usize,
        options: &Options,
        groups: &[u32],
        pool: &dyn Pool,
    ) -> Result<(Self, Vec<f32>), LearnError> {
        let (forest, bags) = Self::plant(samples, schema, classes, options, groups, pool)?;
        let said = forest.out_of_bag(samples.rows, &bags, groups, pool);
        Ok((forest, said))
    }

    fn plant(
        samples: &Samples<'_>,
        schema: &[Feature],
        classes: usize,
        options: &Options,
        groups: &[u32],
        pool: &dyn Pool,
    ) -> Result<(Self, Vec<Vec<u16>>), LearnError> {
        samples.check(classes)?;
        if groups.len() != samples.rows.rows() {
            let (expected, found) = (samples.rows.rows(), groups.len());
            return Err(LearnError::Shape { what: "groups of the rows", expected, found });
        }
        if options.trees == 0 || options.min_leaf == 0 {
            return Err(LearnError::Option { option: "trees and min_leaf", expected: "at least 1" });
        }
        let binning = Binning::fit(samples.rows, schema, pool)?;
        let binned = binning.encode(samples.rows, pool);
        let root = (schema.len() as f64).sqrt().round().max(1.0) as usize;
        let seedbed = Seedbed {
            binning: &binning,
            binned: &binned,
            classes,
            tried: if options.features == 0 { root } else { options.features.min(schema.len()) },
            options,
        };
        let weights = class_weights(samples, classes, options.balanced);
        let count = groups.iter().max().map_or(0, |g| *g as usize + 1);
        let grown = pool::map(pool, options.trees, |t| {
            let mut random = Random::new(options.seed, t as u64);
            let mut bag = vec![0_u16; count];
            for _ in 0..count {
                let drawn = &mut bag[random.below(count)];
                *drawn = drawn.saturating_add(1);
            }
            let items: Vec<Item> = groups
                .iter()
                .enumerate()
                .map(|(row, group)| (row, bag[*group as usize]))
                .filter(|(_, times)| *times > 0)
                .map(|(row, times)| {
                    let class = samples.classes[row];
                    let weight = f32::from(times) * samples.weight(row) * weights[class as usize];
                    Item { row: row as u32, class, weight }
                })
                .collect();
            (seedbed.grow(items, random), bag)
        });
        let mut trees = Trees::new(schema.len(), outputs(classes));
        let mut bags = Vec::with_capacity(grown.len());
        for (tree, bag) in grown {
            trees.append(&tree);
            bags.push(bag);
        }
        trees.scale(1.0 / options.trees as f32);
        trees.lay_out();
        Ok((Self { trees, classes }, bags))
    }

    fn out_of_bag(&self, rows: &Matrix, bags: &[Vec<u16>], groups: &[u32], pool: &dyn Pool) -> Vec<f32> {
        let (outputs, trees) = (self.trees.outputs(), self.trees.len() as f32);
        let part = |part: usize| {
            let places = part * PART..rows.rows().min((part + 1) * PART);
            let mut said = vec![0.0; places.len() * outputs];
            for (row, said) in places.zip(said.chunks_mut(outputs)) {
                let mut voters = 0.0;
                for (tree, bag) in bags.iter().enumerate() {
                    if bag[groups[row] as usize] == 0 {
                        self.trees.add_one(tree, rows.row(row), said);
                        voters += 1.0;
                    }
                }
                // Each tree's part was scaled for all of them. Without a voter: 0 / 0.
                said.iter_mut().for_each(|s| *s *= trees / voters);
            }
            said
        };
        pool::map(pool, rows.rows().div_ceil(PART), part).concat()
    }

    /// Number of classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// The trees.
    #[must_use]
    pub const fn trees(&self) -> &Trees {
        &self.trees
    }

    /// Probabilities of the classes of one row, into `out` of [`Self::classes`] values.
    pub fn predict(&self, row: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        if self.classes == 2 {
            self.trees.add(row, &mut out[1..]);
            out[0] = 1.0 - out[1];
        } else {
            self.trees.add(row, out);
        }
    }

    /// Probabilities of the classes of all rows, row by row.
    #[must_use]
    pub fn predict_batch(&self, rows: &Matrix) -> Vec<f32> {
        let mut scores = vec![0.0; rows.rows() * self.trees.outputs()];
        self.trees.add_batch(rows, &mut scores);
        if self.classes == 2 { scores.iter().flat_map(|p| [1.0 - p, *p]).collect() } else { scores }
    }
}

impl Pack for Forest {
    const KIND: [u8; 4] = *b"frst";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        ensure(self.classes >= 2, "the number of classes")?;
        ensure(self.trees.outputs() == outputs(self.classes), "the number of scores")
    }
}

/// Two classes need one value a leaf.
const fn outputs(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

fn class_weights(samples: &Samples<'_>, classes: usize, balanced: bool) -> Vec<f32> {
    if !balanced {
        return vec![1.0; classes];
    }
    let mut sums = vec![0.0_f64; classes];
    for (row, class) in samples.classes.iter().enumerate() {
        sums[*class as usize] += f64::from(samples.weight(row));
    }
    let total: f64 = sums.iter().sum();
    let used = sums.iter().filter(|s| **s > 0.0).count().max(1) as f64;
    sums.iter().map(|s| if *s > 0.0 { (total / (used * s)) as f32 } else { 0.0 }).collect()
}

/// A row in a bootstrap sample.
#[derive(Clone, Copy, Debug)]
struct Item {
    row: u32,
    class: u32,
    weight: f32,
}

/// What all trees of a forest share.
struct Seedbed<'a> {
    binning: &'a Binning,
    binned: &'a Binned,
    classes: usize,
    tried: usize,
    options: &'a Options,
}

/// Memory that is used for every node again.
struct Scratch {
    histogram: Vec<f32>,
    rows: Vec<usize>,
    sorted: Vec<(u8, u32, f32)>,
    left: Vec<f64>,
    rank: [u8; 256],
}

struct Best {
    gain: f64,
    split: Split,
}

impl Seedbed<'_> {
    fn grow(&self, mut items: Vec<Item>, mut random: Random) -> Trees {
        let output = if self.classes == 2 { 0 } else { Root::ALL };
        let mut sapling = Sapling::new(self.binned.columns.len(), outputs(self.classes), output);
        let mut features: Vec<usize> = (0..self.binned.columns.len()).collect();
        let mut scratch = Scratch {
            histogram: Vec::new(),
            rows: Vec::new(),
            sorted: Vec::new(),
            left: vec![0.0; self.classes],
            rank: [0; 256],
        };
        let mut totals = vec![0.0_f64; self.classes];
        let (mut spare, mut leaf) = (Vec::new(), Vec::new());
        let mut open = vec![(0_u32, 0..items.len())];
        while let Some((node, range)) = open.pop() {
            totals.fill(0.0);
            for item in &items[range.clone()] {
                totals[item.class as usize] += f64::from(item.weight);
            }
            let cover: f64 = totals.iter().sum();
            sapling.set_cover(node, cover);
            let mixed = totals.iter().filter(|t| **t > 0.0).count() > 1;
            let may_split = mixed
                && range.len() >= 2 * self.options.min_leaf
                && sapling.depth(node) < self.options.depth.min(MOST_DEPTH);
            let best = if may_split {
                self.best(&items[range.clone()], &totals, &mut features, &mut random, &mut scratch)
            } else {
                None
            };
            let Some(best) = best else {
                leaf.clear();
                let shares = totals.iter().map(|t| (t / cover.max(f64::MIN_POSITIVE)) as f32);
                leaf.extend(shares.skip(usize::from(self.classes == 2)));
                sapling.set_leaf(node, &leaf);
                continue;
            };
            let bins = &self.binning.features[best.split.feature];
            let column = &self.binned.columns[best.split.feature];
            let cut = range.start
                + partition(&mut items[range.clone()], &mut spare, |item| {
                    best.split.left(column[item.row as usize], bins.absent())
                });
            let left = sapling.split(node, &best.split, bins);
            open.push((left + 1, cut..range.end));
            open.push((left, range.start..cut));
        }
        sapling.finish()
    }

    /// The best split by some features drawn at random; by others if those can't split.
    fn best(
        &self,
        items: &[Item],
        totals: &[f64],
        features: &mut [usize],
        random: &mut Random,
        scratch: &mut Scratch,
    ) -> Option<Best> {
        let mut best: Option<Best> = None;
        for i in 0..features.len() {
            if i >= self.tried && best.is_some() {
                break;
            }
            let j = i + random.below(features.len() - i);
            features.swap(i, j);
            let found = self.by_feature(items, totals, features[i], scratch);
            if let Some(found) = found
                && best.as_ref().is_none_or(|b| found.gain > b.gain)
            {
                best = Some(found);
            }
        }
        best
    }

    fn by_feature(
        &self,
        items: &[Item],
        totals: &[f64],
        feature: usize,
        scratch: &mut Scratch,
    ) -> Option<Best> {
        let bins = &self.binning.features[feature];
        let column = &self.binned.columns[feature];
        let first = column[items[0].row as usize];
        let categorical = matches!(bins, Bins::Categorical { .. });
        if categorical {
            self.rank(items, totals, column, bins.absent(), &mut scratch.rank);
        }
        let rank = |code: u8, ranks: &[u8; 256]| if categorical { ranks[usize::from(code)] } else { code };
        let mut scan = Scan::new(totals, self.options.min_leaf, &mut scratch.left);
        if items.len() <= SORT_UP_TO {
            scratch.sorted.clear();
            let mut same = true;
            scratch.sorted.extend(items.iter().map(|item| {
                let code = column[item.row as usize];
                same &= code == first;
                (rank(code, &scratch.rank), item.class, item.weight)
            }));
            if same {
                return None;
            }
            scratch.sorted.sort_unstable_by_key(|(code, ..)| *code);
            let mut at = scratch.sorted[0].0;
            for (rows, (code, class, weight)) in scratch.sorted.iter().enumerate() {
                if *code != at {
                    scan.offer(at, *code, rows, items.len() - rows);
                    at = *code;
                }
                scan.add(*class as usize, f64::from(*weight));
            }
        } else {
            let (k, cells) = (self.classes, bins.present() + 1);
            scratch.histogram.clear();
            scratch.histogram.resize(cells * k, 0.0);
            scratch.rows.clear();
            scratch.rows.resize(cells, 0);
            for item in items {
                let code = usize::from(rank(column[item.row as usize], &scratch.rank));
                scratch.histogram[code * k + item.class as usize] += item.weight;
                scratch.rows[code] += 1;
            }
            let mut before: Option<(u8, usize)> = None;
            for (code, (rows, weights)) in scratch.rows.iter().zip(scratch.histogram.chunks(k)).enumerate() {
                if *rows == 0 {
                    continue;
                }
                let passed = before.map_or(0, |(at, passed)| {
                    scan.offer(at, code as u8, passed, items.len() - passed);
                    passed
                });
                for (class, weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                    scan.add(class, f64::from(*weight));
                }
                before = Some((code as u8, passed + rows));
            }
        }
        let (gain, at, next, heavier_right) = scan.best?;
        let absent = bins.absent();
        let (test, absent_right) = if categorical {
            let mut set = [0_u64; 4];
            let mut absent_right = heavier_right;
            for item in items {
                let code = column[item.row as usize];
                let left = scratch.rank[usize::from(code)] <= at;
                if code == absent {
                    absent_right = !left;
                } else {
                    set[usize::from(code) / 64] |= u64::from(left) << (code % 64);
                }
            }
            (Test::OneOf(set), absent_right)
        } else if next == absent {
            (Test::UpTo(absent - 1), true)
        } else {
            // Half way to the next value there is.
            let bin = (u16::from(at) + u16::from(next) - 1) / 2;
            let seen_absent = items.iter().any(|i| column[i.row as usize] == absent);
            (Test::UpTo(bin as u8), seen_absent || heavier_right)
        };
        Some(Best { gain, split: Split { feature, test, absent_right } })
    }

    /// Puts the categories of a node in the order of the share of its largest class, which for two classes is the order
    /// that holds the best split (Breiman et al., "Classification and Regression Trees", 1984, §4.2).
    fn rank(&self, items: &[Item], totals: &[f64], column: &[u8], absent: u8, rank: &mut [u8; 256]) {
        let largest = (0..totals.len()).reduce(|a, b| if totals[b] > totals[a] { b } else { a }).unwrap_or(0);
        let mut sums = [[0.0_f32; 2]; 256];
        for item in items {
            let cell = &mut sums[usize::from(column[item.row as usize])];
            cell[usize::from(item.class as usize == largest)] += item.weight;
        }
        let mut order: Vec<u8> = (0..=absent).filter(|c| sums[usize::from(*c)] != [0.0; 2]).collect();
        let share = |c: &u8| {
            let [other, own] = sums[usize::from(*c)];
            own / (own + other)
        };
        order.sort_by(|a, b| share(a).total_cmp(&share(b)).then(a.cmp(b)));
        for (place, code) in order.iter().enumerate() {
            rank[usize::from(*code)] = place as u8;
        }
    }
}

/// Moves rows from the right to the left and watches the impurity.
struct Scan<'a> {
    totals: &'a [f64],
    min_leaf: usize,
    left: &'a mut [f64],
    weight: f64,
    left_weight: f64,
    left_squares: f64,
    right_squares: f64,
    whole: f64,
    /// Gain, last code on the left, first on the right, whether the right is heavier.
    best: Option<(f64, u8, u8, bool)>,
}

impl<'a> Scan<'a> {
    fn new(totals: &'a [f64], min_leaf: usize, left: &'a mut [f64]) -> Self {
        left.fill(0.0);
        let weight: f64 = totals.iter().sum();
        let squares: f64 = totals.iter().map(|t| t * t).sum();
        Self {
            totals,
            min_leaf,
            left,
            weight,
            left_weight: 0.0,
            left_squares: 0.0,
            right_squares: squares,
            whole: squares / weight,
            best: None,
        }
    }

    #[inline]
    fn add(&mut self, class: usize, weight: f64) {
        let left = self.left[class];
        let right = self.totals[class] - left;
        self.left_squares += weight * (2.0 * left + weight);
        self.right_squares -= weight * (2.0 * right - weight);
        self.left[class] = left + weight;
        self.left_weight += weight;
    }

    #[inline]
    fn offer(&mut self, at: u8, next: u8, left_rows: usize, right_rows: usize) {
        if left_rows < self.min_leaf || right_rows < self.min_leaf {
            return;
        }
        let right_weight = self.weight - self.left_weight;
        if self.left_weight <= 0.0 || right_weight <= 0.0 {
            return;
        }
        let gain = self.left_squares / self.left_weight + self.right_squares / right_weight - self.whole;
        if gain > LEAST_GAIN * self.weight && self.best.is_none_or(|b| gain > b.0) {
            self.best = Some((gain, at, next, right_weight > self.left_weight));
        }
    }
}
