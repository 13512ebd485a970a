//! `autoinmune generate`: ordinary traffic, to real sites or to the lab's servers in their place.

mod show;
mod text;

use crate::cli::Format;
use crate::exit::{Exit, fail};
use anyhow::Context as _;
use clap::{Args, ValueEnum, ValueHint};
use lab::visit::names::Scope;
use lab::visit::sites::{self, ListError};
use lab::visit::statistics::{Failure, Kind};
use lab::visit::{Options, Report, VisitError, plan, start};
use respond::Ttl;
use show::Show;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it looks whether to end, and shows how it stands.
const TICK: Duration = Duration::from_millis(50);
/// Largest file of certificate authorities read, bytes: bundles of all public ones have about 300 KB.
const MAX_AUTHORITIES: u64 = 4 << 20;

/// `generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// How visits follow each other
    #[arg(long, value_enum, default_value_t)]
    pub mode: Mode,
    /// Visitors at once
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub threads: usize,
    /// When to end, such as 90s, 15m, 8h
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub duration: String,
    /// List of sites as CSV [default: the shipped one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub sites: Option<PathBuf>,
    /// List of services (APIs, downloads, streams, NTP, SSH) as CSV [default: the shipped one, none with --sites]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub services: Option<PathBuf>,
    /// Name server to ask instead of the system's
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub resolver: Option<String>,
    /// Visit the lab's own servers only: addresses other than loopback and a range's own are refused
    #[arg(long, requires = "resolver")]
    pub lab: bool,
    /// Certificate authorities to trust instead of the system's, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Where those who are visited can reach you: added to the User-Agent
    #[arg(long, value_name = "URL|MAIL")]
    pub contact: Option<String>,
    /// Seed of the plan of visits [default: drawn, and said in the report]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print plain lines even on a terminal
    #[arg(long)]
    pub plain: bool,
    /// Format of the final report
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// How visits follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Until the time is over, each visitor pausing as a reader does.
    #[default]
    Continuous,
    /// Until the time is over, without pauses; limits per site stay, but against the lab.
    Turbo,
    /// Each site and each service once.
    SingleBatch,
}

/// Visits, and says what became of it.
///
/// # Errors
/// A file or option that cannot be used, no name server that answers, or not a single answer.
pub fn run(args: &GenerateArgs) -> anyhow::Result<Exit> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot handle signals")?;
    }
    crate::logging("error");
    let options = options(args)?;
    let duration = options.duration;
    let run = start(options).map_err(|e| refusal(e, args.lab))?;
    let mut show = Show::new(args.plain, duration);
    while !stop.load(Ordering::Relaxed) && !run.is_over() {
        show.update(&run);
        std::thread::sleep(TICK);
    }
    let interrupted = !run.is_over();
    let report = run.finish();
    show.end();
    let mut out = std::io::stdout().lock();
    match args.output {
        Format::Human => out.write_all(text::report(&report, interrupted).as_bytes())?,
        Format::Json => {
            let mut json = serde_json::to_value(&report)?;
            json["interrupted"] = interrupted.into();
            writeln!(out, "{json:#}")?;
        }
    }
    out.flush()?;
    outcome(&report, interrupted)
}

/// A run in which nothing but the name server answered has failed, unless it was ended before it could.
fn outcome(report: &Report, interrupted: bool) -> anyhow::Result<Exit> {
    let statistics = &report.statistics;
    let answered = statistics.total.completed - statistics.kind(Kind::Dns).completed;
    let asked = statistics.total.started - statistics.kind(Kind::Dns).started;
    if answered > 0 || asked == 0 || interrupted {
        return Ok(Exit::Ok);
    }
    let most = Failure::ALL.into_iter().max_by_key(|f| statistics.failures(*f));
    let way = match (report.about.lab, most) {
        (true, _) => "check the lab's servers, and --ca if they speak TLS",
        (false, Some(Failure::Tls)) => {
            "install the system's certificate authorities (ca-certificates), or name a file of them with --ca"
        }
        (false, _) => "check that this machine reaches the internet, or visit servers of your own with --lab",
    };
    let most = most.map_or_else(String::new, |f| format!(", most often: {f}"));
    Err(fail(Exit::Failure, format!("names were resolved, but no site answered{most}; {way}")))
}

