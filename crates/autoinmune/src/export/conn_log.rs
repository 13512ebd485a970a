//! Zeek's conn.log: tab-separated with Zeek's header, or JSON lines.
//!
//! Fields and their meaning are those of Zeek's `Conn::Info`, with `community_id` and `vlan` as its policy scripts add
//! them. Where the flow's sums do not tell what Zeek would know, the field is unset:
//!
//! - `uid` is made from key and start, so that every run gives the same; it is the `flow_id` of EVE in base 62.
//! - `orig_bytes`, `resp_bytes` count retransmitted payload too, Zeek's do not.
//! - `missed_bytes` is 0 where no TCP segment was missing when later ones came, else unset.
//! - `history` has each letter once at most, in a fixed order instead of that of time, and of Zeek's letters only
//!   `^ S H A D G T F R`; `A` where more packets had ACK than had payload,
//!   FIN, RST, or SYN of an answer.
//! - `local_orig`, `local_resp` are unset; `tunnel_parents` is empty outside tunnels and unset within, as the flow that
//!   carried it is not known.

use super::{Out, Table};
use crate::eve;
use flow::{Accumulator, App, EndReason, FlowRecord};
use serde::Serialize;
use std::io;
use wire::packet::protocol;

/// Name and Zeek type of each field, in its order.
const FIELDS: [(&str, &str); 23] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
    ("community_id", "string"),
    ("vlan", "int"),
];

/// A conn.log being written.
pub(super) struct ConnLog {
    json: bool,
    out: Out,
}

impl ConnLog {
    /// Writes the header.
    pub(super) fn new(mut out: Out, json: bool) -> io::Result<Self> {
        if !json {
            out.write_all(
                b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n",
            )?;
            writeln!(out, "#fields\t{}", FIELDS.map(|(name, _)| name).join("\t"))?;
            writeln!(out, "#types\t{}", FIELDS.map(|(_, kind)| kind).join("\t"))?;
        }
        Ok(Self { json, out })
    }
}

