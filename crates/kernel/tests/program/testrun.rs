//! The loaded sensor under `BPF_PROG_TEST_RUN`: frames in, verdicts and map contents out.
//!
//! Each test loads its own copy, so tests share nothing. The clock is the test's: [`Sensor::at`] sets it.

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, RingBuf};
use aya::programs::{Program, SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use kernel::abi::{
    self, Allow, Block, Counter, Counters, Event, FlowKey, FlowStats, Head, HeadEvent, InterfaceStats,
    Limits, SourceStats,
};
use respond::Prefix;

/// `XDP_DROP`.
pub(crate) const DROP: u32 = 1;
/// `XDP_PASS`.
pub(crate) const PASS: u32 = 2;
/// One second, ns.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Where the tests' clock starts, ns.
pub(crate) const START: u64 = 1_000 * SECOND;

/// One loaded copy of the sensor.
pub(crate) struct Sensor {
    ebpf: Ebpf,
    program: &'static str,
}

/// A tunable and its value.
#[derive(Clone, Copy)]
pub(crate) enum Tunable {
    /// `u8`.
    Byte(&'static str, u8),
    /// `u32`.
    Word(&'static str, u32),
}

impl Sensor {
    /// Loads the XDP program with the test clock and these tunables. `None`, with a line on stdout, where the kernel
    /// does not let us.
    pub(crate) fn load(tunables: &[Tunable]) -> Option<Self> {
        Self::load_program(abi::program::XDP, tunables)
    }

    /// Likewise for any of the programs.
    pub(crate) fn load_program(program: &'static str, tunables: &[Tunable]) -> Option<Self> {
        let mut loader = EbpfLoader::new();
        loader.override_global(abi::tunable::TEST_CLOCK, &1_u8, true);
        for tunable in tunables {
            match tunable {
                Tunable::Byte(name, value) => loader.override_global(name, value, true),
                Tunable::Word(name, value) => loader.override_global(name, value, true),
            };
        }
        let mut ebpf = match loader.load(kernel::object::SENSOR) {
            Ok(ebpf) => ebpf,
            Err(error) if !rustix::process::geteuid().is_root() || denied(&error) => {
                println!("skipped: needs CAP_BPF and CAP_NET_ADMIN ({error})");
                return None;
            }
            Err(error) => panic!("the object does not load: {error:?}"),
        };
        match ebpf.program_mut(program).expect("a program of this name") {
            Program::Xdp(p) => p.load(),
            Program::SchedClassifier(p) => p.load(),
            _ => panic!("{program} has another type"),
        }
        .unwrap_or_else(|error| panic!("the verifier refuses {program}: {error:?}"));
        let mut sensor = Self { ebpf, program };
        sensor.at(START);
        Some(sensor)
    }

    /// Sets the clock.
    pub(crate) fn at(&mut self, now_ns: u64) {
        let map = self.ebpf.map_mut(abi::tunable::TEST_NOW_NS).expect(".data");
        Array::<_, u64>::try_from(map).expect("an array").set(0, now_ns, 0).expect("set the clock");
    }

    /// The program's verdict on one frame.
    pub(crate) fn run(&mut self, frame: &[u8]) -> u32 {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let program = self.ebpf.program(self.program).expect("loaded");
        let result = match self.program {
            abi::program::XDP => <&Xdp>::try_from(program).expect("XDP").test_run(options),
            _ => <&SchedClassifier>::try_from(program).expect("classifier").test_run(options),
        };
        result.expect("TEST_RUN").return_value
    }

    /// Sum over CPUs of all counters.
    pub(crate) fn counters(&self) -> Counters {
        let map = PerCpuArray::<_, Counters>::try_from(self.ebpf.map(abi::map::COUNTERS).expect("map"))
            .expect("type");
        Counters::sum(map.get(&0, 0).expect("value").iter())
    }

    /// One counter.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        self.counters().get(counter)
    }

    /// Sum over CPUs of one interface's counts; TEST_RUN frames arrive on the loopback interface, index 1.
    pub(crate) fn interface(&self, index: u32) -> InterfaceStats {
        let map = self.ebpf.map(abi::map::INTERFACES).expect("map");
        let map = PerCpuArray::<_, InterfaceStats>::try_from(map).expect("type");
        let mut sum = InterfaceStats::default();
        for cpu in map.get(&index, 0).expect("value").iter() {
            sum.packets += cpu.packets;
            sum.bytes += cpu.bytes;
            sum.dropped_packets += cpu.dropped_packets;
            sum.dropped_bytes += cpu.dropped_bytes;
            sum.egress_packets += cpu.egress_packets;
            sum.egress_bytes += cpu.egress_bytes;
        }
        sum
    }

    /// Every flow.
    pub(crate) fn flows(&self) -> Vec<(FlowKey, FlowStats)> {
        let map = self.ebpf.map(abi::map::FLOWS).expect("map");
        let map = HashMap::<&MapData, FlowKey, FlowStats>::try_from(map).expect("type");
        map.iter().map(|pair| pair.expect("flow")).collect()
    }

    /// Forgets every flow and every datagram in fragments.
    pub(crate) fn clear(&mut self) {
        let map = self.ebpf.map_mut(abi::map::FRAGMENTS).expect("map");
        let mut map = HashMap::<&mut MapData, [u8; 44], [u8; 40]>::try_from(map).expect("type");
        let keys: Vec<_> = map.keys().map(|key| key.expect("key")).collect();
        for key in keys {
            map.remove(&key).expect("remove");
        }
        let keys: Vec<FlowKey> = self.flows().into_iter().map(|(key, _)| key).collect();
        let map = self.ebpf.map_mut(abi::map::FLOWS).expect("map");
        let mut map = HashMap::<&mut MapData, FlowKey, FlowStats>::try_from(map).expect("type");
        for key in keys {
            map.remove(&key).expect("remove");
        }
    }

    /// The only flow.
    pub(crate) fn flow(&self) -> (FlowKey, flow::FlowStats) {
        let flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:?}");
        (flows[0].0, flows[0].1.to_flow(0))
    }

    /// The window of one source.
    pub(crate) fn source(&self, addr: &str) -> Option<SourceStats> {
        let map = self.ebpf.map(abi::map::SOURCES).expect("map");
        let map = HashMap::<_, [u8; 16], SourceStats>::try_from(map).expect("type");
        let addr: wire::Addr = addr.parse().expect("address");
        map.get(&addr.0, 0).ok()
    }

    /// Blocks `prefix` until `expires_ns`.
    pub(crate) fn block(&mut self, prefix: &str, expires_ns: u64) {
        let prefix: Prefix = prefix.parse().expect("prefix");
        let len = u32::from(prefix.len());
        let value = Block { expires_ns, reason: 7, prefix_len: u16::from(prefix.len()), ..Block::default() };
        let b = prefix.addr().0;
        if prefix.addr().is_v4() {
            let mut map = self.trie::<[u8; 4], Block>(abi::map::BLOCK_V4);
            map.insert(&Key::new(len, [b[12], b[13], b[14], b[15]]), value, 0).expect("insert");
        } else {
            self.trie::<[u8; 16], Block>(abi::map::BLOCK_V6)
                .insert(&Key::new(len, b), value, 0)
                .expect("insert");
        }
    }

    /// Puts `prefix` on the allowlist.
    pub(crate) fn allow(&mut self, prefix: &str) {
        let prefix: Prefix = prefix.parse().expect("prefix");
        let (len, b) = (u32::from(prefix.len()), prefix.addr().0);
        if prefix.addr().is_v4() {
            let mut map = self.trie::<[u8; 4], Allow>(abi::map::ALLOW_V4);
            map.insert(&Key::new(len, [b[12], b[13], b[14], b[15]]), Allow { why: 1 }, 0).expect("insert");
        } else {
            let mut map = self.trie::<[u8; 16], Allow>(abi::map::ALLOW_V6);
            map.insert(&Key::new(len, b), Allow { why: 1 }, 0).expect("insert");
        }
    }

    /// The block of exactly this IPv4 prefix.
    pub(crate) fn block_v4(&mut self, prefix: &str) -> Block {
        let prefix: Prefix = prefix.parse().expect("prefix");
        let b = prefix.addr().0;
        let key = Key::new(u32::from(prefix.len()), [b[12], b[13], b[14], b[15]]);
        self.trie::<[u8; 4], Block>(abi::map::BLOCK_V4).get(&key, 0).expect("block")
    }

    fn trie<K: aya::Pod, V: aya::Pod>(&mut self, name: &str) -> LpmTrie<&mut MapData, K, V> {
        LpmTrie::try_from(self.ebpf.map_mut(name).expect("map")).expect("type")
    }

    /// Puts limits in force.
    pub(crate) fn limit(&mut self, limits: Limits) {
        let map = self.ebpf.map_mut(abi::map::LIMITS).expect("map");
        Array::<_, Limits>::try_from(map).expect("an array").set(0, limits, 0).expect("set the limits");
    }

    /// Notes a source as known good at `ns`.
    pub(crate) fn known(&mut self, addr: &str, ns: u64) {
        let map = self.ebpf.map_mut(abi::map::KNOWN).expect("map");
        let mut map = HashMap::<_, [u8; 16], u64>::try_from(map).expect("type");
        map.insert(addr.parse::<wire::Addr>().expect("address").0, ns, 0).expect("insert");
    }

    /// When a source was last known good, ns.
    pub(crate) fn known_at(&self, addr: &str) -> Option<u64> {
        let map = self.ebpf.map(abi::map::KNOWN).expect("map");
        let map = HashMap::<_, [u8; 16], u64>::try_from(map).expect("type");
        map.get(&addr.parse::<wire::Addr>().expect("address").0, 0).ok()
    }

    /// Takes all heads of flows out of their ring buffer.
    pub(crate) fn heads(&mut self) -> Vec<(HeadEvent, Vec<u8>)> {
        let mut ring = RingBuf::try_from(self.ebpf.map_mut(abi::map::HEADS).expect("map")).expect("type");
        let mut heads = Vec::new();
        while let Some(item) = ring.next() {
            let head = Head::read(&item).expect("a head");
            heads.push((head.event, head.payload.to_vec()));
        }
        heads
    }

    /// Takes all events out of the ring buffer.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let mut ring = RingBuf::try_from(self.ebpf.map_mut(abi::map::EVENTS).expect("map")).expect("type");
        let mut events = Vec::new();
        while let Some(item) = ring.next() {
            events.push(Event::read(&item).expect("a known event"));
        }
        events
    }
}

/// Whether a chain of errors ends in a lack of permission.
fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |e| e.source()).any(|e| {
        e.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied)
    })
}
