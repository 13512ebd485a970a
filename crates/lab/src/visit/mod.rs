//! Ordinary traffic on demand: visits real sites politely, or the lab's own servers in their place.
//!
//! [`plan`] says what is visited, a pure function of lists, mode and seed. A visitor per thread does it: for each
//! request it waits for the site's turn ([`limit`]), heeds the site's wishes ([`robots`]), checks where the name leads
//! ([`names`]), and counts what became of it ([`statistics`]). Nothing is sent but questions: no forms, no logins, no
//! cookies.

mod client;
pub mod limit;
pub mod names;
pub mod page;
pub mod plan;
mod probe;
pub mod robots;
pub mod sites;
pub mod statistics;
pub mod url;

use client::{Denied, Shared, Visitor, Want};
use names::{Names, RecordType, Scope};
use plan::{Action, Mode, Plan, Visit};
use serde::Serialize;
use sites::{Endpoint, Service, ServiceKind, Site};
use statistics::{Failure, Kind, Statistics};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// What robots.txt files call us (RFC 9309 §2.2.1), and what requests do.
pub const PRODUCT: &str = "Autoinmune";
/// Most threads.
pub const MAX_THREADS: usize = 256;
/// Longest run.
pub const MAX_DURATION: Duration = Duration::from_secs(30 * 86_400);
/// Bytes read of a page, of a part of one, and of an API's answer.
const MAX_PAGE: u64 = 2 << 20;
/// How long one exchange may take, and one of a larger file.
const PATIENCE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(60)];
/// Between the pieces of a recording, when visits are paced: about as fast as it would be watched.
const PIECE_PAUSE: Duration = Duration::from_secs(2);
/// Threads begin one after the other, so that a run does not open with a burst.
const STAGGER: Duration = Duration::from_millis(100);
/// How long a server of time is left alone after it asked for it.
const NTP_REST: Duration = Duration::from_secs(3600);
/// How long requests under way may take to end when a run's time is over, and when it was interrupted.
const GRACE: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(500)];
/// Where resolv.conf(5) is.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What to visit, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How visits follow each other.
    pub mode: Mode,
    /// Visitors at once, 1 to [`MAX_THREADS`].
    pub threads: usize,
    /// When to end, if the plan does not end first; at most [`MAX_DURATION`].
    pub duration: Duration,
    /// Seed of the plan.
    pub seed: u64,
    /// Sites, at least one.
    pub sites: Vec<Site>,
    /// Services, perhaps none.
    pub services: Vec<Service>,
    /// Name server to ask instead of the system's.
    pub resolver: Option<SocketAddr>,
    /// Where visits may lead. [`Scope::Lab`] needs a resolver.
    pub scope: Scope,
    /// Whether to visit without limits per site: only in [`Scope::Lab`].
    pub unlimited: bool,
    /// Certificate authorities in PEM to trust instead of the system's.
    pub authorities: Option<Vec<u8>>,
    /// Where those who are visited can learn more or complain; printable ASCII.
    pub contact: Option<String>,
}

/// Why there are no visits.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// Outside the bounds.
    #[error("{0}")]
    Bounds(String),
    /// The machine has no name server configured.
    #[error("{RESOLV_CONF} names no name server")]
    NoServer,
    /// None of the name servers answers.
    #[error("no name server answers (asked {0})")]
    Silent(String),
    /// The name servers answer, but with errors only.
    #[error("the name server resolves nothing (asked {0})")]
    Helpless(String),
    /// A name server outside the lab, in the lab.
    #[error(
        "{0} is not an address of the lab: loopback, or in a range's namespace the range's own addresses"
    )]
    Foreign(IpAddr),
    /// No certificate can be read from the file of authorities.
    #[error("no PEM certificate in the file of certificate authorities")]
    Authorities,
    /// No thread to be had.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A run under way. Dropping it ends it.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    visitors: Vec<JoinHandle<()>>,
    agents: Vec<ureq::Agent>,
    about: About,
    length: Option<u64>,
}

/// What was run.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// How visits followed each other.
    pub mode: Mode,
    /// Whether only servers of the lab were visited.
    pub lab: bool,
    /// Whether there were no limits per site.
    pub unlimited: bool,
    /// Seed of the plan.
    pub seed: u64,
    /// Visitors at once.
    pub threads: usize,
    /// Sites in the list.
    pub sites: usize,
    /// Services in the list.
    pub services: usize,
    /// What requests said of their sender.
    pub user_agent: String,
}

/// What became of a run, so far or in the end.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run.
    #[serde(flatten)]
    pub about: About,
    /// How long, s.
    pub elapsed_s: f64,
    /// Requests answered per second, of all kinds.
    pub requests_per_s: f64,
    /// Requests neither answered nor failed: under way, or given up at the end.
    pub open: u64,
    /// Visits planned; none if the plan has no end.
    pub planned: Option<u64>,
    /// All counts.
    #[serde(flatten)]
    pub statistics: Statistics,
}

