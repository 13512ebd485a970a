//! The four LPM tries: blocks and exemptions, one of each per IP version.

use crate::abi::{Allow, Block, map};
use crate::attach::{chain, errno};
use crate::error::{AttachError, SensorError};
use crate::start::map_error;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData, MapError};
use aya::{Ebpf, Pod};
use respond::Prefix;
use std::collections::BTreeSet;
use std::path::Path;
use wire::Addr;

type Trie<K, V> = LpmTrie<MapData, K, V>;

/// Entries of each allow map, as `bpf/maps.h` has it.
const ALLOW_CAPACITY: u32 = 16_384;

/// The capacity a pinned map must have to be used further.
pub(crate) fn capacity(name: &str, block_capacity: u32) -> u32 {
    if name == map::ALLOW_V4 || name == map::ALLOW_V6 { ALLOW_CAPACITY } else { block_capacity }
}

pub(crate) struct Tries {
    block_v4: Trie<[u8; 4], Block>,
    block_v6: Trie<[u8; 16], Block>,
    allow_v4: Trie<[u8; 4], Allow>,
    allow_v6: Trie<[u8; 16], Allow>,
    block_capacity: u32,
    /// All that is in the allow maps, and perhaps more: no block that overlaps it is marked [`Block::not_allowed`].
    allowed: BTreeSet<Prefix>,
}

impl Tries {
    pub(crate) fn take(ebpf: &mut Ebpf, block_capacity: u32) -> Result<Self, AttachError> {
        fn one<K: Pod, V: Pod>(ebpf: &mut Ebpf, name: &str) -> Result<Trie<K, V>, AttachError> {
            let map: Map = ebpf.take_map(name).ok_or_else(|| map_error(name, &MapError::ElementNotFound))?;
            Trie::try_from(map).map_err(|e| map_error(name, &e))
        }
        let mut tries = Self {
            block_v4: one(ebpf, map::BLOCK_V4)?,
            block_v6: one(ebpf, map::BLOCK_V6)?,
            allow_v4: one(ebpf, map::ALLOW_V4)?,
            allow_v6: one(ebpf, map::ALLOW_V6)?,
            block_capacity,
            allowed: BTreeSet::new(),
        };
        tries.allowed = tries.in_allow_maps().map_err(|e| map_error("the allow maps", &e))?;
        Ok(tries)
    }

    fn in_allow_maps(&self) -> Result<BTreeSet<Prefix>, MapError> {
        let v4 = entries_v4(&self.allow_v4)?.into_iter().map(|(p, _)| p);
        Ok(v4.chain(entries_v6(&self.allow_v6)?.into_iter().map(|(p, _)| p)).collect())
    }

