//! A window as numbers: one table, from which values, names and words come.
//!
//! All quantities are of one source within one window of 10 s. Counts and sizes have heavy tails: models see the natural
//! logarithm of one plus the value, people see the value.

use flow::Window;

/// What a vector is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The window.
    pub window: &'a Window,
    /// Distinct hosts that flows were begun to; `None` where nobody counted.
    pub hosts: Option<u32>,
    /// Distinct services (host and port) that flows were begun to; `None` where nobody counted.
    pub services: Option<u32>,
}

/// One quantity of a window.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Name, in models, events and documentation.
    pub name: &'static str,
    /// In words, to stand after a number.
    pub label: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// Whether models see its logarithm: of counts and sizes, not of ratios.
    pub log: bool,
    of: fn(&Facts<'_>) -> f64,
}

/// Values of a vector.
pub const WIDTH: usize = FEATURES.len();

/// A window as models see it, in the order of [`FEATURES`]. NaN is what is not known.
pub type Vector = [f32; WIDTH];

impl Feature {
    /// A value as people see it, from what models see.
    #[must_use]
    pub fn natural(&self, value: f32) -> f64 {
        let value = f64::from(value);
        if self.log { value.exp_m1().clamp(0.0, f64::INFINITY) } else { value }
    }

    fn value(&self, facts: &Facts<'_>) -> f32 {
        let value = (self.of)(facts);
        (if self.log { value.ln_1p() } else { value }) as f32
    }
}

/// The vector of a window.
#[must_use]
pub fn vector(facts: &Facts<'_>) -> Vector {
    std::array::from_fn(|i| FEATURES.get(i).map_or(f32::NAN, |f| f.value(facts)))
}

fn per(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { f64::NAN }
}

const fn count(
    name: &'static str,
    label: &'static str,
    formula: &'static str,
    of: fn(&Facts<'_>) -> f64,
) -> Feature {
    Feature { name, label, formula, log: true, of }
}

const fn ratio(
    name: &'static str,
    label: &'static str,
    formula: &'static str,
    of: fn(&Facts<'_>) -> f64,
) -> Feature {
    Feature { name, label, formula, log: false, of }
}

/// The table. A change of it makes models of the old one unreadable: they name their features.
pub const FEATURES: [Feature; 24] = [
    count("window_packets", "packets sent in 10 s", "packets from initiator to responder", |f| {
        f.window.packets.into()
    }),
    count(
        "window_reply_packets",
        "packets received back in 10 s",
        "packets from responder to initiator",
        |f| f.window.reply_packets.into(),
    ),
    count("window_bytes", "bytes sent in 10 s", "IP bytes from initiator to responder", |f| {
        f.window.bytes as f64
    }),
    count("window_reply_bytes", "bytes received back in 10 s", "IP bytes from responder to initiator", |f| {
        f.window.reply_bytes as f64
    }),
    count("window_flows", "flows begun in 10 s", "flows begun", |f| f.window.flows.into()),
    count("window_connections", "TCP connections begun in 10 s", "TCP flows begun with a SYN", |f| {
        f.window.syn_flows.into()
    }),
    count(
        "window_pending",
        "connections without an answer in 10 s",
        "connections begun, less those completed",
        |f| f.window.pending_handshakes().into(),
    ),
    count("window_failed_flows", "failed flows in 10 s", "flows refused, unanswered or aborted", |f| {
        f.window.failed_flows.into()
    }),
    count("window_refused_flows", "refused connections in 10 s", "flows refused", |f| {
        f.window.refused_flows.into()
    }),
    count("window_hosts", "hosts contacted in 10 s", "distinct responders of flows begun", |f| {
        f.hosts.map_or(f64::NAN, f64::from)
    }),
    count(
        "window_services",
        "services contacted in 10 s",
        "distinct responders and ports of flows begun",
        |f| f.services.map_or(f64::NAN, f64::from),
    ),
    count(
        "window_failed_hosts",
        "hosts that did not let it in, in 10 s",
        "distinct responders of failed flows",
        |f| f.window.failed_hosts().max(f.window.udp_failed_hosts()).into(),
    ),
    count(
        "window_failed_services",
        "services that did not let it in, in 10 s",
        "distinct responders and ports of failed flows",
        |f| f.window.failed_services().max(f.window.udp_failed_services()).into(),
    ),
    count("window_udp_packets", "UDP packets sent in 10 s", "UDP packets from initiator to responder", |f| {
        f.window.udp_packets.into()
    }),
    count(
        "window_icmp_packets",
        "ICMP packets sent in 10 s",
        "ICMP and ICMPv6 packets from initiator to responder",
        |f| f.window.icmp_packets.into(),
    ),
    count("window_echo_hosts", "hosts pinged in 10 s", "distinct peers of echo requests", |f| {
        f.window.echo_hosts().into()
    }),
    count("window_resets_back", "resets received in 10 s", "TCP packets with RST from responders", |f| {
        f.window.reply_resets.into()
    }),
    count(
        "window_stealth_flows",
        "flows begun by no proper packet in 10 s",
        "TCP flows whose first packet had none of SYN, RST and ACK",
        |f| f.window.stealth_flows.into(),
    ),
    ratio("window_failure_ratio", "of flows failed", "failed flows over flows begun", |f| {
        f.window.failure_ratio().min(4.0)
    }),
    ratio(
        "window_reply_ratio",
        "packets back for each packet sent",
        "packets back over packets sent, at most 8",
        |f| f.window.reply_ratio().min(8.0),
    ),
    ratio(
        "window_sent_share",
        "of all bytes sent rather than received",
        "bytes sent over bytes both ways",
        |f| {
            let w = f.window;
            per(w.bytes as f64, w.bytes as f64 + w.reply_bytes as f64)
        },
    ),
    count("window_packet_size", "bytes in a packet sent", "bytes sent over packets sent", |f| {
        per(f.window.bytes as f64, f.window.packets.into())
    }),
    count("window_reply_size", "bytes in a packet received", "bytes back over packets back", |f| {
        per(f.window.reply_bytes as f64, f.window.reply_packets.into())
    }),
    count("window_flow_packets", "packets sent for each flow begun", "packets sent over flows begun", |f| {
        per(f.window.packets.into(), f.window.flows.into())
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use flow::SourceCounts;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_described() {
        let names: BTreeSet<_> = FEATURES.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), WIDTH);
        assert!(FEATURES.iter().all(|f| !f.label.is_empty() && !f.formula.is_empty()));
    }

    #[test]
    fn people_see_what_was_counted() {
        let window = Window::from_source(&SourceCounts {
            packets: 412,
            bytes: 41_200,
            flows: 4,
            ..SourceCounts::default()
        });
        let v = vector(&Facts { window: &window, hosts: Some(3), services: None });
        let natural = |name: &str| {
            let at = FEATURES.iter().position(|f| f.name == name).expect(name);
            FEATURES[at].natural(v[at])
        };
        for (name, expected) in [
            ("window_packets", 412.0),
            ("window_hosts", 3.0),
            ("window_packet_size", 100.0),
            ("window_flow_packets", 103.0),
            ("window_sent_share", 1.0),
        ] {
            assert!((natural(name) - expected).abs() < 1e-2, "{name}: {}", natural(name));
        }
        assert!(natural("window_reply_size").is_nan() && v[10].is_nan());
    }
}
