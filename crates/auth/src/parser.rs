//! Lines to login events.

use crate::event::{LoginEvent, Outcome};
use crate::format::{Compiled, Format, FormatSet, Group};
use crate::header::{header, program, repeated};
use crate::journal::Entry;
use crate::time::{self, Clock};
use crate::{MAX_LINE, MAX_TEXT, MAX_USER, clean};
use regex::bytes::CaptureLocations;
use std::sync::Arc;
use wire::Addr;

/// User ids from here up belong to people (Debian policy §9.2.2): what their processes say of logins is not believed.
const FIRST_PERSON: u32 = 1000;

/// Which pattern recognised a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// Place of the format in its set.
    pub format: usize,
    /// Place of the pattern in the format.
    pub pattern: usize,
}

/// What came of a line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reading {
    /// Which pattern recognised it, if any did.
    pub line: Option<Line>,
    /// What it tells; absent for notes.
    pub event: Option<LoginEvent>,
    /// Whether it was not looked at because an ordinary user's process wrote it.
    pub untrusted: bool,
}

/// Reads lines by the formats of a set. Keeps nothing from one line to the next.
#[derive(Debug)]
pub struct Parser {
    set: Arc<FormatSet>,
    /// Formats by name of program, sorted.
    by_program: Vec<(String, Vec<usize>)>,
    /// Formats for any program.
    any_program: Vec<usize>,
    /// Where the groups of each pattern matched, by format and pattern: used again for each line.
    locations: Vec<Vec<Option<CaptureLocations>>>,
}

impl Parser {
    /// A parser for a set of formats.
    #[must_use]
    pub fn new(set: Arc<FormatSet>) -> Self {
        let mut by_program: Vec<(String, Vec<usize>)> = Vec::new();
        let mut any_program = Vec::new();
        for (at, format) in set.formats().iter().enumerate() {
            for name in &format.programs {
                if name == "*" {
                    any_program.push(at);
                    continue;
                }
                match by_program.iter_mut().find(|(n, _)| n == name) {
                    Some((_, formats)) => formats.push(at),
                    None => by_program.push((name.clone(), vec![at])),
                }
            }
        }
        by_program.sort();
        let of_pattern = |p: &Compiled| p.regex.as_ref().map(regex::bytes::Regex::capture_locations);
        let locations = set.formats().iter().map(|f| f.patterns.iter().map(of_pattern).collect()).collect();
        Self { set, by_program, any_program, locations }
    }

    /// The formats.
    #[must_use]
    pub fn formats(&self) -> &[Format] {
        self.set.formats()
    }

    /// Reads a line of a file, without its end. `of` is the one format that the file is in; without it, the line is one of
    /// syslog, and the program that wrote it decides. Of a longer line the first [`MAX_LINE`] bytes are read.
    pub fn line(&mut self, line: &[u8], of: Option<usize>, clock: &Clock) -> Reading {
        let line = &line[..line.len().min(MAX_LINE)];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let format = of.and_then(|at| self.set.formats().get(at));
        if format.is_some_and(|f| !f.is_syslog()) {
            return self.whole(of, line, clock.now_ns, clock);
        }
        match header(line, clock) {
            Some(h) if of.is_none() => self.message(h.program, h.message, h.at_ns, clock),
            Some(h) => self.whole(of, h.message, h.at_ns, clock),
            // What a service writes to a file of its own often has no header (`sshd -E FILE`).
            None if of.is_some() => self.whole(of, line, clock.now_ns, clock),
            None => Reading::default(),
        }
    }

    /// Reads an entry of the journal.
    pub fn entry(&mut self, entry: &Entry, clock: &Clock) -> Reading {
        if entry.uid.is_some_and(|uid| uid >= FIRST_PERSON) {
            return Reading { untrusted: true, ..Reading::default() };
        }
        let message = &entry.message[..entry.message.len().min(MAX_LINE)];
        self.message(program(&entry.program), message, entry.at_ns.unwrap_or(clock.now_ns), clock)
    }

