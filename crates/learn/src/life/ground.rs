//! What a classifier was trained on, in small: so that it can be trained anew with more, where the captures are not.
//!
//! Values are kept as bins of at most 254 a feature, each with one value that stands for it, and rows that are alike are kept
//! once with their number. So a hundred thousand flows take less than a megabyte. Beside each row stands what a classifier of the
//! same kind that did not learn from its group took it for: against that, classifiers trained later are held.

use crate::LearnError;
use crate::bins::{Binning, Bins};
use crate::codec::{CodecError, Pack, ensure};
use crate::hybrid::Verdict;
use crate::matrix::{Feature, Kind, Matrix};
use crate::pool::Inline;
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most different rows: training on all of them takes some ten seconds.
pub const MAX_ROWS: usize = 16_000;
/// Most different rows of attacks. What is normal is the more varied and gets the rest.
const MAX_ATTACKS: usize = 6_000;
/// Most bins of a feature with values; the code after the last is "absent".
const MAX_BINS: usize = 254;
/// Most classes: codes for "normal" and "unknown" come after them.
const MAX_CLASSES: usize = 254;
/// Taken for normal.
const NORMAL: u8 = 254;
/// Taken for nothing known.
const UNKNOWN: u8 = 255;
/// Rows alike that are learnt from one by one; further ones are weight. As many as a leaf must have.
const COPIES: u32 = 20;

/// The sample; see the module. It says nothing of who: groups are numbers, and features are what the schema names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ground {
    schema: Vec<Feature>,
    names: Vec<String>,
    normal: u32,
    /// By feature: the value of each bin. Empty for categories, whose codes are their places.
    values: Vec<Vec<f32>>,
    /// By feature, then row.
    codes: Vec<Vec<u8>>,
    /// By row.
    classes: Vec<u8>,
    /// By row: rows of one group are never divided between learning and checking.
    groups: Vec<u32>,
    /// By row: how many were alike.
    counts: Vec<u32>,
    /// By row: a class, [`NORMAL`] or [`UNKNOWN`].
    taken: Vec<u8>,
    /// By row: how many different ones of its class and group it stands for, at least 1.
    stands: Vec<f32>,
}

/// What a sample is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Features.
    pub rows: &'a Matrix,
    /// What they mean.
    pub schema: &'a [Feature],
    /// Class of each row: a place in `names`.
    pub classes: &'a [u32],
    /// Names of the classes, at most 254.
    pub names: &'a [String],
    /// The normal class.
    pub normal: u32,
    /// Group of each row, below 2^32.
    pub groups: &'a [u64],
    /// What a classifier that did not learn from its group took each row for.
    pub taken: &'a [Verdict],
}

/// Rows to learn from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Features.
    pub values: Vec<f32>,
    /// Class of each.
    pub classes: Vec<u32>,
    /// Weight of each, above 0.
    pub weights: Vec<f32>,
}

/// A row to measure with.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Features.
    pub row: Vec<f32>,
    /// Its class.
    pub class: u32,
    /// What it was taken for by a classifier that did not learn from its group.
    pub taken: Verdict,
    /// How many were alike, 20 at most.
    pub copies: u32,
}

