//! Frames of an interface by an AF_PACKET socket (packet(7)), for the Rust path where the kernel programs cannot run.
//!
//! Sees what arrives before the firewall drops it, and what leaves. The interface is not put into promiscuous mode.

use crate::error::CaptureError;
use crate::{fanout, netlink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use wire::{LinkType, Steering};

/// Frames taken from the kernel at a time.
const BATCH: usize = 64;
/// Room for a VLAN tag that the kernel has taken off.
const TAG: usize = 4;
/// Receive buffer asked for, bytes; beyond it the kernel drops, and counts.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;
/// Room for the two control messages, in words of 8 bytes so that it is aligned.
const CONTROL_WORDS: usize = 16;
/// `TP_STATUS_VLAN_VALID` and `TP_STATUS_VLAN_TPID_VALID`.
const VLAN_VALID: u32 = 1 << 4;
const TPID_VALID: u32 = 1 << 6;
const ETHERTYPE_8021Q: u16 = 0x8100;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameDirection {
    /// Received by this host.
    In,
    /// Sent by this host.
    Out,
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct CapturedFrame<'a> {
    /// When, wall-clock ns since 1970.
    pub ts_ns: u64,
    /// Its first bytes, VLAN tag included.
    pub data: &'a [u8],
    /// Its length on the wire, bytes.
    pub orig_len: u32,
    /// Which way.
    pub direction: FrameDirection,
}

/// What the kernel counted for the socket since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CaptureCounts {
    /// Frames that were to be received, dropped ones included.
    pub packets: u64,
    /// Frames dropped for want of buffer.
    pub dropped: u64,
}

