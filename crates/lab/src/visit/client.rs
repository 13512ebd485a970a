//! One polite visitor of web servers: asks for its turn, heeds robots.txt, follows few redirections and checks each,
//! reads bounded bodies, and counts everything.

use super::limit::{Grant, Limiter, Rate};
use super::names::{Answer, Names, RecordType};
use super::probe;
use super::robots::{self, Robots};
use super::sites::Belonging;
use super::statistics::{Failure, Kind, Statistics};
use super::url::Url;
use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE, RETRY_AFTER};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, http};

/// Redirections followed (RFC 9309 §2.3.1.2 asks for five for robots.txt).
const MAX_REDIRECTS: usize = 5;
/// Longest response head, bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes read of the body of an answer that is an error or a redirection, so that the connection can be used again.
const MAX_REMARK: u64 = 64 * 1024;
/// How long a visit waits for its turn; beyond, it is not worth a thread.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Connections kept by one visitor: one visit talks to a site and a few hosts beside it.
const IDLE: usize = 8;
/// How long they are kept: less than what servers usually grant.
const IDLE_AGE: Duration = Duration::from_secs(10);
/// How long connecting and the TLS handshake may take together.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a read may take.
const READ: Duration = Duration::from_secs(10);
/// A site that failed three times in a row is left alone for so long; so is one that asks to slow down without saying
/// for how long.
const REST: Duration = Duration::from_secs(600);
/// Longest rest that a site can ask for: runs are shorter.
const MAX_REST: Duration = Duration::from_secs(30 * 86_400);
/// How long a robots.txt is kept (RFC 9309 §2.4), and how long its absence for reasons that may pass.
const ROBOTS_AGE: [Duration; 2] = [Duration::from_secs(86_400), REST];
/// Origins whose robots.txt is kept; when full, one of them is forgotten, and read anew when needed.
const MAX_ORIGINS: usize = 20_000;
/// How often a wait looks whether to end.
const TICK: Duration = Duration::from_millis(20);

/// What all visitors of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) names: Names,
    /// Whether there are no limits per site: only against the lab's own servers.
    pub(super) unlimited: bool,
    pub(super) begun: Instant,
    pub(super) duration: Duration,
    pub(super) stop: AtomicBool,
    pub(super) statistics: Mutex<Statistics>,
    pub(super) limiter: Mutex<Limiter>,
    pub(super) robots: Mutex<HashMap<String, Arc<Mutex<Slot>>>>,
}

/// One origin's robots.txt, once read.
pub(super) type Slot = Option<Heard>;

#[derive(Debug)]
pub(super) struct Heard {
    robots: Arc<Robots>,
    until: Instant,
}

/// Why there is no answer to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The run ends.
    Stopped,
    /// The site asks robots not to.
    Robots,
    /// The turn would come too late.
    Busy,
    /// The request failed, and was counted.
    Failed(Failure),
}

impl Shared {
    /// Whether the run was told to end now.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether nothing new may begin.
    pub(super) fn is_over(&self) -> bool {
        self.is_stopped() || self.begun.elapsed() >= self.duration
    }

