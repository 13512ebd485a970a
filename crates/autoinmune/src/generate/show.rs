//! How `generate` shows itself while it runs: a bar and a few lines redrawn in place on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error, so that standard output holds the report alone.

use super::text;
use crate::text::span;
use lab::visit::{Report, Run};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between redraws.
const FRAME: Duration = Duration::from_millis(250);
/// Between plain lines.
const LINES: Duration = Duration::from_secs(5);
/// Every so many plain lines, countries and categories follow.
const DETAILS: u64 = 6;

/// The live view.
pub struct Show {
    terminal: bool,
    duration: Duration,
    shown: Instant,
    /// Requests answered when last shown.
    answered: u64,
    /// Requests answered per second, smoothed over about a second.
    rate: f64,
    /// Rows drawn last; the next drawing replaces them.
    rows: usize,
    printed: u64,
}

impl Show {
    /// A view of a run of at most `duration`; drawn in place if standard error is a terminal, unless `plain`.
    pub fn new(plain: bool, duration: Duration) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb");
        let terminal = !plain && !dumb && io::stderr().is_terminal();
        Self { terminal, duration, shown: Instant::now(), answered: 0, rate: 0.0, rows: 0, printed: 0 }
    }

    /// Shows how the run stands, if it is time to.
    pub fn update(&mut self, run: &Run) {
        let pause = if self.terminal { FRAME } else { LINES };
        let elapsed = self.shown.elapsed();
        if elapsed < pause {
            return;
        }
        let report = run.report();
        let answered = report.statistics.total.completed;
        let now = (answered - self.answered) as f64 / elapsed.as_secs_f64();
        // The longer ago the last look, the more the new one counts.
        self.rate += (now - self.rate) * (1.0 - (-elapsed.as_secs_f64()).exp());
        (self.shown, self.answered) = (Instant::now(), answered);
        let out = if self.terminal { self.drawing(&report) } else { self.lines(&report) };
        // Whoever closed standard error does not want to see it.
        let _ = io::stderr().write_all(out.as_bytes());
    }

    /// Takes the drawing away.
    pub fn end(&mut self) {
        let _ = io::stderr().write_all(erase(self.rows).as_bytes());
        self.rows = 0;
    }

    fn drawing(&mut self, report: &Report) -> String {
        let seconds = self.duration.as_secs_f64();
        let bar = text::bar(text::share(report, seconds));
        let rows = [
            format!("{bar}  {} of at most {}", span(report.elapsed_s), span(seconds)),
            text::totals(report, self.rate),
            text::kinds(&report.statistics),
            text::categories(&report.statistics),
            text::countries(&report.statistics),
            text::failures(&report.statistics),
        ];
        let width = rustix::termios::tcgetwinsize(io::stderr())
            .ok()
            .map(|s| usize::from(s.ws_col))
            .filter(|w| *w > 0)
            .unwrap_or(80);
        let mut out = erase(self.rows);
        for row in &rows {
            // One column less: some terminals break the line behind the last.
            out.extend(row.chars().filter(|c| !c.is_control()).take(width - 1));
            out.push('\n');
        }
        self.rows = rows.len();
        out
    }

    fn lines(&mut self, report: &Report) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:6.0} s  {}; {}",
            report.elapsed_s,
            text::totals(report, self.rate),
            text::failures(&report.statistics)
        );
        if self.printed % DETAILS == DETAILS - 1 {
            for line in [
                text::kinds(&report.statistics),
                text::categories(&report.statistics),
                text::countries(&report.statistics),
            ] {
                let _ = writeln!(out, "          {line}");
            }
        }
        self.printed += 1;
        out
    }
}

/// Moves up over so many rows and clears from there.
fn erase(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!("\x1b[{rows}F\x1b[J") }
}
