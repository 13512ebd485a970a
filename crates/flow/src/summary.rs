//! Packets in few bytes: what a young flow is kept as.
//!
//! Most flows of a scan or a flood have one packet and most look-ups two, and the sums of so few packets take twenty
//! times the room of the packets themselves. Such a flow keeps a summary of each packet, and its sums are made anew
//! from them whenever they are asked for, by the same code that sums up packets.

use crate::{Accumulator, Direction, FlowStats};
use wire::packet::{protocol, tcp_flag};
use wire::{Addr, Fragment, Packet};

/// Payload bytes kept: as many as [`Accumulator::head`] has.
const HEAD: usize = 8;

/// All that [`FlowStats::begin`] and [`FlowStats::account`] look at in one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// When it was seen, ns: the lower and the upper half, so that four bytes are alignment enough.
    time: [u32; 2],
    /// TCP: sequence number and window. All others: the first bytes of the payload.
    detail: [u8; HEAD],
    ip_len: u16,
    payload_len: u16,
    flags: u8,
    ttl: u8,
    transport_len: u8,
    /// Bit 0: [`Direction`]. Bits 1 and 2: [`Fragment`]. Bits 3 to 6: payload bytes in `detail`.
    marks: u8,
}

// The memory figure of the flow table rests on it.
const _: () = assert!(size_of::<Summary>() == 24 && align_of::<Summary>() == 4);

impl Summary {
    /// Summary of a packet; `None` for those that do not fit: TCP with payload, and lengths that only offloads have.
    #[inline]
    pub(crate) fn of(now_ns: u64, packet: &Packet<'_>, direction: Direction) -> Option<Self> {
        let mut detail = [0; HEAD];
        let mut kept = 0;
        if packet.protocol == protocol::TCP {
            if packet.payload_len > 0 {
                return None;
            }
            let [a, b, c, d] = packet.tcp_seq.to_le_bytes();
            let [e, f] = packet.tcp_window.to_le_bytes();
            detail = [a, b, c, d, e, f, 0, 0];
        } else {
            kept = packet.payload.len().min(HEAD);
            for (to, from) in detail.iter_mut().zip(packet.payload) {
                *to = *from;
            }
        }
        let fragment = match packet.fragment {
            Fragment::None => 0,
            Fragment::First => 1,
            Fragment::Later => 2,
        };
        Some(Self {
            time: [now_ns as u32, (now_ns >> 32) as u32],
            detail,
            ip_len: u16::try_from(packet.ip_len).ok()?,
            payload_len: u16::try_from(packet.payload_len).ok()?,
            flags: packet.tcp_flags,
            ttl: packet.ttl,
            transport_len: packet.transport_len,
            marks: direction as u8 | fragment << 1 | (kept as u8) << 3,
        })
    }

    /// When the packet was seen, ns.
    #[inline]
    pub(crate) const fn time_ns(&self) -> u64 {
        (self.time[1] as u64) << 32 | self.time[0] as u64
    }

    pub(crate) const fn direction(&self) -> Direction {
        if self.marks & 1 == 0 { Direction::LoToHi } else { Direction::HiToLo }
    }

    /// The packet, as far as it was kept.
    fn packet(&self, proto: u8) -> Packet<'_> {
        let [a, b, c, d, e, f, ..] = self.detail;
        let tcp = proto == protocol::TCP;
        Packet {
            src: Addr::UNSPECIFIED,
            dst: Addr::UNSPECIFIED,
            src_port: 0,
            dst_port: 0,
            protocol: proto,
            vlan: 0,
            ip_len: self.ip_len.into(),
            frame_len: 0,
            payload_len: self.payload_len.into(),
            ttl: self.ttl,
            tcp_flags: self.flags,
            tcp_seq: if tcp { u32::from_le_bytes([a, b, c, d]) } else { 0 },
            tcp_ack: 0,
            tcp_window: if tcp { u16::from_le_bytes([e, f]) } else { 0 },
            icmp_type: 0,
            icmp_code: 0,
            fragment: match self.marks >> 1 & 3 {
                0 => Fragment::None,
                1 => Fragment::First,
                _ => Fragment::Later,
            },
            fragment_id: 0,
            fragment_offset: 0,
            transport_len: self.transport_len,
            tunnel: 0,
            opaque_tunnel: false,
            payload: self.detail.get(..usize::from(self.marks >> 3)).unwrap_or_default(),
        }
    }

    /// The one packet that a direction's sums are of, as far as sums tell.
    fn of_single(sums: &Accumulator, direction: Direction, proto: u8) -> Option<Self> {
        let flags = sums.flags.iter().enumerate().fold(0, |all, (bit, n)| all | u8::from(*n > 0) << bit);
        let packet = Packet {
            ip_len: u32::try_from(sums.bytes).ok()?,
            payload_len: u32::try_from(sums.payload_bytes).ok()?,
            ttl: sums.ttl_min,
            tcp_flags: flags,
            tcp_seq: sums.first_seq,
            tcp_window: sums.first_window,
            fragment: match (sums.fragments, sums.header_bytes) {
                (0, _) => Fragment::None,
                (_, 0) => Fragment::Later,
                _ => Fragment::First,
            },
            transport_len: u8::try_from(sums.header_bytes).ok()?,
            payload: &sums.head,
            ..Self::BLANK.packet(proto)
        };
        Self::of(sums.first_ns, &packet, direction)
    }

    /// No packet.
    pub(crate) const BLANK: Self = Self {
        time: [0; 2],
        detail: [0; HEAD],
        ip_len: 0,
        payload_len: 0,
        flags: 0,
        ttl: 0,
        transport_len: 0,
        marks: 0,
    };
}