    pub(super) fn statistics(&self) -> MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        nanoseconds(self.begun.elapsed())
    }

    /// Sleeps, unless the run ends; says whether it goes on.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let begun = Instant::now();
        while !self.is_over() {
            match time.checked_sub(begun.elapsed()) {
                None | Some(Duration::ZERO) => return true,
                Some(left) => std::thread::sleep(left.min(TICK)),
            }
        }
        false
    }

    /// Waits for a turn with whom `name` stands for.
    pub(super) fn turn(&self, name: String, rate: Rate) -> Result<Turn<'_>, Denied> {
        if self.unlimited {
            return if self.is_over() { Err(Denied::Stopped) } else { Ok(Turn { shared: self, name: None }) };
        }
        let begun = Instant::now();
        loop {
            if self.is_over() {
                return Err(Denied::Stopped);
            }
            let grant = self.limiter().acquire(&name, rate, self.now());
            match grant {
                Grant::Go => return Ok(Turn { shared: self, name: Some(name) }),
                Grant::Wait(wait) => {
                    let wait = Duration::from_nanos(wait);
                    if begun.elapsed() + wait > MAX_WAIT {
                        self.statistics().skipped.busy += 1;
                        return Err(Denied::Busy);
                    }
                    self.sleep(wait);
                }
            }
        }
    }

    /// Asks the name server, and counts it.
    pub(super) fn ask(&self, host: &str, record: RecordType, who: Belonging) -> Result<Answer, Denied> {
        let _turn = self.turn("dns:".into(), Rate::DNS)?;
        self.count(Kind::Dns, who, || self.names.query(host, record).map(|a| (a.bytes, a)))
    }

    /// Addresses of a host; failures to find any are the caller's to count.
    pub(super) fn addresses(&self, host: &str, who: Belonging) -> Result<Vec<IpAddr>, Denied> {
        let mut denied = None;
        let addresses = self.names.addresses(host, |record| {
            self.ask(host, record, who).map_err(|d| match d {
                Denied::Failed(failure) => failure,
                other => {
                    denied = Some(other);
                    Failure::NameServer
                }
            })
        });
        match (addresses, denied) {
            (Ok(addresses), _) => Ok(addresses),
            (Err(_), Some(denied)) => Err(denied),
            (Err(failure), None) => Err(Denied::Failed(failure)),
        }
    }

    /// Does one request and counts what became of it. What the end of the run cuts off counts as neither.
    pub(super) fn count<T>(
        &self,
        kind: Kind,
        who: Belonging,
        request: impl FnOnce() -> Result<(u64, T), Failure>,
    ) -> Result<T, Denied> {
        self.statistics().start(kind, who);
        let begun = Instant::now();
        match request() {
            Ok((bytes, answer)) => {
                self.statistics().complete(kind, who, bytes, begun.elapsed());
                Ok(answer)
            }
            Err(_) if self.is_stopped() => Err(Denied::Stopped),
            Err(failure) => {
                self.statistics().fail(kind, who, failure);
                Err(Denied::Failed(failure))
            }
        }
    }

    /// Notes for the limits how a request to a site went.
    fn learn(&self, name: &str, result: &Result<Reply, Denied>) {
        match result {
            Ok(_) => self.limiter().succeeded(name),
            Err(Denied::Failed(f)) if f.is_trouble() => {
                self.limiter().failed(name, nanoseconds(REST), self.now());
            }
            Err(_) => {}
        }
    }
}

/// A turn; ends when dropped.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    /// Whose; nobody's where there are no limits.
    name: Option<String>,
}

impl Turn<'_> {
    /// No further turn for so long.
    pub(super) fn rest(&self, time: Duration) {
        if let Some(name) = &self.name {
            let until = self.shared.now().saturating_add(nanoseconds(time));
            self.shared.limiter().rest(name, until);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.shared.limiter().release(name);
        }
    }
}

/// What is wanted of a web server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) kind: Kind,
    pub(super) who: Belonging,
    /// Bytes of the body read at most.
    pub(super) limit: u64,
    /// The first and last byte wanted of the resource.
    pub(super) range: Option<(u64, u64)>,
    /// How long the whole exchange may take.
    pub(super) patience: Duration,
}

/// A web server's answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// Where it came from.
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) is_html: bool,
    /// Length of the whole resource, if it was a part that was asked for and given.
    pub(super) whole: Option<u64>,
    pub(super) body: Vec<u8>,
    /// Where it sends us instead.
    moved: Option<Url>,
}

/// One thread's visitor, with connections of its own.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) shared: Arc<Shared>,
    pub(super) agent: Agent,
    pub(super) product: &'static str,
}

