//! How far training is, as one line on a terminal.

use learn::hybrid::{Progress, Step};
use std::io::{IsTerminal as _, Write as _};

/// Width of the bar, characters.
const WIDTH: usize = 30;

/// A bar on standard error; nothing where that is no terminal.
#[derive(Debug)]
pub struct Bar {
    what: &'static str,
    shown: bool,
    drawn: bool,
}

impl Bar {
    /// A bar that is not drawn yet.
    pub fn new(what: &'static str) -> Self {
        Self { what, shown: std::io::stderr().is_terminal(), drawn: false }
    }

    /// Draws how far training is.
    pub fn training(&mut self, at: Progress) {
        let step = match at.step {
            Step::Gate => "normal or not",
            Step::Families => "which family",
        };
        self.draw(step, at.done, at.of);
    }

    fn draw(&mut self, step: &str, done: usize, of: usize) {
        if self.shown {
            let filled = (WIDTH * done).checked_div(of).unwrap_or(0).min(WIDTH);
            let (full, empty) = ("█".repeat(filled), "░".repeat(WIDTH - filled));
            // A terminal that goes away takes nothing with it.
            let _ = write!(std::io::stderr(), "\r\x1b[K{} {full}{empty} {done}/{of} {step}", self.what);
            self.drawn = true;
        }
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.drawn = false;
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
