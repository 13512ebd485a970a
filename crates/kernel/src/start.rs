//! The steps of a start: checking what is asked for, finding what an earlier run left, loading the programs.

use crate::abi::{self, map, program, tunable};
use crate::attach::{self, chain, errno};
use crate::blocks::Book;
use crate::clock::{WallClock, boot_ns, wall_ns};
use crate::config::SensorConfig;
use crate::error::AttachError;
use crate::netlink::{self, Interface};
use crate::pins::{self, PINNED_MAPS, PinDirectory};
use crate::trie::{self, Tries};
use aya::maps::{Map, MapError};
use aya::{Ebpf, EbpfLoader};
use respond::{Block, Prefix};
use std::path::PathBuf;

/// Most interface indices counted by interface: 3 MiB per CPU. Frames of higher ones count in
/// [`abi::Counter::InterfaceUncounted`] and everywhere else.
const MAX_INTERFACES: u32 = 65_536;

pub(crate) fn check(config: &SensorConfig) -> Result<(), AttachError> {
    for (name, value) in [
        ("flow_capacity", config.flow_capacity),
        ("source_capacity", config.source_capacity),
        ("ring_bytes", config.ring_bytes),
        ("head_ring_bytes", config.head_ring_bytes),
        ("block_capacity", config.block_capacity),
    ] {
        if value == 0 {
            return Err(AttachError::Config(format!("{name} must be at least 1")));
        }
    }
    let t = &config.tunables;
    if t.head_packet_bytes as usize > abi::HEAD_PACKET_MAX || t.head_bytes_long < t.head_bytes {
        return Err(AttachError::Config(format!(
            "head_packet_bytes must be at most {}, head_bytes_long at least head_bytes",
            abi::HEAD_PACKET_MAX
        )));
    }
    Ok(())
}

/// Hardware types of interfaces whose frames begin with an Ethernet header, linux/if_arp.h.
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

pub(crate) fn resolve(names: &[String]) -> Result<Vec<Interface>, AttachError> {
    let all =
        netlink::interfaces().map_err(|source| AttachError::Io { what: "listing interfaces", source })?;
    if names.is_empty() {
        return Err(AttachError::NoInterface(netlink::names()));
    }
    let mut found: Vec<Interface> = Vec::new();
    for name in names {
        let interface = all.iter().find(|i| i.name == *name).ok_or_else(|| {
            AttachError::UnknownInterface { name: name.clone(), existing: netlink::names() }
        })?;
        // The programs read Ethernet frames; on tun, WireGuard or PPP a frame begins with its IP header.
        if ![ARPHRD_ETHER, ARPHRD_LOOPBACK].contains(&interface.hardware) {
            return Err(AttachError::NothingWorked {
                interface: name.clone(),
                reasons: format!("its frames are not Ethernet (hardware type {})", interface.hardware),
            });
        }
        if !found.iter().any(|i| i.index == interface.index) {
            found.push(interface.clone());
        }
    }
    Ok(found)
}

pub(crate) fn open_pins(
    config: &SensorConfig,
) -> Result<(Option<PinDirectory>, Option<String>), AttachError> {
    let Some(base) = &config.bpffs else {
        return Ok((None, Some("not asked for".to_owned())));
    };
    match PinDirectory::open(base) {
        Ok(pins) => Ok((Some(pins), None)),
        Err(Ok(why)) => Ok((None, Some(why))),
        Err(Err(error)) => Err(error),
    }
}

/// The pins that this start makes, removed again unless kept.
pub(crate) struct FreshPins {
    made: Vec<PathBuf>,
    directory: Option<PathBuf>,
    /// Blocks out of leftover maps that cannot be used further.
    pub(crate) moved: Vec<(Prefix, abi::Block)>,
}

impl FreshPins {
    /// Looks at what an earlier run has pinned. Maps of the right shape are used further; from those of another
    /// capacity the blocks are taken; those of another shape are discarded.
    pub(crate) fn new(
        pins: Option<&PinDirectory>,
        capacity: u32,
        notes: &mut Vec<String>,
    ) -> Result<Self, AttachError> {
        let mut fresh = Self { made: Vec::new(), directory: None, moved: Vec::new() };
        let Some(pins) = pins else { return Ok(fresh) };
        for (name, key_size, value_size) in PINNED_MAPS {
            let path = pins.map(name);
            if path.exists() {
                match pins::map_capacity(&path, key_size, value_size) {
                    Ok(found) if found == trie::capacity(name, capacity) => continue,
                    Ok(_) => {
                        fresh.moved.extend(trie::pinned_blocks(name, &path));
                        notes.push(format!(
                            "{name} of an earlier run has another capacity: its blocks were moved"
                        ));
                    }
                    Err(why) => notes.push(format!("{name} of an earlier run was discarded: {why}")),
                }
                pins::remove_pin(&path);
            }
            fresh.made.push(path);
        }
        if fresh.made.len() == PINNED_MAPS.len() {
            fresh.directory = fresh.made.first().and_then(|p| p.parent()).map(PathBuf::from);
        }
        Ok(fresh)
    }

    pub(crate) fn keep(mut self) {
        self.made.clear();
        self.directory = None;
    }
}

impl Drop for FreshPins {
    fn drop(&mut self) {
        for path in &self.made {
            pins::remove_pin(path);
        }
        if let Some(directory) = &self.directory {
            // Not empty if an earlier run's links are still there.
            drop(std::fs::remove_dir(directory));
            if let Some(base) = directory.parent() {
                drop(std::fs::remove_dir(base));
            }
        }
    }
}