    /// The entry of exactly this prefix, which must exist: the kernel's lookup would else find a shorter one.
    pub(crate) fn block(&self, prefix: &Prefix) -> Result<Option<Block>, SensorError> {
        let found = match key(prefix) {
            Keys::V4(k) => self.block_v4.get(&k, 0),
            Keys::V6(k) => self.block_v6.get(&k, 0),
        };
        match found {
            Ok(block) => Ok(Some(block)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(e) => Err(failed("reading a block", &e)),
        }
    }

    /// Writes a block, with what the program wants to know of its prefix.
    pub(crate) fn put_block(&mut self, prefix: &Prefix, mut block: Block) -> Result<(), SensorError> {
        block.prefix_len = u16::from(prefix.len());
        block.not_allowed = u8::from(!self.allowed.iter().any(|a| a.overlaps(prefix)));
        let (name, result) = match key(prefix) {
            Keys::V4(k) => (map::BLOCK_V4, self.block_v4.insert(&k, block, 0)),
            Keys::V6(k) => (map::BLOCK_V6, self.block_v6.insert(&k, block, 0)),
        };
        result.map_err(|e| full_or(name, self.block_capacity, "writing a block", &e))
    }

    /// Removes a block; one that is not there needs no removing.
    pub(crate) fn remove_block(&mut self, prefix: &Prefix) -> Result<(), SensorError> {
        let result = match key(prefix) {
            Keys::V4(k) => self.block_v4.remove(&k),
            Keys::V6(k) => self.block_v6.remove(&k),
        };
        absent_is_fine(result).map_err(|e| failed("lifting a block", &e))
    }

    pub(crate) fn blocks(&self) -> Result<Vec<(Prefix, Block)>, SensorError> {
        let read = |e| failed("reading the blocks", &e);
        let mut all = entries_v4(&self.block_v4).map_err(read)?;
        all.extend(entries_v6(&self.block_v6).map_err(read)?);
        Ok(all)
    }

    pub(crate) fn set_allowed(&mut self, allowed: &[Prefix]) -> Result<(), SensorError> {
        let wanted: BTreeSet<Prefix> = allowed.iter().copied().collect();
        let present = self.in_allow_maps().map_err(|e| failed("reading the allowlist", &e))?;
        let added: Vec<Prefix> = wanted.difference(&present).copied().collect();
        // Before the allow maps get them: a mark that is missing costs a lookup, one too many costs the exemption.
        self.allowed = present.union(&wanted).copied().collect();
        self.unmark(&added)?;
        for prefix in &added {
            let (name, result) = match key(prefix) {
                Keys::V4(k) => (map::ALLOW_V4, self.allow_v4.insert(&k, Allow::default(), 0)),
                Keys::V6(k) => (map::ALLOW_V6, self.allow_v6.insert(&k, Allow::default(), 0)),
            };
            result.map_err(|e| full_or(name, ALLOW_CAPACITY, "writing the allowlist", &e))?;
        }
        for prefix in present.difference(&wanted) {
            let result = match key(prefix) {
                Keys::V4(k) => self.allow_v4.remove(&k),
                Keys::V6(k) => self.allow_v6.remove(&k),
            };
            absent_is_fine(result).map_err(|e| failed("shortening the allowlist", &e))?;
        }
        self.allowed = wanted;
        Ok(())
    }

    /// Has the program look for exemptions behind the blocks that overlap one of these prefixes.
    fn unmark(&mut self, added: &[Prefix]) -> Result<(), SensorError> {
        if added.is_empty() {
            return Ok(());
        }
        for (prefix, block) in self.blocks()? {
            if block.not_allowed != 0 && added.iter().any(|a| a.overlaps(&prefix)) {
                self.put_block(&prefix, block)?;
            }
        }
        Ok(())
    }
}

/// The blocks of a pinned map of the right shape but another capacity.
pub(crate) fn pinned_blocks(name: &str, path: &Path) -> Vec<(Prefix, Block)> {
    let open = || MapData::from_pin(path).and_then(Map::from_map_data);
    let read = || match name {
        map::BLOCK_V4 => entries_v4(&Trie::try_from(open()?)?),
        map::BLOCK_V6 => entries_v6(&Trie::try_from(open()?)?),
        _ => Ok(Vec::new()),
    };
    read().unwrap_or_else(|error: MapError| {
        tracing::warn!(error = chain(&error), name, "blocks of an earlier run could not be read");
        Vec::new()
    })
}

enum Keys {
    V4(Key<[u8; 4]>),
    V6(Key<[u8; 16]>),
}

fn key(prefix: &Prefix) -> Keys {
    let addr = prefix.addr();
    let len = u32::from(prefix.len());
    match addr.ip() {
        std::net::IpAddr::V4(a) => Keys::V4(Key::new(len, a.octets())),
        std::net::IpAddr::V6(a) => Keys::V6(Key::new(len, a.octets())),
    }
}

fn entries_v4<V: Pod>(trie: &Trie<[u8; 4], V>) -> Result<Vec<(Prefix, V)>, MapError> {
    entries(trie, |key| (Addr::v4(key.data()), key.prefix_len()))
}

fn entries_v6<V: Pod>(trie: &Trie<[u8; 16], V>) -> Result<Vec<(Prefix, V)>, MapError> {
    entries(trie, |key| (Addr(key.data()), key.prefix_len()))
}

fn entries<K: Pod, V: Pod>(
    trie: &Trie<K, V>,
    address: impl Fn(&Key<K>) -> (Addr, u32),
) -> Result<Vec<(Prefix, V)>, MapError> {
    let mut all = Vec::new();
    for entry in trie.iter() {
        let (key, value) = entry?;
        let (addr, len) = address(&key);
        // The kernel takes no longer prefix than its key is wide.
        if let Some(prefix) = u8::try_from(len).ok().and_then(|len| Prefix::new(addr, len).ok()) {
            all.push((prefix, value));
        }
    }
    Ok(all)
}

fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn failed(what: &str, error: &MapError) -> SensorError {
    SensorError::Map { what: what.to_owned(), why: chain(error) }
}

fn full_or(map: &'static str, capacity: u32, what: &str, error: &MapError) -> SensorError {
    if errno(error) == Some(libc::ENOSPC) { SensorError::Full { map, capacity } } else { failed(what, error) }
}
