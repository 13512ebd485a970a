//! Formats as checked: what the parser works with.

use crate::builtin::BUILTIN;
use crate::definition::{Definition, File, Pattern, Vector};
use crate::parser::{Parser, Reading};
use crate::{Clock, Outcome};
use regex::bytes::{Regex, RegexBuilder};
use serde::Serialize;
use std::sync::Arc;

/// Most bytes of one file of definitions; the shipped ones have a tenth of it.
pub(crate) const MAX_FILE_BYTES: usize = 1 << 18;
/// Most formats of a set, and patterns of a format: each line may be tried against all patterns of a format.
pub(crate) const MAX_FORMATS: usize = 128;
/// See [`MAX_FORMATS`].
pub(crate) const MAX_PATTERNS: usize = 64;
/// Most bytes of a compiled expression, and of its cache. What counted repetitions may blow up to is refused by this.
const REGEX_BYTES: usize = 256 << 10;
/// Groups a pattern may name.
const GROUPS: [&str; 8] =
    ["user", "source", "source_name", "source_port", "method", "service", "time", "invalid"];
/// The clock of vectors: 2026-11-21 19:53:20 UTC.
const VECTOR_CLOCK: Clock = Clock { now_ns: 1_795_290_800_000_000_000, utc_offset_s: 0 };

/// Why definitions cannot be used, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct FormatError {
    /// File.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// How one service writes about logins.
#[derive(Clone, Debug)]
pub struct Format {
    /// Name.
    pub id: Arc<str>,
    /// Service.
    pub service: Arc<str>,
    /// What it is.
    pub doc: Arc<str>,
    /// Port of the service.
    pub port: Option<u16>,
    /// Names under which programs write to syslog; `*` stands for any; none: lines are read as a whole.
    pub programs: Vec<String>,
    /// Numbers of the syslog facilities to which they write.
    pub facilities: Vec<u8>,
    /// Files to follow if they exist.
    pub files: Vec<String>,
    /// File with the definition.
    pub origin: Arc<str>,
    pub(crate) patterns: Vec<Compiled>,
    vectors: Vec<Vector>,
}

impl Format {
    /// Whether its lines are messages of syslog, not lines of a file of its own.
    #[must_use]
    pub fn is_syslog(&self) -> bool {
        !self.programs.is_empty()
    }

    /// Outcome and text of each pattern.
    pub fn patterns(&self) -> impl Iterator<Item = (Outcome, &str)> {
        self.patterns.iter().map(|p| (p.outcome, &*p.text))
    }
}

/// A pattern ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) outcome: Outcome,
    text: Arc<str>,
    /// Bytes that every match begins with: cheaper to compare than to run the expression.
    pub(crate) prefix: Vec<u8>,
    /// The expression; absent where the prefix says it all.
    pub(crate) regex: Option<Regex>,
    /// Number of each group of [`GROUPS`].
    groups: [Option<usize>; GROUPS.len()],
}

impl Compiled {
    /// The number of a group, by its place in [`GROUPS`].
    pub(crate) const fn group(&self, group: Group) -> Option<usize> {
        self.groups[group as usize]
    }
}

/// Groups by name, in the order of [`GROUPS`].
#[derive(Clone, Copy)]
pub(crate) enum Group {
    User,
    Source,
    SourceName,
    Method = 4,
    Service,
    Time,
    Invalid,
}

/// How one vector came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VectorResult {
    /// Format.
    pub format: String,
    /// Line; empty where the format itself is at fault.
    pub line: String,
    /// What happened instead of what was expected; `None` is good.
    pub failure: Option<String>,
}

/// Formats, in the order in which they were added. At most [`MAX_FORMATS`].
#[derive(Clone, Debug, Default)]
pub struct FormatSet {
    formats: Vec<Format>,
}

impl FormatSet {
    /// The shipped formats.
    ///
    /// # Panics
    /// If the definitions this crate was built with are faulty, which a test rules out.
    #[must_use]
    pub fn builtin() -> Self {
        let mut set = Self::default();
        for (name, text) in BUILTIN {
            if let Err(fault) = set.add(name, text) {
                panic!("the embedded formats are faulty: {fault}");
            }
        }
        set
    }

