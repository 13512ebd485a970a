//! A protected host in a range: its mounts, its services, the agent on it, and tools that attack it.

use lab::range::{Daemon, Range, RangeError, Side, VICTIM_INTERFACE};
use serde_json::Value;
use server::control::{Request, call, socket_in};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_autoinmune");
/// Longest wait for anything that should take a second or two; machines may be slow and busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// An unprivileged user and group, by number: `nobody` on Debian.
const NOBODY: u32 = 65534;

/// Tests that load two processors with attacks come one after the other, so that none starves another's clients.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until `look` finds something.
pub(crate) fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The first of `programs` that is not installed.
fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    programs.iter().copied().find(|p| !folders.iter().any(|f| Path::new(f).join(p).exists()))
}

/// Whether `test` can run here; if not, it says why.
pub(crate) fn possible(test: &str, programs: &[&str]) -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "needs root".to_owned()
    } else if let Some(program) = missing(programs) {
        format!("needs the program '{program}'")
    } else {
        return true;
    };
    println!("skipped: {test}: {why}");
    false
}

/// A range with the victim's mounts: `ip netns exec` gives every program a `/sys` of its own, in which pins would end
/// with the program. One process holds mounts that all programs of the victim share, as on a real host.
pub(crate) struct Host {
    holder: Daemon,
    pub(crate) range: Range,
    _turn: MutexGuard<'static, ()>,
}

impl Host {
    /// A host, or `None` and a plain line where this machine cannot have one.
    pub(crate) fn new(test: &str, programs: &[&str]) -> Option<Self> {
        if !possible(test, &[&["ip", "nsenter", "mount", "ping"], programs].concat()) {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let range = match Range::create() {
            Ok(range) => range,
            Err(RangeError::Ip { what, why }) if what.starts_with("netns add") => {
                println!("skipped: {test}: no network namespaces here: {why}");
                return None;
            }
            Err(e) => panic!("{test}: {e}"),
        };
        let ready = range.scratch().join("mounted");
        let script = "mount -t bpf bpf /sys/fs/bpf; echo $? > \"$0\"; exec sleep 900";
        let holder = range
            .daemon(Side::Victim, "sh", ["-c", script, ready.to_str().expect("a plain path")], |_| ())
            .expect("the holder of mounts starts");
        until("the mounts", PATIENCE, || std::fs::read_to_string(&ready).ok().filter(|s| s == "0\n"));
        Some(Self { holder, range, _turn: turn })
    }

    /// A file in the range's directory, which goes with the range.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.range.scratch().join(name)
    }

    /// A configuration by which a detector keeps what it knows here, and not on this machine.
    pub(crate) fn detector_config(&self) -> String {
        let config = self.path("detector.toml");
        let text = format!("[paths]\nstate_dir = {:?}\n", self.path("detector"));
        std::fs::write(&config, text).expect("written");
        config.to_str().expect("a plain path").to_owned()
    }

    /// Arguments of `nsenter` that lead to the victim's mounts.
    fn entry(&self) -> [String; 4] {
        [format!("--target={}", self.holder.identity().pid), "--mount".into(), "--net".into(), "--".into()]
    }

