//! The kernel's side of the sensor: programs, their loader and maps, and the fallbacks where they cannot run.
//!
//! [`Sensor`] loads and attaches the programs of `bpf/`, reads what they count and tells them whom to drop. Where the
//! kernel cannot run them, [`af_packet`] sees the frames and [`nft`] drops them. [`host`] knows who must never be
//! blocked, [`doctor`] what this machine lacks. [`tap`] opens virtual wires for the lab.

pub mod abi;
pub mod af_packet;
pub mod attach;
pub mod blocks;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod error;
mod ethtool;
pub mod event;
mod fanout;
pub mod host;
pub mod limits;
pub mod netlink;
pub mod nft;
pub mod object;
pub mod pins;
pub mod sensor;
mod start;
mod syscall;
pub mod tap;
mod trie;

pub use abi::Counters as KernelCounters;
pub use attach::{AttachChoice, AttachMode, AttachReport};
pub use blocks::BlockInForce;
pub use config::{SensorConfig, Tunables};
pub use error::{AttachError, CaptureError, NftError, SensorError};
pub use event::KernelEvent;
pub use limits::{Excess, LimitRates};
pub use sensor::{InterfaceCounts, ProgramStats, Sensor, Snapshot, Waker};
pub use syscall::flows_of;
