//! Hooks: which of an interface's the programs run at, in which order they are tried, and how all of them are undone.

use crate::abi::program;
use crate::error::{AttachError, attach_reason};
use crate::netlink::Interface;
use crate::pins::{LeftLink, PinDirectory, detach_link, remove_pin};
use crate::syscall::{self, flag, hook};
use aya::Ebpf;
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, loaded_programs};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Which hook the ingress program runs at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// XDP in the driver: before the kernel has made anything of the frame.
    Native,
    /// XDP in the kernel's core: on every interface, later and slower.
    Generic,
    /// tc at ingress: after XDP, beside other tc programs.
    Tcx,
    /// An AF_PACKET socket ([`crate::af_packet`]): sees everything, can drop nothing.
    AfPacket,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
            Self::AfPacket => "af_packet",
        })
    }
}

/// Which hooks may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachChoice {
    /// Native, then generic, then tcx.
    #[default]
    Auto,
    /// Only native XDP.
    Native,
    /// Only generic XDP.
    Generic,
    /// Only tcx (before Linux 6.6: tc).
    Tcx,
}

impl AttachChoice {
    const fn order(self) -> &'static [AttachMode] {
        match self {
            Self::Auto => &[AttachMode::Native, AttachMode::Generic, AttachMode::Tcx],
            Self::Native => &[AttachMode::Native],
            Self::Generic => &[AttachMode::Generic],
            Self::Tcx => &[AttachMode::Tcx],
        }
    }
}

/// How one interface is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttachReport {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Where the ingress program runs.
    pub mode: AttachMode,
    /// Whether what leaves is seen too.
    pub egress: bool,
    /// Whether the ingress hook survives the agent's death.
    pub pinned: bool,
    /// What was tried before and why it was not taken, and what else is less than asked for.
    pub fallbacks: Vec<String>,
}

/// One attached program.
#[derive(Debug)]
struct Hook {
    ifindex: u32,
    mode: AttachMode,
    egress: bool,
    held: Held,
    /// Its pin, if any.
    pin: Option<PathBuf>,
    /// The program it ran before this start took it over.
    previous: Option<OwnedFd>,
}

#[derive(Debug)]
enum Held {
    Link(OwnedFd),
    /// A tc filter, which is no link and cannot be pinned; detaches when dropped.
    Filter(Option<SchedClassifierLink>),
}

/// All hooks of a sensor. Dropped before [`Hooks::commit`] it puts things back as they were before; after, it detaches.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    hooks: Vec<Hook>,
    committed: bool,
}

impl Hooks {
    /// From here on, dropping detaches everything instead of handing it back to an earlier run.
    pub(crate) fn commit(&mut self) {
        self.committed = true;
        for hook in &mut self.hooks {
            hook.previous = None;
        }
    }

    /// Leaves pinned ingress hooks attached and detaches the others. `false` if an ingress hook could not be left.
    pub(crate) fn keep_ingress(mut self) -> bool {
        let mut all = true;
        for mut hook in std::mem::take(&mut self.hooks) {
            match &mut hook.held {
                _ if hook.egress => hook.detach(),
                // Taken out and forgotten: a filter stays in the kernel unless its owner removes it.
                Held::Filter(link) => std::mem::forget(link.take()),
                Held::Link(_) if hook.pin.is_some() => {}
                Held::Link(_) => {
                    all = false;
                    hook.detach();
                }
            }
        }
        all
    }

