//! Blocks by prefix.

use crate::{Block, Prefix};
use std::collections::BTreeMap;
use wire::Addr;

/// Blocks in force, or would-be ones. Whoever inserts asks for room first; what ends leaves by [`Table::take_ended`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    blocks: BTreeMap<Prefix, Block>,
    /// No block ends before this, so that asking what ended costs nothing in between.
    next_end_ns: u64,
}

impl Table {
    pub(crate) fn insert(&mut self, block: Block) {
        self.next_end_ns =
            if self.blocks.is_empty() { block.until_ns } else { self.next_end_ns.min(block.until_ns) };
        self.blocks.insert(block.prefix, block);
    }

    pub(crate) fn remove(&mut self, prefix: &Prefix) -> Option<Block> {
        self.blocks.remove(prefix)
    }

    pub(crate) fn get(&self, prefix: &Prefix) -> Option<&Block> {
        self.blocks.get(prefix)
    }

    /// Blocks in force at `now` that cover `prefix`, the narrowest first.
    pub(crate) fn covering(&self, prefix: Prefix, now: u64) -> impl Iterator<Item = &Block> {
        let longest = if self.blocks.is_empty() { None } else { Some(prefix.len()) };
        longest
            .into_iter()
            .flat_map(|longest| (0..=longest).rev())
            .filter_map(move |len| self.blocks.get(&Prefix::new(prefix.addr(), len).ok()?))
            .filter(move |b| b.until_ns > now)
    }

    /// Removes the blocks that have ended, in order of prefix.
    pub(crate) fn take_ended(&mut self, now: u64) -> Vec<Block> {
        if now < self.next_end_ns {
            return Vec::new();
        }
        let ended = self.take(|b| b.until_ns <= now);
        self.next_end_ns = self.blocks.values().map(|b| b.until_ns).min().unwrap_or(0);
        ended
    }

    /// Removes the blocks that `which` picks, in order of prefix.
    pub(crate) fn take(&mut self, which: impl Fn(&Block) -> bool) -> Vec<Block> {
        self.blocks.extract_if(.., |_, b| which(b)).map(|(_, b)| b).collect()
    }

    /// Moves every time `back` ns into the past.
    pub(crate) fn shift(&mut self, back: u64) {
        self.next_end_ns = self.next_end_ns.saturating_sub(back);
        for b in self.blocks.values_mut() {
            b.since_ns = b.since_ns.saturating_sub(back);
            b.until_ns = b.until_ns.saturating_sub(back);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Block> {
        self.blocks.values()
    }
}

/// Every prefix that holds `addr`, the narrowest first.
pub(crate) fn prefixes_of(addr: Addr) -> impl Iterator<Item = Prefix> {
    (0..=Prefix::host(addr).len()).rev().filter_map(move |len| Prefix::new(addr, len).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owner;

    fn block(prefix: &str, until_ns: u64) -> Block {
        Block {
            prefix: prefix.parse().expect("prefix"),
            since_ns: 0,
            until_ns,
            owner: Owner::Policy,
            reason: String::new(),
            incident: None,
            offence: 1,
        }
    }

    #[test]
    fn covering_is_narrowest_first_and_in_force() {
        let mut t = Table::default();
        for (prefix, until) in [("192.0.2.0/24", 10), ("192.0.2.7", 20), ("192.0.0.0/16", 5), ("::/0", 50)] {
            t.insert(block(prefix, until));
        }
        let covering = |prefix: &str, now| {
            let list: Vec<_> =
                t.covering(prefix.parse().expect("prefix"), now).map(|b| b.prefix.to_string()).collect();
            list.join(" ")
        };
        assert_eq!(covering("192.0.2.7", 0), "192.0.2.7 192.0.2.0/24 192.0.0.0/16");
        assert_eq!(covering("192.0.2.7", 5), "192.0.2.7 192.0.2.0/24");
        assert_eq!(covering("192.0.2.0/25", 0), "192.0.2.0/24 192.0.0.0/16");
        assert_eq!(covering("198.51.100.1", 0), "");
        assert_eq!(covering("2001:db8::1", 0), "::/0");
    }

    #[test]
    fn ends_come_due_once() {
        let mut t = Table::default();
        let ended =
            |t: &mut Table, now| t.take_ended(now).iter().map(|b| b.prefix.to_string()).collect::<Vec<_>>();
        assert!(ended(&mut t, 0).is_empty());
        t.insert(block("192.0.2.1", 10));
        t.insert(block("192.0.2.2", 5));
        t.insert(block("192.0.2.3", 20));
        assert!(ended(&mut t, 4).is_empty());
        assert_eq!(ended(&mut t, 10), ["192.0.2.1", "192.0.2.2"]);
        t.shift(15);
        assert!(ended(&mut t, 4).is_empty());
        assert_eq!(ended(&mut t, 5), ["192.0.2.3"]);
        t.insert(block("192.0.2.4", 3));
        assert_eq!(ended(&mut t, 3), ["192.0.2.4"], "an empty table starts anew");
    }

    #[test]
    fn prefixes_of_an_address() {
        let v4: Vec<_> = prefixes_of(Addr::v4([255; 4])).collect();
        assert_eq!(v4.len(), 33);
        assert_eq!(v4.last().map(ToString::to_string), Some("0.0.0.0/0".into()));
        assert_eq!(prefixes_of(Addr::UNSPECIFIED).count(), 129);
    }
}
