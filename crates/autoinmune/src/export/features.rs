//! The columns of the feature table: which flow it is, then its features.

use flow::feature::{Feature, Kind, Set, Subject, Value};
use flow::{EndReason, FlowRecord, Recent};
use wire::packet::protocol;

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Time,
    Text,
    Integer,
    Real,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// Nanoseconds since 1970.
    Time(u64),
    Text(String),
    Word(&'static str),
    Integer(u64),
    Real(f64),
}

const IDENTITY: [(&str, Type); 10] = [
    ("ts", Type::Time),
    ("community_id", Type::Text),
    ("src_ip", Type::Text),
    ("src_port", Type::Integer),
    ("dst_ip", Type::Text),
    ("dst_port", Type::Integer),
    ("protocol", Type::Integer),
    ("vlan", Type::Integer),
    ("tunnel", Type::Integer),
    ("end_reason", Type::Text),
];

/// Rows out of records, in the order of their end.
pub(super) struct Features {
    features: Vec<&'static Feature>,
    recent: Recent,
}

impl Features {
    pub(super) fn new(sets: &[Set]) -> Self {
        Self { features: sets.iter().flat_map(|s| s.features()).collect(), recent: Recent::default() }
    }

    /// Names and types of the columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, Type)> {
        IDENTITY.into_iter().chain(self.features.iter().map(|f| {
            let kind = match f.kind {
                Kind::Text => Type::Text,
                Kind::Integer => Type::Integer,
                Kind::Real => Type::Real,
            };
            (f.name, kind)
        }))
    }

    /// The row of the flow that ended now; absent values are `None`.
    pub(super) fn row(&mut self, record: &FlowRecord, reason: EndReason, row: &mut Vec<Option<Cell>>) {
        let ((src, src_port), (dst, dst_port)) = (record.initiator(), record.responder());
        let key = &record.key;
        let has_ports =
            matches!(key.protocol, protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6);
        let integer = |present: bool, n: u64| present.then_some(Cell::Integer(n));
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
            integer(key.tunnel != 0, key.tunnel.into()),
            Some(Cell::Word(reason_name(reason))),
        ]);
        let subject = Subject { record, shared: self.recent.push(record) };
        row.extend(self.features.iter().map(|f| {
            f.of(&subject).map(|v| match v {
                Value::Text(t) => Cell::Word(t),
                Value::Integer(n) => Cell::Integer(n),
                Value::Real(x) => Cell::Real(x),
            })
        }));
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
        let table = Features::new(&Set::ALL);
        let names: BTreeSet<String> = table.columns().map(|(name, _)| name.to_lowercase()).collect();
        assert_eq!(names.len(), table.columns().count());
    }
}
