//! What this machine has and lacks for the sensor, each finding with its fix.

use crate::attach::others;
use crate::netlink::{self, Interface};
use crate::{ethtool, host, nft};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, but not at its best.
    Warn,
    /// The kernel sensor cannot work like this.
    Fail,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it; absent if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, found: found.into(), fix: None }
    }

    fn bad(
        name: impl Into<String>,
        status: Status,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), status, found: found.into(), fix: Some(fix.into()) }
    }
}

/// Drivers with native XDP, as of Linux 6.12. Others may have it too: attaching tells.
const XDP_DRIVERS: [&str; 37] = [
    "veth",
    "virtio_net",
    "tun",
    "bonding",
    "ixgbe",
    "ixgbevf",
    "i40e",
    "ice",
    "igb",
    "igc",
    "mlx4_en",
    "mlx5_core",
    "bnxt_en",
    "bnx2x",
    "nfp",
    "qede",
    "sfc",
    "sfc_ef100",
    "ena",
    "gve",
    "hv_netvsc",
    "mana",
    "vmxnet3",
    "xen_netfront",
    "thunder-nicvf",
    "nicvf",
    "rvu_nicpf",
    "mvneta",
    "mvpp2",
    "mtk_soc_eth",
    "st_gmac",
    "stmmac",
    "fec",
    "tsnep",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "cpsw",
];

/// Programs that block or watch too, with what to know about each.
const NEIGHBOURS: [(&str, &str); 6] = [
    ("fail2ban", "both may block the same address; unbans must be made in both"),
    ("crowdsec", "both may block the same address; unbans must be made in both"),
    ("sshguard", "both may block the same address; unbans must be made in both"),
    ("suricata", "in IPS or XDP-bypass mode it may hold the interface's XDP hook"),
    ("cilium-agent", "it holds XDP or tcx hooks; the sensor shares the interface by tcx"),
    ("ufw", "its rules come after the sensor's drops"),
];

/// Looks at everything. `interfaces` are those meant to be watched; none: all that are up, the loopback apart.
#[must_use]
pub fn checks(interfaces: &[String]) -> Vec<Check> {
    let mut all = vec![kernel(), btf()];
    all.extend(capabilities());
    all.extend([bpffs(), memlock(), unprivileged(), jit(), clock()]);
    all.extend(watched(interfaces));
    all.extend(neighbours());
    all.push(nftables());
    all
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|t| t.trim().to_owned())
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    kernel_check(&release)
}

/// Major and minor number of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn kernel_check(release: &str) -> Check {
    const NAME: &str = "kernel version";
    match version(release) {
        Some(v) if v >= (6, 6) => Check::ok(NAME, release),
        Some(v) if v >= (5, 18) => {
            Check::ok(NAME, format!("{release}; before 6.6 egress is watched by a tc filter"))
        }
        Some(v) if v >= (5, 9) => Check::bad(
            NAME,
            Status::Warn,
            format!("{release}: no XDP for frames of several buffers"),
            "use Linux 5.18 or newer; until then the sensor watches by tc",
        ),
        _ => Check::bad(NAME, Status::Fail, release, "use Linux 5.9 or newer (6.1 of Debian 12 is fine)"),
    }
}

fn btf() -> Check {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Check::ok("BTF", "/sys/kernel/btf/vmlinux")
    } else {
        Check::bad(
            "BTF",
            Status::Warn,
            "this kernel describes no types of its own; the sensor's programs do without",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distributions ship",
        )
    }
}

/// Capabilities the sensor uses, by bit: linux/capability.h.
const CAPABILITIES: [(u32, &str, &str); 4] = [
    (12, "CAP_NET_ADMIN", "attaching to interfaces and nftables"),
    (13, "CAP_NET_RAW", "the AF_PACKET fallback"),
    (38, "CAP_PERFMON", "loading programs"),
    (39, "CAP_BPF", "loading programs and maps"),
];

