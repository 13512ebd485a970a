//! What the agent says about itself: an HTTP API for machines, a control socket for its own command line.
//!
//! This crate transports; it decides nothing. The binary implements [`http::Source`] and [`control::Agent`], both of
//! which are asked from this crate's own threads and must answer from what is at hand, within milliseconds. Everything
//! that can be asked for from outside is bounded: connections, request sizes, the time a peer may take, label values.

pub mod api;
pub mod control;
pub mod http;
pub mod metrics;
pub mod process;
pub mod view;

pub use control::{Agent, AgentError, Control, Request};
pub use http::{Http, HttpConfig, HttpError, Source};
pub use metrics::Metrics;
