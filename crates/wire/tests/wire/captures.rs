//! Capture files: what is read of good ones, and what is said of bad ones.

use crate::blocks::Order;
use crate::invariants::{self, End, Owned, frames};
use proptest::prelude::*;
use wire::LinkType;
use wire::capture::{CaptureError, MAX_BLOCK, MAX_FRAME, MAX_INTERFACES, Reader, Writer};

const MICROS: u32 = 0xa1b2_c3d4;
const NANOS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;
const T: u64 = 1_700_000_000;

fn read(file: &[u8]) -> (Vec<Owned>, End) {
    invariants::capture(file);
    frames(file, file.len())
}

/// Frames without their offsets.
fn clean(file: &[u8]) -> Vec<(u64, u32, Vec<u8>, u32)> {
    let (frames, end) = read(file);
    assert_eq!(end, End::Clean);
    frames.into_iter().map(|(ts, dlt, data, orig, _)| (ts, dlt, data, orig)).collect()
}

#[track_caller]
fn corrupt(file: &[u8], frames: usize, offset: usize) {
    let (read, end) = read(file);
    assert_eq!((read.len(), end), (frames, End::Corrupt(offset as u64)));
}

fn message(file: &[u8]) -> String {
    Reader::new(file).err().unwrap().to_string()
}

#[test]
fn pcap_in_every_order_and_unit() {
    for order in Order::BOTH {
        for (magic, unit, extra) in [(MICROS, 1000, 0), (NANOS, 1, 0), (MODIFIED, 1000, 8)] {
            let mut file = order.pcap(magic, 4, 113);
            for n in 0..3_u32 {
                let data = vec![n as u8; 10 * n as usize];
                let tail = [&vec![0xee; extra], &data[..]].concat();
                file.extend(order.record([T as u32 + n, 5, data.len() as u32, 1000 + n], &tail));
            }
            let expected: Vec<_> = (0..3_u32)
                .map(|n| {
                    let ts = (T + u64::from(n)) * 1_000_000_000 + 5 * unit;
                    (ts, 113, vec![n as u8; 10 * n as usize], 1000 + n)
                })
                .collect();
            assert_eq!(clean(&file), expected, "{order:?} {magic:x}");
        }
    }
}

#[test]
fn pcap_details() {
    let order = Order::Little;
    // Frame check sequence bits above the link type are not part of it; an unknown link type is handed on.
    assert_eq!(
        clean(&[order.pcap(MICROS, 4, 0xf400_0069), order.record([0, 0, 1, 1], &[7])].concat()),
        [(0, 105, vec![7], 1)]
    );
    // The largest time and fraction there are.
    let file = [
        order.pcap(MICROS, 4, 1),
        order.record([u32::MAX; 2].into_iter().chain([0, 0]).collect::<Vec<_>>().try_into().unwrap(), &[]),
    ]
    .concat();
    assert_eq!(clean(&file)[0].0, u64::from(u32::MAX) * 1_000_001_000);
    // Before 2.3 the lengths come in the other order, at 2.3 in either.
    for (minor, lengths) in [(2, [9, 1]), (3, [9, 1]), (3, [1, 9]), (4, [1, 9])] {
        let file =
            [order.pcap(MICROS, minor, 1), order.record([0, 0, lengths[0], lengths[1]], &[7])].concat();
        assert_eq!(clean(&file), [(0, 1, vec![7], 9)], "2.{minor}");
    }
    let mut other = order.pcap(MICROS, 4, 1);
    other[4] = 3;
    corrupt(&other, 0, 0);
    let longest =
        [order.pcap(MICROS, 4, 1), order.record([0, 0, MAX_FRAME as u32, 1], &vec![1; MAX_FRAME])].concat();
    assert_eq!(clean(&longest)[0].2.len(), MAX_FRAME);
}

