//! Real captures: none of their frames is lost, and most of them parse.

#![expect(clippy::disallowed_methods, reason = "the test reads files; the crate's rules are for its library")]

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, PcapBlockOwned, PcapError};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use wire::Skip;
use wire::capture::{CaptureError, Reader};

/// The folder of shared captures, if there is one.
fn data() -> Option<PathBuf> {
    let root = std::env::var_os("AUTOINMUNE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    root.join("pcap").is_dir().then_some(root)
}

/// Every capture below `dir`, in order of name.
fn captures(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if matches!(extension, "pcap" | "pcapng" | "cap") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Number of frames, sum of captured lengths and sum of original lengths by another reader.
fn oracle(path: &Path) -> (u64, u64, u64) {
    let mut reader: Box<dyn PcapReaderIterator> =
        pcap_parser::create_reader(1 << 20, File::open(path).unwrap()).unwrap();
    let mut sum = (0, 0, 0);
    let mut add = |captured: u32, orig: u32| {
        sum = (sum.0 + 1, sum.1 + u64::from(captured), sum.2 + u64::from(orig));
    };
    let mut stuck = 0;
    loop {
        match reader.next() {
            Ok((length, block)) => {
                match block {
                    PcapBlockOwned::Legacy(b) => add(b.caplen, b.origlen),
                    PcapBlockOwned::NG(Block::EnhancedPacket(b)) => add(b.caplen, b.origlen),
                    PcapBlockOwned::NG(Block::SimplePacket(b)) => add(b.data.len() as u32, b.origlen),
                    _ => {}
                }
                reader.consume(length);
                stuck = 0;
            }
            // A file that ends inside a record keeps asking for more.
            Err(PcapError::Incomplete(_)) if stuck < 3 => {
                stuck += 1;
                reader.refill().unwrap();
            }
            Err(_) => return sum,
        }
    }
}

/// Whether this is a little-endian pcap before version 2.4: lengths are exchanged there, which the oracle does not know.
fn before_2_4(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    let magic = bytes.first_chunk::<4>().copied().unwrap_or_default();
    matches!(magic, [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) && bytes[6] < 4
}

#[test]
fn no_frame_of_a_real_capture_is_lost() {
    let Some(data) = data() else {
        println!("skipped: no shared data");
        return;
    };
    let mut files = captures(&data.join("pcap"));
    files.extend(captures(&data.join("community-id")));
    assert!(files.len() > 100, "only {} captures", files.len());
    let (mut frames, mut parsed, mut cut) = (0_u64, 0_u64, Vec::new());
    let mut skipped: BTreeMap<&str, u64> = BTreeMap::new();
    let mut unknown: BTreeMap<u32, u64> = BTreeMap::new();
    let steering = wire::Steering::new(7, 16);
    for path in &files {
        let size = fs::metadata(path).unwrap().len();
        let mut reader = Reader::new(File::open(path).unwrap()).unwrap();
        let mut sum = (0_u64, 0_u64, 0_u64);
        loop {
            match reader.next() {
                Ok(Some(frame)) => {
                    sum = (sum.0 + 1, sum.1 + frame.data.len() as u64, sum.2 + u64::from(frame.orig_len));
                    match frame.link.map(|link| wire::parse(link, frame.data, frame.orig_len)) {
                        Some(Ok(packet)) => {
                            parsed += 1;
                            let link = frame.link.unwrap();
                            let worker = steering.route(link, frame.data, frame.orig_len).worker;
                            assert_eq!(worker, steering.pair(&packet.src, &packet.dst), "{}", path.display());
                        }
                        Some(Err(skip)) => *skipped.entry(Skip::name(skip)).or_default() += 1,
                        None => *unknown.entry(frame.dlt).or_default() += 1,
                    }
                }
                Ok(None) => {
                    assert_eq!(reader.offset(), size, "{}: stopped early", path.display());
                    break;
                }
                Err(CaptureError::Truncated { offset }) => {
                    assert!(offset < size, "{}", path.display());
                    cut.push((path, offset, size));
                    break;
                }
                Err(e) => panic!("{}: {e}", path.display()),
            }
        }
        if before_2_4(path) {
            assert!(sum.0 > 0, "{}", path.display());
        } else {
            assert_eq!(sum, oracle(path), "{}", path.display());
        }
        frames += sum.0;
    }
    println!("{} files, {frames} frames, {parsed} packets", files.len());
    println!("skipped {skipped:?}, unknown link types {unknown:?}, cut off {cut:?}");
    assert_eq!(parsed + skipped.values().sum::<u64>() + unknown.values().sum::<u64>(), frames);
    assert!(parsed * 100 > frames * 90, "{parsed} of {frames}");
}
