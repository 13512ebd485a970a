//! The limits of the fast path as user space sees them: rates to set, excesses to read and to forgive.

use crate::abi::{self, Limit, LimitState, Limits, ServiceKey, map};
use crate::attach::{chain, errno};
use crate::clock::{WallClock, boot_ns};
use crate::error::{AttachError, SensorError};
use crate::start::taken;
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use std::time::Duration;
use wire::Addr;

/// Packets per second from which on packets are dropped at once; 0: no limit. A source is an address, in IPv6 a /64, and
/// may send one second's worth in a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRates {
    /// TCP SYNs of one source.
    pub source_syn: u32,
    /// UDP packets of one source in flows that nobody answered.
    pub source_udp: u32,
    /// ICMP and ICMPv6 echo requests of one source.
    pub source_icmp: u32,
    /// TCP SYNs to one service (address and port) of sources not known good.
    pub service_syn: u32,
    /// How long a source stays known good after a service has sent it payload, seconds.
    pub known_s: u32,
    /// Drop fragments that [`flow::fragment`] calls tiny.
    pub block_tiny: bool,
    /// Drop fragments that overlap others of their datagram.
    pub block_overlapping: bool,
}

impl LimitRates {
    /// No limit at all.
    pub const OFF: Self = Self {
        source_syn: 0,
        source_udp: 0,
        source_icmp: 0,
        service_syn: 0,
        known_s: 0,
        block_tiny: false,
        block_overlapping: false,
    };

    /// The same without those that need to see answers: where egress is not watched, every answer to a question of this
    /// host would look unasked for, and no source would ever become known.
    #[must_use]
    pub const fn without_egress(self) -> Self {
        Self { source_udp: 0, service_syn: 0, ..self }
    }

    fn to_abi(self) -> Limits {
        let interval = |rate: u32| 1_000_000_000_u64.checked_div(u64::from(rate)).unwrap_or(0);
        Limits {
            interval_ns: [
                interval(self.source_syn),
                interval(self.source_udp),
                interval(self.source_icmp),
                interval(self.service_syn),
            ],
            known_ns: u64::from(self.known_s) * 1_000_000_000,
            block_tiny: self.block_tiny.into(),
            block_overlapping: self.block_overlapping.into(),
        }
    }
}

/// Whether this host opens connections by SYN cookies that the kernel program has sent. The program needs helpers of
/// Linux 6.0. The host's TCP takes a cookie that it has not sent itself only while it sends some, which
/// `net.ipv4.tcp_syncookies = 2` has it do always (Linux, Documentation/networking/ip-sysctl.rst).
///
/// # Errors
/// What is missing, with the way out.
pub fn syn_cookies_possible() -> Result<(), String> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let major: u32 = release.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if major < 6 {
        return Err(format!("they need Linux 6.0 or newer, this is {release}"));
    }
    match std::fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies") {
        Ok(text) if text.trim() == "2" => Ok(()),
        Ok(text) => Err(format!(
            "net.ipv4.tcp_syncookies is {} and must be 2: sysctl -w net.ipv4.tcp_syncookies=2",
            text.trim()
        )),
        Err(e) => Err(format!("net.ipv4.tcp_syncookies cannot be read: {e}")),
    }
}

/// Packets of one source, or to one service, over a limit; times are wall-clock ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Which limit; [`None`] in a list where a source is over several, as the counts are of all of them together.
    pub limit: Option<Limit>,
    /// The source (IPv6: first address of its /64), or the service.
    pub addr: Addr,
    /// The service's port, else 0.
    pub port: u16,
    /// When it began.
    pub since_ns: u64,
    /// The last packet over the limit so far.
    pub last_ns: u64,
    /// Packets over the limit.
    pub packets: u64,
    /// Their frame bytes.
    pub bytes: u64,
    /// Whether they were dropped; in shadow mode they pass.
    pub enforced: bool,
}

