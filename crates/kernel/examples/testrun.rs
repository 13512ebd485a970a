//! Nanoseconds per packet of the kernel programs by `BPF_PROG_TEST_RUN`, and per flow of reading their flow map, one JSON
//! object per line: `{"name": …, "ns": …}`. Run as root; `cargo xtask bench` reads it.
//!
//! Each figure is the best of many short rounds, six million frames in all: the kernel reports the mean of a round, and
//! what else the machine does only ever adds to it. Figures include what TEST_RUN itself costs, which is `pass`.

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, RingBuf};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use kernel::abi::{self, Block, FlowKey, FlowStats};
use std::error::Error;
use std::time::{Duration, Instant};
use wire::craft;
use wire::packet::tcp_flag::{ACK, PSH, SYN};

const ROUNDS: usize = 120;
const REPEAT: u32 = 50_000;
/// Packets that leave fewer bytes in the ring of heads than wake its reader, and how often they are sent.
const HEAD_REPEAT: u32 = 25;
const HEAD_ROUNDS: u32 = 400;
/// Flows that are read, and how often.
const FLOWS: u32 = 100_000;
const READINGS: usize = 10;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let (client, server) = (("198.51.100.1".parse()?, 40_000), ("192.0.2.1".parse()?, 443));
    let syn = padded(craft::tcp(client, server, SYN, 1, 0, 64_240, &[]));
    let answer = padded(craft::tcp(server, client, SYN | ACK, 1, 2, 64_240, &[]));
    let ack = padded(craft::tcp(client, server, ACK, 2, 2, 64_240, &[]));
    let data = craft::tcp(client, server, PSH | ACK, 2, 2, 64_240, &[0x42; 1400]);
    let datagram = padded(craft::udp(client, server, b"datagram"));

    let mut yardstick = Ebpf::load(BENCH)?;
    let pass = load(&mut yardstick, "bench_pass")?;
    report("pass", measure(pass, &syn, XDP_PASS)?);
    let parse = load(&mut yardstick, "bench_parse")?;
    report("parse", measure(parse, &syn, XDP_PASS)?);

    let mut sensor = Ebpf::load(kernel::object::SENSOR)?;
    let program = load(&mut sensor, abi::program::XDP)?;
    report("account_udp", measure(program, &datagram, XDP_PASS)?);
    report("account_syn", measure(program, &syn, XDP_PASS)?);
    once(program, &answer)?;
    report("account_tcp", measure(program, &ack, XDP_PASS)?);
    report("account_tcp_data", measure(program, &data, XDP_PASS)?);

    let short = craft::tcp(client, server, PSH | ACK, 2, 2, 64_240, &[0x42; 100]);
    heads(&short, &data)?;

    // As the sensor writes a block that no allowed prefix overlaps.
    let block = Block { expires_ns: u64::MAX, prefix_len: 32, not_allowed: 1, ..Block::default() };
    for i in 0..10_000_u32 {
        let [_, a, b, c] = (i * 1601).to_be_bytes();
        block_v4(&mut sensor, [11, a, b, c], block)?;
    }
    let program = xdp(&mut sensor, abi::program::XDP)?;
    report("account_tcp_10000_blocks", measure(program, &ack, XDP_PASS)?);
    block_v4(&mut sensor, [198, 51, 100, 1], block)?;
    report("drop_10000_blocks", measure(xdp(&mut sensor, abi::program::XDP)?, &syn, XDP_DROP)?);

    let mut sensor = Ebpf::load(kernel::object::SENSOR)?;
    load(&mut sensor, abi::program::XDP)?;
    block_v4(&mut sensor, [198, 51, 100, 1], block)?;
    report("drop", measure(xdp(&mut sensor, abi::program::XDP)?, &syn, XDP_DROP)?);

    reading(&syn)?;

    match xdp_filter(&syn) {
        Ok((pass, drop)) => {
            report("xdp_filter_pass", pass);
            report("xdp_filter_drop", drop);
        }
        Err(error) => eprintln!("skipped: xdp-filter (Debian package xdp-tools): {error}"),
    }
    Ok(())
}

/// What user space pays to read a flow out of a map of many: as the agent reads them, by batches, and one by one, which
/// takes two system calls for each.
fn reading(packet: &[u8]) -> Outcome<()> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(abi::map::FLOWS, FLOWS * 2);
    let mut sensor = loader.load(kernel::object::SENSOR)?;
    once(load(&mut sensor, abi::program::XDP)?, packet)?;
    let map = sensor.map_mut(abi::map::FLOWS).ok_or("no flow map")?;
    {
        let mut flows: HashMap<_, FlowKey, FlowStats> = HashMap::try_from(&mut *map)?;
        let (mut key, stats) = flows.iter().next().ok_or("no flow")??;
        for tunnel in 0..FLOWS {
            key.tunnel = tunnel;
            flows.insert(key, stats, 0)?;
        }
    }
    let best = |read: &mut dyn FnMut() -> Outcome<u32>| -> Outcome<u128> {
        let mut best = u128::MAX;
        for _ in 0..READINGS {
            let start = Instant::now();
            let count = read()?;
            // An LRU map keeps a few entries less than it was given.
            if count < FLOWS / 10 * 9 {
                return Err(format!("{count} of {FLOWS} flows").into());
            }
            best = best.min(start.elapsed().as_nanos() / u128::from(count));
        }
        Ok(best)
    };
    let aya::maps::Map::LruHashMap(data) = &*map else {
        return Err("the flow map is of another kind".into());
    };
    report(
        "read_flows_batched",
        best(&mut || {
            let mut count = 0;
            kernel::flows_of(data, &mut |_, _| count += 1)?;
            Ok(count)
        })?,
    );
    let flows: HashMap<_, FlowKey, FlowStats> = HashMap::try_from(&*map)?;
    report(
        "read_flows_single",
        best(&mut || {
            let mut count = 0;
            for entry in flows.iter() {
                entry?;
                count += 1;
            }
            Ok(count)
        })?,
    );
    Ok(())
}

