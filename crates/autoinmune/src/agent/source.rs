//! Where a running agent's traffic comes from and where its blocks go: the kernel sensor, AF_PACKET with nftables, or a
//! named simulation.

use super::simulation::Simulation;
use super::tap::AgentTap;
use super::wall_ns;
use crate::config::{Attach, Config};
use crate::exit::{Exit, fail};
use crate::line::{Intake, Line};
use super::reaction::Reaction;
use detect::KernelThresholds;
use flow::{FlowKey, Window};
use kernel::af_packet::AfPacket;
use kernel::nft::Nft;
use kernel::{AttachError, AttachMode, KernelEvent, Sensor, SensorConfig};
use respond::{Block, Effect, Prefix};
use server::view::{Attachment, InterfaceView, ProgramView};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use wire::LinkType;

/// What the board shows of a source.
#[derive(Default)]
pub struct Sight {
    /// `xdp-native`, `xdp-generic`, `tcx`, `af-packet` or `simulation`.
    pub sensor: String,
    /// Why it does not see traffic, if so.
    pub why_not: Option<String>,
    /// Per interface; rates are filled in by the board.
    pub interfaces: Vec<InterfaceView>,
    /// Frames seen and skipped.
    pub intake: Intake,
    /// Ring-buffer reservations that failed, in the kernel.
    pub ringbuf_lost: u64,
    /// Losses that only this source knows.
    pub losses: BTreeMap<String, u64>,
    /// Kernel programs.
    pub programs: Vec<ProgramView>,
}
