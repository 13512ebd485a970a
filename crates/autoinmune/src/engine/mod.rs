//! One worker per core: frames dealt out by flow, reports judged in one order.
//!
//! ```text
//!            ┌ deals ─→ worker 0 ─ batches ┐
//! captures ──┼ deals ─→ worker 1 ─ batches ┼→ merge → judge → tap
//!            └ deals ─→ …                  ┘
//! ```
//!
//! Whichever worker has nothing to do reads the next block and deals it out (`Dealer`).
//!
//! Workers ([`crate::line::Worker`]) share nothing: frames are steered by the addresses of their flow ([`wire::steer`]), and
//! all workers are told the same ticks of the clock. What they tell is judged by position in the input, so that the result
//! depends on the input and on the number of workers only. For another number of workers the same flows come out and the
//! same is judged; of what happens at one tick, the order may differ, and each worker's tables are its share of the whole.
//!
//! Live, there is no reader: the kernel deals frames out ([`Live`]).
//!
//! All channels between threads are bounded, and in a replay whoever is ahead waits: nothing is dropped. Memory goes round:
//! a block of frames comes back to whoever reads, a batch of reports to its worker.

mod captures;
mod crew;
mod deal;
mod live;
mod merge;

pub use captures::{BLOCK_INLINE, BLOCK_SHARED, Captures, Read};
pub use crew::run;
pub use live::Live;

use flow::TrackerConfig;

/// How many workers there are if nobody says otherwise: one per core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(wire::steer::MAX_WORKERS)
}

/// A worker's share of tables that are to hold no more with several workers than with one.
pub fn share(config: &TrackerConfig, workers: usize) -> TrackerConfig {
    let workers = workers.max(1);
    TrackerConfig {
        flow_capacity: config.flow_capacity.div_ceil(workers),
        session_capacity: config.session_capacity.div_ceil(workers),
        session_bytes: config.session_bytes.div_ceil(workers),
        ..*config
    }
}