/// The one or two packets of a young flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Young {
    pub(crate) first: Summary,
    pub(crate) second: Option<Summary>,
}

impl Young {
    /// Puts the sums of its packets into `stats`.
    #[inline]
    pub(crate) fn sum_up(&self, proto: u8, stats: &mut FlowStats) {
        let first = self.first.packet(proto);
        *stats = FlowStats::begin(&first, self.first.direction());
        stats.account(self.first.time_ns(), &first, self.first.direction());
        if let Some(second) = &self.second {
            stats.account(second.time_ns(), &second.packet(proto), second.direction());
        }
    }

    /// Whether its sums may show a connection that is over: one of TCP with FIN or RST in a packet.
    pub(crate) fn may_be_over(&self, proto: u8) -> bool {
        let flags = self.first.flags | self.second.map_or(0, |s| s.flags);
        proto == protocol::TCP && flags & (tcp_flag::FIN | tcp_flag::RST) != 0
    }

    /// As [`FlowStats::first_ns`] of the sums.
    pub(crate) fn first_ns(&self) -> u64 {
        let first = self.first.time_ns();
        match &self.second {
            // A direction's first packet counts, whatever its time.
            Some(second) if second.direction() != self.first.direction() => first.min(second.time_ns()),
            _ => first,
        }
    }

    /// As [`FlowStats::last_ns`] of the sums.
    pub(crate) fn last_ns(&self) -> u64 {
        self.second.map_or(0, |s| s.time_ns()).max(self.first.time_ns())
    }

    /// As [`crate::Conversation::replied`].
    pub(crate) fn replied(&self, initiator: Direction) -> bool {
        let answers = |s: &Summary| s.direction() != initiator && s.payload_len > 0;
        answers(&self.first) || self.second.as_ref().is_some_and(answers)
    }

    /// As [`crate::Conversation::syn_window`], of a flow of TCP.
    pub(crate) fn syn_window(&self, initiator: Direction) -> Option<u16> {
        let mut sent = [Some(&self.first), self.second.as_ref()]
            .into_iter()
            .flatten()
            .filter(|s| s.direction() == initiator);
        let first = sent.next()?;
        let [.., low, high, _, _] = first.detail;
        let syn = |s: &Summary| s.flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
        (syn(first) || sent.any(syn)).then(|| u16::from_le_bytes([low, high]))
    }

