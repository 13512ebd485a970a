//! The tracker's side of sessions: which flow a payload belongs to, and what becomes of what was understood of it.

use crate::event::{Share, What};
use crate::fragment::{Finding, OddFragment};
use crate::session::{self, MESSAGES_PER_PACKET, Segment, Told};
use crate::slot::{FRESH, Mark, OVER};
use crate::table::Arrival;
use crate::{Accumulator, App, Direction, EndReason, Event, FlowKey, FlowRecord, FlowStats};
use crate::{Oddity, Outcome, Talk, Tracker};
use wire::message::app::{Recognition, datagram};
use wire::message::ftp::Ftp;
use wire::message::{Message, Side};
use wire::packet::{protocol, tcp_flag};
use wire::{Fragment, Packet};

/// Datagrams of a flow in which an application is looked for: one of each side, and one more of each should the first be
/// no more than an opening.
const LOOK_DATAGRAMS: u8 = 4;
/// Fragments of a flow's initiator after which not each odd one has the flow looked at, but one in [`JUDGE_THIN`].
const JUDGE_ALL: u32 = 32;
/// See [`JUDGE_ALL`].
const JUDGE_THIN: u32 = 16;
/// Methods of RFC 9110 §9.3.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE"];
/// FTP reply to a password that was right, RFC 959 §4.2.
const LOGGED_IN: u16 = 230;

impl Tracker {
    /// Takes a payload, or its start, seen at `now_ns` and sent in `direction` of the flow under `key`, from a source whose
    /// counts come as snapshots ([`Self::merge`]). Nothing is counted but what sessions count. A flow not in the table is
    /// begun with zero counts; its first snapshot completes the beginning, and without one it ends after the idle time.
    pub fn data(
        &mut self,
        now_ns: u64,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        events: &mut Vec<Event>,
    ) {
        let now = self.begin_call(now_ns, events);
        let hash = self.flows.hash(&key);
        let mut found = self.flows.find(hash, &key);
        if let Some(slot) = found
            && self.is_successor(slot, direction, segment)
        {
            self.end(slot, EndReason::Reused, events);
            found = None;
        }
        let slot = found.unwrap_or_else(|| self.begin_awaited(now, key, segment.initiator, events));
        if self.flows.session(slot) != OVER {
            let whole = segment.payload.len() >= segment.payload_len as usize;
            self.dissect(slot, now, direction, segment, whole, events);
        }
        self.end_call();
    }

    /// Takes word of an odd fragment seen at `now_ns`, from a source whose counts come as snapshots ([`Self::merge`]) and
    /// which counts odd fragments itself. A flow not in the table is begun as by [`Self::data`].
    pub fn odd_fragment(&mut self, now_ns: u64, odd: &OddFragment, events: &mut Vec<Event>) {
        let now = self.begin_call(now_ns, events);
        let found = self.flows.find(self.flows.hash(&odd.key), &odd.key);
        let slot = found.unwrap_or_else(|| self.begin_awaited(now, odd.key, odd.initiator, events));
        self.tell_fragment(slot, odd.direction, odd.finding, events);
        self.end_call();
    }

    /// Begins a flow whose counts are still to come.
    fn begin_awaited(
        &mut self,
        now: u64,
        key: FlowKey,
        initiator: Direction,
        events: &mut Vec<Event>,
    ) -> u32 {
        self.make_room(events);
        let stats = awaited(now, initiator);
        *self.flows.draft() = FlowRecord { key, stats, outcome: Outcome::Pending, talk: Talk::NOTHING };
        let arrival = Arrival { young: None, resumed: true, merged: true };
        self.begin_flow(self.flows.hash(&key), now, &arrival, Share::default(), events)
    }

    /// Whether a segment belongs to a connection after the one in the table, which is over.
    fn is_successor(&mut self, slot: u32, direction: Direction, segment: &Segment<'_>) -> bool {
        let stats = self.flows.stats(slot);
        stats.is_over()
            && segment
                .start
                .is_some_and(|start| start_of(stats, direction).is_some_and(|known| known != start))
    }

