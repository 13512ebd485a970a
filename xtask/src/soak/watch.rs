//! Looks at programs from outside while they run, in /proc.

use super::judge::Sample;
use crate::bench::machine::{field, kib};
use anyhow::Context as _;
use std::fs;

/// What a process uses now (proc_pid_status(5), proc_pid_fd(5)).
///
/// # Errors
/// It has ended, or belongs to another user.
pub(super) fn look(pid: u32) -> anyhow::Result<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let (memory, threads) = read(&status).context("/proc/PID/status is not understood")?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).context("its files cannot be counted")?.count();
    Ok(Sample { memory, files: files as f64, threads })
}

/// Resident memory, MB, and threads.
fn read(status: &str) -> Option<(f64, f64)> {
    let memory = field(status, "VmRSS").and_then(kib)? * 1024;
    Some((memory as f64 / 1e6, field(status, "Threads")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at() {
        assert_eq!(read("Name:\tx\nVmRSS:\t   50000 kB\nThreads:\t7\n"), Some((51.2, 7.0)));
        assert_eq!(read("Name:\tx\nThreads:\t7\n"), None, "a zombie has no memory");
        let own = look(std::process::id()).expect("this process");
        assert!(own.memory > 1.0 && own.files >= 3.0 && own.threads >= 1.0, "{own:?}");
    }
}
