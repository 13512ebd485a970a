//! Bytes to packets and messages.
//!
//! Everything that turns raw bytes into typed, bounds-checked values lives here: link layers, IP, TCP, UDP, ICMP, the
//! capture-file formats, and the application protocols ([`message`]). Pure: no clock, no files, no threads; callers hand in bytes and get values back.
//!
//! The header parser is the twin of `crates/kernel/bpf/parse.h`. Both stop at the same limits and count the same
//! reasons, which the differential test of the `kernel` crate checks on real captures.

#![forbid(unsafe_code)]

pub mod addr;
pub mod capture;
pub mod checksum;
pub mod craft;
pub mod icmp;
pub mod message;
pub mod packet;
pub mod parse;
pub mod quote;
pub mod steer;
pub mod tunnel;

pub use addr::Addr;
pub use icmp::{icmp_counterpart, is_icmp_error};
pub use packet::{Fragment, LinkType, Packet, Skip};
pub use parse::{outermost, parse};
pub use steer::Steering;
