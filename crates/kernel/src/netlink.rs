//! Interfaces and addresses of the calling thread's network namespace, by rtnetlink (RFC 3549).

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use wire::Addr;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
/// The kernel never sends more in one datagram of a dump than its 32 KiB pages.
const BUFFER: usize = 65_536;

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Index, above 0.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware type, an `ARPHRD_` number.
    pub hardware: u16,
    /// Whether it is up by configuration (`IFF_UP`).
    pub up: bool,
    /// Whether it is a loopback.
    pub loopback: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Ids of the XDP programs attached, in any mode.
    pub xdp_programs: Vec<u32>,
}

/// One own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub addr: Addr,
    /// Length of the on-link prefix, bits.
    pub prefix_len: u8,
    /// Index of its interface.
    pub ifindex: u32,
}

/// Every interface, in the kernel's order.
///
/// # Errors
/// The socket's.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found = Vec::new();
    dump(RTM_GETLINK, IFINFOMSG, &mut |kind, body| {
        if kind == RTM_NEWLINK {
            found.extend(interface(body));
        }
    })?;
    Ok(found)
}

/// The interface of that name.
///
/// # Errors
/// The socket's.
pub fn interface_named(name: &str) -> io::Result<Option<Interface>> {
    Ok(interfaces()?.into_iter().find(|i| i.name == name))
}

/// Names of all interfaces, comma-separated, for messages.
#[must_use]
pub fn names() -> String {
    match interfaces() {
        Ok(found) if !found.is_empty() => found.into_iter().map(|i| i.name).collect::<Vec<_>>().join(", "),
        _ => "none".to_owned(),
    }
}

/// Every own address.
///
/// # Errors
/// The socket's.
pub fn addresses() -> io::Result<Vec<Address>> {
    let mut found = Vec::new();
    dump(RTM_GETADDR, IFADDRMSG, &mut |kind, body| {
        if kind == RTM_NEWADDR {
            found.extend(address(body));
        }
    })?;
    Ok(found)
}

fn dump(request: u16, header: usize, each: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
    // No protocol is protocol 0, NETLINK_ROUTE.
    let socket: OwnedFd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut message = vec![0; HEADER + header];
    let len = u32::try_from(message.len()).unwrap_or(0);
    message[..4].copy_from_slice(&len.to_ne_bytes());
    message[4..6].copy_from_slice(&request.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    send(&socket, &message, SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (count, _) = match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("netlink socket {}", socket.as_raw_fd()),
            ));
        }
        let mut rest = buffer.get(..count).unwrap_or_default();
        while let Some((kind, body, next)) = message_of(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                _ => each(kind, body),
            }
            rest = next;
        }
    }
}

/// First message of a buffer: type, what follows its header, and the rest of the buffer.
fn message_of(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..len)?;
    Some((kind, body, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes of a message after its fixed header.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        // The two top bits say "nested" and "network order".
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |b| u32::from_ne_bytes(*b))
}

fn interface(body: &[u8]) -> Option<Interface> {
    const IFF_UP: u32 = 1;
    const IFF_LOOPBACK: u32 = 8;
    let flags = u32_of(body.get(8..12)?);
    let mut found = Interface {
        index: u32_of(body.get(4..8)?),
        hardware: u16::from_ne_bytes(body.get(2..4)?.try_into().ok()?),
        up: flags & IFF_UP != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        ..Interface::default()
    };
    for (kind, value) in attributes(body.get(IFINFOMSG..)?) {
        match kind {
            IFLA_IFNAME => {
                found.name = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned();
            }
            IFLA_MTU => found.mtu = u32_of(value),
            IFLA_XDP => found.xdp_programs = xdp_programs(value),
            _ => {}
        }
    }
    Some(found)
}

fn xdp_programs(nested: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    for (kind, value) in attributes(nested) {
        match kind {
            IFLA_XDP_PROG_ID | IFLA_XDP_DRV_PROG_ID | IFLA_XDP_SKB_PROG_ID | IFLA_XDP_HW_PROG_ID => {
                let id = u32_of(value);
                if id != 0 && !ids.contains(&id) {
                    ids.push(id);
                }
            }
            IFLA_XDP_ATTACHED if value.first() == Some(&0) => return Vec::new(),
            _ => {}
        }
    }
    ids
}

fn address(body: &[u8]) -> Option<Address> {
    let family = *body.first()?;
    let mut addr = None;
    for (kind, value) in attributes(body.get(IFADDRMSG..)?) {
        // On a point-to-point interface IFA_ADDRESS is the peer's; IFA_LOCAL, where present, is ours.
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && addr.is_none()) {
            addr = match family {
                2 => value.first_chunk().map(|b| Addr::v4(*b)),
                10 => value.first_chunk().map(|b| Addr(*b)),
                _ => None,
            };
        }
    }
    Some(Address { addr: addr?, prefix_len: *body.get(1)?, ifindex: u32_of(body.get(4..8)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_loopback() {
        let found = interfaces().expect("rtnetlink");
        let lo = found.iter().find(|i| i.loopback).expect("a loopback interface");
        assert_eq!((lo.name.as_str(), lo.index), ("lo", 1));
        assert!(lo.mtu > 0);
    }

    #[test]
    fn damaged_messages_end_quietly() {
        assert_eq!(message_of(&[]), None);
        assert_eq!(message_of(&[200, 0, 0, 0, 16, 0, 0, 0]), None);
        assert_eq!(attributes(&[2, 0, 3, 0]).count(), 0);
        assert_eq!(attributes(&[8, 0, 3, 0, b'e']).count(), 0);
        assert!(interface(&[0; 8]).is_none());
        assert!(address(&[2, 24, 0, 0, 1, 0, 0, 0]).is_none());
        assert!(xdp_programs(&[5, 0, 2, 0, 0, 0, 0, 0]).is_empty());
    }
}
