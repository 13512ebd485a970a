//! Names of learned features in words.

use super::vector;

/// A feature's name in words that can stand after a number; the name itself where there are none.
#[must_use]
pub fn label(name: &'static str) -> &'static str {
    let window = vector::FEATURES.iter().find(|f| f.name == name).map(|f| f.label);
    window.or_else(|| FLOW.iter().find(|(n, _)| *n == name).map(|(_, label)| *label)).unwrap_or(name)
}

/// Of a flow: features of docs/features.md that a person can picture.
const FLOW: &[(&str, &str)] = &[
    ("dur", "s from first to last packet"),
    ("spkts", "packets sent"),
    ("dpkts", "packets received back"),
    ("sbytes", "bytes sent"),
    ("dbytes", "bytes received back"),
    ("rate", "packets per second"),
    ("sload", "bits per second sent"),
    ("dload", "bits per second received back"),
    ("sloss", "packets sent again or lost"),
    ("dloss", "packets received again or lost"),
    ("sinpkt", "ms between packets sent"),
    ("dinpkt", "ms between packets received"),
    ("sjit", "ms of variation between packets sent"),
    ("djit", "ms of variation between packets received"),
    ("swin", "bytes of receive window offered"),
    ("dwin", "bytes of receive window granted"),
    ("smean", "bytes in a packet sent"),
    ("dmean", "bytes in a packet received"),
    ("trans_depth", "HTTP requests in one connection"),
    ("response_body_len", "bytes of HTTP answers"),
    ("tcprtt", "s to set up the connection"),
    ("synack", "s until the connection was answered"),
    ("ackdat", "s until the answer was acknowledged"),
    ("Fwd Packet Length Max", "payload bytes in the largest packet sent"),
    ("Fwd Packet Length Min", "payload bytes in the smallest packet sent"),
    ("Fwd Packet Length Std", "bytes of variation among packets sent"),
    ("Bwd Packet Length Max", "payload bytes in the largest packet received"),
    ("Bwd Packet Length Min", "payload bytes in the smallest packet received"),
    ("Bwd Packet Length Std", "bytes of variation among packets received"),
    ("Flow IAT Max", "µs of the longest silence"),
    ("Fwd IAT Max", "µs of the longest silence of the sender"),
    ("Bwd IAT Max", "µs of the longest silence of the receiver"),
    ("SYN Flag Count", "packets with SYN"),
    ("RST Flag Count", "packets with RST"),
    ("FIN Flag Count", "packets with FIN"),
    ("PSH Flag Count", "packets with PSH"),
    ("Fwd Act Data Pkts", "packets sent with payload"),
    ("Down/Up Ratio", "packets received for each packet sent"),
];
