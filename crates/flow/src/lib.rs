//! Packets to flows and windows.
//!
//! A [`Tracker`] keeps bidirectional flows and tells of them in events that stand for themselves; a [`Census`] takes these
//! in and keeps entities with windows of 1, 10 and 60 s. There may be many trackers to one census, on other threads. The
//! kernel program computes the same accumulators (`crates/kernel/bpf/account.h`); its snapshots enter the same table
//! through [`Tracker::merge`]. Pure: time is an argument in nanoseconds.

#![forbid(unsafe_code)]

mod age;
pub mod amplifier;
pub mod app;
pub mod census;
mod community_id;
mod dissect;
pub mod entity;
pub mod event;
pub mod feature;
pub mod fragment;
mod index;
pub mod key;
pub mod label;
mod merge;
mod outcome;
pub mod rates;
pub mod recent;
pub mod session;
pub mod sketch;
mod slot;
pub mod stats;
pub mod stream;
mod summary;
mod table;
mod timer;
pub mod tracker;
pub mod window;

pub use age::Ages;
pub use app::App;
pub use census::{Census, CensusConfig, CensusCounters};
pub use community_id::{community_id, community_id_from};
pub use entity::{Entity, EntityId};
pub use event::{Conversation, EndReason, Event, FlowRecord, Oddity, Opening, Outcome, Share, Talk, What};
pub use key::{Direction, FlowKey};
pub use label::{Label, Labels};
pub use rates::Traffic;
pub use recent::Recent;
pub use session::Segment;
pub use stats::{Accumulator, FlowStats, TcpState};
pub use tracker::{Tracker, TrackerConfig, TrackerCounters};
pub use window::{PastWindow, Role, SourceCounts, Span, Window, WindowSets};
