//! The answer to "what about this address?".

use crate::{Allowed, Block, Mode, Owner};
use serde::Serialize;
use wire::Addr;

/// An earlier block, or in shadow mode a would-be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Past {
    /// When it was decided, wall-clock ns.
    pub at_ns: u64,
    /// Its end as decided then, wall-clock ns.
    pub until_ns: u64,
    /// Who decided.
    pub owner: Owner,
    /// Whether it was only reported.
    pub shadow: bool,
    /// Why, in words.
    pub reason: String,
    /// Incident that caused it.
    pub incident: Option<u64>,
}

/// All the responder knows of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whom.
    pub addr: Addr,
    /// Whether blocks are carried out at all.
    pub mode: Mode,
    /// The allowlist entry that protects it.
    pub allowed: Option<Allowed>,
    /// Blocks in force that cover it, the narrowest first.
    pub blocks: Vec<Block>,
    /// In shadow mode: the block it would be under.
    pub would_block: Option<Block>,
    /// Until when policy leaves it alone because an operator lifted its block, wall-clock ns.
    pub pardoned_until_ns: Option<u64>,
    /// Whether it completed a session without incident within the window.
    pub known_good: bool,
    /// Blocks in memory, past and present.
    pub offences: u32,
    /// The latest of them, at most [`crate::responder::MAX_HISTORY`], oldest first.
    pub history: Vec<Past>,
}
