//! The load: questions over kept connections, lines of logs with rotation, and packets, each at a bounded rate.

use super::http::Client;
use super::questions::{KINDS, Question, is_counted, question};
use anyhow::Context as _;
use lab::address::{ATTACKERS, CLIENT, VICTIM, VICTIM6};
use lab::range::{Range, Side};
use lab::traffic::{Client as Ordinary, Control, Limits, Server, Services, dns, flood, http, ssh};
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections that ask the detector at the same time.
pub(super) const CONNECTIONS: u32 = 4;
/// Questions a second to the agent's own API.
const OWN: u32 = 10;
/// Lines of logs a second.
const LINES: u32 = 50;
/// Between two rotations.
const ROTATION: Duration = Duration::from_secs(30);
/// Nothing is written before a log is emptied, so that all of it is read: what is emptied unread is lost to any reader.
const PAUSE: Duration = Duration::from_secs(3);
/// Datagrams a second.
const DATAGRAMS: u32 = 400;
/// Their senders, by turns.
const SENDERS: u64 = 64;
/// The first of them, an address of the range.
const FIRST_SENDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0x1, 0, 0, 0);
/// Port of the victim that takes datagrams and never answers.
const SINK: u16 = 9;
/// Between two port scans, and between two retrainings that are asked for.
const MINUTE: Duration = Duration::from_secs(60);
/// How long one ordinary client lasts.
const ORDINARY: Duration = Duration::from_secs(100);
/// Failures that are remembered in words.
const TOLD: usize = 20;

/// What was done, and what went wrong.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Questions that were answered as they should be.
    pub(super) answered: AtomicU64,
    /// Of these, to the detector, such as its own count has.
    pub(super) counted: AtomicU64,
    /// Connections opened.
    pub(super) opened: AtomicU64,
    /// Retrainings that ended.
    pub(super) trained: AtomicU64,
    /// Lines written to logs.
    pub(super) lines: AtomicU64,
    /// Datagrams sent.
    pub(super) datagrams: AtomicU64,
    /// Requests of ordinary clients through the range that were served.
    pub(super) served: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    fn fail(&self, what: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut told = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(what);
        }
    }

    /// How many things went wrong, and the first of them.
    pub(super) fn failures(&self) -> (u64, Vec<String>) {
        let told = self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.failed.load(Ordering::Relaxed), told)
    }
}

fn add(to: &AtomicU64, n: u64) {
    to.fetch_add(n, Ordering::Relaxed);
}

/// The logs that are written.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    /// Of syslog, with sshd's lines.
    pub(super) sshd: PathBuf,
    /// nginx's access log.
    pub(super) nginx: PathBuf,
}

impl Logs {
    /// Empty ones.
    pub(super) fn create(folder: &Path) -> anyhow::Result<Self> {
        let logs = Self { sshd: folder.join("auth.log"), nginx: folder.join("access.log") };
        for path in [&logs.sshd, &logs.nginx] {
            File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(logs)
    }
}

/// Everything under way; stops when dropped.
pub(super) struct Load {
    control: Control,
    /// What came of it so far.
    pub(super) tally: Arc<Tally>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    _servers: Vec<Server>,
    _sink: Option<UdpSocket>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.control.stop();
        for thread in self.threads.drain(..) {
            if !matches!(thread.join(), Ok(Ok(()))) {
                self.tally.fail("a part of the load could not be made".into());
            }
        }
    }
}

