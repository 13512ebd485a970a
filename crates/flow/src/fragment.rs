//! Fragments to their datagrams: later fragments learn the ports of their first, and odd ones are told.
//!
//! Datagrams are not put together. A fragment is accounted by itself, but to the flow of its datagram, and what its place
//! in the datagram tells about evasion is reported.
//!
//! # Rules
//!
//! The kernel program (`crates/kernel/bpf`) follows the same words.
//!
//! - A packet that is a fragment, first or later, looks up the entry of its datagram: source and destination address as
//!   in the packet, protocol, identification, VLAN, tunnel. Other packets pass untouched. The *content* of a fragment is
//!   the bytes `[at, end)` of its datagram: `at` = `fragment_offset`, `end` = `at` + `transport_len` + `payload_len`, as
//!   numbers of 32 bits.
//! - An entry older than [`LIFE_NS`] is as if it were not there. Its age is `now` less the time of the fragment that made
//!   it, 0 if time went back.
//! - **No entry**: one is made, with the ports of the packet (0 for a later fragment), the region `low` = `at`, `high` =
//!   `end`, the last fragment `last_at` = `at`, `last_end` = `end`, and `first_end` = `end` for a first fragment, else 0. A
//!   later fragment is an **orphan**.
//! - **A first fragment that finds an entry**: its ports become the entry's.
//!   - `first_end` = `end`: the same again, or the identification is used anew. The region and the last fragment become
//!     this one's. Nothing is odd.
//!   - Otherwise `first_end` = `end`, then as any fragment below.
//! - **A later fragment that finds an entry**: it takes the entry's ports. If `first_end` is 0 it is an **orphan**: its ports
//!   stay 0.
//! - **The region**, for both of them. `[at, end)` equal to `[last_at, last_end)` is a copy: nothing changes. Else
//!   - `at` < `high` and `end` > `low`: it **overlaps**; the region grows to hold both;
//!   - `at` = `high`: `high` = `end`. If the fragment that ended there, the last one, was a later one (`last_at` > 0) and
//!     its content was below [`MIN_CONTENT`] bytes, then that one was not the last of its datagram, and **tiny**;
//!   - `end` = `low`: `low` = `at`;
//!   - else it lies apart, and the region stays.
//!
//!   Then `last_at` = `at`, `last_end` = `end`, unless it lay apart.
//! - **Tiny**, too, are a first fragment of content below [`MIN_CONTENT`], and a later one with `at` below it: the first
//!   before it was. One fragment is counted as tiny once.
//!
//! A flow therefore gets every fragment that comes after the first of its datagram. One that comes before is accounted to
//! the flow without ports between the two addresses.
//!
//! # Limits
//!
//! Overlaps with a fragment that lay apart from the region are missed, and so is a tiny fragment in the middle unless the
//! next one follows it directly. A first fragment too short for its transport header is no packet to
//! [`wire::parse`] and is counted there as `transport_truncated` or `transport_malformed`; its later ones are tiny or
//! orphans here. The table holds [`DATAGRAMS`]; a flood of others makes it forget.

use crate::sketch::{halves, mix};
use crate::{Direction, FlowKey};
use wire::{Addr, Fragment, Packet};

/// How long a datagram's entry lasts, ns (30 s): as long as Linux waits for missing fragments (`ipfrag_time`).
pub const LIFE_NS: u64 = 30_000_000_000;
/// Content below which a fragment that is not the last of its datagram is tiny, bytes.
///
/// RFC 791 lets a link cut to 8 bytes of content, but hosts cut to the path's MTU, and no link in use carries less than
/// the 296 bytes once common on serial lines, that is content of 272 with a header of 20.
pub const MIN_CONTENT: u32 = 256;
/// Entries of the table; 104 bytes each.
pub const DATAGRAMS: usize = SETS * WAYS;

const SETS: usize = 1024;
const WAYS: usize = 4;

/// What a fragment's place tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// It, or the one before it, is too small for anything but evasion.
    pub tiny: bool,
    /// It overlaps what was seen of its datagram.
    pub overlap: bool,
    /// It is a later one whose first was not seen.
    pub orphan: bool,
}

/// Word of an odd fragment from one who looks at fragments itself: the kernel program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OddFragment {
    /// Its flow.
    pub key: FlowKey,
    /// Which way it went.
    pub direction: Direction,
    /// Direction of the packets of whoever began the flow.
    pub initiator: Direction,
    /// What is odd about it.
    pub finding: Finding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    src: Addr,
    dst: Addr,
    id: u32,
    tunnel: u32,
    vlan: u16,
    protocol: u8,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    src_port: u16,
    dst_port: u16,
    made_ns: u64,
    low: u32,
    high: u32,
    last_at: u32,
    last_end: u32,
    first_end: u32,
}

