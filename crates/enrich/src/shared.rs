//! A value that is replaced whole while others read it: reading never waits for a replacement.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A value in two places, of which readers use one.
///
/// A replacement is put where nobody reads, then readers are sent there, then the other place is filled likewise; the
/// writer waits for readers, never they for it, and what is replaced is freed by the writer.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    places: [RwLock<Arc<T>>; 2],
    /// Replacements so far; its lowest bit says which place is read.
    version: AtomicUsize,
    writing: Mutex<()>,
}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        let value = Arc::new(value);
        Self {
            places: [RwLock::new(Arc::clone(&value)), RwLock::new(value)],
            version: AtomicUsize::new(0),
            writing: Mutex::new(()),
        }
    }

    /// Reads. Keep it short: a replacement waits meanwhile.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        loop {
            // Fails only if the place was left between the two lines; the next round reads the other one.
            if let Ok(value) = self.places[self.version.load(Ordering::Acquire) & 1].try_read() {
                return look(&value);
            }
            std::hint::spin_loop();
        }
    }

    /// Replacements so far.
    pub(crate) fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }

    /// Replaces the value; what was there is gone when this returns.
    pub(crate) fn replace(&self, value: T) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let value = Arc::new(value);
        let now = self.version.load(Ordering::Acquire) & 1;
        self.put(1 - now, &value);
        self.version.fetch_add(1, Ordering::Release);
        self.put(now, &value);
    }

    fn put(&self, place: usize, value: &Arc<T>) {
        // Bound first, so that the old value is freed after the lock is.
        let mut held = self.places[place].write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *held, Arc::clone(value));
        drop(held);
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_whole_values_in_order_and_nothing_is_kept() {
        let shared = Shared::new((0_u64, 0_u64));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 1000 {
                        let (a, b) = shared.read(|v| *v);
                        assert_eq!(a, b);
                        assert!(a >= last);
                        last = a;
                    }
                });
            }
            for n in 1..=1000 {
                shared.replace((n, n));
            }
        });
        assert_eq!(shared.version(), 1000);
    }

    #[test]
    fn what_is_replaced_is_freed_at_once() {
        let (a, b) = (Arc::new(1), Arc::new(2));
        let shared = Shared::new(Arc::clone(&a));
        shared.replace(Arc::clone(&b));
        assert_eq!((Arc::strong_count(&a), Arc::strong_count(&b)), (1, 2));
    }
}
