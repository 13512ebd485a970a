//! What a process used: time, processor, memory.

use super::machine::{field, kib};
use anyhow::Context as _;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between looks at a process's memory. Its high-water mark only rises, so that only the very last rise can be missed.
const LOOK: Duration = Duration::from_millis(2);

/// What one run of a program took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From before its start to its end, s.
    pub(crate) seconds: f64,
    /// Processor time in user and kernel mode, all threads, s, as the kernel books it (1/100 s).
    pub(crate) cpu_seconds: f64,
    /// Highest resident memory, bytes.
    pub(crate) peak_bytes: u64,
}

/// Runs a program to its end; its output is thrown away.
///
/// # Errors
/// It could not be started, or failed.
pub(crate) fn run(mut command: Command) -> anyhow::Result<Run> {
    let name = format!("{command:?}");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let pid = child.id();
    let (ended, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if let Some(bytes) = peak_bytes(pid) {
                    // The mark of the program that exec() replaced may have been higher at first.
                    peak.store(bytes, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        });
        let waited = end_of(pid);
        let seconds = begun.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        waited.map(|()| (seconds, cpu_seconds(pid)))
    });
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    anyhow::ensure!(status.success(), "{name} failed: {status}");
    let (seconds, cpu) = measured?;
    Ok(Run { seconds, cpu_seconds: cpu?, peak_bytes: peak.load(Ordering::Relaxed) })
}

/// Waits until a child has ended and leaves it in /proc, where its processor time still stands.
fn end_of(pid: u32) -> anyhow::Result<()> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    loop {
        match waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).context("cannot wait for a child"),
        }
    }
}

/// Highest resident memory of a process so far, bytes.
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(field(&text, "VmHWM").and_then(kib)? * 1024)
}

/// Processor time of all threads of a process, s (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    let ticks = cpu_ticks(&text).context("/proc/PID/stat is not understood")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Times that threads of a process gave up the processor to wait: how often it woke up.
pub(crate) fn wakeups(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of = |path: std::path::PathBuf| -> Option<u64> {
        field(&fs::read_to_string(path.join("status")).ok()?, "voluntary_ctxt_switches")?.parse().ok()
    };
    threads.flatten().filter_map(|t| of(t.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_measured_to_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 0.05"]);
        let run = run(command).expect("sh runs");
        assert!(run.seconds >= 0.05 && run.peak_bytes > 100_000, "{run:?}");
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        assert!(super::run(command).is_err());
        assert_eq!(cpu_ticks("7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 120 30 0"), Some(150));
    }
}
