//! Truth about traffic, in the text form that lies beside a capture: who did what to whom, and when.
//!
//! `x.pcap` has its labels in `x.labels.csv`. Whoever makes traffic writes rows; whoever judges or learns asks which row a
//! flow belongs to. Both use this module, so that there is one meaning of a label.
//!
//! The first line that is neither empty nor a comment is [`Labels::HEADER`]; each later one is a row of as many fields.
//! A line that begins with `#` is a comment. Fields are separated by commas and never quoted: none may hold a comma, a
//! quote or a control character. An empty field of a condition matches anything.
//!
//! | field | condition on the flow |
//! |---|---|
//! | `start_ns`, `end_ns` | some of its time, first to last packet, lies within; ns since 1970, both ends included |
//! | `protocol` | `tcp`, `udp`, `icmp`, `icmpv6`, or an IP protocol number; `arp` matches no flow |
//! | `source`, `source_port` | address or prefix, and port, of the side that began it |
//! | `target`, `target_port` | the same of the side that was contacted |
//!
//! `actor`, `class`, `technique` and `scenario` say what it was. A flow is what the first row that matches says, and
//! [`BENIGN`] if none does.

use crate::FlowRecord;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use wire::Addr;
use wire::packet::protocol;

/// The class of traffic that means no harm.
pub const BENIGN: &str = "benign";

/// Longest line, bytes: eleven fields of reasonable length; more is not a label file.
pub const MAX_LINE: usize = 1024;

/// Most rows of a file: one for each flow of a large capture, some 200 MB in memory.
pub const MAX_ROWS: usize = 1_000_000;

/// Number of fields of a row.
const FIELDS: usize = 11;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Flows of this IP protocol.
    Ip(u8),
    /// ARP, which makes no flows: such a row is found by who is named in it, see [`Label::concerns`].
    Arp,
}

/// An address or a prefix. `len` counts within the address's own version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    addr: Addr,
    len: u8,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Begin of the time it is about, ns since 1970; 0 means since ever.
    pub start_ns: u64,
    /// End of that time, included; `u64::MAX` means for ever.
    pub end_ns: u64,
    /// Protocol; any if `None`.
    pub protocol: Option<Protocol>,
    /// Who began the flow; anybody if `None`.
    pub source: Option<Net>,
    /// Port of the side that began it.
    pub source_port: Option<u16>,
    /// Who was contacted.
    pub target: Option<Net>,
    /// Port that was contacted.
    pub target_port: Option<u16>,
    /// Who did it: a name or an address.
    pub actor: String,
    /// Class of threat, or [`BENIGN`].
    pub class: String,
    /// MITRE ATT&CK technique, or empty.
    pub technique: String,
    /// What it was part of, or empty.
    pub scenario: String,
}

/// Who spoke with whom, and when: what a row's conditions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Address and port of the side that began it.
    pub source: (Addr, u16),
    /// Address and port of the side that was contacted.
    pub target: (Addr, u16),
    /// IP protocol number.
    pub protocol: u8,
    /// Time of the first packet, ns since 1970.
    pub first_ns: u64,
    /// Time of the last packet, ns since 1970.
    pub last_ns: u64,
}

impl From<&FlowRecord> for Parties {
    fn from(flow: &FlowRecord) -> Self {
        Self {
            source: flow.initiator(),
            target: flow.responder(),
            protocol: flow.key.protocol,
            first_ns: flow.first_ns(),
            last_ns: flow.last_ns(),
        }
    }
}

/// The rows of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    rows: Vec<Label>,
    /// Positions of rows about one source address, by it and its port if that is given.
    by_source: BTreeMap<(Addr, Option<u16>), Vec<usize>>,
    /// Positions of all others.
    others: Vec<usize>,
}

/// Why a text is not a list of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for LabelError {}

impl Default for Label {
    /// Anything at any time is benign.
    fn default() -> Self {
        Self {
            start_ns: 0,
            end_ns: u64::MAX,
            protocol: None,
            source: None,
            source_port: None,
            target: None,
            target_port: None,
            actor: String::new(),
            class: BENIGN.to_owned(),
            technique: String::new(),
            scenario: String::new(),
        }
    }
}

impl Net {
    /// One address.
    #[must_use]
    pub fn host(addr: Addr) -> Self {
        Self { addr, len: width(addr) }
    }