impl Load {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            control: Control::new(),
            tally: Arc::default(),
            threads: Vec::new(),
            _servers: Vec::new(),
            _sink: None,
        }
    }

    /// Runs a part in a place of the range, or here where there is none.
    fn spawn(
        &mut self,
        at: Option<(&Range, Side)>,
        name: &str,
        part: impl FnOnce(&Control, &Tally) + Send + 'static,
    ) -> anyhow::Result<()> {
        let (control, tally) = (self.control.clone(), Arc::clone(&self.tally));
        let part = move || part(&control, &tally);
        self.threads.push(match at {
            Some((range, side)) => range.spawn(side, name, part)?,
            None => std::thread::Builder::new().name(name.into()).spawn(move || {
                part();
                Ok(())
            })?,
        });
        Ok(())
    }

    /// Asks the detector `rate` questions a second, and asks it to retrain once a minute.
    pub(super) fn ask(
        &mut self,
        range: Option<&Range>,
        detector: SocketAddr,
        rate: u32,
    ) -> anyhow::Result<()> {
        let at = range.map(|r| (r, Side::Victim));
        for part in 0..CONNECTIONS {
            // Each begins at another kind.
            let first = u64::from(part) * KINDS / u64::from(CONNECTIONS);
            self.spawn(at, "soak-ask", move |control, tally| {
                questions(detector, f64::from(rate) / f64::from(CONNECTIONS), first, true, control, tally);
            })?;
        }
        self.spawn(at, "soak-train", move |control, tally| trainings(detector, control, tally))
    }

    /// Asks the agent's own API and reads its metrics.
    pub(super) fn ask_agent(
        &mut self,
        range: &Range,
        api: SocketAddr,
        http: SocketAddr,
    ) -> anyhow::Result<()> {
        self.spawn(Some((range, Side::Victim)), "soak-own", move |control, tally| {
            questions(api, f64::from(OWN), 0, false, control, tally);
        })?;
        self.spawn(Some((range, Side::Victim)), "soak-read", move |control, tally| {
            let mut client = Client::new(http);
            for n in Pace::new(1.0, control) {
                let (path, says) =
                    [("/metrics", "ebpf_packets_per_second"), ("/stats", "\"top_sources\""), ("/health", "")]
                        [(n % 3) as usize];
                let question = Question { method: "GET", path, body: String::new(), status: 200, says };
                ask(&mut client, &question, tally);
            }
            add(&tally.opened, client.opened);
        })
    }

    /// Writes lines to logs, and rotates them.
    pub(super) fn log(&mut self, logs: &Logs) -> anyhow::Result<()> {
        let logs = logs.clone();
        self.spawn(None, "soak-logs", move |control, tally| {
            if let Err(e) = lines(&logs, control, tally) {
                tally.fail(format!("a log could not be written: {e}"));
            }
        })
    }

    /// Sends packets to the victim: what an ordinary client does, datagrams of many, and a scan a minute.
    pub(super) fn traffic(&mut self, range: &Range) -> anyhow::Result<()> {
        let at = |port| SocketAddr::new(VICTIM.into(), port);
        let services = Services { http: at(80), dns: at(53), ssh: at(2222) };
        let (servers, sink) = range.enter(Side::Victim, || -> anyhow::Result<_> {
            let servers = vec![
                http::serve(services.http)?,
                dns::serve(services.dns, VICTIM)?,
                ssh::serve(services.ssh)?,
            ];
            Ok((servers, UdpSocket::bind((VICTIM6, SINK))?))
        })??;
        (self._servers, self._sink) = (servers, Some(sink));
        self.spawn(Some((range, Side::Outside)), "soak-client", move |control, tally| {
            while !control.is_stopped() {
                ordinary(services, control, tally);
            }
        })?;
        self.spawn(Some((range, Side::Outside)), "soak-datagrams", |control, tally| {
            if let Err(e) = datagrams(control, tally) {
                tally.fail(format!("datagrams could not be sent: {e}"));
            }
        })?;
        self.spawn(Some((range, Side::Outside)), "soak-scans", |control, tally| {
            let ports: Vec<u16> = (1..=400).collect();
            for n in Pace::new(1.0 / MINUTE.as_secs_f64(), control) {
                let from = ATTACKERS[(n % ATTACKERS.len() as u64) as usize];
                let scan = Limits::new(400, 200, Duration::from_secs(10))
                    .and_then(|limits| flood::port_scan(from.into(), VICTIM.into(), &ports, limits, control));
                if let Err(e) = scan {
                    tally.fail(format!("a scan could not be sent: {e}"));
                }
            }
        })
    }

    /// Ends all of it; what came of it.
    pub(super) fn stop(self) -> Arc<Tally> {
        let tally = Arc::clone(&self.tally);
        drop(self);
        tally
    }
}

