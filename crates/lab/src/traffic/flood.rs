//! Port scans and floods, as raw IP packets from a chosen source address.

use super::{Control, Limits, Pace, TrafficError, permit, permit_pair};
pub use crate::address::{FORGED, FORGED_PREFIX_LEN};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use wire::packet::tcp_flag;
use wire::{Addr, craft};

/// Bytes of the Ethernet header that [`craft`] puts first and a raw IP socket does not want.
const ETHERNET: usize = 14;
/// TCP window of the probes, as common scanners send.
const WINDOW: u16 = 1024;
/// Source port of a scan; one for all probes, as `nmap -sS` does.
pub(super) const SCAN_PORT: u16 = 51_813;
/// Tries again when the device queue is full, before giving up.
const MAX_RETRIES: u32 = 1000;

/// A vertical half-open scan: one SYN to each of `ports`, and over again until a limit is reached. Returns packets sent.
///
/// # Errors
/// An address is forbidden, `ports` is empty, or the kernel refuses raw sockets.
pub fn port_scan(
    source: IpAddr,
    target: IpAddr,
    ports: &[u16],
    limits: Limits,
    control: &Control,
) -> Result<u64, TrafficError> {
    if ports.is_empty() {
        return Err(TrafficError::Limits);
    }
    send(source, target, limits, control, |n| {
        let port = ports[usize::try_from(n).unwrap_or(0) % ports.len()];
        probe(source, SocketAddr::new(target, port), tcp_flag::SYN, n)
    })
}

/// A segment without content as scanners send it, with any flags.
pub(super) fn probe(source: IpAddr, target: SocketAddr, flags: u8, n: u64) -> Vec<u8> {
    let to = (target.ip().into(), target.port());
    craft::tcp((source.into(), SCAN_PORT), to, flags, scramble(n), 0, WINDOW, &[])
}

/// A flood of connection requests to one port, each from another source port. Returns packets sent.
///
/// # Errors
/// An address is forbidden, or the kernel refuses raw sockets.
pub fn syn_flood(
    source: IpAddr,
    target: SocketAddr,
    limits: Limits,
    control: &Control,
) -> Result<u64, TrafficError> {
    let to: (Addr, u16) = (target.ip().into(), target.port());
    send(source, target.ip(), limits, control, |n| {
        craft::tcp((source.into(), source_port(n)), to, tcp_flag::SYN, scramble(n), 0, WINDOW, &[])
    })
}

/// A flood of connection requests to one port, each from another address within [`FORGED`]. Returns packets sent. `series`
/// keeps the addresses of floods at the same time apart.
///
/// # Errors
/// The target is forbidden, or the kernel refuses raw sockets.
pub fn forged_syn_flood(
    target: SocketAddrV4,
    series: u16,
    limits: Limits,
    control: &Control,
) -> Result<u64, TrafficError> {
    permit((*target.ip()).into())?;
    let to: (Addr, u16) = (IpAddr::from(*target.ip()).into(), target.port());
    let to_address = IpAddr::from(*target.ip());
    transmit(true, limits, control, |n| {
        let random = scramble(n << 16 | u64::from(series));
        let source = FORGED.to_bits() | random >> FORGED_PREFIX_LEN;
        let from = (IpAddr::from(Ipv4Addr::from_bits(source)).into(), source_port(n));
        (to_address, craft::tcp(from, to, tcp_flag::SYN, random, 0, WINDOW, &[]))
    })
}

/// A flood of datagrams of `size` payload bytes (at most 1400) to one port. Returns packets sent.
///
/// # Errors
/// An address is forbidden, or the kernel refuses raw sockets.
pub fn udp_flood(
    source: IpAddr,
    target: SocketAddr,
    size: usize,
    limits: Limits,
    control: &Control,
) -> Result<u64, TrafficError> {
    let payload = vec![0x58; size.min(1400)];
    let to: (Addr, u16) = (target.ip().into(), target.port());
    send(source, target.ip(), limits, control, |n| craft::udp((source.into(), source_port(n)), to, &payload))
}

