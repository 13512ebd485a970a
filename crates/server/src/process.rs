//! What this process uses of the machine, from the kernel's own books.

use crate::view::ProcessView;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

/// Looks at this process from time to time, so that a percentage can be given.
#[derive(Debug)]
pub struct Meter {
    last: Option<(Instant, f64)>,
    percent: f64,
}

/// Looks closer together than this keep the previous percentage: processor time is booked in ticks, and a quotient of
/// two tiny numbers says nothing.
const SHORTEST: std::time::Duration = std::time::Duration::from_millis(100);

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// A meter whose first percentage covers the time from now to the first look.
    #[must_use]
    pub fn new() -> Self {
        Self { last: Some((Instant::now(), cpu_seconds())), percent: 0.0 }
    }

    /// What is used now.
    pub fn look(&mut self) -> ProcessView {
        let (now, cpu) = (Instant::now(), cpu_seconds());
        if let Some((then, before)) = self.last {
            let passed = now.duration_since(then);
            if passed >= SHORTEST {
                self.percent = (cpu - before).max(0.0) / passed.as_secs_f64() * 100.0;
                self.last = Some((now, cpu));
            }
        }
        ProcessView { cpu_seconds: cpu, cpu_percent: self.percent, resident_bytes: resident_bytes() }
    }
}

/// Processor time of all threads of this process since it started, s.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
        .as_secs_f64()
}

/// Resident memory of this process, bytes; 0 where /proc is not mounted.
#[must_use]
pub fn resident_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| pages_resident(&text))
        .map_or(0, |pages| pages.saturating_mul(rustix::param::page_size() as u64))
}

/// The second field of /proc/PID/statm (proc(5)).
fn pages_resident(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_itself() {
        assert_eq!(pages_resident("1000 250 3 4 0 6 0\n"), Some(250));
        assert_eq!(pages_resident("1000"), None);
        assert_eq!(pages_resident("a b"), None);
        let mut meter = Meter::new();
        let until = Instant::now() + SHORTEST * 2;
        let mut x = 1_u64;
        while Instant::now() < until {
            x = std::hint::black_box(x.wrapping_mul(31));
        }
        let used = meter.look();
        assert!(used.resident_bytes > 100_000, "{used:?}");
        assert!(used.cpu_seconds > 0.0 && used.cpu_percent > 0.0, "{used:?}");
        assert_eq!(meter.look().cpu_percent, used.cpu_percent, "a look right after keeps the figure");
    }
}
