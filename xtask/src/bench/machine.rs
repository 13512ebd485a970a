//! What the figures were measured on. No names and no paths: figures are published.

use crate::shell;
use std::fs;

/// Hardware and system, as Markdown list items.
pub(crate) fn hardware() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpu, "model name").unwrap_or("unknown");
    let is_virtual = field(&cpu, "flags").is_some_and(|f| f.split(' ').any(|flag| flag == "hypervisor"));
    let kind = if is_virtual { ", virtual machine" } else { "" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = field(&memory, "MemTotal").and_then(kib).unwrap_or(0);
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let os = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").trim_matches('"');
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").unwrap_or_default();
    let jit = match jit.trim() {
        "0" => "off",
        "" => "unknown",
        _ => "on",
    };
    format!(
        "- processor: {model}, {cores} cores{kind}\n- memory: {} GiB\n- system: {os}, Linux {}, BPF JIT {jit}\n",
        (memory + (1 << 19)) >> 20,
        kernel.trim(),
    )
}

/// Everything, as Markdown list items.
pub(crate) fn describe() -> String {
    let rustc = first_line("rustc", &["--version"]).unwrap_or_else(|| "unknown".into());
    let commit = first_line("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let date = first_line("date", &["-u", "+%F"]).unwrap_or_else(|| "unknown".into());
    let mut text = hardware()
        + &format!(
            "- compiler: {rustc}, release profile\n- source: commit {commit} or the one that follows it, {date}\n"
        );
    for (package, what) in [("libndpi-bin", "ndpiReader"), ("xdp-tools", "xdp-filter")] {
        if let Some(version) = version(package) {
            text.push_str(&format!("- {what}: {package} {version}\n"));
        }
    }
    text
}

/// Version of an installed Debian package.
pub(crate) fn version(package: &str) -> Option<String> {
    first_line("dpkg-query", &["-W", "-f", "${Version}", package])
}

/// Tasks that want to run beside this one, as the system's load average of the last minute has it.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|t| t.parse().ok()).unwrap_or(0.0)
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let done = shell::command(program, args).output().ok().filter(|o| o.status.success())?;
    let line = String::from_utf8_lossy(&done.stdout).lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// The first line `name : value`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.split_once(':').filter(|(n, _)| n.trim() == name).map(|(_, v)| v.trim()))
}

/// `123 kB`, as the kernel writes KiB.
pub(crate) fn kib(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_sizes() {
        let text = "model name\t: A CPU\nMemTotal:       24684032 kB\nmodel name : B\n";
        assert_eq!(field(text, "model name"), Some("A CPU"));
        assert_eq!(field(text, "MemTotal").and_then(kib), Some(24_684_032));
        assert_eq!(field(text, "model"), None);
        assert_eq!(kib("12 MB"), None);
    }
}
