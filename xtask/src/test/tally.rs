//! Reading what cargo and the test binaries print, and counting it.

use std::fmt::Write as _;

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: Vec<String>,
    skipped: Vec<(String, String)>,
}

impl Tally {
    /// One more passed.
    pub(crate) fn pass(&mut self) {
        self.passed += 1;
    }

    /// One more failed.
    pub(crate) fn fail(&mut self, name: &str) {
        self.failed.push(name.to_owned());
    }

    /// One more skipped.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push((name.to_owned(), why.to_owned()));
    }

    /// How many failed.
    pub(crate) fn failed(&self) -> usize {
        self.failed.len()
    }

    /// What failed and what was skipped, by name.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        if !self.skipped.is_empty() {
            text.push_str("Skipped:\n");
            for (name, why) in &self.skipped {
                let _ = writeln!(text, "  {name}: {why}");
            }
        }
        if !self.failed.is_empty() {
            text.push_str("Failed:\n");
            for name in &self.failed {
                let _ = writeln!(text, "  {name}");
            }
        }
        text
    }

    /// The closing line.
    pub(crate) fn closing(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len())
    }
}

/// The reason in a line `skipped: <name>: <why>`; the name may be missing.
pub(crate) fn skip_reason(line: &str, name: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("skipped:")?.trim();
    let short = name.rsplit("::").next().unwrap_or(name);
    let why = [name, short].iter().find_map(|n| rest.strip_prefix(n)?.strip_prefix(':'));
    Some(why.unwrap_or(rest).trim().to_owned())
}

/// A test function that a test starts in a process of its own is ignored with a reason that begins so: nothing is skipped
/// when it does not run by itself.
const HELPER: &str = "part of ";

/// Where in a test binary's report a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Outside of any.
    Outside,
    /// Between `running N tests` and the lists.
    Running,
    /// What passing tests printed; the current test's name.
    Successes(String),
    /// What failing tests printed.
    Failures,
}

/// Follows the output of `cargo test -- --show-output`, standard output and error in one stream.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    tally: &'a mut Tally,
    /// Binary as shown to people.
    binary: String,
    part: Part,
    /// Of this binary: name and reason of each skipped test.
    skipped: Vec<(String, String)>,
    /// Of this binary: ignored functions that are no tests, see [`HELPER`].
    helpers: u64,
    /// Of this binary: failed tests.
    failed: Vec<String>,
    /// Failed tests of all binaries.
    failed_total: usize,
}

impl<'a> Reading<'a> {
    /// Counts into `tally`.
    pub(crate) fn new(tally: &'a mut Tally) -> Self {
        Self {
            tally,
            binary: String::new(),
            part: Part::Outside,
            skipped: Vec::new(),
            helpers: 0,
            failed: Vec::new(),
            failed_total: 0,
        }
    }

