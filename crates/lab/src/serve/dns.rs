//! A name server: a small zone, a wildcard for tests without the internet, the far end of a tunnel, and large answers.
//!
//! It answers as a resolver would, recursion available. What it knows:
//!
//! | name | answer |
//! |---|---|
//! | `example`, `www.example`, `mail.example`, … ([`HOSTS`]) | A, AAAA, MX, TXT, NS, SOA |
//! | anything below `cdn.example` | A, AAAA, short-lived; names there are as random as those of content networks |
//! | anything below `rep.example` | A 127.0.0.2 and TXT, as block lists and antivirus lookups answer |
//! | anything below `t.example` | TXT, NULL, CNAME and MX of random letters, A: a tunnel's far end |
//! | `large.example` | TXT and ANY of some 3,000 bytes, as signed zones answer |
//! | anything else | no such name, or in wildcard mode the address given |

use super::{Parameter, Server, TrafficError, Values, listen, parameter};
use crate::arguments::Kind;
use crate::chance::Chance;
use crate::traffic::dns::{HEADER, Question, encode, kind, parse};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};

/// Hosts below `example`, beside the bare name.
pub const HOSTS: [&str; 10] =
    ["www", "mail", "ns", "files", "app", "time", "update", "backup", "media", "dc"];

/// Pieces of the text of `large.example`, of 250 bytes each.
const LARGE: usize = 12;
/// Longest answer over UDP, whatever the asker takes: as the usual limit of servers that send fragments.
const MAX_UDP: usize = 4096;
/// Queries answered on one TCP connection.
const MAX_QUERIES: u32 = 1000;
/// Bytes of a tunnel's answer: a TXT string with some room below its limit of 255.
const TUNNEL: usize = 180;
/// What answers of the tunnel are made of.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

pub(super) const PARAMETERS: &[Parameter] = &[
    parameter::ADDRESS,
    parameter::port("53"),
    Parameter::new("answer", Kind::Address, "IPv4 address of the hosts it knows").or("192.0.2.110"),
    Parameter::new("answer6", Kind::Address, "IPv6 address of the hosts it knows").or("2001:db8::110"),
    Parameter::new("wildcard", Kind::Choice(&["no", "yes"]), "whether every other name resolves too")
        .or("no"),
];

pub(super) fn start(values: &Values) -> Result<Vec<Server>, TrafficError> {
    let given = [values.addr("answer"), values.addr("answer6")];
    let zone = Zone {
        a: given.iter().find_map(|a| if let IpAddr::V4(a) = a { Some(*a) } else { None }),
        aaaa: given.iter().find_map(|a| if let IpAddr::V6(a) = a { Some(*a) } else { None }),
        wildcard: values.word("wildcard") == "yes",
    };
    let udp = Server::udp(listen(values), move |message| zone.answer(message, Some(MAX_UDP)))?;
    // The port that was chosen for one transport is the other's too.
    let tcp = Server::tcp(udp.addr(), move |stream| serve_stream(stream, zone))?;
    Ok(vec![udp, tcp])
}

/// Queries with their length before them, RFC 1035 §4.2.2.
fn serve_stream(mut stream: TcpStream, zone: Zone) -> io::Result<()> {
    for _ in 0..MAX_QUERIES {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        let Some(answer) = zone.answer(&message, None) else { break };
        let mut framed = u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
        framed.extend(answer);
        stream.write_all(&framed)?;
    }
    Ok(())
}

/// What the server knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    pub(super) a: Option<Ipv4Addr>,
    pub(super) aaaa: Option<Ipv6Addr>,
    pub(super) wildcard: bool,
}

/// Type and data of a record, and how long it may be kept, s.
type Record = (u16, Vec<u8>, u32);

impl Zone {
    /// The answer to a message; `None` to what is no standard query. `most` is the longest over UDP.
    pub(super) fn answer(&self, message: &[u8], most: Option<usize>) -> Option<Vec<u8>> {
        let question = parse(message)?;
        let (code, records) = self.lookup(&question);
        let whole = assemble(message, &question, code, &records);
        match most {
            Some(most) if whole.len() > most.min(usize::from(question.size)) => {
                let mut cut = assemble(message, &question, code, &[]);
                // Truncated: the asker comes back over TCP.
                cut[2] |= 0x02;
                Some(cut)
            }
            _ => Some(whole),
        }
    }

    fn lookup(&self, question: &Question) -> (u8, Vec<Record>) {
        let name = question.name.as_str();
        let below = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
        let asked = |kind: u16| question.kind == kind || question.kind == kind::ANY;
        let addresses = |ttl| {
            let a = self.a.filter(|_| asked(kind::A)).map(|a| (kind::A, a.octets().to_vec(), ttl));
            let aaaa =
                self.aaaa.filter(|_| asked(kind::AAAA)).map(|a| (kind::AAAA, a.octets().to_vec(), ttl));
            a.into_iter().chain(aaaa).collect::<Vec<Record>>()
        };
        if below("t.example") {
            return (NO_ERROR, tunnel(question));
        }
        if below("rep.example") {
            let record = match question.kind {
                kind::A => Some((kind::A, vec![127, 0, 0, 2], 300)),
                kind::TXT => Some((kind::TXT, text(b"listed=no score=0"), 300)),
                _ => None,
            };
            return (NO_ERROR, record.into_iter().collect());
        }
        if below("cdn.example") {
            return (NO_ERROR, addresses(30));
        }
        if name == "large.example" {
            let piece = |i: usize| (kind::TXT, text(&[b'a' + u8::try_from(i).unwrap_or(0); 250]), 3600);
            let all: Vec<Record> =
                if asked(kind::TXT) { (0..LARGE).map(piece).collect() } else { Vec::new() };
            return (NO_ERROR, all.into_iter().chain(addresses(3600)).collect());
        }
        let known = name == "example" || HOSTS.iter().any(|h| name.strip_prefix(h) == Some(".example"));
        if !known && !self.wildcard {
            return (NO_SUCH_NAME, Vec::new());
        }
        let mut records = addresses(300);
        if name == "example" {
            let soa = [
                encode("ns.example"),
                encode("hostmaster.example"),
                [1, 7200, 900, 86400, 300].into_iter().flat_map(u32::to_be_bytes).collect(),
            ]
            .concat();
            let all = [
                (kind::NS, encode("ns.example")),
                (kind::SOA, soa),
                (kind::MX, [vec![0, 10], encode("mail.example")].concat()),
                (kind::TXT, text(b"v=spf1 mx -all")),
            ];
            records.extend(all.into_iter().filter(|(k, _)| asked(*k)).map(|(k, data)| (k, data, 300)));
        }
        (NO_ERROR, records)
    }
}