/// Counts at a rate, until stopped. Who is behind does not catch up: the load must not become a burst.
struct Pace<'a> {
    every: Duration,
    due: Instant,
    n: u64,
    control: &'a Control,
}

impl<'a> Pace<'a> {
    fn new(rate: f64, control: &'a Control) -> Self {
        Self { every: Duration::from_secs_f64(1.0 / rate), due: Instant::now(), n: 0, control }
    }
}

impl Iterator for Pace<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if !wait(self.due.saturating_duration_since(Instant::now()), self.control) {
            return None;
        }
        self.due = (self.due + self.every).max(Instant::now());
        self.n += 1;
        Some(self.n - 1)
    }
}

/// Waits, unless stopped; whether to go on.
fn wait(time: Duration, control: &Control) -> bool {
    let begun = Instant::now();
    while !control.is_stopped() {
        match time.checked_sub(begun.elapsed()) {
            None | Some(Duration::ZERO) => return true,
            Some(left) => std::thread::sleep(left.min(Duration::from_millis(50))),
        }
    }
    false
}

/// Asks one question; whether the answer is what it should be.
fn ask(client: &mut Client, question: &Question, tally: &Tally) -> bool {
    let Question { method, path, body, status, says } = question;
    match client.ask(method, path, body) {
        Ok(reply) if reply.status == *status && reply.body.contains(says) => {
            add(&tally.answered, 1);
            return true;
        }
        Ok(reply) => tally.fail(format!(
            "{method} {path} {body} was answered with {}, without {says}: {}",
            reply.status, reply.body
        )),
        Err(e) => tally.fail(format!("{method} {path}: {e:#}")),
    }
    false
}

fn questions(at: SocketAddr, rate: f64, first: u64, is_detector: bool, control: &Control, tally: &Tally) {
    let mut client = Client::new(at);
    for n in Pace::new(rate, control) {
        let question = question(first + n);
        let good = ask(&mut client, &question, tally);
        if good && is_detector && is_counted(&question) {
            add(&tally.counted, 1);
        }
    }
    add(&tally.opened, client.opened);
}

/// A retraining a minute, each followed to its end.
fn trainings(at: SocketAddr, control: &Control, tally: &Tally) {
    for _ in Pace::new(1.0 / MINUTE.as_secs_f64(), control) {
        // The connection would be closed for being idle.
        let mut client = Client::new(at);
        if let Err(e) = training(&mut client, control, tally) {
            tally.fail(format!("a retraining: {e:#}"));
        }
    }
}

fn training(client: &mut Client, control: &Control, tally: &Tally) -> anyhow::Result<()> {
    let reply = client.ask("POST", "/train", "")?;
    anyhow::ensure!(reply.status == 202, "answered with {}: {}", reply.status, reply.body);
    let job: serde_json::Value = serde_json::from_str(&reply.body)?;
    let path = format!("/train/{}", job["id"].as_str().context("a job without an identifier")?);
    for _ in Pace::new(1.0, control) {
        let job: serde_json::Value = serde_json::from_str(&client.ask("GET", &path, "")?.body)?;
        if job["ended"].is_number() {
            anyhow::ensure!(job["state"] != "failed", "{job}");
            add(&tally.trained, 1);
            break;
        }
    }
    Ok(())
}

/// Who is said to have logged in, or not.
fn ssh_line(n: u64) -> String {
    let (from, port) = (n % 100, 1024 + n % 60_000);
    let event = match n % 10 {
        0 => format!("Accepted publickey for deploy from 192.0.2.150 port {port} ssh2: ED25519 SHA256:AAAA"),
        1 => format!("Invalid user admin{} from 203.0.113.{from} port {port}", n % 50),
        2 => format!(
            "Failed password for invalid user x from 198.51.100.1 port 22 ssh2 from 203.0.113.{from} port {port} ssh2"
        ),
        3 => format!("Received disconnect from 203.0.113.{from} port {port}:11: Bye Bye [preauth]"),
        _ => format!("Failed password for root from 203.0.113.{from} port {port} ssh2"),
    };
    format!("Nov 21 10:00:00 gate sshd[{}]: {event}\n", 1000 + n % 9000)
}