impl Table for ConnLog {
    fn row(&mut self, record: &FlowRecord, _: EndReason) -> io::Result<()> {
        let entry = Entry::of(record);
        if self.json {
            serde_json::to_writer(&mut self.out, &entry)?;
            self.out.write_all(b"\n")
        } else {
            writeln!(self.out, "{}", entry.line())
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One line. Unset fields are left out of JSON, as Zeek does.
#[derive(Serialize)]
struct Entry {
    ts: f64,
    uid: String,
    #[serde(rename = "id.orig_h")]
    orig_h: String,
    #[serde(rename = "id.orig_p")]
    orig_p: u16,
    #[serde(rename = "id.resp_h")]
    resp_h: String,
    #[serde(rename = "id.resp_p")]
    resp_p: u16,
    proto: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orig_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resp_bytes: Option<u64>,
    conn_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_bytes: Option<u64>,
    history: String,
    orig_pkts: u64,
    orig_ip_bytes: u64,
    resp_pkts: u64,
    resp_ip_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel_parents: Option<[&'static str; 0]>,
    community_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
}

impl Entry {
    fn of(r: &FlowRecord) -> Self {
        let ((orig_h, orig_p), (resp_h, resp_p)) = (r.initiator(), r.responder());
        let (orig, resp) = (r.stats.from_initiator(), r.stats.from_responder());
        let elapsed = r.last_ns().saturating_sub(r.first_ns());
        // Zeek sets these three together, and only where time passed.
        let lasting = |n: u64| (elapsed > 0).then_some(n);
        Self {
            ts: seconds(r.first_ns()),
            uid: uid(eve::flow_id(&r.key, r.first_ns())),
            orig_h: orig_h.to_string(),
            orig_p,
            resp_h: resp_h.to_string(),
            resp_p,
            proto: match r.key.protocol {
                protocol::TCP => "tcp",
                protocol::UDP => "udp",
                protocol::ICMP | protocol::ICMPV6 => "icmp",
                _ => "unknown_transport",
            },
            service: match r.app() {
                App::Unknown => None,
                App::Tls => Some("ssl"),
                other => Some(other.name()),
            },
            duration: (elapsed > 0).then(|| seconds(elapsed)),
            orig_bytes: lasting(orig.payload_bytes),
            resp_bytes: lasting(resp.payload_bytes),
            conn_state: conn_state(r),
            missed_bytes: (orig.lost == 0 && resp.lost == 0).then_some(0),
            history: history(r),
            orig_pkts: orig.packets,
            orig_ip_bytes: orig.bytes,
            resp_pkts: resp.packets,
            resp_ip_bytes: resp.bytes,
            tunnel_parents: (r.key.tunnel == 0).then_some([]),
            community_id: r.community_id(0),
            vlan: (r.key.vlan != 0).then_some(r.key.vlan),
        }
    }

    /// The tab-separated form.
    fn line(&self) -> String {
        fn or_unset<T: ToString>(value: Option<T>) -> String {
            value.map_or_else(|| "-".to_owned(), |v| v.to_string())
        }
        let fields: [String; FIELDS.len()] = [
            format!("{:.6}", self.ts),
            self.uid.clone(),
            self.orig_h.clone(),
            self.orig_p.to_string(),
            self.resp_h.clone(),
            self.resp_p.to_string(),
            self.proto.to_owned(),
            or_unset(self.service),
            or_unset(self.duration.map(|d| format!("{d:.6}"))),
            or_unset(self.orig_bytes),
            or_unset(self.resp_bytes),
            self.conn_state.to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            or_unset(self.missed_bytes),
            if self.history.is_empty() { "-".to_owned() } else { self.history.clone() },
            self.orig_pkts.to_string(),
            self.orig_ip_bytes.to_string(),
            self.resp_pkts.to_string(),
            self.resp_ip_bytes.to_string(),
            or_unset(self.tunnel_parents.map(|_| "(empty)")),
            self.community_id.clone(),
            or_unset(self.vlan),
        ];
        fields.join("\t")
    }
}

/// Whole microseconds, as Zeek prints and captures have.
fn seconds(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1e6
}

fn uid(mut id: u64) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = String::from("C");
    loop {
        out.push(char::from(DIGITS[(id % 62) as usize]));
        id /= 62;
        if id == 0 {
            return out;
        }
    }
}

/// Whether a side sent RST or FIN, by its index among the directions.
const fn has(mask: u8, direction: flow::Direction) -> bool {
    mask >> direction as u8 & 1 == 1
}

/// Zeek's rules for `conn_state` (Conn base script), the endpoints' states taken from ours.
fn conn_state(r: &FlowRecord) -> &'static str {
    let (orig, resp) = (r.stats.from_initiator(), r.stats.from_responder());
    let (orig_active, resp_active) = (orig.packets > 0, resp.packets > 0);
    match r.key.protocol {
        protocol::TCP => {}
        protocol::UDP => {
            return match (orig_active, resp_active) {
                (true, true) => "SF",
                (true, false) => "S0",
                (false, true) => "SHR",
                (false, false) => "OTH",
            };
        }
        _ => return "OTH",
    }
    let (a, b) = (r.stats.initiator, r.stats.initiator.reverse());
    let begun = r.stats.syn_ns != 0;
    let established = r.stats.established_ns != 0;
    if has(r.stats.rst_mask, b) {
        return match (orig_active, begun && !established) {
            (false, _) => "RSTRH",
            (true, true) => "REJ",
            (true, false) => "RSTR",
        };
    }
    if has(r.stats.rst_mask, a) {
        return if resp_active { "RSTO" } else { "RSTOS0" };
    }
    match (has(r.stats.fin_mask, a), has(r.stats.fin_mask, b)) {
        (true, true) => "SF",
        (true, false) => {
            if resp_active {
                "S2"
            } else {
                "SH"
            }
        }
        (false, true) => {
            if orig_active {
                "S3"
            } else {
                "SHR"
            }
        }
        (false, false) if established => "S1",
        (false, false) if begun && !resp_active => "S0",
        (false, false) => "OTH",
    }
}

fn history(r: &FlowRecord) -> String {
    let mut out = String::new();
    let tcp = r.key.protocol == protocol::TCP;
    let answer = tcp && r.stats.first_flags & 0x12 == 0x12;
    if answer {
        out.push('^');
    }
    let (orig, resp) = (r.stats.from_initiator(), r.stats.from_responder());
    let mut both = |letter: char, of: &dyn Fn(&Accumulator) -> bool| {
        if of(orig) {
            out.push(letter);
        }
        if of(resp) {
            out.push(letter.to_ascii_lowercase());
        }
    };
    if tcp {
        both('S', &|d| std::ptr::eq(d, orig) && r.stats.syn_ns != 0);
        both('H', &|d| std::ptr::eq(d, resp) && r.stats.synack_ns != 0);
        both('A', &|d| {
            let [fin, syn, rst, _, ack, ..] = d.flags;
            let answers = if std::ptr::eq(d, resp) { syn } else { 0 };
            u64::from(ack) > [d.data_packets, fin, rst, answers].map(u64::from).iter().sum()
        });
    }
    both('D', &|d| d.data_packets > 0);
    if tcp {
        both('G', &|d| d.lost > 0);
        both('T', &|d| d.retransmitted > 0);
        both('F', &|d| d.flags[0] > 0);
        both('R', &|d| d.flags[2] > 0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::{FlowKey, FlowStats, Outcome, Talk};
    use wire::LinkType;
    use wire::craft;
    use wire::packet::tcp_flag::{ACK, FIN, RST, SYN};

    /// A conversation in which each step is the sender (`>` the client) and letters for control bits, `+` for payload.
    fn record(conversation: &[&str]) -> FlowRecord {
        let client = (wire::Addr::v4([192, 0, 2, 1]), 40_000);
        let server = (wire::Addr::v4([192, 0, 2, 2]), 80);
        let mut so_far: Option<(FlowKey, FlowStats)> = None;
        let mut next = [100_u32, 900];
        for (at, step) in (1..).zip(conversation) {
            let from_client = step.starts_with('>');
            let flags = step.chars().fold(0, |bits, c| {
                bits | match c {
                    'S' => SYN,
                    'A' => ACK,
                    'F' => FIN,
                    'R' => RST,
                    _ => 0,
                }
            });
            let payload: &[u8] = if step.ends_with('+') { b"data" } else { b"" };
            let (src, dst) = if from_client { (client, server) } else { (server, client) };
            let seq = &mut next[usize::from(!from_client)];
            let frame = craft::tcp(src, dst, flags, *seq, 1, 1000, payload);
            *seq += payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
            let packet =
                wire::parse(LinkType::Ethernet, &frame, frame.len() as u32).expect("a frame of our own");
            let (key, direction) = FlowKey::of(&packet);
            let (_, stats) = so_far.get_or_insert_with(|| (key, FlowStats::begin(&packet, direction)));
            stats.account(at * 1_000_000, &packet, direction);
        }
        let (key, stats) = so_far.expect("a conversation");
        FlowRecord { key, stats, outcome: Outcome::Pending, talk: Talk::default() }
    }

    #[test]
    fn states_and_histories_are_those_of_zeek() {
        for (conversation, state, letters) in [
            (&[">S"][..], "S0", "S"),
            (&[">S", "<SA"], "OTH", "Sh"),
            (&[">S", "<SA", ">A"], "S1", "ShA"),
            (&[">S", "<SA", ">A", ">A+", "<A+"], "S1", "ShADd"),
            (&[">S", "<SA", ">A", ">A+", "<A", ">FA", "<FA", ">A"], "SF", "ShAaDFf"),
            (&[">S", "<RA"], "REJ", "Sr"),
            (&[">S", "<SA", ">A", ">FA"], "S2", "ShAF"),
            (&[">S", "<SA", ">A", "<FA"], "S3", "ShAf"),
            (&[">S", "<SA", ">R"], "RSTO", "ShR"),
            (&[">S", "<SA", ">A", "<R"], "RSTR", "ShAr"),
            (&[">S", ">R"], "RSTOS0", "SR"),
            (&["<SA", "<R"], "RSTRH", "^hr"),
            (&[">S", ">F"], "SH", "SF"),
            (&["<SA", "<F"], "SHR", "^hf"),
            (&[">A", "<A"], "OTH", "Aa"),
        ] {
            let r = record(conversation);
            assert_eq!((conn_state(&r), &*history(&r)), (state, letters), "{conversation:?}");
        }
    }

    #[test]
    fn identifiers_are_base_62() {
        for (id, expected) in [(0, "C0"), (61, "Cz"), (62, "C01"), (62 * 62 + 10, "CA01")] {
            assert_eq!(uid(id), expected);
        }
    }
}
