//! A network of our own to attack: what the demo, the simulation and the end-to-end tests need.
//!
//! [`range`] is a pair of network namespaces joined by a veth pair, [`traffic`] sends bounded ordinary and hostile
//! traffic inside it, and [`simulation`] tells the same story as packets, without privileges.
//!
//! Nothing of these reaches a real network: addresses are those reserved for documentation, generators refuse every
//! destination that is neither loopback nor inside a range, and count, rate and duration are always limited. The one
//! exception is [`visit`], which visits public sites politely when it is asked to, and otherwise the lab's servers.

#![forbid(unsafe_code)]

pub mod address;
pub mod arguments;
pub mod chance;
pub mod process;
pub mod range;
pub mod reference;
pub mod scenario;
pub mod serve;
pub mod simulation;
pub mod traffic;
pub mod visit;
