//! Learning while the agent runs.
//!
//! A thread of its own, of low priority and with a budget of processor time, takes windows that were judged, trains new models
//! from what nobody had reason to doubt, and puts one in use when it has passed all gates ([`course`]). The agent's thread
//! only hands over what it saw, without ever waiting, and takes finished models ([`Witness`], [`Learner`]). What people say of
//! incidents is [`feedback`].

pub mod bundles;
mod course;
pub mod feedback;
mod golden;
mod memory;
mod thread;
mod witness;

pub use course::Settings;
pub use memory::whole;
pub use thread::Learner;
pub use witness::Witness;

#[cfg(test)]
mod tests;