/// What the far end of a tunnel says: letters that depend on the name asked, so that no two answers are alike.
fn tunnel(question: &Question) -> Vec<Record> {
    let seed = question
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut chance = Chance::new(seed);
    let name = |chance: &mut Chance| encode(&format!("{}.t.example", chance.text(LETTERS, 48)));
    let data = match question.kind {
        kind::TXT => text(chance.text(LETTERS, TUNNEL).as_bytes()),
        kind::NULL => chance.bytes(TUNNEL),
        kind::CNAME => name(&mut chance),
        kind::MX => [vec![0, 10], name(&mut chance)].concat(),
        kind::A => chance.bytes(4),
        kind::AAAA => chance.bytes(16),
        _ => return Vec::new(),
    };
    vec![(question.kind, data, 0)]
}

/// Text as strings of up to 255 bytes.
fn text(bytes: &[u8]) -> Vec<u8> {
    let string = |s: &[u8]| [&[u8::try_from(s.len()).unwrap_or(u8::MAX)][..], s].concat();
    bytes.chunks(255).flat_map(string).collect()
}

/// A message of question, records, and an OPT record if the asker sent one.
fn assemble(query: &[u8], question: &Question, code: u8, records: &[Record]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend(question.id.to_be_bytes());
    // A response, authoritative, recursion desired and available.
    out.extend([0x85, 0x80 | code, 0, 1]);
    out.extend(u16::try_from(records.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend([0, 0, 0, u8::from(question.edns)]);
    out.extend(query.get(HEADER..question.end).unwrap_or_default());
    for (kind, data, ttl) in records {
        // A pointer to the question's name.
        out.extend([0xc0, 0x0c]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(data);
    }
    if question.edns {
        out.push(0);
        out.extend(kind::OPT.to_be_bytes());
        out.extend(u16::try_from(MAX_UDP).unwrap_or(u16::MAX).to_be_bytes());
        out.extend([0; 6]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::dns::question;
    use wire::message::dns::Dissector;
    use wire::message::{Dissector as _, Message, Side};

    const ZONE: Zone =
        Zone { a: Some(Ipv4Addr::new(192, 0, 2, 110)), aaaa: Some(Ipv6Addr::LOCALHOST), wildcard: false };

    fn ask(zone: Zone, name: &str, kind: u16, size: Option<u16>) -> wire::message::dns::Dns {
        let answer = zone.answer(&question(7, name, kind, size), Some(MAX_UDP)).expect("an answer");
        let mut out = Vec::new();
        Dissector::datagram().data(Side::Server, &answer, &mut out);
        match out.as_slice() {
            [Message::Dns(dns)] => dns.clone(),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn the_projects_own_parser_reads_every_answer() {
        // Name, type, size taken; code, answers, least bytes of data, truncated.
        let check = |name: &str, kind: u16, size: Option<u16>, expected: (u8, u16, u32, bool)| {
            let dns = ask(ZONE, name, kind, size);
            let data = dns.answer_bytes.min(expected.2);
            assert_eq!((dns.rcode, dns.answers, data, dns.truncated), expected, "{name} {kind}");
            assert!(dns.response && dns.id == 7 && *dns.name == *name, "{name}");
        };
        check("www.example", kind::A, None, (0, 1, 4, false));
        check("www.example", kind::AAAA, None, (0, 1, 16, false));
        check("example", kind::MX, None, (0, 1, 16, false));
        check("example", kind::ANY, None, (0, 6, 60, false));
        check("no-such.example", kind::A, None, (3, 0, 0, false));
        check("kq3vx.test", kind::A, None, (3, 0, 0, false));
        check("x7f3.cdn.example", kind::A, None, (0, 1, 4, false));
        check("1.2.0.192.rep.example", kind::TXT, None, (0, 1, 10, false));
        check("aaaa.t.example", kind::TXT, None, (0, 1, 180, false));
        check("aaaa.t.example", kind::NULL, None, (0, 1, 180, false));
        check("aaaa.t.example", kind::CNAME, None, (0, 1, 50, false));
        check("large.example", kind::ANY, Some(4096), (0, 14, 3000, false));
        check("large.example", kind::ANY, None, (0, 0, 0, true));
    }

    #[test]
    fn the_wildcard_answers_for_every_name() {
        let zone = Zone { wildcard: true, aaaa: None, ..ZONE };
        assert_eq!(ask(zone, "news.example.org", kind::A, None).answers, 1);
        let none = ask(zone, "news.example.org", kind::AAAA, None);
        assert_eq!((none.rcode, none.answers), (0, 0));
    }
}