    /// The prefix of `len` bits that holds `addr`; `None` if `len` is more than the address has.
    #[must_use]
    pub fn new(addr: Addr, len: u8) -> Option<Self> {
        (len <= width(addr)).then_some(Self { addr, len })
    }

    /// Whether `addr` lies within.
    #[must_use]
    pub fn contains(&self, addr: Addr) -> bool {
        if addr.is_v4() != self.addr.is_v4() {
            return false;
        }
        let bits = u32::from(self.len) + if addr.is_v4() { 96 } else { 0 };
        let differs = u128::from_be_bytes(addr.0) ^ u128::from_be_bytes(self.addr.0);
        differs.leading_zeros() >= bits
    }

    /// The address, if it is just one.
    #[must_use]
    pub fn as_host(&self) -> Option<Addr> {
        (self.len == width(self.addr)).then_some(self.addr)
    }

    fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            // `parse` alone would take a sign.
            Some((addr, len)) if len.bytes().all(|b| b.is_ascii_digit()) => {
                Self::new(addr.parse().ok()?, len.parse().ok()?)
            }
            Some(_) => None,
            None => text.parse().ok().map(Self::host),
        }
    }
}

impl From<Addr> for Net {
    fn from(addr: Addr) -> Self {
        Self::host(addr)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_host() {
            Some(addr) => addr.fmt(f),
            None => write!(f, "{}/{}", self.addr, self.len),
        }
    }
}

impl Serialize for Net {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

fn width(addr: Addr) -> u8 {
    if addr.is_v4() { 32 } else { 128 }
}

impl Protocol {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "arp" => Self::Arp,
            "tcp" => Self::Ip(protocol::TCP),
            "udp" => Self::Ip(protocol::UDP),
            "icmp" => Self::Ip(protocol::ICMP),
            "icmpv6" => Self::Ip(protocol::ICMPV6),
            number if number.bytes().all(|b| b.is_ascii_digit()) => Self::Ip(number.parse().ok()?),
            _ => return None,
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp => f.write_str("arp"),
            Self::Ip(protocol::TCP) => f.write_str("tcp"),
            Self::Ip(protocol::UDP) => f.write_str("udp"),
            Self::Ip(protocol::ICMP) => f.write_str("icmp"),
            Self::Ip(protocol::ICMPV6) => f.write_str("icmpv6"),
            Self::Ip(number) => number.fmt(f),
        }
    }
}

impl Label {
    /// Whether the row is about traffic that means no harm.
    #[must_use]
    pub fn is_benign(&self) -> bool {
        self.class == BENIGN
    }

    /// Whether the row is about any of the time from `first_ns` to `last_ns`.
    #[must_use]
    pub const fn overlaps(&self, first_ns: u64, last_ns: u64) -> bool {
        self.start_ns <= last_ns && first_ns <= self.end_ns
    }

    /// Whether a flow of these parties is one that the row describes.
    #[must_use]
    pub fn matches(&self, flow: &Parties) -> bool {
        let ((source, source_port), (target, target_port)) = (flow.source, flow.target);
        self.protocol.is_none_or(|p| p == Protocol::Ip(flow.protocol))
            && self.source.is_none_or(|n| n.contains(source))
            && self.target.is_none_or(|n| n.contains(target))
            && self.source_port.is_none_or(|p| p == source_port)
            && self.target_port.is_none_or(|p| p == target_port)
            && self.overlaps(flow.first_ns, flow.last_ns)
    }

    /// Whether `addr` is one that the row names, as source, target or actor: who an alert is about where there is no flow.
    #[must_use]
    pub fn concerns(&self, addr: Addr) -> bool {
        self.source.is_some_and(|n| n.contains(addr))
            || self.target.is_some_and(|n| n.contains(addr))
            || self.actor.parse() == Ok(addr)
    }

    /// The row as text, without a line end. Characters that a field may not hold become `_`.
    #[must_use]
    pub fn to_line(&self) -> String {
        fn any<T: ToString>(value: Option<T>) -> String {
            value.map_or_else(String::new, |v| v.to_string())
        }
        let fields: [String; FIELDS] = [
            any((self.start_ns > 0).then_some(self.start_ns)),
            any((self.end_ns < u64::MAX).then_some(self.end_ns)),
            any(self.protocol),
            any(self.source),
            any(self.source_port),
            any(self.target),
            any(self.target_port),
            plain(&self.actor),
            plain(&self.class),
            plain(&self.technique),
            plain(&self.scenario),
        ];
        fields.join(",")
    }

