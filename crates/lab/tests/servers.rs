//! The lab's servers: the clients people use are content with them, and the project's own parsers read all they say.

use lab::arguments::Arguments;
use lab::serve::{self, Running};
use lab::traffic::{Control, act};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use wire::message::{App, Message, Side, dissector};
use wire::packet::protocol;

fn start(name: &str) -> Running {
    let arguments = Arguments::parse(["address=127.0.0.1", "port=0"]).expect("words");
    serve::start(name, &arguments).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn port(server: &Running) -> u16 {
    server.addresses().first().expect("an address").port()
}

/// A folder that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("autoinmune-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is the system's to sweep.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a program says, or `None`, said aloud, if it is not installed.
fn tool(test: &str, program: &str, args: &[&str]) -> Option<String> {
    match Command::new(program).args(args).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            Some(said + &String::from_utf8_lossy(&output.stderr))
        }
        Err(_) => {
            println!("skipped: {test}: {program} is not installed");
            None
        }
    }
}

#[test]
fn dig_is_content_with_the_name_server() {
    let server = start("dns");
    let port = port(&server).to_string();
    // Arguments; what the answer contains.
    for (args, contains) in [
        (["www.example", "A"], "192.0.2.110"),
        (["www.example", "AAAA"], "2001:db8::110"),
        (["example", "MX"], "10 mail.example."),
        (["nothing.example", "A"], "NXDOMAIN"),
        (["a.t.example", "NULL"], "\\# 180"),
        // Truncated over UDP, and fetched over TCP.
        (["large.example", "TXT"], "Truncated, retrying in TCP mode"),
    ] {
        let all = ["@127.0.0.1", "-p", &port, "+ignore", "+noedns", "+tries=1"];
        let all: Vec<&str> = all.into_iter().filter(|a| *a != "+ignore").chain(args).collect();
        let Some(said) = tool("dig_is_content_with_the_name_server", "dig", &all) else { return };
        assert!(said.contains(contains), "{args:?}: {said}");
        assert!(!said.contains("Malformed"), "{args:?}: {said}");
    }
}

#[test]
fn curl_fetches_lists_and_stores_over_ftp_and_http() {
    let test = "curl_fetches_lists_and_stores_over_ftp_and_http";
    let (ftp, web) = (start("ftp"), start("web"));
    let base = format!("ftp://127.0.0.1:{}/", port(&ftp));
    let curl = |args: &[&str]| tool(test, "curl", &[&["-sS", "--max-time", "10"], args].concat());
    let Some(listing) = curl(&["-u", "lab:lab-password", &base]) else { return };
    assert!(listing.contains("budget-003.dat"), "{listing}");
    let scratch = Scratch::new("ftp");
    let local = scratch.0.join("file");
    std::fs::write(&local, "what was stored").expect("a file");
    let remote = format!("{base}stored.txt");
    curl(&["-u", "lab:lab-password", "-T", &local.display().to_string(), &remote]);
    assert_eq!(curl(&["-u", "anonymous:x", &remote]).as_deref(), Some("what was stored"));
    let refused = curl(&["-u", "lab:wrong", &base]).unwrap_or_default();
    assert!(refused.contains("denied"), "{refused}");

    let base = format!("http://127.0.0.1:{}", port(&web));
    let page = curl(&["-i", &format!("{base}/product?id=3")]).unwrap_or_default();
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("table no. 3"), "{page}");
    let sent = curl(&["--data-binary", "@/proc/self/exe", &format!("{base}/upload")]).unwrap_or_default();
    assert!(sent.ends_with(" bytes\n"), "{sent}");
}

#[test]
fn smbclient_lists_fetches_stores_and_renames() {
    let test = "smbclient_lists_fetches_stores_and_renames";
    let server = start("smb");
    let (port, scratch) = (port(&server).to_string(), Scratch::new("smb"));
    let (sent, got) = (scratch.0.join("sent"), scratch.0.join("got"));
    let content: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 / 8) as u8).collect();
    std::fs::write(&sent, &content).expect("a file");
    let script = format!(
        "ls budget*; put {} new.bin; rename new.bin newer.bin; get newer.bin {}; del newer.bin; allinfo budget-003.dat",
        sent.display(),
        got.display()
    );
    let args = ["-p", &port, "-N", "//127.0.0.1/share", "-c", &script];
    let Some(said) = tool(test, "smbclient", &args) else { return };
    assert!(said.contains("budget-015.dat") && !said.contains("NT_STATUS"), "{said}");
    assert_eq!(std::fs::read(&got).expect("the file came back"), content);
    let shares = tool(test, "smbclient", &["-p", &port, "-N", "-L", "127.0.0.1"]).unwrap_or_default();
    assert!(shares.contains("documents"), "{shares}");
    let refused = ["-p", &port, "-U", "administrator%x", "//127.0.0.1/share", "-c", "ls"];
    let refused = tool(test, "smbclient", &refused).unwrap_or_default();
    assert!(refused.contains("LOGON_FAILURE"), "{refused}");
}

