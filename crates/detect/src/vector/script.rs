//! Activities to packets.

use super::{Answer, EPOCH_NS, MAX_PACKETS, Send, Traffic, spoken};
use wire::message::arp::Arp;
use wire::packet::{protocol, tcp_flag};
use wire::{Addr, Fragment, Packet};

/// Round-trip time of all connections, ns.
const ROUND_TRIP_NS: u64 = 2_000_000;
/// Receive window of those that state no other, bytes: that of Linux.
const WINDOW: u16 = 64_240;
/// Payload of a full-sized segment, bytes.
const SEGMENT: u32 = 1448;

/// One packet to be.
pub(super) struct Item {
    pub(super) at_ns: u64,
    pub(super) src: (Addr, u16),
    pub(super) dst: (Addr, u16),
    pub(super) protocol: u8,
    pub(super) flags: u8,
    pub(super) seq: u32,
    pub(super) payload_len: u32,
    pub(super) text: Vec<u8>,
    /// Receive window of TCP; 0 stands for [`WINDOW`].
    pub(super) window: u16,
    /// Place in a fragmented datagram: which, identification, offset.
    pub(super) fragment: (Fragment, u32, u16),
    /// An ARP packet instead of all this.
    pub(super) arp: Option<Arp>,
}

impl Item {
    /// No packet at all.
    pub(super) const fn nothing(at_ns: u64, src: (Addr, u16), dst: (Addr, u16)) -> Self {
        Self {
            at_ns,
            src,
            dst,
            protocol: 0,
            flags: 0,
            seq: 0,
            payload_len: 0,
            text: Vec::new(),
            window: 0,
            fragment: (Fragment::None, 0, 0),
            arp: None,
        }
    }

    pub(super) fn packet(&self) -> Packet<'_> {
        let header = match self.protocol {
            protocol::TCP => 52,
            _ => 28,
        };
        let icmp = self.protocol == protocol::ICMP;
        Packet {
            src: self.src.0,
            dst: self.dst.0,
            src_port: self.src.1,
            dst_port: self.dst.1,
            protocol: self.protocol,
            vlan: 0,
            ip_len: header + self.payload_len,
            frame_len: 14 + header + self.payload_len,
            payload_len: self.payload_len,
            ttl: 64,
            tcp_flags: self.flags,
            tcp_seq: self.seq,
            tcp_ack: 0,
            tcp_window: match (self.protocol, self.window) {
                (protocol::TCP, 0) => WINDOW,
                (protocol::TCP, window) => window,
                _ => 0,
            },
            icmp_type: if icmp { u8::try_from(self.src.1).unwrap_or(0) } else { 0 },
            icmp_code: 0,
            fragment: self.fragment.0,
            fragment_id: self.fragment.1,
            fragment_offset: self.fragment.2,
            transport_len: if self.protocol == protocol::TCP { 32 } else { 8 },
            tunnel: 0,
            opaque_tunnel: false,
            payload: &self.text,
        }
    }
}

/// Expands one connection or probe.
pub(super) struct Script<'a> {
    pub(super) items: &'a mut Vec<Item>,
    pub(super) client: (Addr, u16),
    pub(super) server: (Addr, u16),
    pub(super) protocol: u8,
    pub(super) at_ns: u64,
    pub(super) sent: [u32; 2],
    pub(super) window: u16,
}