/// What a record of a flow's head costs: the head is never done, the budgets are never used up, and the ring is emptied
/// before so much waits in it that a reader would be woken.
fn heads(short: &[u8], long: &[u8]) -> Outcome<()> {
    for (name, frame) in [("account_tcp_head_100", short), ("account_tcp_head_1400", long)] {
        let mut loader = EbpfLoader::new();
        let (all, packet) = (u32::MAX, u32::try_from(abi::HEAD_PACKET_MAX)?);
        loader
            .override_global(abi::tunable::HEAD_BYTES, &all, true)
            .override_global(abi::tunable::HEAD_BYTES_LONG, &all, true)
            .override_global(abi::tunable::HEAD_PACKET_BYTES, &packet, true)
            .override_global(abi::tunable::SOURCE_HEAD_BUDGET, &all, true)
            .override_global(abi::tunable::CPU_HEAD_BUDGET, &all, true);
        let mut sensor = loader.load(kernel::object::SENSOR)?;
        let mut ring = RingBuf::try_from(sensor.take_map(abi::map::HEADS).ok_or("no ring of heads")?)?;
        let program = load(&mut sensor, abi::program::XDP)?;
        let (mut best, mut records) = (u128::MAX, 0_u32);
        for _ in 0..HEAD_ROUNDS {
            best = best.min(run(program, frame, HEAD_REPEAT)?.1.as_nanos());
            while ring.next().is_some() {
                records += 1;
            }
        }
        if records != HEAD_REPEAT * HEAD_ROUNDS {
            return Err(format!("{records} records of {} packets", HEAD_REPEAT * HEAD_ROUNDS).into());
        }
        report(name, best);
    }
    Ok(())
}

static BENCH: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/bench.bpf.o"));

fn report(name: &str, ns: u128) {
    println!("{}", serde_json::json!({ "name": name, "ns": u64::try_from(ns).unwrap_or(u64::MAX) }));
}

/// Ethernet's least frame.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

fn block_v4(sensor: &mut Ebpf, addr: [u8; 4], block: Block) -> Outcome<()> {
    let map = sensor.map_mut(abi::map::BLOCK_V4).ok_or("no block map")?;
    LpmTrie::<_, [u8; 4], Block>::try_from(map)?.insert(&Key::new(32, addr), block, 0)?;
    Ok(())
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Outcome<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).ok_or_else(|| format!("no program {name}"))?.try_into()?)
}

fn load<'a>(ebpf: &'a mut Ebpf, name: &str) -> Outcome<&'a mut Xdp> {
    let program = xdp(ebpf, name)?;
    program.load()?;
    Ok(program)
}

fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Outcome<(u32, Duration)> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeat;
    let result = program.test_run(options)?;
    Ok((result.return_value, result.duration))
}

fn once(program: &Xdp, frame: &[u8]) -> Outcome<()> {
    run(program, frame, 1).map(|_| ())
}

fn measure(program: &Xdp, frame: &[u8], verdict: u32) -> Outcome<u128> {
    let mut best = u128::MAX;
    for _ in 0..ROUNDS {
        let (returned, duration) = run(program, frame, REPEAT)?;
        if returned != verdict {
            return Err(format!("verdict {returned}, not {verdict}").into());
        }
        best = best.min(duration.as_nanos());
    }
    Ok(best)
}

/// xdp-filter's IPv4 deny list, pass and drop, with its own object. Its maps ask to be pinned: in a directory of our
/// own, so that neither a real xdp-filter nor an earlier run lends us its lists.
fn xdp_filter(frame: &[u8]) -> Outcome<(u128, u128)> {
    let path = format!("/usr/lib/{}-linux-gnu/bpf/xdpfilt_alw_ip.o", std::env::consts::ARCH);
    let object = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let pins = std::path::PathBuf::from(format!("/sys/fs/bpf/testrun-{}", std::process::id()));
    std::fs::create_dir(&pins).map_err(|error| format!("{}: {error}", pins.display()))?;
    let measured = xdp_filter_pinned(&object, &pins, frame);
    for pin in std::fs::read_dir(&pins)? {
        std::fs::remove_file(pin?.path())?;
    }
    std::fs::remove_dir(&pins)?;
    measured
}

fn xdp_filter_pinned(object: &[u8], pins: &std::path::Path, frame: &[u8]) -> Outcome<(u128, u128)> {
    let mut ebpf = EbpfLoader::new().default_map_pin_directory(pins).load(object)?;
    let pass = measure(load(&mut ebpf, "xdpfilt_alw_ip")?, frame, XDP_PASS)?;
    // Key: the address in network order; value: MAP_FLAG_SRC (1) of xdp-filter's common_kern_user.h, per CPU.
    let map = ebpf.map_mut("filter_ipv4").ok_or("no map filter_ipv4")?;
    let mut addresses = aya::maps::PerCpuHashMap::<_, [u8; 4], u64>::try_from(map)?;
    let flags = vec![1_u64; aya::util::nr_cpus().map_err(|(_, error)| error)?];
    addresses.insert([198, 51, 100, 1], aya::maps::PerCpuValues::try_from(flags)?, 0)?;
    Ok((pass, measure(xdp(&mut ebpf, "xdpfilt_alw_ip")?, frame, XDP_DROP)?))
}
