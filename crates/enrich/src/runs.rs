//! Addresses cut into runs of equal answers, and an index by which one is found in a few reads of memory.
//!
//! What a search costs is reads of memory that is in no cache, and branches that a processor guesses wrong. So the index cuts
//! the span of the runs into slots of equal width, as many as leave a few runs to each, and a search goes straight to the slot
//! of its address (interpolation search, W. W. Peterson 1957, one step of it computed beforehand). Lists are not spread evenly:
//! a slot that holds many runs is cut again by its own span, so that each step narrows the span at least fourfold. From the
//! slot on, runs are compared some at a time without a branch. An address outside of a span is treated as at its end, which
//! gives the run before or the last one, as it must.

/// Runs to a slot, on average: so many up to twice as many, as slots are a power of two.
const PER_SLOT: usize = 3;
/// Runs compared at once: more than most slots have.
const WINDOW: usize = 8;
/// Runs in a slot from which on it is cut again.
const CROWDED: usize = 32;
/// Empty slots are kept as long as one of 2^`SPARSE` holds runs: so crowds far apart do not get an index of nothing.
const SPARSE: u32 = 3;
/// Marks a slot whose number is that of a cut, not of a run. Runs are fewer by far.
const CUT: u32 = 1 << 31;

/// An address as a number of its own width.
pub(crate) trait Key: Copy + Ord {
    /// The lowest address.
    const MIN: Self;
    /// The highest address.
    const MAX: Self;
    /// The last address of a prefix that begins here.
    fn last(self, len: u8) -> Self;
    /// The address after; `None` after the last one there is.
    fn next(self) -> Option<Self>;
    /// Bits that the distance to a higher address takes.
    fn distance_bits(self, higher: Self) -> u32;
    /// Steps of 2^`shift` from `base` to here, `most` at the most; none from further on.
    fn steps(self, base: Self, shift: u32, most: u32) -> u32;
}

macro_rules! key {
    ($number:ty) => {
        impl Key for $number {
            const MIN: Self = Self::MIN;
            const MAX: Self = Self::MAX;
            fn last(self, len: u8) -> Self {
                self | Self::MAX.checked_shr(len.into()).unwrap_or(0)
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn distance_bits(self, higher: Self) -> u32 {
                Self::BITS - higher.saturating_sub(self).leading_zeros()
            }
            fn steps(self, base: Self, shift: u32, most: u32) -> u32 {
                let steps = self.saturating_sub(base) >> shift;
                // Fits, as it is `most` at the most.
                steps.min(Self::from(most)) as u32
            }
        }
    };
}

key!(u32);
key!(u128);

/// A run: where it begins, and its answer. Without gaps between keys and answers: memory is what bounds a table.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Run<K> {
    key: K,
    answer: u32,
}

/// A span of addresses in slots of equal width.
#[derive(Clone, Copy, Debug)]
struct Cut<K> {
    base: K,
    /// A slot is 2^`shift` addresses wide.
    shift: u32,
    /// Number of its first slot.
    first: u32,
    /// Slots after the first.
    more: u32,
}

/// Runs of equal answers, which begin with one at the lowest address.
#[derive(Debug)]
pub(crate) struct Runs<K: Key> {
    /// Ascending; after [`Self::finish`] with [`WINDOW`] more, of the last one's answer, so that comparing needs no end.
    runs: Vec<Run<K>>,
    /// The first is that of all runs.
    cuts: Vec<Cut<K>>,
    /// For each slot the number of its first run, or of the first one behind it; or with [`CUT`] the number of a cut.
    slots: Vec<u32>,
    /// The run begun last: held back until the next key, so that it can still be overruled.
    last: Option<(K, u32)>,
}

impl<K: Key> Runs<K> {
    /// One run, of answer 0, to be followed by others.
    pub(crate) const fn new() -> Self {
        Self { runs: Vec::new(), cuts: Vec::new(), slots: Vec::new(), last: Some((K::MIN, 0)) }
    }

    /// Has the run that begins at `key` the answer `answer`. Keys come ascending; the last of equal ones counts.
    pub(crate) fn begin(&mut self, key: K, answer: u32) {
        if self.last.is_none_or(|(last, _)| last != key) {
            self.push();
        }
        self.last = Some((key, answer));
    }

    /// Writes the run that was held back, unless it goes on with the answer of the one before.
    fn push(&mut self) {
        let Some((key, answer)) = self.last.take() else { return };
        if self.runs.last().is_none_or(|before| before.answer != answer) {
            self.runs.push(Run { key, answer });
        }
    }