    /// A command on the victim, with its mounts.
    pub(crate) fn victim(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.entry()).arg(program).args(args).stdin(Stdio::null());
        command
    }

    /// A command outside.
    pub(crate) fn outside(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.range.command(Side::Outside, program);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// A tool outside that runs until it is done or dropped.
    pub(crate) fn tool(&self, program: &str, args: &[&str]) -> Tool {
        let log = self.path(&format!(
            "tool-{program}-{}.log",
            TOOLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
        ));
        let output = File::create(&log).expect("a log");
        let child = self
            .outside(program, args)
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        Tool { name: program.to_owned(), child, log }
    }

    /// A long-running program on the victim.
    pub(crate) fn daemon(&self, program: &str, args: &[&str], log: &Path) -> Daemon {
        let output = File::options().create(true).append(true).open(log).expect("a log");
        let errors = output.try_clone().expect("a second handle");
        let entry = self.entry();
        let all: Vec<&str> =
            entry.iter().map(String::as_str).chain([program]).chain(args.iter().copied()).collect();
        self.range
            .daemon(Side::Victim, "nsenter", all, |command| {
                command.stdout(output).stderr(errors).env("NO_COLOR", "1").env_remove("AUTOINMUNE_LOG");
            })
            .unwrap_or_else(|e| panic!("{program}: {e}"))
    }

    /// Whether the victim answers an echo request from `source`.
    pub(crate) fn answers(&self, source: impl Into<IpAddr>) -> bool {
        let source = source.into();
        let target: IpAddr =
            if source.is_ipv4() { lab::address::VICTIM.into() } else { lab::address::VICTIM6.into() };
        let (source, target) = (source.to_string(), target.to_string());
        let args = ["-n", "-q", "-c", "1", "-W", "1", "-I", &source, &target];
        self.outside("ping", &args).stdout(Stdio::null()).status().expect("ping runs").success()
    }

    /// Waits until echo requests from `source` are answered, or until they are not.
    pub(crate) fn wait_for_answer(&self, source: impl Into<IpAddr>, answer: bool, what: &str) {
        let source = source.into();
        until(what, PATIENCE, || (self.answers(source) == answer).then_some(()));
    }

    /// What is attached and pinned on the victim; empty if nothing is.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let link =
            self.victim("ip", &["-d", "link", "show", "dev", VICTIM_INTERFACE]).output().expect("ip runs");
        let link = String::from_utf8_lossy(&link.stdout).into_owned();
        assert!(link.contains(VICTIM_INTERFACE), "{link}");
        if link.contains("xdp") {
            found.push(link);
        }
        let process = Path::new("/proc").join(self.holder.identity().pid.to_string());
        let pins = process.join("root").join("sys/fs/bpf/autoinmune");
        for namespace in std::fs::read_dir(pins).into_iter().flatten().flatten() {
            found.push(namespace.path().display().to_string());
        }
        // Only bpftool shows tcx; where it is missing, the missing pins have to do: links end with their last holder.
        if missing(&["bpftool"]).is_none() {
            let net = self.victim("bpftool", &["-j", "net"]).output().expect("bpftool runs");
            let net: Value = serde_json::from_slice(&net.stdout).unwrap_or_default();
            for hook in ["xdp", "tc"] {
                found.extend(net[0][hook].as_array().into_iter().flatten().map(Value::to_string));
            }
        }
        found
    }

    /// One HTTP GET to the agent's API: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.get_at("127.0.0.1:8800", path)
    }

    /// One HTTP GET to a service on the victim: status and body.
    pub(crate) fn get_at(&self, addr: &str, path: &str) -> (u16, String) {
        self.range.enter(Side::Victim, || get(addr, path)).expect("the victim's namespace")
    }

    /// Starts the agent on the victim's interface and waits until it answers.
    pub(crate) fn agent(&self, config: &str, args: &[&str]) -> Agent {
        self.agent_as("run", config, args)
    }

    /// As [`Host::agent`], by another command.
    pub(crate) fn agent_as(&self, command: &str, config: &str, args: &[&str]) -> Agent {
        let mut agent = self.launch(command, config, args);
        let begun = Instant::now();
        while call(&agent.socket(), &Request::Ping).is_err() {
            assert!(
                agent.daemon.try_wait().expect("its state").is_none(),
                "the agent ended:\n{}",
                agent.log()
            );
            assert!(begun.elapsed() < PATIENCE, "the agent does not answer:\n{}", agent.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        agent
    }

    /// As [`Host::agent_as`], without waiting.
    fn launch(&self, command: &str, config: &str, args: &[&str]) -> Agent {
        let file = self.path("config.toml");
        std::fs::write(&file, config).expect("the configuration is written");
        let (run, state) = (self.path("run"), self.path("state"));
        let (eve, log) = (self.path("eve.json"), self.path("agent.log"));
        let text = |p: &Path| p.to_str().expect("a plain path").to_owned();
        let own = [text(&file), text(&run), text(&state), text(&eve)];
        let [file_arg, run_arg, state_arg, eve_arg] = own.each_ref().map(String::as_str);
        let mut all = vec![command, "--config", file_arg, "--interface", VICTIM_INTERFACE];
        all.extend(["--run-dir", run_arg, "--state-dir", state_arg, "--eve", eve_arg]);
        all.extend(args);
        let daemon = self.daemon(BINARY, &all, &log);
        Agent { daemon, config: file, run, eve, log }
    }
}

static TOOLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// A tool under way.
pub(crate) struct Tool {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Tool {
    /// Waits until it is done; whether it was successful, and what it printed.
    pub(crate) fn finish(mut self, patience: Duration) -> (bool, String) {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("its state") {
                Some(status) => break status,
                None => assert!(begun.elapsed() < patience, "{} does not end:\n{}", self.name, self.said()),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        (status.success(), self.said())
    }

    /// What it printed.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // The whole process group: some tools work in child processes.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
            && matches!(self.child.try_wait(), Ok(None))
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The agent on a victim.
pub(crate) struct Agent {
    pub(crate) daemon: Daemon,
    pub(crate) config: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) eve: PathBuf,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(&self.run)
    }

    /// Everything it wrote to its standard error, and all agents before it in this range.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a command of the binary against it.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        let run = self.run.to_str().expect("a plain path");
        Command::new(BINARY).args(args).args(["--run-dir", run]).output().expect("the binary runs")
    }

    /// As [`Agent::command`], which must succeed and print JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.command(&[args, &["-o", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}\n{}", text(&output.stderr), self.log());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&output.stdout)))
    }

    /// As [`Agent::command`], which must fail with `code` and one sentence; returns that.
    pub(crate) fn refusal(&self, args: &[&str], code: i32) -> String {
        one_sentence(&self.command(args), code)
    }

    /// The block of exactly this address, if there is one.
    pub(crate) fn block(&self, addr: impl Into<IpAddr>) -> Option<Value> {
        let addr = addr.into();
        let name = format!("{addr}/{}", if addr.is_ipv4() { 32 } else { 128 });
        let bans = self.json(&["bans"]);
        let list = bans.as_array().expect("a list").iter();
        list.cloned().into_iter().find(|b| b["prefix"] == addr.to_string() || b["prefix"] == name)
    }

    /// Open incidents of one class and actor.
    pub(crate) fn incident(&self, class: &str, actor: impl Into<IpAddr>) -> Option<Value> {
        let actor = actor.into().to_string();
        let all = call(&self.socket(), &Request::Incidents).expect("an answer");
        let mut list = all.as_array().expect("a list").iter();
        list.find(|i| i["class"] == class && i["actor"]["addr"] == actor.as_str()).cloned()
    }

    /// Waits for incident and block of an attacker.
    pub(crate) fn wait_for_block(&self, class: &str, actor: impl Into<IpAddr>) -> (Value, Value) {
        let actor = actor.into();
        let begun = Instant::now();
        loop {
            // The block first: its incident is then there.
            let block = self.block(actor);
            let incident = self.incident(class, actor);
            if let (Some(block), Some(incident)) = (block, incident) {
                return (incident, block);
            }
            assert!(begun.elapsed() < PATIENCE, "no {class} by {actor} was blocked:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Events written so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let file = std::fs::read_to_string(&self.eve).unwrap_or_default();
        // The last line may be half written.
        let whole = file.rfind('\n').map_or("", |end| &file[..end]);
        whole.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }

    /// Waits for an event.
    pub(crate) fn wait_for_event(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(what, PATIENCE, || self.events().into_iter().find(&is))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.daemon.identity().pid).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), signal).expect("a signal is sent");
    }

    /// Waits for a line of the log with all of `words` after the first `skip` bytes of it.
    pub(crate) fn wait_for_log(&self, skip: usize, words: &[&str]) {
        until(&format!("{words:?} in the log"), PATIENCE, || {
            let log = self.log();
            log.get(skip..)?.lines().any(|l| words.iter().all(|w| l.contains(w))).then_some(())
        });
    }

    /// Ends it with SIGTERM, which must go in order.
    pub(crate) fn stop(mut self) {
        let status = self.daemon.end(PATIENCE).expect("it ends");
        assert!(status.success(), "{status}:\n{}", self.log());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.daemon.child().kill().expect("kill -9");
        self.daemon.child().wait().expect("it is reaped");
    }
}

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks exit code and that the message is one line of plain words; returns it.
pub(crate) fn one_sentence(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("autoinmune: ")).collect();
    assert_eq!(lines.len(), 1, "one sentence: {said}");
    assert!(!said.contains("panicked") && !said.contains("Err("), "{said}");
    lines[0].to_owned()
}

/// One HTTP GET: status and body.
pub(crate) fn get(addr: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap_or_else(|e| panic!("{addr}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// The binary where an unprivileged user can run it, in a directory that user can write to; removed when dropped.
pub(crate) struct Unprivileged {
    pub(crate) dir: PathBuf,
}

impl Unprivileged {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("autoinmune-e2e-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::copy(BINARY, dir.join("autoinmune")).expect("a copy of the binary");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).expect("a new owner");
        }
        Self { dir }
    }

    /// The binary as an unprivileged user, without groups and capabilities.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let binary = self.dir.join("autoinmune");
        let mut command = if rustix::process::geteuid().is_root() && missing(&["setpriv"]).is_none() {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
            command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(binary);
            command
        } else {
            Command::new(binary)
        };
        command.args(args).current_dir(&self.dir).stdin(Stdio::null()).env("NO_COLOR", "1");
        command.env_remove("AUTOINMUNE_LOG");
        command
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
