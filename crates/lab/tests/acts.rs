//! Acts inside a range, as root: what they report is what a sensor sees, flow by flow.

use flow::label::{Label, Labels, Net, Protocol};
use flow::{FlowRecord, Tracker, TrackerConfig, What};
use lab::address::{ATTACKERS, ATTACKERS6, CLIENT, VICTIM, VICTIM6};
use lab::arguments::Arguments;
use lab::range::{Range, RangeError, Side};
use lab::serve::{self, Running};
use lab::traffic::{Control, act};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with, sockopt};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::packet::protocol;
use wire::{Addr, LinkType};

fn range(test: &str) -> Option<Range> {
    match Range::create() {
        Ok(range) => Some(range),
        Err(e @ (RangeError::NotRoot | RangeError::NoIp)) => {
            println!("skipped: {test}: {e}");
            None
        }
        Err(e) => panic!("{test}: {e}"),
    }
}

fn words(text: &str) -> Arguments {
    Arguments::parse(text.split_whitespace()).expect("words")
}

fn start(range: &Range, names: &[&str], address: IpAddr) -> Vec<Running> {
    let arguments = words(&format!("address={address}"));
    let all = || names.iter().map(|name| serve::start(name, &arguments).expect(name)).collect();
    range.enter(Side::Victim, all).expect("enter")
}

/// Frames with their times, ns since 1970.
type Frames = Vec<(u64, Vec<u8>)>;

/// Everything that passes the victim's interface.
struct Ear {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Frames>>,
}

