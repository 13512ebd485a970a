//! A small server's frame: accepting, a bound on connections, and an end without waiting for peers.

use super::{TrafficError, permit, socket};
use crate::range;
use rustix::event::PollFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recvfrom, sendto,
    socket_with,
};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::checksum;

/// Connections served at once; further ones are closed at once.
const MAX_CONNECTIONS: usize = 128;
/// How often a server looks whether to end.
const TICK: Duration = Duration::from_millis(50);
/// A connection silent for longer is closed.
const IDLE: Duration = Duration::from_secs(15);

/// A running server of the lab. Ends, with its connections, when dropped. It lives in the network namespace of the
/// thread that started it.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    served: AtomicU64,
    connections: Mutex<Vec<(u64, TcpStream)>>,
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<(u64, TcpStream)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// The address it listens on; the port is the real one where 0 was asked for.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections accepted or datagrams answered so far.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Serves each TCP connection to `addr` with `handler`, in a thread of its own.
    pub(crate) fn tcp(
        addr: SocketAddr,
        handler: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self, TrafficError> {
        permit(addr.ip())?;
        let listener = TcpListener::bind(addr).map_err(TrafficError::io("listen"))?;
        listener.set_nonblocking(true).map_err(TrafficError::io("listen"))?;
        let addr = listener.local_addr().map_err(TrafficError::io("listen"))?;
        let handler = Arc::new(handler);
        Self::start(addr, move |shared| {
            let mut workers: Vec<JoinHandle<()>> = Vec::new();
            let mut serial = 0;
            while !shared.stop.load(Ordering::Relaxed) {
                // An error here is one of a single connection, or of a poll that the next round repeats.
                if !socket::wait(&listener, PollFlags::IN, TICK).unwrap_or(false) {
                    continue;
                }
                let Ok((stream, _)) = listener.accept() else { continue };
                workers.retain(|w| !w.is_finished());
                if workers.len() >= MAX_CONNECTIONS {
                    continue;
                }
                serial += 1;
                if let Some(worker) = serve_one(stream, serial, shared, &handler) {
                    workers.push(worker);
                }
            }
            for (_, stream) in shared.connections().drain(..) {
                // A connection that is already gone needs no shutdown.
                let _ = stream.shutdown(Shutdown::Both);
            }
            for worker in workers {
                // A panic in a handler has been printed where it happened.
                let _ = worker.join();
            }
        })
    }

    /// Answers each datagram to `addr` with what `answer` makes of it.
    pub(crate) fn udp(
        addr: SocketAddr,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<Self, TrafficError> {
        permit(addr.ip())?;
        let socket = UdpSocket::bind(addr).map_err(TrafficError::io("bind"))?;
        socket.set_read_timeout(Some(TICK)).map_err(TrafficError::io("bind"))?;
        let addr = socket.local_addr().map_err(TrafficError::io("bind"))?;
        Self::start(addr, move |shared| {
            // The longest datagram: it may come in fragments.
            let mut buffer = vec![0; 65_535];
            while !shared.stop.load(Ordering::Relaxed) {
                let Ok((len, peer)) = socket.recv_from(&mut buffer) else { continue };
                let Some(reply) = buffer.get(..len).and_then(&answer) else { continue };
                shared.served.fetch_add(1, Ordering::Relaxed);
                // A lost answer is the peer's timeout, as with any datagram.
                let _ = socket.send_to(&reply, peer);
            }
        })
    }

    /// Answers each echo request to `addr` with what `answer` makes of its data, in place of the kernel, which is told to
    /// keep silent as long as this runs. Only inside a range, whose kernel settings are its own; IPv4.
    pub(crate) fn echo(
        addr: Ipv4Addr,
        answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Result<Self, TrafficError> {
        const SETTING: &str = "/proc/sys/net/ipv4/icmp_echo_ignore_all";
        if !range::is_inside() {
            return Err(TrafficError::Forbidden(addr.into()));
        }
        permit(addr.into())?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::ICMP))
            .map_err(TrafficError::io("open a raw socket"))?;
        let addr = SocketAddr::new(addr.into(), 0);
        bind(&fd, &addr).map_err(TrafficError::io("bind"))?;
        std::fs::write(SETTING, "1").map_err(TrafficError::io("silence the kernel's echo"))?;
        Self::start(addr, move |shared| {
            let mut buffer = vec![0; 65_535];
            while !shared.stop.load(Ordering::Relaxed) {
                // An error is one of a single packet, or of a wait that the next round repeats.
                if !socket::wait(&fd, PollFlags::IN, TICK).unwrap_or(false) {
                    continue;
                }
                let Ok((len, _, Some(peer))) = recvfrom(&fd, &mut buffer[..], RecvFlags::empty()) else {
                    continue;
                };
                let Some(reply) = buffer.get(..len).and_then(|packet| echo_reply(packet, &answer)) else {
                    continue;
                };
                shared.served.fetch_add(1, Ordering::Relaxed);
                let _ = sendto(&fd, &reply, SendFlags::empty(), &peer);
            }
            // The range may be going already.
            let _ = std::fs::write(SETTING, "0");
        })
    }

    fn start(
        addr: SocketAddr,
        run: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<Self, TrafficError> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name(format!("lab-port-{}", addr.port()))
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared)
            })
            .map_err(TrafficError::io("start a server thread"))?;
        Ok(Self { addr, shared, thread: Some(thread) })
    }
}

/// The reply to an echo request (RFC 792) that lies in an IPv4 packet; `None` to anything else.
fn echo_reply(packet: &[u8], answer: &impl Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let message = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let (head, data) = message.split_at_checked(8)?;
    if head.first() != Some(&8) {
        return None;
    }
    let mut reply = [&[0, 0, 0, 0], head.get(4..)?, answer(data).as_slice()].concat();
    let sum = checksum::internet(&[&reply]);
    reply.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(reply)
}

/// Serves one connection in a thread, registered so that the server's end closes it. `None` if it could not be.
fn serve_one<H>(
    stream: TcpStream,
    serial: u64,
    shared: &Arc<Shared>,
    handler: &Arc<H>,
) -> Option<JoinHandle<()>>
where
    H: Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
{
    // The listener is non-blocking; on Linux its connections are not, but other kernels pass that on.
    stream.set_nonblocking(false).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(IDLE)).ok()?;
    stream.set_write_timeout(Some(IDLE)).ok()?;
    shared.connections().push((serial, stream.try_clone().ok()?));
    shared.served.fetch_add(1, Ordering::Relaxed);
    let (theirs, handler) = (Arc::clone(shared), Arc::clone(handler));
    let worker = std::thread::Builder::new().name("lab-connection".into()).spawn(move || {
        // A peer that leaves in the middle is no concern of the server.
        let _ = handler(stream);
        theirs.connections().retain(|(s, _)| *s != serial);
    });
    worker.inspect_err(|_| shared.connections().retain(|(s, _)| *s != serial)).ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the server thread has been printed where it happened.
            let _ = thread.join();
        }
    }
}
