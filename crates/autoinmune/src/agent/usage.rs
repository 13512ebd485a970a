//! What this process itself costs.

use std::time::Instant;

/// Processor time and memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor seconds, user and system, since start.
    pub cpu_seconds: f64,
    /// Share of one processor since the last reading, percent.
    pub cpu_percent: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
}

/// Reads `/proc/self` and remembers the last reading.
#[derive(Debug)]
pub struct Meter {
    last: Usage,
    at: Instant,
    ticks_per_second: f64,
    page_bytes: u64,
}

impl Meter {
    /// A meter that starts now.
    pub fn new() -> Self {
        #[expect(clippy::cast_precision_loss, reason = "ticks per second is 100")]
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let mut meter = Self {
            last: Usage::default(),
            at: Instant::now(),
            ticks_per_second,
            page_bytes: rustix::param::page_size() as u64,
        };
        meter.read();
        meter
    }

    /// Reads the figures; unreadable ones keep their last value.
    pub fn read(&mut self) -> Usage {
        let mut now = self.last;
        if let Some(ticks) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks) {
            #[expect(clippy::cast_precision_loss, reason = "seconds with two decimals")]
            let seconds = ticks as f64 / self.ticks_per_second;
            now.cpu_seconds = seconds;
        }
        if let Some(pages) = std::fs::read_to_string("/proc/self/statm").ok().as_deref().and_then(resident_pages) {
            now.resident_bytes = pages * self.page_bytes;
        }
        let elapsed = self.at.elapsed().as_secs_f64();
        if elapsed >= 0.1 {
            now.cpu_percent = (now.cpu_seconds - self.last.cpu_seconds).max(0.0) / elapsed * 100.0;
            self.last = now;
            self.at = Instant::now();
        }
        now
    }
}

/// utime + stime of `/proc/PID/stat`; the command name may hold spaces and parentheses, so fields count from the last
/// closing one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_fields_survive_a_hostile_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 21 12 0 0 20 0 1 0 100 1000 200";
        assert_eq!(cpu_ticks(stat), Some(33));
        assert_eq!(cpu_ticks(""), None);
        assert_eq!(resident_pages("100 25 3 4 0 6 0"), Some(25));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(Meter::new().read().resident_bytes > 100_000);
    }
}
