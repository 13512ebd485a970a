//! Blocks and the effects that put them in force or lift them.

use crate::Prefix;
use serde::{Deserialize, Serialize};

/// Who put a block in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The responder, by policy.
    Policy,
    /// An administrator's `ban`.
    Operator,
}

/// An action in force: always with an end, an owner and a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Whom.
    pub prefix: Prefix,
    /// Since when, wall-clock ns since 1970.
    pub since_ns: u64,
    /// Until when, wall-clock ns since 1970.
    pub until_ns: u64,
    /// Who decided.
    pub owner: Owner,
    /// Why, in words.
    pub reason: String,
    /// Incident that caused it.
    pub incident: Option<u64>,
    /// How many times this prefix has been blocked in memory, this one included.
    pub offence: u32,
}

/// What an effector (XDP maps, nftables) is to do. Only [`crate::Responder`] makes these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Put a block in force, or move the end of one in force.
    Insert(Block),
    /// Lift a block.
    Remove(Prefix),
}
