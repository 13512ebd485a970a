//! Where a running agent's traffic comes from and where its blocks go: the kernel sensor, AF_PACKET with nftables, or a
//! named simulation.

use super::kernel_source::KernelSource;
use super::reaction::Reaction;
use super::simulation::Simulation;
use super::tap::AgentTap;
use super::wall_ns;
use crate::config::{Attach, Config};
use crate::engine::{self, Live};
use crate::exit::{Exit, fail};
use crate::line::{Intake, Line};
use detect::KernelThresholds;
use kernel::nft::Nft;
use kernel::{AttachChoice, AttachError, AttachMode, AttachReport, Sensor, SensorConfig, Tunables};
use respond::{Block, Effect, Prefix};
use server::control::{AgentError, Code};
use server::view::{Attachment, InterfaceView, LimitTotals, LimitsView, ProgramView, WorkerView};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use wire::{Addr, LinkType, Steering};

/// What the board shows of a source.
#[derive(Default)]
pub struct Sight {
    /// `xdp-native`, `xdp-generic`, `tcx`, `af-packet` or `simulation`.
    pub sensor: String,
    /// Why it does not see traffic, if so.
    pub why_not: Option<String>,
    /// Per interface; rates are filled in by the board.
    pub interfaces: Vec<InterfaceView>,
    /// Per worker thread, where there are any.
    pub workers: Vec<WorkerView>,
    /// Frames seen and skipped.
    pub intake: Intake,
    /// Ring-buffer reservations that failed, in the kernel.
    pub ringbuf_lost: u64,
    /// Losses that only this source knows.
    pub losses: BTreeMap<String, u64>,
    /// Kernel programs.
    pub programs: Vec<ProgramView>,
    /// What the kernel's limits did.
    pub limits: Option<LimitTotals>,
}

/// Workers that read AF_PACKET sockets, with nftables for blocks.
pub struct FrameSource {
    live: Box<Live>,
    nft: Option<Nft>,
    reports: Vec<AttachReport>,
}

/// A source of traffic with its effector.
pub enum Source {
    /// XDP or tcx.
    Kernel(Box<KernelSource>),
    /// AF_PACKET.
    Frames(FrameSource),
    /// Generated traffic; blocks nothing.
    Simulation(Simulation),
}

fn no_limits() -> AgentError {
    AgentError::new(
        Code::Refused,
        "there are no limits here: they are part of the kernel program, which does not watch this traffic",
    )
}

fn attach_failed(error: &AttachError) -> anyhow::Error {
    let exit = match error {
        AttachError::NoPermission => Exit::Permission,
        AttachError::AlreadyRunning { .. } => Exit::Busy,
        AttachError::Config(_) => Exit::Config,
        AttachError::NoInterface(_) | AttachError::UnknownInterface { .. } => Exit::Input,
        _ => Exit::Kernel,
    };
    fail(exit, error.to_string())
}

