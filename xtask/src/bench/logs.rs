//! Lines of logs a second.

use super::figure::{Aim, Figure, Section, median};
use super::process::{self, Run};
use super::{Setup, progress};
use crate::shell;
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};

/// Attempts in the log; each is told on four to six lines, as sshd and PAM do.
const ATTEMPTS: u32 = 400_000;
const ROUNDS: usize = 5;

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let rounds = if setup.quick { 2 } else { ROUNDS };
    let path = std::env::temp_dir().join(format!("autoinmune-bench-{}.log", std::process::id()));
    progress("logs: writing a log");
    let lines = write(&path)?;
    let file = path.to_string_lossy().into_owned();
    let ours = || shell::command(&setup.program.to_string_lossy(), &["logs", "test", &file, "-o", "json"]);
    let grep = || shell::command("grep", &["-c", "Failed password for .* from", &file]);
    let (mut read, mut counted): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        progress(&format!("logs: round {round} of {rounds}"));
        let (a, b) = (process::run(ours())?, process::run(grep())?);
        // The first round warms the page cache.
        if round > 0 {
            read.push(a);
            counted.push(b);
        }
    }
    let _ = std::fs::remove_file(&path);
    let rate = |runs: &[Run]| f64::from(lines) / median(&runs.iter().map(|r| r.seconds).collect::<Vec<_>>());
    let mut section = Section::new(format!(
        "`autoinmune logs test FILE` on a log of {lines} lines as sshd and PAM write them under attack by 5,000 addresses: \
         reading, recognising, and judging by all rules about logins, on one thread, as `run` does it for what is appended to a \
         file, and beside that counting by source and pattern. Medians of {rounds} rounds of whole processes, in turn with \
         `grep -c 'Failed password for .* from' FILE`, which does no more than find one kind of line."
    ));
    section.push(
        Figure::new("lines per second", rate(&read) / 1e3, "thousand/s")
            .aim(Aim::AtLeast(500.0))
            .baseline(rate(&counted) / 1e3, "grep"),
    );
    let cost = median(&read.iter().map(|r| r.cpu_seconds).collect::<Vec<_>>());
    section.push(Figure::new(
        "lines per second of processor time",
        f64::from(lines) / cost / 1e3,
        "thousand/s",
    ));
    let memory = read.iter().map(|r| r.peak_bytes as f64 / 1e6).fold(0.0, f64::max);
    section.push(Figure::new("most memory resident", memory, "MB"));
    Ok(section)
}

/// Writes a log; returns its lines.
fn write(path: &std::path::Path) -> anyhow::Result<u32> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    let mut lines = 0;
    let mut text = String::new();
    for n in 0..ATTEMPTS {
        // A multiplicative walk: every address and name comes, in no order.
        let drawn = n.wrapping_mul(2_654_435_761);
        let (source, user, port) = (drawn % 5000, drawn / 5000 % 500, 1024 + drawn % 60_000);
        let source = format!("198.18.{}.{}", source / 250, 1 + source % 250);
        let head = format!(
            "Nov 21 {:02}:{:02}:{:02} gate sshd[{}]: ",
            n / 36_000 % 24,
            n / 600 % 60,
            n / 10 % 60,
            1000 + n % 30_000
        );
        text.clear();
        let known = n % 3 > 0;
        let (who, name) =
            if known { ("", "root".to_owned()) } else { ("invalid user ", format!("user{user}")) };
        if !known {
            writeln!(text, "{head}Invalid user {name} from {source} port {port}")?;
            writeln!(text, "{head}pam_unix(sshd:auth): check pass; user unknown")?;
        }
        writeln!(
            text,
            "{head}pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={source}"
        )?;
        writeln!(text, "{head}Failed password for {who}{name} from {source} port {port} ssh2")?;
        writeln!(text, "{head}Received disconnect from {source} port {port}:11: Bye Bye [preauth]")?;
        writeln!(text, "{head}Disconnected from {source} port {port} [preauth]")?;
        lines += text.lines().count() as u32;
        out.write_all(text.as_bytes())?;
    }
    out.flush()?;
    Ok(lines)
}
