//! Community ID v1 (github.com/corelight/community-id-spec): one name for a flow across tools.

use crate::FlowKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use std::fmt::Write as _;
use wire::Addr;
use wire::packet::protocol;

/// SCTP, RFC 9260.
const SCTP: u8 = 132;

/// The Community ID of a flow: `1:` and the base64 of a SHA-1 over seed, addresses, protocol and ports.
///
/// Endpoints are ordered as the specification wants, which is the order of [`FlowKey`] except for ICMP types without a
/// counterpart, whose type and code belong to the packet rather than to either side: there the lower address comes
/// first with its own port, which `FlowKey` keeps too, so that both directions still agree only for two-way types.
#[must_use]
pub fn community_id(key: &FlowKey, seed: u16) -> String {
    format!("1:{}", STANDARD.encode(digest(key, seed)))
}

/// The same with the digest in hexadecimal instead of base64.
#[must_use]
pub fn community_id_hex(key: &FlowKey, seed: u16) -> String {
    digest(key, seed).iter().fold(String::from("1:"), |mut s, b| {
        // Writing to a String does not fail.
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn digest(key: &FlowKey, seed: u16) -> [u8; 20] {
    let mut h = Sha1::new();
    h.update(seed.to_be_bytes());
    update_addr(&mut h, &key.lo);
    update_addr(&mut h, &key.hi);
    h.update([key.protocol, 0]);
    if matches!(key.protocol, protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6 | SCTP) {
        h.update(key.lo_port.to_be_bytes());
        h.update(key.hi_port.to_be_bytes());
    }
    h.finalize().into()
}

fn update_addr(h: &mut Sha1, addr: &Addr) {
    if addr.is_v4() { h.update(&addr.0[12..]) } else { h.update(addr.0) }
}
