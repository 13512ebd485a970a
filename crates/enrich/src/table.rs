//! Prefixes of several lists in one table that is searched fast and never changed.
//!
//! Prefixes nest or are disjoint, so that the lists together cut the addresses into runs of equal answers: the table holds
//! where each run begins and which answer it has, in the order of addresses ([`Runs`]).

use crate::Prefix;
use crate::runs::{Key, Runs};
use std::collections::HashMap;
use std::net::IpAddr;

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

/// The table.
#[derive(Debug)]
pub struct Table {
    v4: Runs<u32>,
    v6: Runs<u128>,
    /// Answers: at most one hit of each list, by list. Answer 0 is no hit.
    answers: Vec<Box<[Hit]>>,
}

impl Default for Table {
    fn default() -> Self {
        Self::merge(&[])
    }
}

impl Table {
    /// Of lists, each in the order of its number.
    ///
    /// Where several prefixes of one list hold an address, the most sure of them counts.
    #[must_use]
    pub fn merge(lists: &[&Builder]) -> Self {
        let mut table = Self { v4: Runs::new(), v6: Runs::new(), answers: Vec::new() };
        let mut answers = Answers::default();
        let v4: Vec<_> = lists.iter().map(|l| l.v4.as_slice()).collect();
        let v6: Vec<_> = lists.iter().map(|l| l.v6.as_slice()).collect();
        let hit = |list: usize, entry: usize, is_v4: bool| {
            let of = lists.get(list).copied();
            let hit = of.and_then(|l| {
                if is_v4 { l.v4.get(entry).map(|e| e.hit) } else { l.v6_hits.get(entry).copied() }
            });
            let (strength, note) =
                of.zip(hit).and_then(|(l, h)| l.hits.get(usize::from(h))).copied().unwrap_or_default();
            Hit { list: u16::try_from(list).unwrap_or(u16::MAX), strength, note }
        };
        sweep(&v4, |list, i, e: &Entry4| (e.start, e.len, hit(list, i, true)), &mut table.v4, &mut answers);
        sweep(
            &v6,
            |list, i, start: &u128| {
                let len = lists.get(list).and_then(|l| l.v6_lens.get(i)).copied().unwrap_or(128);
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

    /// What the lists say of an address, by list. IPv4 in IPv6 is IPv4.
    // Inlined, so that the address comes in registers: one that was just written to memory would be waited for.
    #[inline]
    #[must_use]
    pub fn hits(&self, addr: IpAddr) -> &[Hit] {
        match addr {
            IpAddr::V4(a) => self.hits_v4(a.to_bits()),
            IpAddr::V6(a) => self.hits_v6(a.to_bits()),
        }
    }

    fn hits_v4(&self, addr: u32) -> &[Hit] {
        self.answers.get(self.v4.answer(addr) as usize).map_or(&[], |hits| hits)
    }

    fn hits_v6(&self, addr: u128) -> &[Hit] {
        // ::ffff:0:0/96 (RFC 4291, section 2.5.5.2).
        if addr >> 32 == 0xffff {
            return self.hits_v4(addr as u32);
        }
        self.answers.get(self.v6.answer(addr) as usize).map_or(&[], |hits| hits)
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
fn sweep<K: Key, E>(
    lists: &[&[E]],
    read: impl Fn(usize, usize, &E) -> (K, u8, Hit),
    runs: &mut Runs<K>,
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
    /// Starts of IPv6 prefixes; lengths and hits apart, as together they would be padded to twice the size.
    v6: Vec<u128>,
    v6_lens: Vec<u8>,
    v6_hits: Vec<u16>,
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
                self.v6_lens.push(prefix.len());
                self.v6_hits.push(hit);
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
        let lens = self.v6_lens.drain(..).zip(self.v6_hits.drain(..));
        let mut v6: Vec<(u128, u8, u16)> =
            self.v6.drain(..).zip(lens).map(|(start, (len, hit))| (start, len, hit)).collect();
        v6.sort_unstable();
        v6.dedup();
        self.v6 = v6.iter().map(|e| e.0).collect();
        self.v6_lens = v6.iter().map(|e| e.1).collect();
        self.v6_hits = v6.iter().map(|e| e.2).collect();
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
            + self.v6_lens.capacity()
            + self.v6_hits.capacity() * size_of::<u16>()
            + self.hits.capacity() * size_of::<(u8, u16)>()
            + self.numbers.capacity() * size_of::<((u8, u16), u16)>()
    }
}
