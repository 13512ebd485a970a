//! Which of several workers a frame belongs to.
//!
//! Workers share nothing, so whatever one flow's counts, sessions and fragments are made from must come to one of them.
//! A frame is steered by the unordered pair of addresses of the packet that [`parse`](mod@crate::parse) would return for
//! it, and by nothing else:
//!
//! * Both directions have the same pair, whatever began the flow.
//! * Every fragment has it, also the later ones, which have no ports: a sensor that spreads by ports has to put fragments
//!   together first, or an attacker gets half of his flow to another worker by fragmenting it. It is why network cards
//!   leave ports out for UDP as they come.
//! * A flow in a tunnel has the pair of its own addresses, not that of the tunnel's ends.
//!
//! The price is that two hosts who talk to nobody else, a proxy and its backend, keep one worker busy, however many
//! connections they have. What stands behind many clients, or talks to many servers, spreads.
//!
//! An ICMP error is a packet of its own flow, and it is also about the flow that it quotes, whose addresses differ if a
//! router sent it. [`Route::quoted`] names the second worker, which is to hear of the error without counting it.
//!
//! # The hash
//!
//! All arithmetic is modulo 2^32, as a classic BPF program can do it, since the kernel chooses a socket by the same hash
//! (`crates/kernel`). The 16 bytes of an address are four big-endian words `w` (IPv4 as IPv4-mapped):
//!
//! ```text
//! x = ((w0 · FOLD + w1) · FOLD + w2) · FOLD + w3 + seed
//! m = x · MIX;  m = (m XOR m / 2^15) · REMIX
//! h = m(source) + m(destination);  h = (h XOR h / 2^16) · MIX
//! worker = (h / 2^16) · workers / 2^16
//! ```
//!
//! Each address is mixed before the sum: of plain sums, and of XOR, neighbouring pairs in neighbouring networks collide.

use crate::packet::{Fragment, Packet, protocol};
use crate::parse::{Start, Version, be16, be32, begin, bytes, is_extension};
use crate::tunnel::{GENEVE_PORT, VXLAN_OLD_PORT, VXLAN_PORT};
use crate::{Addr, LinkType, parse};

/// Most workers: their number must fit the hash's upper half, and no machine has more cores.
pub const MAX_WORKERS: usize = 1024;

/// Folds an address's words into one.
pub const FOLD: u32 = 0x9e37_79b1;
/// First multiplier; odd, its bits without pattern (a multiplier of the well-known "lowbias32" hash).
pub const MIX: u32 = 0x7feb_352d;
/// Second multiplier of the same hash.
pub const REMIX: u32 = 0x846c_a68b;

/// Who gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The worker that accounts it.
    pub worker: usize,
    /// Another worker, whose flow the frame, an ICMP error, quotes.
    pub quoted: Option<usize>,
}

/// How frames are spread over a number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering {
    seed: u32,
    workers: u32,
}

impl Steering {
    /// For 1..=[`MAX_WORKERS`] workers, brought into that range. With a seed unknown to those who send, nobody can choose
    /// addresses that all meet in one worker.
    #[must_use]
    pub fn new(seed: u64, workers: usize) -> Self {
        Self { seed: (seed ^ seed >> 32) as u32, workers: workers.clamp(1, MAX_WORKERS) as u32 }
    }