/// Replaces `auto` by the interfaces of the default route.
fn resolve(wanted: &[String]) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for name in wanted {
        if name == "auto" {
            let found = kernel::host::default_interfaces();
            if found.is_empty() {
                return Err(fail(
                    Exit::Input,
                    "there is no default route to choose an interface by; name one with --interface",
                ));
            }
            names.extend(found);
        } else {
            names.push(name.clone());
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

impl Source {
    /// Attaches to the network as configured, stepping down from XDP to AF_PACKET where `attach = "auto"` allows.
    ///
    /// # Errors
    /// One sentence with the way out; nothing stays attached.
    pub fn attach(config: &Config, thresholds: &KernelThresholds) -> anyhow::Result<Self> {
        let interfaces = resolve(&config.interfaces)?;
        let choice = match config.attach {
            Attach::Auto => AttachChoice::Auto,
            Attach::Native => AttachChoice::Native,
            Attach::Generic => AttachChoice::Generic,
            Attach::Tcx => AttachChoice::Tcx,
            Attach::AfPacket => return Self::frames(&interfaces, config, "it is configured".into()),
        };
        let sensor = Sensor::attach(&SensorConfig {
            interfaces: interfaces.clone(),
            mode: choice,
            tunables: Tunables {
                account_egress: true,
                source_syn_pending: thresholds.syn_pending,
                source_udp: thresholds.udp_packets,
                source_icmp: thresholds.icmp_packets,
                source_flows: thresholds.flows,
                source_event_budget: config.flow_events_per_source,
                cpu_event_budget: config.flow_events_per_cpu,
                syn_cookies: config.syn_cookies,
                head_bytes: config.head_bytes,
                head_bytes_long: config.head_bytes_long.max(config.head_bytes),
                idle_tcp_ns: config.tracker.idle_tcp_ns,
                idle_ns: config.tracker.idle_ns,
                ..Tunables::default()
            },
            flow_capacity: config.flow_capacity,
            source_capacity: config.source_capacity,
            ring_bytes: config.ring_bytes,
            head_ring_bytes: config.head_ring_bytes,
            limits: config.limits,
            block_capacity: config.block_capacity,
            bpffs: Some(config.bpffs.clone()),
            enforce: config.policy.mode == respond::Mode::Enforce,
        });
        match sensor {
            Ok(sensor) => Ok(Self::Kernel(Box::new(KernelSource::new(
                sensor,
                config.snapshot,
                config.tracker.grace_ns,
            )))),
            Err(e @ (AttachError::NothingWorked { .. } | AttachError::Load { .. }))
                if choice == AttachChoice::Auto =>
            {
                Self::frames(&interfaces, config, e.to_string())
            }
            Err(e) => Err(attach_failed(&e)),
        }
    }

    fn frames(interfaces: &[String], config: &Config, why: String) -> anyhow::Result<Self> {
        let workers = if config.workers == 0 { engine::cores() } else { config.workers as usize };
        let steering = Steering::new(config.tracker.seed, workers);
        let live = Live::start(interfaces, config.snap, steering, config.tracker).map_err(|e| {
            let exit = match e {
                kernel::CaptureError::NoPermission(_) => Exit::Permission,
                kernel::CaptureError::UnknownInterface { .. } => Exit::Input,
                _ => Exit::Kernel,
            };
            fail(exit, e.to_string())
        })?;
        let report = |(ifindex, name): (u32, &String)| AttachReport {
            interface: name.clone(),
            ifindex,
            mode: AttachMode::AfPacket,
            egress: true,
            pinned: false,
            fallbacks: vec![why.clone()],
        };
        let reports = (0..).zip(interfaces).map(report).collect();
        // Shadow mode makes no block and needs no table.
        let nft = match config.policy.mode {
            respond::Mode::Shadow => None,
            respond::Mode::Enforce => Some(Nft::open().map_err(|e| fail(Exit::Kernel, e.to_string()))?),
        };
        Ok(Self::Frames(FrameSource { live: Box::new(live), nft, reports }))
    }

    /// Generated traffic.
    ///
    /// # Errors
    /// If there is no such scenario; names those there are.
    pub fn simulate(scenario: &str, seed: u64) -> anyhow::Result<Self> {
        let scenario = scenario
            .parse()
            .map_err(|e: lab::simulation::UnknownSimulation| fail(Exit::Input, e.to_string()))?;
        Ok(Self::Simulation(Simulation::new(scenario, seed, wall_ns())))
    }

    /// Names of the interfaces watched.
    pub fn interfaces(&self) -> Vec<String> {
        match self {
            Self::Kernel(k) => k.sensor.reports().iter().map(|r| r.interface.clone()).collect(),
            Self::Frames(f) => f.reports.iter().map(|r| r.interface.clone()).collect(),
            Self::Simulation(s) => vec![format!("simulation:{}", s.name())],
        }
    }

    /// One line per interface, and what else a start has to say.
    pub fn describe(&self) -> Vec<String> {
        let reports = match self {
            Self::Kernel(k) => k.sensor.reports(),
            Self::Frames(f) => &f.reports,
            Self::Simulation(_) => &[],
        };
        let mut lines = Vec::new();
        for r in reports {
            let egress = if r.egress { "both directions" } else { "incoming traffic only" };
            lines.push(format!("{}: attached {} ({egress})", r.interface, r.mode));
            lines.extend(r.fallbacks.iter().map(|f| format!("{}: {f}", r.interface)));
        }
        if let Self::Kernel(k) = self {
            lines.extend(k.sensor.notes().iter().cloned());
        }
        lines
    }

    /// Blocks an earlier run left in force.
    pub fn recovered(&self) -> Vec<Block> {
        match self {
            Self::Kernel(k) => k.sensor.recovered_blocks().to_vec(),
            Self::Frames(f) => f.nft.as_ref().map_or_else(Vec::new, |n| n.recovered_blocks().to_vec()),
            Self::Simulation(_) => Vec::new(),
        }
    }

    /// Hands what has arrived to the line, waiting up to `patience` if nothing has, and lets the line's time pass. Blocks
    /// decided on the way are applied at once.
    ///
    /// # Errors
    /// If the source is gone (an interface removed, a map unreadable).
    pub fn feed(
        &mut self,
        patience: Duration,
        line: &mut Line,
        tap: &mut AgentTap,
        reaction: &mut Reaction,
    ) -> anyhow::Result<()> {
        let gone = |e: &dyn std::fmt::Display| fail(Exit::Kernel, e.to_string());
        match self {
            Self::Kernel(k) => k.feed(patience, line, tap, reaction)?,
            Self::Frames(f) => {
                let (judge, worked) = line.judge_of_others();
                f.live.feed(patience, judge, worked, tap).map_err(|e| gone(&e))?;
                // No kernel table holds these flows.
                tap.ended.clear();
            }
            Self::Simulation(s) => {
                let upto = s.play(patience, |at_ns, frame| {
                    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    line.frame(at_ns, Some(LinkType::Ethernet), frame, len, tap);
                });
                line.advance(upto, tap);
                tap.ended.clear();
            }
        }
        Ok(())
    }

    /// Whether every interface is still there: the kernel drops its hooks silently when one goes.
    ///
    /// # Errors
    /// The name of the first that is gone. A list that cannot be read is no reason to stop.
    pub fn check_interfaces(&self) -> anyhow::Result<()> {
        let Self::Kernel(k) = self else { return Ok(()) };
        let Ok(present) = kernel::netlink::interfaces() else { return Ok(()) };
        match k.sensor.reports().iter().find(|r| !present.iter().any(|i| i.index == r.ifindex)) {
            None => Ok(()),
            Some(gone) => Err(fail(
                Exit::Kernel,
                format!("interface {} is gone; start the agent again when it is back", gone.interface),
            )),
        }
    }

    /// Puts a block in force or lifts it.
    ///
    /// # Errors
    /// The effector's reason.
    pub fn apply(&mut self, effect: &Effect) -> Result<(), String> {
        match self {
            Self::Kernel(k) => k.sensor.apply(effect).map_err(|e| e.to_string()),
            Self::Frames(FrameSource { nft: Some(nft), .. }) => nft.apply(effect).map_err(|e| e.to_string()),
            // Restoring in shadow mode lifts what an enforcing run left; there is no table then.
            Self::Frames(_) | Self::Simulation(_) => match effect {
                Effect::Remove(_) => Ok(()),
                Effect::Insert(b) => Err(format!("there is no effector to block {}", b.prefix)),
            },
        }
    }

    /// Gives the effector the responder's allowlist.
    ///
    /// # Errors
    /// The effector's reason.
    pub fn set_allowlist(&mut self, line: &Line) -> anyhow::Result<()> {
        let prefixes: Vec<Prefix> = line.responder().allowlist().iter().map(|a| a.prefix).collect();
        match self {
            Self::Kernel(k) => k.sensor.set_allowlist(&prefixes)?,
            Self::Frames(FrameSource { nft: Some(nft), .. }) => nft.set_allowlist(&prefixes)?,
            Self::Frames(_) | Self::Simulation(_) => {}
        }
        Ok(())
    }

    /// Puts other limits in force; only the kernel sensor has any.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn set_limits(&mut self, limits: kernel::LimitRates) -> anyhow::Result<()> {
        if let Self::Kernel(k) = self {
            k.sensor.set_limits(limits)?;
        }
        Ok(())
    }

    /// The limits in force and who was over one lately.
    ///
    /// # Errors
    /// Only the kernel sensor has limits.
    pub fn limits(&self) -> Result<LimitsView, AgentError> {
        match self {
            Self::Kernel(k) => k.limits(),
            Self::Frames(_) | Self::Simulation(_) => Err(no_limits()),
        }
    }

    /// Gives full buckets again; returns how many.
    ///
    /// # Errors
    /// As [`Self::limits`].
    pub fn clear_limits(&mut self, address: Option<Addr>) -> Result<usize, AgentError> {
        match self {
            Self::Kernel(k) => {
                k.sensor.clear_limits(address).map_err(|e| AgentError::new(Code::Internal, e.to_string()))
            }
            Self::Frames(_) | Self::Simulation(_) => Err(no_limits()),
        }
    }

    /// Packets dropped per block, where the effector counts them.
    pub fn drops(&self) -> HashMap<Prefix, u64> {
        let blocks = match self {
            Self::Kernel(k) => k.sensor.blocks().unwrap_or_default(),
            Self::Frames(FrameSource { nft: Some(nft), .. }) => nft.blocks().unwrap_or_default(),
            Self::Frames(_) | Self::Simulation(_) => Vec::new(),
        };
        blocks.into_iter().map(|b| (b.prefix, b.packets)).collect()
    }

    /// Figures for the board.
    pub fn sight(&mut self, line: &Line) -> Sight {
        match self {
            Self::Kernel(k) => k.sight(),
            Self::Frames(f) => {
                let mut sight =
                    Sight { sensor: "af-packet".into(), intake: line.worked().intake, ..Sight::default() };
                let mut dropped = 0;
                for (place, report) in f.reports.iter().enumerate() {
                    let counts = f.live.interface(place);
                    dropped += counts.dropped;
                    sight.interfaces.push(InterfaceView {
                        attachment: attachment(report),
                        packets: counts.packets,
                        bytes: counts.bytes,
                        ..InterfaceView::default()
                    });
                }
                for (index, worked) in f.live.each_worked().iter().enumerate() {
                    sight.workers.push(WorkerView {
                        packets: worked.intake.packets,
                        flows: worked.tracker.flows_live,
                        dropped_packets: f.live.worker(index).dropped,
                    });
                }
                sight.losses.insert("worker_frames_undelivered".into(), f.live.undelivered());
                sight.losses.insert("af_packet_dropped".into(), dropped);
                sight
            }
            Self::Simulation(s) => Sight {
                sensor: "simulation".into(),
                interfaces: vec![InterfaceView {
                    attachment: Attachment {
                        name: format!("simulation:{}", s.name()),
                        mode: "simulation".into(),
                        egress: true,
                        fallbacks: Vec::new(),
                    },
                    packets: line.worked().intake.packets,
                    bytes: line.worked().intake.bytes,
                    ..InterfaceView::default()
                }],
                intake: line.worked().intake,
                ..Sight::default()
            },
        }
    }

    /// Ends what feeds the line by itself: what its workers still hold is judged.
    pub fn finish(&mut self, line: &mut Line, tap: &mut AgentTap) {
        if let Self::Frames(f) = self {
            let (judge, worked) = line.judge_of_others();
            f.live.finish(judge, worked, tap);
        }
    }

    /// Ends the source; with `keep_blocks` what is in force stays until its end.
    ///
    /// # Errors
    /// What could not be detached.
    pub fn detach(self, keep_blocks: bool) -> anyhow::Result<()> {
        match self {
            Self::Kernel(k) => k.sensor.detach(keep_blocks)?,
            Self::Frames(FrameSource { nft: Some(nft), .. }) => nft.close(keep_blocks)?,
            Self::Frames(_) | Self::Simulation(_) => {}
        }
        Ok(())
    }
}

pub(super) fn attachment(report: &AttachReport) -> Attachment {
    Attachment {
        name: report.interface.clone(),
        mode: report.mode.to_string(),
        egress: report.egress,
        fallbacks: report.fallbacks.clone(),
    }
}
