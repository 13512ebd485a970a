//! What outlives the agent: a directory of pins on the BPF file system, one per network namespace.
//!
//! It holds the block and allow maps and the links, so that blocks stay in force when the agent dies, and end when
//! their time is up. The directory is locked while an agent runs. Its name is the namespace's cookie, which the
//! kernel never uses twice until the next boot, when the BPF file system is empty anyway.

use crate::abi::{self, map};
use crate::attach::AttachMode;
use crate::error::AttachError;
use crate::syscall;
use aya::maps::{MapInfo, MapType};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdir, open, statfs};
use rustix::mount::{MountFlags, mount};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where pins go unless told otherwise.
pub const DEFAULT_DIRECTORY: &str = "/sys/fs/bpf/autoinmune";
/// Where the BPF file system is mounted.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// The maps that are pinned, with the sizes of their keys and values.
pub(crate) const PINNED_MAPS: [(&str, usize, usize); 4] = [
    (map::BLOCK_V4, 8, size_of::<abi::Block>()),
    (map::BLOCK_V6, 20, size_of::<abi::Block>()),
    (map::ALLOW_V4, 8, size_of::<abi::Allow>()),
    (map::ALLOW_V6, 20, size_of::<abi::Allow>()),
];

/// The locked pin directory of this network namespace. The lock ends with the value, or with the process.
#[derive(Debug)]
pub(crate) struct PinDirectory {
    path: PathBuf,
    _lock: OwnedFd,
}

/// A link that an earlier run left.
#[derive(Debug)]
pub(crate) struct LeftLink {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
    pub(crate) ifindex: u32,
    pub(crate) mode: AttachMode,
    pub(crate) egress: bool,
    /// Id of the program that runs.
    pub(crate) program: u32,
}

impl LeftLink {
    /// Detaches at once and removes the pin.
    pub(crate) fn remove(self) {
        detach_link(&self.fd);
        remove_pin(&self.path);
    }
}

/// Detaches a link whoever else holds it; one whose interface is gone is detached already.
pub(crate) fn detach_link(fd: &OwnedFd) {
    if let Err(error) = syscall::link_detach(fd.as_fd())
        && error.raw_os_error() != Some(libc::ENOLINK)
    {
        tracing::warn!(%error, "a link could not be detached");
    }
}

/// Removes a pin; what is not there needs no removing.
pub(crate) fn remove_pin(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a pin could not be removed");
    }
}

impl PinDirectory {
    /// The directory of the calling thread's network namespace under `base`, made if need be, locked. `Err(Ok(why))`
    /// if pinning is not possible here, which an agent can live with.
    pub(crate) fn open(base: &Path) -> Result<Self, Result<String, AttachError>> {
        mounted(base).map_err(Ok)?;
        let name = namespace_name().map_err(|e| Ok(format!("the network namespace has no identity: {e}")))?;
        let path = base.join(name);
        let step = |e: io::Error| Ok(format!("{} cannot be used: {e}", path.display()));
        for directory in [base, &path] {
            match mkdir(directory, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(step(e.into())),
            }
        }
        match lock(&path) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Err(AttachError::AlreadyRunning { path })),
            Err(e) => Err(step(e)),
        }
    }

    /// Where the map of that name is pinned.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the link of that hook is pinned.
    pub(crate) fn link(&self, ifindex: u32, mode: AttachMode, egress: bool) -> PathBuf {
        let hook = if egress { "egress".to_owned() } else { mode.to_string() };
        self.path.join(format!("link-{ifindex}-{hook}"))
    }

    /// The links that an earlier run left here and that are still attached; pins of dead ones are removed.
    pub(crate) fn links(&self) -> Vec<LeftLink> {
        links_in(&self.path)
    }

    /// Removes every pin and the directory.
    pub(crate) fn clear(&self) {
        clear(&self.path);
    }
}

/// Whether the map pinned at `path` is of our making: its capacity if so, else what differs.
pub(crate) fn map_capacity(path: &Path, key_size: usize, value_size: usize) -> Result<u32, String> {
    let info = MapInfo::from_pin(path).map_err(|e| crate::attach::chain(&e))?;
    let kind = info.map_type().map_err(|e| crate::attach::chain(&e))?;
    let found = (info.key_size() as usize, info.value_size() as usize);
    if kind != MapType::LpmTrie || found != (key_size, value_size) {
        return Err(format!("{kind:?} of {found:?} bytes, expected LpmTrie of {:?}", (key_size, value_size)));
    }
    Ok(info.max_entries())
}

