//! Real tools attack, ordinary clients work on.

use crate::support::{Agent, Host, PATIENCE, Tool, text, until};
use lab::address::{ATTACKERS, ATTACKERS6, CLIENT, CLIENT6, VICTIM, VICTIM6};
use lab::range::{Daemon, OUTSIDE_INTERFACE, Side};
use lab::traffic::{Client, Server, Services, TrafficError, dns, http, ssh};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Blocks short enough to be seen ending, long enough to be looked at on a busy machine.
const CONFIG: &str =
    "[respond]\nttl = '25s'\nescalation = 1.0\n[incidents]\nquiet_s = 120\n[http]\naddress = 'off'\n";
/// Bytes of the long download.
const DOWNLOAD: u64 = 16_000_000;

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(VICTIM.into(), port)
}

/// The victim's services: HTTP on 80, DNS on 53, a stand-in for SSH on 2222.
fn services(host: &Host) -> ([Server; 3], Services) {
    let servers = host
        .range
        .enter(Side::Victim, || {
            Ok::<_, TrafficError>([http::serve(at(80))?, dns::serve(at(53), VICTIM)?, ssh::serve(at(2222))?])
        })
        .expect("the victim's namespace")
        .expect("services");
    (servers, Services { http: at(80), dns: at(53), ssh: at(2222) })
}

/// A real sshd on port 22 of both IP versions, which takes one key and refuses every password.
pub(crate) fn sshd(host: &Host) -> Daemon {
    // Its log goes to standard error.
    sshd_with(host, &["-e"])
}

/// As [`sshd`], with options that say where it logs; without any, to syslog.
pub(crate) fn sshd_with(host: &Host, options: &[&str]) -> Daemon {
    let path = |name: &str| host.path(name).to_str().expect("a plain path").to_owned();
    for key in ["host_key", "user_key"] {
        let args = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
        assert!(host.victim("ssh-keygen", &args).status().expect("ssh-keygen").success());
    }
    // Where sshd puts its unprivileged half; a service manager would make it.
    std::fs::create_dir_all("/run/sshd").expect("/run/sshd");
    // As distributions ship it: PAM makes the answer to a wrong password wait.
    let config = format!(
        "Port 22\nListenAddress {VICTIM}\nListenAddress {VICTIM6}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         StrictModes no\nUsePAM yes\nKbdInteractiveAuthentication no\nPasswordAuthentication yes\nUseDNS no\n\
         PermitRootLogin prohibit-password\nMaxStartups 50\nLogLevel VERBOSE\n",
        path("host_key"),
        path("user_key.pub"),
    );
    std::fs::write(host.path("sshd_config"), config).expect("sshd_config");
    let log = host.path("sshd.log");
    let file = path("sshd_config");
    let args = [&["-D", "-f", &file], options].concat();
    let daemon = host.daemon("/usr/sbin/sshd", &args, &log);
    let open = host.range.wait_for_port(at(22), PATIENCE).expect("the outside");
    assert!(open, "{}", std::fs::read_to_string(log).unwrap_or_default());
    daemon
}

/// A real SSH session that types a line several times a second and expects it back.
struct Session {
    child: Child,
    stop: Arc<AtomicBool>,
    echoed: Arc<AtomicU64>,
    typist: Option<JoinHandle<Result<(), String>>>,
}

impl Session {
    fn open(host: &Host) -> Self {
        let key = host.path("user_key").to_str().expect("a plain path").to_owned();
        let (from, to) = (CLIENT6.to_string(), format!("root@{VICTIM6}"));
        let mut args = vec!["-F", "none", "-i", &key, "-b", &from, "-T"];
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
        ] {
            args.extend(["-o", option]);
        }
        args.extend([to.as_str(), "cat"]);
        let mut child = host
            .outside("ssh", &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(host.path("ssh.log")).expect("a log"))
            .spawn()
            .expect("ssh");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (stop, echoed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let typist = std::thread::spawn({
            let (stop, echoed) = (Arc::clone(&stop), Arc::clone(&echoed));
            move || type_lines(stdin, stdout, &stop, &echoed)
        });
        let session = Self { child, stop, echoed, typist: Some(typist) };
        until("the SSH session", PATIENCE, || (session.echoed.load(Ordering::Relaxed) > 0).then_some(()));
        session
    }

