//! Captures to measure with, made under `target/bench/`.

use super::figure::number;
use crate::shell;
use anyhow::Context as _;
use std::fs::{self, File};
use std::io::BufWriter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use wire::capture::{MAX_FRAME, Reader, Writer};
use wire::{LinkType, craft};

/// A capture made for measuring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    pub(crate) path: PathBuf,
    pub(crate) packets: u64,
    /// Bytes on the wire.
    pub(crate) bytes: u64,
    /// What it was made of.
    pub(crate) made_of: String,
}

/// Between the last packet of one file and the first of the next, ns.
const GAP_NS: u64 = 1_000_000;
/// Steps between packets of one file are cut to this, ns, so that files with hours of silence fit, repeated, into the
/// times a capture can hold. Longer than any timeout of the flow table.
const MAX_STEP_NS: u64 = 400 * 1_000_000_000;
/// Time of the first packet, ns since 1970: early, as the format ends in 2106.
const START_NS: u64 = 1_000_000_000 * 1_000_000_000;

/// The directory of shared data, if there is one.
fn data() -> Option<PathBuf> {
    let dir = std::env::var_os("AUTOINMUNE_DATA")
        .map_or_else(|| shell::root().join("../shared/data"), PathBuf::from)
        .join("pcap");
    dir.is_dir().then_some(dir)
}

pub(crate) fn directory() -> anyhow::Result<PathBuf> {
    let dir = shell::root().join("target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    Ok(dir)
}

/// Every file below `dir`, in the order of names.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|p| if p.is_dir() { files_below(&p) } else { vec![p] }).collect()
}

/// A packet of the material: time since the packet before it in its file, length on the wire, bytes.
struct Piece {
    step_ns: u64,
    orig_len: u32,
    data: Vec<u8>,
}

/// Reads the Ethernet packets of a file, as far as it can be read; files with any other link type give none.
fn pieces(path: &Path) -> Vec<Piece> {
    let mut found = Vec::new();
    let Some(mut reader) = File::open(path).ok().and_then(|f| Reader::new(f).ok()) else { return found };
    let mut last = None;
    // What is damaged further on is left out: the material is any traffic, not this file.
    while let Ok(Some(frame)) = reader.next() {
        if frame.link != Some(LinkType::Ethernet) {
            return Vec::new();
        }
        // A few protocol captures claim frames of gigabytes, which would make any rate of bytes look good.
        if frame.orig_len as usize > MAX_FRAME {
            continue;
        }
        let step_ns = frame.ts_ns.saturating_sub(last.unwrap_or(frame.ts_ns)).min(MAX_STEP_NS);
        last = Some(frame.ts_ns);
        found.push(Piece { step_ns, orig_len: frame.orig_len, data: frame.data.to_vec() });
    }
    found
}

/// Captures of ordinary clients and devices; none without shared data.
pub(crate) fn ordinary() -> Vec<PathBuf> {
    data().map(|data| files_below(&data.join("benign"))).unwrap_or_default()
}

/// What a joined capture is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Everything there is: a third of it openings of new flows, floods among them.
    All,
    /// Ordinary clients and devices alone.
    Ordinary,
}

/// Joins the Ethernet captures of the shared data, or else the lab's scenarios, over and over until there are at least
/// `packets`; each file's times follow those of the one before, addresses stay as they are.
///
/// # Errors
/// There is nothing to join, or the file cannot be written.
pub(crate) fn joined(packets: u64, mix: Mix) -> anyhow::Result<Capture> {
    let dir = directory()?;
    let (material, what) = match (data(), mix) {
        (Some(data), Mix::All) => (files_below(&data), "captures of the shared data of every kind"),
        (Some(data), Mix::Ordinary) => {
            (files_below(&data.join("benign")), "captures of ordinary clients and devices")
        }
        (None, Mix::All) => (scenarios(&dir)?, "captures of the lab's scenarios"),
        (None, Mix::Ordinary) => anyhow::bail!("there is no shared data (AUTOINMUNE_DATA)"),
    };
    let mut files: Vec<Vec<Piece>> =
        material.iter().map(|p| pieces(p)).filter(|pieces| !pieces.is_empty()).collect();
    anyhow::ensure!(!files.is_empty(), "there is no Ethernet capture to join");
    for file in &mut files {
        file[0].step_ns = GAP_NS;
    }
    let mut capture = Capture { path: dir.join("joined.pcap"), ..Capture::default() };
    let mut writer = create(&capture.path)?;
    let mut now = START_NS;
    let mut times = 0_u32;
    while capture.packets < packets {
        for piece in files.iter().flatten() {
            now += piece.step_ns;
            writer.write_cut(now, &piece.data, piece.orig_len).context("cannot write the joined capture")?;
            capture.packets += 1;
            capture.bytes += u64::from(piece.orig_len);
        }
        times += 1;
    }
    writer.finish().context("cannot write the joined capture")?;
    let each: usize = files.iter().map(Vec::len).sum();
    capture.made_of = format!(
        "{} Ethernet {what}, {} packets, joined {times} times over with times shifted (steps cut to {} s) and addresses \
         as they are",
        files.len(),
        number(each as f64),
        MAX_STEP_NS / 1_000_000_000
    );
    Ok(capture)
}