    /// The number of workers.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers as usize
    }

    /// What is added to an address before it is mixed.
    #[must_use]
    pub const fn seed(&self) -> u32 {
        self.seed
    }

    /// The worker of all packets between two addresses.
    #[must_use]
    #[inline]
    pub fn pair(&self, a: &Addr, b: &Addr) -> usize {
        self.place(fold(a), fold(b))
    }

    #[inline]
    const fn place(&self, a: u32, b: u32) -> usize {
        let h = mix(a.wrapping_add(self.seed)).wrapping_add(mix(b.wrapping_add(self.seed)));
        let h = (h ^ h >> 16).wrapping_mul(MIX);
        (((h >> 16) * self.workers) >> 16) as usize
    }

    /// Where a frame goes; arguments as for [`parse()`]. What is no packet may go anywhere, and goes to the first worker or
    /// to that of the addresses it seems to have.
    #[must_use]
    #[inline]
    pub fn route(&self, link: LinkType, frame: &[u8], frame_len: u32) -> Route {
        match plain(link, frame) {
            Some((a, b)) => Route { worker: self.place(a, b), quoted: None },
            None => self.parsed(link, frame, frame_len),
        }
    }

    /// [`Self::route`] for frames whose addresses are not in their usual place, or not all that matters.
    #[inline(never)]
    fn parsed(&self, link: LinkType, frame: &[u8], frame_len: u32) -> Route {
        let Ok(packet) = parse(link, frame, frame_len) else { return Route { worker: 0, quoted: None } };
        let worker = self.pair(&packet.src, &packet.dst);
        Route { worker, quoted: self.quoted(&packet).filter(|&quoted| quoted != worker) }
    }

    /// The worker of the flow that an ICMP error quotes.
    fn quoted(&self, packet: &Packet<'_>) -> Option<usize> {
        let v6 = match packet.protocol {
            protocol::ICMP => false,
            protocol::ICMPV6 => true,
            _ => return None,
        };
        let tells = crate::quote::is_unreachable(packet.protocol, packet.icmp_type, packet.icmp_code)
            && packet.fragment != Fragment::Later;
        let quote = crate::quote::quote(v6, packet.payload).filter(|_| tells)?;
        Some(self.pair(&quote.src, &quote.dst))
    }
}

/// The folded addresses of a frame of plain IP that is neither a tunnel nor ICMP; `None` for all else.
#[inline]
fn plain(link: LinkType, frame: &[u8]) -> Option<(u32, u32)> {
    let Ok(Start::Ip(version, at)) = begin(link, frame) else { return None };
    let (ends, next, transport) = match version {
        Version::V4 => {
            let h: &[u8; 20] = bytes(frame, at)?;
            // Of a later fragment, payload is taken for ports: at worst it is parsed for nothing.
            ((fold4(h, 12), fold4(h, 16)), h[9], at + usize::from(h[0] & 0x0f) * 4)
        }
        Version::V6 => {
            let h: &[u8; 40] = bytes(frame, at)?;
            ((fold16(h, 8), fold16(h, 24)), h[6], at + 40)
        }
    };
    let settled = match next {
        protocol::TCP => true,
        protocol::UDP => {
            let ports: &[u8; 4] = bytes(frame, transport)?;
            !matches!(be16(ports, 2), VXLAN_PORT | VXLAN_OLD_PORT | GENEVE_PORT)
        }
        protocol::ICMP | protocol::ICMPV6 | protocol::IPV4 | protocol::IPV6 | protocol::GRE => false,
        other => matches!(version, Version::V4) || !is_extension(other),
    };
    settled.then_some(ends)
}

fn fold(addr: &Addr) -> u32 {
    fold16(&addr.0, 0)
}

#[inline]
fn fold16<const N: usize>(b: &[u8; N], at: usize) -> u32 {
    let word = |i| be32(b, at + i);
    let x = word(0).wrapping_mul(FOLD).wrapping_add(word(4));
    x.wrapping_mul(FOLD).wrapping_add(word(8)).wrapping_mul(FOLD).wrapping_add(word(12))
}

/// As [`fold16`] of the IPv4-mapped form.
#[inline]
fn fold4<const N: usize>(b: &[u8; N], at: usize) -> u32 {
    V4.wrapping_add(be32(b, at))
}

/// What the first twelve bytes of every IPv4-mapped address fold to.
pub const V4: u32 = 0xffff_u32.wrapping_mul(FOLD);