    /// Lines that came back; every one must have.
    fn close(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let typed = self.typist.take().expect("once").join().expect("no panic");
        assert_eq!(typed, Ok(()));
        let status = self.child.wait().expect("ssh ends");
        assert!(status.success(), "{status}");
        self.echoed.load(Ordering::Relaxed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn type_lines(
    mut stdin: ChildStdin,
    mut stdout: impl BufRead,
    stop: &AtomicBool,
    echoed: &AtomicU64,
) -> Result<(), String> {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let line = format!("line {n} of an ordinary session\n");
        stdin.write_all(line.as_bytes()).map_err(|e| format!("line {n}: {e}"))?;
        let mut back = String::new();
        stdout.read_line(&mut back).map_err(|e| format!("line {n}: {e}"))?;
        if back != line {
            return Err(format!("line {n} came back as '{back}'"));
        }
        echoed.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(())
}

/// A download that takes a while, by a real client.
fn download(host: &Host) -> Tool {
    let (from, url) = (CLIENT.to_string(), format!("http://{VICTIM}/{DOWNLOAD}"));
    let format = "%{http_code} %{size_download}";
    host.tool(
        "curl",
        &["-sS", "--interface", &from, "--limit-rate", "400K", "-o", "/dev/null", "-w", format, &url],
    )
}

/// A block must say what it is, hold, and hit nobody else.
fn check_block(host: &Host, agent: &Agent, class: &str, attacker: impl Into<IpAddr>) {
    let attacker = attacker.into();
    let (incident, block) = agent.wait_for_block(class, attacker);
    assert_eq!(block["owner"], "policy", "{block}");
    assert_eq!(block["enforced"], true, "{block}");
    assert_eq!(block["incident"], incident["id"], "{block}\n{incident}");
    assert!(!incident["evidence"].as_array().expect("evidence").is_empty(), "{incident}");
    assert!(!incident["techniques"].as_array().expect("techniques").is_empty(), "{incident}");
    assert!(!host.answers(attacker), "{attacker} is blocked and still answered\n{}", agent.log());
    let explained = agent.json(&["explain", &attacker.to_string()]);
    assert_eq!(explained["standing"], "blocked", "{explained}");
    if attacker.is_ipv4() {
        let tried =
            host.range.enter(Side::Outside, || http::download(attacker, at(80), 10)).expect("the outside");
        assert!(tried.is_err(), "{attacker} is blocked and can still connect");
    }
    let dropped = until("packets dropped by the block", PATIENCE, || {
        host.answers(attacker);
        agent.block(attacker)?["dropped_packets"].as_u64().filter(|n| *n > 0)
    });
    assert!(dropped > 0);
    let alert = agent.wait_for_event("an alert", |e| {
        e["event_type"] == "alert" && e["alert"]["category"] == class && e["src_ip"] == attacker.to_string()
    });
    assert_eq!(alert["alert"]["metadata"]["mitre_technique_id"], incident["techniques"], "{alert}");
    agent.wait_for_event("a drop", |e| {
        e["event_type"] == "drop"
            && e["src_ip"] == attacker.to_string()
            && e["drop"]["verdict"]["action"] == "drop"
    });
}

/// Nobody but `attackers` may have been accused or blocked.
fn check_innocence(agent: &Agent, attackers: &[IpAddr]) {
    for event in agent.events() {
        let kind = event["event_type"].as_str().expect("a type");
        if kind == "alert" || kind == "drop" {
            let who = event["src_ip"].as_str().and_then(|a| a.parse().ok());
            assert!(who.is_some_and(|w: IpAddr| attackers.contains(&w)), "{event}");
        }
        assert!(event["metadata"]["flowints"]["autoinmune"]["simulated"] != true, "{event}");
    }
}

#[test]
fn real_attacks_are_blocked_and_ordinary_clients_lose_nothing() {
    let programs = ["nmap", "hping3", "hydra", "sshd", "ssh", "ssh-keygen", "curl"];
    let Some(host) = Host::new("real_attacks_are_blocked_and_ordinary_clients_lose_nothing", &programs)
    else {
        return;
    };
    let (_servers, services) = services(&host);
    let _sshd = sshd(&host);
    let agent = host.agent(CONFIG, &["--enforce"]);
    let client = host
        .range
        .enter(Side::Outside, || Client::start(CLIENT.into(), services, Duration::from_secs(110)))
        .expect("the outside")
        .expect("an ordinary client");
    let session = Session::open(&host);
    let curl = download(&host);
    let target = VICTIM.to_string();

    let scanner = ATTACKERS[0].to_string();
    let scan = host.tool(
        "nmap",
        &[
            "-sS",
            "-Pn",
            "-n",
            "-e",
            OUTSIDE_INTERFACE,
            "-S",
            &scanner,
            "-p",
            "1-1000",
            "--host-timeout",
            "20s",
            &target,
        ],
    );
    check_block(&host, &agent, "port_scan", ATTACKERS[0]);
    let blocked_at = Instant::now();
    drop(scan);

    let flooder = ATTACKERS[1].to_string();
    let flood =
        host.tool("hping3", &["-q", "-S", "-p", "80", "-i", "u200", "-c", "5000", "-a", &flooder, &target]);
    check_block(&host, &agent, "syn_flood", ATTACKERS[1]);
    drop(flood);

    // hydra cannot choose its address; the route does.
    let route = ["route", "replace", &target, "dev", OUTSIDE_INTERFACE, "src", &ATTACKERS[2].to_string()];
    assert!(host.outside("ip", &route).status().expect("ip").success());
    let words: String = (0..200).map(|n| format!("guess-{n}\n")).collect();
    let list = host.path("words");
    std::fs::write(&list, words).expect("a list of passwords");
    let guesses = host.tool(
        "hydra",
        &[
            "-I",
            "-l",
            "admin",
            "-P",
            list.to_str().expect("a plain path"),
            "-t",
            "4",
            &format!("ssh://{target}"),
        ],
    );
    check_block(&host, &agent, "brute_force", ATTACKERS[2]);
    drop(guesses);

    let (scanner6, target6) = (ATTACKERS6[0].to_string(), VICTIM6.to_string());
    let args = [
        "-6",
        "-sS",
        "-Pn",
        "-n",
        "-e",
        OUTSIDE_INTERFACE,
        "-S",
        &scanner6,
        "-p",
        "1-1000",
        "--host-timeout",
        "20s",
        &target6,
    ];
    let scan = host.tool("nmap", &args);
    check_block(&host, &agent, "port_scan", ATTACKERS6[0]);
    drop(scan);

    // The first block ends by itself, and not before its time.
    host.wait_for_answer(ATTACKERS[0], true, "the end of the first block");
    assert!(blocked_at.elapsed() > Duration::from_secs(15), "{:?}", blocked_at.elapsed());
    until("the block to leave the list", PATIENCE, || agent.block(ATTACKERS[0]).is_none().then_some(()));
    let again = host.range.enter(Side::Outside, || http::download(ATTACKERS[0].into(), at(80), 100));
    again.expect("the outside").expect("a pardoned address connects again");

    let (good, said) = curl.finish(Duration::from_secs(60));
    assert!(good && said == format!("200 {DOWNLOAD}"), "{said}");
    assert!(session.close() > 20);
    let lost = client.finish();
    for count in [lost.http, lost.dns, lost.ssh] {
        assert!(count.failed == 0 && count.completed > 20, "{lost:?}\n{}", agent.log());
    }
    for ordinary in [IpAddr::from(CLIENT), CLIENT6.into()] {
        assert!(agent.block(ordinary).is_none());
    }
    let attackers = [ATTACKERS[0].into(), ATTACKERS[1].into(), ATTACKERS[2].into(), ATTACKERS6[0].into()];
    check_innocence(&agent, &attackers);
    let status = agent.json(&["status"]);
    assert_eq!(status["sensor"], "xdp-native", "{status}");
    let lost = |name: &str| status["losses"][name].as_u64().unwrap_or_default();
    assert_eq!(lost("ringbuf_events_unreadable") + lost("kernel_flow_insert_failed"), 0, "{status}");
    agent.stop();
    assert_eq!(host.leftovers(), Vec::<String>::new());
}

#[test]
fn every_kind_of_scan_and_flood_has_its_name() {
    let Some(host) = Host::new("every_kind_of_scan_and_flood_has_its_name", &["nmap", "hping3"]) else {
        return;
    };
    let (_servers, services) = services(&host);
    let agent = host.agent(CONFIG, &["--enforce"]);
    let client = host
        .range
        .enter(Side::Outside, || Client::start(CLIENT.into(), services, Duration::from_secs(110)))
        .expect("the outside")
        .expect("an ordinary client");
    let target = VICTIM.to_string();
    for (kind, attacker) in [("-sT", ATTACKERS[0]), ("-sU", ATTACKERS[1]), ("-sF", ATTACKERS[2])] {
        let from = attacker.to_string();
        // Without a least rate, a UDP scan of a host that limits its ICMP errors takes half a minute to be one.
        let mut args = vec![kind, "-Pn", "-n", "-e", OUTSIDE_INTERFACE, "-S", &from, "-p", "100-600"];
        args.extend(["--min-rate", "50", "--host-timeout", "30s", &target]);
        let scan = host.tool("nmap", &args);
        let (incident, _) = agent.wait_for_block("port_scan", attacker);
        assert!(!incident["kinds"].as_array().expect("kinds").is_empty(), "{incident}");
        assert!(!host.answers(attacker), "{attacker} is blocked and still answered");
        drop(scan);
    }
    let from = ATTACKERS[3].to_string();
    let flood = host.tool(
        "hping3",
        &["-q", "--udp", "-p", "53", "-d", "64", "-i", "u200", "-c", "20000", "-a", &from, &target],
    );
    agent.wait_for_block("udp_flood", ATTACKERS[3]);
    drop(flood);
    let from = ATTACKERS6[1].to_string();
    let flood = host
        .tool("ping", &["-6", "-q", "-n", "-i", "0.0005", "-c", "20000", "-I", &from, &VICTIM6.to_string()]);
    agent.wait_for_block("icmp_flood", ATTACKERS6[1]);
    drop(flood);
    let lost = client.finish().total();
    assert!(lost.failed == 0 && lost.completed > 20, "{lost:?}\n{}", agent.log());
    let attackers: Vec<IpAddr> =
        ATTACKERS.map(IpAddr::from).into_iter().chain([ATTACKERS6[1].into()]).collect();
    check_innocence(&agent, &attackers);
    agent.stop();
}

#[test]
fn shadow_mode_reports_and_drops_nothing() {
    let Some(host) = Host::new("shadow_mode_reports_and_drops_nothing", &["nmap"]) else { return };
    let (_servers, _) = services(&host);
    let agent = host.agent(CONFIG, &[]);
    let (from, target) = (ATTACKERS[0].to_string(), VICTIM.to_string());
    let args = ["-sS", "-Pn", "-n", "-e", OUTSIDE_INTERFACE, "-S", &from, "-p", "1-1000", &target];
    let (good, said) = host.tool("nmap", &args).finish(Duration::from_secs(60));
    // The scanner found what it came for: nothing stood in its way.
    assert!(good && said.contains("80/tcp"), "{said}");
    let (_, block) = agent.wait_for_block("port_scan", ATTACKERS[0]);
    assert_eq!(block["enforced"], false, "{block}");
    assert!(host.answers(ATTACKERS[0]));
    let explained = agent.json(&["explain", &from]);
    assert_eq!(explained["standing"], "would_block", "{explained}");
    let alert = agent.wait_for_event("an alert with a decision", |e| {
        let decision = &e["metadata"]["flowints"]["autoinmune"]["decision"];
        e["event_type"] == "alert" && e["src_ip"] == from.as_str() && decision["outcome"] == "would_block"
    });
    assert_eq!(alert["alert"]["action"], "allowed", "{alert}");
    assert!(!agent.events().iter().any(|e| e["event_type"] == "drop"));
    let status = agent.json(&["status"]);
    assert_eq!(status["mode"], "shadow");
    assert_eq!(status["interfaces"][0]["dropped_packets"], 0, "{status}");
    let human = agent.command(&["bans"]);
    assert!(text(&human.stdout).contains("shadow"), "{}", text(&human.stdout));
    agent.stop();
}