    /// Makes the index; nothing may be begun after it.
    pub(crate) fn finish(&mut self) {
        self.push();
        let runs = self.runs.len();
        let answer = self.runs.last().map_or(0, |r| r.answer);
        self.runs.reserve_exact(WINDOW);
        self.runs.extend([Run { key: K::MAX, answer }; WINDOW]);
        // Runs to cut, and the slot that is to name the cut; the whole has none.
        let mut crowds = vec![(0..runs, None)];
        while let Some((crowd, slot)) = crowds.pop() {
            let of = self.runs.get(crowd.clone()).unwrap_or(&[]);
            let (Some(first), Some(last)) = (of.first(), of.last()) else { continue };
            let span = first.key.distance_bits(last.key);
            let mut shift = span.saturating_sub((crowd.len() / PER_SLOT).max(2).ilog2());
            let used = of.chunk_by(|a, b| {
                let step = |r: &Run<K>| r.key.steps(first.key, shift, u32::MAX);
                step(a) == step(b)
            });
            // Where most stay empty, fewer and wider ones part the runs nearly as well.
            shift = shift.max(span.saturating_sub(used.count().max(1).ilog2() + SPARSE));
            let cut = Cut {
                base: first.key,
                shift,
                first: number(self.slots.len()),
                more: last.key.steps(first.key, shift, u32::MAX),
            };
            if let Some(slot) = slot.and_then(|s: usize| self.slots.get_mut(s)) {
                *slot = CUT | number(self.cuts.len());
            }
            self.cuts.push(cut);
            let mut at = crowd.start;
            for step in 0..=cut.more {
                let in_slot = |r: &&Run<K>| r.key.steps(cut.base, shift, u32::MAX) == step;
                let rest = self.runs.get(at..crowd.end).unwrap_or(&[]);
                let len = rest.iter().take_while(in_slot).count();
                if len > CROWDED {
                    crowds.push((at..at + len, Some(self.slots.len())));
                }
                self.slots.push(number(at));
                at += len;
            }
        }
        self.runs.shrink_to_fit();
        self.cuts.shrink_to_fit();
        self.slots.shrink_to_fit();
    }

    /// The answer of the run that holds an address.
    pub(crate) fn answer(&self, key: K) -> u32 {
        let mut cut = 0;
        let mut at = loop {
            let Some(c) = self.cuts.get(cut) else { return 0 };
            let step = key.steps(c.base, c.shift, c.more);
            let Some(slot) = self.slots.get((c.first + step) as usize) else { return 0 };
            if slot & CUT == 0 {
                break *slot as usize;
            }
            cut = (slot & !CUT) as usize;
        };
        // Runs behind the slot begin above the address, so that they need not be told from those in it.
        loop {
            let window = self.runs.get(at..).and_then(|r| r.first_chunk::<WINDOW>());
            let begun =
                window.map_or(0, |w| w.iter().map(|r| u32::from({ r.key } <= key)).sum::<u32>() as usize);
            at += begun;
            if begun < WINDOW {
                // The first run begins at the lowest address, so that there is one before.
                return self.runs.get(at.wrapping_sub(1)).map_or(0, |r| r.answer);
            }
        }
    }

    /// Memory it takes, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run<K>>()
            + self.cuts.capacity() * size_of::<Cut<K>>()
            + self.slots.capacity() * size_of::<u32>()
    }
}

/// A number of runs, slots or cuts: all far fewer than 2^31, as [`crate::table::MAX_PREFIXES`] bounds them.
fn number(n: usize) -> u32 {
    u32::try_from(n).map_or(CUT - 1, |n| n.min(CUT - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made<K: Key>(keys: &[K]) -> Runs<K> {
        let mut runs = Runs::new();
        for (key, answer) in keys.iter().zip(1..) {
            runs.begin(*key, answer);
        }
        runs.finish();
        runs
    }

    /// Asks for every key and its neighbours; the answers are counted by a plain search.
    fn check<K: Key + std::fmt::Debug>(what: &str, keys: &[K], before: impl Fn(K) -> Option<K>) {
        let runs = made(keys);
        let around = keys.iter().flat_map(|k| [before(*k), Some(*k), k.next()]);
        for key in around.flatten().chain([K::MIN, K::MAX]) {
            let expected = u32::try_from(keys.partition_point(|k| *k <= key)).expect("few");
            assert_eq!(runs.answer(key), expected, "{what}: {key:?}");
        }
        let slots = runs.slots.len();
        assert!(slots <= keys.len() + 8, "{what}: {slots} slots for {} runs", keys.len());
    }

    #[test]
    fn runs_are_found_however_unevenly_they_are_spread() {
        let both = |what: &str, keys: &[u32]| {
            check(what, keys, |k: u32| k.checked_sub(1));
            // The same in the upper and in the lower half of an IPv6 address.
            for shift in [96, 3] {
                let wide: Vec<u128> = keys.iter().map(|k| u128::from(*k) << shift).collect();
                check(what, &wide, |k| k.checked_sub(1));
            }
        };
        both("none", &[]);
        both("one", &[7]);
        both("the highest", &[u32::MAX]);
        both("even", &(1..5000).map(|n| n * 800_000).collect::<Vec<_>>());
        both("dense", &(1..5000).collect::<Vec<_>>());
        both("doubling", &(0..32).map(|n| 1 << n).collect::<Vec<_>>());
        both("crowds", &(0..64).flat_map(|n| (1..200).map(move |k| (n << 26) + k * k)).collect::<Vec<_>>());
        let mut nested: Vec<u32> =
            (0..32).flat_map(|n| (0..500).map(move |k| 1_u32 << n | k << (n / 3))).collect();
        nested.sort_unstable();
        nested.dedup();
        both("nested", &nested);
    }
}