/// Begins visiting.
///
/// # Errors
/// Options out of bounds, no name server that answers, or no thread to be had.
pub fn start(options: Options) -> Result<Run, VisitError> {
    check(&options)?;
    let servers = match options.resolver {
        Some(server) => vec![server],
        // A file that cannot be read names no server.
        None => names::configured(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
    };
    if servers.is_empty() {
        return Err(VisitError::NoServer);
    }
    let names = Names::new(servers, options.scope);
    answers(&names, &options.sites)?;
    let tls = trust(options.authorities.as_deref())?;
    let lab = options.scope == Scope::Lab;
    let about = About {
        mode: options.mode,
        lab,
        unlimited: options.unlimited,
        seed: options.seed,
        threads: options.threads,
        sites: options.sites.len(),
        services: options.services.len(),
        user_agent: user_agent(options.contact.as_deref()),
    };
    let shared = Arc::new(Shared {
        names,
        unlimited: about.unlimited,
        begun: Instant::now(),
        duration: options.duration,
        stop: AtomicBool::new(false),
        statistics: Mutex::default(),
        limiter: Mutex::default(),
        robots: Mutex::new(HashMap::new()),
    });
    let plan = Plan::new(options.mode, options.seed, options.sites.len(), &options.services);
    let length = plan.length();
    let work = Arc::new(Work {
        plan,
        next: AtomicU64::new(0),
        sites: options.sites,
        services: options.services,
        is_paced: options.mode == Mode::Continuous,
    });
    let mut run = Run { shared, visitors: Vec::new(), agents: Vec::new(), about, length };
    for i in 0..options.threads {
        let visitor = Visitor::new(Arc::clone(&run.shared), tls.clone(), &run.about.user_agent, PRODUCT);
        run.agents.push(visitor.agent.clone());
        let work = Arc::clone(&work);
        let wait = if work.is_paced { STAGGER * i as u32 } else { Duration::ZERO };
        let thread = std::thread::Builder::new()
            .name(format!("visitor-{i}"))
            .spawn(move || {
                if visitor.shared.sleep(wait) {
                    work.run(&visitor);
                }
            })
            .map_err(VisitError::Thread)?;
        run.visitors.push(thread);
    }
    Ok(run)
}

fn check(options: &Options) -> Result<(), VisitError> {
    let bounds = |fits: bool, what: String| if fits { Ok(()) } else { Err(VisitError::Bounds(what)) };
    bounds(
        (1..=MAX_THREADS).contains(&options.threads),
        format!("between 1 and {MAX_THREADS} threads are possible"),
    )?;
    bounds(
        !options.duration.is_zero() && options.duration <= MAX_DURATION,
        format!("a run lasts between 1 s and {} days", MAX_DURATION.as_secs() / 86_400),
    )?;
    bounds(!options.sites.is_empty(), "there is no site to visit".into())?;
    let printable = |c: &String| c.len() <= 200 && c.bytes().all(|b| matches!(b, b' '..=b'~'));
    bounds(
        options.contact.as_ref().is_none_or(printable),
        "the contact must be printable ASCII of at most 200 bytes".into(),
    )?;
    bounds(
        !options.unlimited || options.scope == Scope::Lab,
        "limits per site are lifted for the lab's own servers only".into(),
    )?;
    match (options.scope, options.resolver) {
        (Scope::Lab, None) => {
            Err(VisitError::Bounds("the lab needs the address of its own name server".into()))
        }
        (Scope::Lab, Some(server)) if !Scope::Lab.permits(server.ip()) => {
            Err(VisitError::Foreign(server.ip()))
        }
        _ => Ok(()),
    }
}

/// Whether the name servers know any of the first names: without, not a single visit can succeed.
fn answers(names: &Names, sites: &[Site]) -> Result<(), VisitError> {
    let asked = || names.servers().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let hosts = sites.iter().map(|s| s.url.host()).filter(|h| sites::is_name(h));
    let mut any = false;
    for host in hosts.take(3) {
        any = true;
        match names.query(host, RecordType::A) {
            Ok(answer) if matches!(answer.code, 0 | 3) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(VisitError::Silent(asked())),
        }
    }
    // A list of bare addresses needs no name server.
    if any { Err(VisitError::Helpless(asked())) } else { Ok(()) }
}

fn trust(authorities: Option<&[u8]>) -> Result<TlsConfig, VisitError> {
    let roots = match authorities {
        None => RootCerts::PlatformVerifier,
        Some(pem) => {
            let certificates: Vec<_> = parse_pem(pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(VisitError::Authorities);
            }
            RootCerts::new_with_certs(&certificates)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build())
}

/// What requests say of their sender (RFC 9110 §10.1.5): program, version, what it does, and where to learn more.
fn user_agent(contact: Option<&str>) -> String {
    let home = env!("CARGO_PKG_REPOSITORY");
    let mut comment = vec!["network traffic generator".to_owned()];
    if !home.is_empty() {
        comment.push(format!("+{home}"));
    }
    comment.extend(contact.map(str::to_owned));
    format!("{PRODUCT}/{} ({})", env!("CARGO_PKG_VERSION"), comment.join("; "))
}

impl Run {
    /// How it stands.
    #[must_use]
    pub fn report(&self) -> Report {
        let statistics = self.shared.statistics().clone();
        let elapsed_s = self.shared.begun.elapsed().as_secs_f64();
        Report {
            about: self.about.clone(),
            elapsed_s,
            requests_per_s: statistics.total.completed as f64 / elapsed_s.max(1e-9),
            open: statistics.total.open(),
            planned: self.length,
            statistics,
        }
    }

    /// Whether its time is over or its plan done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.is_over() || self.visitors.iter().all(JoinHandle::is_finished)
    }

    /// Ends it and says what became of it. Requests under way get two seconds, or half a second if the run is ended
    /// before its time; the report is of the moment when the last visitor left, or that time was over.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let in_time = self.is_over();
        if !in_time {
            self.cut();
        }
        let begun = Instant::now();
        let grace = if in_time { GRACE[0] } else { GRACE[1] };
        while begun.elapsed() < grace && !self.visitors.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.report()
    }

    /// Tells visitors to leave, and closes their connections under them.
    fn cut(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for agent in self.agents.drain(..) {
            agent.shutdown();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Visitors that wait for a peer outlive this by at most the time of one datagram's answer; nothing waits for them.
        self.cut();
    }
}

/// What the visitors of a run have to do.
struct Work {
    plan: Plan,
    next: AtomicU64,
    sites: Vec<Site>,
    services: Vec<Service>,
    /// Whether pauses are made.
    is_paced: bool,
}

impl Work {
    fn run(&self, visitor: &Visitor) {
        while !visitor.shared.is_over() {
            let Some(visit) = self.plan.visit(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            if !visitor.shared.sleep(Duration::from_millis(visit.pause)) {
                return;
            }
            visitor.shared.statistics().visits += 1;
            // What went wrong has been counted where it did.
            let _ = self.perform(visitor, &visit);
        }
    }

    fn perform(&self, visitor: &Visitor, visit: &Visit) -> Result<(), Denied> {
        match visit.action {
            Action::Page { site, parts, onward } => {
                let Some(site) = self.sites.get(site) else { return Ok(()) };
                let links = load(visitor, site, &site.url, parts, visit.draw)?;
                if onward && let Some(i) = plan::pick(visit.draw, 1, links.pages.len()).first() {
                    if self.is_paced && !visitor.shared.sleep(Duration::from_millis(visit.pause)) {
                        return Err(Denied::Stopped);
                    }
                    load(visitor, site, &links.pages[*i], parts, visit.draw)?;
                }
                Ok(())
            }
            Action::Lookup { site, records } => {
                let Some(site) = self.sites.get(site).filter(|s| sites::is_name(s.url.host())) else {
                    return Ok(());
                };
                for record in records {
                    visitor.shared.ask(site.url.host(), record, site.belonging)?;
                }
                Ok(())
            }
            Action::Service { service, bytes, pieces } => {
                let Some(service) = self.services.get(service) else { return Ok(()) };
                self.serve(visitor, service, bytes, pieces, visit.draw)
            }
        }
    }

    fn serve(
        &self,
        visitor: &Visitor,
        service: &Service,
        bytes: u64,
        pieces: u32,
        draw: u64,
    ) -> Result<(), Denied> {
        let who = service.belonging;
        let want = |kind, limit: u64, range| Want { kind, who, limit, range, patience: PATIENCE[1] };
        match (&service.endpoint, service.kind) {
            (Endpoint::Web(url), ServiceKind::Download) => {
                visitor.get(url.clone(), &want(Kind::Download, bytes, Some((0, bytes - 1))))?;
            }
            (Endpoint::Web(url), ServiceKind::Stream) => {
                let mut url = url.clone();
                for piece in 0..u64::from(pieces) {
                    let first = piece * plan::PIECE;
                    let range = Some((first, first + plan::PIECE - 1));
                    let reply = visitor.get(url, &want(Kind::Stream, plan::PIECE, range))?;
                    // The end, or a server that gives no pieces.
                    if reply.whole.is_none_or(|whole| whole <= first + plan::PIECE) {
                        break;
                    }
                    url = reply.url;
                    if self.is_paced && !visitor.shared.sleep(PIECE_PAUSE) {
                        return Err(Denied::Stopped);
                    }
                }
            }
            (Endpoint::Web(url), _) => {
                visitor
                    .get(url.clone(), &Want { patience: PATIENCE[0], ..want(Kind::Api, MAX_PAGE, None) })?;
            }
            (Endpoint::Host { host, port }, ServiceKind::Ssh) => {
                let software = format!("{PRODUCT}_{}", env!("CARGO_PKG_VERSION"));
                let name = format!("ssh:{host}");
                contact(visitor, service, host, *port, (name, limit::Rate::SSH, Kind::Ssh), |server| {
                    probe::ssh_banner(server, &software)
                })?;
            }
            (Endpoint::Host { host, port }, _) => {
                let name = format!("ntp:{host}");
                contact(visitor, service, host, *port, (name, limit::Rate::NTP, Kind::Ntp), |server| {
                    probe::ntp(server, draw)
                })?;
            }
        }
        Ok(())
    }
}

/// Loads a page and some of its parts; gives what it links to.
fn load(
    visitor: &Visitor,
    site: &Site,
    url: &url::Url,
    parts: usize,
    draw: u64,
) -> Result<page::Links, Denied> {
    let who = site.belonging;
    let want = |kind| Want { kind, who, limit: MAX_PAGE, range: None, patience: PATIENCE[0] };
    let reply = visitor.get(url.clone(), &want(Kind::Page))?;
    if !reply.is_html {
        return Ok(page::Links::default());
    }
    let mut links = page::links(&reply.body, &reply.url);
    for i in plan::pick(draw, parts, links.parts.len()) {
        // A part that cannot be had is one part less, as in a browser.
        if let Err(Denied::Stopped) = visitor.get(links.parts[i].clone(), &want(Kind::Part)) {
            return Err(Denied::Stopped);
        }
    }
    links.parts.clear();
    Ok(links)
}

/// Asks a service that is no web server, in its turn.
fn contact(
    visitor: &Visitor,
    service: &Service,
    host: &str,
    port: u16,
    (name, rate, kind): (String, limit::Rate, Kind),
    ask: impl FnOnce(SocketAddr) -> Result<u64, Failure>,
) -> Result<(), Denied> {
    let shared = &visitor.shared;
    let turn = shared.turn(name, rate)?;
    let addresses = match shared.addresses(host, service.belonging) {
        Ok(addresses) => Ok(addresses),
        Err(Denied::Failed(failure)) => Err(failure),
        Err(denied) => return Err(denied),
    };
    let result = shared.count(kind, service.belonging, || {
        let addr = addresses?.first().copied().ok_or(Failure::NoName)?;
        ask(SocketAddr::new(addr, port)).map(|bytes| (bytes, ()))
    });
    if result == Err(Denied::Failed(Failure::SlowDown)) {
        turn.rest(NTP_REST);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_agent_is_honest() {
        let own = user_agent(None);
        assert!(own.starts_with("Autoinmune/") && own.contains("traffic generator"), "{own}");
        assert!(user_agent(Some("mailto:noc@example.org")).ends_with("; mailto:noc@example.org)"));
    }

    #[test]
    fn options_out_of_bounds_are_refused() {
        let site =
            sites::sites(&format!("{}\nDE,news,de,A,https://a.example/", sites::SITES_HEADER)).expect("list");
        let good = Options {
            mode: Mode::Turbo,
            threads: 1,
            duration: Duration::from_secs(1),
            seed: 1,
            sites: site,
            services: Vec::new(),
            resolver: Some(SocketAddr::from(([127, 0, 0, 1], 53))),
            scope: Scope::Lab,
            unlimited: true,
            authorities: None,
            contact: None,
        };
        assert!(check(&good).is_ok());
        let public = SocketAddr::from(([9, 9, 9, 9], 53));
        for bad in [
            Options { threads: 0, ..good.clone() },
            Options { threads: MAX_THREADS + 1, ..good.clone() },
            Options { duration: Duration::ZERO, ..good.clone() },
            Options { duration: MAX_DURATION * 2, ..good.clone() },
            Options { sites: Vec::new(), ..good.clone() },
            Options { contact: Some("a\r\nX: y".into()), ..good.clone() },
            Options { scope: Scope::Internet, resolver: Some(public), ..good.clone() },
            Options { resolver: None, ..good.clone() },
            Options { resolver: Some(public), ..good.clone() },
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
        assert!(
            check(&Options { scope: Scope::Internet, unlimited: false, resolver: Some(public), ..good })
                .is_ok()
        );
    }
}
