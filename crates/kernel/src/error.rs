//! What can go wrong, each in one sentence with the way out.

use crate::attach::AttachMode;
use std::io;
use std::path::PathBuf;

/// Why the sensor is not attached. After any of these nothing of this start is left attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel refused for want of privileges.
    #[error(
        "no permission to load kernel programs: run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON to the program"
    )]
    NoPermission,
    /// No interface was named.
    #[error("no interface to watch: name one with --interface; there are {0}")]
    NoInterface(String),
    /// A named interface does not exist.
    #[error("there is no interface '{name}': there are {existing}")]
    UnknownInterface {
        /// As asked for.
        name: String,
        /// Names of those that exist, comma-separated.
        existing: String,
    },
    /// Another agent holds this network namespace.
    #[error(
        "another agent is already running here (it holds {path}): stop it first, or ask it through its control socket"
    )]
    AlreadyRunning {
        /// The pin directory that is locked.
        path: PathBuf,
    },
    /// The kernel took the programs but no hook of the interface did.
    #[error("no kernel hook of '{interface}' could be used: {reasons}")]
    NothingWorked {
        /// Which.
        interface: String,
        /// Reason per hook.
        reasons: String,
    },
    /// The kernel did not take the programs or maps.
    #[error("the kernel ({kernel}) did not load {what}: {why}; 'doctor' shows what this kernel lacks")]
    Load {
        /// `uname -r`.
        kernel: String,
        /// Program or map.
        what: String,
        /// The kernel's reason.
        why: String,
    },
    /// The configuration cannot be met.
    #[error("{0}")]
    Config(String),
    /// A system call failed that has no reason to.
    #[error("{what} failed: {source}")]
    Io {
        /// Doing what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Why an attached sensor could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// A map holds as much as it can.
    #[error("the kernel's {map} is full ({capacity} entries): raise its capacity or lift some blocks")]
    Full {
        /// Which map.
        map: &'static str,
        /// Entries it can hold.
        capacity: u32,
    },
    /// A map operation failed.
    #[error("{what} failed: {why}")]
    Map {
        /// Which operation on which map.
        what: String,
        /// The kernel's reason.
        why: String,
    },
    /// A system call failed.
    #[error("{what} failed: {source}")]
    Io {
        /// Doing what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Asked to keep blocks, but nothing is pinned.
    #[error("blocks cannot outlive the agent here, since nothing is pinned ({0}); they were lifted")]
    NotPinned(String),
}

/// Why nftables could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The command is absent.
    #[error("the 'nft' command is missing: install the package nftables")]
    Missing,
    /// Not allowed.
    #[error("no permission to change nftables: run as root, or grant CAP_NET_ADMIN")]
    NoPermission,
    /// The kernel has no nf_tables.
    #[error("this kernel has no nf_tables: load the module nf_tables or use a kernel that has it ({0})")]
    Unsupported(String),
    /// nft refused.
    #[error("nft refused {what}: {why}")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// Its words.
        why: String,
    },
    /// nft answered what is not understood.
    #[error("nft's answer is not understood: {0}")]
    Answer(String),
    /// It could not be run.
    #[error("running nft failed: {0}")]
    Io(#[from] io::Error),
}

/// Why an AF_PACKET socket could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Not allowed.
    #[error("no permission to capture on '{0}': run as root, or grant CAP_NET_RAW")]
    NoPermission(String),
    /// No such interface.
    #[error("there is no interface '{name}': there are {existing}")]
    UnknownInterface {
        /// As asked for.
        name: String,
        /// Names of those that exist, comma-separated.
        existing: String,
    },
    /// Frames of this kind of interface are not parsed.
    #[error(
        "interface '{name}' has hardware type {kind}, which is not Ethernet or raw IP: choose another interface"
    )]
    LinkType {
        /// Which.
        name: String,
        /// ARPHRD number.
        kind: u16,
    },
    /// The interface went down or away.
    #[error("interface '{0}' is gone or down: bring it up and start again")]
    Gone(String),
    /// A system call failed.
    #[error("{what} failed: {source}")]
    Io {
        /// Doing what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What the kernel's refusal to attach at a hook means, in words.
pub(crate) fn attach_reason(mode: AttachMode, error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) if mode == AttachMode::Native => "the driver has no native XDP".to_owned(),
        Some(libc::EOPNOTSUPP) => "the kernel does not support it on this interface".to_owned(),
        Some(libc::ERANGE) => "the MTU is too large for the driver's XDP".to_owned(),
        Some(libc::EBUSY | libc::EEXIST) => "another XDP program is attached".to_owned(),
        Some(libc::EINVAL) => "the kernel or the driver does not know this hook (EINVAL)".to_owned(),
        Some(libc::ENOMEM) => "the driver is out of memory or queues".to_owned(),
        _ => error.to_string(),
    };
    format!("{mode}: {why}")
}