impl Script<'_> {
    pub(super) fn send(&mut self, by_client: bool, flags: u8, payload_len: u32, text: &[u8]) {
        let (src, dst) = if by_client { (self.client, self.server) } else { (self.server, self.client) };
        let side = &mut self.sent[usize::from(by_client)];
        let seq = 1000u32.wrapping_add(*side);
        // SYN and FIN take a sequence number each (RFC 9293 §3.4).
        let controls = (flags & (tcp_flag::SYN | tcp_flag::FIN)).count_ones();
        *side = side.wrapping_add(payload_len + controls);
        self.items.push(Item {
            at_ns: self.at_ns,
            src,
            dst,
            protocol: self.protocol,
            flags,
            seq,
            payload_len,
            text: text.to_vec(),
            window: if by_client { self.window } else { 0 },
            fragment: (Fragment::None, 0, 0),
            arp: None,
        });
    }

    pub(super) fn wait(&mut self, ns: u64) {
        self.at_ns += ns;
    }

    pub(super) fn say(&mut self, by_client: bool, payload_len: u32, text: &[u8]) {
        self.send(by_client, tcp_flag::ACK | tcp_flag::PSH, payload_len, text);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(!by_client, tcp_flag::ACK, 0, &[]);
    }

    fn session(&mut self, t: &Traffic, n: u32) {
        self.handshake();
        let turns = t.dialogue.iter().enumerate().map(|(turn, text)| (turn % 2 == 0, text));
        for (by_client, text) in [(false, &t.greeting), (true, &t.hello)].into_iter().chain(turns) {
            if !text.is_empty() {
                let bytes = spoken(&text.replace("{n}", &format!("{n:03}"))).unwrap_or_default();
                self.say(by_client, u32::try_from(bytes.len()).unwrap_or(u32::MAX), &bytes);
            }
        }
        for (turn, &size) in t.exchange.iter().enumerate() {
            if size > 0 {
                self.wait(nanos(t.turn_ms));
                self.say(turn % 2 == 0, size, &[]);
            }
        }
        for (by_client, segments) in [(false, t.download), (true, t.upload)] {
            for _ in 0..segments {
                self.wait(1_000_000);
                self.say(by_client, SEGMENT, &[]);
            }
        }
        self.close();
    }

    pub(super) fn close(&mut self) {
        self.wait(ROUND_TRIP_NS);
        self.send(true, tcp_flag::FIN | tcp_flag::ACK, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(false, tcp_flag::FIN | tcp_flag::ACK, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(true, tcp_flag::ACK, 0, &[]);
    }

    pub(super) fn handshake(&mut self) {
        self.send(true, tcp_flag::SYN, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(false, tcp_flag::SYN | tcp_flag::ACK, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(true, tcp_flag::ACK, 0, &[]);
    }

    fn probe(&mut self, flags: u8, answer: Answer) {
        match answer {
            Answer::Abort => {
                self.handshake();
                self.send(true, tcp_flag::RST | tcp_flag::ACK, 0, &[]);
                return;
            }
            _ => self.send(true, flags, 0, &[]),
        }
        self.wait(ROUND_TRIP_NS / 2);
        match answer {
            Answer::Rst => self.send(false, tcp_flag::RST | tcp_flag::ACK, 0, &[]),
            Answer::HalfOpen => {
                self.send(false, tcp_flag::SYN | tcp_flag::ACK, 0, &[]);
                self.wait(ROUND_TRIP_NS / 2);
                self.send(true, tcp_flag::RST, 0, &[]);
            }
            Answer::None | Answer::Reply | Answer::Abort => {}
        }
    }

    fn datagram(&mut self, t: &Traffic) {
        let (asked, answered) = [&t.hello, &t.greeting].map(|text| spoken(text).unwrap_or_default()).into();
        self.send(true, 0, t.size.max(asked.len() as u32), &asked);
        if t.answer == Answer::Reply {
            self.wait(ROUND_TRIP_NS / 2);
            let size = t.reply_size.unwrap_or(t.size).max(answered.len() as u32);
            for _ in 0..t.more_replies.saturating_add(1) {
                self.send(false, 0, size, &answered);
            }
        }
    }
}

/// Milliseconds to ns; anything that is no time is 0.
pub(super) fn nanos(ms: f64) -> u64 {
    (ms.clamp(0.0, 86_400_000.0) * 1e6) as u64
}

/// A number from -1 to 1 that looks random and is the same for the same `n`: the finaliser of MurmurHash3.
fn uneven(n: u32) -> f64 {
    let h = (n ^ (n >> 16)).wrapping_add(0x9e37_79b9).wrapping_mul(0x85eb_ca6b);
    let h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    f64::from(h ^ (h >> 16)) / f64::from(u32::MAX) * 2.0 - 1.0
}

/// The `n`-th address after `first`, within its last four bytes.
fn nth(first: Addr, n: u32) -> Addr {
    let mut bytes = first.0;
    if let Some(last) = bytes.last_chunk_mut::<4>() {
        *last = u32::from_be_bytes(*last).wrapping_add(n).to_be_bytes();
    }
    Addr(bytes)
}

impl Traffic {
    pub(super) fn expand(&self, items: &mut Vec<Item>) {
        let (sources, hosts, ports) = (self.sources.max(1), self.hosts.max(1), self.ports.max(1));
        let count = if self.count > 0 { self.count } else { hosts.saturating_mul(ports) };
        for n in 0..count {
            if items.len() > MAX_PACKETS {
                return;
            }
            let port = (u32::from(self.port) + n % ports) as u16;
            let local = match (self.local, self.same_port) {
                (0, true) => 40_000,
                (0, false) => (32_768 + n % 28_000) as u16,
                (local, _) => local,
            };
            let (client, server, protocol) = match self.send {
                Send::Udp
                | Send::Dns
                | Send::KerberosAs
                | Send::KerberosTgs
                | Send::Overlap
                | Send::TinyFragments => (local, port, protocol::UDP),
                Send::Echo => (8, 0, protocol::ICMP),
                // Type and code.
                Send::Unreachable => (3, 3, protocol::ICMP),
                _ => (local, port, protocol::TCP),
            };
            let mut script = Script {
                items,
                client: (nth(self.from, n % sources), client),
                server: (nth(self.to, n / ports % hosts), server),
                protocol,
                at_ns: EPOCH_NS
                    + nanos(self.start_ms)
                    + nanos(self.every_ms * (f64::from(n) + self.jitter * uneven(n))),
                sent: [0; 2],
                window: self.window,
            };
            match self.send {
                Send::Syn => script.probe(tcp_flag::SYN, self.answer),
                Send::Fin => script.probe(tcp_flag::FIN, self.answer),
                Send::Null => script.probe(0, self.answer),
                Send::Ack => script.probe(tcp_flag::ACK, self.answer),
                Send::Xmas => script.probe(tcp_flag::FIN | tcp_flag::PSH | tcp_flag::URG, self.answer),
                Send::Udp | Send::Echo | Send::Unreachable => script.datagram(self),
                Send::Session => script.session(self, n),
                Send::Dns => script.query(self, n),
                Send::KerberosAs | Send::KerberosTgs => script.kerberos(self, n),
                Send::SlowHead | Send::SlowBody | Send::SlowRead | Send::LongPoll => script.hold(self),
                Send::Conflict => script.conflict(self),
                Send::Overlap => script.fragments(self.size, 512, 256, n),
                Send::TinyFragments => script.fragments(self.size, 8, 8, n),
                Send::ArpRequest | Send::ArpReply => script.arp(self.send == Send::ArpReply, self.mac),
            }
        }
    }
}
