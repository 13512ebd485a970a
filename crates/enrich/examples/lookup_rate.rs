//! What an answer costs, and whether reloads are felt: `cargo run --release -p enrich --example lookup_rate [MMDB]`.
//!
//! Prints one line per figure, name and value, for `cargo xtask bench --section enrich`; times are ns. With a database of
//! countries it also measures answers from that.

use enrich::config::{GeoIp, List, Reputation};
use enrich::list::Kind;
use enrich::{Builder, Prefix, Service, Table};
use rustix::time::{ClockId, clock_gettime};
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Prefixes the figures are promised for.
const PREFIXES: u32 = 1_000_000;
/// Questions per measurement.
const QUESTIONS: u32 = 1_000_000;
/// Rounds; the median counts.
const ROUNDS: usize = 7;
/// Times a list of [`PREFIXES`] is read anew while others ask.
const RELOADS: usize = 5;

/// SplitMix64 (Steele, Lea, Flood 2014): the same addresses in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn v4(&mut self) -> IpAddr {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        // Of 8.0.0.0/5 to 192.0.0.0/2, so that few are special.
        IpAddr::V4(Ipv4Addr::from_bits(bits & 0x3fff_ffff | 0x4000_0000))
    }

    fn v6(&mut self) -> IpAddr {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        IpAddr::V6(Ipv6Addr::from_bits(bits >> 3 | 1 << 125))
    }

    /// Below `end`, low numbers far more often than high ones.
    fn low(&mut self, end: u64) -> u64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (share.powi(3) * end as f64) as u64
    }

    /// As lists are in truth: a few networks of 16 bits hold most.
    fn crowded_v4(&mut self) -> IpAddr {
        let network = Self(self.low(4000)).v4();
        let host = self.next() & 0xffff;
        let IpAddr::V4(network) = network else { return network };
        IpAddr::V4(Ipv4Addr::from_bits(network.to_bits() & 0xffff_0000 | u32::try_from(host).unwrap_or(0)))
    }

    /// Likewise: a few providers, their customers in order, of each the first subnets and hosts.
    fn crowded_v6(&mut self) -> IpAddr {
        let provider = Self(self.low(500)).v6();
        let IpAddr::V6(provider) = provider else { return provider };
        let customer = u128::from(self.low(1 << 16)) << 80;
        let rest = u128::from(self.low(1 << 16)) << 64 | u128::from(self.low(1 << 20));
        IpAddr::V6(Ipv6Addr::from_bits(provider.to_bits() >> 96 << 96 | customer | rest))
    }
}

/// Processor time of this thread, ns: what others run meanwhile does not count.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0)
}

/// Processor time per call, ns: the median of several rounds.
fn cost(addrs: &[IpAddr], mut ask: impl FnMut(IpAddr)) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = now_ns();
            for addr in addrs {
                ask(*addr);
            }
            (now_ns() - begun) as f64 / addrs.len() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// How long single answers took, ns.
#[derive(Default)]
struct Waits {
    wall: Vec<u64>,
    processor: Vec<u64>,
}

