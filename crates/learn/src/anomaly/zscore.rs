//! The statistical view: each feature's modified z-score, against what the entity usually does at this hour.
//!
//! A modified z-score is the distance from the median in units of the median absolute deviation (Iglewicz and Hoaglin,
//! 1993). What "usual" means is taken from the finest of these with enough windows: the entity at this hour of the week,
//! the entity, everybody at this hour of the week, everybody.

use super::{Scale, Scaling};
use crate::codec::{CodecError, Pack, ensure};
use crate::random::Random;
use crate::{LearnError, Matrix};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Hours of a week.
pub const HOURS: u16 = 168;
/// Windows kept of each entity and hour, and of each coarser group: enough for a median, few enough for many entities.
const KEPT: usize = 128;
/// Windows from which a group's own scale is trusted.
const ENOUGH: usize = 32;
/// The modified z-score beyond which one feature is as strange as it gets for ranking.
const MOST: f32 = 1e4;

/// Whose and which windows a scale is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Group {
    /// Hash of the entity; `None` is everybody.
    entity: Option<u64>,
    /// Hour of the week; `None` is always.
    hour: Option<u16>,
}

/// Collects windows for [`Usual`]. Memory: at most `entities` × 169 × [`KEPT`] windows, in practice those of hours that an
/// entity was seen in; entities beyond the bound count for everybody only.
#[derive(Clone, Debug)]
pub struct Collector {
    features: usize,
    entities: usize,
    random: Random,
    groups: BTreeMap<Group, (u64, Vec<f32>)>,
    known: BTreeSet<u64>,
    /// Entities for which there was no room.
    pub left_out: u64,
}

impl Collector {
    /// Of windows of some features, about at most some entities.
    #[must_use]
    pub fn new(features: usize, entities: usize, seed: u64) -> Self {
        Self {
            features,
            entities,
            random: Random::new(seed, 0),
            groups: BTreeMap::new(),
            known: BTreeSet::new(),
            left_out: 0,
        }
    }

    /// Takes in one window of an entity in an hour of the week. Windows of another width are ignored.
    pub fn add(&mut self, entity: u64, hour: u16, window: &[f32]) {
        if window.len() != self.features {
            return;
        }
        let hour = Some(hour % HOURS);
        let known = self.known.contains(&entity);
        let room = known || self.known.len() < self.entities;
        if room && !known {
            self.known.insert(entity);
        }
        self.left_out += u64::from(!room);
        let own = [Group { entity: Some(entity), hour }, Group { entity: Some(entity), hour: None }];
        let all = [Group { entity: None, hour }, Group { entity: None, hour: None }];
        for group in own.into_iter().filter(|_| room).chain(all) {
            // Everybody's windows are spread over many entities: keep more of them.
            let most = if group.entity.is_none() { KEPT * 16 } else { KEPT };
            let (seen, kept) = self.groups.entry(group).or_default();
            *seen += 1;
            // A reservoir: each window seen is kept with the same chance (Vitter, 1985).
            if kept.len() < most * self.features {
                kept.extend(window);
            } else {
                let place = self.random.below(usize::try_from(*seen).unwrap_or(usize::MAX));
                if place < most {
                    kept[place * self.features..][..self.features].copy_from_slice(window);
                }
            }
        }
    }

    /// What is usual.
    ///
    /// # Errors
    /// No windows.
    pub fn finish(&self) -> Result<Usual, LearnError> {
        let mut groups = Vec::new();
        for (group, (_, kept)) in &self.groups {
            let everybody = *group == Group { entity: None, hour: None };
            if everybody || kept.len() >= ENOUGH * self.features {
                groups.push((*group, Scaling::fit(&Matrix::new(self.features, kept.clone())?)?));
            }
        }
        if groups.is_empty() {
            return Err(LearnError::Empty);
        }
        Ok(Usual { groups })
    }
}

/// What is usual, for whom and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// Sorted by group.
    groups: Vec<(Group, Scaling)>,
}

/// One feature's part in a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// Which feature.
    pub feature: usize,
    /// Modified z-score, signed.
    pub z: f32,
    /// What is usual: the median, in the feature's own unit.
    pub usual: f32,
}

impl Pack for Usual {
    const KIND: [u8; 4] = *b"zsco";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        ensure(!self.groups.is_empty() && self.groups.is_sorted_by(|a, b| a.0 < b.0), "the order of groups")?;
        let width = self.groups[0].1.len();
        for (_, scaling) in &self.groups {
            scaling.check()?;
            ensure(scaling.len() == width, "the number of features of a group")?;
        }
        Ok(())
    }
}

