//! What each feature contributed to a score: exact Shapley values of trees.
//!
//! The value of a set of features is the score expected when only these are known and, at splits by others, both ways are
//! followed by the share of training rows that went there (Lundberg et al., "From local explanations to global
//! understanding with explainable AI for trees", 2020, algorithm 2). Contributions and the base add up to the score.

use super::{Node, Root, Trees};

/// A feature on the way to a leaf.
#[derive(Clone, Copy, Debug)]
struct Step {
    feature: u32,
    /// Share of rows that go this way when the feature is unknown.
    unknown: f64,
    /// 1 if the row itself goes this way, else 0.
    known: f64,
    weight: f64,
}

/// No feature: the beginning of each path.
const NONE: u32 = u32::MAX;

impl Trees {
    /// Adds to `out`, which has a value for each feature, what these contributed to one of a row's scores. Returns the base:
    /// the score expected of a row of which nothing is known. Shapes that do not fit contribute nothing.
    ///
    /// Takes time in proportion to leaves × depth².
    pub fn contributions(&self, row: &[f32], output: usize, out: &mut [f64]) -> f64 {
        if row.len() != self.features || out.len() != self.features || output >= self.outputs {
            return 0.0;
        }
        let mut base = 0.0;
        for root in &self.roots {
            if root.output != Root::ALL && usize::from(root.output) != output {
                continue;
            }
            let wide = if root.output == Root::ALL { output } else { 0 };
            base += self.expected(root.node, wide);
            let mut walk = Walk { trees: self, row, wide, out };
            let start = Step { feature: NONE, unknown: 1.0, known: 1.0, weight: 1.0 };
            walk.visit(root.node, Vec::with_capacity(usize::from(root.depth) + 2), start);
        }
        base
    }

    fn expected(&self, node: u32, wide: usize) -> f64 {
        let n = &self.nodes[node as usize];
        if n.is_leaf() {
            return f64::from(self.values[n.extra as usize + wide]);
        }
        let [left, right] = self.shares(n);
        left * self.expected(n.left, wide) + right * self.expected(n.left + 1, wide)
    }

    /// Shares of the rows of a node that went to its children.
    fn shares(&self, n: &Node) -> [f64; 2] {
        let cover = |node: u32| f64::from(self.cover[node as usize]);
        let (left, right) = (cover(n.left), cover(n.left + 1));
        let whole = left + right;
        if whole > 0.0 { [left / whole, right / whole] } else { [0.5, 0.5] }
    }
}

struct Walk<'a> {
    trees: &'a Trees,
    row: &'a [f32],
    wide: usize,
    out: &'a mut [f64],
}

impl Walk<'_> {
    fn visit(&mut self, node: u32, mut path: Vec<Step>, step: Step) {
        extend(&mut path, step);
        let n = self.trees.nodes[node as usize];
        if n.is_leaf() {
            let value = f64::from(self.trees.values[n.extra as usize + self.wide]);
            for i in 1..path.len() {
                let weight = weight_without(&path, i);
                let s = &path[i];
                self.out[s.feature as usize] += weight * (s.known - s.unknown) * value;
            }
            return;
        }
        let feature = u32::from(n.feature);
        let (mut unknown, mut known) = (1.0, 1.0);
        // A feature that was met before counts once.
        if let Some(i) = path.iter().skip(1).position(|s| s.feature == feature).map(|i| i + 1) {
            (unknown, known) = (path[i].unknown, path[i].known);
            unwind(&mut path, i);
        }
        let right = self.trees.goes_right(&n, self.row);
        for (child, share, taken) in self
            .trees
            .shares(&n)
            .into_iter()
            .enumerate()
            .map(|(i, share)| (n.left + i as u32, share, (i == 1) == right))
        {
            let step = Step {
                feature,
                unknown: unknown * share,
                known: if taken { known } else { 0.0 },
                weight: 0.0,
            };
            self.visit(child, path.clone(), step);
        }
    }
}

/// Adds a feature: the weights are then those of subsets of one more, by size.
fn extend(path: &mut Vec<Step>, step: Step) {
    let l = path.len();
    path.push(Step { weight: if l == 0 { 1.0 } else { 0.0 }, ..step });
    for i in (0..l).rev() {
        let weight = path[i].weight;
        path[i + 1].weight += step.known * weight * (i + 1) as f64 / (l + 1) as f64;
        path[i].weight = step.unknown * weight * (l - i) as f64 / (l + 1) as f64;
    }
}

/// Takes a feature out again.
fn unwind(path: &mut Vec<Step>, at: usize) {
    let l = path.len() - 1;
    let Step { known, unknown, .. } = path[at];
    let mut next = path[l].weight;
    for i in (0..l).rev() {
        let weight = path[i].weight;
        if known == 0.0 {
            path[i].weight = weight * (l + 1) as f64 / (unknown * (l - i) as f64);
        } else {
            path[i].weight = next * (l + 1) as f64 / ((i + 1) as f64 * known);
            next = weight - path[i].weight * unknown * (l - i) as f64 / (l + 1) as f64;
        }
    }
    for i in at..l {
        path[i] = Step { weight: path[i].weight, ..path[i + 1] };
    }
    path.pop();
}