pub(crate) fn load(
    config: &SensorConfig,
    interfaces: &[Interface],
    pins: Option<&PinDirectory>,
) -> Result<Ebpf, AttachError> {
    let flag = |on: bool| u8::from(on);
    let ring = |bytes: u32| bytes.checked_next_power_of_two().unwrap_or(1 << 31).max(4096);
    let (enforce, account_egress) = (flag(config.enforce), flag(config.tunables.account_egress));
    let t = &config.tunables;
    // What is off must cost nothing and drop nothing: answering is no smaller intervention than dropping.
    let syn_cookies = flag(config.enforce && t.syn_cookies);
    let highest = interfaces.iter().map(|i| i.index).max().unwrap_or(0);
    let mut loader = EbpfLoader::new();
    loader
        .override_global(tunable::ENFORCE, &enforce, true)
        .override_global(tunable::ACCOUNT_EGRESS, &account_egress, true)
        .override_global(tunable::SOURCE_SYN_PENDING, &t.source_syn_pending, true)
        .override_global(tunable::SOURCE_UDP, &t.source_udp, true)
        .override_global(tunable::SOURCE_ICMP, &t.source_icmp, true)
        .override_global(tunable::SOURCE_FLOWS, &t.source_flows, true)
        .override_global(tunable::SOURCE_EVENT_BUDGET, &t.source_event_budget, true)
        .override_global(tunable::CPU_EVENT_BUDGET, &t.cpu_event_budget, true)
        .override_global(tunable::HEAD_BYTES, &t.head_bytes, true)
        .override_global(tunable::HEAD_BYTES_LONG, &t.head_bytes_long, true)
        .override_global(tunable::HEAD_PACKET_BYTES, &t.head_packet_bytes, true)
        .override_global(tunable::SOURCE_HEAD_BUDGET, &t.source_head_budget, true)
        .override_global(tunable::CPU_HEAD_BUDGET, &t.cpu_head_budget, true)
        .override_global(tunable::IDLE_TCP_NS, &t.idle_tcp_ns, true)
        .override_global(tunable::SYN_COOKIES, &syn_cookies, true)
        .override_global(tunable::IDLE_NS, &t.idle_ns, true)
        .map_max_entries(map::FLOWS, config.flow_capacity)
        .map_max_entries(map::INTERFACES, highest.saturating_add(1).min(MAX_INTERFACES))
        .map_max_entries(map::SOURCES, config.source_capacity)
        .map_max_entries(map::EVENTS, ring(config.ring_bytes))
        .map_max_entries(map::HEADS, ring(if t.head_bytes == 0 { 0 } else { config.head_ring_bytes }))
        .map_max_entries(map::BLOCK_V4, config.block_capacity)
        .map_max_entries(map::BLOCK_V6, config.block_capacity);
    if let Some(pins) = pins {
        for (name, ..) in PINNED_MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    let mut ebpf =
        loader.load(crate::object::SENSOR).map_err(|e| refused("the maps", errno(&e), chain(&e)))?;
    // Whether programs can be loaded at all shows before anything is touched. One that this kernel does not take
    // (XDP with fragments before 5.18) only closes its hook.
    if let Err(xdp) = attach::load(&mut ebpf, program::XDP) {
        attach::load(&mut ebpf, program::TC_INGRESS).map_err(|tc| {
            refused("the programs", None, if tc == xdp { tc } else { format!("{xdp}; {tc}") })
        })?;
    }
    Ok(ebpf)
}

pub(crate) fn refused(what: &str, code: Option<i32>, why: String) -> AttachError {
    // EACCES is the verifier's word.
    if code == Some(libc::EPERM) || why.contains("Operation not permitted") {
        return AttachError::NoPermission;
    }
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    AttachError::Load { kernel, what: what.to_owned(), why }
}

pub(crate) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, AttachError> {
    ebpf.take_map(name).ok_or_else(|| refused(name, None, "the object has no such map".to_owned()))
}

pub(crate) fn taken<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &str,
) -> Result<T, AttachError> {
    T::try_from(take(ebpf, name)?).map_err(|e| map_error(name, &e))
}

pub(crate) fn map_error(name: &str, error: &MapError) -> AttachError {
    refused(name, errno(error), chain(error))
}

/// The blocks found in the tries that are still in force; those that are not are removed.
pub(crate) fn recover(tries: &mut Tries, clock: &WallClock) -> (Book, Vec<Block>) {
    let now = boot_ns();
    let since_ns = wall_ns();
    let mut book = Book::default();
    let mut recovered = Vec::new();
    for (prefix, block) in tries.blocks().unwrap_or_default() {
        if block.expires_ns <= now {
            if let Err(error) = tries.remove_block(&prefix) {
                tracing::warn!(%error, %prefix, "an expired block could not be removed");
            }
            continue;
        }
        let until_ns = clock.wall(block.expires_ns);
        book.insert(prefix, until_ns);
        recovered.push(Block {
            prefix,
            since_ns,
            until_ns,
            owner: respond::Owner::Policy,
            reason: "in force since an earlier run".to_owned(),
            incident: None,
            offence: 1,
        });
    }
    recovered.sort_by_key(|b| b.prefix);
    (book, recovered)
}
