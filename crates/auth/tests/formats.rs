//! The shipped formats hold their own vectors, and hostile lines do no harm.

#![expect(clippy::disallowed_methods, reason = "finds the data folder and reads it")]

use auth::{Clock, FormatSet, LoginEvent, MAX_LINE, MAX_USER, Outcome, Parser};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const CLOCK: Clock = Clock { now_ns: 1_795_290_800_000_000_000, utc_offset_s: 0 };

fn parser() -> Parser {
    Parser::new(Arc::new(FormatSet::builtin()))
}

/// A file of the data folder, or `None` and a plain line.
fn data(name: &str) -> Option<String> {
    let root = std::env::var_os("AUTOINMUNE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let text = std::fs::read(root.join(name)).ok().map(|b| String::from_utf8_lossy(&b).into_owned());
    if text.is_none() {
        println!("skipped: no {name} in the data folder (AUTOINMUNE_DATA)");
    }
    text
}

#[test]
fn every_vector_comes_out_as_stated() {
    let results = FormatSet::builtin().check();
    let failures: Vec<String> = results
        .iter()
        .filter_map(|r| r.failure.as_ref().map(|why| format!("{}: {}: {why}", r.format, r.line)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(results.len() > 50);
}

fn own(edit: impl Fn(&str) -> String) -> String {
    edit(concat!(
        "[[format]]\nid = \"own\"\nservice = \"own\"\ndoc = \"d\"\n",
        "[[format.line]]\noutcome = \"failed\"\npattern = '''no (?P<user>.*) from (?P<source>\\S+)'''\n",
        "[[format.vector]]\nline = \"no x from 192.0.2.1\"\nexpect = \"failed\"\n",
        "[[format.vector]]\nline = \"yes\"\nexpect = \"none\"\n",
    ))
}

#[test]
fn faults_in_definitions_are_named_with_their_line() {
    for (from, to, expected) in [
        ("", "", ""),
        ("(?P<user>", "(?P<usr>", "own.toml:7: format `own`: unknown group `usr`; known are user, source"),
        (".*)", ".*", "own.toml:7: format `own`: pattern cannot be used: "),
        (".*)", "(a{1000}){1000})", "own.toml:7: format `own`: pattern cannot be used: "),
        ("outcome = \"failed\"", "outcome = \"refused\"", "own.toml:6: unknown variant `refused`"),
        ("service", "servce", "own.toml:3: unknown field `servce`"),
        ("id = \"own\"", "id = \"Own\"", "own.toml:1: format `Own`: `id` \"Own\" is not lower-case"),
        ("expect = \"none\"", "expect = \"note\"", "one with `expect = \"none\"`"),
        ("[[format]]", "[[format]", "own.toml:1: "),
    ] {
        let text = own(|t| if from.is_empty() { t.to_owned() } else { t.replacen(from, to, 1) });
        let mut set = FormatSet::builtin();
        let before = set.formats().len();
        match set.add("own.toml", &text) {
            Ok(()) => {
                assert_eq!(expected, "", "{from} -> {to} was accepted");
                assert_eq!(set.formats().len(), before + 1);
            }
            Err(e) => {
                assert!(!expected.is_empty() && e.to_string().contains(expected), "{from} -> {to}: {e}");
                assert_eq!(set.formats().len(), before, "an error leaves the set as it was");
            }
        }
    }
}

#[test]
fn a_definition_with_a_known_id_takes_its_place() {
    let mut set = FormatSet::builtin();
    let before = set.formats().len();
    set.add("own.toml", &own(|t| t.replace("id = \"own\"", "id = \"vsftpd\""))).unwrap();
    assert_eq!(set.formats().len(), before);
    assert_eq!(&*set.formats()[set.find("vsftpd").unwrap()].service, "own");
}

#[test]
fn each_line_about_a_login_in_a_real_log_is_recognised() {
    let (Some(log), Some(table)) =
        (data("auth/loghub-openssh-2k.log"), data("auth/OpenSSH_2k.log_structured.csv"))
    else {
        return;
    };
    // What others say the lines are: templates by number.
    let template = |id: &str| match id {
        "E8" | "E9" | "E10" | "E14" => Some(Outcome::Failed),
        "E1" => Some(Outcome::Accepted),
        "E13" => Some(Outcome::UnknownUser),
        _ => None,
    };
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let expected: Vec<(Option<Outcome>, String)> = reader
        .records()
        .map(|r| {
            let r = r.unwrap();
            (template(&r[7]), r[6].to_owned())
        })
        .collect();
    let mut parser = parser();
    let (mut failures, mut unread) = (BTreeMap::new(), 0);
    let mut tries = 0;
    for ((expected, content), line) in expected.iter().zip(log.lines()) {
        let reading = parser.line(line.as_bytes(), None, &CLOCK);
        unread += usize::from(reading.line.is_none());
        assert_eq!(reading.event.as_ref().map(|e| e.outcome), *expected, "{line}");
        let Some(LoginEvent { outcome, source, user, tries: n, .. }) = reading.event else { continue };
        let (source, user) = (source.expect(line).to_string(), user.expect(line));
        assert!(content.contains(&format!("from {source}")) && content.contains(&*user), "{line}");
        if outcome == Outcome::Failed {
            *failures.entry(source).or_insert(0) += n;
            tries += n;
        }
    }
    println!(
        "{} lines, {unread} not recognised, {tries} failures of {} sources",
        expected.len(),
        failures.len()
    );
    assert_eq!(unread, 0, "every line of sshd in it is known");
    let worst = failures.iter().max_by_key(|(_, n)| **n).unwrap();
    assert_eq!((worst.0.as_str(), *worst.1), ("183.62.140.253", 286));
}

#[test]
fn seeds_of_the_fuzz_target_are_lines_that_tell_of_logins() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/login");
    let mut parser = parser();
    let mut seeds = 0;
    for seed in std::fs::read_dir(folder).unwrap() {
        let path = seed.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let formats = parser.formats().len();
        let told = (0..=formats).any(|n| parser.line(&bytes, n.checked_sub(1), &CLOCK).event.is_some());
        let entry = auth::entry(&bytes).and_then(|e| parser.entry(&e, &CLOCK).event);
        assert!(told || entry.is_some(), "{}", path.display());
        seeds += 1;
    }
    assert!(seeds >= 5);
}

#[test]
fn a_line_without_end_is_cut_and_says_nothing() {
    let mut parser = parser();
    let long = format!(
        "Nov 21 19:40:02 gate sshd[812]: Failed password for invalid user {} from 192.0.2.7 port 1 ssh2",
        "a".repeat(1 << 20)
    );
    assert_eq!(parser.line(long.as_bytes(), None, &CLOCK).event, None);
    let fits = format!(
        "Nov 21 19:40:02 gate sshd[812]: Failed password for invalid user {} from 192.0.2.7 port 1 ssh2",
        "a".repeat(MAX_LINE / 2)
    );
    let user = parser.line(fits.as_bytes(), None, &CLOCK).event.unwrap().user.unwrap();
    assert_eq!(user.chars().count(), MAX_USER + 1);
}

/// A user name cannot pretend to be another address, nor put a control character anywhere.
fn is_safe(user: &str) -> Result<(), TestCaseError> {
    let mut parser = parser();
    for (of, line) in [
        (
            None,
            format!(
                "Nov 21 19:40:02 gate sshd[812]: Failed password for invalid user {user} from 192.0.2.7 port 4 ssh2"
            ),
        ),
        (
            None,
            format!("Nov 21 19:40:02 gate sshd[812]: Failed password for {user} from 192.0.2.7 port 4 ssh2"),
        ),
        (None, format!("Nov 21 19:40:02 gate sshd[812]: Invalid user {user} from 192.0.2.7 port 4")),
        (
            Some("vsftpd"),
            format!("Sat Nov 21 19:40:02 2026 [pid 31] [{user}] FAIL LOGIN: Client \"192.0.2.7\""),
        ),
    ] {
        let of = of.and_then(|id| parser.formats().iter().position(|f| &*f.id == id));
        let reading = parser.line(line.as_bytes(), of, &CLOCK);
        let Some(event) = reading.event else { continue };
        prop_assert_eq!(event.source, Some("192.0.2.7".parse().unwrap()), "{}", line);
        prop_assert!(event.outcome != Outcome::Accepted, "{}", line);
        for text in [&event.user, &event.method, &event.source_name].into_iter().flatten() {
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn who_chooses_the_user_name_chooses_nothing_else(
        user in prop::collection::vec(prop::sample::select(vec![
            " from ", "198.51.100.1", " port ", "22", " ssh2", ": ", "]", "[", "\"", "invalid user ", "Accepted ",
            "password", " for ", "FAIL LOGIN: Client ", "\u{1b}[2J", "\u{202e}", "x", "\t", "message repeated 9 times: [ ",
        ]), 0..12),
    ) {
        is_safe(&user.concat())?;
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), of in 0usize..12) {
        let mut parser = parser();
        let of = (of < parser.formats().len()).then_some(of);
        parser.line(&bytes, of, &CLOCK);
        let _ = auth::entry(&bytes);
    }
}