/// `struct tpacket_auxdata` of linux/if_packet.h.
#[derive(Clone, Copy)]
#[repr(C)]
struct Auxdata {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// An open socket.
#[derive(Debug)]
pub struct AfPacket {
    socket: OwnedFd,
    interface: String,
    link: LinkType,
    loopback: bool,
    snap: usize,
    buffer: Vec<u8>,
    counts: CaptureCounts,
}

impl AfPacket {
    /// Opens a socket that receives the first `snap` bytes (at least 256) of every frame of an interface.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn open(interface: &str, snap: u32) -> Result<Self, CaptureError> {
        let mut sockets = Self::open_group(interface, snap, &Steering::new(0, 1))?;
        // A group has as many sockets as there are workers, and there is always one.
        sockets.pop().ok_or(CaptureError::Io {
            what: "opening an AF_PACKET socket",
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// Opens a socket per worker, of which each receives the frames steered to it, as [`Self::open`]; see
    /// the module `fanout` for those that may come to another one. The interface is one group; further interfaces are groups
    /// of their own.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn open_group(interface: &str, snap: u32, steering: &Steering) -> Result<Vec<Self>, CaptureError> {
        const ARPHRD_ETHER: u16 = 1;
        const ARPHRD_RAWIP: u16 = 519;
        const ARPHRD_LOOPBACK: u16 = 772;
        const ARPHRD_NONE: u16 = 0xfffe;
        let io = |what| move |source: io::Error| CaptureError::Io { what, source };
        let found =
            netlink::interface_named(interface).map_err(io("listing interfaces"))?.ok_or_else(|| {
                CaptureError::UnknownInterface { name: interface.to_owned(), existing: netlink::names() }
            })?;
        let link = match found.hardware {
            ARPHRD_ETHER | ARPHRD_LOOPBACK => LinkType::Ethernet,
            ARPHRD_NONE | ARPHRD_RAWIP => LinkType::RawIp,
            kind => return Err(CaptureError::LinkType { name: interface.to_owned(), kind }),
        };
        let sockets = fanout::sockets(steering.workers()).map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => CaptureError::NoPermission(interface.to_owned()),
            _ => CaptureError::Io { what: "opening an AF_PACKET socket", source },
        })?;
        let shared = sockets.len() > 1;
        for socket in &sockets {
            let fd = socket.as_fd();
            set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1).map_err(io("asking for timestamps"))?;
            set_option(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1).map_err(io("asking for VLAN tags"))?;
            // Beyond the system's limit only with CAP_NET_ADMIN; with less it is what the limit gives.
            if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER).is_err() {
                set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER)
                    .map_err(io("sizing the buffer"))?;
            }
            if shared {
                fanout::deafen(fd).map_err(io("preparing to share the interface's frames"))?;
            }
            bind(fd, found.index).map_err(io("binding to the interface"))?;
        }
        if shared {
            fanout::join(&sockets, steering).map_err(io("sharing the interface's frames among workers"))?;
        }
        let snap = usize::try_from(snap).unwrap_or(usize::MAX).clamp(256, 65_536);
        let open = |socket| Self {
            socket,
            interface: interface.to_owned(),
            link,
            loopback: found.loopback,
            snap,
            buffer: vec![0; BATCH * (snap + TAG)],
            counts: CaptureCounts::default(),
        };
        Ok(sockets.into_iter().map(open).collect())
    }

    /// How frames begin.
    #[must_use]
    pub const fn link_type(&self) -> LinkType {
        self.link
    }

    /// The interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Hands out what has arrived, up to 64 frames, waiting up to `timeout` if nothing has. Returns how many.
    ///
    /// On a loopback a frame is seen when it is received, not when it is sent too.
    ///
    /// # Errors
    /// [`CaptureError::Gone`] once the interface is down or removed, [`CaptureError::Io`] else.
    pub fn receive(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(CapturedFrame<'_>),
    ) -> Result<usize, CaptureError> {
        match self.take(each) {
            Ok(0) => {}
            other => return other,
        }
        wait(std::slice::from_ref(self), timeout)?;
        self.take(each)
    }

    /// What the kernel counted.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn counts(&mut self) -> Result<CaptureCounts, CaptureError> {
        // `struct tpacket_stats`: packets (dropped ones included) and drops since the last call.
        let stats: [u32; 2] = get_option(self.socket.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)
            .map_err(|source| CaptureError::Io { what: "reading the socket's counters", source })?;
        self.counts.packets = self.counts.packets.wrapping_add(stats[0].into());
        self.counts.dropped = self.counts.dropped.wrapping_add(stats[1].into());
        Ok(self.counts)
    }

    /// As [`Self::receive`], without waiting.
    ///
    /// # Errors
    /// As [`Self::receive`].
    #[expect(unsafe_code, reason = "recvmmsg(2) and its control messages have no safe wrapper")]
    pub fn take(&mut self, each: &mut dyn FnMut(CapturedFrame<'_>)) -> Result<usize, CaptureError> {
        let mut names = [MaybeUninit::<libc::sockaddr_ll>::zeroed(); BATCH];
        let mut controls = [[0_u64; CONTROL_WORDS]; BATCH];
        let mut pieces = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: all-zero is a valid mmsghdr: null pointers with zero lengths.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let stride = self.snap + TAG;
        for (i, room) in self.buffer.chunks_exact_mut(stride).enumerate().take(BATCH) {
            let Some(room) = room.get_mut(TAG..) else { continue };
            pieces[i] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut messages[i].msg_hdr;
            header.msg_name = names[i].as_mut_ptr().cast();
            header.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
            header.msg_iov = &raw mut pieces[i];
            header.msg_iovlen = 1;
            header.msg_control = controls[i].as_mut_ptr().cast();
            // The type differs between libcs.
            header.msg_controllen = size_of_val(&controls[i]) as _;
        }
        // SAFETY: every pointer in `messages` is to memory that lives and is not otherwise touched until the call
        // returns, with its own length beside it.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let source = io::Error::last_os_error();
            return match source.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(0),
                Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => {
                    Err(CaptureError::Gone(self.interface.clone()))
                }
                _ => Err(CaptureError::Io { what: "receiving frames", source }),
            };
        };
        let mut given = 0;
        for (i, room) in self.buffer.chunks_exact_mut(stride).enumerate().take(received) {
            // SAFETY: zeroed at first, which is a valid value, and possibly overwritten by the kernel.
            let outgoing = unsafe { names[i].assume_init() }.sll_pkttype == libc::PACKET_OUTGOING;
            if outgoing && self.loopback {
                continue;
            }
            let message = &messages[i];
            // SAFETY: the kernel has filled in a valid chain of control messages of `msg_controllen` bytes, in memory
            // that is still live and is aligned to 8 bytes.
            let (ts_ns, tag) = unsafe { control(&message.msg_hdr) };
            let orig_len = message.msg_len;
            let captured = usize::try_from(orig_len).unwrap_or(usize::MAX).min(self.snap);
            let tag = if self.link == LinkType::Ethernet { tag } else { None };
            let frame = framed(room, captured, tag);
            let more = u32::try_from(frame.len() - captured).unwrap_or(0);
            each(CapturedFrame {
                ts_ns: ts_ns.unwrap_or_else(crate::clock::wall_ns),
                data: frame,
                orig_len: orig_len.saturating_add(more),
                direction: if outgoing { FrameDirection::Out } else { FrameDirection::In },
            });
            given += 1;
        }
        // Frames left out count as progress, so that the caller does not wait while more are there.
        Ok(if given == 0 && received == BATCH { received } else { given })
    }
}

