//! Prefixes of several lists in one table that is searched fast and never changed.
//!
//! Prefixes nest or are disjoint, so that the lists together cut the addresses into runs of equal answers. The table holds
//! where each run begins and which answer it has, in blocks of a few neighbouring cache lines; above them stand samples: of
//! the first key of each block (of IPv6 its upper half), of every 16th of those, and so on. A search looks at one place of
//! each level, and only the lowest is large enough to be out of the caches.

use crate::Prefix;
use std::collections::HashMap;
use std::net::IpAddr;

/// Samples of one level that a search compares at once: of IPv4 one cache line, of IPv6 two.
const SAMPLES: usize = 16;
/// Runs of IPv4 in a block: two cache lines.
const BLOCK_V4: usize = 16;
/// Runs of IPv6 in a block: two and a half cache lines.
const BLOCK_V6: usize = 8;
/// Prefixes one table takes; beyond, further ones are refused and counted. Twice what the figures promise.
pub const MAX_PREFIXES: usize = 2_000_000;

/// What one list says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hit {
    /// Which list, in the order of the configuration.
    pub list: u16,
    /// How sure the list itself is, percent.
    pub strength: u8,
    /// Number of the remark it gives, 0 for none.
    pub note: u16,
}

/// An address as a number of its own width.
trait Key: Copy + Ord {
    /// What samples keep of it: as much as one register holds.
    type Sample: Copy + Ord;
    /// The lowest address.
    const MIN: Self;
    /// The highest address.
    const MAX: Self;
    /// Its sample; a higher address has no lower one.
    fn sample(self) -> Self::Sample;
    /// The last address of a prefix that begins here.
    fn last(self, len: u8) -> Self;
    /// The address after; `None` after the last one there is.
    fn next(self) -> Option<Self>;
}

impl Key for u32 {
    type Sample = Self;
    fn sample(self) -> Self {
        self
    }
    const MIN: Self = Self::MIN;
    const MAX: Self = Self::MAX;
    fn last(self, len: u8) -> Self {
        self | Self::MAX.checked_shr(len.into()).unwrap_or(0)
    }
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    type Sample = u64;
    fn sample(self) -> u64 {
        (self >> 64) as u64
    }
    const MIN: Self = Self::MIN;
    const MAX: Self = Self::MAX;
    fn last(self, len: u8) -> Self {
        self | Self::MAX.checked_shr(len.into()).unwrap_or(0)
    }
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// Neighbouring runs: where each begins, ascending, and its answer. What is not used is like the last one, at the highest
/// address.
#[derive(Clone, Debug)]
struct Block<K, const N: usize> {
    keys: [K; N],
    answers: [u32; N],
}

impl<K: Key, const N: usize> Block<K, N> {
    /// Where its first run begins.
    fn begin(&self) -> K {
        self.keys.first().copied().unwrap_or(K::MAX)
    }
}

/// Runs of equal answers.
#[derive(Debug)]
struct Runs<K: Key, const N: usize> {
    blocks: Vec<Block<K, N>>,
    /// Runs in the last block.
    used: usize,
    last: Option<(K, u32)>,
    /// Samples: level 0 of each block's first key, level 1 of every 16th of those, …
    levels: Vec<Vec<K::Sample>>,
}

impl<K: Key, const N: usize> Runs<K, N> {
    fn new() -> Self {
        let mut runs = Self { blocks: Vec::new(), used: N, last: None, levels: Vec::new() };
        runs.begin(K::MIN, 0);
        runs.finish();
        runs
    }

    /// Has the run that begins at `key` the answer `answer`. Keys come ascending; the last of equal ones counts.
    fn begin(&mut self, key: K, answer: u32) {
        match self.last {
            // Held back until the next key, so that it can still be overruled.
            Some((last, _)) if last == key => self.last = Some((key, answer)),
            _ => {
                self.push();
                self.last = Some((key, answer));
            }
        }
    }

    /// Writes the run that was held back, unless it goes on with the answer of the one before.
    fn push(&mut self) {
        let Some((key, answer)) = self.last.take() else { return };
        let before = self.blocks.last().and_then(|b| b.answers.get(self.used.wrapping_sub(1)));
        if before == Some(&answer) {
            return;
        }
        if self.used == N {
            self.blocks.push(Block { keys: [K::MAX; N], answers: [answer; N] });
            self.used = 0;
        }
        if let Some(block) = self.blocks.last_mut() {
            for (at, (k, a)) in block.keys.iter_mut().zip(&mut block.answers).enumerate().skip(self.used) {
                *k = if at == self.used { key } else { K::MAX };
                *a = answer;
            }
        }
        self.used += 1;
    }

    fn finish(&mut self) {
        self.push();
        self.blocks.shrink_to_fit();
        let mut levels: Vec<Vec<K::Sample>> = vec![self.blocks.iter().map(|b| b.begin().sample()).collect()];
        while let Some(below) = levels.last().filter(|l| l.len() > SAMPLES) {
            let above = below.iter().step_by(SAMPLES).copied().collect();
            levels.push(above);
        }
        self.levels = levels;
    }

