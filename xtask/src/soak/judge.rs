//! Whether figures taken over a long run stay where they were.

use std::fmt::Write as _;

/// What was looked at, once in every interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Resident memory, MB (10⁶ bytes).
    pub(super) memory: f64,
    /// Open file descriptors.
    pub(super) files: f64,
    /// Threads.
    pub(super) threads: f64,
}

/// How much more one of the figures may be in the last quarter of a run than in the second: the median of each, so that a
/// single peak counts for nothing. The first quarter is for warming up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    /// As a share of the second quarter.
    pub(super) share: f64,
    /// In units of the figure; the larger of both holds.
    pub(super) amount: f64,
}

/// Of memory: what allocators keep and give back differs by a few MB from one minute to the next.
pub(super) const MEMORY: Tolerance = Tolerance { share: 0.05, amount: 3.0 };
/// Of files: a connection that is being opened anew.
pub(super) const FILES: Tolerance = Tolerance { share: 0.0, amount: 2.0 };
/// Of threads.
pub(super) const THREADS: Tolerance = Tolerance { share: 0.0, amount: 0.0 };
/// Fewest samples: four in each quarter.
const LEAST: usize = 16;

/// What became of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trend {
    /// Median of the second quarter.
    pub(super) early: f64,
    /// Median of the last.
    pub(super) late: f64,
    /// The highest of all.
    pub(super) most: f64,
}

impl Trend {
    /// Of a series in the order of time; `None` where there is too little of it.
    pub(super) fn of(series: &[f64]) -> Option<Self> {
        if series.len() < LEAST {
            return None;
        }
        let quarter = series.len() / 4;
        Some(Self {
            early: median(&series[quarter..quarter * 2]),
            late: median(&series[series.len() - quarter..]),
            most: series.iter().copied().fold(f64::MIN, f64::max),
        })
    }

    /// Whether it grew beyond what is tolerated.
    pub(super) fn grew(self, tolerance: Tolerance) -> bool {
        self.late - self.early > (self.early * tolerance.share).max(tolerance.amount)
    }
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// What a program's samples come to.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) name: &'static str,
    pub(super) memory: Trend,
    pub(super) files: Trend,
    pub(super) threads: Trend,
    /// Most memory that it may take, MB.
    pub(super) limit: f64,
}

impl Course {
    /// Sums up a program's samples; `None` where they are too few.
    pub(super) fn of(name: &'static str, limit: f64, samples: &[Sample]) -> Option<Self> {
        let series = |of: fn(&Sample) -> f64| Trend::of(&samples.iter().map(of).collect::<Vec<_>>());
        Some(Self {
            name,
            memory: series(|s| s.memory)?,
            files: series(|s| s.files)?,
            threads: series(|s| s.threads)?,
            limit,
        })
    }

    /// What is wrong with it.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (what, trend, tolerance) in [
            ("memory", self.memory, MEMORY),
            ("files", self.files, FILES),
            ("threads", self.threads, THREADS),
        ] {
            if trend.grew(tolerance) {
                found
                    .push(format!("{}: {what} grew from {:.1} to {:.1}", self.name, trend.early, trend.late));
            }
        }
        if self.memory.most > self.limit {
            found.push(format!("{}: {:.1} MB of memory, above {}", self.name, self.memory.most, self.limit));
        }
        found
    }

    /// As rows of a table.
    pub(super) fn rows(&self) -> String {
        let mut text = String::new();
        for (what, trend, limit) in [
            ("resident memory, MB", self.memory, format!("{}", self.limit)),
            ("open files", self.files, String::new()),
            ("threads", self.threads, String::new()),
        ] {
            let digits = usize::from(what.ends_with("MB"));
            let Trend { early, late, most } = trend;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {}: {what} | {early:.digits$} | {late:.digits$} | {most:.digits$} | {limit} |",
                self.name
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether memory over such a run counts as grown.
    fn check(what: &str, at: impl Fn(usize) -> f64, expected: bool) {
        let series: Vec<f64> = (0..300).map(at).collect();
        let trend = Trend::of(&series).expect("long enough");
        assert_eq!(trend.grew(MEMORY), expected, "{what}: {trend:?}");
    }

    #[test]
    fn growth_is_told_from_warming_up_and_from_peaks() {
        let step = |i: usize, n: usize| if i >= n { 1.0 } else { 0.0 };
        check("flat", |_| 60.0, false);
        check("warms up", |i| 20.0 + 40.0 * (i.min(70) as f64 / 70.0), false);
        check("noise", |i| 60.0 + (i * 7919 % 5) as f64, false);
        check("peaks now and then, also at the end", |i| if i % 30 < 10 { 95.0 } else { 60.0 }, false);
        check("gives memory back", |i| 90.0 - 0.1 * i as f64, false);
        check("leaks 5 MB in every quarter", |i| 40.0 + 20.0 * i as f64 / 300.0, true);
        check("leaks 12 % in all", |i| 100.0 + 12.0 * i as f64 / 300.0, true);
        check("a step that stays", |i| 60.0 + 8.0 * step(i, 200), true);
        check("grows with noise", |i| 60.0 + 0.05 * i as f64 + (i * 7919 % 5) as f64, true);
    }

    #[test]
    fn a_leaked_file_or_thread_a_minute_is_a_fault() {
        let run = |files: f64, threads: f64, memory: f64| {
            let samples: Vec<Sample> = (0..300)
                .map(|i| Sample {
                    memory: 50.0 + memory * f64::from(i),
                    files: 20.0 + (files * f64::from(i)).floor(),
                    threads: 5.0 + (threads * f64::from(i)).floor(),
                })
                .collect();
            Course::of("program", 120.0, &samples).expect("long enough").faults()
        };
        assert!(run(0.0, 0.0, 0.0).is_empty());
        for (faults, word) in [
            (run(1.0 / 30.0, 0.0, 0.0), "files"),
            (run(0.0, 1.0 / 30.0, 0.0), "threads"),
            (run(0.0, 0.0, 0.1), "memory"),
        ] {
            assert!(faults.len() == 1 && faults[0].contains(word), "{faults:?}");
        }
        assert!(run(0.0, 0.0, 0.5).iter().any(|f| f.contains("above 120")));
    }

    #[test]
    fn a_run_too_short_says_nothing() {
        assert!(Trend::of(&[1.0; 15]).is_none());
        assert!(Trend::of(&[1.0; 16]).is_some());
    }
}