#[inline]
const fn mix(x: u32) -> u32 {
    let m = x.wrapping_mul(MIX);
    (m ^ m >> 15).wrapping_mul(REMIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::craft::{Builder, icmp_echo, tcp, udp};

    const A: Addr = Addr::v4([10, 0, 0, 1]);
    const B: Addr = Addr::v4([198, 18, 0, 9]);

    fn v6(last: u8) -> Addr {
        let mut a = [0x20; 16];
        a[15] = last;
        Addr(a)
    }

    #[test]
    fn a_version_six_address_that_is_mapped_is_the_same_address() {
        assert_eq!(fold4(&[198, 18, 0, 9], 0), fold(&B));
    }

    #[test]
    fn neighbouring_pairs_spread() {
        for workers in [2, 3, 4, 8, 64] {
            for seed in 0..20 {
                let steering = Steering::new(seed, workers);
                let mut counts = vec![0_usize; workers];
                let pairs = 200 * workers;
                for i in 0..pairs {
                    let [hi, lo] = (i as u16).to_be_bytes();
                    let worker = match seed % 3 {
                        // The same host numbers on both sides, one client and many servers, and version 6.
                        0 => steering.pair(&Addr::v4([10, 20, hi, lo]), &Addr::v4([198, 18, hi, lo])),
                        1 => steering.pair(&A, &Addr::v4([198, 18, hi, lo])),
                        _ => steering.pair(&v6(lo), &v6(hi ^ 0x80)),
                    };
                    counts[worker] += 1;
                }
                // Five standard deviations of a binomial distribution with mean 200.
                assert!(counts.iter().all(|&n| n.abs_diff(200) < 71), "{workers} {seed}: {counts:?}");
            }
        }
    }

    #[test]
    fn another_seed_places_otherwise() {
        let pairs = || (0..=255).map(|n| (A, Addr::v4([198, 18, 0, n])));
        let places = |seed| pairs().map(|(a, b)| Steering::new(seed, 2).pair(&a, &b)).collect::<Vec<_>>();
        let same = places(1).into_iter().zip(places(2 << 32)).filter(|(a, b)| a == b).count();
        assert!((80..176).contains(&same), "{same}");
    }

    #[test]
    fn frames_go_where_their_packet_belongs() {
        let steering = Steering::new(7, 64);
        let check = |frame: &[u8], a: &Addr, b: &Addr| {
            let route = steering.route(LinkType::Ethernet, frame, frame.len() as u32);
            assert_eq!(route, Route { worker: steering.pair(a, b), quoted: None }, "{frame:?}");
        };
        check(&tcp((A, 1), (B, 80), 2, 0, 0, 0, &[]), &A, &B);
        check(&tcp((B, 80), (A, 1), 2, 0, 0, 0, &[]), &A, &B);
        check(&udp((A, 1), (B, 53), &[1]), &A, &B);
        check(&icmp_echo(A, B, true, 1, 1, &[]), &A, &B);
        check(&Builder::new(v6(1), v6(2)).udp(1, 2, &[]), &v6(1), &v6(2));
        check(&Builder::new(A, B).vlan(7).udp(1, 2, &[]), &A, &B);
        // A port of VXLAN without its header, and a cut one.
        check(&udp((A, 1), (B, VXLAN_PORT), &[1; 40]), &A, &B);
        let cut = &udp((A, 1), (B, 53), &[1])[..36];
        assert_eq!(steering.route(LinkType::Ethernet, cut, 60).worker, 0);
        assert_eq!(steering.route(LinkType::RawIp, &[], 0).worker, 0);
    }

    #[test]
    fn an_error_of_a_router_reaches_the_flow_that_it_quotes() {
        let router = Addr::v4([192, 0, 2, 254]);
        let quoted = udp((A, 4000), (B, 53), &[1; 8])[14..].to_vec();
        for n in [2, 3, 64] {
            let steering = Steering::new(3, n);
            let error = |kind: u8| {
                let frame = Builder::new(router, A).icmp(kind, 1, [0; 4], &quoted);
                steering.route(LinkType::Ethernet, &frame, frame.len() as u32)
            };
            let (own, other) = (steering.pair(&router, &A), steering.pair(&A, &B));
            let quoted = (own != other).then_some(other);
            assert_eq!(error(3), Route { worker: own, quoted }, "{n}");
            assert_eq!(error(11), Route { worker: own, quoted: None }, "{n}: time exceeded fails no flow");
        }
    }
}