#[test]
fn what_is_no_capture() {
    for (file, words) in [
        (&b""[..], "it is empty"),
        (b"\xd4\xc3\xb2", "shorter"),
        (b"\x1f\x8b\x08\0\0\0\0", "looks gzip-compressed: decompress it first"),
        (b"\x28\xb5\x2f\xfd....", "zstd"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"BZh91AY&", "bzip2"),
        (b"PK\x03\x04....", "zip archive"),
        (b"GET / HTTP/1.1\r\n", "neither pcap nor pcapng"),
    ] {
        assert!(message(file).starts_with("not a capture file: "), "{}", message(file));
        assert!(message(file).contains(words), "{}", message(file));
    }
}

#[test]
fn pcap_errors_name_the_record() {
    for order in Order::BOTH {
        let start = order.pcap(NANOS, 4, 1);
        let two =
            [start.clone(), order.record([1, 2, 5, 5], b"hello"), order.record([1, 3, 2, 2], b"hi")].concat();
        assert_eq!(read(&two).1, End::Clean);
        for len in 4..two.len() {
            let (frames, end) = read(&two[..len]);
            let expected = match len {
                24 | 45 => End::Clean,
                0..24 => End::Truncated(0),
                25..45 => End::Truncated(24),
                _ => End::Truncated(45),
            };
            assert_eq!((frames.len(), end), (usize::from(len >= 45), expected), "{len} bytes");
        }
        for length in [MAX_FRAME as u32 + 1, 0x7fff_ffff, u32::MAX] {
            let file = [two.clone(), order.record([0, 0, length, 0], &[0; 64])].concat();
            corrupt(&file, 2, two.len());
        }
    }
}

#[test]
fn a_failing_source_is_reported_where_it_fails() {
    struct Failing(usize);
    impl std::io::Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(std::io::ErrorKind::Interrupted.into()),
                2 => {
                    let file = [Order::Big.pcap(MICROS, 4, 1), vec![0; 16]].concat();
                    buffer[..40].copy_from_slice(&file);
                    Ok(40)
                }
                _ => Err(std::io::Error::other("gone")),
            }
        }
    }
    let mut reader = Reader::new(Failing(0)).unwrap();
    assert!(reader.next().unwrap().unwrap().data.is_empty());
    let error = reader.next().unwrap_err();
    assert_eq!(error.to_string(), "reading failed at byte 40: gone");
    assert!(matches!(error, CaptureError::Io { offset: 40, .. }));
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn pcapng_blocks_of_every_kind() {
    for o in Order::BOTH {
        let file = [
            o.section(),
            o.interface(1, 4, &[]),
            o.simple(b"abcd", 9),
            o.block(0x0bad_cafe, &[1; 100]),
            o.interface(101, 0, &[(2, b"eth0"), (9, &[9]), (14, &o.u64(3)), (20, &[])]),
            o.enhanced(0, T * 1_000_000, b"first", 700),
            o.enhanced(1, 7, b"", 0),
            o.obsolete(0, 5, b"old"),
            o.simple(b"xy", 2),
            // No body at all, and a statistics block.
            o.block(0x0bad_cafe, &[]),
            o.block(5, &[0; 12]),
        ]
        .concat();
        let expected = [
            (0, 1, b"abcd".to_vec(), 9),
            (T * 1_000_000_000, 1, b"first".to_vec(), 700),
            (3_000_000_007, 101, b"".to_vec(), 0),
            (5000, 1, b"old".to_vec(), 3),
            (5000, 1, b"xy".to_vec(), 2),
        ];
        assert_eq!(clean(&file), expected, "{o:?}");
    }
}

