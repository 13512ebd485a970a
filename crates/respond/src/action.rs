//! Blocks, the effects that put them in force or lift them, and the decisions that lead there.

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
    /// Lift a block; nothing to do where it has ended by itself.
    Remove(#[serde(serialize_with = "as_object")] Prefix),
}

/// A prefix as `{"prefix": …}`: a tagged variant has to be an object.
fn as_object<S: serde::Serializer>(prefix: &Prefix, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct as _;
    let mut object = serializer.serialize_struct("Remove", 1)?;
    object.serialize_field("prefix", prefix)?;
    object.end()
}

/// What came of an incident, a command or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A block goes into force, or was found in force and adopted at start (then without an effect).
    Blocked,
    /// In shadow mode: would have been [`Outcome::Blocked`].
    WouldBlock,
    /// The end of a block in force moves.
    Extended,
    /// Not blocked; `why` says what stood against it.
    Refused,
    /// A block is lifted before its end.
    Lifted,
    /// A block has reached its end.
    Expired,
}

/// One line of the audit log: what was decided about whom, why, and what an effector is to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// When, wall-clock ns since 1970.
    pub at_ns: u64,
    /// About whom; for an attack from many or forged sources, the address under attack.
    pub prefix: Prefix,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, in words.
    pub why: String,
    /// The incident behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<u64>,
    /// The block concerned, as it stands or stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// What is to be done; nothing if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}
