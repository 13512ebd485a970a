//! What the responder counts.

use serde::Serialize;

/// Counts since the responder was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Blocks put in force.
    pub blocked: u64,
    /// Blocks that would have been put in force in shadow mode.
    pub would_block: u64,
    /// Ends moved.
    pub extended: u64,
    /// Blocks lifted before their end.
    pub lifted: u64,
    /// Blocks that reached their end.
    pub expired: u64,
    /// Blocks found in force at start and adopted.
    pub restored: u64,
    /// Refused: the evidence may not block, or is below the severity or confidence asked for.
    pub refused_evidence: u64,
    /// Refused: sources many or forged.
    pub refused_distributed: u64,
    /// Refused: allowlisted.
    pub refused_allowlist: u64,
    /// Refused: `max_blocks` in force.
    pub refused_capacity: u64,
    /// Refused: `max_blocks_per_minute` reached.
    pub refused_budget: u64,
    /// Refused: too many known-good clients hit.
    pub refused_known_good: u64,
    /// Refused: lifted by an operator shortly before.
    pub refused_pardoned: u64,
    /// Commands refused for any other reason: shadow mode, length of time, nothing to lift.
    pub refused_command: u64,
    /// Offenders forgotten early for want of room.
    pub offenders_evicted: u64,
    /// Known-good clients forgotten early for want of room.
    pub known_good_evicted: u64,
    /// Known-good clients hit that were forgotten early for want of room.
    pub known_good_hits_evicted: u64,
    /// Pardons forgotten early for want of room.
    pub pardons_evicted: u64,
    /// Times the clock was set back by more than [`crate::responder::CLOCK_SLACK_NS`].
    pub clock_set_back: u64,
}
