//! Networks of our own, made of network namespaces and veth pairs, and removed without a trace.
//!
//! The smallest is a pair ([`Range::create`]): a victim, and an outside that holds attackers and an ordinary client.
//!
//! ```text
//!  namespace aim-ID-outside                      namespace aim-ID-victim
//!  outside0  CLIENT, ATTACKERS[0..4]  ══ veth ══  victim0  VICTIM
//!            CLIENT6, ATTACKERS6[0..4]                     VICTIM6
//! ```
//!
//! Scenarios play in a [`network`] of three segments with a gateway between them ([`Range::network`]).
//!
//! No interface of a range ever exists in the host's own namespace, and there is no route out of it. Addresses are in
//! [`crate::address`].

mod daemon;
pub mod link;
pub mod network;
mod record;

pub use daemon::Daemon;
pub use network::Network;

use crate::address;
use crate::process::Identity;
use record::Record;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// Interface of the victim, inside its namespace.
pub const VICTIM_INTERFACE: &str = "victim0";
/// Interface of the outside, inside its namespace.
pub const OUTSIDE_INTERFACE: &str = "outside0";

/// One end of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The protected host.
    Victim,
    /// Everybody else.
    Outside,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Victim, Self::Outside];

    /// The word in the namespace's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Victim => "victim",
            Self::Outside => "outside",
        }
    }

    /// The interface inside the namespace.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Victim => VICTIM_INTERFACE,
            Self::Outside => OUTSIDE_INTERFACE,
        }
    }
}