    fn parse(line: &str) -> Result<Self, String> {
        if line.len() > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} bytes"));
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let Ok(
            [
                start,
                end,
                protocol,
                source,
                source_port,
                target,
                target_port,
                actor,
                class,
                technique,
                scenario,
            ],
        ) = <[&str; FIELDS]>::try_from(fields.as_slice())
        else {
            return Err(format!("{} fields where {FIELDS} belong", fields.len()));
        };
        if let Some(field) =
            [actor, class, technique, scenario].into_iter().find(|f| !f.chars().all(is_plain))
        {
            return Err(format!("{field:?} holds a quote or a control character"));
        }
        if !is_class(class) {
            return Err(format!(
                "class is '{class}'; it is '{BENIGN}' or a class of threat such as port_scan, in lower case"
            ));
        }
        let label = Self {
            start_ns: field("start_ns", start, number)?.unwrap_or(0),
            end_ns: field("end_ns", end, number)?.unwrap_or(u64::MAX),
            protocol: field("protocol", protocol, Protocol::parse)?,
            source: field("source", source, Net::parse)?,
            source_port: field("source_port", source_port, number)?,
            target: field("target", target, Net::parse)?,
            target_port: field("target_port", target_port, number)?,
            actor: actor.to_owned(),
            class: class.to_owned(),
            technique: technique.to_owned(),
            scenario: scenario.to_owned(),
        };
        if label.end_ns < label.start_ns {
            return Err(format!("end_ns {end} is before start_ns {start}"));
        }
        Ok(label)
    }
}

/// A field's value; `None` if it is empty.
fn field<T>(name: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).ok_or_else(|| format!("{name} is '{text}', which it cannot be"))
}

/// A number without sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn is_class(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_plain(c: char) -> bool {
    c != ',' && c != '"' && !c.is_control()
}

fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

impl Labels {
    /// The first line of a file.
    pub const HEADER: &'static str =
        "start_ns,end_ns,protocol,source,source_port,target,target_port,actor,class,technique,scenario";

    /// Labels of these rows, in this order.
    #[must_use]
    pub fn new(rows: Vec<Label>) -> Self {
        let mut labels = Self { rows, ..Self::default() };
        for (at, row) in labels.rows.iter().enumerate() {
            match row.source.and_then(|n| n.as_host()) {
                Some(source) => labels.by_source.entry((source, row.source_port)).or_default().push(at),
                None => labels.others.push(at),
            }
        }
        labels
    }

    /// The rows of a file's text.
    ///
    /// # Errors
    /// The first line that is wrong: without the header, with a field that is none, or beyond [`MAX_ROWS`].
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let mut rows = Vec::new();
        let mut begun = false;
        let mut last = 0;
        for (line, content) in (1..).zip(text.lines()) {
            last = line;
            let content = content.trim_start_matches('\u{feff}').trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let error = |what| LabelError { line, what };
            if !begun {
                if content != Self::HEADER {
                    return Err(error(format!("not the header '{}'", Self::HEADER)));
                }
                begun = true;
                continue;
            }
            if rows.len() == MAX_ROWS {
                return Err(error(format!("more than {MAX_ROWS} rows")));
            }
            rows.push(Label::parse(content).map_err(error)?);
        }
        if !begun {
            let what = format!("ends without the header '{}'", Self::HEADER);
            return Err(LabelError { line: last.max(1), what });
        }
        Ok(Self::new(rows))
    }

    /// The row that a flow belongs to; none means benign.
    #[must_use]
    pub fn of(&self, flow: &FlowRecord) -> Option<&Label> {
        self.find(&flow.into())
    }

    /// As [`Self::of`], where there is no record.
    #[must_use]
    pub fn find(&self, flow: &Parties) -> Option<&Label> {
        let (source, port) = flow.source;
        let about = |key| self.by_source.get(&key).map_or(&[][..], Vec::as_slice);
        let first = |places: &[usize]| {
            places.iter().copied().find(|at| self.rows.get(*at).is_some_and(|row| row.matches(flow)))
        };
        let found = [about((source, Some(port))), about((source, None)), &self.others];
        found.into_iter().filter_map(first).min().and_then(|at| self.rows.get(at))
    }

    /// The rows, in their order.
    #[must_use]
    pub fn rows(&self) -> &[Label] {
        &self.rows
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("{}\n", Self::HEADER);
        for row in &self.rows {
            out.push_str(&row.to_line());
            out.push('\n');
        }
        out
    }
}
