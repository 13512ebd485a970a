//! What is told by the content of traffic, live: real tools of each family, and the kernel's sensor, to which only the
//! beginnings of what is said come.

use crate::support::{Agent, Host, PATIENCE, Tool, text};
use lab::address::{ATTACKERS, CLIENT, OUTSIDE_MAC, VICTIM, mac};
use lab::range::{Daemon, OUTSIDE_INTERFACE, Side, VICTIM_INTERFACE};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

const CONFIG: &str = "[http]\naddress = 'off'\n[sensor]\nattach = 'native'\n";

fn port_open(host: &Host, port: u16) {
    let open = host.range.wait_for_port(SocketAddr::new(VICTIM.into(), port), PATIENCE).expect("the outside");
    assert!(open, "nothing listens on port {port}");
}

/// Waits for an alert of the rule.
fn alert(agent: &Agent, rule: u32) -> Value {
    agent.wait_for_event(&format!("an alert of {rule}"), |e| {
        e["event_type"] == "alert" && e["alert"]["signature_id"] == rule
    })
}

fn alerts(agent: &Agent) -> Vec<Value> {
    agent.events().into_iter().filter(|e| e["event_type"] == "alert").collect()
}

/// A command on one side that must succeed.
fn run(mut command: std::process::Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn ip(host: &Host, args: &[&str]) {
    run(host.outside("ip", args));
}

fn nginx(host: &Host) -> Daemon {
    let dir = host.path("nginx");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("page"), "an ordinary page\n").expect("a page");
    let dir = dir.to_str().expect("a plain path");
    let spool: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}; "))
        .concat();
    let config = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error; user root; worker_processes 1;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; {spool} server {{ listen 80; root {dir}; }} }}\n"
    );
    let file = format!("{dir}/config");
    std::fs::write(&file, config).expect("a configuration");
    let daemon = host.daemon("nginx", &["-c", &file, "-p", dir], &host.path("nginx.log"));
    port_open(host, 80);
    daemon
}

/// Ten seconds are how long a head may take before it is slow, so this takes a little more.
#[test]
fn slow_heads_are_recognised_and_a_kept_connection_is_read_to_its_end() {
    let name = "slow_heads_are_recognised_and_a_kept_connection_is_read_to_its_end";
    let Some(host) = Host::new(name, &["nginx", "slowhttptest", "curl"]) else { return };
    let _nginx = nginx(&host);
    let agent = host.agent(CONFIG, &[]);
    // Far more than the head of the flow holds, on one connection.
    let urls = vec![format!("http://{VICTIM}/page"); 80];
    let mut curl = host.outside("curl", &["-sS", "--fail"]);
    let pages = run({
        curl.args(&urls);
        curl
    });
    assert_eq!(pages.lines().count(), urls.len());
    let target = format!("http://{VICTIM}/");
    let args = ["-H", "-c", "40", "-r", "40", "-i", "3", "-l", "16", "-p", "2", "-u", &target];
    let attack = host.tool("slowhttptest", &args);
    alert(&agent, 1_000_320);
    drop(attack);
    let events = agent.events();
    let count =
        |key: &str| events.iter().filter(|e| e["http"][key] == "/page" || e["http"][key] == 200).count();
    assert_eq!((count("url"), count("status")), (80, 80));
    agent.stop();
}

#[test]
fn a_tunnel_in_dns_is_recognised() {
    let Some(host) = Host::new("a_tunnel_in_dns_is_recognised", &["iodine", "iodined"]) else { return };
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("skipped: a_tunnel_in_dns_is_recognised: needs /dev/net/tun");
        return;
    }
    let far = Ipv4Addr::new(10, 53, 0, 1).to_string();
    let agent = host.agent(CONFIG, &[]);
    let server = ["-f", "-c", "-P", "secret", "-l", &CLIENT.to_string(), &far, "t.example.org"];
    let _server = host.tool("iodined", &server);
    let client =
        ["-f", "-r", "-P", "secret", "-T", "NULL", "-m", "500", &CLIENT.to_string(), "t.example.org"];
    let log = host.path("iodine.log");
    let _client = host.daemon("iodine", &client, &log);
    crate::support::until("the tunnel", PATIENCE, || {
        std::fs::read_to_string(&log).ok().filter(|said| said.contains("setup complete"))
    });
    let _talk = host.victim("ping", &["-q", "-i", "0.05", "-c", "60", "-s", "200", &far]).output();
    let alert = alert(&agent, 1_000_300);
    assert_eq!(alert["src_ip"], VICTIM.to_string());
    assert!(agent.events().iter().any(|e| e["event_type"] == "dns"));
    agent.stop();
}