#[test]
fn pcapng_sections_of_both_byte_orders() {
    let [l, b] = Order::BOTH;
    let file = [
        l.section(),
        l.interface(1, 0, &[(9, &[6])]),
        l.enhanced(0, 1, b"l", 1),
        b.section(),
        b.interface(113, 0, &[(9, &[3])]),
        b.enhanced(0, 1, b"b", 1),
        l.section(),
        l.interface(101, 0, &[]),
        l.enhanced(0, 2, b"L", 1),
    ]
    .concat();
    let expected =
        [(1000, 1, b"l".to_vec(), 1), (1_000_000, 113, b"b".to_vec(), 1), (2000, 101, b"L".to_vec(), 1)];
    assert_eq!(clean(&file), expected);
    // A section begins without interfaces.
    let start = [l.section(), l.interface(1, 0, &[]), b.section()].concat();
    corrupt(&[&start[..], &b.enhanced(0, 1, b"b", 1)].concat(), 0, start.len());
}

#[test]
fn pcapng_time_units() {
    let cases: [(u8, u64, u64); 14] = [
        (0, 3, 3_000_000_000),
        (3, 3, 3_000_000),
        (6, u64::from(u32::MAX) << 8, (u64::from(u32::MAX) << 8) * 1000),
        (9, u64::MAX, u64::MAX),
        (10, 29, 2),
        (12, u64::MAX, u64::MAX / 1000),
        (28, u64::MAX, 1),
        (29, 1, 0),
        (127, u64::MAX - 1, 0),
        (0x80, 3, 3_000_000_000),
        (0x80 | 1, 3, 1_500_000_000),
        (0x80 | 20, 1 << 20, 1_000_000_000),
        (0x80 | 30, 1, 0),
        (0x80 | 127, u64::MAX, 0),
    ];
    for (resolution, units, ns) in cases {
        let o = Order::Little;
        let file =
            [o.section(), o.interface(1, 0, &[(9, &[resolution])]), o.enhanced(0, units, &[], 0)].concat();
        assert_eq!(clean(&file)[0].0, ns, "{resolution:#x} {units}");
    }
}

#[test]
fn pcapng_times_that_cannot_be() {
    for o in Order::BOTH {
        let offset = |s: i64| o.u64(s.cast_unsigned());
        for (resolution, seconds, units, expected) in [
            (6, 0, u64::MAX, None),
            (0, 0, u64::MAX, None),
            (6, i64::MAX, u64::MAX, None),
            (6, i64::MIN, 0, None),
            (6, -1, 999_999, None),
            (6, -1, 1_000_000, Some(0)),
            (6, -1, 1_000_001, Some(1000)),
            (9, 1, u64::MAX, None),
            (9, -1, u64::MAX, Some(u64::MAX - 1_000_000_000)),
        ] {
            let start =
                [o.section(), o.interface(1, 0, &[(14, &offset(seconds)), (9, &[resolution])])].concat();
            let file = [start.clone(), o.enhanced(0, units, b"x", 1)].concat();
            match expected {
                Some(ns) => assert_eq!(clean(&file)[0].0, ns),
                None => corrupt(&file, 0, start.len()),
            }
        }
    }
}

