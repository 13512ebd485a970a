//! The life of a model that goes on learning, without being taught by those it is to catch.
//!
//! Judged first, learnt later. What a host did comes in as a [`Sample`] after it was judged, and goes this way:
//!
//! ```text
//! sample → quarantine → confidence → training windows → (drift or time) → a new model → gates, shadow → promotion
//!            who alerts, and who is near in time, stays out
//! ```
//!
//! - [`quarantine`]: samples wait, so that what comes out only later still counts.
//! - [`confidence`]: how surely a sample is normal, in 0..=1; nothing is excluded for merely being busy.
//! - [`reservoir`], [`windows`]: bounded memories in which no entity has more than its share.
//! - [`drift`], [`schedule`]: when to learn anew, and how much processor time that may take.
//! - [`gate`], [`shadow`]: whether a new model may take the place of the old one.
//! - [`ground`]: what a classifier was trained on, to train it anew with more.
//! - [`stored`]: what outlives the program.
//!
//! [`Life`] is all of it but the models: which model is trained, and on which features, is the caller's affair.

pub mod confidence;
pub mod drift;
pub mod gate;
pub mod ground;
pub mod quarantine;
pub mod reservoir;
pub mod schedule;
pub mod shadow;
pub mod stored;
pub mod windows;

mod keeper;

pub use confidence::Confidence;
pub use drift::Drift;
pub use gate::{Figures, Gates, Refusal};
pub use ground::Ground;
pub use keeper::{Counters, Life, Options, rows};
pub use quarantine::{Gravity, Quarantine};
pub use reservoir::Reservoir;
pub use schedule::{Cause, Schedule};
pub use shadow::Shadow;
pub use stored::Stored;
pub use windows::Windows;

use serde::{Deserialize, Serialize};

/// One second, ns.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// One hour, ns.
pub(crate) const HOUR_NS: u64 = 3_600 * SECOND_NS;
/// One day, ns.
pub(crate) const DAY_NS: u64 = 24 * HOUR_NS;

/// What an entity did in one window, for models to learn from. It stands for itself: with it comes the sequence that it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Hash of the entity, the same as long as a [`Life`] lasts.
    pub entity: u64,
    /// Begin of the window, ns.
    pub at_ns: u64,
    /// Hour of the week, 0..168.
    pub hour: u16,
    /// What it did per second, in whatever unit is the same for all entities, such as packets.
    pub rate: f32,
    /// The window's features.
    pub row: Box<[f32]>,
    /// The windows that led to it and itself, one after the other; empty while there are too few.
    pub sequence: Box<[f32]>,
}