/// ARP has no flow and comes up from the kernel as it is.
#[test]
fn spoofed_arp_is_recognised_and_ordinary_arp_is_not() {
    let Some(host) = Host::new("spoofed_arp_is_recognised_and_ordinary_arp_is_not", &["arpspoof"]) else {
        return;
    };
    let agent = host.agent(CONFIG, &[]);
    for _ in 0..6 {
        run(host.victim("ip", &["neigh", "flush", "dev", VICTIM_INTERFACE]));
        assert!(host.answers(CLIENT), "the victim asks for the client's address");
    }
    assert_eq!(alerts(&agent), Vec::<Value>::new());
    // The outside was the owner of the client's address; whoever has another hardware address now is not.
    ip(&host, &["link", "set", OUTSIDE_INTERFACE, "address", "02:00:00:00:66:66"]);
    let (victim, owner) = (VICTIM.to_string(), CLIENT.to_string());
    let attack = host.tool("arpspoof", &["-i", OUTSIDE_INTERFACE, "-t", &victim, &owner]);
    let alert = alert(&agent, 1_000_452);
    assert_eq!(alert["dest_ip"], owner, "{alert}");
    drop(attack);
    ip(&host, &["link", "set", OUTSIDE_INTERFACE, "address", &mac(OUTSIDE_MAC)]);
    agent.stop();
}

#[test]
fn a_second_dhcp_server_is_recognised() {
    let Some(host) = Host::new("a_second_dhcp_server_is_recognised", &["dnsmasq", "udhcpc"]) else { return };
    let agent = host.agent(CONFIG, &[]);
    let serve = |own: Ipv4Addr| -> Tool {
        ip(&host, &["address", "flush", "dev", OUTSIDE_INTERFACE]);
        ip(&host, &["address", "add", &format!("{own}/24"), "dev", OUTSIDE_INTERFACE]);
        let lease = format!("--dhcp-leasefile={}", host.path(&format!("leases-{own}")).display());
        let pid = format!("--pid-file={}", host.path(&format!("dnsmasq-{own}")).display());
        let mut args = vec!["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"];
        args.extend(["--no-ping", "--dhcp-authoritative", "--dhcp-range=192.0.2.20,192.0.2.30,1h"]);
        args.extend([lease.as_str(), &pid]);
        // Router and name server are the server itself unless said otherwise.
        host.tool("dnsmasq", &args)
    };
    let ask = || {
        let args = ["-i", VICTIM_INTERFACE, "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", "/bin/true"];
        run(host.victim("udhcpc", &args))
    };
    let first = serve(CLIENT);
    ask();
    ask();
    assert_eq!(alerts(&agent), Vec::<Value>::new());
    drop(first);
    let _rogue = serve(ATTACKERS[0]);
    ask();
    let alert = alert(&agent, 1_000_455);
    assert_eq!(alert["src_ip"], ATTACKERS[0].to_string(), "{alert}");
    agent.stop();
}

/// One Modbus/TCP request, and the answer.
fn modbus(stream: &mut TcpStream, id: u16, request: [u8; 5]) -> std::io::Result<()> {
    let [a, b] = id.to_be_bytes();
    let mut frame = vec![a, b, 0, 0, 0, 6, 1];
    frame.extend(request);
    stream.write_all(&frame)?;
    stream.read_exact(&mut [0; 8])?;
    let _rest = stream.read(&mut [0; 64])?;
    Ok(())
}

#[test]
fn a_stranger_that_writes_to_a_controller_is_recognised_and_its_master_is_not() {
    let name = "a_stranger_that_writes_to_a_controller_is_recognised_and_its_master_is_not";
    let Some(host) = Host::new(name, &[]) else { return };
    let port = SocketAddr::new(VICTIM.into(), 502);
    let listener =
        host.range.enter(Side::Victim, || TcpListener::bind(port)).expect("the victim").expect("port");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve_modbus(stream));
        }
    });
    let agent = host.agent(CONFIG, &[]);
    let read = [3, 0, 0, 0, 1];
    let write = [6, 0, 1, 0, 7];
    let talk = |requests: &[[u8; 5]], from: Ipv4Addr| {
        host.range
            .enter(Side::Outside, || {
                let mut stream = lab_connect(from, port)?;
                requests.iter().zip(0..).try_for_each(|(r, id)| modbus(&mut stream, id, *r))
            })
            .expect("the outside")
            .expect("the controller answers");
    };
    // The master reads for long, more than the head of its flow, and then commands.
    talk(&[[read; 60].as_slice(), &[write; 3]].concat(), CLIENT);
    talk(&[write], ATTACKERS[0]);
    let alert = alert(&agent, 1_000_540);
    assert_eq!(alert["src_ip"], ATTACKERS[0].to_string());
    assert_eq!(alerts(&agent).len(), 1);
    agent.stop();
}