    /// Lets the session of a flow hear a packet just counted.
    #[inline]
    pub(crate) fn listen(
        &mut self,
        slot: u32,
        now: u64,
        direction: Direction,
        packet: &Packet<'_>,
        events: &mut Vec<Event>,
    ) {
        let session = self.flows.session(slot);
        if session == OVER || (session == FRESH && packet.payload_len == 0) {
            return;
        }
        let tcp = packet.protocol == protocol::TCP;
        let segment = Segment {
            initiator: self.flows.at(slot).initiator(),
            start: if tcp { start_of(self.flows.stats(slot), direction) } else { None },
            seq: packet.tcp_seq,
            ack: packet.tcp_ack,
            flags: packet.tcp_flags,
            payload_len: packet.payload_len,
            payload: packet.payload,
        };
        if packet.fragment != Fragment::Later {
            let whole =
                packet.fragment == Fragment::None && packet.payload.len() >= packet.payload_len as usize;
            self.dissect(slot, now, direction, &segment, whole, events);
        }
    }

    #[inline(never)]
    fn dissect(
        &mut self,
        slot: u32,
        now: u64,
        direction: Direction,
        segment: &Segment<'_>,
        whole: bool,
        events: &mut Vec<Event>,
    ) {
        let s = self.flows.at(slot);
        let from = if direction == s.initiator() { Side::Client } else { Side::Server };
        match s.key.protocol {
            protocol::TCP => self.dissect_segment(slot, now, from, segment, events),
            protocol::UDP => self.dissect_datagram(slot, from, segment.payload, whole, events),
            icmp @ (protocol::ICMP | protocol::ICMPV6) => {
                // The ports of the sender's side are type and code.
                let (kind, code) = (s.key.source(direction).1, s.key.source(direction.reverse()).1);
                if wire::quote::is_unreachable(icmp, kind as u8, code as u8) {
                    self.refuse(s.key, now, segment.payload, events);
                } else {
                    self.flows.set_session(slot, OVER);
                }
            }
            _ => self.flows.set_session(slot, OVER),
        }
    }

    /// Hears of an ICMP error that another tracker accounts: fails the flow that it quotes as [`Self::observe`] does.
    pub fn hear_error(&mut self, now_ns: u64, error: &Packet<'_>, events: &mut Vec<Event>) {
        let now = self.begin_call(now_ns, events);
        let about = wire::quote::is_unreachable(error.protocol, error.icmp_type, error.icmp_code);
        if about && error.fragment != Fragment::Later {
            self.refuse(FlowKey::of(error).0, now, error.payload, events);
        }
        self.end_call();
    }

    /// Fails the flow that an ICMP error in the flow of key `error` quotes, if nobody has answered it.
    fn refuse(&mut self, error: FlowKey, now: u64, payload: &[u8], events: &mut Vec<Event>) {
        let Some(q) = wire::quote::quote(error.protocol == protocol::ICMPV6, payload) else { return };
        let ends = [(q.src, q.src_port), (q.dst, q.dst_port)];
        let [(lo, lo_port), (hi, hi_port)] = if ends[0] <= ends[1] { ends } else { [ends[1], ends[0]] };
        let key = FlowKey { lo, hi, lo_port, hi_port, protocol: q.protocol, ..error };
        let Some(quoted) = self.flows.find(self.flows.hash(&key), &key) else { return };
        let s = self.flows.at(quoted);
        let (begun_by, outcome, exempt) = (s.source(), s.outcome, s.is(Mark::Exempt));
        let stats = self.flows.stats(quoted);
        let ours = begun_by == ends[0]
            // Who has not seen the SYN can't know its number: forged errors fail no connections.
            && (q.protocol != protocol::TCP || q.tcp_seq == stats.from_initiator().first_seq);
        let waits = matches!(outcome, Outcome::Pending | Outcome::Unanswered);
        if ours && waits && !exempt && stats.from_responder().packets == 0 {
            self.watch_idle(quoted);
            self.fail(quoted, Outcome::Refused, now, events);
        }
    }

    // --- TCP --------------------------------------------------------------------------------------------------

    fn dissect_segment(
        &mut self,
        slot: u32,
        now: u64,
        from: Side,
        segment: &Segment<'_>,
        events: &mut Vec<Event>,
    ) {
        let mut at = self.flows.session(slot);
        if at == FRESH {
            if segment.payload_len == 0 {
                return;
            }
            at = self.begin_session(slot, from, segment, events);
            self.flows.set_session(slot, at);
            if at == OVER {
                return;
            }
        }
        let Some(session) = self.sessions.get_mut(at) else { return };
        let told = session.take(from, segment, &mut self.outbox);
        self.report(slot, &told, events);
        if told.over {
            self.sessions.remove(at);
            self.flows.set_session(slot, OVER);
            return;
        }
        self.sessions.weigh(at, now);
        while self.sessions.is_heavy() && self.evict_session() {}
    }

