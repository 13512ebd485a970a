//! Ethernet frames from an interface of ours, for what lies below IP.
//!
//! A packet socket (packet(7)) sends to an address that names the interface. Such an address is not made here but taken from
//! the kernel: every frame that a packet socket sees comes with one. So one datagram of our own is sent first, and found
//! again among the frames.

use super::{TrafficError, socket};
use rustix::event::PollFlags;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, recvfrom, sendto,
    socket_with,
};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// All protocols (`ETH_P_ALL`), in network order as socket(2) wants it.
const ALL: u32 = (0x0003_u16.to_be()) as u32;
/// What is looked for; followed by the process id.
const MARK: &[u8] = b"autoinmune-lab-interface-";
/// How long the own datagram may take to show.
const PATIENCE: Duration = Duration::from_secs(2);
/// The port of the own datagram: discard (RFC 863).
const DISCARD: u16 = 9;

/// An interface that frames can be sent from.
#[derive(Debug)]
pub(super) struct Link {
    fd: OwnedFd,
    address: SocketAddrAny,
    /// Source and target of the datagram by which the interface was found.
    pub(super) probe: (SocketAddr, SocketAddr),
    /// Hardware address of the interface.
    pub(super) own: [u8; 6],
    /// Hardware address of the neighbour that leads to the target, or of the target.
    pub(super) next: [u8; 6],
}

impl Link {
    /// The interface by which packets from `source` to `target` leave. Both must have been permitted.
    pub(super) fn towards(source: IpAddr, target: IpAddr) -> Result<Self, TrafficError> {
        let failed = TrafficError::io("find an interface");
        Self::find(source, target).map_err(failed)
    }

    fn find(source: IpAddr, target: IpAddr) -> io::Result<Self> {
        let protocol = NonZeroU32::new(ALL).map(Protocol::from_raw);
        let fd = socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol,
        )?;
        let mark = [MARK, std::process::id().to_string().as_bytes()].concat();
        let probe = UdpSocket::bind(SocketAddr::new(source, 0))?;
        let ends = (probe.local_addr()?, SocketAddr::new(target, DISCARD));
        probe.send_to(&mark, ends.1)?;
        let (begun, mut buffer) = (Instant::now(), [0; 2048]);
        while begun.elapsed() < PATIENCE {
            match recvfrom(&fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((len, _, Some(address))) => {
                    let frame = buffer.get(..len).unwrap_or_default();
                    let ours = frame.windows(mark.len()).any(|w| w == mark);
                    let macs = frame.first_chunk().zip(frame.get(6..12).and_then(|own| own.try_into().ok()));
                    if let (true, Some((next, own))) = (ours, macs) {
                        return Ok(Self { fd, address, probe: ends, own, next: *next });
                    }
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    socket::wait(&fd, PollFlags::IN, Duration::from_millis(50))?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Sends a whole frame.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        sendto(&self.fd, frame, SendFlags::empty(), &self.address)?;
        Ok(())
    }
}
