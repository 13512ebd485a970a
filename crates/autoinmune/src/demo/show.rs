//! Where the demo shows itself: a live screen on a terminal, plain lines elsewhere.
//!
//! The screen is the alternate one and is left on every way out: the end, an error, a signal (which ends the demo's
//! loop), a panic.

use super::view::{Span, Style, View};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Ten redraws a second.
const FRAME: Duration = Duration::from_millis(100);
/// How often plain output has a line of rates.
const RATES: Duration = Duration::from_secs(2);

/// Alternate screen, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Normal attributes, cursor, normal screen.
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// Whether the alternate screen is on: what the panic hook must know.
static ON: AtomicBool = AtomicBool::new(false);

/// Screen or lines.
pub struct Show {
    screen: bool,
    color: bool,
    shown: Option<Instant>,
}

impl Show {
    /// A screen if standard output is a terminal that can have one, unless `plain`.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn new(plain: bool) -> io::Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb");
        let screen = !plain && !dumb && io::stdout().is_terminal();
        let color = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        if screen {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                leave();
                usual(info);
            }));
            ON.store(true, Ordering::SeqCst);
            let mut out = io::stdout().lock();
            out.write_all(ENTER.as_bytes())?;
            out.flush()?;
        }
        Ok(Self { screen, color, shown: None })
    }

    /// Whether block characters can be shown.
    pub fn blocks() -> bool {
        ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|v| !v.is_empty())
            .is_some_and(|v| v.to_ascii_lowercase().replace('-', "").contains("utf8"))
    }

    /// Shows the view, if it is time to.
    ///
    /// # Errors
    /// Standard output is gone; the demo then ends.
    pub fn draw(&mut self, view: &mut View) -> io::Result<()> {
        if !self.screen {
            return self.print(view);
        }
        if self.shown.is_some_and(|at| at.elapsed() < FRAME) {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        let (width, height) = size();
        let mut text = String::from("\x1b[H");
        for (n, row) in view.rows(width, height).iter().enumerate() {
            if n > 0 {
                text.push_str("\r\n");
            }
            render(row, width, self.color, &mut text);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Plain mode: what is new in the log, and the rates now and then.
    fn print(&mut self, view: &mut View) -> io::Result<()> {
        let mut out = io::stdout().lock();
        // The log is bounded; taking the lines keeps each from being printed twice.
        for (at, _, text) in view.log.drain(..) {
            writeln!(out, "{at:6.1} s  {text}")?;
        }
        if self.shown.is_none_or(|at| at.elapsed() >= RATES) {
            if self.shown.is_some() {
                writeln!(out, "{:6.1} s  {}", view.at, view.rates())?;
            }
            self.shown = Some(Instant::now());
        }
        out.flush()
    }

    /// Leaves the screen, and prints what stays: the story's lines were on the screen only, the end is for good.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn end(mut self, view: &mut View, text: &str) -> io::Result<()> {
        if !self.screen {
            self.print(view)?;
        }
        leave();
        self.screen = false;
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        leave();
    }
}

/// Leaves the alternate screen, once.
fn leave() {
    if ON.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        // If the terminal is gone there is nothing to restore.
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .filter(|s| s.ws_col > 0 && s.ws_row > 0)
        .map_or((80, 24), |s| (usize::from(s.ws_col), usize::from(s.ws_row)))
}

/// One row, cut to the width.
fn render(row: &[Span], width: usize, color: bool, out: &mut String) {
    let mut room = width;
    for (style, text) in row {
        let code = match style {
            _ if !color => "",
            Style::Plain => "",
            Style::Bold => "\x1b[1m",
            Style::Dim => "\x1b[2m",
            Style::Good => "\x1b[32m",
            Style::Bad => "\x1b[31m",
            Style::Warn => "\x1b[33m",
        };
        out.push_str(code);
        for c in text.chars().take(room) {
            // Texts come from our own agent, but what ends up on a terminal is checked all the same.
            out.push(if c.is_control() { ' ' } else { c });
            room -= 1;
        }
        if !code.is_empty() {
            out.push_str("\x1b[0m");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_coloured_only_when_asked() {
        let row = [(Style::Bold, "abc".to_owned()), (Style::Bad, "d\x1be".to_owned())];
        let check = |width, color, expected: &str| {
            let mut out = String::new();
            render(&row, width, color, &mut out);
            assert_eq!(out, expected);
        };
        check(10, false, "abcd e");
        check(4, false, "abcd");
        check(4, true, "\x1b[1mabc\x1b[0m\x1b[31md\x1b[0m");
        check(0, false, "");
    }
}
