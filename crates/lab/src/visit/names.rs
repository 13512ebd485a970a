//! Names to addresses: a stub resolver of our own (RFC 1034 §5.3.1), because visits need one that can be pointed at the
//! lab's server, asks for more than addresses, counts what it asks, and refuses addresses that must not be visited.

use super::statistics::Failure;
use crate::traffic::{dns, permit};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::message::dns::{Dissector, Dns};
use wire::message::{Dissector as _, Message, Side};

/// How long one server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rounds over all servers.
const ROUNDS: usize = 2;
/// Servers asked, as in resolv.conf(5).
const MAX_SERVERS: usize = 3;
/// Names remembered; when full, those that have run out are forgotten, then all.
const MAX_NAMES: usize = 10_000;
/// Longest and shortest time an address is remembered, whatever its record says.
const TTL: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(3600)];
/// Largest UDP answer asked for, bytes (RFC 6891 §6.2.5; 1232 passes without fragments nearly everywhere).
const UDP_SIZE: u16 = 1232;

/// Types of record that are asked for (RFC 1035 §3.2.2, RFC 3596, RFC 8659, RFC 9460).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum RecordType {
    /// IPv4 address.
    A = 1,
    /// Name server.
    NS = 2,
    /// Start of authority.
    SOA = 6,
    /// Mail exchange.
    MX = 15,
    /// Text.
    TXT = 16,
    /// IPv6 address.
    AAAA = 28,
    /// Service binding for HTTPS.
    HTTPS = 65,
    /// Certification authority authorisation.
    CAA = 257,
}

/// Where visits may lead. The two never overlap: what is meant for the lab cannot reach anybody else, and what is meant
/// for the internet cannot be turned against the network it starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Public addresses only.
    Internet,
    /// Loopback, and inside a range its own addresses.
    Lab,
}

impl Scope {
    /// Whether an address may be visited.
    #[must_use]
    pub fn permits(self, addr: IpAddr) -> bool {
        match self {
            Self::Internet => is_public(addr),
            Self::Lab => permit(addr).is_ok(),
        }
    }
}

/// Whether an address is one of the public internet (IANA special-purpose registries, RFC 6890).
fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(a) => {
            let [x, y, z, _] = a.octets();
            !(a.is_private()
                || a.is_loopback()
                || a.is_link_local()
                || a.is_documentation()
                || a.is_multicast()
                || a.is_broadcast()
                || x == 0
                || x >= 240
                || (x == 100 && (64..128).contains(&y))
                || (x == 192 && y == 0 && z == 0)
                || (x == 198 && (18..20).contains(&y)))
        }
        // Global unicast, without documentation, 6to4 and what embeds an IPv4 address that may be private.
        IpAddr::V6(a) => match a.segments() {
            [0x2001, 0x0db8 | 0..=0x01ff, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
            [first, ..] => first & 0xe000 == 0x2000,
        },
    }
}

/// One answer of a name server.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Response code, 0 no error, 3 no such name.
    pub code: u8,
    /// Addresses among the answers.
    pub addresses: Vec<IpAddr>,
    /// Shortest time to live among the answers.
    pub ttl: Duration,
    /// Bytes of the message.
    pub bytes: u64,
}

/// Resolver and cache.
#[derive(Debug)]
pub struct Names {
    servers: Vec<SocketAddr>,
    scope: Scope,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    result: Result<Vec<IpAddr>, Failure>,
    until: Instant,
}

impl Names {
    /// A resolver that asks these servers in turn, at most three of them.
    #[must_use]
    pub fn new(mut servers: Vec<SocketAddr>, scope: Scope) -> Self {
        servers.truncate(MAX_SERVERS);
        Self { servers, scope, known: Mutex::new(HashMap::new()) }
    }