impl Ground {
    /// Draws a sample.
    ///
    /// # Errors
    /// Shapes that do not fit, no rows, or more classes or categories than there are codes.
    pub fn draw(known: &Known<'_>, seed: u64) -> Result<Self, LearnError> {
        let Known { rows, schema, classes, names, normal, groups, taken } = *known;
        let same = |what, found: usize, expected: usize| {
            if found == expected { Ok(()) } else { Err(LearnError::Shape { what, expected, found }) }
        };
        same("classes of the rows", classes.len(), rows.rows())?;
        same("groups of the rows", groups.len(), rows.rows())?;
        same("judgements of the rows", taken.len(), rows.rows())?;
        let categories = |f: &Feature| if let Kind::Categorical(words) = &f.kind { words.len() } else { 0 };
        if names.len() > MAX_CLASSES || schema.iter().any(|f| categories(f) > MAX_BINS) {
            return Err(LearnError::Option { option: "classes and categories", expected: "at most 254" });
        }
        if classes.iter().chain([&normal]).any(|c| *c as usize >= names.len()) {
            return Err(LearnError::Option { option: "classes", expected: "places in the list of names" });
        }
        let binning = Binning::fit(rows, schema, &Inline)?;
        let coders: Vec<Coder> =
            (0..schema.len()).map(|f| Coder::new(&binning.features[f], &schema[f], rows, f)).collect();
        // Rows that are alike, in order, so that the same rows give the same sample.
        let mut alike: BTreeMap<(u8, u64, u8, Vec<u8>), u32> = BTreeMap::new();
        for (row, ((class, group), taken)) in rows.iter().zip(classes.iter().zip(groups).zip(taken)) {
            let codes: Vec<u8> = row.iter().zip(&coders).map(|(v, c)| c.code(*v)).collect();
            let taken = match taken {
                Verdict::Normal => NORMAL,
                Verdict::Unknown => UNKNOWN,
                Verdict::Known(class) => *class as u8,
            };
            *alike.entry((*class as u8, *group, taken, codes)).or_default() += 1;
        }
        // By class and group, so that no large capture crowds out the others.
        let mut strata: BTreeMap<(u8, u64), Vec<Alike>> = BTreeMap::new();
        for ((class, group, taken, codes), count) in alike {
            strata.entry((class, group)).or_default().push(Alike { codes, taken, count });
        }
        // Each of them has one row at least.
        if strata.len() > MAX_ATTACKS {
            return Err(LearnError::Option {
                option: "groups of classes",
                expected: "fewer than the rows that are kept",
            });
        }
        let sizes = |of: &dyn Fn(u8) -> bool| -> Vec<usize> {
            strata.iter().filter(|((c, _), _)| of(*c)).map(|(_, rows)| rows.len()).collect()
        };
        let is_normal = |class: u8| u32::from(class) == normal;
        let attacks = sizes(&|c| !is_normal(c));
        let most_attacks = fair(&attacks, MAX_ATTACKS);
        let places = MAX_ROWS - attacks.iter().map(|n| n.min(&most_attacks)).sum::<usize>();
        let most_normal = fair(&sizes(&is_normal), places);
        let mut random = Random::new(seed, 0x67);
        let mut ground = Self {
            schema: schema.to_vec(),
            names: names.to_vec(),
            normal,
            values: coders.into_iter().map(|c| c.values).collect(),
            codes: vec![Vec::new(); schema.len()],
            classes: Vec::new(),
            groups: Vec::new(),
            counts: Vec::new(),
            taken: Vec::new(),
            stands: Vec::new(),
        };
        for ((class, group), mut rows) in strata {
            let all: f32 = rows.iter().map(|r| r.count as f32).sum();
            random.shuffle(&mut rows);
            rows.truncate(if is_normal(class) { most_normal } else { most_attacks });
            let kept: f32 = rows.iter().map(|r| r.count as f32).sum();
            for Alike { codes, taken, count } in rows {
                // As they were divided when what rows were taken for was found out, so they are divided again.
                ground.groups.push(group as u32);
                ground.classes.push(class);
                ground.counts.push(count);
                ground.taken.push(taken);
                ground.stands.push(all / kept);
                ground.codes.iter_mut().zip(codes).for_each(|(column, code)| column.push(code));
            }
        }
        Ok(ground)
    }

    /// The features.
    #[must_use]
    pub fn schema(&self) -> &[Feature] {
        &self.schema
    }

    /// Names of the classes.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The normal class: its place in [`Self::names`].
    #[must_use]
    pub const fn normal(&self) -> u32 {
        self.normal
    }

    /// Different rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Whether a row is of one of so many parts, into which groups are divided.
    fn is_in(&self, row: usize, part: u32, parts: u32) -> bool {
        self.groups[row] % parts.max(1) == part
    }

    fn push_row(&self, row: usize, out: &mut Vec<f32>) {
        out.extend(self.codes.iter().zip(self.schema.iter().zip(&self.values)).map(
            |(column, (f, values))| {
                let code = usize::from(column[row]);
                match &f.kind {
                    Kind::Categorical(words) if code < words.len() => code as f32,
                    Kind::Categorical(_) => f32::NAN,
                    Kind::Numeric => values.get(code).copied().unwrap_or(f32::NAN),
                }
            },
        ));
    }

    /// The rows to learn from; with `without`, all but those of one of so many parts.
    #[must_use]
    pub fn rows(&self, without: Option<(u32, u32)>) -> Rows {
        let mut out = Rows::default();
        for row in 0..self.len() {
            if without.is_some_and(|(part, parts)| self.is_in(row, part, parts)) {
                continue;
            }
            let copies = self.counts[row].min(COPIES);
            let class = self.classes[row];
            let weight = self.counts[row] as f32 / copies as f32 * self.stands[row];
            for _ in 0..copies {
                self.push_row(row, &mut out.values);
                out.classes.push(class.into());
                out.weights.push(weight);
            }
        }
        out
    }

