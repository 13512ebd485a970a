//! What a soak came to, for people.

use super::judge::{Course, FILES, MEMORY, THREADS};
use super::load::{CONNECTIONS, Tally};
use crate::bench::machine;
use crate::sections;
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

    /// What is measured, as a section of the document.
    fn section(&self, release: bool) -> String {
        let build = if release { "release" } else { "development" };
        let mut text = format!("\n{} questions a second; {build} build.\n\n", self.rate);
        text.push_str(&machine::hardware());
        text.push('\n');
        text.push_str(&self.table());
        text.push_str("\n| | number |\n|---|---:|\n");
        for (what, n) in self.counts() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {what} | {n} |");
        }
        if self.faults.is_empty() {
            text.push_str("\nNothing failed.\n");
        } else {
            text.push_str("\n**Failed:**\n\n");
            self.faults.iter().for_each(|f| text.push_str(&format!("- {f}\n")));
        }
        text
    }

    /// The document with this run in the place of the one of the same length; others stay as they are in `before`.
    pub(super) fn markdown(&self, release: bool, before: &str) -> String {
        let mut runs: Vec<(u32, String)> = sections::of(before)
            .filter_map(|(title, body)| {
                Some((title.strip_suffix(" minutes")?.parse().ok()?, format!("{}\n", body.trim_end())))
            })
            .filter(|(minutes, _)| *minutes != self.minutes)
            .collect();
        runs.push((self.minutes, self.section(release)));
        runs.sort();
        let mut text = head();
        for (minutes, body) in runs {
            text.push_str(&format!("\n## {minutes} minutes\n{body}"));
        }
        text
    }
}

/// What is done and when it fails.
fn head() -> String {
    format!(
        "# Long runs\n\n\
         Measured by `cargo xtask soak --write`; `cargo xtask test` does the same for ten minutes beside the other tests, and \
         fails where this page says so.\n\n\
         The detector is asked every kind of question over {CONNECTIONS} kept connections, good and bad ones, and to retrain \
         once a minute. In a range of the lab `autoinmune run` watches, blocks for 30 s at a time, posts what it sees to the \
         detector, writes EVE events, and follows two logs that are rotated every 30 s, by renaming and by emptying. Its \
         learner trains every two minutes on what is a minute old, not every half an hour on what is half an hour old, so that \
         it holds as much after warming up as ever. An ordinary client works through the range, 64 senders send datagrams, and \
         a port scan comes once a minute.\n\n\
         Shown are medians of the quarters of a run; the first is for warming up. It fails if the last is above the second by \
         more than {:.0} % or {} MB of memory (the larger), {} files or {} threads; if the most memory is above its limit; if a \
         question is not answered as it should be; or if anything is lost that must not be.\n\n\
         Limits: the load is steady and far below what either program can take, from addresses that repeat; it shows leaks, \
         not what a flood costs ([benchmarks.md](benchmarks.md)). A leak of less than the tolerance within a run is not seen.\n",
        MEMORY.share * 100.0,
        MEMORY.amount,
        FILES.amount,
        THREADS.amount
    )
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
        let before = "# Long runs\n\n## 60 minutes\n\nan hour\n\n## 10 minutes\n\nreplaced\n";
        let good = report(Vec::new()).markdown(true, before);
        assert!(good.contains("| detector: resident memory, MB | 50.0 | 50.0 | 50.0 | 120 |"), "{good}");
        assert!(good.contains("Nothing failed.") && !good.contains("lines written"), "{good}");
        assert!(!good.contains("replaced") && good.ends_with("\n## 60 minutes\n\nan hour\n"), "{good}");
        assert_eq!(report(Vec::new()).markdown(true, &good), good, "the same again");
        let bad = report(vec!["memory grew".into()]);
        assert!(
            bad.markdown(false, "").contains("- memory grew") && bad.summary().contains("fault: memory grew")
        );
    }
}
