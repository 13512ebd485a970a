//! The control socket over real Unix sockets, with an agent that only keeps a list of bans.

use serde_json::{Value, json};
use server::control::{AgentError, CallError, Code, ControlError, Limits, MAX_REQUEST, call, call_as};
use server::view::BlockView;
use server::{Agent, Control, Request};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Stands in for the agent: remembers bans, and on `Reload` waits to be let go.
#[derive(Default)]
struct Double {
    bans: Mutex<BTreeMap<String, BlockView>>,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Agent for Double {
    fn handle(&self, request: Request) -> Result<Value, AgentError> {
        let mut bans = self.bans.lock().expect("the lock");
        match request {
            Request::Ping => Ok(json!("pong")),
            Request::Ban { prefix, why, .. } if prefix.starts_with("127.") => Err(AgentError::new(
                Code::Refused,
                format!("{prefix} is on the allowlist (loopback), so {why:?} changes nothing"),
            )),
            Request::Ban { prefix, for_seconds, why } => {
                let block = BlockView {
                    prefix: prefix.clone(),
                    remaining_seconds: Duration::from_secs(for_seconds).as_secs_f64(),
                    reason: why,
                    owner: "operator".into(),
                    ..BlockView::default()
                };
                bans.insert(prefix, block.clone());
                Ok(json!(block))
            }
            Request::Unban { prefix } => bans
                .remove(&prefix)
                .map(|b| json!(b))
                .ok_or_else(|| AgentError::new(Code::NotFound, format!("{prefix} is not blocked"))),
            Request::Bans => Ok(json!(bans.values().collect::<Vec<_>>())),
            Request::Reload => {
                drop(bans);
                let gate = self.gate.lock().expect("the lock").take();
                if let Some(gate) = gate {
                    let _ = gate.recv_timeout(Duration::from_secs(10));
                }
                Ok(json!("reloaded"))
            }
            other => Err(AgentError::new(Code::Internal, format!("{other:?} is not for this double"))),
        }
    }
}

/// A private directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("autoinmune-control-{}-{serial}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).expect("a directory");
        Self(dir)
    }

    fn socket(&self) -> PathBuf {
        server::control::socket_in(&self.0)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(path: &Path) -> Control {
    Control::start(path, Arc::new(Double::default())).expect("starts")
}

/// Sends bytes as they are and reads reply lines until the agent hangs up.
fn raw(path: &Path, bytes: &[u8]) -> Vec<Value> {
    let mut stream = UnixStream::connect(path).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let lines = BufReader::new(stream).lines();
    lines.map_while(Result::ok).map(|l| serde_json::from_str(&l).expect("a JSON line")).collect()
}

fn ban(prefix: &str) -> Request {
    Request::Ban { prefix: prefix.into(), for_seconds: 60, why: "testing".into() }
}

#[test]
fn bans_go_there_and_back() {
    let dir = Dir::new();
    let control = start(&dir.socket());
    let path = control.path();
    assert_eq!(call(path, &Request::Ping).expect("answers"), json!("pong"));
    let block: BlockView = call_as(path, &ban("192.0.2.0/24")).expect("bans");
    assert_eq!((block.prefix.as_str(), block.reason.as_str()), ("192.0.2.0/24", "testing"));
    let bans: Vec<BlockView> = call_as(path, &Request::Bans).expect("lists");
    assert_eq!(bans, [block]);
    call(path, &Request::Unban { prefix: "192.0.2.0/24".into() }).expect("lifts");
    let again = call(path, &Request::Unban { prefix: "192.0.2.0/24".into() }).expect_err("gone");
    assert!(matches!(&again, CallError::Refused { code: Code::NotFound, .. }), "{again:?}");
    assert_eq!(again.to_string(), "192.0.2.0/24 is not blocked");
    let refused = call(path, &ban("127.0.0.1")).expect_err("refused");
    assert!(matches!(&refused, CallError::Refused { code: Code::Refused, .. }), "{refused:?}");
    let odd = call_as::<Vec<BlockView>>(path, &Request::Ping).expect_err("not a list");
    assert!(matches!(odd, CallError::Protocol { .. }), "{odd:?}");
}

#[test]
fn several_requests_on_one_connection() {
    let dir = Dir::new();
    let control = start(&dir.socket());
    let replies = raw(
        control.path(),
        b"{\"op\":\"ping\"}\n\n  \n{\"op\":\"bans\"}\n{\"op\":\"nonsense\"}\n{\"op\":\"ping\"}",
    );
    assert_eq!(replies.len(), 4, "empty lines get no reply: {replies:?}");
    assert_eq!(replies[0], json!({"ok": true, "data": "pong"}));
    assert_eq!(replies[1], json!({"ok": true, "data": []}));
    assert_eq!((&replies[2]["ok"], &replies[2]["code"]), (&json!(false), &json!("bad_request")));
    assert_eq!(replies[3]["ok"], true, "a wrong request ends nothing, and the last newline may be missing");
}

#[test]
fn malformed_requests_are_told_so() {
    let dir = Dir::new();
    let control = start(&dir.socket());
    let check = |bytes: &[u8], code: &str| {
        let replies = raw(control.path(), bytes);
        assert_eq!(replies.len(), 1, "{replies:?}");
        assert_eq!(replies[0]["code"], code, "{replies:?}");
        assert!(replies[0]["error"].as_str().is_some_and(|e| !e.is_empty()));
    };
    check(b"hello\n", "bad_request");
    check(b"\x00\xff\xfe\n", "bad_request");
    check(b"{\"op\":\"ban\"}\n", "bad_request");
    check(b"{\"op\":\"ban\",\"prefix\":\"1.2.3.4\",\"for_seconds\":0,\"why\":\"\"}\n", "bad_request");
    check(b"{\"op\":\"ban\",\"prefix\":\"1.2.3.4\",\"for_seconds\":1e9,\"why\":\"\"}\n", "bad_request");
    check("[".repeat(10_000).as_bytes(), "bad_request");
    let fits = [b" ".repeat(MAX_REQUEST - 15), b"{\"op\":\"nope\"}\n".to_vec()].concat();
    check(&fits, "bad_request");
    check(&b"a".repeat(MAX_REQUEST), "too_large");
    check(&b"a".repeat(10 * MAX_REQUEST), "too_large");
    assert_eq!(raw(control.path(), b""), Vec::<Value>::new());
    assert_eq!(call(control.path(), &Request::Ping).expect("goes on"), json!("pong"));
}

#[test]
fn slow_and_idle_callers_are_hung_up_on() {
    let dir = Dir::new();
    let limits = Limits { read: Duration::from_millis(300), ..Limits::default() };
    let control = Control::start_with(&dir.socket(), Arc::new(Double::default()), limits).expect("starts");
    let mut drip = UnixStream::connect(control.path()).expect("connects");
    let begun = Instant::now();
    for byte in b"{\"op\":\"ping\"                                                  " {
        if drip.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut reply = String::new();
    let _ = drip.read_to_string(&mut reply);
    assert!(reply.contains("\"timeout\""), "{reply}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut idle = UnixStream::connect(control.path()).expect("connects");
    idle.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    assert_eq!(idle.read(&mut [0; 8]).expect("ends in time"), 0);
}

#[test]
fn too_many_callers_are_told_to_come_back() {
    let dir = Dir::new();
    let limits = Limits { callers: 2, ..Limits::default() };
    let control = Control::start_with(&dir.socket(), Arc::new(Double::default()), limits).expect("starts");
    let mut held: Vec<UnixStream> = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(control.path()).expect("connects");
        stream.write_all(b"{\"op\":\"ping\"}\n").expect("writes");
        assert!(stream.read(&mut [0; 256]).expect("reads") > 0, "it is being served");
        held.push(stream);
    }
    let busy = call(control.path(), &Request::Ping).expect_err("busy");
    assert!(matches!(busy, CallError::Refused { code: Code::Busy, .. }), "{busy:?}");
    drop(held);
    let end = Instant::now() + Duration::from_secs(5);
    while call(control.path(), &Request::Ping).is_err() {
        assert!(Instant::now() < end, "a place becomes free");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_socket_is_closed_to_others() {
    let dir = Dir::new();
    let run = dir.0.join("run/deep");
    let control = start(&server::control::socket_in(&run));
    let mode = |p: &Path| std::fs::metadata(p).expect("metadata").mode() & 0o7777;
    assert_eq!(mode(control.path()), 0o600);
    assert_eq!(mode(&run), 0o700);
    assert_eq!(mode(&dir.0), 0o700);
}

#[test]
fn a_directory_open_to_others_is_refused_and_left_alone() {
    let dir = Dir::new();
    for mode in [0o755, 0o701, 0o777, 0o1777, 0o770] {
        std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let error = Control::start(&dir.socket(), Arc::new(Double::default())).expect_err("refused");
        assert!(matches!(&error, ControlError::Directory { .. }), "{error:?}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(std::fs::metadata(&dir.0).expect("metadata").mode() & 0o7777, mode);
        assert!(!dir.socket().exists());
    }
    let file = dir.0.join("file");
    std::fs::write(&file, "x").expect("writes");
    let error = Control::start(&file.join("s"), Arc::new(Double::default())).expect_err("refused");
    assert!(matches!(error, ControlError::Directory { .. }), "{error:?}");
}

#[test]
fn a_second_instance_is_refused_and_the_first_goes_on() {
    let dir = Dir::new();
    let control = start(&dir.socket());
    let error = Control::start(&dir.socket(), Arc::new(Double::default())).expect_err("running");
    assert!(matches!(&error, ControlError::AlreadyRunning(_)), "{error:?}");
    assert!(error.to_string().contains("already running"), "{error}");
    assert_eq!(call(control.path(), &Request::Ping).expect("goes on"), json!("pong"));
}

#[test]
fn instances_starting_at_once_leave_one_running() {
    let dir = Dir::new();
    drop(UnixListener::bind(dir.socket()).expect("a stale socket"));
    let path = dir.socket();
    let started: Vec<Control> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Control::start(&path, Arc::new(Double::default())).ok())).collect();
        all.into_iter().filter_map(|t| t.join().expect("no panic")).collect()
    });
    assert_eq!(started.len(), 1);
    assert_eq!(call(&path, &Request::Ping).expect("answers"), json!("pong"));
}

#[test]
fn a_stale_socket_is_replaced_and_other_files_are_not() {
    let dir = Dir::new();
    drop(UnixListener::bind(dir.socket()).expect("binds"));
    assert!(dir.socket().exists(), "it is left behind");
    let error = call(&dir.socket(), &Request::Ping).expect_err("nobody");
    assert!(matches!(error, CallError::NotRunning(_)), "{error:?}");
    let control = start(&dir.socket());
    assert_eq!(call(control.path(), &Request::Ping).expect("answers"), json!("pong"));
    let other = dir.0.join("notes.txt");
    std::fs::write(&other, "mine").expect("writes");
    let error = Control::start(&other, Arc::new(Double::default())).expect_err("in the way");
    assert!(matches!(error, ControlError::NotASocket(_)), "{error:?}");
    assert_eq!(std::fs::read_to_string(&other).expect("still there"), "mine");
    let long = dir.0.join("x".repeat(120));
    let error = Control::start(&long, Arc::new(Double::default())).expect_err("too long");
    assert!(matches!(error, ControlError::TooLong(_)), "{error:?}");
}

#[test]
fn without_an_agent_the_way_out_is_told() {
    let dir = Dir::new();
    let error = call(&dir.socket(), &Request::Status).expect_err("nobody");
    let expected =
        format!("no agent answers at {}; start one with `sudo autoinmune run`", dir.socket().display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn stopping_ends_waiting_callers_and_lets_a_request_finish() {
    let dir = Dir::new();
    let (open, gate) = mpsc::channel();
    let double = Arc::new(Double { gate: Mutex::new(Some(gate)), ..Double::default() });
    let control = Control::start(&dir.socket(), Arc::clone(&double) as Arc<dyn Agent>).expect("starts");
    let path = control.path().to_path_buf();
    let idle = UnixStream::connect(&path).expect("connects");
    let asked = {
        let path = path.clone();
        std::thread::spawn(move || call(&path, &Request::Reload))
    };
    let end = Instant::now() + Duration::from_secs(5);
    while double.gate.lock().expect("the lock").is_some() {
        assert!(Instant::now() < end, "the request arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    let stopping = std::thread::spawn(move || control.stop());
    std::thread::sleep(Duration::from_millis(100));
    open.send(()).expect("the agent waits");
    stopping.join().expect("stops");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(asked.join().expect("no panic").expect("got its answer"), json!("reloaded"));
    assert_eq!((&idle).read(&mut [0; 8]).expect("ends"), 0);
    assert!(!path.exists());
    let again = start(&path);
    drop(again);
    assert!(!path.exists());
}

#[test]
fn other_users_are_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: other_users_are_refused: needs root to become another user");
        return;
    }
    let dir = Dir::new();
    let control = start(&dir.socket());
    let path = control.path().to_path_buf();
    // The credentials of one thread only: it ends with the closure.
    let as_nobody = |path: PathBuf| {
        std::thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("becomes another user");
            call(&path, &Request::Ping)
        })
        .join()
        .expect("no panic")
    };
    let error = as_nobody(path.clone()).expect_err("the directory is closed");
    assert!(matches!(&error, CallError::Permission(_)), "{error:?}");
    assert!(error.to_string().contains("run as root"), "{error}");
    // Were the file modes wide open, the kernel's word on the peer would still refuse.
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("chmod");
    let error = as_nobody(path.clone()).expect_err("not root");
    assert!(matches!(&error, CallError::Permission(_)), "{error:?}");
    assert_eq!(call(&path, &Request::Ping).expect("root is"), json!("pong"));
}
