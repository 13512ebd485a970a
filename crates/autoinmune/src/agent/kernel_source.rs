//! The kernel sensor as a source: events as they come, flows once in a while, counters when asked.

use super::reaction::Reaction;
use super::source::{Sight, attachment};
use super::tap::AgentTap;
use super::wall_ns;
use crate::exit::{Exit, fail};
use crate::line::{Intake, Line};
use flow::{FlowKey, Window};
use kernel::abi::{Counter, Limit};
use kernel::{AttachMode, KernelCounters, KernelEvent, Sensor};
use respond::Effect;
use server::control::{AgentError, Code};
use server::view::{ExcessView, InterfaceView, LimitTotals, LimitsView, ProgramView};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wire::Skip;

/// Ended flows gathered before the kernel is told to forget them.
const FORGET_BATCH: usize = 1024;

/// How far back excesses over limits are listed.
const EXCESSES_LISTED: Duration = Duration::from_secs(60);

/// Flows read at a stretch before events are looked at again: some 0.1 ms, while a whole table takes tens of them.
const STRETCH: usize = 256;

/// The kernel sensor with what belongs to its reading.
pub struct KernelSource {
    pub(super) sensor: Sensor,
    snapshot: Duration,
    /// How long a flow may wait for its answer, ns.
    grace_ns: u64,
    taken: Instant,
    events: Vec<KernelEvent>,
    skipped: [u64; Skip::ALL.len()],
}

/// Puts what was decided in force, and tells of each block that now is.
fn apply(sensor: &mut Sensor, tap: &mut AgentTap, mut blocked: impl FnMut(u64)) {
    for effect in std::mem::take(&mut tap.effects) {
        match sensor.apply(&effect) {
            Ok(()) if matches!(effect, Effect::Insert(_)) => blocked(wall_ns()),
            Ok(()) => {}
            Err(e) => tap.effect_failed(&effect, &e),
        }
    }
}

/// Hands events to the line and applies what each leads to at once.
fn answer(
    sensor: &mut Sensor,
    events: &mut Vec<KernelEvent>,
    line: &mut Line,
    tap: &mut AgentTap,
    reaction: &mut Reaction,
) {
    // What the kernel tells is taken at the time of reading: counts lag by less than the wait, and a reader that was
    // stopped for a while must not send the line back in time.
    let now = wall_ns();
    for event in events.drain(..) {
        let seen_ns = match event {
            KernelEvent::FlowStart { key, stats } | KernelEvent::FlowEnd { key, stats } => {
                line.snapshot(now, key, &stats, tap);
                stats.last_ns()
            }
            KernelEvent::SourceOver { at_ns, addr, counts } => {
                line.source_over(now, addr, &Window::from_source(&counts), tap);
                at_ns
            }
            KernelEvent::Odd { at_ns, odd } => {
                line.odd_fragment(now, &odd, tap);
                at_ns
            }
            KernelEvent::Limited(excess) => {
                tap.limited(&excess);
                continue;
            }
            // It makes no flow and leads to no block: nothing to apply.
            KernelEvent::Arp { frame, len } => {
                let frame = frame.get(..len).unwrap_or_default();
                line.frame(now, Some(wire::LinkType::Ethernet), frame, len as u32, tap);
                continue;
            }
        };
        apply(sensor, tap, |at| reaction.note(at.saturating_sub(seen_ns)));
    }
}

/// Whether a flow is one of ICMP errors.
fn is_icmp_error(key: &FlowKey, stats: &flow::FlowStats) -> bool {
    let (_, kind) = key.source(stats.initiator);
    u8::try_from(kind).is_ok_and(|kind| wire::is_icmp_error(key.protocol, kind))
}

/// What limits did, as the kernel counts it.
fn limit_totals(counters: &KernelCounters) -> LimitTotals {
    let dropped = [
        Counter::LimitedSourceSyn,
        Counter::LimitedSourceUdp,
        Counter::LimitedSourceIcmp,
        Counter::LimitedServiceSyn,
        Counter::FragmentsDropped,
    ];
    LimitTotals {
        dropped_packets: dropped.into_iter().map(|c| counters.get(c)).sum(),
        would_drop_packets: counters.get(Counter::LimitedWouldDrop),
        allowed_packets: counters.get(Counter::LimitedAllowed),
        cookies_sent: counters.get(Counter::CookiesSent),
        cookies_valid: counters.get(Counter::CookiesValid),
        cookies_invalid: counters.get(Counter::CookiesInvalid),
    }
}