    /// Attaches to one interface, taking over what an earlier run left there.
    pub(crate) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
        choice: AttachChoice,
        pins: Option<&PinDirectory>,
        left: &mut Vec<LeftLink>,
    ) -> Result<AttachReport, AttachError> {
        let mut own: Vec<LeftLink> = left.extract_if(.., |l| l.ifindex == interface.index).collect();
        let mut fallbacks = Vec::new();
        let mut taken = None;
        // A leftover first, since it would keep its interface's other XDP modes busy.
        if let Some(i) = own.iter().position(|l| !l.egress && choice.order().contains(&l.mode)) {
            let link = own.swap_remove(i);
            let mode = link.mode;
            match self.take_over(ebpf, link) {
                Ok(()) => taken = Some(mode),
                Err(why) => fallbacks.push(format!("{mode}: the link of the earlier run: {why}")),
            }
        }
        for link in own.extract_if(.., |l| !l.egress) {
            link.remove();
        }
        let mut busy = false;
        for mode in choice.order() {
            if taken.is_some() || (busy && *mode == AttachMode::Generic) {
                continue;
            }
            match self.attach_ingress(ebpf, interface, *mode, &mut fallbacks) {
                Ok(()) => taken = Some(*mode),
                Err(refused) => {
                    busy |= refused.busy;
                    fallbacks.push(refused.why);
                }
            }
        }
        let Some(mode) = taken else {
            return Err(AttachError::NothingWorked {
                interface: interface.name.clone(),
                reasons: fallbacks.join("; "),
            });
        };
        let egress = match own.into_iter().next() {
            Some(link) => self.take_over(ebpf, link),
            None => self.attach_tc(ebpf, interface, true, &mut fallbacks).map_err(|r| r.why),
        };
        if let Err(why) = &egress {
            fallbacks.push(format!("egress is not seen: {why}"));
        }
        let pinned = self.pin(interface.index, pins, &mut fallbacks);
        Ok(AttachReport {
            interface: interface.name.clone(),
            ifindex: interface.index,
            mode,
            egress: egress.is_ok(),
            pinned,
            fallbacks,
        })
    }

    /// Gives a leftover link the new program, without a gap.
    fn take_over(&mut self, ebpf: &mut Ebpf, link: LeftLink) -> Result<(), String> {
        let name = match (link.mode, link.egress) {
            (_, true) => program::TC_EGRESS,
            (AttachMode::Tcx, false) => program::TC_INGRESS,
            (_, false) => program::XDP,
        };
        let updated = loaded(ebpf, name)
            .and_then(|fd| syscall::link_update(link.fd.as_fd(), fd).map_err(|e| e.to_string()));
        if let Err(why) = updated {
            link.remove();
            return Err(why);
        }
        self.hooks.push(Hook {
            ifindex: link.ifindex,
            mode: link.mode,
            egress: link.egress,
            previous: program_by_id(link.program),
            held: Held::Link(link.fd),
            pin: Some(link.path),
        });
        Ok(())
    }

    fn attach_ingress(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
        mode: AttachMode,
        notes: &mut Vec<String>,
    ) -> Result<(), Refused> {
        let flags = match mode {
            AttachMode::Native => flag::XDP_NATIVE,
            AttachMode::Generic => flag::XDP_GENERIC,
            AttachMode::Tcx | AttachMode::AfPacket => return self.attach_tc(ebpf, interface, false, notes),
        };
        let fd = loaded(ebpf, program::XDP).map_err(|why| Refused::other(mode, &why))?;
        // Native XDP can replace nothing either, but a driver without it would answer with that alone.
        let link = syscall::link_create(fd, interface.index, hook::XDP, flags).map_err(|e| {
            let busy = matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
            let mut why = attach_reason(mode, &e);
            if busy {
                why = format!("{why}: {}; remove it, or share the interface by tcx", others(interface));
            }
            Refused { why, busy }
        })?;
        self.push(interface, mode, false, Held::Link(link));
        Ok(())
    }

    fn attach_tc(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
        egress: bool,
        notes: &mut Vec<String>,
    ) -> Result<(), Refused> {
        let mode = AttachMode::Tcx;
        let (name, hook, flags, direction) = if egress {
            // Last: what other programs drop or rewrite is seen as it leaves.
            (program::TC_EGRESS, hook::TCX_EGRESS, flag::TCX_LAST, TcAttachType::Egress)
        } else {
            // First: nobody can pass a packet on before it was looked at.
            (program::TC_INGRESS, hook::TCX_INGRESS, flag::TCX_FIRST, TcAttachType::Ingress)
        };
        let fd = loaded(ebpf, name).map_err(|why| Refused::other(mode, &why))?;
        let held = match syscall::link_create(fd, interface.index, hook, flags) {
            Ok(link) => Held::Link(link),
            // Before Linux 6.6 the hook is unknown.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                let link = attach_filter(ebpf, name, &interface.name, direction)
                    .map_err(|why| Refused::other(mode, &format!("{e}; as a tc filter: {why}")))?;
                notes.push("tcx: this kernel has none, a tc filter is used".to_owned());
                Held::Filter(Some(link))
            }
            Err(e) => return Err(Refused { why: attach_reason(mode, &e), busy: false }),
        };
        self.push(interface, mode, egress, held);
        Ok(())
    }

    fn push(&mut self, interface: &Interface, mode: AttachMode, egress: bool, held: Held) {
        self.hooks.push(Hook { ifindex: interface.index, mode, egress, held, pin: None, previous: None });
    }

    /// Pins the links of one interface. Whether its ingress is pinned.
    fn pin(&mut self, ifindex: u32, pins: Option<&PinDirectory>, notes: &mut Vec<String>) -> bool {
        let mut ingress = false;
        for hook in self.hooks.iter_mut().filter(|h| h.ifindex == ifindex) {
            if let (None, Held::Link(fd), Some(pins)) = (&hook.pin, &hook.held, pins) {
                let path = pins.link(ifindex, hook.mode, hook.egress);
                match syscall::pin(fd.as_fd(), &path) {
                    Ok(()) => hook.pin = Some(path),
                    Err(e) => notes.push(format!("not pinned at {}: {e}", path.display())),
                }
            }
            ingress |= !hook.egress && hook.pin.is_some();
        }
        ingress
    }
}