    /// The rows of one of so many parts, to measure with.
    #[must_use]
    pub fn cases(&self, part: u32, parts: u32) -> Vec<Case> {
        let case = |row: usize| {
            let mut values = Vec::with_capacity(self.schema.len());
            self.push_row(row, &mut values);
            let taken = match self.taken[row] {
                NORMAL => Verdict::Normal,
                UNKNOWN => Verdict::Unknown,
                class => Verdict::Known(class.into()),
            };
            let copies = self.counts[row].min(COPIES);
            Case { row: values, class: self.classes[row].into(), taken, copies }
        };
        (0..self.len()).filter(|row| self.is_in(*row, part, parts)).map(case).collect()
    }
}

/// Rows of one class and group that are alike.
struct Alike {
    codes: Vec<u8>,
    taken: u8,
    count: u32,
}

/// The bound at which so many sets fill so many places together: small ones leave theirs to large ones. At least 1.
fn fair(sizes: &[usize], places: usize) -> usize {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    let (mut left, mut sets) = (places, sizes.len());
    for size in sizes {
        if size * sets > left {
            return (left / sets).max(1);
        }
        left -= size;
        sets -= 1;
    }
    places
}

/// How values of one feature become codes, and back.
struct Coder<'a> {
    bins: &'a Bins,
    /// Categories; 0 of a numeric feature.
    words: usize,
    values: Vec<f32>,
}

impl<'a> Coder<'a> {
    fn new(bins: &'a Bins, feature: &Feature, rows: &Matrix, at: usize) -> Self {
        if let Kind::Categorical(words) = &feature.kind {
            return Self { bins, words: words.len(), values: Vec::new() };
        }
        let mut all: Vec<f32> = rows.iter().map(|r| r[at]).filter(|v| !v.is_nan()).collect();
        all.sort_unstable_by(f32::total_cmp);
        let mut values = Vec::with_capacity(bins.present());
        let mut rest = all.as_slice();
        for bin in 0..bins.present() {
            let (own, later) = rest.split_at(rest.partition_point(|v| usize::from(bins.of(*v)) <= bin));
            rest = later;
            // The median is a value that occurred; a bin without values stands for what the one before does.
            let last = values.last().copied().unwrap_or(0.0);
            values.push(own.get(own.len() / 2).copied().unwrap_or(last));
        }
        Self { bins, words: 0, values }
    }

    fn code(&self, value: f32) -> u8 {
        if self.words > 0 {
            let known = (0.0..self.words as f32).contains(&value);
            return if known { value as u8 } else { self.words as u8 };
        }
        self.bins.of(value)
    }
}