impl AsRef<str> for Side {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

/// Longest name of a place, bytes.
const MAX_PLACE: usize = 24;

/// Whether a word can name a place: it becomes the last part of a namespace's name.
#[must_use]
pub fn is_place(word: &str) -> bool {
    (1..=MAX_PLACE).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && word.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Why there is no range, or why it could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// Network namespaces need privileges.
    #[error("network namespaces need root")]
    NotRoot,
    /// iproute2 is absent.
    #[error("the 'ip' command is missing; install iproute2")]
    NoIp,
    /// `ip` refused.
    #[error("ip {what} failed: {why}")]
    Ip {
        /// Its arguments.
        what: String,
        /// What it said.
        why: String,
    },
    /// The record of the range cannot be kept.
    #[error("{}: {source}", path.display())]
    State {
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such namespace in the range.
    #[error("the range has no place '{0}'")]
    NoPlace(String),
    /// A network that cannot be made.
    #[error("{0}")]
    Network(String),
    /// A program or thread could not be started inside the range.
    #[error("cannot start {what} in the range: {source}")]
    Start {
        /// What was to start.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A process survived SIGKILL.
    #[error("process {0} in the range does not end")]
    Stuck(u32),
}

/// A live range. Dropping it ends its processes and removes everything it made.
#[derive(Debug)]
pub struct Range {
    base: PathBuf,
    record: Mutex<Record>,
    id: String,
    scratch: PathBuf,
    namespaces: BTreeMap<String, File>,
}

/// Distinguishes ranges of one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Range {
    /// Makes a pair. Other ranges, of this process or others, do not matter.
    ///
    /// # Errors
    /// No root, no iproute2, or a step refused by the kernel; whatever had been made is removed again.
    pub fn create() -> Result<Self, RangeError> {
        let range = Self::empty(Side::ALL.map(|s| s.name().to_owned()).to_vec())?;
        range.lay_pair()?;
        Ok(range)
    }

    /// Makes a network of segments, see [`network`]. Other ranges, of this process or others, do not matter.
    ///
    /// # Errors
    /// As [`Range::create`]; or the network is not one that can be made.
    pub fn network(network: &Network) -> Result<Self, RangeError> {
        network.check().map_err(RangeError::Network)?;
        let range = Self::empty(network.places())?;
        network::lay(&range, network)?;
        Ok(range)
    }

    /// Namespaces without interfaces. Dropping it removes them.
    fn empty(places: Vec<String>) -> Result<Self, RangeError> {
        if !rustix::process::geteuid().is_root() {
            return Err(RangeError::NotRoot);
        }
        ip(&["-Version"], None)?;
        let base = record::base();
        let owner =
            Identity::own().map_err(|source| RangeError::State { path: "/proc/self".into(), source })?;
        let id = format!("{}-{}-{}", owner.pid, owner.start, NEXT.fetch_add(1, Ordering::Relaxed));
        let record = Record { id: id.clone(), owner, places, kept: false, processes: Vec::new() };
        // Once more if another range's end has just removed the empty directory.
        let write = || record::prepare(&base).and_then(|()| record.write(&base));
        write().or_else(|_| write())?;
        match Self::add(&record, &base) {
            Ok(namespaces) => {
                Ok(Self { scratch: record.scratch(&base), base, record: Mutex::new(record), id, namespaces })
            }
            Err(e) => {
                if let Err(again) = record.destroy(&base) {
                    tracing::warn!(error = %again, "a half-made range could not be removed");
                }
                Err(e)
            }
        }
    }

    fn add(record: &Record, base: &Path) -> Result<BTreeMap<String, File>, RangeError> {
        let scratch = record.scratch(base);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&scratch)
            .map_err(|source| RangeError::State { path: scratch, source })?;
        let name = |place: &String| record::namespace(&record.id, place);
        let lines: String = record.places.iter().map(|p| format!("netns add {}\n", name(p))).collect();
        ip(&["-batch", "-"], Some(&lines))?;
        let open = |place: &String| {
            let path = Path::new("/run/netns").join(name(place));
            let file = File::open(&path).map_err(|source| RangeError::State { path, source })?;
            Ok((place.clone(), file))
        };
        record.places.iter().map(open).collect()
    }

    fn lay_pair(&self) -> Result<(), RangeError> {
        let outside = self.namespace(Side::Outside);
        let (victim_mac, outside_mac) =
            (address::mac(address::VICTIM_MAC), address::mac(address::OUTSIDE_MAC));
        let link = format!(
            "link add {VICTIM_INTERFACE} address {victim_mac} type veth \
             peer name {OUTSIDE_INTERFACE} address {outside_mac} netns {outside}\n"
        );
        let silent = address::SILENT;
        self.batch(
            Side::Victim,
            &(link
                + &setup(Side::Victim, &[address::VICTIM.into(), address::VICTIM6.into()])
                // Answers to the silent address go out and are dropped there, instead of waiting for ARP.
                + &format!("neigh replace {silent} lladdr {outside_mac} dev {VICTIM_INTERFACE} nud permanent\n")),
        )?;
        let outside_addresses: Vec<IpAddr> = [address::CLIENT.into(), address::CLIENT6.into()]
            .into_iter()
            .chain(address::ATTACKERS.map(IpAddr::from))
            .chain(address::ATTACKERS6.map(IpAddr::from))
            .collect();
        self.batch(Side::Outside, &setup(Side::Outside, &outside_addresses))
    }

    /// Runs `ip` on a namespace, with one command in each line.
    fn batch(&self, place: impl AsRef<str>, lines: &str) -> Result<(), RangeError> {
        ip(&["-n", &self.namespace(place), "-batch", "-"], Some(lines))
    }

    /// Its name among ranges: digits and dashes.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The namespace's name.
    #[must_use]
    pub fn namespace(&self, place: impl AsRef<str>) -> String {
        record::namespace(&self.id, place.as_ref())
    }

    fn handle(&self, place: &str) -> Result<&File, RangeError> {
        self.namespaces.get(place).ok_or_else(|| RangeError::NoPlace(place.to_owned()))
    }

    /// A directory of the range's own (mode 0700) for configuration, sockets and logs; goes with the range.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Runs `f` in a namespace, in a thread of its own, and returns what it returned. Sockets it opens, and threads
    /// and processes it starts, stay in that namespace. A panic in `f` continues here.
    ///
    /// # Errors
    /// The thread or its move into the namespace failed.
    pub fn enter<T: Send>(
        &self,
        place: impl AsRef<str>,
        f: impl FnOnce() -> T + Send,
    ) -> Result<T, RangeError> {
        let start = |source| RangeError::Start { what: "a thread".into(), source };
        let place = place.as_ref();
        let namespace = self.handle(place)?;
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name(format!("lab-{place}"))
                .spawn_scoped(scope, || {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                    Ok(f())
                })
                .map_err(start)?;
            match thread.join() {
                Ok(result) => result.map_err(|e: rustix::io::Errno| start(e.into())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// As [`Range::enter`], without waiting: the thread's result comes from its handle.
    ///
    /// # Errors
    /// The thread could not be started. A failed move into the namespace is the thread's own result.
    pub fn spawn<T: Send + 'static>(
        &self,
        place: impl AsRef<str>,
        name: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<io::Result<T>>, RangeError> {
        let start = |source| RangeError::Start { what: name.to_owned(), source };
        let namespace = self.handle(place.as_ref())?.try_clone().map_err(start)?;
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(f())
            })
            .map_err(start)
    }

    /// A command that runs in a namespace, by `ip netns exec` (which also gives it the namespace's own `/sys`).
    /// For programs that are waited for; see [`Range::daemon`] for ones that stay.
    pub fn command(&self, place: impl AsRef<str>, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(place)]).arg(program);
        command
    }

