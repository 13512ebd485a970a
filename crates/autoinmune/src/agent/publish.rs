//! What the agent shows: figures gathered by its thread once a second, read by HTTP and control socket at any time.

use super::Agent;
use crate::line::Intake;
use crate::{eve, replay};
use respond::Mode;
use server::metrics::{IncidentCount, Metrics};
use server::view::{InterfaceView, LearnedView, ProgramView, ReactionView, Ready, Stats, Status, TopSource};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// Sources listed in `/stats` and `status`.
const TOP_SOURCES: usize = 10;

#[derive(Default)]
struct Shown {
    ready: Ready,
    status: Status,
    metrics: Metrics,
    intake: Intake,
    flows_total: u64,
    alerts: u64,
}

/// The latest figures.
pub struct Board {
    shown: Mutex<Shown>,
    rates: Mutex<Rates>,
}

/// Totals at the last look, for rates.
#[derive(Default)]
struct Rates {
    at: Option<Instant>,
    by_interface: BTreeMap<String, (u64, u64)>,
}

impl Board {
    /// An empty board: not ready yet.
    pub fn new(simulated: bool) -> Self {
        let ready =
            Ready { sensor: "none".into(), simulated, why: Some("starting".into()), ..Ready::default() };
        Self { shown: Mutex::new(Shown { ready, ..Shown::default() }), rates: Mutex::default() }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        // A panic while holding the lock leaves figures of the second before; showing them beats failing.
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The status as last gathered.
    pub fn status(&self) -> Status {
        self.shown().status.clone()
    }

    /// A `stats` event of the figures as last gathered.
    pub fn stats_event(&self, context: &eve::Context, at_ns: u64) -> String {
        let shown = self.shown();
        let figures = eve::Figures {
            uptime: shown.status.uptime_seconds as u64,
            intake: shown.intake.clone(),
            kernel_drops: shown.metrics.ringbuf_lost_events,
            flows: shown.flows_total,
            flows_live: shown.status.flows,
            alerts: shown.alerts,
            losses: shown.status.losses.clone(),
        };
        eve::stats(context, at_ns, &figures)
    }

    /// Gathers everything anew.
    pub fn update(&self, agent: &mut Agent) {
        let process = agent.meter.look();
        let uptime = agent.started.elapsed();
        let sight = agent.source.sight(&agent.line);
        let Agent { line, tap, intel, learning, logs, reaction, config, http, .. } = agent;
        let simulated = tap.context.simulated;
        let worked = line.worked();
        let mut losses = replay::losses(&worked, line.judge());
        for (name, count) in &sight.losses {
            *losses.entry(name.clone()).or_default() += count;
        }
        let refused = line.responder().counters();
        losses.insert("blocks_refused_capacity".into(), refused.refused_capacity);
        losses.insert("blocks_refused_budget".into(), refused.refused_budget);
        losses.insert("offenders_evicted".into(), refused.offenders_evicted);
        losses.insert("effects_failed".into(), tap.effects_failed);
        losses.extend(intel.losses().into_iter().map(|(name, count)| (name.to_owned(), count)));
        losses.insert("signals_excepted".into(), line.exceptions().applied());
        let learned = line.judge().learned().map(|c| LearnedView {
            flows: c.flows.judged,
            flows_not_normal: c.flows.not_normal,
            windows: c.windows_judged,
            signals: c.signals,
            sources_evicted: c.evicted + c.flows.evicted,
        });
        let learner = learning.view();
        if let Some(learner) = &learner {
            losses.insert("learner_windows_dropped".into(), learner.windows_dropped);
            let dropped = learner.flows.as_ref().map_or(0, |flows| flows.dropped);
            losses.insert("learner_flows_dropped".into(), dropped);
        }
        losses.extend(logs.losses().into_iter().map(|(name, count)| (name.to_owned(), count)));
        let mut channels = BTreeMap::new();
        if let Some(eve) = &tap.eve {
            losses.insert("eve_lines_dropped".into(), eve.dropped());
            channels.insert("eve".to_owned(), eve.dropped());
        }
        if let Some(audit) = &tap.audit {
            losses.insert("audit_lines_lost".into(), audit.lost);
            channels.insert("audit".to_owned(), audit.lost);
        }

        if let Some(poster) = &agent.poster {
            losses.extend(poster.losses().map(|(name, count)| (name.to_owned(), count)));
        }
        let post_failures = agent.poster.as_ref().map_or(0, super::Poster::failures);

        let traffic = line.census().traffic();
        let mut interfaces = Vec::new();
        {
            let mut rates = self.rates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let elapsed = rates.at.map_or(0.0, |at| at.elapsed().as_secs_f64());
            for mut view in sight.interfaces {
                let name = view.attachment.name.clone();
                let (packets, bytes) = rates.by_interface.get(&name).copied().unwrap_or_default();
                if elapsed > 0.0 {
                    view.packets_per_second = view.packets.saturating_sub(packets) as f64 / elapsed;
                    view.bytes_per_second = view.bytes.saturating_sub(bytes) as f64 / elapsed;
                }
                rates.by_interface.insert(name, (view.packets, view.bytes));
                interfaces.push(view);
            }
            rates.at = Some(Instant::now());
        }
        let packets_per_second: f64 = interfaces.iter().map(|i: &InterfaceView| i.packets_per_second).sum();
        let bytes_per_second: f64 = interfaces.iter().map(|i| i.bytes_per_second).sum();
        let stats = Stats {
            packets_per_second,
            bytes_per_second,
            unique_ips: traffic.unique_ips.into(),
            unique_ports: traffic.unique_ports.into(),
            tcp_packets: traffic.tcp_packets,
            udp_packets: traffic.udp_packets,
            syn_packets: traffic.syn_packets,
            window_seconds: 1.0,
            top_sources: line
                .census()
                .top_sources(TOP_SOURCES)
                .into_iter()
                .map(|(address, packets, bytes)| TopSource { address, packets, bytes })
                .collect(),
            simulated,
        };
        let responder = line.responder();
        let enforcing = config.policy.mode == Mode::Enforce;
        let blocks =
            if enforcing { responder.blocks().count() } else { responder.would_be_blocks().count() } as u64;
        let (counters, census) = (worked.tracker, line.census().counters());
        let programs: Vec<ProgramView> = sight.programs;

        let mut shown = self.shown();
        shown.ready = Ready {
            ready: sight.why_not.is_none(),
            sensor: sight.sensor.clone(),
            simulated,
            interfaces: interfaces.iter().map(|i| i.attachment.clone()).collect(),
            why: sight.why_not,
        };
        shown.metrics = Metrics {
            packets_per_second,
            bytes_per_second,
            unique_ips: traffic.unique_ips.into(),
            unique_ports: traffic.unique_ports.into(),
            tcp_packets: traffic.tcp_packets,
            udp_packets: traffic.udp_packets,
            syn_packets: traffic.syn_packets,
            post_failures,
            packets_processed: sight.intake.packets,
            bytes_processed: sight.intake.bytes,
            ringbuf_lost_events: sight.ringbuf_lost,
            programs: programs.clone(),
            losses: losses.clone(),
            flows: counters.flows_live,
            entities: census.entities_live,
            sessions: counters.sessions_live,
            session_bytes: counters.session_bytes,
            messages: counters.messages,
            oddities: oddities(&counters),
            blocks,
            incidents: tap
                .incidents
                .iter()
                .map(|((class, severity), total)| IncidentCount {
                    class: (*class).to_owned(),
                    severity: (*severity).to_owned(),
                    total: *total,
                })
                .collect(),
            decisions: tap.decisions.iter().map(|(o, n)| ((*o).to_owned(), *n)).collect(),
            channel_dropped: channels,
            learned,
            learner: learner.clone(),
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            simulated,
        };
        shown.status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: uptime.as_secs_f64(),
            mode: if enforcing { server::view::Mode::Enforce } else { server::view::Mode::Shadow },
            simulated,
            sensor: sight.sensor,
            interfaces,
            workers: sight.workers,
            traffic: stats,
            losses,
            process,
            reaction: ReactionView {
                blocks: reaction.total(),
                p50_seconds: reaction.quantile(0.5),
                p99_seconds: reaction.quantile(0.99),
            },
            limits: sight.limits,
            programs,
            flows: counters.flows_live,
            entities: census.entities_live,
            blocks,
            allowlist: responder.allowlist().len() as u64,
            incidents_open: line.book().open().count() as u64,
            learned,
            learner,
            // As bound: the port may have been left to the system.
            http: http.as_ref().map(|h| h.address().to_string()),
            api: agent.api.as_ref().map(|a| a.http.address().to_string()),
            detector: config.post.url.clone(),
            config: config.file.as_ref().map(|f| f.display().to_string()),
        };
        shown.intake = sight.intake;
        shown.flows_total = counters.flows_total;
        shown.alerts = tap.alerts;
    }
}

/// What was odd, by kind.
fn oddities(c: &flow::TrackerCounters) -> BTreeMap<String, u64> {
    [
        ("violation", c.violations),
        ("segment_conflict", c.segment_conflicts),
        ("fragment_tiny", c.fragments_tiny),
        ("fragment_overlap", c.fragments_overlapping),
        ("fragment_orphan", c.fragments_orphaned),
    ]
    .map(|(kind, count)| (kind.to_owned(), count))
    .into()
}

impl server::http::Source for Board {
    fn ready(&self) -> Ready {
        self.shown().ready.clone()
    }

    fn stats(&self) -> Stats {
        self.shown().status.traffic.clone()
    }

    fn metrics(&self) -> Metrics {
        self.shown().metrics.clone()
    }
}
