//! Threads for work that `learn` can divide.

use learn::Pool;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many threads, started for each piece of work and gone after it.
#[derive(Clone, Copy, Debug)]
pub struct Threads(pub usize);

impl Pool for Threads {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        let threads = self.0.min(jobs);
        if threads <= 1 {
            return (0..jobs).for_each(job);
        }
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= jobs {
                    break;
                }
                job(i);
            }
        };
        std::thread::scope(|scope| {
            // The calling thread is one of them.
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }
}