    /// Starts a program that stays, with `args`, after `configure` has set its output and environment. Its standard
    /// input is empty. It is on record before its first instruction runs, so that even a kill -9 at any moment leaves
    /// nothing the next [`sweep`] would miss.
    ///
    /// # Errors
    /// The program could not be started or recorded.
    pub fn daemon<A: AsRef<OsStr>>(
        &self,
        place: impl AsRef<str>,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Daemon, RangeError> {
        let what = program.as_ref().to_string_lossy().into_owned();
        let start = |source| RangeError::Start { what: what.clone(), source };
        // The shell waits for one line, which comes once its pid (which the program keeps) is on record; if this
        // process dies first, it reads end of file and leaves.
        let mut command = self.command(place, "sh");
        command.args(["-c", r#"read -r go && exec "$@" </dev/null"#, "sh"]).arg(&program).args(args);
        configure(&mut command);
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(start)?;
        let recorded = Identity::of(child.id()).map_err(start).and_then(|identity| {
            self.remember(identity)?;
            match child.stdin.take() {
                Some(mut gate) => gate.write_all(b"go\n").map_err(start),
                None => Err(start(io::ErrorKind::BrokenPipe.into())),
            }?;
            Ok(identity)
        });
        match recorded {
            Ok(identity) => Ok(Daemon::new(child, identity)),
            Err(e) => {
                // It may have ended by itself, which is what is wanted.
                let _ = child.kill();
                let _ = child.wait();
                Err(e)
            }
        }
    }

    fn remember(&self, identity: Identity) -> Result<(), RangeError> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.processes.retain(|p| p.is_alive());
        record.processes.push(identity);
        record.write(&self.base)
    }

    /// Waits until TCP connections to `addr` from the outside succeed, at most `patience`; says whether they do.
    ///
    /// # Errors
    /// As [`Range::enter`].
    pub fn wait_for_port(&self, addr: SocketAddr, patience: std::time::Duration) -> Result<bool, RangeError> {
        self.enter(Side::Outside, || {
            let begun = std::time::Instant::now();
            loop {
                if TcpStream::connect_timeout(&addr, std::time::Duration::from_millis(200)).is_ok() {
                    return true;
                }
                if begun.elapsed() >= patience {
                    return false;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        })
    }

    /// Leaves the range, with everything that runs in it, when this process ends; [`remove_kept`] removes it. Handles
    /// of its programs are to be left too ([`Daemon::leave`]).
    ///
    /// # Errors
    /// The record cannot be written; the range is then removed.
    pub fn keep(self) -> Result<(), RangeError> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.kept = true;
        record.write(&self.base).inspect_err(|_| record.kept = false)
    }

    /// Removes the range now, and says what could not be removed. Dropping does the same, and logs.
    ///
    /// # Errors
    /// What could not be removed; it stays on record for the next [`sweep`].
    pub fn destroy(self) -> Result<(), RangeError> {
        self.remove()
    }

    fn remove(&self) -> Result<(), RangeError> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if record.kept {
            return Ok(());
        }
        if record.path(&self.base).exists() { record.destroy(&self.base) } else { Ok(()) }
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        if let Err(e) = self.remove() {
            tracing::warn!(error = %e, "the range could not be removed; the next start will try again");
        }
    }
}

/// Removes what ended processes left of their ranges: programs, namespaces, files. Ranges whose owner runs are left
/// alone, those that were to be kept too, and so is everything that no range has on record. Returns the ids removed;
/// without root, who alone can have left any, none.
///
/// # Errors
/// The first leftover that could not be removed.
pub fn sweep() -> Result<Vec<String>, RangeError> {
    remove(|record| !record.kept && !record.owner.is_alive())
}

/// Removes the range of this id that was kept, or all that were. Returns their ids.
///
/// # Errors
/// The first that could not be removed.
pub fn remove_kept(id: Option<&str>) -> Result<Vec<String>, RangeError> {
    remove(|record| record.kept && id.is_none_or(|id| id == record.id))
}

/// A range that stays without its owner.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Its namespaces in full: `ip netns exec NAME …` runs a command there.
    pub namespaces: Vec<String>,
}

/// The ranges that were kept.
///
/// # Errors
/// The records cannot be read.
pub fn kept() -> Result<Vec<Kept>, RangeError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Vec::new());
    }
    let records = record::all(&record::base())?;
    let name = |id: &str, places: &[String]| places.iter().map(|p| record::namespace(id, p)).collect();
    let kept = records.into_iter().filter(|r| r.kept);
    Ok(kept.map(|r| Kept { namespaces: name(&r.id, &r.places), id: r.id }).collect())
}

