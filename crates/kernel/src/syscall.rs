//! The few bpf(2) commands that aya does not offer: links held as plain file descriptors, and batched lookups.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `enum bpf_attach_type` of the hooks in use.
pub(crate) mod hook {
    pub(crate) const XDP: u32 = 37;
    pub(crate) const TCX_INGRESS: u32 = 46;
    pub(crate) const TCX_EGRESS: u32 = 47;
}

/// Flags of [`link_create`].
pub(crate) mod flag {
    /// `XDP_FLAGS_SKB_MODE`.
    pub(crate) const XDP_GENERIC: u32 = 2;
    /// `XDP_FLAGS_DRV_MODE`.
    pub(crate) const XDP_NATIVE: u32 = 4;
    /// `BPF_F_BEFORE` with no relative: first of all.
    pub(crate) const TCX_FIRST: u32 = 8;
    /// `BPF_F_AFTER` with no relative: last of all.
    pub(crate) const TCX_LAST: u32 = 16;
}

#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

#[repr(C)]
struct LinkUpdate {
    link_fd: i32,
    new_prog_fd: i32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
struct LinkDetach {
    link_fd: i32,
}

#[repr(C)]
struct Object {
    pathname: u64,
    bpf_fd: i32,
    file_flags: u32,
}

#[repr(C)]
struct InfoByFd {
    bpf_fd: i32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: i32,
    elem_flags: u64,
    flags: u64,
}

/// `struct bpf_link_info` as far as XDP and tcx links fill it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct LinkInfo {
    kind: u32,
    id: u32,
    /// The program that runs.
    pub(crate) program: u32,
    pad: u32,
    /// The interface; 0 once it is gone.
    pub(crate) ifindex: u32,
    /// For tcx its [`hook`].
    attach_type: u32,
    rest: [u64; 8],
}

#[expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is a live, initialised repr(C) prefix of `union bpf_attr` of the size given; every pointer put
    // into one by this module's functions outlives the call and covers what the command reads or writes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    i32::try_from(result).ok().filter(|r| *r >= 0).ok_or_else(io::Error::last_os_error)
}

#[expect(unsafe_code, reason = "a raw descriptor becomes an owned one")]
fn owned(fd: i32) -> OwnedFd {
    // SAFETY: bpf(2) has just returned this descriptor as new and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Attaches a program; it stays while the descriptor or a pin of it lives.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    hook: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target_ifindex: ifindex,
        attach_type: hook,
        flags,
        relative_fd: 0,
        pad: 0,
        expected_revision: 0,
    };
    bpf(BPF_LINK_CREATE, &mut attr).map(owned)
}

/// Replaces a link's program without a gap.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr =
        LinkUpdate { link_fd: link.as_raw_fd(), new_prog_fd: program.as_raw_fd(), flags: 0, old_prog_fd: 0 };
    bpf(BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Detaches a link at once, whoever else holds it.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &mut LinkDetach { link_fd: link.as_raw_fd() }).map(drop)
}