/// A flood of echo requests of `size` payload bytes (at most 1400). Returns packets sent.
///
/// # Errors
/// An address is forbidden, or the kernel refuses raw sockets.
pub fn icmp_flood(
    source: IpAddr,
    target: IpAddr,
    size: usize,
    limits: Limits,
    control: &Control,
) -> Result<u64, TrafficError> {
    let payload = vec![0x58; size.min(1400)];
    send(source, target, limits, control, |n| {
        let seq = u16::try_from(n & 0xffff).unwrap_or(0);
        craft::icmp_echo(source.into(), target.into(), true, 0x4c41, seq, &payload)
    })
}

/// Sends what `packet` makes for each number, at pace.
fn send(
    source: IpAddr,
    target: IpAddr,
    limits: Limits,
    control: &Control,
    mut packet: impl FnMut(u64) -> Vec<u8>,
) -> Result<u64, TrafficError> {
    permit_pair(source, target)?;
    transmit(target.is_ipv4(), limits, control, |n| (target, packet(n)))
}

/// Sends frames, without their Ethernet headers, each towards the address beside it. That none of them is elsewhere is the
/// caller's business. Hosts that cannot be reached are passed over.
pub(super) fn transmit(
    v4: bool,
    limits: Limits,
    control: &Control,
    mut packet: impl FnMut(u64) -> (IpAddr, Vec<u8>),
) -> Result<u64, TrafficError> {
    let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    // IPPROTO_RAW: the packet comes with its IP header (raw(7)).
    let fd = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
        .map_err(TrafficError::io("open a raw socket"))?;
    let mut sent = 0;
    let mut pace = Pace::new(limits, control);
    while let Some(n) = pace.next() {
        let (target, frame) = packet(n);
        let to = SocketAddr::new(target, 0);
        let bytes = frame.get(ETHERNET..).unwrap_or_default();
        let mut retries = 0;
        loop {
            match sendto(&fd, bytes, SendFlags::empty(), &to) {
                // Nobody has the address, or said so for an earlier packet.
                Ok(_) | Err(rustix::io::Errno::HOSTUNREACH) => break,
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) if retries < MAX_RETRIES => {
                    retries += 1;
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
                Err(e) => return Err(TrafficError::io("send a raw packet")(e)),
            }
        }
        sent += 1;
    }
    Ok(sent)
}

/// A source port for the n-th packet, 1024 to 65535 in turn.
pub(super) fn source_port(n: u64) -> u16 {
    u16::try_from(1024 + n % 64_512).unwrap_or(1024)
}

/// A sequence number without a visible pattern, the same for the same n.
fn scramble(n: u64) -> u32 {
    u32::try_from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn destinations_elsewhere_are_refused_before_a_socket_is_opened() {
        let limits = Limits::new(1, 1, Duration::from_secs(1)).expect("in bounds");
        let control = Control::new();
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let elsewhere: IpAddr = [192, 0, 2, 110].into();
        let to = SocketAddr::new(elsewhere, 80);
        for refused in [
            port_scan(loopback, elsewhere, &[80], limits, &control),
            syn_flood(loopback, to, limits, &control),
            udp_flood(loopback, to, 10, limits, &control),
            icmp_flood(loopback, elsewhere, 10, limits, &control),
            forged_syn_flood(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 110), 80), 0, limits, &control),
            syn_flood(elsewhere, SocketAddr::new(loopback, 80), limits, &control),
        ] {
            assert!(matches!(refused, Err(TrafficError::Forbidden(a)) if a == elsewhere), "{refused:?}");
        }
        let six: IpAddr = std::net::Ipv6Addr::LOCALHOST.into();
        let mixed = icmp_flood(loopback, six, 10, limits, &control);
        assert!(matches!(mixed, Err(TrafficError::Versions(..))), "{mixed:?}");
        assert_eq!(control.sent(), 0);
    }
}