impl Visitor {
    /// A visitor that trusts and calls itself as `tls` and `user_agent` say.
    pub(super) fn new(
        shared: Arc<Shared>,
        tls: ureq::tls::TlsConfig,
        user_agent: &str,
        product: &'static str,
    ) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirections are followed here, each checked like a request of its own.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy would make connections that the checks of addresses do not see.
            .proxy(None)
            .user_agent(user_agent)
            // Bytes are counted as they are; nothing is unpacked.
            .accept_encoding("identity")
            .accept("text/html, application/json;q=0.9, */*;q=0.8")
            .tls_config(tls)
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections(IDLE)
            .max_idle_connections_per_host(2)
            .max_idle_age(IDLE_AGE)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(READ))
            .timeout_per_write(Some(READ))
            .build();
        let agent =
            Agent::with_parts(config, DefaultConnector::default(), Cached { shared: Arc::clone(&shared) });
        Self { shared, agent, product }
    }

    /// Fetches what `url` and the redirections from there lead to, if every site on the way lets us.
    pub(super) fn get(&self, url: Url, want: &Want) -> Result<Reply, Denied> {
        let mut url = url;
        for hop in 0.. {
            if !self.robots(&url, want.who)?.allows(url.target()) {
                self.shared.statistics().skipped.robots += 1;
                return Err(Denied::Robots);
            }
            let reply = self.exchange(&url, want, hop < MAX_REDIRECTS)?;
            match reply.moved {
                Some(next) => url = next,
                None => return Ok(reply),
            }
        }
        Err(Denied::Failed(Failure::Redirects))
    }

    /// What the site at `url` asks of robots, read at most once a day. Where several visitors want the same file, one
    /// reads it and the others wait.
    fn robots(&self, url: &Url, who: Belonging) -> Result<Arc<Robots>, Denied> {
        let slot = {
            let mut known = self.shared.robots.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MAX_ORIGINS && !known.contains_key(&url.origin()) {
                // Whoever holds the slot still uses it; it is only no longer found here.
                let any = known.keys().next().cloned();
                any.map(|origin| known.remove(&origin));
            }
            Arc::clone(known.entry(url.origin()).or_default())
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = slot.as_ref().filter(|h| h.until > Instant::now()) {
            return Ok(Arc::clone(&heard.robots));
        }
        let (robots, age) = self.read_robots(url, who)?;
        if let Some(delay) = robots.delay() {
            let delay = nanoseconds(Duration::from_secs_f64(delay));
            self.shared.limiter().delay(&web(url), delay);
        }
        let robots = Arc::new(robots);
        *slot = Some(Heard { robots: Arc::clone(&robots), until: Instant::now() + age });
        Ok(robots)
    }

    /// Reads a robots.txt. A file that is not there forbids nothing; one that cannot be had now forbids everything,
    /// and so does a site that asks to slow down, or sends us around (RFC 9309 §2.3.1, more careful in the last two).
    fn read_robots(&self, url: &Url, who: Belonging) -> Result<(Robots, Duration), Denied> {
        let want = Want {
            kind: Kind::Robots,
            who,
            limit: robots::MAX_FILE as u64,
            range: None,
            patience: Duration::from_secs(20),
        };
        let mut at = url.at("/robots.txt");
        let [long, short] = ROBOTS_AGE;
        for hop in 0.. {
            match self.exchange(&at, &want, hop < MAX_REDIRECTS) {
                Ok(Reply { moved: Some(next), .. }) => at = next,
                Ok(reply) if (200..300).contains(&reply.status) => {
                    return Ok((Robots::parse(&reply.body, self.product), long));
                }
                Ok(_) => return Ok((Robots::everything(), long)),
                Err(Denied::Failed(_)) => break,
                Err(denied) => return Err(denied),
            }
        }
        Ok((Robots::nothing(), short))
    }

    /// One request and its answer. A redirection where no more is to follow is a failure, and so are errors of HTTP,
    /// but for a robots.txt that is not there.
    fn exchange(&self, url: &Url, want: &Want, may_move: bool) -> Result<Reply, Denied> {
        let name = web(url);
        let turn = self.shared.turn(name.clone(), Rate::WEB)?;
        let resolved = match self.shared.addresses(url.host(), want.who) {
            Ok(_) => Ok(()),
            Err(Denied::Failed(failure)) => Err(failure),
            Err(denied) => return Err(denied),
        };
        let result = self.shared.count(want.kind, want.who, || {
            resolved?;
            let reply = self.call(url, want, &turn)?;
            let failure = match reply.status {
                200..300 => return Ok((reply.body.len() as u64, reply)),
                _ if reply.moved.is_some() && may_move => return Ok((reply.body.len() as u64, reply)),
                300..400 => Failure::Redirects,
                429 => Failure::SlowDown,
                400..500 if want.kind == Kind::Robots => return Ok((reply.body.len() as u64, reply)),
                400..500 => Failure::ClientError,
                500..600 => Failure::ServerError,
                _ => Failure::Protocol,
            };
            Err(failure)
        });
        self.shared.learn(&name, &result);
        result
    }

    fn call(&self, url: &Url, want: &Want, turn: &Turn<'_>) -> Result<Reply, Failure> {
        let mut request = self.agent.get(url.to_string());
        if let Some((first, last)) = want.range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        let request = request.config().timeout_global(Some(want.patience)).build();
        let mut response = request.call().map_err(|e| failure(&e))?;
        let status = response.status().as_u16();
        let head = response.headers().clone();
        if matches!(status, 429 | 503) {
            turn.rest(retry_after(&head));
        }
        let is_good = (200..300).contains(&status);
        let limit = if is_good { want.limit } else { MAX_REMARK };
        let body = self.body(response.body_mut().as_reader(), limit)?;
        if is_good && body.len() as u64 == limit && want.range.is_none() {
            self.shared.statistics().cut += 1;
        }
        let text = |name| head.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
        let moved = matches!(status, 301 | 302 | 303 | 307 | 308)
            .then(|| text(LOCATION).and_then(|to| url.join(to)))
            .flatten();
        let media = text(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        Ok(Reply {
            url: url.clone(),
            status,
            is_html: media.starts_with("text/html") || media.starts_with("application/xhtml+xml"),
            whole: (status == 206).then(|| whole(text(CONTENT_RANGE)?)).flatten(),
            body,
            moved,
        })
    }

    fn body(&self, mut reader: impl Read, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while (body.len() as u64) < limit && !self.shared.is_stopped() {
            let room = (limit - body.len() as u64).min(buffer.len() as u64) as usize;
            match reader.read(&mut buffer[..room]) {
                Ok(0) => return Ok(body),
                Ok(length) => body.extend(&buffer[..length]),
                Err(error) => return Err(inner(&error)),
            }
        }
        Ok(body)
    }
}

/// Gives the client the addresses that the visit has looked up and checked.
#[derive(Debug)]
struct Cached {
    shared: Arc<Shared>,
}

impl Resolver for Cached {
    fn resolve(
        &self,
        uri: &http::Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        // Asks again only in the rare case that the time to live has run out just now.
        let names = &self.shared.names;
        let addresses =
            names.addresses(host, |r| names.query(host, r)).map_err(|_| ureq::Error::HostNotFound)?;
        let mut resolved = self.empty();
        // The array takes 16; a name has at most eight here.
        for addr in addresses.into_iter().take(8) {
            resolved.push(SocketAddr::new(addr, port));
        }
        Ok(resolved)
    }
}

/// What the limits call the site of a web address.
fn web(url: &Url) -> String {
    format!("web:{}", url.site())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a server asks to be left alone: a number of seconds (RFC 9110 §10.2.3). A date is taken as the usual rest.
fn retry_after(head: &HeaderMap) -> Duration {
    let seconds = head.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
    seconds.map_or(REST, Duration::from_secs).min(MAX_REST)
}

/// The length of the whole resource that a `Content-Range` states (RFC 9110 §14.4).
fn whole(content_range: &str) -> Option<u64> {
    let (unit, rest) = content_range.trim().split_once(' ')?;
    let (_, whole) = rest.split_once('/')?;
    unit.eq_ignore_ascii_case("bytes").then(|| whole.trim().parse().ok()).flatten()
}

/// The kind of failure an error of the client is.
fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Io(e) => inner(e),
        ureq::Error::Timeout(_) => Failure::Timeout,
        ureq::Error::HostNotFound => Failure::NoName,
        ureq::Error::ConnectionFailed => Failure::Connect,
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) | ureq::Error::TlsRequired => {
            Failure::Tls
        }
        _ => Failure::Protocol,
    }
}

/// Likewise of its input and output, in which its own errors may be wrapped.
fn inner(error: &std::io::Error) -> Failure {
    match error.get_ref() {
        Some(e) if e.is::<rustls::Error>() => Failure::Tls,
        Some(e) => match e.downcast_ref::<ureq::Error>() {
            Some(ureq::Error::Io(_)) | None => probe::of(error),
            Some(e) => failure(e),
        },
        None => probe::of(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_carefully() {
        for (text, expected) in [
            ("bytes 0-9/100", Some(100)),
            ("bytes */100", Some(100)),
            ("bytes 0-9/*", None),
            ("chars 0-9/100", None),
            ("", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        for (value, seconds) in [
            ("120", 120),
            ("soon", 600),
            ("Fri, 31 Dec 1999 23:59:59 GMT", 600),
            ("99999999999", 30 * 86_400),
        ] {
            let head = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&head), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), REST);
    }
}
