//! Scenarios: who does what when, as files, played in a [`crate::range`] with real tools and the lab's own acts.
//!
//! A [`Scenario`] is read and checked; a [`Stage`] is its network with its servers; playing it gives [`Deed`]s, what was
//! really done, and from these [`labels`] are written, so that what a capture holds is known by construction. What a
//! sensor makes of it is not this crate's business.

mod file;
mod labels;
pub mod ordinary;
mod play;
pub mod server;
mod shipped;
pub mod tool;

pub use file::{
    Adjustment, CLASSES, Cast, Conditions, Expectation, MAX_SECONDS, Role, Scenario, ScenarioError,
    ScenarioKind, Step, Word,
};
pub use labels::labels;
pub use play::{Deed, Ended, Stage, StageError};
pub use shipped::{SHIPPED, shipped};
