//! How a capture shows itself: figures redrawn in place on a terminal, plain lines elsewhere, on standard error.

use super::writer::Status;
use crate::text::si;
use dataset::score::Item;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between plain lines.
const LINES: Duration = Duration::from_secs(10);
/// Width of a bar, characters.
const BAR: usize = 24;

/// The live view.
pub struct Show {
    terminal: bool,
    began: Instant,
    shown: Option<Instant>,
    /// Rows drawn last; the next drawing replaces them.
    rows: usize,
}

impl Show {
    /// A view, drawn in place if standard error is a terminal, unless `plain`.
    pub fn new(plain: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb");
        let terminal = !plain && !dumb && io::stderr().is_terminal();
        Self { terminal, began: Instant::now(), shown: None, rows: 0 }
    }

    /// Says something once.
    pub fn note(&mut self, text: &str) {
        self.end();
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Shows how the capture stands, if it is time to.
    pub fn update(&mut self, status: &Status) {
        if !self.terminal && self.shown.is_some_and(|at| at.elapsed() < LINES) {
            return;
        }
        self.shown = Some(Instant::now());
        let out = if self.terminal {
            let drawing = self.drawing(status);
            let out = format!("{}{drawing}", erase(self.rows));
            self.rows = drawing.lines().count();
            out
        } else {
            format!("{}\n", self.line(status))
        };
        // Whoever closed standard error does not want to see it.
        let _ = io::stderr().write_all(out.as_bytes());
    }

    /// Takes the drawing away.
    pub fn end(&mut self) {
        let _ = io::stderr().write_all(erase(self.rows).as_bytes());
        self.rows = 0;
    }

    fn head(&self, status: &Status) -> String {
        let packets = si(status.packets as f64);
        let lost = if status.lost == 0 { String::new() } else { format!(", {} lost", status.lost) };
        let elapsed = crate::text::span(self.began.elapsed().as_secs_f64());
        format!(
            "{elapsed}: {packets} packets{lost}, {} rows, quality {:.0}/100",
            status.rows, status.score.percent
        )
    }

    fn line(&self, status: &Status) -> String {
        let missing = status.score.missing();
        let rest = if missing.is_empty() {
            "complete".to_owned()
        } else {
            format!("missing: {}", missing.join(", "))
        };
        format!("{}; {rest}", self.head(status))
    }

    fn drawing(&self, status: &Status) -> String {
        let mut out = format!("{}\n", self.head(status));
        for item in &status.score.items {
            let _ = writeln!(out, "  {} {}", bar(item), item.text());
        }
        out.push_str(if status.score.complete { "complete; Ctrl-C ends\n" } else { "Ctrl-C ends\n" });
        out
    }
}

fn bar(item: &Item) -> String {
    let full = (item.share().unwrap_or(0.0) * BAR as f64) as usize;
    let full = if item.is_met() { BAR } else { full.min(BAR - 1) };
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

/// Moves up and clears below.
fn erase(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!("\x1b[{rows}A\x1b[J") }
}

/// The end of a capture, for people.
pub fn report(dir: &Path, status: &Status) -> String {
    let score = &status.score;
    let mut out = format!(
        "{}: {} rows written, {} packets, {} lost; quality {:.0}/100, {}\n",
        dir.display(),
        status.rows,
        status.packets,
        status.lost,
        score.percent,
        if score.complete { "complete" } else { "not complete" }
    );
    for item in &score.items {
        // Writing to a String does not fail.
        let _ = writeln!(out, "  {:7} {}", item.state(), item.text());
    }
    out
}
