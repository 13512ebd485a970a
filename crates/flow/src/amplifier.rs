//! Services known to answer more than they are asked, so that forged questions turn them against others.

use crate::{FlowKey, FlowStats};
use wire::packet::protocol;

/// The services of CISA alert TA14-017A and of later reports, by UDP port.
const AMPLIFIERS: [(u16, &str); 25] = [
    (17, "qotd"),
    (19, "chargen"),
    (53, "dns"),
    (69, "tftp"),
    (111, "portmap"),
    (123, "ntp"),
    (137, "netbios"),
    (161, "snmp"),
    (177, "xdmcp"),
    (389, "cldap"),
    (427, "slp"),
    (520, "rip"),
    (623, "ipmi"),
    (1434, "mssql"),
    (1604, "citrix"),
    (1900, "ssdp"),
    (3283, "ard"),
    (3389, "rdp over udp"),
    (3702, "ws-discovery"),
    (5093, "sentinel"),
    (5351, "nat-pmp"),
    (5353, "mdns"),
    (5683, "coap"),
    (11211, "memcached"),
    (37810, "dhdiscover"),
];

/// Ports below are of services (RFC 6335 §6), so that nobody is answered there.
const SYSTEM_PORTS: u16 = 1024;
/// Mean payload of what is taken for answers, bytes. Probes of scanners that set their own port to one of these services are
/// empty or shorter.
const ANSWER_BYTES: u64 = 100;

/// The name of the service on a UDP port, if it is known to amplify.
#[must_use]
pub fn service(port: u16) -> Option<&'static str> {
    AMPLIFIERS.iter().find(|(p, _)| *p == port).map(|(_, name)| *name)
}

/// Whether a flow looks like answers of such a service whose question was not seen: it goes from the service's port to one
/// that clients use, and carries something. It is no attempt to reach the port, so it can't fail.
pub(crate) fn is_answer(key: &FlowKey, stats: &FlowStats) -> bool {
    let (from, to) = (key.source(stats.initiator).1, key.source(stats.initiator.reverse()).1);
    let sent = stats.from_initiator();
    key.protocol == protocol::UDP
        && to >= SYSTEM_PORTS
        && sent.payload_bytes >= ANSWER_BYTES.saturating_mul(sent.packets)
        && service(from).is_some()
        && service(to).is_none()
}