    /// A session for a flow whose first payload is here, or [`OVER`] if there is nothing to be learnt.
    fn begin_session(
        &mut self,
        slot: u32,
        from: Side,
        segment: &Segment<'_>,
        events: &mut Vec<Event>,
    ) -> u32 {
        let syn = u32::from(segment.flags & tcp_flag::SYN != 0);
        let first = segment.start.is_none_or(|start| start == segment.seq.wrapping_add(syn));
        let mut session = if first && segment.payload.is_empty() {
            // What begins with bytes that were not captured cannot be recognised.
            return OVER;
        } else if first {
            let (app, session) = session::begin(from, segment.payload);
            if app != App::Unknown {
                self.recognise(slot, app, events);
            }
            let Some(session) = session else { return OVER };
            session
        } else {
            session::Session::looking(from)
        };
        if self.sessions.is_full() {
            self.evict_session();
        }
        session.slot = slot;
        self.sessions.insert(session)
    }

    fn evict_session(&mut self) -> bool {
        let victim = self.sessions.victim().and_then(|at| self.sessions.remove(at));
        if let Some(session) = &victim {
            self.counters.sessions_evicted += 1;
            self.flows.set_session(session.slot, OVER);
        }
        victim.is_some()
    }

    /// Takes a flow's session away, so that the flow may end and the session go on.
    pub(crate) fn detach(&mut self, slot: u32) -> u32 {
        let session = self.flows.session(slot);
        self.flows.set_session(slot, OVER);
        session
    }

    /// Gives a flow the session that [`Self::detach`] took.
    pub(crate) fn attach(&mut self, slot: u32, session: u32) {
        self.flows.set_session(slot, session);
        if let Some(s) = self.sessions.get_mut(session) {
            s.slot = slot;
        }
    }

    /// Ends the session of a flow about to end: what was held out of order is read.
    #[inline]
    pub(crate) fn conclude(&mut self, slot: u32, events: &mut Vec<Event>) {
        let at = self.flows.session(slot);
        if at < OVER
            && let Some(session) = self.sessions.get_mut(at)
        {
            let told = session.finish(&mut self.outbox);
            self.report(slot, &told, events);
            self.sessions.remove(at);
            self.flows.set_session(slot, OVER);
        }
    }

    // --- UDP --------------------------------------------------------------------------------------------------

    /// Reads one datagram. No reader of datagrams keeps anything from one to the next, so there is no session.
    fn dissect_datagram(
        &mut self,
        slot: u32,
        from: Side,
        payload: &[u8],
        whole: bool,
        events: &mut Vec<Event>,
    ) {
        if self.flows.talk(slot).app == App::Unknown {
            let s = self.flows.at_mut(slot);
            s.looked += 1;
            let last = s.looked >= LOOK_DATAGRAMS;
            let ports = (s.source().1, s.target().1);
            let (client, server) = if from == Side::Client { (payload, &[][..]) } else { (&[][..], payload) };
            match datagram(client, server, ports) {
                Recognition::Is(app) => self.recognise(slot, app, events),
                Recognition::No | Recognition::Undecided if last => {
                    self.flows.set_session(slot, OVER);
                    return;
                }
                Recognition::No | Recognition::Undecided => return,
            }
        }
        let Some(mut reader) = wire::message::dissector(self.flows.talk(slot).app, protocol::UDP) else {
            self.flows.set_session(slot, OVER);
            return;
        };
        if whole {
            reader.data(from, payload, &mut self.outbox.messages);
            self.outbox.sign(from);
            self.report(slot, &Told::default(), events);
        } else {
            self.counters.datagrams_cut += 1;
        }
    }

    // --- what comes of it -------------------------------------------------------------------------------------

    fn recognise(&mut self, slot: u32, app: App, events: &mut Vec<Event>) {
        self.counters.recognised += 1;
        let talk = Talk { app, ..self.flows.talk(slot) };
        self.flows.set_talk(slot, talk);
        self.tell(slot, What::Recognised, events);
    }