/// What a link is attached to.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let mut attr = InfoByFd {
        bpf_fd: link.as_raw_fd(),
        info_len: u32::try_from(size_of::<LinkInfo>()).unwrap_or(0),
        info: std::ptr::from_mut(&mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// Pins an object.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = Object { pathname: path.as_ptr() as u64, bpf_fd: object.as_raw_fd(), file_flags: 0 };
    bpf(BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Opens a pinned object.
pub(crate) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = Object { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    bpf(BPF_OBJ_GET, &mut attr).map(owned)
}

/// Entries asked for at a time: a compromise between calls and memory (680 KiB for flows).
const BATCH: usize = 2048;
/// Most entries at a time, when one bucket of the hash holds more than [`BATCH`].
const BATCH_MAX: usize = 65_536;

/// Every entry of a hash map, in batches. Entries that come or go meanwhile may be missed or seen twice.
///
/// `K` and `V` are the map's exact types; the key's size and the value's are checked by the caller when the map was opened.
pub(crate) fn for_each<K: aya::Pod, V: aya::Pod>(
    map: impl AsFd,
    each: &mut dyn FnMut(&K, &V),
) -> io::Result<()> {
    let mut size = BATCH;
    let mut keys: Vec<K> = Vec::with_capacity(size);
    let mut values: Vec<V> = Vec::with_capacity(size);
    let mut position = 0_u32;
    let mut first = true;
    loop {
        let mut next = 0_u32;
        let mut attr = Batch {
            in_batch: if first { 0 } else { std::ptr::from_mut(&mut position) as u64 },
            out_batch: std::ptr::from_mut(&mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(size).unwrap_or(0),
            map_fd: map.as_fd().as_raw_fd(),
            elem_flags: 0,
            flags: 0,
        };
        let result = bpf(BPF_MAP_LOOKUP_BATCH, &mut attr);
        let done = match &result {
            Ok(_) => false,
            // ENOENT: these were the last.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => true,
            Err(e) if e.raw_os_error() == Some(libc::EINTR) => continue,
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && size < BATCH_MAX => {
                size *= 2;
                keys = Vec::with_capacity(size);
                values = Vec::with_capacity(size);
                continue;
            }
            Err(_) => return result.map(drop),
        };
        let count = usize::try_from(attr.count).unwrap_or(0).min(size);
        #[expect(unsafe_code, reason = "the kernel has filled the vectors")]
        // SAFETY: the kernel wrote `count` keys and values, at most the capacity asked for, and `Pod` types accept
        // every bit pattern.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        for (k, v) in keys.iter().zip(&values) {
            each(k, v);
        }
        if done {
            return Ok(());
        }
        keys.clear();
        values.clear();
        position = next;
        first = false;
    }
}

/// Every flow of a flow map, in batches as [`crate::Sensor::flows`] reads them: for measuring what that costs.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::InvalidInput`] for a map of other things than flows.
pub fn flows_of(
    map: &aya::maps::MapData,
    each: &mut dyn FnMut(&crate::abi::FlowKey, &crate::abi::FlowStats),
) -> io::Result<()> {
    let info = map.info().map_err(io::Error::other)?;
    let sizes = [info.key_size() as usize, info.value_size() as usize];
    if sizes != [size_of::<crate::abi::FlowKey>(), size_of::<crate::abi::FlowStats>()] {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for_each(map.fd(), each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{FlowKey, FlowStats};
    use aya::maps::HashMap;
    use std::time::Instant;

    #[test]
    fn every_entry_comes_once() {
        const ENTRIES: u32 = 100_000;
        let mut map: HashMap<_, FlowKey, FlowStats> = match HashMap::create(ENTRIES, 0) {
            Ok(map) => map,
            Err(error) => return println!("skipped: {error}"),
        };
        let mut key = FlowKey::from(flow::FlowKey {
            lo: wire::Addr::v4([10, 0, 0, 1]),
            hi: wire::Addr::v4([10, 0, 0, 2]),
            lo_port: 0,
            hi_port: 0,
            vlan: 0,
            protocol: 6,
            tunnel: 0,
        });
        // SAFETY: `FlowStats` is `Pod`: all-zero is a value of it.
        #[expect(unsafe_code, reason = "it has no default")]
        let mut stats: FlowStats = unsafe { std::mem::zeroed() };
        for i in 0..ENTRIES {
            key.tunnel = i;
            stats.syn_ns = i.into();
            map.insert(key, stats, 0).expect("insert");
        }
        let fd = map_fd(&map);
        let mut seen = vec![false; ENTRIES as usize];
        let start = Instant::now();
        for_each(&fd, &mut |k: &FlowKey, v: &FlowStats| {
            assert_eq!(u64::from(k.tunnel), v.syn_ns);
            assert!(!std::mem::replace(&mut seen[k.tunnel as usize], true), "twice");
        })
        .expect("batches");
        println!("{ENTRIES} flows: {:?}", start.elapsed());
        assert!(seen.iter().all(|s| *s));
    }

    /// aya gives out the descriptors of maps, but not of the typed views on them.
    fn map_fd(map: &HashMap<aya::maps::MapData, FlowKey, FlowStats>) -> OwnedFd {
        let first = map.keys().next().and_then(Result::ok);
        assert!(first.is_some());
        let newest = aya::maps::loaded_maps()
            .flatten()
            .filter(|m| m.name() == b"standalone_hash")
            .max_by_key(aya::maps::MapInfo::id)
            .expect("the map");
        newest.fd().expect("its descriptor").as_fd().try_clone_to_owned().expect("a copy")
    }
}