/// Connects from one of the outside's addresses.
fn lab_connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from.into(), 0))?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// Answers reads with one register, and writes by repeating them.
fn serve_modbus(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 12];
    loop {
        stream.read_exact(&mut request)?;
        let [a, b, .., function, _, _, _, _] = request;
        let answer: Vec<u8> =
            if function == 3 { vec![a, b, 0, 0, 0, 5, 1, 3, 2, 0, 0] } else { request.to_vec() };
        stream.write_all(&answer)?;
    }
}

#[test]
fn a_tunnel_in_ping_is_recognised_and_ping_is_not() {
    let Some(host) = Host::new("a_tunnel_in_ping_is_recognised_and_ping_is_not", &["ptunnel", "curl"]) else {
        return;
    };
    let agent = host.agent(CONFIG, &[]);
    let web = SocketAddr::new(CLIENT.into(), 80);
    let _web = host
        .range
        .enter(Side::Outside, || lab::traffic::http::serve(web))
        .expect("outside")
        .expect("a server");
    let far = CLIENT.to_string();
    for size in ["56", "1200"] {
        run(host.victim("ping", &["-q", "-i", "0.02", "-c", "40", "-s", size, &far]));
    }
    let _proxy = host.tool("ptunnel", &[]);
    let mouth = ["-p", &far, "-lp", "8000", "-da", &far, "-dp", "80"];
    let _mouth = host.daemon("ptunnel", &mouth, &host.path("ptunnel.log"));
    port_open(&host, 8000);
    assert_eq!(alerts(&agent), Vec::<Value>::new());
    let file = host.path("file");
    let args =
        ["-sS", "--max-time", "20", "-o", file.to_str().expect("plain"), "http://127.0.0.1:8000/60000"];
    run(host.victim("curl", &args));
    let alert = alert(&agent, 1_000_422);
    assert_eq!(alert["src_ip"], VICTIM.to_string());
    agent.stop();
}

/// Sends the fragments of a datagram from one of the outside's addresses, which `pick` chooses from those of 1,024 and of
/// 64 bytes of content.
fn send_fragments(host: &Host, port: u16, pick: impl Fn([Vec<Vec<u8>>; 2]) -> Vec<Vec<u8>> + Send) {
    use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
    const LINK: usize = 14;
    let datagram =
        wire::craft::Builder::new(wire::Addr::v4(ATTACKERS[0].octets()), wire::Addr::v4(VICTIM.octets()))
            .id(port);
    let segment = datagram.udp_segment(port, 9000, &[0x42; 1800]);
    let frames = pick([1024, 64].map(|size| datagram.fragments(&segment, size)));
    let send = || {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
        let to = SocketAddr::new(VICTIM.into(), 0);
        frames.iter().try_for_each(|frame| sendto(&raw, &frame[LINK..], SendFlags::empty(), &to).map(|_| ()))
    };
    host.range.enter(Side::Outside, send).expect("the outside").expect("sent");
}

#[test]
fn whoever_sends_odd_fragments_is_named_and_large_pings_are_not() {
    let name = "whoever_sends_odd_fragments_is_named_and_large_pings_are_not";
    let Some(host) = Host::new(name, &["ping"]) else { return };
    let agent = host.agent(CONFIG, &[]);
    run(host.victim("ping", &["-q", "-i", "0.05", "-c", "10", "-s", "4000", &CLIENT.to_string()]));
    assert_eq!(alerts(&agent), Vec::<Value>::new());
    for port in [7000, 7001] {
        // The 64 bytes from 256 on lie in what the first has brought.
        send_fragments(&host, port, |[coarse, fine]| vec![coarse[0].clone(), fine[4].clone()]);
    }
    let overlap = alert(&agent, 1_000_460);
    for port in [7002, 7003] {
        send_fragments(&host, port, |[_, fine]| fine);
    }
    let tiny = alert(&agent, 1_000_461);
    for alert in [overlap, tiny] {
        assert_eq!(alert["src_ip"], ATTACKERS[0].to_string(), "{alert}");
    }
    agent.stop();
}
