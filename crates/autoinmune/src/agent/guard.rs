//! The automatic part of the allowlist: whom this host must never cut off.

use respond::Allowed;

/// Own addresses, gateways, DNS servers and live SSH peers, each with its reason. What cannot be read is logged and
/// left out for now; loopback is protected by the responder itself.
pub fn automatic(interfaces: &[String]) -> Vec<Allowed> {
    kernel::host::allowlist(interfaces)
}