    fn answer(&self, key: K) -> u32 {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let from = at * SAMPLES;
            let samples = level.get(from..level.len().min(from + SAMPLES)).unwrap_or(&[]);
            at = from + rank(samples, key.sample()).saturating_sub(1);
        }
        // More runs within one sample than a block holds, which is so only where a list names much of one /64.
        if self.blocks.get(at).is_some_and(|b| b.begin() > key) {
            at = self.blocks.partition_point(|b| b.begin() <= key).saturating_sub(1);
        }
        let Some(block) = self.blocks.get(at) else { return 0 };
        block.answers.get(rank(&block.keys, key).saturating_sub(1)).copied().unwrap_or(0)
    }

    fn bytes(&self) -> usize {
        let levels: usize = self.levels.iter().map(Vec::capacity).sum();
        self.blocks.capacity() * size_of::<Block<K, N>>() + levels * size_of::<K::Sample>()
    }
}

/// How many of a few ascending keys are not above `key`. Counting all of them has no branch to guess wrong.
fn rank<K: Copy + Ord>(keys: &[K], key: K) -> usize {
    keys.iter().filter(|k| **k <= key).count()
}

/// The table.
#[derive(Debug)]
pub struct Table {
    v4: Runs<u32, BLOCK_V4>,
    v6: Runs<u128, BLOCK_V6>,
    /// Answers: at most one hit of each list, by list. Answer 0 is no hit.
    answers: Vec<Box<[Hit]>>,
}

impl Default for Table {
    fn default() -> Self {
        Self { v4: Runs::new(), v6: Runs::new(), answers: vec![Box::default()] }
    }
}

impl Table {
    /// Of lists, each in the order of its number.
    ///
    /// Where several prefixes of one list hold an address, the most sure of them counts.
    #[must_use]
    pub fn merge(lists: &[&Builder]) -> Self {
        let mut table = Self::default();
        let mut answers = Answers::default();
        let v4: Vec<_> = lists.iter().map(|l| l.v4.as_slice()).collect();
        let v6: Vec<_> = lists.iter().map(|l| l.v6.as_slice()).collect();
        let hit = |list: usize, entry: usize, is_v4: bool| {
            let of = lists.get(list).copied();
            let hit = of.and_then(|l| {
                if is_v4 { l.v4.get(entry).map(|e| e.hit) } else { l.v6_hits.get(entry).map(|e| e.0) }
            });
            let (strength, note) =
                of.zip(hit).and_then(|(l, h)| l.hits.get(usize::from(h))).copied().unwrap_or_default();
            Hit { list: u16::try_from(list).unwrap_or(u16::MAX), strength, note }
        };
        sweep(&v4, |list, i, e: &Entry4| (e.start, e.len, hit(list, i, true)), &mut table.v4, &mut answers);
        sweep(
            &v6,
            |list, i, start: &u128| {
                let len = lists.get(list).and_then(|l| l.v6_hits.get(i)).map_or(128, |e| e.1);
                (*start, len, hit(list, i, false))
            },
            &mut table.v6,
            &mut answers,
        );
        table.v4.finish();
        table.v6.finish();
        table.answers = answers.all;
        table
    }

    /// What the lists say of an address, by list.
    #[must_use]
    pub fn hits(&self, addr: IpAddr) -> &[Hit] {
        let answer = match addr.to_canonical() {
            IpAddr::V4(a) => self.v4.answer(a.to_bits()),
            IpAddr::V6(a) => self.v6.answer(a.to_bits()),
        };
        self.answers.get(answer as usize).map_or(&[], |hits| hits)
    }

    /// Memory it takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let answers: usize = self.answers.iter().map(|a| size_of_val::<[Hit]>(a)).sum();
        self.v4.bytes() + self.v6.bytes() + self.answers.capacity() * size_of::<Box<[Hit]>>() + answers
    }
}

/// Answers met so far, each once.
struct Answers {
    all: Vec<Box<[Hit]>>,
    /// Which answer a hit makes of another answer.
    with: HashMap<(u32, Hit), u32>,
    known: HashMap<Box<[Hit]>, u32>,
}

impl Default for Answers {
    fn default() -> Self {
        let none: Box<[Hit]> = Box::default();
        Self { all: vec![none.clone()], with: HashMap::new(), known: HashMap::from([(none, 0)]) }
    }
}