impl KernelSource {
    /// The limits in force and who was over one lately.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn limits(&self) -> Result<LimitsView, AgentError> {
        let internal = |e: kernel::SensorError| AgentError::new(Code::Internal, e.to_string());
        let rates = self.sensor.limits();
        let excesses = self.sensor.excesses(EXCESSES_LISTED).map_err(internal)?;
        Ok(LimitsView {
            enforced: self.sensor.enforces(),
            rates: [
                (Limit::SourceSyn, rates.source_syn),
                (Limit::SourceUdp, rates.source_udp),
                (Limit::SourceIcmp, rates.source_icmp),
                (Limit::ServiceSyn, rates.service_syn),
            ]
            .map(|(limit, rate)| (limit.name().to_owned(), rate))
            .into(),
            known_seconds: rates.known_s,
            block_tiny_fragments: rates.block_tiny,
            block_overlapping_fragments: rates.block_overlapping,
            syn_cookies: self.sensor.syn_cookies(),
            totals: limit_totals(&self.sensor.counters().map_err(internal)?),
            excesses: excesses
                .into_iter()
                .map(|e| ExcessView {
                    address: e.addr,
                    port: (e.port != 0).then_some(e.port),
                    limit: e.limit.map_or("several", Limit::name).to_owned(),
                    since_ns: e.since_ns,
                    last_ns: e.last_ns,
                    packets: e.packets,
                    bytes: e.bytes,
                })
                .collect(),
        })
    }

    /// A source over an attached sensor, whose flows are read every `snapshot`; those without an answer until they have
    /// waited for `grace_ns`.
    pub fn new(sensor: Sensor, snapshot: Duration, grace_ns: u64) -> Self {
        Self {
            sensor,
            snapshot,
            grace_ns,
            taken: Instant::now(),
            events: Vec::new(),
            skipped: [0; Skip::ALL.len()],
        }
    }

    /// Hands what the kernel tells to the line, applies what is decided at once, and reads the flows when it is time.
    ///
    /// # Errors
    /// If the kernel no longer tells.
    pub fn feed(
        &mut self,
        patience: Duration,
        line: &mut Line,
        tap: &mut AgentTap,
        reaction: &mut Reaction,
    ) -> anyhow::Result<()> {
        let gone = |e: kernel::SensorError| fail(Exit::Kernel, e.to_string());
        let events = &mut self.events;
        self.sensor.poll(patience, &mut |event| events.push(event)).map_err(gone)?;
        answer(&mut self.sensor, events, line, tap, reaction);
        // Behind the events, so that most flows are known before their heads.
        self.sensor.heads(&mut |at, key, direction, segment| line.segment(at, key, direction, segment, tap));
        apply(&mut self.sensor, tap, |_| {});
        if self.taken.elapsed() >= self.snapshot {
            self.taken = Instant::now();
            let mut now = wall_ns();
            let mut stretch = 0;
            let mut failure = None;
            // Errors are counted against what provoked them, so that has to be known before.
            let mut errors = Vec::new();
            let mut each = |sensor: &mut Sensor, key: &FlowKey, stats: &flow::FlowStats| {
                // An entry the program has made and not yet counted its first packet in.
                if is_icmp_error(key, stats) {
                    errors.push((*key, *stats));
                } else if stats.dir.iter().any(|d| d.packets > 0) {
                    line.snapshot(now, *key, stats, tap);
                }
                stretch += 1;
                if stretch == STRETCH {
                    stretch = 0;
                    apply(sensor, tap, |_| {});
                    match sensor.poll(Duration::ZERO, &mut |event| events.push(event)) {
                        Ok(_) => answer(sensor, events, line, tap, reaction),
                        Err(e) => failure = Some(e),
                    }
                    now = wall_ns();
                }
            };
            self.sensor.flows_with(self.grace_ns, &mut each).map_err(gone)?;
            if let Some(e) = failure {
                return Err(gone(e));
            }
            for (key, stats) in errors {
                line.snapshot(now, key, &stats, tap);
            }
            self.report_anomalies(line, tap);
        }
        line.advance(wall_ns(), tap);
        if tap.ended.len() >= FORGET_BATCH
            || !tap.ended.is_empty() && self.taken.elapsed() < Duration::from_millis(50)
        {
            let keys: Vec<FlowKey> = std::mem::take(&mut tap.ended);
            // A flow that the kernel evicted meanwhile is no loss: its last counts were read before.
            if let Err(e) = self.sensor.forget(&keys) {
                tracing::warn!("ended flows stay in the kernel's table until it evicts them: {e}");
            }
        }
        Ok(())
    }

    /// Reports frames the kernel could not parse, when a count reached the next power of two.
    fn report_anomalies(&mut self, line: &Line, tap: &mut AgentTap) {
        let Ok(counters) = self.sensor.counters() else { return };
        for skip in Skip::ALL {
            let (now, before) = (counters.skipped(skip), &mut self.skipped[skip as usize]);
            if skip != Skip::NotIp && now > 0 && (*before == 0 || now.ilog2() > before.ilog2()) {
                crate::line::Tap::anomaly(tap, line.now_ns(), skip.name(), now);
            }
            *before = now;
        }
    }

    /// Figures for the board.
    pub fn sight(&mut self) -> Sight {
        let counters = self.sensor.counters().unwrap_or_default();
        let reports = self.sensor.reports();
        let rank = |m: AttachMode| match m {
            AttachMode::Native => 0,
            AttachMode::Generic => 1,
            AttachMode::Tcx => 2,
            AttachMode::AfPacket => 3,
        };
        // The least of the modes: "ready" must not promise more than every interface has.
        let worst = reports.iter().map(|r| r.mode).max_by_key(|m| rank(*m));
        let sensor = match worst {
            Some(AttachMode::Native) => "xdp-native",
            Some(AttachMode::Generic) => "xdp-generic",
            Some(AttachMode::Tcx) => "tcx",
            Some(AttachMode::AfPacket) => "af-packet",
            None => "none",
        };
        let counts = self.sensor.interfaces().unwrap_or_default();
        let interfaces = reports
            .iter()
            .map(|r| {
                let c = counts.iter().find(|c| c.interface == r.interface);
                InterfaceView {
                    attachment: attachment(r),
                    packets: c.map_or(0, |c| c.packets + c.egress_packets),
                    bytes: c.map_or(0, |c| c.bytes + c.egress_bytes),
                    dropped_packets: c.map_or(0, |c| c.dropped_packets),
                    ..InterfaceView::default()
                }
            })
            .collect();
        let mut intake = Intake {
            packets: counters.get(Counter::Packets) + counters.get(Counter::EgressPackets),
            bytes: counters.get(Counter::Bytes) + counters.get(Counter::EgressBytes),
            opaque_tunnels: counters.get(Counter::TunnelOpaque) + counters.get(Counter::TunnelUserOnly),
            ..Intake::default()
        };
        for skip in Skip::ALL {
            intake.skipped[skip as usize] = counters.skipped(skip);
        }
        let mut losses: BTreeMap<String, u64> = BTreeMap::new();
        for (counter, name) in [
            (Counter::FlowInsertFailed, "kernel_flow_insert_failed"),
            (Counter::SourceInsertFailed, "kernel_source_insert_failed"),
            (Counter::InterfaceUncounted, "kernel_interface_uncounted"),
            (Counter::FlowStartSuppressedSource, "kernel_flow_start_suppressed_source"),
            (Counter::FlowStartSuppressedCpu, "kernel_flow_start_suppressed_cpu"),
            (Counter::FlowEndSuppressedSource, "kernel_flow_end_suppressed_source"),
            (Counter::FlowEndSuppressedCpu, "kernel_flow_end_suppressed_cpu"),
            (Counter::FlowStartLost, "ringbuf_flow_start_lost"),
            (Counter::FlowEndLost, "ringbuf_flow_end_lost"),
            (Counter::SourceOverLost, "ringbuf_source_over_lost"),
            (Counter::FlowCpuMigrations, "kernel_flow_cpu_migrations"),
            (Counter::HeadSuppressedSource, "kernel_head_suppressed_source"),
            (Counter::HeadSuppressedCpu, "kernel_head_suppressed_cpu"),
            (Counter::HeadLost, "ringbuf_head_lost"),
            (Counter::LimitedSourceSyn, "kernel_limited_source_syn"),
            (Counter::LimitedSourceUdp, "kernel_limited_source_udp"),
            (Counter::LimitedSourceIcmp, "kernel_limited_source_icmp"),
            (Counter::LimitedServiceSyn, "kernel_limited_service_syn"),
            (Counter::LimitedWouldDrop, "kernel_limited_would_drop"),
            (Counter::LimitedAllowed, "kernel_limited_allowed"),
            (Counter::LimitedLost, "ringbuf_limited_lost"),
            (Counter::FragmentsTiny, "kernel_fragments_tiny"),
            (Counter::FragmentsOverlapping, "kernel_fragments_overlapping"),
            (Counter::FragmentsOrphaned, "kernel_fragments_orphaned"),
            (Counter::FragmentsDropped, "kernel_fragments_dropped"),
            (Counter::TunnelUserOnly, "kernel_tunnel_user_only"),
            (Counter::ArpLost, "kernel_arp_lost"),
            (Counter::OddLost, "kernel_odd_lost"),
        ] {
            losses.insert(name.into(), counters.get(counter));
        }
        for skip in Skip::ALL {
            losses.insert(skip.name().into(), counters.skipped(skip));
        }
        losses.insert("ringbuf_events_unreadable".into(), self.sensor.unreadable_events());
        let programs = self
            .sensor
            .programs()
            .into_iter()
            .map(|p| ProgramView { name: p.name, runs: p.run_count, run_seconds: p.run_time_ns as f64 / 1e9 })
            .collect();
        Sight {
            workers: Vec::new(),
            sensor: sensor.into(),
            why_not: None,
            interfaces,
            intake,
            ringbuf_lost: counters.events_lost(),
            losses,
            programs,
            limits: Some(limit_totals(&counters)),
        }
    }
}