    /// The packets that `stats` are the sums of, if they are few enough to be told from the sums.
    pub(crate) fn of_stats(stats: &FlowStats, proto: u8) -> Option<Self> {
        if stats.dir.iter().any(|d| d.packets > 1) {
            return None;
        }
        let single = |direction: Direction| {
            let sums = &stats.dir[direction as usize];
            (sums.packets == 1).then(|| Summary::of_single(sums, direction, proto))
        };
        // What does not fit into a summary does not make a young flow.
        let young = match (single(Direction::LoToHi), single(Direction::HiToLo)) {
            (Some(one), None) | (None, Some(one)) => Self { first: one?, second: None },
            (Some(a), Some(b)) => {
                let (a, b) = (a?, b?);
                // Of two at once the initiator's came first.
                let a_first = (a.time_ns(), a.direction() != stats.initiator)
                    <= (b.time_ns(), b.direction() != stats.initiator);
                let (first, second) = if a_first { (a, b) } else { (b, a) };
                Self { first, second: Some(second) }
            }
            (None, None) => return None,
        };
        let mut sums = FlowStats::EMPTY;
        young.sum_up(proto, &mut sums);
        (sums == *stats).then_some(young)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::packet::protocol::{ICMP, SCTP, TCP, UDP};

    fn sums(young: &Young, proto: u8) -> FlowStats {
        let mut stats = FlowStats::EMPTY;
        young.sum_up(proto, &mut stats);
        stats
    }

    #[derive(Clone, Debug)]
    struct Seen {
        at: u64,
        back: bool,
        lens: (u32, u32),
        bytes: [u8; 6],
        fragment: Fragment,
        head: Vec<u8>,
        seq: (u32, u16),
    }

    fn seen() -> impl Strategy<Value = Seen> {
        let fragment =
            prop_oneof![8 => Just(Fragment::None), 1 => Just(Fragment::First), 1 => Just(Fragment::Later)];
        (
            (0..10_000_000_000_u64, any::<bool>()),
            (20..70_000_u32, prop_oneof![Just(0), 1..70_000_u32]),
            any::<[u8; 6]>(),
            fragment,
            prop::collection::vec(any::<u8>(), 0..12),
            any::<(u32, u16)>(),
        )
            .prop_map(|((at, back), lens, bytes, fragment, head, seq)| Seen {
                at,
                back,
                lens,
                bytes,
                fragment,
                head,
                seq,
            })
    }

    fn packet(s: &Seen, proto: u8) -> Packet<'_> {
        let tcp = proto == TCP;
        Packet {
            ip_len: s.lens.0,
            payload_len: s.lens.1,
            ttl: s.bytes[0],
            tcp_flags: if tcp { s.bytes[1] } else { 0 },
            tcp_seq: if tcp { s.seq.0 } else { 0 },
            tcp_window: if tcp { s.seq.1 } else { 0 },
            fragment: s.fragment,
            transport_len: s.bytes[2],
            payload: &s.head[..s.head.len().min(s.lens.1 as usize)],
            ..Summary::BLANK.packet(proto)
        }
    }

    const fn direction(s: &Seen) -> Direction {
        if s.back { Direction::HiToLo } else { Direction::LoToHi }
    }

    proptest! {
        /// Summaries are as good as the packets, or there are none.
        #[test]
        fn sums_of_summaries_are_those_of_the_packets(
            proto in prop::sample::select(vec![TCP, UDP, ICMP, SCTP]),
            seen in prop::collection::vec(seen(), 1..3),
        ) {
            let first = packet(&seen[0], proto);
            let mut stats = FlowStats::begin(&first, direction(&seen[0]));
            let mut summaries = Vec::new();
            for s in &seen {
                let p = packet(s, proto);
                stats.account(s.at, &p, direction(s));
                let large = p.ip_len > 65_535 || p.payload_len > 65_535;
                let summary = Summary::of(s.at, &p, direction(s));
                prop_assert_eq!(summary.is_none(), large || (proto == TCP && p.payload_len > 0));
                summaries.extend(summary);
            }
            if summaries.len() < seen.len() {
                return Ok(());
            }
            let young = Young { first: summaries[0], second: summaries.get(1).copied() };
            prop_assert_eq!(sums(&young, proto), stats);
            prop_assert!(!stats.is_over() || young.may_be_over(proto));
            prop_assert_eq!((young.first_ns(), young.last_ns()), (stats.first_ns(), stats.last_ns()));
            if let Some(told) = Young::of_stats(&stats, proto) {
                prop_assert_eq!(sums(&told, proto), stats);
            }
        }

        /// Exchanges of one datagram each way are told from their sums.
        #[test]
        fn a_question_and_its_answer_are_told_from_their_sums(
            proto in prop::sample::select(vec![UDP, ICMP]),
            a in seen(),
            b in prop::option::of(seen()),
        ) {
            let whole = |s: &Seen, at, back| Seen {
                at, back,
                lens: (s.lens.0 % 65_536, s.lens.1 % 65_536),
                fragment: Fragment::None,
                head: s.head.iter().map(|b| b | 1).collect(),
                ..s.clone()
            };
            let seen: Vec<Seen> =
                [Some(whole(&a, a.at, a.back)), b.map(|b| whole(&b, a.at + b.at, !a.back))].into_iter().flatten().collect();
            let mut stats = FlowStats::begin(&packet(&seen[0], proto), direction(&seen[0]));
            for s in &seen {
                stats.account(s.at, &packet(s, proto), direction(s));
            }
            let told = Young::of_stats(&stats, proto);
            prop_assert_eq!(told.map(|y| sums(&y, proto)), Some(stats));
            prop_assert_eq!(told.map(|y| y.second.is_some()), Some(seen.len() == 2));
        }
    }
}
