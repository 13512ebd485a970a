//! The kernel's clock and the wall clock.
//!
//! The programs stamp with `CLOCK_BOOTTIME`, which never jumps. Everything else speaks wall-clock ns since 1970.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How long an offset is used before it is measured again, ns: the wall clock may be stepped or slewed.
const REFRESH_NS: u64 = 1_000_000_000;
/// Readings per measurement; the pair read closest together wins.
const READINGS: usize = 3;

/// The offset from `CLOCK_BOOTTIME` to the wall clock, measured anew at most once a second.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    offset_ns: i64,
    measured_at: u64,
}

impl WallClock {
    /// Measures now.
    #[must_use]
    pub fn new() -> Self {
        Self { offset_ns: measure(), measured_at: boot_ns() }
    }

    /// Measures again if the last measurement is more than a second old.
    pub fn refresh(&mut self) {
        let now = boot_ns();
        if now.saturating_sub(self.measured_at) > REFRESH_NS {
            self.offset_ns = measure();
            self.measured_at = now;
        }
    }

    /// `CLOCK_REALTIME - CLOCK_BOOTTIME` in ns as last measured.
    #[must_use]
    pub const fn offset_ns(&self) -> i64 {
        self.offset_ns
    }

    /// A kernel time on the wall clock; 0 ("never") stays 0.
    #[must_use]
    pub const fn wall(&self, boot_ns: u64) -> u64 {
        crate::abi::wall_ns(boot_ns, self.offset_ns)
    }

    /// A wall-clock time on the kernel's clock; times before boot become 1, since 0 means "never".
    #[must_use]
    pub fn boot(&self, wall_ns: u64) -> u64 {
        match 0_i64.checked_sub(self.offset_ns) {
            Some(back) => wall_ns.saturating_add_signed(back).max(1),
            None => wall_ns,
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Now by `CLOCK_BOOTTIME`, ns.
#[must_use]
pub fn boot_ns() -> u64 {
    nanos(clock_gettime(ClockId::Boottime))
}

/// Now by the wall clock, ns since 1970.
#[must_use]
pub fn wall_ns() -> u64 {
    nanos(clock_gettime(ClockId::Realtime))
}

fn nanos(t: Timespec) -> u64 {
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec).unwrap_or(0))
}

fn measure() -> i64 {
    let mut best = (u64::MAX, 0_i64);
    for _ in 0..READINGS {
        let before = boot_ns();
        let wall = wall_ns();
        let after = boot_ns();
        let between = after.saturating_sub(before);
        let middle = before.saturating_add(between / 2);
        if between < best.0 {
            best = (between, i64::try_from(i128::from(wall) - i128::from(middle)).unwrap_or(0));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_there_and_back() {
        let clock = WallClock { offset_ns: 1_700_000_000_000_000_000, measured_at: 0 };
        assert_eq!(clock.wall(0), 0);
        assert_eq!(clock.wall(5), 1_700_000_000_000_000_005);
        assert_eq!(clock.boot(1_700_000_000_000_000_005), 5);
        assert_eq!(clock.boot(7), 1, "before boot");
        let behind = WallClock { offset_ns: -10, measured_at: 0 };
        assert_eq!((behind.wall(30), behind.boot(20)), (20, 30));
    }

    #[test]
    fn measures_the_present() {
        let mut clock = WallClock::new();
        clock.refresh();
        assert!(clock.wall(boot_ns()).abs_diff(wall_ns()) < 100_000_000);
    }
}