impl Answers {
    fn with(&mut self, answer: u32, hit: Hit) -> u32 {
        if let Some(known) = self.with.get(&(answer, hit)) {
            return *known;
        }
        let mut hits = self.all.get(answer as usize).map_or_else(Vec::new, |h| h.to_vec());
        match hits.binary_search_by_key(&hit.list, |h| h.list) {
            Ok(at) => {
                // `at` is in range: it was just found.
                if let Some(old) = hits.get_mut(at).filter(|old| hit.strength > old.strength) {
                    *old = hit;
                }
            }
            Err(at) => hits.insert(at, hit),
        }
        let hits = hits.into_boxed_slice();
        let made = match self.known.get(&hits) {
            Some(known) => *known,
            None => {
                let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
                self.all.push(hits.clone());
                self.known.insert(hits, next);
                next
            }
        };
        self.with.insert((answer, hit), made);
        made
    }
}

/// Walks all lists in order of address and writes down where the answer changes. `read` gives start, length and hit of an
/// entry.
fn sweep<K: Key, const N: usize, E>(
    lists: &[&[E]],
    read: impl Fn(usize, usize, &E) -> (K, u8, Hit),
    runs: &mut Runs<K, N>,
    answers: &mut Answers,
) {
    let mut heads = vec![0_usize; lists.len()];
    // Prefixes that hold the present address, widest first: last address and answer within.
    let mut open: Vec<(K, u32)> = Vec::new();
    loop {
        let next = lists
            .iter()
            .enumerate()
            .filter_map(|(list, entries)| {
                let at = *heads.get(list)?;
                entries.get(at).map(|e| (read(list, at, e), list))
            })
            .min_by_key(|((start, len, _), list)| (*start, *len, *list));
        let start = next.map(|((start, ..), _)| start);
        while let Some(&(last, _)) = open.last()
            && start.is_none_or(|s| last < s)
        {
            open.pop();
            if let Some(after) = last.next() {
                runs.begin(after, open.last().map_or(0, |o| o.1));
            }
        }
        let Some(((start, len, hit), list)) = next else { break };
        if let Some(head) = heads.get_mut(list) {
            *head += 1;
        }
        let answer = answers.with(open.last().map_or(0, |o| o.1), hit);
        open.push((start.last(len), answer));
        runs.begin(start, answer);
    }
}

/// An IPv4 prefix of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry4 {
    start: u32,
    len: u8,
    hit: u16,
}

/// The prefixes of one list, kept for the next merge. Takes [`MAX_PREFIXES`] at most.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    v4: Vec<Entry4>,
    /// Starts of IPv6 prefixes; apart from their hits, for the sake of alignment.
    v6: Vec<u128>,
    v6_hits: Vec<(u16, u8)>,
    /// Strength and note of hits: entries name them by number.
    hits: Vec<(u8, u16)>,
    numbers: HashMap<(u8, u16), u16>,
    refused: u64,
}

impl Builder {
    /// Adds a prefix: how sure its list is, percent, and the number of its remark.
    pub fn add(&mut self, prefix: Prefix, strength: u8, note: u16) {
        if self.len() >= MAX_PREFIXES {
            self.refused += 1;
            return;
        }
        let strength = strength.min(100);
        let mut hit = self.number(strength, note);
        if hit.is_none() {
            // So many different remarks that numbers ran out: this one is left out rather than the prefix.
            hit = self.number(strength, 0);
        }
        let hit = hit.unwrap_or(0);
        match prefix.addr() {
            IpAddr::V4(a) => self.v4.push(Entry4 { start: a.to_bits(), len: prefix.len(), hit }),
            IpAddr::V6(a) => {
                self.v6.push(a.to_bits());
                self.v6_hits.push((hit, prefix.len()));
            }
        }
    }

    fn number(&mut self, strength: u8, note: u16) -> Option<u16> {
        if let Some(known) = self.numbers.get(&(strength, note)) {
            return Some(*known);
        }
        // The last 101 numbers are for hits without remark.
        let most = if note == 0 { u16::MAX } else { u16::MAX - 101 };
        let next = u16::try_from(self.hits.len()).ok().filter(|n| *n < most)?;
        self.hits.push((strength, note));
        self.numbers.insert((strength, note), next);
        Some(next)
    }

    /// Puts all in order, for [`Table::merge`].
    pub fn finish(&mut self) {
        self.v4.sort_unstable();
        self.v4.dedup();
        self.v4.shrink_to_fit();
        let mut v6: Vec<(u128, u8, u16)> = self
            .v6
            .drain(..)
            .zip(self.v6_hits.drain(..))
            .map(|(start, (hit, len))| (start, len, hit))
            .collect();
        v6.sort_unstable();
        v6.dedup();
        self.v6 = v6.iter().map(|e| e.0).collect();
        self.v6_hits = v6.iter().map(|e| (e.2, e.1)).collect();
    }

    /// Prefixes held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prefixes refused because it was full.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Memory it takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.capacity() * size_of::<Entry4>()
            + self.v6.capacity() * size_of::<u128>()
            + self.v6_hits.capacity() * size_of::<(u16, u8)>()
            + self.hits.capacity() * size_of::<(u8, u16)>()
            + self.numbers.capacity() * size_of::<((u8, u16), u16)>()
    }
}