    /// Adds the formats of a file. One with the id of an earlier one takes its place, so that users may change what is
    /// shipped. On an error the set is as before.
    ///
    /// # Errors
    /// The first fault, with file and line: bad syntax, unknown keys or groups, an expression that cannot be compiled or
    /// is too large, a format without patterns or without vectors of both kinds, a file above [`MAX_FILE_BYTES`].
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), FormatError> {
        let error = |line: usize, message: String| FormatError { file: file.to_owned(), line, message };
        if text.len() > MAX_FILE_BYTES {
            return Err(error(1, format!("{} bytes; at most {MAX_FILE_BYTES} are read", text.len())));
        }
        let parsed: File = toml::from_str(text).map_err(|e| {
            error(line_of(text, e.span().map_or(0, |s| s.start)), e.message().replace('\n', "; "))
        })?;
        let mut formats = self.formats.clone();
        for definition in parsed.formats {
            let line = line_of(text, definition.span().start);
            let definition = definition.into_inner();
            let id = definition.id.clone();
            let format = check(file, definition).map_err(|(at, why)| {
                error(at.map_or(line, |at| line_of(text, at)), format!("format `{id}`: {why}"))
            })?;
            if let Some(old) = formats.iter_mut().find(|f| f.id == format.id) {
                *old = format;
            } else if formats.len() < MAX_FORMATS {
                formats.push(format);
            } else {
                return Err(error(line, format!("more than {MAX_FORMATS} formats")));
            }
        }
        self.formats = formats;
        Ok(())
    }

    /// The formats.
    #[must_use]
    pub fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// The place of the format called `id`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.formats.iter().position(|f| &*f.id == id)
    }

    /// Runs every vector of every format, and says what did not come out as stated.
    #[must_use]
    pub fn check(&self) -> Vec<VectorResult> {
        let mut results = Vec::new();
        let mut parser = Parser::new(Arc::new(self.clone()));
        for (at, format) in self.formats.iter().enumerate() {
            for vector in &format.vectors {
                let of = (!format.is_syslog()).then_some(at);
                let reading = parser.line(vector.line.as_bytes(), of, &VECTOR_CLOCK);
                results.push(VectorResult {
                    format: format.id.to_string(),
                    line: vector.line.clone(),
                    failure: self.failure(at, vector, &reading),
                });
            }
        }
        results
    }

    fn failure(&self, format: usize, vector: &Vector, reading: &Reading) -> Option<String> {
        let outcome =
            reading.line.and_then(|l| Some(self.formats.get(l.format)?.patterns.get(l.pattern)?.outcome));
        let name = |o: Option<Outcome>| o.map_or("none", Outcome::name);
        if outcome != vector.expect.outcome() {
            return Some(format!("expected {}, found {}", name(vector.expect.outcome()), name(outcome)));
        }
        if let Some(line) = reading.line
            && line.format != format
        {
            return Some(format!("recognised by `{}`", self.formats.get(line.format)?.id));
        }
        let Some(event) = &reading.event else { return None };
        let source =
            event.source.map(|a| a.to_string()).or_else(|| event.source_name.as_deref().map(str::to_owned));
        for (what, expected, found) in [
            ("user", &vector.user, event.user.as_deref()),
            ("source", &vector.source, source.as_deref()),
            ("method", &vector.method, event.method.as_deref()),
        ] {
            if expected.as_deref() != found {
                return Some(format!("expected {what} {expected:?}, found {found:?}"));
            }
        }
        if let Some(expected) = vector.service.as_deref()
            && expected != &*event.service
        {
            return Some(format!("expected service {expected:?}, found {:?}", event.service));
        }
        let tries = vector.tries.unwrap_or(1);
        (tries != event.tries).then(|| format!("expected {tries} tries, found {}", event.tries))
    }
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&b| b == b'\n').count() + 1
}

type Fault = (Option<usize>, String);