fn web_line(n: u64) -> String {
    let (user, status) = match n % 4 {
        0 => ("admin", 401),
        1 => ("-", 401),
        _ => ("-", 200),
    };
    format!(
        "203.0.113.{} - {user} [21/Nov/2026:10:00:00 +0000] \"GET /page/{n} HTTP/1.1\" {status} 512 \"-\" \"Mozilla/5.0\"\n",
        100 + n % 100
    )
}

fn append(path: &Path) -> std::io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Writes lines, and rotates by turns in both ways that logrotate knows: by a new name, and by emptying.
fn lines(logs: &Logs, control: &Control, tally: &Tally) -> std::io::Result<()> {
    let (mut sshd, mut nginx) = (append(&logs.sshd)?, append(&logs.nginx)?);
    let (mut rotated, mut rotations) = (Instant::now(), 0);
    for n in Pace::new(f64::from(LINES), control) {
        sshd.write_all(ssh_line(n).as_bytes())?;
        add(&tally.lines, 1);
        if n % 3 == 0 {
            nginx.write_all(web_line(n).as_bytes())?;
            add(&tally.lines, 1);
        }
        if rotated.elapsed() < ROTATION {
            continue;
        }
        if rotations % 2 == 0 {
            for path in [&logs.sshd, &logs.nginx] {
                fs::rename(path, path.with_extension("log.1"))?;
            }
            (sshd, nginx) = (append(&logs.sshd)?, append(&logs.nginx)?);
        } else {
            if !wait(PAUSE, control) {
                return Ok(());
            }
            sshd.set_len(0)?;
            nginx.set_len(0)?;
        }
        rotations += 1;
        rotated = Instant::now();
    }
    Ok(())
}

/// One ordinary client: whoever is nobody's enemy must be served all the time.
fn ordinary(services: Services, control: &Control, tally: &Tally) {
    let client = match Ordinary::start(CLIENT.into(), services, ORDINARY) {
        Ok(client) => client,
        Err(e) => {
            tally.fail(format!("an ordinary client: {e}"));
            let _ = wait(Duration::from_secs(1), control);
            return;
        }
    };
    // A little less than its own end.
    let _ = wait(ORDINARY.saturating_sub(Duration::from_secs(2)), control);
    let total = client.finish().total();
    add(&tally.served, total.completed);
    if total.failed > 0 {
        tally.fail(format!("{} of {} requests of an ordinary client failed", total.failed, total.tried));
    }
}

/// Datagrams of many senders, by turns of a tenth of a second.
fn datagrams(control: &Control, tally: &Tally) -> anyhow::Result<()> {
    let target = SocketAddr::new(VICTIM6.into(), SINK);
    let each = DATAGRAMS / 10;
    for n in Pace::new(10.0, control) {
        let source: IpAddr = Ipv6Addr::from_bits(FIRST_SENDER.to_bits() + u128::from(n % SENDERS)).into();
        let limits = Limits::new(each.into(), each * 20, Duration::from_secs(5))?;
        add(&tally.datagrams, flood::udp_flood(source, target, 64, limits, control)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_of_their_kinds() {
        assert_eq!(
            ssh_line(14),
            "Nov 21 10:00:00 gate sshd[1014]: Failed password for root from 203.0.113.14 port 1038 ssh2\n"
        );
        assert!(web_line(8).starts_with("203.0.113.108 - admin [") && web_line(8).contains("\" 401 "));
        assert!(web_line(7).contains("\" 200 "));
    }

    #[test]
    fn a_pace_is_not_exceeded_and_stops() {
        let control = Control::new();
        let begun = Instant::now();
        assert_eq!(Pace::new(100.0, &control).take(11).last(), Some(10));
        assert!(begun.elapsed() >= Duration::from_millis(100));
        control.stop();
        assert_eq!(Pace::new(0.001, &control).next(), None);
    }

    #[test]
    fn failures_are_counted_and_the_first_are_told() {
        let tally = Tally::default();
        (0..30).for_each(|n| tally.fail(format!("failure {n}")));
        let (count, told) = tally.failures();
        assert_eq!((count, told.len(), told[0].as_str()), (30, TOLD, "failure 0"));
    }
}
