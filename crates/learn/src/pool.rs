//! Where work that can be divided runs. This crate starts no threads: callers hand in a [`Pool`].

use std::sync::{Mutex, PoisonError};

/// Runs jobs, possibly side by side. Results never depend on the order.
pub trait Pool: Sync {
    /// Calls `job` once with each number in `0..jobs` and returns when all calls have.
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync));
}

/// Runs one job after the other on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Pool for Inline {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(job);
    }
}

/// Calls `f` with each item and its place.
pub(crate) fn each_mut<T: Send>(pool: &dyn Pool, items: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
    // Each lock is taken once: it only tells the compiler that no two jobs share an item.
    let items: Vec<Mutex<&mut T>> = items.iter_mut().map(Mutex::new).collect();
    pool.run(items.len(), &|i| f(i, &mut items[i].lock().unwrap_or_else(PoisonError::into_inner)));
}

/// What `f` makes of each number in `0..jobs`, in order.
pub(crate) fn map<T: Send>(pool: &dyn Pool, jobs: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut made: Vec<Option<T>> = (0..jobs).map(|_| None).collect();
    each_mut(pool, &mut made, |i, place| *place = Some(f(i)));
    made.into_iter().flatten().collect()
}
