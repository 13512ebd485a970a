//! TAP interfaces (Documentation/networking/tuntap.rst): frames of a virtual wire as a file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

/// `TUNSETIFF` of linux/if_tun.h.
const TUNSETIFF: u64 = 0x4004_54ca;
const IFF_TAP: u16 = 0x0002;
/// Frames come without the four bytes before them.
const IFF_NO_PI: u16 = 0x1000;

/// Opens the TAP interface of this name in the calling thread's network namespace, and makes it if there is none. Each read
/// gives one frame and each write takes one; the kernel finishes checksums and segments before a frame is read.
///
/// # Errors
/// The name is no interface's, `/dev/net/tun` cannot be opened, or the interface is not a TAP one or is taken.
pub fn open(interface: &str) -> io::Result<File> {
    /// `struct ifreq` with `ifr_flags`.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let mut name = [0; 16];
    // One byte less: the name ends with 0.
    let room = name.get_mut(..interface.len()).filter(|n| n.len() < 16 && !n.is_empty());
    room.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(interface.as_bytes());
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name, flags: IFF_TAP | IFF_NO_PI, rest: [0; 22] };
    #[expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]
    // SAFETY: `request` is a live struct of the size of ifreq, which the ioctl reads and whose name it may write.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &raw mut request) };
    if result == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_names_are_refused() {
        for name in ["", "0123456789abcdef", "a name that is far too long for an interface"] {
            assert_eq!(open(name).expect_err("refused").kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
