//! What holds for any bytes whatever: shared by the mutation run of `cargo test` and the targets in `fuzz/`.

use std::io::Read;
use wire::capture::{Block, CaptureError, MAX_FRAME, Reader};
use wire::packet::protocol;
use wire::{Fragment, LinkType, Skip, Steering, parse};

/// Any frame under every link type: an error, or a packet whose values agree with each other.
pub(crate) fn packet(frame: &[u8], frame_len: u32) {
    for link in LinkType::ALL {
        let Ok(p) = parse(link, frame, frame_len) else { continue };
        let captured = frame.len() as u32;
        assert_eq!(p.frame_len, frame_len.max(captured));
        assert!(p.payload.len() <= frame.len() && p.payload.len() as u64 <= u64::from(p.payload_len));
        assert!(p.payload_len <= p.ip_len && p.ip_len >= 20);
        let end = frame.as_ptr_range().end as usize;
        assert!(p.payload.is_empty() || p.payload.as_ptr_range().end as usize <= end);
        if p.fragment == Fragment::Later {
            assert_eq!((p.src_port, p.dst_port, p.tcp_flags, p.icmp_type), (0, 0, 0, 0));
        }
        if p.protocol != protocol::TCP {
            assert_eq!((p.tcp_flags, p.tcp_seq, p.tcp_ack, p.tcp_window), (0, 0, 0, 0));
        }
        if !matches!(p.protocol, protocol::ICMP | protocol::ICMPV6) {
            assert_eq!((p.icmp_type, p.icmp_code), (0, 0));
        }
        let steering = Steering::new(1, 64);
        let worker = steering.route(link, frame, frame_len).worker;
        assert_eq!(worker, steering.pair(&p.src, &p.dst), "steered elsewhere than its addresses");
        assert!(p.vlan < 4096 && (link != LinkType::RawIp || p.vlan == 0));
        // Fewer captured bytes change nothing but the payload, or end in a truncation.
        let shorter = &frame[..frame.len() - frame.len().min(1)];
        match parse(link, shorter, p.frame_len) {
            // What a tunnel holds may be lost, but not that it was one.
            Ok(cut) if cut.tunnel != p.tunnel => assert!(cut.opaque_tunnel),
            Ok(cut) => {
                assert!(cut.opaque_tunnel || !p.opaque_tunnel);
                let cut = wire::Packet { payload: p.payload, opaque_tunnel: p.opaque_tunnel, ..cut };
                assert_eq!(cut, p);
            }
            Err(skip) => {
                let truncated = [Skip::LinkTruncated, Skip::IpTruncated, Skip::TransportTruncated];
                assert!(truncated.contains(&skip), "{skip:?}");
            }
        }
    }
}

/// How reading ended, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    NotACapture,
    Clean,
    Truncated(u64),
    Corrupt(u64),
}

impl From<CaptureError> for End {
    fn from(e: CaptureError) -> Self {
        match e {
            CaptureError::NotACapture { .. } => Self::NotACapture,
            CaptureError::Truncated { offset } => Self::Truncated(offset),
            CaptureError::Corrupt { offset, .. } => Self::Corrupt(offset),
            CaptureError::Io { offset, source } => panic!("{source} at {offset}"),
        }
    }
}

/// A source that gives a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 37 + 1;
        let step = self.1.min(buffer.len());
        self.0.read(&mut buffer[..step])
    }
}

/// A frame on its own.
pub(crate) type Owned = (u64, u32, Vec<u8>, u32, u64);

/// All that can be read of a file: time, link type, bytes, original length and offset of each frame.
pub(crate) fn frames(source: impl Read, size: usize) -> (Vec<Owned>, End) {
    let mut frames = Vec::new();
    let mut reader = match Reader::new(source) {
        Ok(reader) => reader,
        Err(e) => return (frames, e.into()),
    };
    let mut last = 0;
    let end = loop {
        match reader.next() {
            Ok(Some(f)) => {
                assert!(f.data.len() <= MAX_FRAME && f.offset > last && f.offset < size as u64);
                assert_eq!(f.link, LinkType::from_dlt(f.dlt));
                last = f.offset;
                frames.push((f.ts_ns, f.dlt, f.data.to_vec(), f.orig_len, f.offset));
            }
            Ok(None) => break End::Clean,
            Err(e) => break e.into(),
        }
    };
    match end {
        End::Clean => assert_eq!(reader.offset(), size as u64),
        End::Truncated(offset) | End::Corrupt(offset) => assert!(offset >= last && offset < size as u64),
        End::NotACapture => panic!("found out late"),
    }
    assert!(matches!(reader.next(), Ok(None)), "a reader that has ended stays so");
    (frames, end)
}

/// As [`frames`], by blocks.
fn by_blocks(source: impl Read, buffer: usize) -> (Vec<Owned>, End) {
    let mut frames = Vec::new();
    let mut reader = match Reader::with_buffer(source, buffer) {
        Ok(reader) => reader,
        Err(e) => return (frames, e.into()),
    };
    let mut block = Block::default();
    loop {
        let read = reader.block(&mut block);
        frames.extend(block.iter().map(|f| (f.ts_ns, f.dlt, f.data.to_vec(), f.orig_len, f.offset)));
        match read {
            Ok(()) if block.is_empty() => return (frames, End::Clean),
            Ok(()) => {}
            Err(e) => return (frames, e.into()),
        }
    }
}

/// Any file: the same frames and the same end however its bytes arrive and are asked for.
pub(crate) fn capture(file: &[u8]) -> usize {
    let whole = frames(file, file.len());
    assert!(whole == frames(Dribble(file, 0), file.len()), "it matters how the bytes arrive");
    for buffer in [0, 1 << 20] {
        assert!(whole == by_blocks(file, buffer), "blocks differ from frames");
    }
    assert!(whole == by_blocks(Dribble(file, 0), 0), "blocks differ from frames");
    for (_, dlt, data, orig_len, _) in &whole.0 {
        if let Some(link) = LinkType::from_dlt(*dlt) {
            _ = parse(link, data, *orig_len);
        }
    }
    whole.0.len()
}
