//! The kernel programs in force: loaded, attached, read and told what to drop.

use crate::abi::{self, Counters, map};
use crate::attach::{AttachReport, Hooks, chain, errno};
use crate::blocks::{BlockInForce, Book};
use crate::clock::{WallClock, boot_ns};
use crate::config::SensorConfig;
use crate::error::{AttachError, SensorError};
use crate::event::KernelEvent;
use crate::limits::{self, Excess, LimitMaps, LimitRates};
use crate::pins::{self, PinDirectory};
use crate::start::{self, FreshPins, map_error, take, taken};
use crate::syscall;
use crate::trie::Tries;
use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::sys::{Stats, enable_stats};
use flow::{Direction, FlowKey, FlowStats, Segment};
use respond::{Block, Effect, Prefix};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use serde::Serialize;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use wire::Addr;

/// Events handed out by one [`Sensor::poll`] at most, so that it returns under any load.
const EVENTS_PER_POLL: usize = 65_536;
/// A packet's time is taken when its program starts and written a little later; snapshots look back this far, ns.
const SNAPSHOT_SLACK_NS: u64 = 50_000_000;

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
    heads: RingBuf<MapData>,
    limits: LimitMaps,
    rates: LimitRates,
    syn_cookies: bool,
    enforce: bool,
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
        start::check(config)?;
        let interfaces = start::resolve(&config.interfaces)?;
        let (pins, unpinned) = start::open_pins(config)?;
        let mut notes: Vec<String> = unpinned
            .iter()
            .map(|why| format!("blocks end with the agent, nothing is pinned: {why}"))
            .collect();
        let mut config = config.clone();
        if config.tunables.syn_cookies
            && let Err(why) = limits::syn_cookies_possible()
        {
            notes.push(format!("no SYN cookies: {why}"));
            config.tunables.syn_cookies = false;
        }
        let config = &config;
        let fresh = FreshPins::new(pins.as_ref(), config.block_capacity, &mut notes)?;
        let mut left = pins.as_ref().map(PinDirectory::links).unwrap_or_default();

        let mut ebpf = start::load(config, &interfaces, pins.as_ref())?;
        let mut tries = Tries::take(&mut ebpf, config.block_capacity)?;
        let clock = WallClock::new();
        let now_boot = boot_ns();
        for (prefix, block) in &fresh.moved {
            if block.expires_ns > now_boot {
                tries.put_block(prefix, *block).map_err(|e| AttachError::Config(e.to_string()))?;
            }
        }
        let (book, recovered) = start::recover(&mut tries, &clock);
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
        let mut limits = LimitMaps::take(&mut ebpf)?;
        let rates = if reports.iter().all(|r: &AttachReport| r.egress) {
            config.limits
        } else {
            notes.push("answers are not seen: no limits on UDP and on services".to_owned());
            config.limits.without_egress()
        };
        limits.set(rates).map_err(|e| AttachError::Config(e.to_string()))?;
        let sensor = Self {
            reports,
            notes,
            events,
            heads: taken(&mut ebpf, map::HEADS)?,
            limits,
            rates,
            syn_cookies: config.enforce && config.tunables.syn_cookies,
            enforce: config.enforce,
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
            PollFd::from_borrowed_fd(self.heads.as_fd(), PollFlags::IN),
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
            match abi::Event::read(&item).and_then(|event| KernelEvent::of(&event, offset)) {
                Some(event) => each(event),
                None => self.unreadable += 1,
            }
        }
        count
    }

    /// Hands out the heads of flows that have come up: when a packet passed (wall clock, ns), its flow, its direction and
    /// the start of its payload. At most 65,536 at a time; returns how many. Never waits: [`Self::poll`] does, for
    /// these too.
    pub fn heads(&mut self, each: &mut dyn FnMut(u64, FlowKey, Direction, &Segment<'_>)) -> usize {
        let offset = self.clock.offset_ns();
        let mut count = 0;
        while count < EVENTS_PER_POLL {
            let Some(item) = self.heads.next() else { break };
            count += 1;
            let Some(abi::Head { event: e, payload }) = abi::Head::read(&item) else {
                self.unreadable += 1;
                continue;
            };
            let segment = Segment {
                initiator: abi::direction(e.initiator),
                start: (e.begins != 0).then_some(e.start),
                seq: e.seq,
                ack: e.ack,
                flags: e.flags,
                payload_len: e.payload_len,
                payload,
            };
            let at_ns = abi::wall_ns(e.head.time_ns, offset);
            each(at_ns, e.key.into(), abi::direction(e.direction), &segment);
        }
        count
    }

    /// Puts other limits in force, at once. Those that need to see answers stay off where egress is not watched.
    ///
    /// # Errors
    /// [`SensorError::Map`] if they cannot be written.
    pub fn set_limits(&mut self, rates: LimitRates) -> Result<(), SensorError> {
        let egress = self.reports.iter().all(|r| r.egress);
        let rates = if egress { rates } else { rates.without_egress() };
        self.limits.set(rates)?;
        self.rates = rates;
        Ok(())
    }

    /// Who was over a limit `within` so long, most packets first. What is listed is the latest excess of each: a
    /// stretch of packets over the limit without two seconds of quiet.
    ///
    /// # Errors
    /// [`SensorError::Map`] if it cannot be read.
    pub fn excesses(&self, within: Duration) -> Result<Vec<Excess>, SensorError> {
        self.limits.excesses(within, &self.clock, self.enforce)
    }

    /// Gives a full bucket again to the source and the services of one address (in IPv6, of its /64), or to all. Returns
    /// how many there were.
    ///
    /// # Errors
    /// [`SensorError::Map`] if the kernel refuses.
    pub fn clear_limits(&mut self, addr: Option<Addr>) -> Result<usize, SensorError> {
        self.limits.clear(addr)
    }

    /// The limits in force: those asked for, without those that need to see answers where egress is not watched.
    #[must_use]
    pub const fn limits(&self) -> LimitRates {
        self.rates
    }

    /// Whether blocks and limits drop; else what they would have dropped is counted.
    #[must_use]
    pub const fn enforces(&self) -> bool {
        self.enforce
    }

    /// Whether SYNs over the limit of their service are answered with SYN cookies, on interfaces watched by XDP.
    #[must_use]
    pub const fn syn_cookies(&self) -> bool {
        self.syn_cookies
    }

    /// Hands out the flows with a packet since the last call, with their sums so far. A flow may come although it has
    /// not changed, and one that is evicted meanwhile may be missed.
    ///
    /// # Errors
    /// [`SensorError::Map`] if the kernel does not give its flows out.
    pub fn flows(&mut self, each: &mut dyn FnMut(&FlowKey, &FlowStats)) -> Result<Snapshot, SensorError> {
        self.flows_with(0, &mut |_, key, stats| each(key, stats))
    }

    /// As [`Self::flows`], with the sensor at hand: a long reading need not keep events and blocks waiting. A flow that nobody
    /// has answered comes again until it has waited for `waiting_ns`, so that it can be told from one that was not read.
    ///
    /// # Errors
    /// As [`Self::flows`].
    pub fn flows_with(
        &mut self,
        waiting_ns: u64,
        each: &mut dyn FnMut(&mut Self, &FlowKey, &FlowStats),
    ) -> Result<Snapshot, SensorError> {
        self.clock.refresh();
        let offset = self.clock.offset_ns();
        let since = self.snapshot_from;
        let now = boot_ns();
        let map = self
            .flows_fd
            .try_clone()
            .map_err(|source| SensorError::Io { what: "opening the flow map again", source })?;
        let mut snapshot = Snapshot::default();
        syscall::for_each(&map, &mut |key: &abi::FlowKey, stats: &abi::FlowStats| {
            snapshot.live += 1;
            let last_ns = stats.dir[0].last_ns.max(stats.dir[1].last_ns);
            let waits =
                stats.dir.iter().any(|d| d.packets == 0) && last_ns.saturating_add(waiting_ns) >= since;
            if last_ns >= since || waits {
                snapshot.changed += 1;
                each(self, &(*key).into(), &stats.to_flow(offset));
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
