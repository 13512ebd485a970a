//! Packets to flows and windows.
//!
//! One table of bidirectional flows, one table of entities with windows of 1, 10 and 60 s, and the integer
//! accumulators both are built on. The kernel program computes the same accumulators
//! (`crates/kernel/bpf/account.h`); its snapshots enter the same table through [`Tracker::merge`]. Pure: time is an
//! argument in nanoseconds.

pub mod event;
pub mod key;
pub mod stats;
pub mod window;

pub use event::{EndReason, Event, FlowRecord, Outcome};
pub use key::{Direction, FlowKey};
pub use stats::{Accumulator, FlowStats, TcpState};
pub use window::{Role, Span, Window};
