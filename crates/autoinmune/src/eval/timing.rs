//! How long judging takes, on one core.

use learn::hybrid::{Hybrid, Scratch};
use learn::{Inline, Matrix};
use serde::Serialize;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows timed: enough to leave the processor's caches, few enough not to wait for.
const ROWS: usize = 20_000;
/// Each way is repeated for at least so long, and the fastest repetition counts: others were disturbed.
const LEAST: Duration = Duration::from_millis(300);

/// Nanoseconds a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Inference {
    /// One row at a time.
    pub single: f64,
    /// All at once, on one thread.
    pub batch: f64,
}

impl Inference {
    /// Times a model on some of the rows.
    pub fn measure(model: &Hybrid, rows: &Matrix) -> Self {
        let places: Vec<usize> = (0..rows.rows().min(ROWS)).collect();
        let rows = rows.select(&places);
        let mut scratch = Scratch::default();
        let single = fastest(|| {
            for row in rows.iter() {
                black_box(model.judge(black_box(row), &mut scratch).class);
            }
        });
        let batch = fastest(|| drop(black_box(model.judge_batch(black_box(&rows), &Inline))));
        let each = |ns: f64| (ns / rows.rows().max(1) as f64 * 10.0).round() / 10.0;
        Self { single: each(single), batch: each(batch) }
    }
}

fn fastest(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    while best.is_infinite() || begun.elapsed() < LEAST {
        let at = Instant::now();
        work();
        best = best.min(at.elapsed().as_nanos() as f64);
    }
    best
}