/// Removes, under `base`, the directories of network namespaces that exist no more: those that no agent holds and of
/// whose links none is attached. Returns how many.
///
/// A start does this by itself.
#[must_use]
pub fn sweep(base: &Path) -> usize {
    let own = namespace_name().ok();
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let mut removed = 0;
    for entry in entries {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with("ns-"));
        if !ours || own.as_deref().is_some_and(|own| name == own) {
            continue;
        }
        let path = entry.path();
        if let Ok(_lock) = lock(&path)
            && links_in(&path).is_empty()
        {
            clear(&path);
            removed += 1;
        }
    }
    removed
}

/// Detaches and removes all that an earlier run left in this network namespace under `base`. Returns how many links.
///
/// # Errors
/// [`AttachError::AlreadyRunning`] if a running agent holds it.
pub fn discard(base: &Path) -> Result<usize, AttachError> {
    if !base.exists() {
        return Ok(0);
    }
    match PinDirectory::open(base) {
        Ok(directory) => {
            let links = directory.links();
            let count = links.len();
            links.into_iter().for_each(LeftLink::remove);
            directory.clear();
            Ok(count)
        }
        Err(Ok(_)) => Ok(0),
        Err(Err(error)) => Err(error),
    }
}

/// The name of the calling thread's network namespace among pins: `ns-` and its cookie.
fn namespace_name() -> io::Result<String> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    let mut cookie = 0_u64;
    let mut len = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or(0);
    #[expect(unsafe_code, reason = "rustix has no wrapper for this option")]
    // SAFETY: `cookie` and `len` are live and `len` is the size of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        return Ok(format!("ns-{cookie}"));
    }
    // Before Linux 5.14: the inode, which may come again after the namespace is gone.
    let inode = rustix::fs::stat("/proc/thread-self/ns/net")?.st_ino;
    Ok(format!("ns-i{inode}"))
}

/// Sees to it that `base` is on a BPF file system, mounting it if that is all it takes.
fn mounted(base: &Path) -> Result<(), String> {
    let parent = base.parent().unwrap_or(base);
    let is_bpffs = |path: &Path| statfs(path).is_ok_and(|s| s.f_type == BPF_FS_MAGIC);
    if is_bpffs(parent) {
        return Ok(());
    }
    if parent != Path::new(BPFFS) {
        return Err(format!("{} is not on a BPF file system", parent.display()));
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("bpf", BPFFS, "bpf", flags, Some(c"mode=0700")).map_err(|e| {
        format!("no BPF file system at {BPFFS}, and mounting one failed: {}", io::Error::from(e))
    })
}

fn lock(path: &Path) -> io::Result<OwnedFd> {
    let fd = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    Ok(fd)
}

fn links_in(directory: &Path) -> Vec<LeftLink> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((ifindex, mode, egress)) = name.to_str().and_then(link_name) else { continue };
        let path = entry.path();
        let link = syscall::pinned(&path).and_then(|fd| Ok((syscall::link_info(fd.as_fd())?, fd)));
        match link {
            Ok((info, fd)) if info.ifindex == ifindex => {
                found.push(LeftLink { fd, path, ifindex, mode, egress, program: info.program });
            }
            // Its interface is gone, or it is not a link.
            _ => remove_pin(&path),
        }
    }
    found.sort_by_key(|l| (l.ifindex, l.egress));
    found
}

/// Interface, hook and direction from a pin's file name.
fn link_name(name: &str) -> Option<(u32, AttachMode, bool)> {
    let (ifindex, hook) = name.strip_prefix("link-")?.split_once('-')?;
    let ifindex = ifindex.parse().ok()?;
    match hook {
        "native" => Some((ifindex, AttachMode::Native, false)),
        "generic" => Some((ifindex, AttachMode::Generic, false)),
        "tcx" => Some((ifindex, AttachMode::Tcx, false)),
        "egress" => Some((ifindex, AttachMode::Tcx, true)),
        _ => None,
    }
}

fn clear(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        remove_pin(&entry.path());
    }
    if let Err(error) = fs::remove_dir(directory) {
        tracing::warn!(%error, path = %directory.display(), "a pin directory could not be removed");
    }
    // The base goes with its last directory.
    if let Some(base) = directory.parent() {
        match fs::remove_dir(base) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => tracing::debug!(%error, path = %base.display(), "kept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links() {
        let check = |name: &str, expected| assert_eq!(link_name(name), expected, "{name}");
        check("link-3-native", Some((3, AttachMode::Native, false)));
        check("link-12-generic", Some((12, AttachMode::Generic, false)));
        check("link-1-tcx", Some((1, AttachMode::Tcx, false)));
        check("link-1-egress", Some((1, AttachMode::Tcx, true)));
        check("link--tcx", None);
        check("link-x-tcx", None);
        check("link-1-af_packet", None);
        check("block_v4", None);
    }

    #[test]
    fn the_namespace_has_a_name() {
        let name = namespace_name().expect("name");
        assert!(name.starts_with("ns-") && name.len() > 3, "{name}");
        assert_eq!(name, namespace_name().expect("name"));
    }
}
