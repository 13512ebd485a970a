//! What an interface's driver tells about itself, by the ethtool ioctl.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::os::fd::AsRawFd;

const SIOCETHTOOL: u64 = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// `struct ethtool_drvinfo` as far as needed, with room for all of it.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// The driver's name.
pub(crate) fn driver(interface: &str) -> Option<String> {
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    ask(interface, &mut info)?;
    let name = info.driver.split(|b| *b == 0).next().unwrap_or_default();
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// Whether the card merges received packets.
pub(crate) fn lro(interface: &str) -> Option<bool> {
    value(interface, ETHTOOL_GFLAGS).map(|flags| flags & ETH_FLAG_LRO != 0)
}

/// Whether the kernel merges received packets.
pub(crate) fn gro(interface: &str) -> Option<bool> {
    value(interface, ETHTOOL_GGRO).map(|on| on != 0)
}

fn value(interface: &str, command: u32) -> Option<u32> {
    let mut value = Value { command, data: 0 };
    ask(interface, &mut value)?;
    Some(value.data)
}

/// `T` is the struct that the command in its first field reads and writes.
fn ask<T>(interface: &str, argument: &mut T) -> Option<()> {
    /// `struct ifreq` with `ifr_data`.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        data: *mut libc::c_void,
        rest: [u64; 2],
    }
    let mut name = [0; 16];
    // One byte less: the name ends with 0.
    name.get_mut(..interface.len()).filter(|n| n.len() < 16)?.copy_from_slice(interface.as_bytes());
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    let mut request = Request { name, data: std::ptr::from_mut(argument).cast(), rest: [0; 2] };
    #[expect(unsafe_code, reason = "the ethtool ioctl has no safe wrapper")]
    // SAFETY: `request` is a live ifreq whose data points to the live struct that the command uses, which is no larger
    // than `T`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    (result == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_names_are_refused() {
        assert_eq!(driver("a name that is far too long for an interface"), None);
        assert_eq!(driver("0123456789abcdef"), None);
        assert_eq!(driver("nosuch0"), None);
        assert_eq!(driver(""), None);
    }
}
