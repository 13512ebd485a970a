//! The quantities of one flow that flow-count rules may bound.

use crate::names;
use flow::{Accumulator, FlowRecord};
use serde::{Deserialize, Serialize};

macro_rules! fields {
    ($($variant:ident $name:literal $unit:literal $meaning:literal $value:expr;)*) => {
        /// A quantity of one flow, complete when the flow has closed or left the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Field {
            $(#[doc = $meaning] $variant,)*
        }

        impl Field {
            /// Every field, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in rule files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The unit.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }

            /// What it means, one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// The value for `record`; `None` where it cannot be computed.
            #[must_use]
            pub fn of(self, record: &FlowRecord) -> Option<f64> {
                match self {
                    $(Self::$variant => {
                        let value: fn(&FlowRecord) -> Option<f64> = $value;
                        value(record)
                    })*
                }
            }
        }
    };
}

fields! {
    InitiatorPayloadBytes "initiator_payload_bytes" "bytes"
        "Transport payload sent by the side that opened the connection."
        |r| Some(r.stats.from_initiator().payload_bytes as f64);
    ResponderPayloadBytes "responder_payload_bytes" "bytes"
        "Transport payload sent by the side that was contacted."
        |r| Some(r.stats.from_responder().payload_bytes as f64);
    InitiatorDataPackets "initiator_data_packets" "packets"
        "Packets with payload from the side that opened the connection."
        |r| Some(f64::from(r.stats.from_initiator().data_packets));
    ResponderDataPackets "responder_data_packets" "packets"
        "Packets with payload from the side that was contacted."
        |r| Some(f64::from(r.stats.from_responder().data_packets));
    ResponderMinorBytes "responder_minor_bytes" "bytes"
        "Payload of the contacted side outside its two largest packets, estimated from sum, sum of squares and maximum of payload lengths; absent below four packets with payload."
        |r| minor_bytes(r.stats.from_responder());
    DurationSeconds "duration_seconds" "s"
        "Time from the first packet to the last, both directions."
        |r| Some(r.last_ns().saturating_sub(r.first_ns()) as f64 / 1e9);
    ResponderLongestGapSeconds "responder_longest_gap_seconds" "s"
        "Longest silence between two packets of the contacted side; absent below two packets."
        |r| (r.stats.from_responder().packets >= 2).then(|| f64::from(r.stats.from_responder().gap_max_us) / 1e6);
    ResponderPauses "responder_pauses" "pauses"
        "How many silences as long as the longest the contacted side's pauses amount to (sum of squared gaps over the longest, squared): 1 for one wait, about k for k alike; absent below two packets."
        |r| pauses(r.stats.from_responder());
}

fn pauses(a: &Accumulator) -> Option<f64> {
    let longest = f64::from(a.gap_max_us);
    (a.packets >= 2 && longest > 0.0).then(|| a.gap_squares as f64 / (longest * longest))
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Field> for &'static str {
    fn from(field: Field) -> Self {
        field.name()
    }
}

impl std::str::FromStr for Field {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().map(|f| f.name());
        Self::ALL
            .iter()
            .copied()
            .find(|f| f.name() == name)
            .ok_or_else(|| names::unknown("flow field", name, known))
    }
}

impl TryFrom<String> for Field {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

/// Payload outside the two largest packets.
///
/// The accumulator has the number d of packets with payload, the sum of their payloads, the sum of their squares and the
/// largest. Taking away the largest leaves d − 1 payloads with sum S and sum of squares Q. If one of them, b, is large and the others are alike, then
/// b² + (S − b)² / (d − 2) = Q, a quadratic in b; what remains, S − b, is the result. Exact where the others are equal;
/// unequal others make b too large by a little, so the result errs downwards.
fn minor_bytes(a: &Accumulator) -> Option<f64> {
    if a.data_packets < 4 {
        return None;
    }
    let (data, payload) = (f64::from(a.data_packets), a.payload_bytes as f64);
    let largest = f64::from(a.payload_max);
    let rest = payload - largest;
    let rest_squares = a.payload_squares as f64 - largest * largest;
    let others = data - 2.0;
    // (others + 1)·b² − 2·rest·b + rest² − others·rest_squares = 0, the larger root.
    let discriminant = rest * rest - (others + 1.0) * (rest * rest - others * rest_squares);
    let second = (rest + discriminant.max(0.0).sqrt()) / (others + 1.0);
    Some((rest - second).clamp(0.0, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accumulates packets with these payloads and as many bare acknowledgements.
    fn sent(payloads: &[u64]) -> Accumulator {
        let mut a = Accumulator::default();
        for &p in payloads.iter().chain(&vec![0; payloads.len()]) {
            a.packets += 1;
            a.payload_bytes += p;
            a.payload_squares += p * p;
            a.payload_max = a.payload_max.max(u16::try_from(p).unwrap_or(u16::MAX));
            a.data_packets += u32::from(p > 0);
        }
        a
    }

    #[test]
    fn minor_bytes_are_what_the_two_largest_leave() {
        for (payloads, low, high) in [
            // One failed SSH guess; then six.
            (&[43, 1120, 572, 52, 52][..], 140.0, 150.0),
            (&[41, 1136, 524, 44, 52, 52, 52, 52, 52, 52, 76], 450.0, 475.0),
            // Successful sessions: three host keys announced, one host key announced.
            (&[41, 1136, 1564, 44, 52, 28, 628, 44, 72, 36, 88], 800.0, 1034.0),
            (&[41, 816, 524, 44, 52, 28, 116, 44, 72, 124], 480.0, 522.0),
        ] {
            let found = minor_bytes(&sent(payloads)).unwrap_or(f64::NAN);
            assert!((low..=high).contains(&found), "{payloads:?}: {found}");
        }
        assert_eq!(minor_bytes(&sent(&[43, 1120, 572])), None);
        assert_eq!(minor_bytes(&Accumulator::default()), None);
    }

    #[test]
    fn names_are_read_back() {
        for field in Field::ALL {
            assert_eq!(field.name().parse::<Field>().as_ref(), Ok(field));
        }
        assert!("duration_second".parse::<Field>().unwrap_err().contains("did you mean `duration_seconds`"));
    }
}