impl Waits {
    fn ask(&mut self, service: &Service, addr: IpAddr) {
        let (processor, wall) = (now_ns(), Instant::now());
        black_box(service.find(addr));
        self.wall.push(u64::try_from(wall.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.processor.push(now_ns() - processor);
    }

    fn print(&mut self, name: &str) {
        for (clock, times) in [("wall", &mut self.wall), ("cpu", &mut self.processor)] {
            times.sort_unstable();
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            println!("{name}_{clock}_p50_ns {}", at(0.5));
            println!("{name}_{clock}_p9999_ns {}", at(0.9999));
            println!("{name}_{clock}_longest_ns {}", at(1.0));
        }
    }
}

/// One read of memory that is in no cache, for scale.
fn memory() {
    let words: Vec<u64> = (0..32 << 17).collect();
    let mut random = Random(3);
    let places: Vec<usize> =
        (0..QUESTIONS).map(|_| usize::try_from(random.next()).unwrap_or(0) % words.len()).collect();
    let mut next = 0;
    let begun = now_ns();
    for place in &places {
        // Each place depends on what was read before, so that reads do not overlap.
        next = usize::try_from(words[(place ^ (next & 1)) % words.len()]).unwrap_or(0);
    }
    black_box(next);
    println!("memory_ns {:.1}", (now_ns() - begun) as f64 / f64::from(QUESTIONS));
}

fn table(name: &str, draw: impl Fn(&mut Random) -> IpAddr, lens: [u8; 2]) {
    let mut random = Random(1);
    let begun = Instant::now();
    let mut builder = Builder::default();
    let mut members = Vec::new();
    let mut distinct = HashSet::new();
    while builder.len() < PREFIXES as usize {
        let addr = draw(&mut random);
        let len = lens[builder.len() % 2];
        if let Ok(prefix) = Prefix::new(addr, len)
            && distinct.insert(prefix)
        {
            builder.add(prefix, 100, 0);
            members.push(addr);
        }
    }
    builder.finish();
    let table = Table::merge(&[&builder]);
    drop(distinct);
    println!("{name}_build_ms {:.0}", begun.elapsed().as_secs_f64() * 1e3);
    println!("{name}_prefixes {}", builder.len());
    println!("{name}_bytes {}", builder.bytes() + table.bytes());
    // Half of the questions are about addresses on the list, in no order.
    let addrs: Vec<IpAddr> = (0..QUESTIONS)
        .map(|n| {
            let member = usize::try_from(random.next()).unwrap_or(0) % members.len();
            if n % 2 == 0 { members[member] } else { draw(&mut random) }
        })
        .collect();
    println!(
        "{name}_ns {:.1}",
        cost(&addrs, |a| {
            black_box(table.hits(a));
        })
    );
    // Each question waits for the answer before, as questions of a real packet path do not follow at once.
    let mut found = 0;
    println!(
        "{name}_chained_ns {:.1}",
        cost(&addrs, |a| {
            let IpAddr::V4(a) = a else {
                let IpAddr::V6(a) = a else { return };
                found = black_box(
                    table.hits(Ipv6Addr::from_bits(a.to_bits() ^ found).into()).len() as u128 >> 60,
                );
                return;
            };
            let flipped = a.to_bits() ^ u32::try_from(found).unwrap_or(0);
            found = black_box(table.hits(Ipv4Addr::from_bits(flipped).into()).len() as u128 >> 60);
        })
    );
    // For scale: the same prefixes in one sorted vector, searched by halves for the last start not above the address; and
    // the listed addresses in the standard library's hash map, which knows no prefixes.
    let mut sorted: Vec<(IpAddr, u8)> = members
        .iter()
        .zip(lens.into_iter().cycle())
        .filter_map(|(a, len)| Prefix::new(*a, len).ok().map(|p| (p.addr(), len)))
        .collect();
    sorted.sort_unstable();
    println!(
        "{name}_sorted_ns {:.1}",
        cost(&addrs, |a| {
            black_box(sorted.get(sorted.partition_point(|(start, _)| *start <= a).wrapping_sub(1)));
        })
    );
    let hosts: HashMap<IpAddr, u8> = members.iter().map(|a| (*a, 100)).collect();
    println!(
        "{name}_hash_ns {:.1}",
        cost(&addrs, |a| {
            black_box(hosts.get(&a));
        })
    );
}

fn main() -> Result<(), Box<dyn Error>> {
    memory();
    table("v4", Random::v4, [32, 24]);
    table("v4_crowded", Random::crowded_v4, [32, 32]);
    table("v6", Random::v6, [64, 48]);
    table("v6_crowded", Random::crowded_v6, [128, 64]);

    let dir = std::env::temp_dir().join(format!("aim-lookup-rate-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let mut random = Random(2);
    let listed: Vec<IpAddr> = (0..PREFIXES).map(|_| random.v4()).collect();
    let mut text = String::new();
    for addr in &listed {
        writeln!(text, "{addr}")?;
    }
    let path = dir.join("list");
    std::fs::write(&path, text)?;
    let lists = vec![List {
        name: "million".into(),
        kind: Kind::Plain,
        path: Some(path),
        url: None,
        weight: 0.5,
        refresh_s: None,
        key_file: None,
        key_env: None,
    }];
    let geoip = GeoIp { country: std::env::args_os().nth(1).map(PathBuf::from), ..GeoIp::default() };
    let service = Arc::new(Service::new(&geoip, &Reputation { lists }, &dir));
    for wrong in service.load() {
        eprintln!("{wrong}");
    }
    println!("database {}", u8::from(geoip.country.is_some()));

    // Fewer addresses than the cache holds in each of its parts: all are found there.
    let few: Vec<IpAddr> = (0..5000).map(|_| random.v4()).collect();
    for addr in &few {
        black_box(service.facts(*addr));
    }
    let again: Vec<IpAddr> = few.iter().cycle().take(QUESTIONS as usize).copied().collect();
    println!(
        "cached_ns {:.1}",
        cost(&again, |a| {
            black_box(service.facts(a));
        })
    );
    let many: Vec<IpAddr> =
        (0..QUESTIONS).map(|n| if n % 2 == 0 { listed[n as usize] } else { random.v4() }).collect();
    println!(
        "uncached_ns {:.1}",
        cost(&many, |a| {
            black_box(service.facts(a));
        })
    );
    let from_mixed: Vec<IpAddr> = few.iter().chain(&many[..5000]).copied().collect();

    // One thread asks, another reads everything anew and again.
    let reading = AtomicBool::new(true);
    let (mut quiet, mut during) = (Waits::default(), Waits::default());
    for addr in from_mixed.iter().cycle().take(QUESTIONS as usize) {
        quiet.ask(&service, *addr);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            for _ in 0..RELOADS {
                service.load();
            }
            println!("reload_ms {:.0}", begun.elapsed().as_secs_f64() * 1e3 / RELOADS as f64);
            reading.store(false, Ordering::Relaxed);
        });
        let mut addrs = from_mixed.iter().cycle();
        while reading.load(Ordering::Relaxed)
            && let Some(addr) = addrs.next()
        {
            during.ask(&service, *addr);
        }
    });
    quiet.print("quiet");
    during.print("reloading");
    let cache = service.figures().cache;
    println!("cache_hits {}", cache.hits);
    println!("cache_misses {}", cache.misses);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
