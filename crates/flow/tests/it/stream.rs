//! TCP directions put in order.

use flow::stream::{MAX_HELD, MAX_HELD_SEGMENTS, Piece, RECENT, Stream, Taken};
use proptest::prelude::*;

/// Pieces as one line: bytes as text, `(n)` for n missing ones.
#[derive(Default)]
struct Reading {
    stream: Stream,
    text: String,
    conflicts: usize,
    overruns: usize,
}

impl Reading {
    fn note(&mut self, pieces: &[Result<Vec<u8>, u64>]) {
        for p in pieces {
            match p {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(bytes)),
                Err(n) => self.text.push_str(&format!("({n})")),
            }
        }
    }

    fn with(&mut self, f: impl FnOnce(&mut Stream, &mut dyn FnMut(Piece<'_>)) -> Taken) {
        let mut pieces = Vec::new();
        let taken = f(&mut self.stream, &mut |p| {
            pieces.push(match p {
                Piece::Bytes(b) => Ok(b.to_vec()),
                Piece::Missing(n) => Err(n),
            });
        });
        self.conflicts += usize::from(taken.conflict);
        self.overruns += usize::from(taken.overrun);
        self.note(&pieces);
    }

    fn segment(&mut self, start: Option<u32>, seq: u32, stated: u32, bytes: &[u8]) {
        self.with(|s, mut sink| s.take(start, seq, stated, bytes, &mut sink));
    }

    fn ack(&mut self, ack: u32) {
        self.with(|s, mut sink| {
            s.acknowledge(ack, &mut sink);
            Taken::default()
        });
    }

    fn finish(&mut self) {
        self.with(|s, mut sink| {
            s.finish(&mut sink);
            Taken::default()
        });
    }
}

/// Feeds segments of a stream that begins at `base`: `(offset, bytes)`. What was read, with conflicts and overruns.
fn read(base: u32, segments: &[(u32, &str)]) -> (String, usize, usize) {
    let mut r = Reading::default();
    for (at, bytes) in segments {
        r.segment(Some(base), base.wrapping_add(*at), bytes.len() as u32, bytes.as_bytes());
    }
    (r.text, r.conflicts, r.overruns)
}

#[test]
fn segments_are_put_in_order_and_first_bytes_win() {
    for base in [0, 1000, u32::MAX, u32::MAX - 3, 1 << 31] {
        let check = |segments: &[(u32, &str)], text: &str, conflicts: usize| {
            assert_eq!(read(base, segments), (text.into(), conflicts, 0), "{segments:?} from {base}");
        };
        check(&[(0, "abc"), (3, "def")], "abcdef", 0);
        check(&[(3, "def"), (0, "abc")], "abcdef", 0);
        check(&[(6, "g"), (3, "def"), (0, "abc")], "abcdefg", 0);
        // Repetitions, whole, in part, and around.
        check(&[(0, "abc"), (0, "abc"), (3, "d")], "abcd", 0);
        check(&[(0, "abc"), (1, "bcd")], "abcd", 0);
        check(&[(2, "c"), (0, "abcde")], "abcde", 0);
        check(&[(1, "b"), (3, "d"), (0, "abcde")], "abcde", 0);
        check(&[(1, "b"), (3, "d"), (1, "bcdef"), (0, "a")], "abcdef", 0);
        // The same with other content: what came first stands.
        check(&[(0, "abc"), (0, "aXc")], "abc", 1);
        check(&[(0, "abc"), (1, "XYd")], "abcd", 1);
        check(&[(2, "c"), (0, "abXde")], "abcde", 1);
        check(&[(2, "cd"), (3, "Xe"), (0, "ab")], "abcde", 1);
        // A keep-alive probe holds anything.
        check(&[(0, "abc"), (2, "\0"), (3, "d")], "abcd", 0);
        // A zero-window probe is the next byte.
        check(&[(0, "abc"), (3, "d"), (3, "def")], "abcdef", 0);
        // Never filled, and not known to be lost yet.
        check(&[(0, "abc"), (5, "fg")], "abc", 0);
    }
}

#[test]
fn a_stream_of_unknown_beginning_begins_with_its_first_payload() {
    let mut r = Reading::default();
    r.segment(None, 500, 3, b"abc");
    r.segment(None, 400, 3, b"old");
    r.segment(None, 503, 1, b"d");
    assert_eq!(r.text, "abcd");
    // A SYN far away was another connection's.
    let mut r = Reading::default();
    r.segment(Some(0x4000_0000), 500, 3, b"abc");
    assert_eq!(r.text, "abc");
}

#[test]
fn what_was_acknowledged_and_never_seen_is_given_up() {
    let mut r = Reading::default();
    r.segment(Some(0), 0, 3, b"abc");
    r.segment(Some(0), 5, 2, b"fg");
    r.ack(3);
    assert_eq!(r.text, "abc");
    r.ack(7);
    assert_eq!(r.text, "abc(2)fg");
    // An acknowledgement that overtook the bytes it covers loses none of them.
    r.ack(12);
    r.segment(Some(0), 7, 5, b"hijkl");
    assert_eq!(r.text, "abc(2)fghijkl");
    // A hole behind it is one at once.
    r.ack(20);
    r.segment(Some(0), 15, 1, b"p");
    assert_eq!(r.text, "abc(2)fghijkl(3)p");
    r.segment(Some(0), 12, 3, b"mno");
    assert_eq!(r.text, "abc(2)fghijkl(3)p");
}

#[test]
fn the_end_gives_up_every_hole() {
    let mut r = Reading::default();
    r.segment(Some(0), 2, 1, b"c");
    r.segment(Some(0), 5, 1, b"f");
    r.finish();
    assert_eq!(r.text, "(2)c(2)f");
}

#[test]
fn what_the_capture_cut_is_missing_at_once() {
    let mut r = Reading::default();
    r.segment(Some(0), 0, 10, b"abc");
    r.segment(Some(0), 10, 3, b"klm");
    assert_eq!(r.text, "abc(7)klm");
    // Out of order too; bytes beyond the stated length are none.
    let mut r = Reading::default();
    r.segment(Some(0), 3, 4, b"de");
    r.segment(Some(0), 0, 3, b"abcXYZ");
    assert_eq!(r.text, "abcde(2)");
}

#[test]
fn conflicts_are_found_in_the_last_bytes_handed_on() {
    let long = "x".repeat(RECENT + 100);
    let mut other = long.clone();
    other.replace_range(..1, "y");
    assert_eq!(read(0, &[(0, &long), (0, &other)]).1, 0, "too old to compare");
    other.replace_range(RECENT + 99.., "y");
    assert_eq!(read(0, &[(0, &long), (0, &other)]).1, 1);
    let pieces = [(0, "abcd"), (4, "efgh"), (8, "ijkl"), (2, "cdefXhij")];
    assert_eq!(read(0, &pieces).1, 1);
}

#[test]
fn a_hole_is_given_up_when_more_is_held_than_allowed() {
    let mut r = Reading::default();
    r.segment(Some(0), 0, 1, b"a");
    for n in 0..=MAX_HELD_SEGMENTS as u32 {
        assert_eq!(r.text, "a", "{n}");
        r.segment(Some(0), 2 + 2 * n, 1, b"z");
    }
    assert_eq!((r.text.as_str(), r.overruns), ("a(1)z", 1));
    let mut r = Reading::default();
    let large = vec![b'z'; MAX_HELD / 2];
    r.segment(Some(0), 1, MAX_HELD as u32 / 2, &large);
    r.segment(Some(0), 1 + MAX_HELD as u32, MAX_HELD as u32 / 2, &large);
    assert_eq!(r.text, "");
    r.segment(Some(0), 2 + 2 * MAX_HELD as u32, 1, b"z");
    assert_eq!((r.text.len(), r.overruns), ("(1)".len() + MAX_HELD / 2, 1));
}

#[test]
fn passing_over_tells_what_is_new() {
    let mut s = Stream::default();
    assert!(s.pass(Some(10), 10, 5));
    assert!(!s.pass(Some(10), 10, 5), "repeated");
    assert!(s.pass(Some(10), 12, 6), "in part");
    assert!(!s.pass(Some(10), 18, 0));
}

/// Cuts 0..len at random, repeats some parts, and shuffles within a distance.
fn cuts() -> impl Strategy<Value = (Vec<u8>, Vec<(usize, usize)>)> {
    proptest::collection::vec(any::<u8>(), 1..600).prop_flat_map(|bytes| {
        let n = bytes.len();
        let part = (0..n, 1..40_usize).prop_map(move |(from, len)| (from, (from + len).min(n)));
        let whole = proptest::collection::vec(1..40_usize, 600).prop_map(move |lens| {
            let mut at = 0;
            let mut parts = Vec::new();
            for len in lens {
                if at < n {
                    parts.push((at, (at + len).min(n)));
                    at += len;
                }
            }
            parts
        });
        let parts =
            (whole, proptest::collection::vec(part, 0..8), proptest::collection::vec(0..24_usize, 700));
        let parts = parts.prop_map(|(mut whole, more, moves)| {
            for (i, m) in more.iter().enumerate() {
                whole.insert((i * 7 + 3) % (whole.len() + 1), *m);
            }
            // Each goes back by less than the segments that may be held.
            let mut keyed: Vec<_> =
                whole.into_iter().enumerate().map(|(i, p)| (i + moves[i % 700], i, p)).collect();
            keyed.sort_unstable();
            keyed.into_iter().map(|(_, _, p)| p).collect::<Vec<_>>()
        });
        (Just(bytes), parts)
    })
}

proptest! {
    #[test]
    fn any_cutting_and_order_reads_the_same((bytes, parts) in cuts(), base in any::<u32>()) {
        let mut stream = Stream::default();
        let mut got = Vec::new();
        let mut there = vec![false; bytes.len()];
        let mut gaps = 0;
        for (from, to) in parts {
            let part = &bytes[from..to];
            let seq = base.wrapping_add(from as u32);
            let mut sink = |p: Piece<'_>| match p {
                Piece::Bytes(b) => got.extend_from_slice(b),
                Piece::Missing(_) => gaps += 1,
            };
            let taken = stream.take(Some(base), seq, part.len() as u32, part, &mut sink);
            prop_assert_eq!(taken, Taken::default());
            there[from..to].fill(true);
            let acked = there.iter().position(|t| !t).unwrap_or(bytes.len());
            stream.acknowledge(base.wrapping_add(acked as u32), &mut sink);
        }
        prop_assert_eq!(gaps, 0);
        prop_assert_eq!(&got, &bytes);
        prop_assert!(stream.buffered() <= RECENT + 64);
    }

    #[test]
    fn anything_at_all_stays_within_bounds(
        segments in proptest::collection::vec((any::<u32>(), 0..70_000_u32, 0..2_000_usize, any::<bool>()), 0..200),
    ) {
        let bytes = vec![7; 2_000];
        let mut stream = Stream::default();
        let mut near = 0_u32;
        for (seq, stated, captured, far) in segments {
            let seq = if far { seq } else { near.wrapping_add(seq % 100_000) };
            stream.take(None, seq, stated, &bytes[..captured], &mut |_| {});
            stream.acknowledge(seq.wrapping_sub(50_000), &mut |_| {});
            near = if far { near } else { seq };
            prop_assert!(stream.buffered() <= MAX_HELD + 2_000 + RECENT + (MAX_HELD_SEGMENTS + 1) * 2 * 64);
        }
        stream.finish(&mut |_| {});
        prop_assert!(stream.buffered() <= RECENT);
    }
}