    /// Takes the next line; returns what is to be shown of it.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        if let Some(binary) = binary(line) {
            self.unfinished();
            self.binary = binary;
            return None;
        }
        if let Some(rest) = line.strip_prefix("test result: ") {
            return self.result(rest);
        }
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.part = Part::Running;
            return None;
        }
        if self.part == Part::Outside {
            return (!line.is_empty()).then(|| line.to_owned());
        }
        match line {
            "successes:" => {
                self.part = Part::Successes(String::new());
                return None;
            }
            "failures:" => {
                self.part = Part::Failures;
                return Some(format!("     failures in {}:", self.binary));
            }
            _ => {}
        }
        match &mut self.part {
            Part::Successes(test) => {
                if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----")) {
                    name.clone_into(test);
                } else if let Some(why) = skip_reason(line, test) {
                    match self.skipped.last_mut() {
                        Some((last, all)) if last == test => {
                            all.push_str("; ");
                            all.push_str(&why);
                        }
                        _ => self.skipped.push((test.clone(), why)),
                    }
                }
                None
            }
            Part::Failures => Some(format!("     {line}")),
            Part::Running => match verdict(line) {
                Some((name, "FAILED")) => {
                    self.failed.push(name.to_owned());
                    Some(format!("     FAILED {name}"))
                }
                Some((name, ignored)) if ignored.starts_with("ignored") => {
                    let why = ignored.strip_prefix("ignored, ").unwrap_or("marked #[ignore]");
                    if why.starts_with(HELPER) {
                        self.helpers += 1;
                    } else {
                        self.skipped.push((name.to_owned(), why.to_owned()));
                    }
                    None
                }
                Some(_) => None,
                // What a child process of a test printed past the capture.
                None => (!line.is_empty()).then(|| format!("     {line}")),
            },
            Part::Outside => None,
        }
    }

    /// `ok. 9 passed; 1 failed; 0 ignored; …`: the counts that hold, whatever was understood before.
    fn result(&mut self, rest: &str) -> Option<String> {
        let count = |what: &str| {
            rest.split(['.', ';'])
                .find_map(|p| p.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        let (passed, failed, ignored) = (count("passed"), count("failed"), count("ignored"));
        while (self.failed.len() as u64) < failed {
            self.failed.push("a test whose name was not understood".into());
        }
        // Ignored tests are in the list and not among the passed; those that said so themselves are in both.
        let said = (self.skipped.len() as u64 + self.helpers).saturating_sub(ignored);
        self.helpers = 0;
        let really = passed.saturating_sub(said);
        self.tally.passed += really;
        let line = format!(
            "{} {}: {really} passed, {failed} failed, {} skipped",
            if failed == 0 { "ok  " } else { "FAIL" },
            self.binary,
            self.skipped.len(),
        );
        let empty = passed + failed == 0 && self.skipped.is_empty();
        self.flush();
        (!empty).then_some(line)
    }

    /// Hands this binary's names over.
    fn flush(&mut self) {
        self.failed_total += self.failed.len();
        for name in self.failed.drain(..) {
            self.tally.failed.push(format!("{}: {name}", self.binary));
        }
        for (name, why) in self.skipped.drain(..) {
            self.tally.skipped.push((format!("{}: {name}", self.binary), why));
        }
        self.part = Part::Outside;
    }

    /// A binary that began and gave no result crashed.
    fn unfinished(&mut self) {
        if self.part != Part::Outside {
            self.failed.push("ended without a result".into());
            self.flush();
        }
    }

    /// The end of the output; `good` is cargo's own verdict.
    pub(crate) fn end(mut self, good: bool) {
        self.unfinished();
        if !good && self.failed_total == 0 {
            self.tally.failed.push("cargo test (the output above says why)".into());
        }
    }
}

/// `test NAME ... VERDICT`; a name may be followed by ` - should panic`.
fn verdict(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    Some((name.strip_suffix(" - should panic").unwrap_or(name), verdict))
}

/// Whether cargo announces a test binary: everything is built then.
pub(crate) fn is_binary(line: &str) -> bool {
    binary(line).is_some()
}

/// The binary that cargo announces: `Running tests/http.rs (target/debug/deps/http-0123)` or `Doc-tests wire`.
fn binary(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (documentation)"));
    }
    let (what, path) = line.strip_prefix("Running ")?.strip_suffix(')')?.split_once(" (")?;
    let file = path.rsplit('/').next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    Some(match what.strip_prefix("unittests ") {
        Some(_) => name.to_owned(),
        None => format!("{name} ({what})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an output; returns what is shown, the summary and the closing line.
    fn read(text: &str, good: bool) -> (String, String, String) {
        let mut tally = Tally::default();
        let mut reading = Reading::new(&mut tally);
        let shown: Vec<String> = text.lines().filter_map(|l| reading.line(l)).collect();
        reading.end(good);
        (shown.join("\n"), tally.summary(), tally.closing())
    }

    const GOOD: &str = "\
   Compiling wire v0.1.0
    Finished `test` profile in 1.0s
     Running unittests src/lib.rs (target/debug/deps/wire-0123abcd)

running 3 tests
test a::one ... ok
test a::two ... ok
test a::three - should panic ... ok

successes:

---- a::one stdout ----
skipped 3 of 4 frames
test result: not this one

successes:
    a::one
    a::two

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/range.rs (target/debug/deps/range-0123abcd)

running 5 tests
test needs_root ... ok
test needs_data ... ok
test slow ... ignored, takes an hour
test child ... ignored, part of plain
test plain ... ok

successes:

---- needs_data stdout ----
skipped: needs_data: a.pcap is not there
skipped: needs_data: b.pcap is not there

---- needs_root stdout ----
skipped: not root

successes:
    needs_data
    needs_root
    plain

test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests wire

running 1 test
test crates/wire/src/lib.rs - (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.20s
";

    #[test]
    fn a_good_run() {
        let text = GOOD.replace("test result: not this one\n", "");
        let (shown, summary, closing) = read(&text, true);
        assert_eq!(closing, "5 passed, 0 failed, 3 skipped");
        assert_eq!(
            summary,
            "\nSkipped:\n  range (tests/range.rs): slow: takes an hour\n  \
             range (tests/range.rs): needs_data: a.pcap is not there; b.pcap is not there\n  \
             range (tests/range.rs): needs_root: not root\n"
        );
        assert!(shown.contains("ok   range (tests/range.rs): 1 passed, 0 failed, 3 skipped"), "{shown}");
        assert!(shown.contains("Compiling wire"), "{shown}");
        assert!(!shown.contains("a::one"), "{shown}");
    }

    #[test]
    fn failures_are_shown_and_named() {
        let text = "\
     Running unittests src/lib.rs (target/debug/deps/flow-0123)

running 2 tests
test a ... ok
test b ... FAILED

successes:

successes:
    a

failures:

---- b stdout ----
thread 'b' panicked at here
skipped: b: this does not count, it failed

failures:
    b

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `-p flow --lib`
";
        let (shown, summary, closing) = read(text, false);
        assert_eq!(closing, "1 passed, 1 failed, 0 skipped");
        assert_eq!(summary, "\nFailed:\n  flow: b\n");
        assert!(shown.contains("panicked at here"), "{shown}");
        assert!(shown.contains("error: test failed"), "{shown}");
    }

    #[test]
    fn crashes_and_compile_errors_are_failures() {
        let text = "\
     Running unittests src/lib.rs (target/debug/deps/flow-0123)

running 2 tests
test a ... ok
error: test failed, to rerun pass `-p flow --lib`
Caused by: process didn't exit successfully (signal: 6, SIGABRT)
     Running unittests src/lib.rs (target/debug/deps/wire-0123)

running 1 test
test a ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let (_, summary, closing) = read(text, false);
        assert_eq!(closing, "1 passed, 1 failed, 0 skipped");
        assert_eq!(summary, "\nFailed:\n  flow: ended without a result\n");
        let (shown, _, closing) = read("error[E0308]: mismatched types\nerror: could not compile", false);
        assert_eq!(closing, "0 passed, 1 failed, 0 skipped");
        assert!(shown.contains("E0308"));
    }

    #[test]
    fn skip_lines() {
        let check = |line: &str, name: &str, expected: Option<&str>| {
            assert_eq!(skip_reason(line, name).as_deref(), expected, "{line}");
        };
        check("skipped: a: not root", "a", Some("not root"));
        check("skipped: a: not root", "mod::a", Some("not root"));
        check("skipped: other: not root", "a", Some("other: not root"));
        check("  skipped: no data", "a", Some("no data"));
        check("skipped 3 frames", "a", None);
        check("it was skipped: a", "a", None);
    }
}
