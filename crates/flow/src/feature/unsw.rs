//! The 42 features of UNSW-NB15, in the order and under the names of the published CSV.
//!
//! "Source" is the initiator, "destination" the responder. Units and formulas are those that the published values obey,
//! which is not always what the paper's table says; docs/features.md states the evidence.

use super::statistic::Sums;
use super::{Feature, Kind, Subject, Value, features};
use crate::{Accumulator, App, FlowRecord, TcpState};
use wire::packet::protocol;

fn src<'a>(s: &Subject<'a>) -> &'a Accumulator {
    s.record.stats.from_initiator()
}

fn dst<'a>(s: &Subject<'a>) -> &'a Accumulator {
    s.record.stats.from_responder()
}

fn tcp(s: &Subject<'_>) -> bool {
    s.record.key.protocol == protocol::TCP
}

/// What is known of a side as soon as it sent something.
fn sent<T>(a: &Accumulator, value: T) -> Option<T> {
    (a.packets > 0).then_some(value)
}

/// As [`sent`], of TCP.
fn segment<T>(s: &Subject<'_>, a: &Accumulator, value: T) -> Option<T> {
    if tcp(s) { sent(a, value) } else { None }
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

/// Time between two moments of the handshake, both seen and in order.
fn between(from_ns: u64, to_ns: u64) -> Option<f64> {
    (from_ns != 0 && to_ns >= from_ns).then(|| seconds(from_ns, to_ns))
}

fn duration(r: &FlowRecord) -> f64 {
    seconds(r.first_ns(), r.last_ns())
}

fn rate(r: &FlowRecord) -> Option<f64> {
    let [a, b] = &r.stats.dir;
    let packets = a.packets.saturating_add(b.packets);
    (duration(r) > 0.0).then(|| packets.saturating_sub(1) as f64 / duration(r))
}

/// Bits per second without one mean packet, whose time is not in the duration.
fn load(r: &FlowRecord, a: &Accumulator) -> Option<f64> {
    let (packets, bytes) = (a.packets as f64, a.bytes as f64);
    (a.packets > 0 && duration(r) > 0.0).then(|| 8.0 * bytes * (packets - 1.0) / packets / duration(r))
}

fn gaps(a: &Accumulator) -> Sums {
    Sums { count: a.packets.saturating_sub(1), sum: a.gap_sum_us, squares: a.gap_squares }
}

fn gap_ms(a: &Accumulator) -> Option<f64> {
    gaps(a).mean().map(|us| us / 1e3)
}

fn jitter_ms(a: &Accumulator) -> Option<f64> {
    gaps(a).deviation().map(|us| us / 1e3)
}

fn loss(s: &Subject<'_>, a: &Accumulator) -> Option<u64> {
    segment(s, a, u64::from(a.retransmitted) + u64::from(a.lost))
}

/// Half up, as the published values are.
fn mean_bytes(a: &Accumulator) -> Option<u64> {
    a.bytes.saturating_mul(2).saturating_add(a.packets).checked_div(a.packets.saturating_mul(2))
}

/// A feature that only means something where a session understood this application.
fn said<T>(s: &Subject<'_>, app: App, value: T) -> Option<T> {
    (s.record.talk.app == app).then_some(value)
}

/// Argus's names, from /etc/protocols.
fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        protocol::ICMP => "icmp",
        2 => "igmp",
        4 => "ipnip",
        protocol::TCP => "tcp",
        8 => "egp",
        9 => "igp",
        protocol::UDP => "udp",
        41 => "ipv6",
        46 => "rsvp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        protocol::ICMPV6 => "ipv6-icmp",
        59 => "ipv6-no",
        88 => "eigrp",
        89 => "ospf",
        97 => "etherip",
        103 => "pim",
        108 => "ipcomp",
        112 => "vrrp",
        113 => "pgm",
        115 => "l2tp",
        132 => "sctp",
        136 => "udplite",
        143..=252 => "unas",
        _ => return None,
    })
}

fn service(app: App) -> &'static str {
    match app {
        App::Http => "http",
        App::Ftp => "ftp",
        App::Smtp => "smtp",
        App::Ssh => "ssh",
        App::Dns => "dns",
        App::Tls => "ssl",
        App::Snmp => "snmp",
        App::Dhcp => "dhcp",
        App::Pop3 => "pop3",
        App::Irc => "irc",
        App::Radius => "radius",
        _ => "-",
    }
}