    /// Reports what a session told, and its messages.
    fn report(&mut self, slot: u32, told: &Told, events: &mut Vec<Event>) {
        if let Some(app) = told.recognised {
            self.recognise(slot, app, events);
        }
        self.counters.stream_gaps += u64::from(told.gaps);
        self.counters.stream_overruns += u64::from(told.overruns);
        self.counters.segment_conflicts += u64::from(told.conflicts);
        for (count, oddity) in [
            (told.conflicts, Oddity::SegmentConflict),
            (told.gaps, Oddity::StreamGap),
            (told.overruns, Oddity::StreamOverrun),
        ] {
            if count > 0 {
                self.tell_odd(slot, oddity, events);
            }
        }
        if self.outbox.messages.is_empty() {
            return;
        }
        self.tell_packets(slot, events);
        let (at_ns, flow) = (self.clock, self.flows.conversation(slot));
        let mut talk = self.flows.talk(slot);
        let mut nobody = false;
        let awaits = match self.sessions.get_mut(self.flows.session(slot)) {
            Some(session) => &mut session.awaits_login,
            None => &mut nobody,
        };
        let mut reported = 0;
        for (message, from) in self.outbox.messages.drain(..).zip(self.outbox.sides.drain(..)) {
            self.counters.messages += 1;
            self.counters.violations += u64::from(matches!(message, Message::Violation(_)));
            note(&mut talk, awaits, &message);
            if reported < MESSAGES_PER_PACKET {
                reported += 1;
                events.push(Event { at_ns, flow, what: What::Message(from, Box::new(message)) });
            } else {
                self.counters.messages_dropped += 1;
            }
        }
        self.flows.set_talk(slot, talk);
    }

    fn tell_odd(&mut self, slot: u32, oddity: Oddity, events: &mut Vec<Event>) {
        let s = self.flows.at_mut(slot);
        let bit = 1 << oddity as u8;
        if s.odd & bit == 0 {
            s.odd |= bit;
            self.tell(slot, What::Odd(oddity), events);
        }
    }

    /// Counts and tells what is odd about a fragment.
    pub(crate) fn note_fragment(
        &mut self,
        slot: u32,
        direction: Direction,
        finding: Finding,
        events: &mut Vec<Event>,
    ) {
        if finding == Finding::default() {
            return;
        }
        self.counters.fragments_tiny += u64::from(finding.tiny);
        self.counters.fragments_overlapping += u64::from(finding.overlap);
        self.counters.fragments_orphaned += u64::from(finding.orphan);
        let initiator = self.tell_fragment(slot, direction, finding, events);
        let fragments = self.flows.stats(slot).from_initiator().fragments;
        if initiator && (fragments <= JUDGE_ALL || fragments.is_multiple_of(JUDGE_THIN)) {
            let record = self.flows.record(slot);
            self.tell(slot, What::Grown(record), events);
        }
    }

    /// Tells what is odd about a fragment; whether its sender began the flow.
    fn tell_fragment(
        &mut self,
        slot: u32,
        direction: Direction,
        finding: Finding,
        events: &mut Vec<Event>,
    ) -> bool {
        let initiator = direction == self.flows.at(slot).initiator();
        if initiator {
            self.tell(slot, What::Fragment(finding), events);
        }
        for (found, oddity) in [
            (finding.tiny, Oddity::FragmentTiny),
            (finding.overlap, Oddity::FragmentOverlap),
            (finding.orphan, Oddity::FragmentOrphan),
        ] {
            if found {
                self.tell_odd(slot, oddity, events);
            }
        }
        initiator
    }
}

/// The counts of a flow of which the source's are still to come: none, at `now_ns`.
fn awaited(now_ns: u64, initiator: Direction) -> FlowStats {
    let none = Accumulator { first_ns: now_ns, last_ns: now_ns, ..Accumulator::EMPTY };
    FlowStats { dir: [none; 2], initiator, ..FlowStats::EMPTY }
}

/// Where a direction's stream begins, if its SYN was seen.
#[inline]
fn start_of(stats: &FlowStats, direction: Direction) -> Option<u32> {
    let d = &stats.dir[direction as usize];
    (d.flags[1] > 0).then(|| d.first_seq.wrapping_add(1))
}

/// Adds a message to what is known of a flow's content.
fn note(talk: &mut Talk, awaits_login: &mut bool, message: &Message) {
    match message {
        Message::HttpRequest(r) => {
            talk.http_requests = talk.http_requests.saturating_add(1);
            let known = u16::from(METHODS.contains(&&*r.method));
            talk.http_methods = talk.http_methods.saturating_add(known);
        }
        Message::HttpBody(b) if !b.request => {
            talk.http_body_bytes = talk.http_body_bytes.saturating_add(b.bytes);
        }
        Message::Ftp(Ftp::Command { verb, .. }) => {
            talk.ftp_commands = talk.ftp_commands.saturating_add(1);
            *awaits_login = &**verb == "PASS";
        }
        Message::Ftp(Ftp::Reply { code }) => {
            talk.ftp_login |= *awaits_login && *code == LOGGED_IN;
            *awaits_login = false;
        }
        _ => {}
    }
}