    /// The servers it asks.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The addresses of a host that may be visited, best first: IPv6 where there is a route. `ask` sends a question,
    /// normally through [`Names::query`], and counts it.
    ///
    /// # Errors
    /// The name has none, no server answered, or none of the addresses may be visited.
    pub fn addresses(
        &self,
        host: &str,
        mut ask: impl FnMut(RecordType) -> Result<Answer, Failure>,
    ) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(addr) = host.parse::<IpAddr>() {
            return if self.scope.permits(addr) { Ok(vec![addr]) } else { Err(Failure::Address) };
        }
        if let Some(known) = self.remembered(host) {
            return known;
        }
        let answers = [ask(RecordType::AAAA), ask(RecordType::A)];
        let mut ttl = TTL[1];
        let (mut addresses, mut failure) = (Vec::<IpAddr>::new(), Failure::NoName);
        for answer in answers {
            match answer {
                Ok(answer) if matches!(answer.code, 0 | 3) => {
                    ttl = ttl.min(answer.ttl);
                    addresses.extend(answer.addresses);
                }
                Ok(_) => failure = Failure::NameServer,
                Err(e) => failure = e,
            }
        }
        let permitted: Vec<IpAddr> = addresses.iter().copied().filter(|a| self.scope.permits(*a)).collect();
        let routed: Vec<IpAddr> = permitted.iter().copied().filter(|a| has_route(*a)).collect();
        let result = match (addresses.is_empty(), permitted.is_empty(), routed.is_empty()) {
            (_, _, false) => Ok(routed),
            (_, false, true) => Err(Failure::Connect),
            (false, true, true) => Err(Failure::Address),
            (true, ..) => Err(failure),
        };
        self.remember(host, &result, ttl);
        result
    }

    /// What is remembered of a host.
    #[must_use]
    pub fn remembered(&self, host: &str) -> Option<Result<Vec<IpAddr>, Failure>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(host).filter(|k| k.until > Instant::now()).map(|k| k.result.clone())
    }

    fn remember(&self, host: &str, result: &Result<Vec<IpAddr>, Failure>, ttl: Duration) {
        let now = Instant::now();
        let ttl = if result.is_ok() { ttl.clamp(TTL[0], TTL[1]) } else { TTL[0] };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_NAMES {
            known.retain(|_, k| k.until > now);
        }
        if known.len() >= MAX_NAMES {
            known.clear();
        }
        known.insert(host.to_owned(), Known { result: result.clone(), until: now + ttl });
    }

    /// Asks the servers in turn for one type of record.
    ///
    /// # Errors
    /// None gave an answer to this question in time.
    pub fn query(&self, host: &str, record: RecordType) -> Result<Answer, Failure> {
        for _ in 0..ROUNDS {
            for server in &self.servers {
                match exchange(*server, host, record) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => tracing::debug!(%server, host, %error, "no answer from a name server"),
                }
            }
        }
        Err(Failure::NameServer)
    }
}

/// Whether the kernel has a route to an address. Connecting a datagram socket sends nothing.
fn has_route(addr: IpAddr) -> bool {
    let any: IpAddr =
        if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((addr, 53))).is_ok()
}

/// One question to one server, over UDP, and over TCP if the answer does not fit (RFC 7766).
fn exchange(server: SocketAddr, host: &str, record: RecordType) -> io::Result<Answer> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let id = id(&socket);
    let question = question(id, host, record);
    socket.send(&question)?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let length = socket.recv(&mut buffer)?;
        // What does not answer this question may be forged: the right answer may still come.
        let Some(reply) = answer_to(&question, id, buffer.get(..length).unwrap_or_default()) else {
            continue;
        };
        return if reply.truncated { over_tcp(server, &question, id) } else { Ok(answer(&reply)) };
    }
}

fn over_tcp(server: SocketAddr, question: &[u8], id: u16) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut message = (question.len() as u16).to_be_bytes().to_vec();
    message.extend(question);
    stream.write_all(&message)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    answer_to(question, id, &message)
        .map(|reply| answer(&reply))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the answer to the question"))
}

/// The message, if it is a response to the question.
fn answer_to(question: &[u8], id: u16, message: &[u8]) -> Option<Dns> {
    let mut messages = Vec::new();
    Dissector::datagram().data(Side::Server, message, &mut messages);
    let Some(Message::Dns(reply)) = messages.into_iter().next() else { return None };
    // The question as sent must stand in the answer, but for the case of its letters and our EDNS record behind it.
    let asked = question.get(dns::HEADER..question.len() - EDNS)?;
    let repeated = message.get(dns::HEADER..dns::HEADER + asked.len());
    let fits = reply.response && reply.id == id && repeated.is_some_and(|r| r.eq_ignore_ascii_case(asked));
    fits.then_some(reply)
}

fn answer(reply: &Dns) -> Answer {
    Answer {
        code: reply.rcode,
        addresses: reply.addresses.iter().map(wire::Addr::ip).collect(),
        ttl: Duration::from_secs(reply.min_ttl.unwrap_or_default().into()),
        bytes: reply.length.into(),
    }
}

/// Bytes of the EDNS record that ends our questions.
const EDNS: usize = 11;