/// Sum of the weights if a feature were taken out.
fn weight_without(path: &[Step], at: usize) -> f64 {
    let l = path.len() - 1;
    let Step { known, unknown, .. } = path[at];
    let mut next = path[l].weight;
    let mut total = 0.0;
    for i in (0..l).rev() {
        if known == 0.0 {
            total += path[i].weight * (l + 1) as f64 / (unknown * (l - i) as f64);
        } else {
            let weight = next * (l + 1) as f64 / ((i + 1) as f64 * known);
            total += weight;
            next = path[i].weight - weight * unknown * (l - i) as f64 / (l + 1) as f64;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Inline;
    use crate::random::Random;
    use crate::tree::boosting::{Boosting, Options, Samples};
    use crate::tree::forest::{self, Forest};
    use crate::{Feature, Kind, Matrix};

    /// The definition, by all orders in which features may become known.
    fn by_definition(trees: &Trees, row: &[f32], output: usize) -> Vec<f64> {
        let value = |known: u32| {
            trees
                .roots
                .iter()
                .filter(|r| r.output == Root::ALL || usize::from(r.output) == output)
                .map(|r| expect(trees, row, known, if r.output == Root::ALL { output } else { 0 }, r.node))
                .sum::<f64>()
        };
        let n = trees.features() as u32;
        let factorial = |k: u32| (1..=k).map(f64::from).product::<f64>();
        (0..n)
            .map(|f| {
                (0..1_u32 << n)
                    .filter(|set| set >> f & 1 == 0)
                    .map(|set| {
                        let k = set.count_ones();
                        factorial(k) * factorial(n - k - 1) / factorial(n)
                            * (value(set | 1 << f) - value(set))
                    })
                    .sum()
            })
            .collect()
    }

    fn expect(trees: &Trees, row: &[f32], known: u32, wide: usize, node: u32) -> f64 {
        let n = &trees.nodes[node as usize];
        if n.is_leaf() {
            return f64::from(trees.values[n.extra as usize + wide]);
        }
        let [left, right] = trees.shares(n);
        let child = |c: u32| expect(trees, row, known, wide, n.left + c);
        if known >> n.feature & 1 == 1 {
            child(u32::from(trees.goes_right(n, row)))
        } else {
            left * child(0) + right * child(1)
        }
    }

    fn rows() -> (Matrix, Vec<Feature>, Vec<u32>) {
        let mut random = Random::new(3, 0);
        let n = 400;
        let mut values = Vec::new();
        let mut classes = Vec::new();
        for _ in 0..n {
            let x: Vec<f32> = (0..4).map(|_| random.normal() as f32).collect();
            let category = random.below(6);
            let odd = x[0] * x[1] > 0.3 || (category % 2 == 1 && x[2] > 0.0);
            classes.push(u32::from(odd) + u32::from(odd && x[3] > 0.5));
            values.extend(&x);
            values.push(category as f32);
        }
        for v in values.iter_mut().step_by(7) {
            *v = f32::NAN;
        }
        let names = (0..6).map(|i| format!("c{i}")).collect();
        let mut schema: Vec<Feature> =
            (0..4).map(|i| Feature { name: format!("x{i}"), kind: Kind::Numeric }).collect();
        schema.push(Feature { name: "c".into(), kind: Kind::Categorical(names) });
        (Matrix::new(5, values).unwrap(), schema, classes)
    }

    fn check(trees: &Trees, rows: &Matrix) {
        for row in rows.iter().take(25) {
            for output in 0..trees.outputs() {
                let mut found = vec![0.0; trees.features()];
                let base = trees.contributions(row, output, &mut found);
                for (found, expected) in found.iter().zip(by_definition(trees, row, output)) {
                    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
                }
                let mut scores = vec![0.0; trees.outputs()];
                trees.add(row, &mut scores);
                let sum = base + found.iter().sum::<f64>();
                assert!((sum - f64::from(scores[output])).abs() < 1e-4, "{sum} is not {}", scores[output]);
            }
        }
    }

    #[test]
    fn contributions_of_boosted_trees_are_those_of_the_definition() {
        let (rows, schema, classes) = rows();
        let samples = Samples { rows: &rows, classes: &classes, weights: None };
        let options = Options { rounds: 5, min_rows: 5.0, ..Options::default() };
        let model = Boosting::train(&samples, &schema, 3, &options, None, &Inline).unwrap();
        check(model.trees(), &rows);
    }

    #[test]
    fn contributions_of_a_forest_are_those_of_the_definition() {
        let (rows, schema, classes) = rows();
        let samples = Samples { rows: &rows, classes: &classes, weights: None };
        let options = forest::Options { trees: 5, ..forest::Options::default() };
        let model = Forest::train(&samples, &schema, 3, &options, &Inline).unwrap();
        check(model.trees(), &rows);
    }

    #[test]
    fn wrong_shapes_contribute_nothing() {
        let trees = Trees::new(2, 1);
        let mut out = [0.0; 2];
        assert_eq!(trees.contributions(&[1.0], 0, &mut out), 0.0);
        assert_eq!(trees.contributions(&[1.0, 2.0], 1, &mut out), 0.0);
        assert_eq!(out, [0.0; 2]);
    }
}