impl Hook {
    fn detach(self) {
        if let Held::Link(fd) = &self.held {
            detach_link(fd);
        }
        if let Some(pin) = &self.pin {
            remove_pin(pin);
        }
        // A filter detaches itself when dropped here.
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        for hook in std::mem::take(&mut self.hooks) {
            match (&hook.held, &hook.previous) {
                (Held::Link(fd), Some(previous)) if !self.committed => {
                    if syscall::link_update(fd.as_fd(), previous.as_fd()).is_err() {
                        hook.detach();
                    }
                }
                _ => hook.detach(),
            }
        }
    }
}

/// Why a hook was not to be had.
struct Refused {
    why: String,
    /// Another XDP program is there.
    busy: bool,
}

impl Refused {
    fn other(mode: AttachMode, why: &str) -> Self {
        Self { why: format!("{mode}: {why}"), busy: false }
    }
}

/// The descriptor of a program, loaded on first use.
fn loaded<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<BorrowedFd<'a>, String> {
    let program = ebpf.program_mut(name).ok_or_else(|| format!("the object has no program {name}"))?;
    if program.fd().is_err() {
        let result = match program {
            aya::programs::Program::Xdp(p) => Xdp::load(p),
            aya::programs::Program::SchedClassifier(p) => SchedClassifier::load(p),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        result.map_err(|e| load_reason(&e))?;
    }
    program.fd().map(AsFd::as_fd).map_err(|e| chain(&e))
}

/// Whether the kernel takes a program at all: loads it.
pub(crate) fn load(ebpf: &mut Ebpf, name: &str) -> Result<(), String> {
    loaded(ebpf, name).map(drop)
}

fn load_reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let last =
                log.lines().rev().map(str::trim).find(|l| !l.is_empty() && !l.starts_with("processed"));
            last.map_or_else(|| io_error.to_string(), |last| format!("{io_error}: {last}"))
        }
        other => chain(other),
    }
}

/// An error with its causes; aya's own messages name only the call.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = inner.source();
    }
    text
}

/// The operating system's error code at the bottom of an error.
pub(crate) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = inner.source();
    }
    None
}

fn program_by_id(id: u32) -> Option<OwnedFd> {
    let info = loaded_programs().flatten().find(|p| p.id() == id)?;
    info.fd().ok()?.as_fd().try_clone_to_owned().ok()
}

/// The XDP programs attached to an interface, in words.
pub(crate) fn others(interface: &Interface) -> String {
    let found: Vec<String> = interface
        .xdp_programs
        .iter()
        .map(|id| match loaded_programs().flatten().find(|p| p.id() == *id) {
            Some(info) => {
                let name = String::from_utf8_lossy(info.name()).into_owned();
                let whose = if name == program::XDP { ", an autoinmune sensor's" } else { "" };
                format!("program {id} '{name}'{whose}")
            }
            None => format!("program {id}"),
        })
        .collect();
    if found.is_empty() { "a program that the kernel does not name".to_owned() } else { found.join(", ") }
}

/// Before Linux 6.6: a filter of the clsact qdisc, which is added if missing and left in place, since others may have
/// come to rely on it.
fn attach_filter(
    ebpf: &mut Ebpf,
    name: &str,
    interface: &str,
    direction: TcAttachType,
) -> Result<SchedClassifierLink, String> {
    // That it is there already is no failure, and if it cannot be added the attach says so.
    drop(tc::qdisc_add_clsact(interface));
    // A filter survives its owner: remove what a killed run has left.
    drop(tc::qdisc_detach_program(interface, direction, name));
    let program: &mut SchedClassifier = ebpf
        .program_mut(name)
        .ok_or_else(|| format!("the object has no program {name}"))?
        .try_into()
        .map_err(|e: ProgramError| chain(&e))?;
    let id = program
        .attach_with_options(interface, direction, TcAttachOptions::Netlink(NlOptions::default()))
        .map_err(|e| chain(&e))?;
    program.take_link(id).map_err(|e| chain(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya::EbpfLoader;
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    /// The way before Linux 6.6, which newer kernels have too.
    #[test]
    fn a_filter_attaches_and_goes() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        std::thread::spawn(|| {
            #[expect(unsafe_code, reason = "a namespace of this thread's own")]
            // SAFETY: only the network namespace of this thread changes, on which no other thread relies.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare");
            let mut ebpf = EbpfLoader::new().load(crate::object::SENSOR).expect("maps");
            for (name, direction) in
                [(program::TC_INGRESS, TcAttachType::Ingress), (program::TC_EGRESS, TcAttachType::Egress)]
            {
                load(&mut ebpf, name).expect("program");
                let link = match attach_filter(&mut ebpf, name, "lo", direction) {
                    Ok(link) => link,
                    Err(why) => return println!("skipped: this kernel has no cls_bpf: {why}"),
                };
                // Forgotten as by a killed agent: the next start replaces it.
                std::mem::forget(link);
                let link = attach_filter(&mut ebpf, name, "lo", direction).expect("again");
                drop(link);
                assert!(tc::qdisc_detach_program("lo", direction, name).is_err(), "{name} is left");
            }
        })
        .join()
        .expect("thread");
    }
}