#[test]
fn pcapng_errors_name_the_block() {
    for o in Order::BOTH {
        let start = [o.section(), o.interface(1, 8, &[(2, b"eth0")]), o.enhanced(0, 1, b"abc", 3)].concat();
        let after = |block: Vec<u8>| corrupt(&[&start[..], &block].concat(), 1, start.len());
        let patched = |mut block: Vec<u8>, at: usize, bytes: &[u8]| {
            block[at..at + bytes.len()].copy_from_slice(bytes);
            block
        };
        assert_eq!(read(&start).1, End::Clean);
        for len in 4..start.len() {
            let whole = [28, 28 + 32];
            let begun = whole.iter().rev().find(|&&begin| begin <= len).copied().unwrap_or(0);
            let end = if whole.contains(&len) { End::Clean } else { End::Truncated(begun as u64) };
            assert_eq!(read(&start[..len]), (Vec::new(), end), "{len} bytes");
        }
        // Lengths: zero, too short, not a multiple of four, beyond the limit, not repeated.
        for length in [0, 4, 8, 11, 13, 35, MAX_BLOCK as u32 + 4, u32::MAX, u32::MAX - 3] {
            after(patched(o.enhanced(0, 1, b"abc", 3), 4, &o.u32(length)));
        }
        let block = o.enhanced(0, 1, b"abc", 3);
        let trailer = block.len() - 4;
        after(patched(block, trailer, &o.u32(0)));
        // Packets: interface not declared, frame longer than its block or than any, body too short.
        after(o.enhanced(1, 1, b"abc", 3));
        after(o.enhanced(u32::MAX, 1, b"abc", 3));
        after(o.obsolete(1, 1, b"abc"));
        after(patched(o.enhanced(0, 1, b"abc", 3), 20, &o.u32(5)));
        after(patched(o.enhanced(0, 1, b"abc", 3), 20, &o.u32(u32::MAX)));
        after(o.simple(b"abcd", 8));
        after(o.block(6, &[0; 16]));
        after(o.block(2, &[0; 16]));
        after(o.block(3, &[]));
        after(o.enhanced(0, 1, &vec![0; MAX_FRAME + 1], 3));
        // Interfaces: body too short, option beyond the block, timestamp options of another length.
        after(o.block(1, &[0; 4]));
        after(patched(o.interface(1, 0, &[(2, b"eth0")]), 18, &o.u16(200)));
        after(o.interface(1, 0, &[(9, &[6, 6])]));
        after(o.interface(1, 0, &[(14, &[0; 4])]));
        // Sections: no byte-order magic, another version, body too short.
        after(patched(o.section(), 8, &[0; 4]));
        after(patched(o.section(), 12, &o.u16(2)));
        after(patched(o.block(0x0a0d_0d0a, &[0; 12]), 8, &o.u32(0x1a2b_3c4d)));
    }
    // Nothing before the first section's own errors.
    assert_eq!(read(&Order::Big.section()[..27]).1, End::Truncated(0));
    assert_eq!(read(b"\x0a\x0d\x0d\x0a\x1c\0\0\0\0\0\0\0").1, End::Corrupt(0));
}

#[test]
fn pcapng_interfaces_are_bounded() {
    let o = Order::Little;
    let mut file = o.section();
    for _ in 0..MAX_INTERFACES {
        file.extend(o.interface(1, 0, &[]));
    }
    file.extend(o.enhanced(MAX_INTERFACES as u32 - 1, 0, b"x", 1));
    assert_eq!(clean(&file).len(), 1);
    let offset = file.len();
    file.extend(o.interface(1, 0, &[]));
    corrupt(&file, 1, offset);
}

#[test]
fn what_was_written_is_read() {
    let mut writer = Writer::new(Vec::new(), LinkType::LinuxSll2).unwrap();
    let last = u64::from(u32::MAX) * 1_000_000_000 + 999_999_999;
    writer.write(1, b"one").unwrap();
    writer.write_cut(last, b"tw", 3000).unwrap();
    // What the format cannot hold is refused and leaves no trace.
    assert!(writer.write(last + 1, b"x").is_err());
    assert!(writer.write(0, &vec![0; MAX_FRAME + 1]).is_err());
    let file = writer.finish().unwrap();
    assert_eq!(clean(&file), [(1, 276, b"one".to_vec(), 3), (last, 276, b"tw".to_vec(), 3000)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn round_trips(
        frames in prop::collection::vec(
            (0..u64::from(u32::MAX) * 1_000_000_000, prop::collection::vec(any::<u8>(), 0..2000), any::<u32>()),
            0..40,
        ),
        link in prop::sample::select(LinkType::ALL.to_vec()),
    ) {
        let mut writer = Writer::new(Vec::new(), link).unwrap();
        for (ts_ns, data, orig_len) in &frames {
            writer.write_cut(*ts_ns, data, *orig_len).unwrap();
        }
        let file = writer.finish().unwrap();
        let expected: Vec<_> =
            frames.into_iter().map(|(ts_ns, data, orig_len)| (ts_ns, link.dlt(), data, orig_len)).collect();
        prop_assert_eq!(clean(&file), expected);
    }
}