impl AsFd for AfPacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until one of the sockets has frames, or an end to report, or `timeout` has passed.
///
/// # Errors
/// [`CaptureError::Io`].
pub fn wait(sockets: &[AfPacket], timeout: Duration) -> Result<(), CaptureError> {
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
    let mut waited: Vec<PollFd<'_>> = sockets.iter().map(|s| PollFd::new(s, PollFlags::IN)).collect();
    match poll(&mut waited, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(CaptureError::Io { what: "waiting for frames", source: e.into() }),
    }
}

/// The frame in `room`, which begins [`TAG`] bytes in, with the tag (TPID, TCI) put back behind the addresses.
fn framed(room: &mut [u8], captured: usize, tag: Option<(u16, u16)>) -> &[u8] {
    const ADDRESSES: usize = 12;
    match tag {
        Some((tpid, tci)) if captured >= ADDRESSES && room.len() >= captured + TAG => {
            room.copy_within(TAG..TAG + ADDRESSES, 0);
            room[ADDRESSES..ADDRESSES + 2].copy_from_slice(&tpid.to_be_bytes());
            room[ADDRESSES + 2..ADDRESSES + TAG].copy_from_slice(&tci.to_be_bytes());
            &room[..captured + TAG]
        }
        _ => room.get(TAG..TAG + captured).unwrap_or_default(),
    }
}

/// Time and VLAN tag from a message's control data.
///
/// # Safety
/// `header` must describe a chain of control messages as recvmsg(2) leaves it.
#[expect(unsafe_code, reason = "control messages are walked by pointer")]
unsafe fn control(header: &libc::msghdr) -> (Option<u64>, Option<(u16, u16)>) {
    let (mut time, mut tag) = (None, None);
    // SAFETY: by this function's contract.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, hence a whole header inside the chain, and its data lies behind it.
        let (head, data) = unsafe { (&*message, libc::CMSG_DATA(message)) };
        let len = usize::try_from(head.cmsg_len as u64).unwrap_or(0);
        // SAFETY: CMSG_LEN only computes.
        let holds = |size: usize| len >= unsafe { libc::CMSG_LEN(u32::try_from(size).unwrap_or(0)) } as usize;
        match (head.cmsg_level, head.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if holds(size_of::<libc::timespec>()) => {
                // SAFETY: long enough by the guard; unaligned reads need no alignment.
                let t = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
                let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
                time = Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) if holds(size_of::<Auxdata>()) => {
                // SAFETY: as above; integers only.
                let aux = unsafe { data.cast::<Auxdata>().read_unaligned() };
                if aux.status & VLAN_VALID != 0 {
                    let tpid = if aux.status & TPID_VALID != 0 { aux.vlan_tpid } else { ETHERTYPE_8021Q };
                    tag = Some((tpid, aux.vlan_tci));
                }
            }
            _ => {}
        }
        // SAFETY: `message` is a header of this chain.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    (time, tag)
}

/// Sets a socket option to a value of plain integers and of pointers to live memory.
pub(crate) fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: T,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    #[expect(unsafe_code, reason = "rustix has no wrapper for these options")]
    // SAFETY: `value` is live and `len` is its size.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads a socket option of `N` integers.
pub(crate) fn get_option<const N: usize>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<[u32; N]> {
    let mut value = [0_u32; N];
    let mut len = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    #[expect(unsafe_code, reason = "rustix has no wrapper for these options")]
    // SAFETY: `value` and `len` are live and `len` is the size of `value`.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

fn bind(fd: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: i32::try_from(ifindex).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    #[expect(unsafe_code, reason = "rustix has no packet addresses")]
    // SAFETY: `address` is live and `len` is its size.
    let result = unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_put_back() {
        let mut room = [0_u8; 24];
        for (i, b) in room.iter_mut().skip(TAG).enumerate() {
            *b = u8::try_from(i).expect("small");
        }
        assert_eq!(framed(&mut room, 14, None), (0..14).collect::<Vec<u8>>());
        let tagged = framed(&mut room, 14, Some((0x88a8, 0x0123)));
        assert_eq!(tagged, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x88, 0xa8, 0x01, 0x23, 12, 13]);
        assert_eq!(framed(&mut [0; 8], 4, Some((1, 1))).len(), 4, "too short for a tag");
    }
}