    /// A message of a file in one format, with what rsyslog may have put around it.
    fn whole(&mut self, of: Option<usize>, message: &[u8], at_ns: u64, clock: &Clock) -> Reading {
        let (message, tries) = repeated(message);
        of.and_then(|format| self.of_format(format, message, tries, at_ns, clock)).unwrap_or_default()
    }

    /// A message of a program.
    fn message(&mut self, program: &[u8], message: &[u8], at_ns: u64, clock: &Clock) -> Reading {
        let (message, tries) = repeated(message);
        let place = self.by_program.binary_search_by(|(name, _)| name.as_bytes().cmp(program));
        let own = place.ok().and_then(|at| self.by_program.get(at)).map_or(0, |(_, f)| f.len());
        for n in 0..own + self.any_program.len() {
            let format = match place.ok().and_then(|at| self.by_program.get(at)?.1.get(n)) {
                Some(format) => *format,
                None => match self.any_program.get(n - own) {
                    Some(format) => *format,
                    None => break,
                },
            };
            if let Some(reading) = self.of_format(format, message, tries, at_ns, clock) {
                return reading;
            }
        }
        Reading::default()
    }

    /// What the first pattern of a format makes of a message.
    fn of_format(
        &mut self,
        format: usize,
        message: &[u8],
        tries: u32,
        at_ns: u64,
        clock: &Clock,
    ) -> Option<Reading> {
        let f = self.set.formats().get(format)?;
        for (at, pattern) in f.patterns.iter().enumerate() {
            if !message.starts_with(&pattern.prefix) {
                continue;
            }
            let line = Some(Line { format, pattern: at });
            let Some(regex) = &pattern.regex else {
                return Some(Reading { line, ..Reading::default() });
            };
            let locations = self.locations.get_mut(format)?.get_mut(at)?.as_mut()?;
            if regex.captures_read(locations, message).is_none() {
                continue;
            }
            if pattern.outcome == Outcome::Note {
                return Some(Reading { line, ..Reading::default() });
            }
            let found = |group: Group| {
                let (from, to) = locations.get(pattern.group(group)?)?;
                message.get(from..to)
            };
            let event = event(f, pattern.outcome, found, tries, at_ns, clock);
            return Some(Reading { line, event: Some(event), untrusted: false });
        }
        None
    }
}

/// The event of a line whose groups `found` gives.
fn event<'a>(
    format: &Format,
    outcome: Outcome,
    found: impl Fn(Group) -> Option<&'a [u8]>,
    tries: u32,
    at_ns: u64,
    clock: &Clock,
) -> LoginEvent {
    let text = |group: Group, most: usize| found(group).filter(|t| !t.is_empty()).map(|t| clean(t, most));
    let named = found(Group::Source).unwrap_or_default();
    let source = address(named);
    LoginEvent {
        at_ns: found(Group::Time).and_then(|t| time::any(t, clock)).unwrap_or(at_ns),
        outcome,
        service: found(Group::Service).map_or_else(|| format.service.clone(), service),
        port: format.port,
        // An empty name is a name: `ssh ''@host`.
        user: found(Group::User).map(|u| clean(u, MAX_USER)),
        unknown_user: outcome == Outcome::UnknownUser || found(Group::Invalid).is_some(),
        source,
        source_name: match source {
            Some(_) => None,
            None if !named.is_empty() => Some(clean(named, MAX_TEXT)),
            None => text(Group::SourceName, MAX_TEXT),
        },
        method: text(Group::Method, MAX_TEXT),
        tries,
    }
}

/// An address, if the text is one; a zone (`fe80::1%eth0`) says nothing beyond this host.
fn address(text: &[u8]) -> Option<Addr> {
    let text = std::str::from_utf8(text).ok()?;
    text.split('%').next()?.parse().ok()
}

/// The name of a service as a line gives it.
fn service(name: &[u8]) -> Arc<str> {
    let text: String = clean(name, MAX_TEXT).chars().filter(|c| c.is_ascii_graphic()).collect();
    text.to_ascii_lowercase().into()
}
