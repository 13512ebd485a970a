//! The kernel programs in force: loaded, attached, read and told what to drop.

use crate::abi::{self, Counters, map, program, tunable};
use crate::attach::{self, AttachChoice, AttachReport, Hooks, chain, errno};
use crate::blocks::{BlockInForce, Book};
use crate::clock::{WallClock, boot_ns, wall_ns};
use crate::error::{AttachError, SensorError};
use crate::netlink::{self, Interface};
use crate::pins::{self, PINNED_MAPS, PinDirectory};
use crate::syscall;
use crate::trie::{self, Tries};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::sys::{Stats, enable_stats};
use aya::{Ebpf, EbpfLoader};
use flow::{FlowKey, FlowStats, window::SourceCounts};
use respond::{Block, Effect, Prefix};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use serde::Serialize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::Addr;

/// Events handed out by one [`Sensor::poll`] at most, so that it returns under any load.
const EVENTS_PER_POLL: usize = 65_536;
/// Most interface indices counted by interface: 3 MiB per CPU. Frames of higher ones count in
/// [`abi::Counter::InterfaceUncounted`] and everywhere else.
const MAX_INTERFACES: u32 = 65_536;
/// A packet's time is taken when its program starts and written a little later; snapshots look back this far, ns.
const SNAPSHOT_SLACK_NS: u64 = 50_000_000;

/// What user space sets in the programs before load; units and meaning are those of `bpf/tunables.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// Account flows on egress too; else frames are only counted.
    pub account_egress: bool,
    /// SYNs without completed handshake per source and second that make an event.
    pub source_syn_pending: u32,
    /// UDP packets per source and second that make an event.
    pub source_udp: u32,
    /// ICMP and ICMPv6 packets per source and second that make an event.
    pub source_icmp: u32,
    /// Flows begun per source and second that make an event.
    pub source_flows: u32,
    /// Flow-start events, and as many flow-end events, per source and second.
    pub source_event_budget: u32,
    /// Flow-start events, and as many flow-end events, per CPU and second.
    pub cpu_event_budget: u32,
    /// Silence after which a TCP key is a new flow, ns.
    pub idle_tcp_ns: u64,
    /// Silence after which any other key is a new flow, ns.
    pub idle_ns: u64,
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            account_egress: true,
            source_syn_pending: 100,
            source_udp: 1000,
            source_icmp: 100,
            source_flows: 50,
            source_event_budget: 100,
            cpu_event_budget: 5000,
            idle_tcp_ns: 300_000_000_000,
            idle_ns: 60_000_000_000,
        }
    }
}

/// What to attach, where, and how large its tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorConfig {
    /// Names of the interfaces to watch; at least one.
    pub interfaces: Vec<String>,
    /// Which hooks may be tried.
    pub mode: AttachChoice,
    /// Constants of the programs.
    pub tunables: Tunables,
    /// Flows held in the kernel; beyond, the least recently used goes. At least 1.
    pub flow_capacity: u32,
    /// Sources counted in the kernel; beyond, the least recently used goes. At least 1.
    pub source_capacity: u32,
    /// Bytes of the event ring, rounded up to a power of two of at least a page; beyond, events are lost and counted.
    pub ring_bytes: u32,
    /// Blocks held in the kernel per IP version; beyond, further ones are refused. At least 1.
    pub block_capacity: u32,
    /// Directory of the pins, directly below a BPF file system; `None`: pin nothing, and blocks end with the agent.
    pub bpffs: Option<PathBuf>,
    /// Whether blocks drop; else what they would have dropped is counted.
    pub enforce: bool,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            mode: AttachChoice::Auto,
            tunables: Tunables::default(),
            flow_capacity: 131_072,
            source_capacity: 32_768,
            ring_bytes: 4 << 20,
            block_capacity: 131_072,
            bpffs: Some(PathBuf::from(pins::DEFAULT_DIRECTORY)),
            enforce: true,
        }
    }
}