impl Pack for Ground {
    const KIND: [u8; 4] = *b"grnd";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        let (rows, width) = (self.len(), self.schema.len());
        ensure((1..=MAX_ROWS).contains(&rows), "the number of rows")?;
        ensure(
            width > 0 && self.values.len() == width && self.codes.len() == width,
            "the number of features",
        )?;
        ensure((1..=MAX_CLASSES).contains(&self.names.len()), "the number of classes")?;
        let columns = [self.groups.len(), self.counts.len(), self.taken.len()];
        ensure(
            columns
                .iter()
                .chain(self.codes.iter().map(Vec::len).collect::<Vec<_>>().iter())
                .all(|n| *n == rows),
            "the length of columns",
        )?;
        let is_class = |c: u8| usize::from(c) < self.names.len();
        ensure((self.normal as usize) < self.names.len(), "the normal class")?;
        ensure(self.classes.iter().all(|c| is_class(*c)), "a class without a name")?;
        ensure(self.taken.iter().all(|t| is_class(*t) || *t >= NORMAL), "a judgement without a name")?;
        ensure(self.counts.iter().all(|n| *n > 0), "rows that are none")?;
        let weight = |w: &f32| w.is_finite() && *w >= 1.0;
        ensure(self.stands.len() == rows && self.stands.iter().all(weight), "weights of rows")?;
        for (feature, values) in self.schema.iter().zip(&self.values) {
            let fits = match &feature.kind {
                Kind::Categorical(words) => words.len() <= MAX_BINS && values.is_empty(),
                Kind::Numeric => values.len() <= MAX_BINS && values.iter().all(|v| !v.is_nan()),
            };
            ensure(fits, "the bins of a feature")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{from_bytes, to_bytes};

    fn schema() -> Vec<Feature> {
        let words = Kind::Categorical(vec!["tcp".into(), "udp".into()]);
        let feature = |name: &str, kind| Feature { name: name.into(), kind };
        vec![feature("length", Kind::Numeric), feature("proto", words)]
    }

    /// `n` rows of the classes 0 (normal) and 1 in groups of ten; every seventh is without a length.
    fn ground(n: usize, different: usize) -> (Matrix, Ground) {
        let row = |i: usize| {
            let length = if i.is_multiple_of(7) { f32::NAN } else { (i % different) as f32 * 1.5 };
            [length, (i % 3) as f32]
        };
        let rows = Matrix::new(2, (0..n).flat_map(row).collect()).unwrap();
        let classes: Vec<u32> = (0..n).map(|i| (i % 2) as u32).collect();
        let groups: Vec<u64> = (0..n).map(|i| 1000 + i as u64 / 10 % 50).collect();
        let taken: Vec<Verdict> =
            (0..n).map(|i| if i % 2 == 0 { Verdict::Normal } else { Verdict::Known(1) }).collect();
        let names = ["benign".to_owned(), "port_scan".to_owned()];
        let schema = schema();
        let known = Known {
            rows: &rows,
            schema: &schema,
            classes: &classes,
            names: &names,
            normal: 0,
            groups: &groups,
            taken: &taken,
        };
        let ground = Ground::draw(&known, 1).unwrap();
        (rows, ground)
    }

    #[test]
    fn few_values_come_back_as_they_were_and_alike_rows_are_kept_once() {
        let (rows, ground) = ground(4000, 5);
        assert!(ground.len() < 3000, "{}", ground.len());
        let back = ground.rows(None);
        let sum = |values: &mut dyn Iterator<Item = (f32, f32)>| -> f64 {
            values.filter(|(v, _)| !v.is_nan()).map(|(v, w)| f64::from(v * w)).sum()
        };
        let before = sum(&mut rows.iter().map(|r| (r[0], 1.0)));
        let after = sum(&mut back.values.chunks(2).zip(&back.weights).map(|(r, w)| (r[0], *w)));
        assert!((before - after).abs() < 1.0, "{before} {after}");
        let absent = |values: &[f32]| values.chunks(2).filter(|r| r[1].is_nan()).count() > 0;
        assert!(absent(&back.values), "a word that is not in the list is absent");
        assert_eq!(from_bytes::<Ground>(&to_bytes(&ground)), Ok(ground));
    }

    #[test]
    fn many_rows_are_drawn_from_and_stand_for_the_others() {
        let (rows, ground) = ground(30_000, 29_989);
        assert!(ground.len() <= MAX_ROWS);
        let total: f32 = ground.rows(None).weights.iter().sum();
        assert!((total - rows.rows() as f32).abs() < 30.0, "{total}");
        assert!(to_bytes(&ground).len() < 300_000);
    }

    #[test]
    fn small_sets_leave_their_places_to_large_ones() {
        for (sizes, places, bound) in [
            (vec![10, 20, 30], 100, 100),
            (vec![10, 20, 300], 100, 70),
            (vec![500, 10, 500], 100, 45),
            (vec![9, 9, 9], 9, 3),
            (Vec::new(), 9, 9),
        ] {
            assert_eq!(fair(&sizes, places), bound, "{sizes:?}");
        }
    }

    #[test]
    fn a_part_is_measured_with_and_not_learnt_from() {
        let (_, ground) = ground(4000, 5);
        let (learnt, all) = (ground.rows(Some((2, 5))), ground.rows(None));
        let cases = ground.cases(2, 5);
        let measured: u32 = cases.iter().map(|c| c.copies).sum();
        assert_eq!(learnt.classes.len() + measured as usize, all.classes.len());
        assert!(cases.iter().all(|c| (c.class == 0) == (c.taken == Verdict::Normal)));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let (_, good) = ground(100, 5);
        type Change = fn(&mut Ground);
        let changes: [Change; 7] = [
            |g| g.classes[0] = 2,
            |g| g.taken[0] = 9,
            |g| g.codes[0].truncate(1),
            |g| g.counts[0] = 0,
            |g| g.stands[0] = f32::NAN,
            |g| g.values[0][0] = f32::NAN,
            |g| g.normal = 2,
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(from_bytes::<Ground>(&to_bytes(&bad)).is_err(), "change {n}");
        }
    }
}
