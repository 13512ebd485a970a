//! Flows as rows: which flow it is, where its ends are, its features, and what it is known to be.

use crate::cell::{Cell, Kind, Row};
use crate::schema::{Column, Schema};
use flow::feature::{self, Feature, Set, Subject, Value};
use flow::{EndReason, FlowRecord, Label, Recent};
use wire::packet::protocol;

/// Which flow it is.
const IDENTITY: [(&str, Kind); 10] = [
    ("ts", Kind::Time),
    ("community_id", Kind::Text),
    ("src_ip", Kind::Text),
    ("src_port", Kind::Integer),
    ("dst_ip", Kind::Text),
    ("dst_port", Kind::Integer),
    ("protocol", Kind::Integer),
    ("vlan", Kind::Integer),
    ("tunnel", Kind::Integer),
    ("end_reason", Kind::Text),
];

/// Where its ends are.
const PLACES: [(&str, Kind); 4] = [
    ("src_country", Kind::Text),
    ("src_asn", Kind::Integer),
    ("dst_country", Kind::Text),
    ("dst_asn", Kind::Integer),
];

/// What it is known to be.
const TRUTH: [(&str, Kind); 4] =
    [("class", Kind::Text), ("technique", Kind::Text), ("scenario", Kind::Text), ("label", Kind::Integer)];

/// Where an address is; absent where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Country, ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Number of the autonomous system.
    pub asn: Option<u32>,
}

/// Rows out of records, in the order of their end.
pub struct FlowColumns {
    features: Vec<&'static Feature>,
    whole: bool,
    recent: Recent,
}

impl FlowColumns {
    /// Identity and features alone.
    #[must_use]
    pub fn new(sets: &[Set]) -> Self {
        Self {
            features: sets.iter().flat_map(|s| s.features()).collect(),
            whole: false,
            recent: Recent::default(),
        }
    }

    /// All there is to say, for a dataset.
    #[must_use]
    pub fn with_places_and_labels(sets: &[Set]) -> Self {
        Self { whole: true, ..Self::new(sets) }
    }

    /// Names and types of the columns.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        let features = self.features.iter().map(|f| {
            let kind = match f.kind {
                feature::Kind::Text => Kind::Text,
                feature::Kind::Integer => Kind::Integer,
                feature::Kind::Real => Kind::Real,
            };
            (f.name, kind)
        });
        let whole = |columns: [(&'static str, Kind); 4]| columns.into_iter().filter(|_| self.whole);
        IDENTITY.into_iter().chain(whole(PLACES)).chain(features).chain(whole(TRUTH))
    }

    /// The columns as a schema.
    #[must_use]
    pub fn schema(&self) -> Schema {
        let columns = self.columns().map(|(name, kind)| Column { name: name.to_owned(), kind }).collect();
        // Names are unique, which a test sees to.
        Schema::new(columns).unwrap_or_default()
    }

    /// The row of the flow that ended now, with the places of its source and target and what it is known to be.
    pub fn row(
        &mut self,
        record: &FlowRecord,
        reason: EndReason,
        places: [&Place; 2],
        label: Option<&Label>,
        row: &mut Row,
    ) {
        let ((src, src_port), (dst, dst_port)) = (record.initiator(), record.responder());
        let key = &record.key;
        let has_ports =
            matches!(key.protocol, protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6);
        let integer = |present: bool, n: u32| present.then(|| Cell::Integer(n.into()));
        row.clear();
        row.extend([
            Some(Cell::Time(record.first_ns())),
            Some(Cell::Text(record.community_id(0))),
            Some(Cell::Text(src.to_string())),
            integer(has_ports, src_port.into()),
            Some(Cell::Text(dst.to_string())),
            integer(has_ports, dst_port.into()),
            integer(true, key.protocol.into()),
            integer(key.vlan != 0, key.vlan.into()),
            integer(key.tunnel != 0, key.tunnel),
            Some(Cell::Word(reason_name(reason))),
        ]);
        if self.whole {
            for place in places {
                row.push(place.country.clone().map(Cell::Text));
                row.push(place.asn.map(|n| Cell::Integer(n.into())));
            }
        }
        let subject = Subject { record, shared: self.recent.push(record) };
        row.extend(self.features.iter().map(|f| {
            f.of(&subject).map(|v| match v {
                Value::Text(t) => Cell::Word(t),
                // Counts beyond 2^63 do not happen.
                Value::Integer(n) => Cell::Integer(i64::try_from(n).unwrap_or(i64::MAX)),
                Value::Real(x) => Cell::Real(x),
            })
        }));
        if self.whole {
            let word = |t: &str| (!t.is_empty()).then(|| Cell::Text(t.to_owned()));
            row.extend([
                label.and_then(|l| word(&l.class)),
                label.and_then(|l| word(&l.technique)),
                label.and_then(|l| word(&l.scenario)),
                label.map(|l| Cell::Integer((!l.is_benign()).into())),
            ]);
        }
    }
}

const fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Idle => "idle",
        EndReason::Active => "active",
        EndReason::Reused => "reused",
        EndReason::Evicted => "evicted",
        EndReason::Shutdown => "shutdown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Some readers of tables do not tell case apart.
    #[test]
    fn names_of_columns_are_unique_whatever_their_case() {
        let table = FlowColumns::with_places_and_labels(&Set::ALL);
        let names: BTreeSet<String> = table.columns().map(|(name, _)| name.to_lowercase()).collect();
        assert_eq!(names.len(), table.columns().count());
        assert_eq!(table.schema().columns().len(), names.len());
    }
}