/// What the kernel tells without being asked; times are wall-clock ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// A flow's first packet.
    FlowStart {
        /// Which.
        key: FlowKey,
        /// Its sums so far.
        stats: FlowStats,
    },
    /// A flow closed by FINs or reset.
    FlowEnd {
        /// Which.
        key: FlowKey,
        /// Its sums so far.
        stats: FlowStats,
    },
    /// A source reached a threshold.
    SourceOver {
        /// Who.
        addr: Addr,
        /// What it did in the running second.
        counts: SourceCounts,
    },
}

/// What a program has cost since load, in this kernel's own accounting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramStats {
    /// Its name.
    pub name: String,
    /// Times it ran.
    pub run_count: u64,
    /// Time it took in all, ns.
    pub run_time_ns: u64,
}

/// What crossed one interface, whole frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceCounts {
    /// Its name.
    pub interface: String,
    /// Frames received, dropped ones included.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames dropped by a block.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Frames sent.
    pub egress_packets: u64,
    /// Their bytes.
    pub egress_bytes: u64,
}

/// What a snapshot of the flows saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Flows in the kernel.
    pub live: usize,
    /// Of those, flows with a packet since the last snapshot: the ones handed out.
    pub changed: usize,
}

/// Ends a [`Sensor::poll`] from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Makes the running poll, or else the next one, return at once.
    pub fn wake(&self) {
        // A full counter means that a wake-up is pending already.
        let _pending_anyway = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// The programs in the kernel. Dropped without [`Sensor::detach`] it detaches and lifts everything.
pub struct Sensor {
    hooks: Hooks,
    reports: Vec<AttachReport>,
    notes: Vec<String>,
    events: RingBuf<MapData>,
    flows: HashMap<MapData, abi::FlowKey, abi::FlowStats>,
    flows_fd: OwnedFd,
    counters: PerCpuArray<MapData, Counters>,
    interfaces: PerCpuArray<MapData, abi::InterfaceStats>,
    tries: Tries,
    book: Book,
    recovered: Vec<Block>,
    ebpf: Ebpf,
    _stats: Option<OwnedFd>,
    waker: Waker,
    clock: WallClock,
    snapshot_from: u64,
    unreadable: u64,
    pins: Option<PinDirectory>,
    unpinned: Option<String>,
}

impl std::fmt::Debug for Sensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sensor")
            .field("reports", &self.reports)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl Sensor {
    /// Loads the programs and attaches them to every interface named, or to none.
    ///
    /// Blocks that an earlier run left in force stay in force without a gap; see [`Sensor::recovered_blocks`].
    ///
    /// # Errors
    /// See [`AttachError`]. [`AttachError::NothingWorked`] means that an interface can be watched by
    /// [`crate::af_packet`] only.
    pub fn attach(config: &SensorConfig) -> Result<Self, AttachError> {
        check(config)?;
        let interfaces = resolve(&config.interfaces)?;
        let (pins, unpinned) = open_pins(config)?;
        let mut notes: Vec<String> = unpinned
            .iter()
            .map(|why| format!("blocks end with the agent, nothing is pinned: {why}"))
            .collect();
        let fresh = FreshPins::new(pins.as_ref(), config.block_capacity, &mut notes)?;
        let mut left = pins.as_ref().map(PinDirectory::links).unwrap_or_default();

        let mut ebpf = load(config, &interfaces, pins.as_ref())?;
        let mut tries = Tries::take(&mut ebpf, config.block_capacity)?;
        let clock = WallClock::new();
        let now_boot = boot_ns();
        for (prefix, block) in &fresh.moved {
            if block.expires_ns > now_boot {
                tries.put_block(prefix, *block).map_err(|e| AttachError::Config(e.to_string()))?;
            }
        }
        let (book, recovered) = recover(&mut tries, &clock);
        if !recovered.is_empty() {
            notes.push(format!("{} blocks of an earlier run are still in force", recovered.len()));
        }

        let mut hooks = Hooks::default();
        let mut reports = Vec::new();
        for interface in &interfaces {
            reports.push(hooks.attach(&mut ebpf, interface, config.mode, pins.as_ref(), &mut left)?);
        }
        let events = taken(&mut ebpf, map::EVENTS)?;
        let flows: Map = take(&mut ebpf, map::FLOWS)?;
        let flows_fd = match &flows {
            Map::LruHashMap(data) => data.fd().as_fd().try_clone_to_owned(),
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        };
        let flows_fd = flows_fd.map_err(|source| AttachError::Io { what: "opening the flow map", source })?;
        let sensor = Self {
            reports,
            notes,
            events,
            flows: HashMap::try_from(flows).map_err(|e| map_error(map::FLOWS, &e))?,
            flows_fd,
            counters: taken(&mut ebpf, map::COUNTERS)?,
            interfaces: taken(&mut ebpf, map::INTERFACES)?,
            tries,
            book,
            recovered,
            ebpf,
            // Without it the run counts stay 0, which is all that is lost.
            _stats: enable_stats(Stats::RunTime).ok(),
            waker: Waker(Arc::new(
                eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                    .map_err(|e| AttachError::Io { what: "making an eventfd", source: e.into() })?,
            )),
            clock,
            snapshot_from: 0,
            unreadable: 0,
            pins,
            unpinned,
            hooks: {
                hooks.commit();
                hooks
            },
        };
        fresh.keep();
        for link in left {
            link.remove();
        }
        if let Some(base) = &config.bpffs {
            let swept = pins::sweep(base);
            if swept > 0 {
                tracing::info!(swept, "removed pins of network namespaces that are gone");
            }
        }
        Ok(sensor)
    }

    /// How each interface is watched.
    #[must_use]
    pub fn reports(&self) -> &[AttachReport] {
        &self.reports
    }

    /// What is worth telling about pins and leftovers, in words.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Blocks of an earlier run that were still in force at start, and are. Their reason is not known any more; a
    /// block nested in another shows the other's end if that is later.
    #[must_use]
    pub fn recovered_blocks(&self) -> &[Block] {
        &self.recovered
    }

    /// Hands out what the kernel has to tell, waiting up to `timeout` if there is nothing yet. Returns how much it
    /// was, at most 65,536 at a time; 0 after the timeout or a [`Waker::wake`].
    ///
    /// # Errors
    /// [`SensorError::Io`] if waiting fails.
    pub fn poll(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(KernelEvent),
    ) -> Result<usize, SensorError> {
        self.clock.refresh();
        let count = self.drain(each);
        if count > 0 {
            return Ok(count);
        }
        let timeout =
            Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
        let mut fds = [
            PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.waker.0.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SensorError::Io { what: "waiting for kernel events", source: e.into() }),
        }
        // Non-blocking: resets the counter if it was set.
        let _not_woken = rustix::io::read(&*self.waker.0, &mut [0; 8]);
        self.clock.refresh();
        Ok(self.drain(each))
    }

    /// Something to interrupt [`Sensor::poll`] with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Events of a kind or size unknown: an object and a loader that do not match.
    #[must_use]
    pub const fn unreadable_events(&self) -> u64 {
        self.unreadable
    }

    fn drain(&mut self, each: &mut dyn FnMut(KernelEvent)) -> usize {
        let offset = self.clock.offset_ns();
        let mut count = 0;
        while count < EVENTS_PER_POLL {
            let Some(item) = self.events.next() else { break };
            count += 1;
            match abi::Event::read(&item) {
                Some(abi::Event::FlowStart(e)) => {
                    each(KernelEvent::FlowStart { key: e.key.into(), stats: e.stats.to_flow(offset) });
                }
                Some(abi::Event::FlowEnd(e)) => {
                    each(KernelEvent::FlowEnd { key: e.key.into(), stats: e.stats.to_flow(offset) });
                }
                Some(abi::Event::SourceOver(e)) => {
                    each(KernelEvent::SourceOver {
                        addr: Addr(e.addr),
                        counts: source_counts(&e.counts, offset),
                    });
                }
                None => self.unreadable += 1,
            }
        }
        count
    }

    /// Hands out the flows with a packet since the last call, with their sums so far. A flow may come although it has
    /// not changed, and one that is evicted meanwhile may be missed.
    ///
    /// # Errors
    /// [`SensorError::Map`] if the kernel does not give its flows out.
    pub fn flows(&mut self, each: &mut dyn FnMut(&FlowKey, &FlowStats)) -> Result<Snapshot, SensorError> {
        self.clock.refresh();
        let offset = self.clock.offset_ns();
        let since = self.snapshot_from;
        let now = boot_ns();
        let mut snapshot = Snapshot::default();
        syscall::for_each(&self.flows_fd, &mut |key: &abi::FlowKey, stats: &abi::FlowStats| {
            snapshot.live += 1;
            if stats.dir[0].last_ns.max(stats.dir[1].last_ns) >= since {
                snapshot.changed += 1;
                each(&(*key).into(), &stats.to_flow(offset));
            }
        })
        .map_err(|e| SensorError::Map { what: "reading the flows".to_owned(), why: e.to_string() })?;
        self.snapshot_from = now.saturating_sub(SNAPSHOT_SLACK_NS);
        Ok(snapshot)
    }

    /// Removes flows from the kernel. Returns how many there were.
    ///
    /// # Errors
    /// [`SensorError::Map`] if the kernel refuses for another reason than absence.
    pub fn forget(&mut self, keys: &[FlowKey]) -> Result<usize, SensorError> {
        let mut removed = 0;
        for key in keys {
            match self.flows.remove(&(*key).into()) {
                Ok(()) => removed += 1,
                Err(e) if errno(&e) == Some(libc::ENOENT) => {}
                Err(e) => {
                    return Err(SensorError::Map { what: "removing a flow".to_owned(), why: chain(&e) });
                }
            }
        }
        Ok(removed)
    }

    /// The programs' counters, summed over CPUs.
    ///
    /// # Errors
    /// [`SensorError::Map`] if they cannot be read.
    pub fn counters(&self) -> Result<Counters, SensorError> {
        let cpus = self
            .counters
            .get(&0, 0)
            .map_err(|e| SensorError::Map { what: "reading the counters".to_owned(), why: chain(&e) })?;
        Ok(Counters::sum(cpus.iter()))
    }

    /// What crossed each interface, summed over CPUs.
    ///
    /// # Errors
    /// [`SensorError::Map`] if it cannot be read.
    pub fn interfaces(&self) -> Result<Vec<InterfaceCounts>, SensorError> {
        let mut all = Vec::with_capacity(self.reports.len());
        for report in &self.reports {
            let cpus: Vec<abi::InterfaceStats> = match self.interfaces.get(&report.ifindex, 0) {
                Ok(cpus) => cpus.iter().copied().collect(),
                // Beyond MAX_INTERFACES; such frames are in Counter::InterfaceUncounted.
                Err(MapError::OutOfBounds { .. }) => Vec::new(),
                Err(e) => {
                    return Err(SensorError::Map {
                        what: "reading the interfaces".to_owned(),
                        why: chain(&e),
                    });
                }
            };
            let sum =
                |field: fn(&abi::InterfaceStats) -> u64| cpus.iter().map(field).fold(0, u64::wrapping_add);
            all.push(InterfaceCounts {
                interface: report.interface.clone(),
                packets: sum(|s| s.packets),
                bytes: sum(|s| s.bytes),
                dropped_packets: sum(|s| s.dropped_packets),
                dropped_bytes: sum(|s| s.dropped_bytes),
                egress_packets: sum(|s| s.egress_packets),
                egress_bytes: sum(|s| s.egress_bytes),
            });
        }
        Ok(all)
    }

    /// Puts a block in force, moves its end, or lifts it. The packets it has dropped stay counted when its end moves.
    ///
    /// # Errors
    /// [`SensorError::Full`] and [`SensorError::Map`]; what was in force before then still is.
    pub fn apply(&mut self, effect: &Effect) -> Result<(), SensorError> {
        self.clock.refresh();
        match effect {
            Effect::Insert(block) => {
                let previous = self.book.insert(block.prefix, block.until_ns);
                if let Err(error) = self.write(block.prefix, previous.is_some()) {
                    match previous {
                        Some(until) => self.book.insert(block.prefix, until),
                        None => self.book.remove(&block.prefix),
                    };
                    return Err(error);
                }
                self.rewrite_inside(block.prefix)
            }
            Effect::Remove(prefix) => {
                self.tries.remove_block(prefix)?;
                self.book.remove(prefix);
                self.rewrite_inside(*prefix)
            }
        }
    }

    /// Writes one entry with the end that nesting gives it.
    fn write(&mut self, prefix: Prefix, present: bool) -> Result<(), SensorError> {
        let mut value = if present { self.tries.block(&prefix)? } else { None }.unwrap_or_default();
        value.expires_ns = self.clock.boot(self.book.end_of(prefix));
        match self.tries.put_block(&prefix, value) {
            Err(SensorError::Full { .. }) if self.purge()? > 0 => self.tries.put_block(&prefix, value),
            other => other,
        }
    }

    /// Makes room: removes the blocks that have ended but that nobody has lifted. Returns how many.
    fn purge(&mut self) -> Result<usize, SensorError> {
        let now = boot_ns();
        let ended: Vec<Prefix> =
            self.tries.blocks()?.into_iter().filter(|(_, b)| b.expires_ns <= now).map(|(p, _)| p).collect();
        for prefix in &ended {
            self.tries.remove_block(prefix)?;
        }
        self.book.drop_ended(self.clock.wall(now));
        Ok(ended.len())
    }

    /// Narrower entries hide this one, so that their ends depend on it.
    fn rewrite_inside(&mut self, prefix: Prefix) -> Result<(), SensorError> {
        let inside: Vec<Prefix> = self.book.inside(prefix).filter(|p| *p != prefix).collect();
        inside.into_iter().try_for_each(|p| self.write(p, true))
    }

    /// The blocks in force, with what they have dropped.
    ///
    /// # Errors
    /// [`SensorError::Map`] if they cannot be read.
    pub fn blocks(&self) -> Result<Vec<BlockInForce>, SensorError> {
        let now = boot_ns();
        let mut all = self.tries.blocks()?;
        all.retain(|(_, block)| block.expires_ns > now);
        all.sort_by_key(|(prefix, _)| *prefix);
        Ok(all
            .into_iter()
            .map(|(prefix, block)| BlockInForce {
                prefix,
                until_ns: self.clock.wall(block.expires_ns),
                packets: block.packets,
                bytes: block.bytes,
            })
            .collect())
    }

    /// Makes exactly these prefixes exempt from every block: new ones first, then those no longer wanted go.
    ///
    /// # Errors
    /// [`SensorError::Full`] and [`SensorError::Map`]; what was exempt before then still is.
    pub fn set_allowlist(&mut self, allowed: &[Prefix]) -> Result<(), SensorError> {
        self.tries.set_allowed(allowed)
    }

    /// What each attached program has cost since load.
    #[must_use]
    pub fn programs(&self) -> Vec<ProgramStats> {
        let mut all: Vec<_> = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                let run_time_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
                Some(ProgramStats { name: name.to_owned(), run_count: info.run_count(), run_time_ns })
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Detaches. With `keep_blocks` the ingress programs and the block and allow maps stay pinned, and every block
    /// stays in force until its end or the next start; without it nothing is left.
    ///
    /// # Errors
    /// [`SensorError::NotPinned`] if blocks were to be kept and could not be.
    pub fn detach(mut self, keep_blocks: bool) -> Result<(), SensorError> {
        if !keep_blocks {
            // Dropping does it.
            return Ok(());
        }
        let kept = std::mem::take(&mut self.hooks).keep_ingress();
        if self.pins.take().is_some() && kept {
            return Ok(());
        }
        let why = self.unpinned.take().unwrap_or_else(|| "a link could not be pinned".to_owned());
        Err(SensorError::NotPinned(why))
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        drop(std::mem::take(&mut self.hooks));
        if let Some(pins) = self.pins.take() {
            pins.clear();
        }
    }
}

fn check(config: &SensorConfig) -> Result<(), AttachError> {
    for (name, value) in [
        ("flow_capacity", config.flow_capacity),
        ("source_capacity", config.source_capacity),
        ("ring_bytes", config.ring_bytes),
        ("block_capacity", config.block_capacity),
    ] {
        if value == 0 {
            return Err(AttachError::Config(format!("{name} must be at least 1")));
        }
    }
    Ok(())
}

fn resolve(names: &[String]) -> Result<Vec<Interface>, AttachError> {
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
        if !found.iter().any(|i| i.index == interface.index) {
            found.push(interface.clone());
        }
    }
    Ok(found)
}