/// The datagrams in fragments. Bounded: sets of four; a new datagram displaces the oldest of its set.
#[derive(Debug)]
pub struct Fragments {
    seed: u64,
    /// Empty until the first fragment.
    entries: Vec<Option<Entry>>,
}

impl Fragments {
    /// An empty table; `seed` keeps the placement from being foreseen.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, entries: Vec::new() }
    }

    /// Takes a fragment seen at `now_ns`: sets its ports if it is a later one and they are known, and says what is odd.
    pub fn resolve(&mut self, now_ns: u64, packet: &mut Packet<'_>) -> Finding {
        if packet.fragment == Fragment::None {
            return Finding::default();
        }
        let key = Key {
            src: packet.src,
            dst: packet.dst,
            id: packet.fragment_id,
            tunnel: packet.tunnel,
            vlan: packet.vlan,
            protocol: packet.protocol,
        };
        let first = packet.fragment == Fragment::First;
        let at = u32::from(packet.fragment_offset);
        let end = at.wrapping_add(u32::from(packet.transport_len)).wrapping_add(packet.payload_len);
        let small = (first && end < MIN_CONTENT) || (!first && at < MIN_CONTENT);
        let Some(entry) = self.entry(now_ns, &key) else { return Finding::default() };
        let Some(e) = entry else {
            *entry = Some(Entry {
                key,
                src_port: packet.src_port,
                dst_port: packet.dst_port,
                made_ns: now_ns,
                low: at,
                high: end,
                last_at: at,
                last_end: end,
                first_end: if first { end } else { 0 },
            });
            return Finding { tiny: small, overlap: false, orphan: !first };
        };
        let mut finding = Finding { tiny: small, ..Finding::default() };
        if first {
            (e.src_port, e.dst_port) = (packet.src_port, packet.dst_port);
            let again = e.first_end == end;
            e.first_end = end;
            if again {
                (e.low, e.high, e.last_at, e.last_end) = (at, end, at, end);
                return finding;
            }
        } else if e.first_end == 0 {
            finding.orphan = true;
        } else {
            (packet.src_port, packet.dst_port) = (e.src_port, e.dst_port);
        }
        e.place(at, end, &mut finding);
        finding
    }

    /// The place of a datagram: its entry, or `None` inside where it has none. The outer `None` does not occur.
    fn entry(&mut self, now_ns: u64, key: &Key) -> Option<&mut Option<Entry>> {
        if self.entries.is_empty() {
            self.entries.resize(DATAGRAMS, None);
        }
        let (a, b) = halves(&key.src);
        let (c, d) = halves(&key.dst);
        let e = u64::from(key.id) << 32 | u64::from(key.tunnel);
        let f = u64::from(key.vlan) << 8 | u64::from(key.protocol);
        let hash = mix(mix(self.seed, a, b), mix(!self.seed, c, d), mix(self.seed ^ f, e, f));
        let set = self.entries.chunks_exact_mut(WAYS).nth((hash >> 32) as usize % SETS)?;
        for e in set.iter_mut() {
            if e.as_ref().is_some_and(|e| now_ns.saturating_sub(e.made_ns) > LIFE_NS) {
                *e = None;
            }
        }
        let found = set.iter().position(|e| e.as_ref().is_some_and(|e| e.key == *key));
        let oldest = || (0..WAYS).min_by_key(|&i| set.get(i)?.as_ref().map(|e| e.made_ns));
        let place = found.or_else(oldest)?;
        let entry = set.get_mut(place)?;
        if found.is_none() {
            *entry = None;
        }
        Some(entry)
    }
}

impl Entry {
    fn place(&mut self, at: u32, end: u32, finding: &mut Finding) {
        if (at, end) == (self.last_at, self.last_end) {
            return;
        }
        if at < self.high && end > self.low {
            finding.overlap = true;
            self.low = self.low.min(at);
            self.high = self.high.max(end);
        } else if at == self.high {
            let before = self.last_end.wrapping_sub(self.last_at);
            if self.last_at > 0 && self.last_end == self.high && before < MIN_CONTENT {
                finding.tiny = true;
            }
            self.high = end;
        } else if end == self.low {
            self.low = at;
        } else {
            return;
        }
        (self.last_at, self.last_end) = (at, end);
    }
}
