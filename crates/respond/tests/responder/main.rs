//! The responder from outside: what it does in named situations, and what it never does in any.

mod agreement;
mod behaviour;
mod properties;
mod world;