impl Usual {
    /// The scale that applies.
    #[must_use]
    pub fn scaling(&self, entity: u64, hour: u16) -> Option<&Scaling> {
        let hour = Some(hour % HOURS);
        [(Some(entity), hour), (Some(entity), None), (None, hour), (None, None)].into_iter().find_map(
            |(entity, hour)| {
                let group = Group { entity, hour };
                let at = self.groups.binary_search_by(|(g, _)| g.cmp(&group)).ok()?;
                Some(&self.groups[at].1)
            },
        )
    }

    /// How strange a window is: the root of the mean square of its three largest deviations, so that neither one noisy
    /// feature nor the number of features decides. 0 for windows of another width.
    #[must_use]
    pub fn score(&self, entity: u64, hour: u16, window: &[f32]) -> f32 {
        let mut largest = [0.0_f32; 3];
        let Some(scaling) = self.scaling(entity, hour).filter(|s| s.len() == window.len()) else {
            return 0.0;
        };
        for (scale, v) in scaling.features().iter().zip(window) {
            let z = scale.of(*v).abs().min(MOST);
            if z > largest[2] {
                largest[2] = z;
                largest.sort_unstable_by(|a, b| b.total_cmp(a));
            }
        }
        let n = window.len().clamp(1, 3) as f32;
        (largest.iter().map(|z| z * z).sum::<f32>() / n).sqrt()
    }

    /// The `n` features that deviate most, largest first.
    #[must_use]
    pub fn deviations(&self, entity: u64, hour: u16, window: &[f32], n: usize) -> Vec<Deviation> {
        let Some(scaling) = self.scaling(entity, hour).filter(|s| s.len() == window.len()) else {
            return Vec::new();
        };
        let of = |(feature, (scale, v)): (usize, (&Scale, &f32))| Deviation {
            feature,
            z: scale.of(*v),
            usual: scale.value(0.0),
        };
        let mut all: Vec<Deviation> = scaling.features().iter().zip(window).enumerate().map(of).collect();
        all.sort_by(|a, b| b.z.abs().total_cmp(&a.z.abs()).then(a.feature.cmp(&b.feature)));
        all.truncate(n);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entity 1 is busy in hour 10 and quiet else; entity 2 is always quiet.
    fn usual() -> Usual {
        let mut random = Random::new(1, 0);
        let mut c = Collector::new(2, 10, 0);
        for i in 0..4000_u32 {
            let (entity, hour) = (u64::from(i % 2) + 1, (i / 2 % 24) as u16);
            let level = if entity == 1 && hour == 10 { 100.0 } else { 10.0 };
            c.add(entity, hour, &[level + random.normal() as f32, random.normal() as f32]);
        }
        c.finish().unwrap()
    }

    #[test]
    fn what_is_usual_depends_on_who_and_when() {
        let usual = usual();
        let score = |entity, hour, v| usual.score(entity, hour, &[v, 0.0]);
        assert!(score(1, 10, 100.0) < 3.0 && score(1, 11, 100.0) > 30.0 && score(2, 10, 100.0) > 30.0);
        assert!(score(1, 10, 10.0) > 10.0);
        // A stranger is compared with everybody at that hour, then with everybody.
        assert!(score(9, 3, 10.0) < 3.0 && score(9, 99, 10.0) < 3.0 && score(9, 99, 100.0) > 30.0);
    }

    #[test]
    fn the_features_that_deviate_most_are_named_with_what_is_usual() {
        let top = usual().deviations(2, 5, &[50.0, 0.0], 1);
        assert_eq!(top[0].feature, 0);
        assert!(top[0].z > 20.0 && (top[0].usual - 10.0).abs() < 1.0, "{top:?}");
    }

    #[test]
    fn strangers_beyond_the_bound_and_odd_widths_do_no_harm() {
        let mut c = Collector::new(1, 1, 0);
        assert_eq!(c.finish().err(), Some(LearnError::Empty));
        for i in 0..500 {
            c.add(i, 0, &[i as f32]);
            c.add(i, 0, &[0.0, 0.0]);
        }
        assert_eq!(c.left_out, 499);
        let usual = c.finish().unwrap();
        assert_eq!(usual.score(0, 0, &[1.0, 2.0]), 0.0);
        assert!(usual.deviations(0, 0, &[], 3).is_empty());
    }
}
