//! A network of our own to attack: what the demo, the simulation and the end-to-end tests need.
//!
//! [`range`] is a pair of network namespaces joined by a veth pair, [`traffic`] sends bounded ordinary and hostile
//! traffic inside it, and [`scenario`] tells the same story as packets, without privileges.
//!
//! Nothing here reaches a real network: addresses are those reserved for documentation, generators refuse every
//! destination that is neither loopback nor inside a range, and count, rate and duration are always limited.

#![forbid(unsafe_code)]

pub mod address;
pub mod process;
pub mod range;
pub mod scenario;
pub mod traffic;