impl Ear {
    fn open(range: &Range) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (over, ready) = (Arc::clone(&stop), Arc::new(AtomicBool::new(false)));
        let listening = Arc::clone(&ready);
        let listen = move || {
            // All protocols (ETH_P_ALL), in network order.
            let all = NonZeroU32::new(u32::from(3_u16.to_be())).map(rustix::net::Protocol::from_raw);
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let fd =
                socket_with(AddressFamily::PACKET, SocketType::RAW, flags, all).expect("a packet socket");
            sockopt::set_socket_recv_buffer_size_force(&fd, 32 << 20).expect("a large buffer");
            listening.store(true, Ordering::Relaxed);
            let (mut frames, mut buffer) = (Frames::new(), vec![0; 65_536]);
            loop {
                match recv(&fd, &mut buffer[..], RecvFlags::empty()) {
                    Ok((len, _)) => {
                        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
                        frames.push((
                            u64::try_from(now.as_nanos()).expect("a few centuries"),
                            buffer[..len].to_vec(),
                        ));
                    }
                    Err(rustix::io::Errno::AGAIN) if over.load(Ordering::Relaxed) => return frames,
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        };
        let thread = range.spawn(Side::Victim, "ear", listen).expect("a thread");
        while !ready.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { stop, thread }
    }

    /// The flows that `sources` began.
    fn flows_of(self, sources: &[IpAddr]) -> Vec<FlowRecord> {
        // What was sent last may still be on its way.
        std::thread::sleep(Duration::from_millis(50));
        self.stop.store(true, Ordering::Relaxed);
        let frames = self.thread.join().expect("no panic").expect("entered");
        let (mut tracker, mut events) = (Tracker::new(TrackerConfig::default()), Vec::new());
        for (at, frame) in &frames {
            let len = u32::try_from(frame.len()).expect("short");
            if let Ok(packet) = wire::parse(LinkType::Ethernet, frame, len) {
                tracker.observe(*at, &packet, &mut events);
            }
        }
        tracker.finish(&mut events);
        let sources: Vec<Addr> = sources.iter().map(|s| (*s).into()).collect();
        let ended = events.into_iter().filter_map(|e| match e.what {
            What::Ended(record, _) => Some(*record),
            _ => None,
        });
        // Errors about packets of others, and looking for neighbours (RFC 4861), are the host's and no act's.
        let is_host = |flow: &FlowRecord| {
            let kind = flow.initiator().1;
            matches!((flow.key.protocol, kind), (protocol::ICMP, 3) | (protocol::ICMPV6, 1 | 133..=137))
        };
        ended.filter(|flow| sources.contains(&flow.initiator().0) && !is_host(flow)).collect()
    }
}

/// A row of a report as a label.
fn label(row: &act::Row) -> Label {
    let number = match row.protocol {
        act::Protocol::Tcp => Protocol::Ip(protocol::TCP),
        act::Protocol::Udp => Protocol::Ip(protocol::UDP),
        act::Protocol::Icmp => Protocol::Ip(protocol::ICMP),
        act::Protocol::Icmpv6 => Protocol::Ip(protocol::ICMPV6),
        act::Protocol::Arp => Protocol::Arp,
    };
    Label {
        start_ns: row.start_ns,
        // The last answers and acknowledgements.
        end_ns: row.end_ns + 200_000_000,
        protocol: Some(number),
        source: Net::new(row.source.addr.into(), row.source.len),
        source_port: row.source_port,
        target: Net::new(row.target.addr.into(), row.target.len),
        target_port: row.target_port,
        class: "port_scan".to_owned(),
        ..Label::default()
    }
}

/// Runs an act from the outside, and compares its report with what the victim's interface saw of `sources`: each flow has a
/// row, and each row a flow.
fn check(range: &Range, act: &str, arguments: &str, sources: &[IpAddr]) -> act::Report {
    let ear = Ear::open(range);
    let run = || act::run(act, &words(arguments), &Control::new());
    let report = range.enter(Side::Outside, run).expect("enter").unwrap_or_else(|e| panic!("{act}: {e}"));
    let flows = ear.flows_of(sources);
    let rows: Vec<Label> = report.flows.iter().map(label).collect();
    assert!(report.tried > 0 && report.unlisted == 0, "{act} {arguments}: {report:?}");
    assert!(report.start_ns <= report.end_ns);
    let labels = Labels::new(rows.clone());
    for flow in &flows {
        assert!(labels.of(flow).is_some(), "{act} {arguments}: no row for {flow:?}\n{rows:#?}");
    }
    for row in rows {
        let any = row.protocol == Some(Protocol::Arp) || {
            let one = Labels::new(vec![row.clone()]);
            flows.iter().any(|flow| one.of(flow).is_some())
        };
        // Answers to others are no flows of the source's, and hosts that do not exist are never sent anything.
        let is_in = |net: Option<Net>, all: &[IpAddr]| {
            net.is_some_and(|net| all.iter().any(|a| net.contains((*a).into())))
        };
        let there = [VICTIM.into(), VICTIM6.into(), IpAddr::from([255; 4])];
        let expected = is_in(row.source, sources) && is_in(row.target, &there);
        assert!(any || !expected, "{act} {arguments}: no flow for {row:?}");
    }
    report
}

#[test]
fn hostile_acts_report_what_a_sensor_sees() {
    let Some(range) = range("hostile_acts_report_what_a_sensor_sees") else { return };
    let names = ["dns", "ftp", "icmp_tunnel", "modbus", "rpc", "smb", "web"];
    let _servers = start(&range, &names, VICTIM.into());
    let (attacker, other) = (ATTACKERS[0], ATTACKERS[1]);
    let ends = format!("source={attacker} target={VICTIM}");
    let many = format!("source={attacker} targets={VICTIM}");
    for (act, arguments) in [
        ("arp_spoof", format!("{ends} claimed={CLIENT} count=3 rate=20")),
        ("beacon", format!("{ends} count=3 pause_ms=50")),
        ("dga", format!("{ends} count=5 rate=50")),
        ("dhcp_spoof", format!("{ends} honest={other} count=3 rate=20")),
        ("dns_tunnel", format!("{ends} count=5 rate=50")),
        ("evasion", format!("{ends} kind=tiny count=3 rate=50 port=9")),
        ("evasion", format!("{ends} kind=overlap count=3 rate=50 port=9")),
        ("evasion", format!("{ends} kind=segments count=3 rate=50")),
        ("guess", format!("{ends} count=3 rate=50")),
        ("http_flood", format!("{ends} count=40 rate=400")),
        ("icmp_flood", format!("{ends} count=50")),
        ("icmp_tunnel", format!("{ends} count=20 rate=100")),
        ("modbus_abuse", format!("{ends} count=10 rate=100")),
        ("port_scan", format!("{ends} count=100 rate=1000")),
        ("port_scan", format!("{ends} count=50 rate=1000 kind=udp")),
        ("ransomware", format!("{ends} count=5 rate=100")),
        ("remote_calls", format!("{many} pause_ms=0")),
        ("remote_calls", format!("{many} pause_ms=0 errand=replication over=tcp")),
        ("slow_http", format!("{ends} connections=5 seconds=1 pause_ms=200")),
        ("syn_flood", format!("{ends} count=200")),
        ("udp_flood", format!("{ends} count=200")),
        ("upload", format!("{ends} megabytes=2 rate=50")),
        ("web_attack", format!("{ends} count=38 rate=200")),
    ] {
        check(&range, act, &arguments, &[attacker.into()]);
    }
    let forged = format!("victim={other} targets={VICTIM} count=50 rate=500");
    check(&range, "amplification", &forged, &[other.into()]);
    let sweep = format!("source={attacker} target=192.0.2.108 count=6 rate=100");
    assert_eq!(check(&range, "host_scan", &sweep, &[attacker.into()]).tried, 6);
    let six = ATTACKERS6[0];
    let _servers = start(&range, &["dns"], VICTIM6.into());
    let ends = format!("source={six} target={VICTIM6}");
    for (act, arguments) in [
        ("dns_tunnel", format!("{ends} count=5 rate=50")),
        ("evasion", format!("{ends} kind=tiny count=3 rate=50 port=9")),
        ("icmp_flood", format!("{ends} count=50")),
        ("port_scan", format!("{ends} count=50 rate=1000")),
    ] {
        check(&range, act, &arguments, &[six.into()]);
    }
}

#[test]
fn ordinary_acts_report_what_a_sensor_sees_and_fail_in_nothing() {
    let Some(range) = range("ordinary_acts_report_what_a_sensor_sees_and_fail_in_nothing") else { return };
    let names = ["dns", "echo", "ftp", "mail", "modbus", "mqtt", "ntp", "smb", "snmp", "web"];
    let _servers = start(&range, &names, VICTIM.into());
    let ends = format!("source={CLIENT} target={VICTIM}");
    for (act, arguments) in [
        ("backup", format!("{ends} count=5 rate=100")),
        ("call", format!("{ends} seconds=1")),
        ("crawl", format!("{ends} count=20 rate=50")),
        ("datagrams", format!("{ends} count=5 rate=50")),
        ("download", format!("{ends} count=6 kilobytes=100 parallel=3")),
        ("keepalive", format!("{ends} count=3 pause_ms=50")),
        ("keepalive", format!("{ends} count=5 pause_ms=50 service=mqtt")),
        ("keepalive", format!("{ends} count=3 pause_ms=50 service=snmp")),
        ("lookups", format!("{ends} count=10 rate=100 style=mail")),
        ("mail", format!("{ends} count=3 rate=20")),
        ("modbus_poll", format!("source={CLIENT} targets={VICTIM} seconds=1 pause_ms=100")),
        ("morning", format!("sources={CLIENT} target={VICTIM} seconds=5")),
        ("office", format!("{ends} count=3 pause_ms=50")),
        ("upload", format!("{ends} over=ftp megabytes=2 rate=50")),
    ] {
        let report = check(&range, act, &arguments, &[CLIENT.into()]);
        assert_eq!((report.failed, report.tried), (0, report.completed), "{act} {arguments}");
    }
    // Ports that are closed are refused, which is an answer.
    let monitoring = format!("source={CLIENT} targets={VICTIM} seconds=2 pause_ms=500");
    assert!(check(&range, "monitoring", &monitoring, &[CLIENT.into()]).completed > 5);
}