fn open_pins(config: &SensorConfig) -> Result<(Option<PinDirectory>, Option<String>), AttachError> {
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
struct FreshPins {
    made: Vec<PathBuf>,
    directory: Option<PathBuf>,
    /// Blocks out of leftover maps that cannot be used further.
    moved: Vec<(Prefix, abi::Block)>,
}

impl FreshPins {
    /// Looks at what an earlier run has pinned. Maps of the right shape are used further; from those of another
    /// capacity the blocks are taken; those of another shape are discarded.
    fn new(pins: Option<&PinDirectory>, capacity: u32, notes: &mut Vec<String>) -> Result<Self, AttachError> {
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

    fn keep(mut self) {
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

fn load(
    config: &SensorConfig,
    interfaces: &[Interface],
    pins: Option<&PinDirectory>,
) -> Result<Ebpf, AttachError> {
    let flag = |on: bool| u8::from(on);
    let (enforce, account_egress) = (flag(config.enforce), flag(config.tunables.account_egress));
    let t = &config.tunables;
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
        .override_global(tunable::IDLE_TCP_NS, &t.idle_tcp_ns, true)
        .override_global(tunable::IDLE_NS, &t.idle_ns, true)
        .map_max_entries(map::FLOWS, config.flow_capacity)
        .map_max_entries(map::INTERFACES, highest.saturating_add(1).min(MAX_INTERFACES))
        .map_max_entries(map::SOURCES, config.source_capacity)
        .map_max_entries(
            map::EVENTS,
            config.ring_bytes.checked_next_power_of_two().unwrap_or(1 << 31).max(4096),
        )
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

fn refused(what: &str, code: Option<i32>, why: String) -> AttachError {
    let denied = code.map_or_else(
        || why.contains("Operation not permitted") || why.contains("Permission denied (os error 13): "),
        |c| c == libc::EPERM || c == libc::EACCES,
    );
    if denied && !rustix::process::geteuid().is_root() {
        return AttachError::NoPermission;
    }
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    AttachError::Load { kernel, what: what.to_owned(), why }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, AttachError> {
    ebpf.take_map(name).ok_or_else(|| refused(name, None, "the object has no such map".to_owned()))
}

fn taken<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, AttachError> {
    T::try_from(take(ebpf, name)?).map_err(|e| map_error(name, &e))
}

pub(crate) fn map_error(name: &str, error: &MapError) -> AttachError {
    refused(name, errno(error), chain(error))
}

/// The blocks found in the tries that are still in force; those that are not are removed.
fn recover(tries: &mut Tries, clock: &WallClock) -> (Book, Vec<Block>) {
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

fn source_counts(c: &abi::SourceStats, offset_ns: i64) -> SourceCounts {
    SourceCounts {
        start_ns: abi::wall_ns(c.start_ns, offset_ns),
        bytes: c.bytes,
        reply_bytes: c.reply_bytes,
        packets: c.packets,
        tcp_packets: c.tcp_packets,
        udp_packets: c.udp_packets,
        icmp_packets: c.icmp_packets,
        syn_packets: c.syn_packets,
        handshakes: c.handshakes,
        flows: c.flows,
        reply_packets: c.reply_packets,
        udp_reply_packets: c.udp_reply_packets,
        reply_resets: c.reply_resets,
    }
}