pub(crate) fn excess(e: &abi::LimitedEvent, offset_ns: i64) -> Option<Excess> {
    let limit = *Limit::ALL.get(usize::try_from(e.limit).ok()?)?;
    Some(Excess {
        limit: Some(limit),
        addr: Addr(e.addr),
        port: e.port,
        since_ns: abi::wall_ns(e.since_ns, offset_ns),
        last_ns: abi::wall_ns(e.head.time_ns, offset_ns),
        packets: e.packets,
        bytes: e.bytes,
        enforced: e.enforced != 0,
    })
}

/// The maps of limits.
pub(crate) struct LimitMaps {
    rates: Array<MapData, Limits>,
    sources: HashMap<MapData, [u8; 16], LimitState>,
    services: HashMap<MapData, ServiceKey, LimitState>,
}

fn failed(what: &str, error: &MapError) -> SensorError {
    SensorError::Map { what: what.to_owned(), why: chain(error) }
}

impl LimitMaps {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, AttachError> {
        Ok(Self {
            rates: taken(ebpf, map::LIMITS)?,
            sources: taken(ebpf, map::LIMIT_SOURCES)?,
            services: taken(ebpf, map::LIMIT_SERVICES)?,
        })
    }

    pub(crate) fn set(&mut self, rates: LimitRates) -> Result<(), SensorError> {
        self.rates.set(0, rates.to_abi(), 0).map_err(|e| failed("writing the limits", &e))
    }

    /// Sources and services with packets over a limit `within` so long, most packets first.
    pub(crate) fn excesses(
        &self,
        within: Duration,
        clock: &WallClock,
        enforced: bool,
    ) -> Result<Vec<Excess>, SensorError> {
        let now = boot_ns();
        let lately = |s: &LimitState| {
            s.since_ns != 0 && u128::from(now.saturating_sub(s.last_ns)) <= within.as_nanos()
        };
        let only = |kinds: u32| Limit::ALL.into_iter().find(|l| kinds == 1 << *l as u32);
        let view = |addr, port, s: &LimitState| Excess {
            limit: only(s.kinds),
            addr: Addr(addr),
            port,
            since_ns: clock.wall(s.since_ns),
            last_ns: clock.wall(s.last_ns),
            packets: s.packets,
            bytes: s.bytes,
            enforced,
        };
        let mut all = Vec::new();
        for pair in self.sources.iter() {
            match pair {
                Ok((addr, s)) if lately(&s) => all.push(view(addr, 0, &s)),
                Ok(_) => {}
                // An entry may go while the map is read; the list then ends early.
                Err(e) if errno(&e) == Some(libc::ENOENT) => break,
                Err(e) => return Err(failed("reading the limited sources", &e)),
            }
        }
        for pair in self.services.iter() {
            match pair {
                Ok((key, s)) if lately(&s) => all.push(view(key.addr, key.port, &s)),
                Ok(_) => {}
                Err(e) if errno(&e) == Some(libc::ENOENT) => break,
                Err(e) => return Err(failed("reading the limited services", &e)),
            }
        }
        all.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.addr.cmp(&b.addr)));
        Ok(all)
    }

    /// Gives a full bucket again to the source and the services of one address (in IPv6, of its /64), or to all. Returns
    /// how many there were.
    pub(crate) fn clear(&mut self, addr: Option<Addr>) -> Result<usize, SensorError> {
        let within = |found: &[u8; 16]| match addr {
            None => true,
            Some(addr) if addr.is_v4() => *found == addr.0,
            Some(addr) => found[..8] == addr.0[..8],
        };
        let sources: Vec<_> = self.sources.keys().map_while(Result::ok).filter(|a| within(a)).collect();
        let services: Vec<_> =
            self.services.keys().map_while(Result::ok).filter(|k| within(&k.addr)).collect();
        for key in &sources {
            gone_is_fine(self.sources.remove(key)).map_err(|e| failed("clearing the limits", &e))?;
        }
        for key in &services {
            gone_is_fine(self.services.remove(key)).map_err(|e| failed("clearing the limits", &e))?;
        }
        Ok(sources.len() + services.len())
    }
}

fn gone_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}
