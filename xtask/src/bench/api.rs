//! How many questions a second the detector's API answers, and how fast.

use super::figure::{Aim, Figure, Section};
use super::{Setup, progress};
use crate::shell;
use anyhow::{Context as _, ensure};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const WRK: &str = "wrk";
/// Ordinary figures, and such as a rule speaks against.
const QUESTIONS: [(&str, &str); 2] = [
    (
        "ordinary figures",
        r#"{"packets_per_second":120,"bytes_per_second":90000,"unique_ips":8,"unique_ports":4,"tcp_packets":110,"udp_packets":10,"syn_packets":6}"#,
    ),
    (
        "figures of a port scan",
        r#"{"packets_per_second":1200,"bytes_per_second":1500000,"unique_ips":30,"unique_ports":50,"tcp_packets":1140,"udp_packets":60,"syn_packets":800}"#,
    ),
];

/// A server that is ended with this.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let have = Command::new(WRK).arg("-v").output().is_ok();
    ensure!(have, "wrk is not installed (Debian package wrk)");
    let dir = shell::root().join("target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    let seconds = if setup.quick { 3 } else { 15 };
    let mut section = Section::new(format!(
        "`autoinmune detector` is asked `POST /detect` by `wrk` over 32 connections that it keeps, {seconds} s for each kind of \
         question, on the same two processors. Beside: a minimal axum server on one thread, as the API has, that answers \
         \"hello\" to the same requests in the same run (`crates/server/examples/hello.rs`)."
    ));
    progress("api: hello");
    let hello = {
        let mut command =
            shell::cargo(&["run", "--quiet", "--release", "--package", "server", "--example", "hello"]);
        let server = start(&mut command, Stdio::piped(), Stdio::null(), |line| Some(line.to_owned()))?;
        wrk(&dir, &server.address, QUESTIONS[0].1, seconds)?
    };
    let mut command = Command::new(&setup.program);
    // What it learns is not to stay on this machine.
    let config = dir.join("detector.toml");
    fs::write(&config, format!("[paths]\nstate_dir = {:?}\n", dir.join("detector")))?;
    command.args(["detector", "--listen", "127.0.0.1:0", "--config"]).arg(&config).env("NO_COLOR", "1");
    let server = start(&mut command, Stdio::null(), Stdio::piped(), |line| {
        Some(line.split("detector on http://").nth(1)?.split(';').next()?.to_owned())
    })?;
    for (what, body) in QUESTIONS {
        progress(&format!("api: {what}"));
        let (rate, p99) = wrk(&dir, &server.address, body, seconds)?;
        let figure = Figure::new(format!("{what}: answers a second"), rate, "/s");
        section.push(figure.aim(Aim::AtLeast(20_000.0)).baseline(hello.0, "hello"));
        let figure = Figure::new(format!("{what}: 99 of 100 within"), p99, "ms");
        section.push(figure.aim(Aim::AtMost(2.0)).baseline(hello.1, "hello"));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id()))?;
    let resident = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let resident: f64 = resident.context("no VmHWM")?.trim().parse()?;
    section.push(Figure::new("most resident memory", resident * 1024.0 / 1e6, "MB").aim(Aim::AtMost(120.0)));
    section.explain_missed("the client takes as much of the two processors as the server.");
    Ok(section)
}

/// Starts a server and waits until it says where it listens, on the pipe that is open.
fn start(
    command: &mut Command,
    stdout: Stdio,
    stderr: Stdio,
    address: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Server> {
    let mut child = command.stdout(stdout).stderr(stderr).spawn().context("cannot start a server")?;
    let said: Box<dyn std::io::Read + Send> = match (child.stdout.take(), child.stderr.take()) {
        (Some(out), _) => Box::new(out),
        (None, Some(err)) => Box::new(err),
        (None, None) => anyhow::bail!("no pipe to a server"),
    };
    let mut lines = BufReader::new(said).lines().map_while(Result::ok);
    let found = lines.by_ref().find_map(|line| address(&line));
    std::thread::spawn(move || lines.for_each(drop));
    let mut server = Server { child, address: String::new() };
    server.address = found.context("a server does not say where it listens")?;
    Ok(server)
}

/// Answers a second, and the time within which 99 of 100 come, ms.
fn wrk(dir: &Path, address: &str, body: &str, seconds: u32) -> anyhow::Result<(f64, f64)> {
    let script = dir.join("post.lua");
    let text =
        format!("wrk.method='POST'\nwrk.headers['Content-Type']='application/json'\nwrk.body='{body}'\n");
    fs::write(&script, text)?;
    let output = Command::new(WRK)
        .args(["-t", "1", "-c", "32", "--latency", "-d", &format!("{seconds}s"), "-s"])
        .arg(&script)
        .arg(format!("http://{address}/detect"))
        .output()
        .context("cannot run wrk")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(!said.contains("Non-2xx"), "not every question was answered: {said}");
    let after = |label: &str| said.lines().find_map(|l| l.trim().strip_prefix(label).map(str::trim));
    let rate = after("Requests/sec:").and_then(|r| r.parse().ok());
    let p99 = after("99%").and_then(milliseconds);
    match (rate, p99) {
        (Some(rate), Some(p99)) => Ok((rate, p99)),
        _ => anyhow::bail!("wrk does not say its figures: {said}"),
    }
}

/// A time as wrk writes it: `705.00us`, `2.64ms`, `1.20s`.
fn milliseconds(text: &str) -> Option<f64> {
    [("us", 1e-3), ("ms", 1.0), ("s", 1e3)]
        .into_iter()
        .find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk_are_read() {
        let near = |text: &str, ms: f64| milliseconds(text).is_some_and(|found| (found - ms).abs() < 1e-9);
        assert!(near("705.00us", 0.705) && near("2.64ms", 2.64) && near("1.20s", 1200.0));
        assert_eq!(milliseconds("fast"), None);
    }
}