#[test]
fn mbpoll_reads_and_writes_the_controller() {
    let server = start("modbus");
    let port = port(&server).to_string();
    let args = ["-m", "tcp", "-p", &port, "-a", "1", "-r", "2", "-c", "2", "-1", "127.0.0.1"];
    let Some(said) = tool("mbpoll_reads_and_writes_the_controller", "mbpoll", &args) else { return };
    assert!(said.contains("1007") && said.contains("1014"), "{said}");
    let args = ["-m", "tcp", "-p", &port, "-a", "1", "-r", "2", "127.0.0.1", "--", "77"];
    let said = tool("mbpoll_reads_and_writes_the_controller", "mbpoll", &args).unwrap_or_default();
    assert!(said.contains("Written 1 references"), "{said}");
}

#[test]
fn sqlmap_finds_the_injection() {
    let test = "sqlmap_finds_the_injection";
    let (server, scratch) = (start("web"), Scratch::new("sqlmap"));
    let url = format!("http://127.0.0.1:{}/product?id=1", port(&server));
    let folder = scratch.0.display().to_string();
    let args = [
        "--batch",
        "--disable-coloring",
        "--flush-session",
        "--timeout=5",
        "--output-dir",
        &folder,
        "-u",
        &url,
    ];
    let Some(said) = tool(test, "sqlmap", &args) else { return };
    let found = ["boolean-based blind", "UNION query", "back-end DBMS: SQLite"];
    assert!(found.iter().all(|f| said.contains(f)), "{said}");
}

#[test]
fn impacket_creates_a_service_that_is_none() {
    const SCRIPT: &str = r"
import sys
from impacket.smbconnection import SMBConnection
from impacket.dcerpc.v5 import transport, scmr
port = int(sys.argv[1])
c = SMBConnection('127.0.0.1', '127.0.0.1', sess_port=port)
c.login('lab', 'x')
d = transport.SMBTransport('127.0.0.1', port, r'\svcctl', smb_connection=c).get_dce_rpc()
d.connect()
d.bind(scmr.MSRPC_UUID_SCMR)
m = scmr.hROpenSCManagerW(d)['lpScHandle']
s = scmr.hRCreateServiceW(d, m, 'lab\0', 'lab\0', lpBinaryPathName='none\0')['lpServiceHandle']
print('started', scmr.hRStartServiceW(d, s)['ErrorCode'])
";
    let test = "impacket_creates_a_service_that_is_none";
    let server = start("smb");
    // Debian's own interpreter, which Debian's packages are for.
    let python = "/usr/bin/python3";
    let Some(there) = tool(test, python, &["-c", "import impacket"]) else { return };
    if !there.is_empty() {
        println!("skipped: {test}: python3-impacket is not installed");
        return;
    }
    let said = tool(test, python, &["-c", SCRIPT, &port(&server).to_string()]).unwrap_or_default();
    assert!(said.contains("started 0"), "{said}");
}

/// What one side said, in the order in which both spoke.
type Said = (Side, Vec<u8>);

/// Stands between the next client and `server`, and writes down what is said.
fn between(server: SocketAddr) -> (u16, JoinHandle<Vec<Said>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let thread = std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let there = TcpStream::connect(server).expect("the server");
        let (told, written) = mpsc::channel();
        let carry = |side: Side, mut from: TcpStream, mut to: TcpStream| {
            let told = told.clone();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while let Ok(len @ 1..) = from.read(&mut buffer) {
                    // Written down before it goes on, so that an answer never stands before its question.
                    let _ = told.send((side, buffer[..len].to_vec()));
                    if to.write_all(&buffer[..len]).is_err() {
                        break;
                    }
                }
                let _ = to.shutdown(Shutdown::Both);
            })
        };
        let copy = |stream: &TcpStream| stream.try_clone().expect("a second handle");
        carry(Side::Client, copy(&client), copy(&there));
        carry(Side::Server, there, client);
        drop(told);
        written.into_iter().collect()
    });
    (port, thread)
}