fn remove(which: impl Fn(&Record) -> bool) -> Result<Vec<String>, RangeError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Vec::new());
    }
    let base = record::base();
    let mut removed = Vec::new();
    for record in record::all(&base)?.into_iter().filter(|r| which(r)) {
        record.destroy(&base)?;
        removed.push(record.id);
    }
    Ok(removed)
}

/// Whether the calling thread is inside a range: its network namespace is one of those named `aim-…`.
#[must_use]
pub fn is_inside() -> bool {
    let Ok(here) = std::fs::metadata("/proc/thread-self/ns/net") else { return false };
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return false };
    entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("aim-"))
        .filter_map(|e| std::fs::metadata(e.path()).ok())
        .any(|m| m.ino() == here.ino() && m.dev() == here.dev())
}

/// `ip -batch` lines that bring up one side.
fn setup(side: Side, addresses: &[IpAddr]) -> String {
    let dev = side.interface();
    let mut lines = String::new();
    for addr in addresses {
        // Duplicate address detection would keep IPv6 addresses unusable for a second.
        lines += &match addr {
            IpAddr::V4(a) => format!("addr add {a}/{} dev {dev}\n", address::PREFIX_LEN),
            IpAddr::V6(a) => format!("addr add {a}/{} dev {dev} nodad\n", address::PREFIX_LEN6),
        };
    }
    lines + &format!("link set lo up\nlink set {dev} up\n")
}

/// Runs `ip`, with `input` on its standard input.
fn ip(args: &[&str], input: Option<&str>) -> Result<(), RangeError> {
    let what =
        || input.map_or_else(|| args.join(" "), |lines| format!("{}: {}", args.join(" "), lines.trim_end()));
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => RangeError::NoIp,
        _ => RangeError::Ip { what: what(), why: source.to_string() },
    };
    let mut child = Command::new("ip")
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let (Some(mut stdin), Some(lines)) = (child.stdin.take(), input) {
        // A broken pipe means it has already failed, and its message says why.
        let _ = stdin.write_all(lines.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(RangeError::Ip { what: what(), why: if why.is_empty() { output.status.to_string() } else { why } })
}