/// Argus's state of the transaction.
fn state(r: &FlowRecord) -> &'static str {
    let answered = r.stats.from_responder().packets > 0;
    if r.key.protocol != protocol::TCP {
        return if answered { "CON" } else { "INT" };
    }
    match r.stats.state {
        TcpState::Reset => "RST",
        _ if !answered => "REQ",
        TcpState::Closing | TcpState::Closed => "FIN",
        TcpState::SynReceived => "ACC",
        _ => "CON",
    }
}

/// The class of state and TTLs, as tabulated from the data set.
fn state_ttl(state: &str, sttl: u8, dttl: u8) -> u64 {
    match (state, sttl, dttl) {
        ("FIN", 62 | 63 | 254 | 255, 252 | 253) => 1,
        ("INT", 0 | 62 | 254, 0) => 2,
        ("CON", 62, 252 | 253) => 3,
        ("CON" | "ACC", 254, 252) => 4,
        ("CLO", 254, 252) => 5,
        ("REQ", 254, 0) => 6,
        _ => 0,
    }
}

features! {
    Real "dur" "s" "last packet − first packet, either direction" [] |s| Some(duration(s.record));
    Text "proto" "" "name of the IP protocol; `unas` for 143 to 252; absent for others without a name here"
        ["ARP is no flow here. The data set has about a hundred further names of rare numbers."]
        |s| protocol_name(s.record.key.protocol);
    Text "service" "" "application by content, `-` where none of http, ftp, smtp, ssh, dns, ssl, snmp, dhcp, pop3, irc, radius"
        ["`ftp-data` is not told: its content is any file."]
        |s| Some(service(s.record.app()));
    Text "state" "" "TCP: RST after a reset; else REQ without any answer; FIN after a FIN; ACC after SYN+ACK alone; else CON. Others: CON if both sides sent, else INT"
        ["CLO, which the data set has once, is never said."]
        |s| Some(state(s.record));
    Integer "spkts" "packets" "packets of the source" [] |s| Some(src(s).packets);
    Integer "dpkts" "packets" "packets of the destination" [] |s| Some(dst(s).packets);
    Integer "sbytes" "bytes" "IP bytes of the source" [] |s| Some(src(s).bytes);
    Integer "dbytes" "bytes" "IP bytes of the destination" [] |s| Some(dst(s).bytes);
    Real "rate" "packets/s" "(spkts + dpkts − 1) / dur; absent if dur is 0" [] |s| rate(s.record);
    Integer "sttl" "hops" "smallest TTL of the source"
        ["Argus takes one packet's TTL; they differ only where the TTL changes within a flow."]
        |s| sent(src(s), u64::from(src(s).ttl_min));
    Integer "dttl" "hops" "smallest TTL of the destination; absent without an answer" ["As sttl."]
        |s| sent(dst(s), u64::from(dst(s).ttl_min));
    Real "sload" "bit/s" "8 · sbytes · (spkts − 1) / spkts / dur; absent if dur is 0" [] |s| load(s.record, src(s));
    Real "dload" "bit/s" "8 · dbytes · (dpkts − 1) / dpkts / dur; absent if dur or dpkts is 0" [] |s| load(s.record, dst(s));
    Integer "sloss" "packets" "TCP: segments of the source that brought nothing new, and segments before which something was missing"
        ["Argus decides by its own timers which of both a packet is."] |s| loss(s, src(s));
    Integer "dloss" "packets" "the same of the destination" ["As sloss."] |s| loss(s, dst(s));
    Real "sinpkt" "ms" "mean gap between packets of the source; absent below two"
        ["A flow of one packet has the time since an earlier record in the data set (60,000 for ARP)."] |s| gap_ms(src(s));
    Real "dinpkt" "ms" "mean gap between packets of the destination; absent below two" ["As sinpkt."] |s| gap_ms(dst(s));
    Real "sjit" "ms" "standard deviation (over their number) of the gaps between packets of the source; absent below two packets"
        ["For TCP the published values exceed what any gaps of that mean can give: not reproducible. Those of other protocols agree."]
        |s| jitter_ms(src(s));
    Real "djit" "ms" "the same of the destination" ["As sjit; for TCP a quarter of the published values is out of bounds."]
        |s| jitter_ms(dst(s));
    Integer "swin" "bytes" "TCP: window of the source's first segment, unscaled"
        ["In the data set 255 for nearly every TCP flow, and 0 for others: a trait of its traffic generator."]
        |s| segment(s, src(s), u64::from(src(s).first_window));
    Integer "stcpb" "" "TCP: sequence number of the source's first segment" [] |s| segment(s, src(s), u64::from(src(s).first_seq));
    Integer "dtcpb" "" "TCP: sequence number of the destination's first segment" [] |s| segment(s, dst(s), u64::from(dst(s).first_seq));
    Integer "dwin" "bytes" "TCP: window of the destination's first segment, unscaled" ["As swin."]
        |s| segment(s, dst(s), u64::from(dst(s).first_window));
    Real "tcprtt" "s" "synack + ackdat; absent without a whole handshake" []
        |s| Some(between(s.record.stats.syn_ns, s.record.stats.synack_ns)? + between(s.record.stats.synack_ns, s.record.stats.established_ns)?);
    Real "synack" "s" "from the first SYN to the first SYN+ACK; absent if either was not seen" []
        |s| between(s.record.stats.syn_ns, s.record.stats.synack_ns);
    Real "ackdat" "s" "from the first SYN+ACK to the ACK that completes the handshake; absent if either was not seen" []
        |s| between(s.record.stats.synack_ns, s.record.stats.established_ns);
    Integer "smean" "bytes" "sbytes / spkts, rounded half up" [] |s| mean_bytes(src(s));
    Integer "dmean" "bytes" "dbytes / dpkts, rounded half up; absent without an answer" [] |s| mean_bytes(dst(s));
    Integer "trans_depth" "requests" "HTTP requests on the connection; absent where no HTTP was read" []
        |s| said(s, App::Http, u64::from(s.record.talk.http_requests));
    Integer "response_body_len" "bytes" "bytes of HTTP response bodies, without chunk framing; absent where no HTTP was read"
        ["The data set has the uncompressed size; here compressed bodies count as sent."]
        |s| said(s, App::Http, s.record.talk.http_body_bytes);
    Integer "ct_srv_src" "flows" "of the last 100 that ended, this one included, those of the same service and source address"
        ["Services are told as finely as the application is recognised, beyond the names of `service`."]
        |s| Some(u64::from(s.shared.app_src));
    Integer "ct_state_ttl" "" "class of state, sttl and dttl: FIN with 62, 63, 254 or 255 and 252 or 253: 1; INT with 0, 62 or 254 and 0: 2; CON with 62 and 252 or 253: 3; CON or ACC with 254 and 252: 4; CLO with 254 and 252: 5; REQ with 254 and 0: 6; else 0 (absent counts as 0)"
        ["The TTLs are those of the data set's testbed: elsewhere nearly all is 0. The data set contradicts itself on CON with 254 and 60 (0 or 3) and with 254 and 252 (4 or 0)."]
        |s| Some(state_ttl(
            state(s.record),
            sent(src(s), src(s).ttl_min).unwrap_or(0),
            sent(dst(s), dst(s).ttl_min).unwrap_or(0),
        ));
    Integer "ct_dst_ltm" "flows" "of the last 100, those of the same destination address" [] |s| Some(u64::from(s.shared.dst));
    Integer "ct_src_dport_ltm" "flows" "of the last 100, those of the same source address and destination port" [] |s| Some(u64::from(s.shared.src_dport));
    Integer "ct_dst_sport_ltm" "flows" "of the last 100, those of the same destination address and source port" [] |s| Some(u64::from(s.shared.dst_sport));
    Integer "ct_dst_src_ltm" "flows" "of the last 100, those of the same source and destination address" [] |s| Some(u64::from(s.shared.src_dst));
    Integer "is_ftp_login" "" "1 if an FTP user logged in with a password, else 0; absent where no FTP was read"
        ["The data set also has 2, the number of commands, in a few rows."]
        |s| said(s, App::Ftp, u64::from(s.record.talk.ftp_login));
    Integer "ct_ftp_cmd" "commands" "FTP commands; absent where no FTP was read"
        ["The data set has 0 to 2 only: it counts kinds of commands that its text does not name."]
        |s| said(s, App::Ftp, u64::from(s.record.talk.ftp_commands));
    Integer "ct_flw_http_mthd" "requests" "HTTP requests with a method of RFC 9110; absent where no HTTP was read" []
        |s| said(s, App::Http, u64::from(s.record.talk.http_methods));
    Integer "ct_src_ltm" "flows" "of the last 100, those of the same source address" [] |s| Some(u64::from(s.shared.src));
    Integer "ct_srv_dst" "flows" "of the last 100, those of the same service and destination address" ["As ct_srv_src."]
        |s| Some(u64::from(s.shared.app_dst));
    Integer "is_sm_ips_ports" "" "1 if both addresses and both ports are equal (the LAND attack), else 0" []
        |s| Some(u64::from(s.record.initiator() == s.record.responder()));
}
