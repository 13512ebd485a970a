//! `drop` events of the kernel's limits.

use super::{Context, Event};
use kernel::Excess;
use serde_json::json;

/// A `drop` event: packets dropped over a limit; none where they only would have been.
///
/// The source of a flood stands in `src_ip`; a service under one from many sources in `dest_ip` and `dest_port`.
pub fn limited(context: &Context, excess: &Excess) -> Option<String> {
    if !excess.enforced {
        return None;
    }
    let name = excess.limit.map_or("source", kernel::abi::Limit::name);
    let mut event = Event::new(
        context,
        excess.last_ns,
        "drop",
        json!({
            "limit": name,
            "since_ns": excess.since_ns,
            "packets": excess.packets,
            "bytes": excess.bytes,
        }),
    );
    let addr = Some(excess.addr.ip());
    if excess.port == 0 {
        event.src_ip = addr;
    } else {
        event.dest_ip = addr;
        event.dest_port = Some(excess.port);
    }
    event.ip_v = Some(if excess.addr.is_v4() { 4 } else { 6 });
    event.drop = Some(json!({"reason": format!("limit {name}"), "verdict": {"action": "drop"}}));
    Some(event.line())
}
