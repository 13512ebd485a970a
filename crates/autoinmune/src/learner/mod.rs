//! Learning while the agent runs.
//!
//! A thread of its own, of low priority and with a budget of processor time, takes windows that were judged, trains new models
//! from what nobody had reason to doubt, and puts one in use when it has passed all gates ([`course`]). The classifier of flows
//! is trained anew with what people say of incidents ([`flows`], [`feedback`]). The agent's thread only hands over what it saw,
//! without ever waiting, and takes finished models ([`Witness`], [`Learner`]). Who asks for a training does so by [`Requests`].

pub mod bundles;
mod course;
pub mod feedback;
pub mod flows;
mod golden;
mod memory;
pub mod requests;
mod state;
mod thread;
mod witness;

pub use course::Settings;
pub use memory::whole;
pub use requests::Requests;
pub use thread::{Begin, Learner};
pub use witness::Witness;

#[cfg(test)]
mod tests;
