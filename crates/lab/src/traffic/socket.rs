//! What `std::net` does not offer: connecting from a chosen address, with a timeout.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

/// A TCP connection from `source`, any port, to `target`.
pub(super) fn connect_from(source: IpAddr, target: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    connect_with(source, target, patience, None)
}

/// As [`connect_from`], with a receive buffer of so many bytes, which the first window depends on.
pub(super) fn connect_with(
    source: IpAddr,
    target: SocketAddr,
    patience: Duration,
    buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if let Some(bytes) = buffer {
        sockopt::set_socket_recv_buffer_size(&fd, bytes)?;
    }
    bind(&fd, &SocketAddr::new(source, 0))?;
    match connect(&fd, &target) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => {
            if !wait(&fd, PollFlags::OUT, patience)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sockopt::socket_error(&fd)??;
        }
        Err(e) => return Err(e.into()),
    }
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits until `fd` is ready for `what`, at most `patience`; says whether it is.
pub(super) fn wait(fd: &impl AsFd, what: PollFlags, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut fds = [PollFd::new(fd, what)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(n) => Ok(n > 0),
        // Interrupted by a signal: as good as a timeout to callers that poll in a loop.
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
