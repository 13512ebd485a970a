//! Which blocks an effector holds, and what nesting means for their ends.
//!
//! The kernel's tries find the longest matching prefix only, so a narrow entry that has expired would hide a broad one
//! still in force. Each entry is therefore written with the latest end among itself and everything that covers it.

use respond::Prefix;
use std::collections::BTreeMap;

/// A block as an effector holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BlockInForce {
    /// Whom.
    pub prefix: Prefix,
    /// Until when, wall-clock ns since 1970.
    pub until_ns: u64,
    /// Packets it has dropped.
    pub packets: u64,
    /// Their frame bytes.
    pub bytes: u64,
}

/// Ends of the blocks given to an effector, wall-clock ns. As large as the effector's own table; an insert that the
/// effector refuses is taken back by the caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(BTreeMap<Prefix, u64>);

impl Book {
    pub(crate) fn insert(&mut self, prefix: Prefix, until_ns: u64) -> Option<u64> {
        self.0.insert(prefix, until_ns)
    }

    pub(crate) fn remove(&mut self, prefix: &Prefix) -> Option<u64> {
        self.0.remove(prefix)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Prefix, u64)> {
        self.0.iter().map(|(p, until)| (p, *until))
    }

    /// The entries inside `prefix`, itself included if present.
    pub(crate) fn inside(&self, prefix: Prefix) -> impl Iterator<Item = Prefix> {
        let last = Prefix::host(prefix.last());
        self.0.range(prefix..=last.max(prefix)).map(|(p, _)| *p).filter(move |p| prefix.covers(p))
    }

    /// The entries that cover `prefix`, itself included if present, broadest first.
    pub(crate) fn covering(&self, prefix: Prefix) -> impl Iterator<Item = (Prefix, u64)> {
        (0..=prefix.len()).filter_map(move |len| {
            let p = Prefix::new(prefix.addr(), len).ok()?;
            self.0.get(&p).map(|until| (p, *until))
        })
    }

    /// The end to give to an entry: its own or that of one covering it, whichever is later. 0 if there is none.
    pub(crate) fn end_of(&self, prefix: Prefix) -> u64 {
        self.covering(prefix).map(|(_, until)| until).max().unwrap_or(0)
    }

    /// Forgets what has ended at `now_ns`.
    pub(crate) fn drop_ended(&mut self, now_ns: u64) {
        self.0.retain(|_, until| *until > now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> Prefix {
        text.parse().expect("prefix")
    }

    #[test]
    fn a_narrow_entry_outlasts_its_own_end_under_a_broad_one() {
        let mut book = Book::default();
        book.insert(p("192.0.2.7"), 10);
        book.insert(p("192.0.2.0/24"), 50);
        book.insert(p("192.0.2.0/25"), 20);
        book.insert(p("192.0.3.1"), 5);
        let check = |book: &Book, prefix: &str, expected: u64| {
            assert_eq!(book.end_of(p(prefix)), expected, "{prefix}");
        };
        check(&book, "192.0.2.7", 50);
        check(&book, "192.0.2.0/25", 50);
        check(&book, "192.0.2.0/24", 50);
        check(&book, "192.0.3.1", 5);
        check(&book, "192.0.4.1", 0);
        let inside: Vec<_> = book.inside(p("192.0.2.0/24")).map(|p| p.to_string()).collect();
        assert_eq!(inside, ["192.0.2.0/24", "192.0.2.0/25", "192.0.2.7"]);
        book.remove(&p("192.0.2.0/24"));
        check(&book, "192.0.2.7", 20);
        book.drop_ended(10);
        assert_eq!(book.iter().count(), 1);
    }

    #[test]
    fn versions_do_not_mix() {
        let mut book = Book::default();
        book.insert(p("::/0"), 9);
        book.insert(p("192.0.2.7"), 1);
        assert_eq!(book.end_of(p("192.0.2.7")), 1);
        assert_eq!(book.inside(p("::/0")).count(), 1);
    }
}