fn capabilities() -> Vec<Check> {
    let status = read("/proc/thread-self/status").unwrap_or_default();
    let effective = effective(&status).unwrap_or(0);
    // CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
    let admin = effective & 1 << 21 != 0;
    CAPABILITIES
        .iter()
        .map(|(bit, name, purpose)| {
            let held = effective & 1 << bit != 0 || (admin && *bit >= 38);
            if held {
                return Check::ok(*name, format!("held ({purpose})"));
            }
            let status = if *bit == 13 { Status::Warn } else { Status::Fail };
            Check::bad(
                *name,
                status,
                format!("not held ({purpose})"),
                format!("run as root, or grant {name}"),
            )
        })
        .collect()
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn bpffs() -> Check {
    const PATH: &str = "/sys/fs/bpf";
    let mounts = read("/proc/thread-self/mounts").unwrap_or_default();
    if mounted(&mounts, PATH) {
        Check::ok("BPF file system", format!("mounted at {PATH}"))
    } else {
        Check::bad(
            "BPF file system",
            Status::Warn,
            format!(
                "not mounted at {PATH}; the sensor tries to when it starts, else blocks end with the agent"
            ),
            format!("mount -t bpf bpf {PATH}"),
        )
    }
}

fn mounted(mounts: &str, path: &str) -> bool {
    mounts.lines().any(|l| {
        let mut field = l.split(' ').skip(1);
        field.next() == Some(path) && field.next() == Some("bpf")
    })
}

fn memlock() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if version(&release).is_some_and(|v| v >= (5, 11)) {
        return Check::ok("locked memory", "not limited: this kernel accounts maps to the memory cgroup");
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    match limit {
        None => Check::ok("locked memory", "unlimited"),
        Some(bytes) => Check::bad(
            "locked memory",
            Status::Warn,
            format!("limited to {bytes} bytes, which maps count against before Linux 5.11"),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
        ),
    }
}

fn unprivileged() -> Check {
    const NAME: &str = "unprivileged BPF";
    match read("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref() {
        Some("0") => Check::bad(
            NAME,
            Status::Warn,
            "any user may load programs",
            "sysctl -w kernel.unprivileged_bpf_disabled=1 (the sensor does not need it)",
        ),
        Some(value) => Check::ok(NAME, format!("disabled ({value})")),
        None => Check::ok(NAME, "not in this kernel"),
    }
}

fn jit() -> Check {
    match read("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        Some("0") => Check::bad(
            "BPF JIT",
            Status::Warn,
            "off: programs are interpreted, several times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Check::ok("BPF JIT", "on"),
        None => Check::ok("BPF JIT", "always on in this kernel"),
    }
}

fn clock() -> Check {
    const NAME: &str = "clock";
    match read("/sys/devices/system/clocksource/clocksource0/current_clocksource") {
        Some(source) if ["hpet", "acpi_pm", "jiffies", "refined-jiffies"].contains(&source.as_str()) => {
            Check::bad(
                NAME,
                Status::Warn,
                format!("clock source {source} is slow to read, and the programs read it for each packet"),
                "boot with clocksource=tsc if the processor's TSC is stable",
            )
        }
        Some(source) => Check::ok(NAME, format!("clock source {source}")),
        None => Check::ok(NAME, "clock source unknown"),
    }
}

fn watched(names: &[String]) -> Vec<Check> {
    let all = match netlink::interfaces() {
        Ok(all) => all,
        Err(error) => {
            return vec![Check::bad(
                "interfaces",
                Status::Fail,
                format!("they cannot be listed: {error}"),
                "allow AF_NETLINK sockets (RestrictAddressFamilies= in the unit)",
            )];
        }
    };
    let mut found = Vec::new();
    for name in names {
        if !all.iter().any(|i| i.name == *name) {
            let fix = format!("choose among {}", netlink::names());
            found.push(Check::bad(format!("interface {name}"), Status::Fail, "does not exist", fix));
        }
    }
    let chosen =
        all.iter().filter(|i| if names.is_empty() { i.up && !i.loopback } else { names.contains(&i.name) });
    for interface in chosen {
        found.extend(interface_checks(interface));
    }
    if found.is_empty() {
        found.push(Check::bad("interfaces", Status::Fail, "none is up", "ip link set DEVICE up"));
    }
    found
}

fn interface_checks(interface: &Interface) -> Vec<Check> {
    let name = format!("interface {}", interface.name);
    let driver = ethtool::driver(&interface.name);
    let driver_name = driver.as_deref().unwrap_or("unknown");
    let mut found = Vec::new();
    if !interface.up {
        found.push(Check::bad(&name, Status::Warn, "down", format!("ip link set {} up", interface.name)));
    }
    if interface.xdp_programs.is_empty() {
        if XDP_DRIVERS.contains(&driver_name) {
            found.push(Check::ok(&name, format!("driver {driver_name}, native XDP")));
        } else {
            found.push(Check::bad(
                &name,
                Status::Warn,
                format!(
                    "driver {driver_name}, probably without native XDP: generic XDP is used, which is slower"
                ),
                "use a network card whose driver has native XDP if the rate matters",
            ));
        }
    } else {
        found.push(Check::bad(
            &name,
            Status::Warn,
            format!("driver {driver_name}, XDP taken by {}", others(interface)),
            format!(
                "ip link set {} xdp off removes it (a link of its owner's does not go so); else tcx is used",
                interface.name
            ),
        ));
    }
    if ethtool::lro(&interface.name) == Some(true) {
        found.push(Check::bad(
            format!("{name} LRO"),
            Status::Warn,
            "on: received packets are merged by the card; most drivers refuse native XDP or switch it off",
            format!("ethtool -K {} lro off", interface.name),
        ));
    }
    if ethtool::gro(&interface.name) == Some(true) {
        // XDP runs before GRO in the driver; tc and AF_PACKET run after.
        found.push(Check::ok(
            format!("{name} GRO"),
            "on: native XDP sees single packets, tcx and AF_PACKET see them merged",
        ));
    }
    found
}

fn neighbours() -> Vec<Check> {
    let names: Vec<&str> = NEIGHBOURS.iter().map(|(n, _)| *n).collect();
    let running = host::running(&names).unwrap_or_default();
    if running.is_empty() {
        return vec![Check::ok("other tools", "none that block or hold XDP")];
    }
    NEIGHBOURS
        .iter()
        .filter(|(n, _)| running.contains(*n))
        .map(|(name, note)| {
            let fix = "put its trusted addresses on the allowlist, and let one of the two do the blocking";
            Check::bad("other tools", Status::Warn, format!("{name} is running: {note}"), fix)
        })
        .collect()
}

fn nftables() -> Check {
    match nft::usable() {
        Ok(()) => Check::ok("nftables", "usable where XDP and tc are not"),
        Err(error) => Check::bad(
            "nftables",
            Status::Warn,
            format!("not usable; needed only where neither XDP nor tc works: {error}"),
            "install the package nftables and run as root",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases() {
        let check = |release: &str, expected| assert_eq!(kernel_check(release).status, expected, "{release}");
        check("6.18.44", Status::Ok);
        check("6.1.0-18-amd64", Status::Ok);
        check("5.15.0-91-generic", Status::Warn);
        check("5.4.0", Status::Fail);
        check("", Status::Fail);
        assert_eq!(version("6.12-rc1"), Some((6, 12)));
    }

    #[test]
    fn texts_of_proc() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
        let mounts = "sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n";
        assert!(mounted(mounts, "/sys/fs/bpf") && !mounted(mounts, "/sys") && !mounted("", "/sys/fs/bpf"));
    }

    #[test]
    fn every_finding_that_is_not_ok_has_a_fix() {
        let all = checks(&["lo".to_owned(), "nosuch0".to_owned()]);
        assert!(all.iter().all(|c| (c.status == Status::Ok) == c.fix.is_none()), "{all:?}");
        assert!(all.iter().any(|c| c.name == "interface nosuch0" && c.status == Status::Fail), "{all:?}");
        assert!(all.iter().any(|c| c.name == "interface lo"), "{all:?}");
    }
}
