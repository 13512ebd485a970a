//! Community ID v1 (github.com/corelight/community-id-spec): one name for a flow across tools.

use crate::{Direction, FlowKey, FlowRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use std::fmt::Write as _;
use wire::packet::protocol;
use wire::{Addr, icmp_counterpart};

/// SCTP, RFC 9260.
const SCTP: u8 = 132;

/// The Community ID of a key: `1:` and the base64 of a SHA-1 over seed, addresses, protocol and ports.
///
/// Endpoints are ordered, so that both directions agree; the order of [`FlowKey`] is the specification's. ICMP types
/// without a counterpart are the exception: there the sender comes first, which a key does not tell, so the lower
/// endpoint is taken for it. [`community_id_from`] knows better.
#[must_use]
pub fn community_id(key: &FlowKey, seed: u16) -> String {
    base64(&digest(key, Direction::LoToHi, seed))
}

/// As [`community_id`], where it is known who began the flow.
#[must_use]
pub fn community_id_from(key: &FlowKey, initiator: Direction, seed: u16) -> String {
    base64(&digest(key, first_endpoint(key, initiator), seed))
}

impl FlowRecord {
    /// The flow's Community ID, in base64.
    #[must_use]
    pub fn community_id(&self, seed: u16) -> String {
        community_id_from(&self.key, self.stats.initiator, seed)
    }

    /// The flow's Community ID with the digest in hexadecimal.
    #[must_use]
    pub fn community_id_hex(&self, seed: u16) -> String {
        let first = first_endpoint(&self.key, self.stats.initiator);
        digest(&self.key, first, seed).iter().fold(String::from("1:"), |mut s, b| {
            // Writing to a String does not fail.
            let _ = write!(s, "{b:02x}");
            s
        })
    }
}

/// Direction from the endpoint that is hashed first.
fn first_endpoint(key: &FlowKey, initiator: Direction) -> Direction {
    let one_way = match key.protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            // Of a one-way type the ports are type and code, the type at the sender.
            let kind = u8::try_from(key.source(initiator).1).ok();
            kind.is_none_or(|kind| icmp_counterpart(key.protocol, kind).is_none())
        }
        _ => false,
    };
    if one_way { initiator } else { Direction::LoToHi }
}

fn base64(digest: &[u8; 20]) -> String {
    format!("1:{}", STANDARD.encode(digest))
}

fn digest(key: &FlowKey, first: Direction, seed: u16) -> [u8; 20] {
    let ((a, a_port), (b, b_port)) = (key.source(first), key.source(first.reverse()));
    let mut h = Sha1::new();
    h.update(seed.to_be_bytes());
    update_addr(&mut h, &a);
    update_addr(&mut h, &b);
    h.update([key.protocol, 0]);
    if matches!(key.protocol, protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6 | SCTP) {
        h.update(a_port.to_be_bytes());
        h.update(b_port.to_be_bytes());
    }
    h.finalize().into()
}

fn update_addr(h: &mut Sha1, addr: &Addr) {
    if addr.is_v4() { h.update(&addr.0[12..]) } else { h.update(addr.0) }
}