/// Messages read from what was said, each with who said it.
fn messages(app: App, said: &[Said]) -> Vec<(Side, Message)> {
    let mut dissector = dissector(app, protocol::TCP).expect("a dissector");
    let (mut all, mut out) = (Vec::new(), Vec::new());
    let mut kept: [Vec<u8>; 2] = Default::default();
    let mut skip = [0_u64; 2];
    for (side, bytes) in said {
        let at = *side as usize;
        kept[at].extend(bytes);
        loop {
            let passed = skip[at].min(kept[at].len() as u64) as usize;
            kept[at].drain(..passed);
            skip[at] -= passed as u64;
            if kept[at].is_empty() {
                break;
            }
            let progress = dissector.data(*side, &kept[at], &mut out);
            all.extend(out.drain(..).map(|message| (*side, message)));
            kept[at].drain(..progress.consumed);
            match progress.next {
                wire::message::Next::Skip(n) => skip[at] = n,
                wire::message::Next::More => {}
                _ => return all,
            }
            if progress.consumed == 0 && skip[at] == 0 {
                break;
            }
        }
    }
    all
}

#[test]
fn the_projects_own_parsers_read_all_that_servers_and_acts_say() {
    // Service, its protocol, an act with its arguments, least messages read.
    let check = |service: &str, app: App, act: &str, with: &[&str], least: usize| {
        let server = start(service);
        let tcp = *server.addresses().last().expect("an address");
        let (port, said) = between(tcp);
        let key = if matches!(act, "remote_calls" | "modbus_poll") { "targets" } else { "target" };
        let words = ["source=127.0.0.1".to_owned(), format!("{key}=127.0.0.1"), format!("port={port}")];
        let words = words.into_iter().chain(with.iter().map(|w| (*w).to_owned()));
        let arguments = Arguments::parse(words).expect("words");
        let report = act::run(act, &arguments, &Control::new()).unwrap_or_else(|e| panic!("{act}: {e}"));
        assert_eq!((report.failed, report.unlisted), (0, 0), "{act} {with:?}: {report:?}");
        let read = messages(app, &said.join().expect("a record"));
        // Who tries functions in turn sends requests that are none.
        let wild = with.contains(&"kind=functions");
        let is_wrong = |(side, m): &&(Side, Message)| {
            matches!(m, Message::Violation(_)) && !(wild && *side == Side::Client)
        };
        let wrong: Vec<_> = read.iter().filter(is_wrong).collect();
        assert!(wrong.is_empty(), "{act} {with:?}: {wrong:?}");
        assert!(read.len() >= least, "{act} {with:?}: {} messages", read.len());
    };
    check("smb", App::Smb, "ransomware", &["count=5", "rate=200"], 50);
    check("smb", App::Smb, "office", &["count=5", "pause_ms=10"], 40);
    check("smb", App::Smb, "backup", &["count=5", "rate=200"], 30);
    check("smb", App::Smb, "backup", &["count=5", "rate=200", "direction=read"], 30);
    for errand in ["service", "service_list", "replication", "accounts", "shares", "coercion", "backup_key"] {
        let errand = format!("errand={errand}");
        check("smb", App::Smb, "remote_calls", &[&errand, "pause_ms=0"], 18);
        check("rpc", App::DceRpc, "remote_calls", &[&errand, "pause_ms=0", "over=tcp"], 4);
    }
    check("smb", App::Smb, "guess", &["service=smb", "count=1"], 6);
    check("ftp", App::Ftp, "guess", &["count=1"], 5);
    check("ssh", App::Ssh, "guess", &["service=ssh", "count=1"], 2);
    check("web", App::Http, "guess", &["service=http", "count=1"], 2);
    check("web", App::Http, "web_attack", &["count=38", "rate=200"], 76);
    check("web", App::Http, "crawl", &["count=20", "rate=50"], 42);
    check("web", App::Http, "upload", &["megabytes=1", "rate=100"], 2);
    check("web", App::Http, "beacon", &["count=1"], 2);
    for kind in ["write", "functions", "units", "addresses"] {
        let kind = format!("kind={kind}");
        check("modbus", App::Modbus, "modbus_abuse", &[&kind, "count=30", "rate=200"], 60);
    }
    check("modbus", App::Modbus, "modbus_poll", &["seconds=1", "pause_ms=50"], 40);
}

#[test]
fn equal_seeds_say_the_same() {
    let heard = |seed: u64| {
        let server = start("ftp");
        let (port, said) = between(*server.addresses().first().expect("an address"));
        let words = format!("source=127.0.0.1 target=127.0.0.1 port={port} style=stuff count=1 seed={seed}");
        let arguments = Arguments::parse(words.split_whitespace()).expect("words");
        act::run("guess", &arguments, &Control::new()).expect("permitted");
        said.join().expect("a record")
    };
    let first = heard(5);
    assert_eq!(first, heard(5));
    assert_ne!(first, heard(6));
}