fn question(id: u16, host: &str, record: RecordType) -> Vec<u8> {
    dns::question(id, host, record as u16, Some(UDP_SIZE))
}

/// An identifier that others cannot guess: the kernel has drawn the port at random, and this is as random as hash seeds.
fn id(socket: &UdpSocket) -> u16 {
    use std::hash::BuildHasher;
    let port = socket.local_addr().map_or(0, |a| a.port());
    std::hash::RandomState::new().hash_one(port) as u16
}

/// The name servers of this machine, in order: `nameserver` lines of resolv.conf(5).
#[must_use]
pub fn configured(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with(|c: char| c.is_whitespace()))
        // An address with a zone (fe80::1%eth0) is not understood, and passed over.
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .map(|addr| SocketAddr::new(addr, 53))
        .take(MAX_SERVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_the_usual_file() {
        let file = "# c\nsearch example\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\nnameserver fe80::1%eth0\n\
                    nameserverx 192.0.2.9\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let servers: Vec<String> = configured(file).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
        assert!(configured("").is_empty());
    }

    #[test]
    fn scopes_never_overlap() {
        for (addr, internet, lab) in [
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("192.0.2.110", false, false),
            ("10.1.2.3", false, false),
            ("172.31.0.1", false, false),
            ("192.168.0.1", false, false),
            ("169.254.169.254", false, false),
            ("100.64.0.1", false, false),
            ("198.18.0.1", false, false),
            ("192.0.0.8", false, false),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("9.9.9.9", true, false),
            ("192.0.1.1", true, false),
            ("fe80::1", false, false),
            ("fd00::1", false, false),
            ("2001:db8::1", false, false),
            ("2002:0a00:0001::", false, false),
            ("::ffff:10.0.0.1", false, false),
            ("64:ff9b::a00:1", false, false),
            ("2620:fe::fe", true, false),
        ] {
            let addr: IpAddr = addr.parse().expect("address");
            assert_eq!((Scope::Internet.permits(addr), Scope::Lab.permits(addr)), (internet, lab), "{addr}");
        }
    }

    #[test]
    fn answers_must_answer_the_question() {
        let asked = question(7, "www.example", RecordType::A);
        let mut reply = asked.clone();
        reply[2..4].copy_from_slice(&[0x81, 0x80]);
        assert!(answer_to(&asked, 7, &reply).is_some());
        assert!(answer_to(&asked, 8, &reply).is_none(), "another identifier");
        assert!(answer_to(&asked, 7, &asked).is_none(), "a question");
        let other = question(7, "ww2.example", RecordType::A);
        assert!(answer_to(&other, 7, &reply).is_none(), "another name");
        let mut upper = reply.clone();
        upper[13] = b'W';
        assert!(answer_to(&asked, 7, &upper).is_some(), "letters' case is no difference");
        for cut in 0..reply.len() {
            // No panic, whatever is missing.
            let _ = answer_to(&asked, 7, &reply[..cut]);
        }
    }

    #[test]
    fn forbidden_addresses_and_missing_names_are_told_apart_and_remembered() {
        let check = |scope, addresses: &[&str], code, expected: Result<usize, Failure>| {
            let names = Names::new(Vec::new(), scope);
            let answer = Answer {
                code,
                addresses: addresses.iter().map(|a| a.parse().expect("address")).collect(),
                ttl: Duration::from_secs(60),
                bytes: 0,
            };
            let got = names.addresses("a.example", |t| match t {
                RecordType::A => Ok(answer.clone()),
                _ => Ok(Answer { addresses: Vec::new(), ..answer.clone() }),
            });
            assert_eq!(got.map(|a| a.len()), expected, "{addresses:?}");
            let again = names.addresses("a.example", |_| panic!("remembered"));
            assert_eq!(again.map(|a| a.len()), expected);
        };
        check(Scope::Lab, &["127.0.0.1", "127.0.0.2"], 0, Ok(2));
        check(Scope::Internet, &["127.0.0.1"], 0, Err(Failure::Address));
        check(Scope::Lab, &[], 3, Err(Failure::NoName));
        check(Scope::Lab, &[], 2, Err(Failure::NameServer));
        let names = Names::new(Vec::new(), Scope::Internet);
        assert_eq!(names.addresses("10.0.0.1", |_| panic!("an address")), Err(Failure::Address));
        assert_eq!(names.query("a.example", RecordType::A).map(|a| a.code), Err(Failure::NameServer));
    }
}
