//! What a soak came to, for people.

use super::judge::{Course, FILES, MEMORY, THREADS};
use super::load::{CONNECTIONS, Tally};
use crate::bench::machine;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The result of a run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) minutes: u32,
    pub(super) rate: u32,
    pub(super) courses: Vec<Course>,
    pub(super) tally: Arc<Tally>,
    /// Things that went wrong under load.
    pub(super) failed: u64,
    /// Losses of the agent that must not be.
    pub(super) losses: Vec<(&'static str, u64)>,
    /// Everything that is wrong; the first of its kind where there are many.
    pub(super) faults: Vec<String>,
    /// Why there was no agent, if there was none.
    pub(super) alone: Option<String>,
}

impl Report {
    /// Name and number of what was done.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let t = &self.tally;
        let mut counts = vec![
            ("questions answered as they should be", of(&t.answered)),
            ("connections opened for them", of(&t.opened)),
            ("retrainings that ended", of(&t.trained)),
        ];
        if self.alone.is_none() {
            counts.extend([
                ("lines written to logs, and read by the agent", of(&t.lines)),
                ("datagrams sent through the range", of(&t.datagrams)),
                ("requests of an ordinary client through the range that were served", of(&t.served)),
                ("things lost that must not be", self.losses.iter().map(|(_, n)| n).sum()),
            ]);
        }
        counts.push(("failures", self.failed));
        counts
    }

    fn table(&self) -> String {
        let mut text =
            String::from("| | second quarter | last quarter | most | limit |\n|---|---:|---:|---:|---:|\n");
        self.courses.iter().for_each(|c| text.push_str(&c.rows()));
        text
    }

    /// For the terminal.
    pub(super) fn summary(&self) -> String {
        let mut text = self.table();
        for (what, n) in self.counts() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{what}: {n}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "fault: {fault}");
        }
        text
    }

    /// As a document.
    pub(super) fn markdown(&self, release: bool) -> String {
        let build = if release { "release" } else { "development" };
        let mut text = format!(
            "# A long run\n\n\
             Measured by `cargo xtask soak --write`; `cargo xtask test` runs the same for ten minutes and fails where this page \
             says so. The detector is asked every kind of question over {CONNECTIONS} kept connections, {} a second in all, good \
             and bad ones, and to retrain once a minute. In a range of the lab `autoinmune run` watches, blocks for 30 s \
             at a time, posts its figures to the detector, writes EVE events, and follows two logs that are rotated every 30 s, \
             by renaming and by emptying. An ordinary client works through the range, 64 senders send datagrams, and a port \
             scan comes once a minute.\n\n\
             This run: {} minutes, {build} build.\n\n",
            self.rate, self.minutes
        );
        text.push_str(&machine::hardware());
        text.push_str("\n## Growth\n\nMedians of the quarters of the run; the first is for warming up. ");
        let _ = writeln!(
            text,
            "The run fails if the last is above the second by more than {:.0} % or {} MB of memory (the larger), {} files or \
             {} threads, or if the most memory is above its limit.\n",
            MEMORY.share * 100.0,
            MEMORY.amount,
            FILES.amount,
            THREADS.amount
        );
        text.push_str(&self.table());
        text.push_str("\n## Work\n\n| | number |\n|---|---:|\n");
        for (what, n) in self.counts() {
            let _ = writeln!(text, "| {what} | {n} |");
        }
        if self.faults.is_empty() {
            text.push_str("\nNothing failed.\n");
        } else {
            text.push_str("\n**Failed:**\n\n");
            self.faults.iter().for_each(|f| text.push_str(&format!("- {f}\n")));
        }
        text.push_str(
            "\nIn runs shorter than an hour the learner trains every two minutes on what is a minute old, not every half an hour on what \
             is half an hour old.\n\nLimits: the load is steady and far below what either program can take, from addresses that repeat; it \
             shows leaks, not what a flood costs (docs/benchmarks.md). A leak of less than the tolerance within a run is not seen.\n",
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::Sample;
    use super::*;

    #[test]
    fn a_report_says_what_failed() {
        let samples = vec![Sample { memory: 50.0, files: 20.0, threads: 5.0 }; 20];
        let course = Course::of("detector", 120.0, &samples).expect("long enough");
        let report = |faults: Vec<String>| Report {
            minutes: 10,
            rate: 60,
            courses: vec![course.clone()],
            tally: Arc::default(),
            failed: faults.len() as u64,
            losses: Vec::new(),
            faults,
            alone: Some("needs root".into()),
        };
        let good = report(Vec::new()).markdown(true);
        assert!(good.contains("| detector: resident memory, MB | 50.0 | 50.0 | 50.0 | 120 |"), "{good}");
        assert!(good.contains("Nothing failed.") && !good.contains("lines written"), "{good}");
        let bad = report(vec!["memory grew".into()]);
        assert!(
            bad.markdown(false).contains("- memory grew") && bad.summary().contains("fault: memory grew")
        );
    }
}