fn check(file: &str, d: Definition) -> Result<Format, Fault> {
    let fault = |why: String| Err((None, why));
    let plain = |s: &str| {
        !s.is_empty()
            && s.len() <= 64
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    if !plain(&d.id) {
        return fault(format!("`id` {:?} is not lower-case letters, digits and hyphens", d.id));
    }
    if !plain(&d.service) {
        return fault(format!("`service` {:?} is not lower-case letters, digits and hyphens", d.service));
    }
    if d.lines.is_empty() || d.lines.len() > MAX_PATTERNS {
        return fault(format!("has {} patterns; from 1 to {MAX_PATTERNS} are needed", d.lines.len()));
    }
    let recognised = |v: &Vector| v.expect.outcome().is_some();
    if !d.vectors.iter().any(recognised) || d.vectors.iter().all(recognised) {
        return fault("needs a vector that is recognised and one with `expect = \"none\"`".to_owned());
    }
    let patterns = d.lines.into_iter().map(compile).collect::<Result<_, _>>()?;
    Ok(Format {
        id: d.id.into(),
        service: d.service.into(),
        doc: d.doc.into(),
        port: d.port,
        programs: d.programs,
        facilities: d.facilities.into_iter().map(|f| f as u8).collect(),
        files: d.files,
        origin: file.into(),
        patterns,
        vectors: d.vectors,
    })
}

fn compile(p: Pattern) -> Result<Compiled, Fault> {
    let at = p.pattern.span().start;
    let text = p.pattern.into_inner();
    let wrong = |why: String| (Some(at), why);
    let (prefix, rest) = literal_prefix(&text);
    // Bytes, not characters: logs hold what attackers type. Both ends anchored: what is typed cannot end a pattern early.
    let regex = RegexBuilder::new(&format!("^(?:{text})$"))
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .build()
        .map_err(|e| wrong(format!("pattern cannot be used: {}", e.to_string().replace('\n', " "))))?;
    let mut groups = [None; GROUPS.len()];
    for (number, name) in regex.capture_names().enumerate() {
        let Some(name) = name else { continue };
        match GROUPS.iter().position(|g| *g == name) {
            Some(place) => groups[place] = Some(number),
            None => {
                return Err(wrong(format!("unknown group `{name}`; known are {}", GROUPS.join(", "))));
            }
        }
    }
    Ok(Compiled {
        outcome: p.outcome,
        regex: (rest != ".*").then_some(regex),
        prefix: prefix.into_bytes(),
        text: text.into(),
        groups,
    })
}

/// What every match of an anchored expression begins with, and the expression after it. Takes only what is sure to be
/// literal, so it may be shorter than it could.
fn literal_prefix(pattern: &str) -> (String, &str) {
    // An alternative at the top makes no beginning sure; one in a group comes after a bracket, where this ends anyway.
    let mut depth = 0_i32;
    let mut escaped = false;
    for c in pattern.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => return (String::new(), pattern),
            _ => {}
        }
    }
    let mut prefix = String::new();
    let mut rest = pattern;
    loop {
        let mut chars = rest.chars();
        let literal = match chars.next() {
            Some('\\') => chars.next().filter(char::is_ascii_punctuation),
            Some(c) if c.is_ascii_alphanumeric() || " :-_,=/\"';@!<>%&~#".contains(c) => Some(c),
            _ => None,
        };
        let Some(literal) = literal else { break };
        if chars.as_str().starts_with(['?', '*', '{', '+']) {
            break;
        }
        prefix.push(literal);
        rest = chars.as_str();
    }
    (prefix, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_what_every_match_begins_with() {
        for (pattern, prefix, rest) in [
            ("Failed (?P<method>x) for", "Failed ", "(?P<method>x) for"),
            (r"pam_unix\(sshd:.*", "pam_unix(sshd:", ".*"),
            ("ab?c", "a", "b?c"),
            ("ab{2}", "a", "b{2}"),
            ("a|b", "", "a|b"),
            (r"a\|b(?:c|d)", "a|b", "(?:c|d)"),
            (r"a\d", "a", r"\d"),
            (".*", "", ".*"),
        ] {
            assert_eq!(literal_prefix(pattern), (prefix.to_owned(), rest), "{pattern}");
        }
    }
}