fn options(args: &GenerateArgs) -> anyhow::Result<Options> {
    let duration: Ttl = args.duration.parse().map_err(|e| fail(Exit::Input, format!("--duration: {e}")))?;
    let shipped = |what: &str, e: ListError| fail(Exit::Failure, format!("the shipped {what}: {e}"));
    let listed = match &args.sites {
        Some(file) => list(file, "--sites", sites::sites)?,
        None => sites::shipped_sites().map_err(|e| shipped("sites", e))?,
    };
    let services = match (&args.services, &args.sites) {
        (Some(file), _) => list(file, "--services", sites::services)?,
        (None, Some(_)) => Vec::new(),
        (None, None) => sites::shipped_services().map_err(|e| shipped("services", e))?,
    };
    let authorities = args.ca.as_deref().map(|file| read(file, "--ca", MAX_AUTHORITIES)).transpose()?;
    Ok(Options {
        mode: match args.mode {
            Mode::Continuous => plan::Mode::Continuous,
            Mode::Turbo => plan::Mode::Turbo,
            Mode::SingleBatch => plan::Mode::SingleBatch,
        },
        threads: args.threads,
        duration: Duration::from_secs(duration.secs()),
        seed: args.seed.unwrap_or_else(drawn),
        sites: listed,
        services,
        resolver: args.resolver.as_deref().map(resolver).transpose()?,
        scope: if args.lab { Scope::Lab } else { Scope::Internet },
        unlimited: args.lab && args.mode == Mode::Turbo,
        authorities,
        contact: args.contact.clone(),
    })
}

fn list<T>(
    file: &Path,
    option: &str,
    parse: impl Fn(&str) -> Result<Vec<T>, ListError>,
) -> anyhow::Result<Vec<T>> {
    let bytes = read(file, option, sites::MAX_LIST as u64)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| fail(Exit::Input, format!("{option} {}: the file is not UTF-8", file.display())))?;
    parse(&text).map_err(|e| fail(Exit::Input, format!("{option} {}: {e}", file.display())))
}

fn read(file: &Path, option: &str, limit: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let wrong = |what: String| fail(Exit::Input, format!("{option} {}: {what}", file.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|f| f.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|e| wrong(e.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(wrong(format!("the file is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// An address with or without a port; 53 without.
fn resolver(text: &str) -> anyhow::Result<SocketAddr> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|addr| SocketAddr::new(addr, 53)))
        .map_err(|_| {
            fail(Exit::Input, format!("--resolver: '{text}' is no address such as 192.0.2.53 or [::1]:5353"))
        })
}

/// A seed for those who want none in particular: small, so that it is easily typed again.
fn drawn() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(std::process::id()) % 1_000_000
}

/// Why nothing is visited, with the way out.
fn refusal(error: VisitError, lab: bool) -> anyhow::Error {
    let way = match (&error, lab) {
        (VisitError::NoServer | VisitError::Silent(_) | VisitError::Helpless(_), true) => {
            "; start the lab's name server, or give its address with --resolver"
        }
        (VisitError::NoServer | VisitError::Silent(_) | VisitError::Helpless(_), false) => {
            "; this machine seems to be without internet: name another server with --resolver, or visit servers of \
             your own with --lab"
        }
        (VisitError::Foreign(_), _) => "; --lab visits nothing else",
        (VisitError::Authorities, _) => "; give --ca a file with at least one certificate",
        (VisitError::Bounds(_) | VisitError::Thread(_), _) => "",
    };
    let exit = match error {
        VisitError::Bounds(_) | VisitError::Foreign(_) | VisitError::Authorities => Exit::Input,
        _ => Exit::Failure,
    };
    fail(exit, format!("{error}{way}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_addresses() {
        for (text, expected) in [
            ("192.0.2.53", Some("192.0.2.53:53")),
            ("127.0.0.1:5353", Some("127.0.0.1:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]:5353", Some("[::1]:5353")),
            ("dns.example", None),
            ("", None),
        ] {
            assert_eq!(resolver(text).ok().map(|a| a.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn refusals_name_the_way_out() {
        let silent = |lab| refusal(VisitError::Silent("192.0.2.1:53".into()), lab).to_string();
        assert!(silent(false).contains("without internet") && silent(false).contains("--resolver"));
        assert!(silent(true).contains("the lab's name server"));
    }
}
