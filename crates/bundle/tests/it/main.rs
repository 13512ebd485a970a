//! Bundles on disk: what is loaded, what is refused, and which is in use.

mod common;
mod hostile;
mod keys;
mod refusals;
mod store;