/// The lab's mixed load ([`lab::simulation::mixture`]) of `packets` packets.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn mixed(packets: u64) -> anyhow::Result<Capture> {
    let mut capture = Capture {
        path: directory()?.join("mixed.pcap"),
        made_of: "the lab's mixed load, by packets four fifths bulk TCP and UDP, the rest HTTP, TLS, DNS and a port scan, \
                  whole frames"
            .into(),
        ..Capture::default()
    };
    let mut writer = create(&capture.path)?;
    let frames = lab::simulation::mixture(1);
    for (at, frame) in frames.take(usize::try_from(packets).unwrap_or(usize::MAX)) {
        writer.write(at, &frame).context("cannot write the mixed capture")?;
        capture.packets += 1;
        capture.bytes += frame.len() as u64;
    }
    writer.finish().context("cannot write the mixed capture")?;
    Ok(capture)
}

fn scenarios(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    lab::simulation::CAPTURES
        .iter()
        .map(|(name, scenario, seed)| {
            let path = dir.join(name);
            let file = BufWriter::new(File::create(&path).context("cannot write a scenario")?);
            lab::simulation::write_capture(*scenario, *seed, file).context("cannot write a scenario")?;
            Ok(path)
        })
        .collect()
}

/// A capture of `flows` UDP flows from `sources` addresses, of one packet each or of two if they are answered, all within
/// five seconds, so that all are live at its end.
///
/// # Errors
/// The file cannot be written, or there are not enough ports.
pub(crate) fn flows(name: &str, flows: u32, sources: u32, answered: bool) -> anyhow::Result<Capture> {
    let packets = u64::from(flows) * if answered { 2 } else { 1 };
    let capture = Capture { path: directory()?.join(name), packets, ..Capture::default() };
    let mut writer = create(&capture.path)?;
    let step = 5_000_000_000 / u64::from(flows.max(1));
    let target = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
    for n in 0..flows {
        let source = IpAddr::V6(Ipv6Addr::from_bits(SOURCES6.to_bits() + u128::from(n % sources)));
        let port = u16::try_from(1024 + n / sources).context("too many flows for so few sources")?;
        let (from, to) = ((source.into(), port), (target.into(), 9));
        let at = START_NS + step * u64::from(n);
        writer.write(at, &craft::udp(from, to, &[0x58; 64])).context("cannot write a capture")?;
        if answered {
            writer.write(at, &craft::udp(to, from, &[0x59; 64])).context("cannot write a capture")?;
        }
    }
    writer.finish().context("cannot write a capture")?;
    Ok(capture)
}

/// First of the IPv6 sources of generated flows; inside the lab's network, beside everybody who lives there.
pub(crate) const SOURCES6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0x1, 0, 0, 0);

/// The IPv4 addresses of the lab's network that nobody else uses.
pub(crate) fn sources4() -> Vec<Ipv4Addr> {
    let [a, b, c, _] = lab::address::VICTIM.octets();
    let taken = [lab::address::VICTIM, lab::address::CLIENT];
    (1..=254).map(|d| Ipv4Addr::new(a, b, c, d)).filter(|addr| !taken.contains(addr)).collect()
}

fn create(path: &Path) -> anyhow::Result<Writer<BufWriter<File>>> {
    let what = || format!("cannot write {}", path.file_name().unwrap_or_default().to_string_lossy());
    let file = BufWriter::with_capacity(1 << 20, File::create(path).with_context(what)?);
    Writer::new(file, LinkType::Ethernet).with_context(what)
}
