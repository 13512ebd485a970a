//! What a capture itself holds of each conversation, read without the tracker: why a protocol could not be recognised.

use super::replayed::{Conversation, protocol_name};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use wire::capture::Reader;
use wire::packet::tcp_flag;

/// What the packets of one conversation are like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence {
    /// Whether a connection request or its answer is there.
    handshake: bool,
    /// Payload bytes on the wire, from the lower endpoint and from the higher.
    payload: [u64; 2],
    /// Whether the capture cut a packet with payload short.
    cut: bool,
    /// Whether a packet is a fragment.
    fragments: bool,
}

impl Evidence {
    /// The first cause that applies, in the order in which one makes the next irrelevant.
    pub(crate) fn cause(&self, tcp: bool) -> &'static str {
        let [a, b] = self.payload;
        if a + b == 0 {
            "no payload in the capture"
        } else if self.cut {
            "payload cut by the capture's snap length"
        } else if self.fragments {
            "in fragments"
        } else if tcp && !self.handshake {
            "midstream: the capture lacks the handshake"
        } else if a == 0 || b == 0 {
            "one side only sends payload"
        } else {
            "both sides send payload; not recognised"
        }
    }
}

/// Every conversation of a capture that `wire` parses.
///
/// # Errors
/// The file cannot be opened as a capture. A file that ends early gives what comes before.
pub(crate) fn of(path: &Path) -> anyhow::Result<BTreeMap<Conversation, Evidence>> {
    let mut found: BTreeMap<Conversation, Evidence> = BTreeMap::new();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = Reader::new(file).with_context(|| format!("cannot read {}", path.display()))?;
    while let Ok(Some(frame)) = reader.next() {
        let Some(link) = frame.link else { continue };
        let Ok(packet) = wire::parse(link, frame.data, frame.orig_len) else { continue };
        let name = protocol_name(packet.protocol);
        let (src, dst) = ((packet.src.ip(), packet.src_port), (packet.dst.ip(), packet.dst_port));
        let conversation = Conversation::new(&name, src, dst);
        let from_higher = conversation.a != src;
        let evidence = found.entry(conversation).or_default();
        evidence.handshake |= packet.tcp_flags & tcp_flag::SYN != 0;
        evidence.payload[usize::from(from_higher)] += u64::from(packet.payload_len);
        evidence.cut |= (packet.payload.len() as u64) < u64::from(packet.payload_len);
        evidence.fragments |= packet.fragment != wire::packet::Fragment::None;
    }
    Ok(found)
}
