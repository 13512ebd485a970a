//! A flow as numbers: features of [`flow::feature`] by name, as a classifier of flows takes them.

use flow::feature::{self, Feature, Set, Subject, Value};
use learn::matrix::Kind;

/// Features by which the shipped classifier judges, out of docs/features.md. Left out is what tells networks apart rather
/// than what is done in them: TTLs, sequence numbers, receive windows, round-trip times, and counts over the latest flows
/// of everybody (`ct_…`), which depend on how busy a network is.
pub const SHIPPED: [&str; 40] = [
    "dur",
    "proto",
    "service",
    "state",
    "spkts",
    "dpkts",
    "sbytes",
    "dbytes",
    "rate",
    "sload",
    "dload",
    "sloss",
    "dloss",
    "sinpkt",
    "dinpkt",
    "sjit",
    "djit",
    "smean",
    "dmean",
    "trans_depth",
    "response_body_len",
    "ct_ftp_cmd",
    "ct_flw_http_mthd",
    "Fwd Packet Length Max",
    "Fwd Packet Length Min",
    "Fwd Packet Length Std",
    "Bwd Packet Length Max",
    "Bwd Packet Length Min",
    "Bwd Packet Length Std",
    "Flow IAT Max",
    "Flow IAT Min",
    "Fwd IAT Max",
    "Bwd IAT Max",
    "SYN Flag Count",
    "RST Flag Count",
    "FIN Flag Count",
    "PSH Flag Count",
    "URG Flag Count",
    "Fwd Act Data Pkts",
    "Down/Up Ratio",
];

/// Words that features of words may have; others are absent to a model, as what training never saw.
const WORDS: [(&str, &[&str]); 3] = [
    ("proto", &["tcp", "udp", "icmp", "ipv6-icmp"]),
    ("service", &["-", "http", "ftp", "smtp", "ssh", "dns", "ssl", "snmp", "dhcp", "pop3", "irc", "radius"]),
    ("state", &["CON", "INT", "RST", "REQ", "FIN", "ACC"]),
];

/// The shipped features as a schema.
#[must_use]
pub fn schema() -> Vec<learn::Feature> {
    let words = |name: &str| WORDS.iter().find(|(n, _)| *n == name).map(|(_, words)| *words);
    SHIPPED
        .iter()
        .map(|name| learn::Feature {
            name: (*name).to_owned(),
            kind: words(name)
                .map_or(Kind::Numeric, |w| Kind::Categorical(w.iter().map(|w| (*w).to_owned()).collect())),
        })
        .collect()
}

/// Where the values of a row come from.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Vec<(&'static Feature, Vec<String>)>,
    shared: bool,
}

impl Columns {
    /// Of a schema; the name of a feature that flows do not have, if there is one.
    ///
    /// # Errors
    /// That name.
    pub fn new(schema: &[learn::Feature]) -> Result<Self, String> {
        let all = || Set::ALL.into_iter().flat_map(Set::features);
        let column = |f: &learn::Feature| {
            let feature = all().find(|own| own.name == f.name).ok_or_else(|| f.name.clone())?;
            let words = match &f.kind {
                Kind::Numeric => Vec::new(),
                Kind::Categorical(words) => words.clone(),
            };
            Ok((feature, words))
        };
        let columns: Vec<_> = schema.iter().map(column).collect::<Result<_, String>>()?;
        let shared = columns.iter().any(|(f, _)| f.name.starts_with("ct_") && !OWN_COUNTS.contains(&f.name));
        Ok(Self { columns, shared })
    }

    /// Whether values depend on [`Subject::shared`].
    #[must_use]
    pub const fn wants_shared(&self) -> bool {
        self.shared
    }

    /// The values of a flow. NaN is what cannot be known.
    pub fn fill(&self, subject: &Subject<'_>, row: &mut Vec<f32>) {
        row.clear();
        self.append(subject, row);
    }

    /// As [`Self::fill`], after the rows of other flows.
    pub fn append(&self, subject: &Subject<'_>, rows: &mut Vec<f32>) {
        rows.extend(self.columns.iter().map(|(own, words)| match own.kind {
            feature::Kind::Text => match own.of(subject) {
                Some(Value::Text(text)) => {
                    words.iter().position(|w| w == text).map_or(f32::NAN, |place| place as f32)
                }
                _ => f32::NAN,
            },
            _ => own.number(subject),
        }));
    }

    /// The name of a column.
    #[must_use]
    pub fn name(&self, column: usize) -> Option<&'static str> {
        self.columns.get(column).map(|(f, _)| f.name)
    }

    /// Whether a column has words for values.
    #[must_use]
    pub fn is_words(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|(_, words)| !words.is_empty())
    }
}

/// Features called counts that are of the flow alone.
const OWN_COUNTS: [&str; 2] = ["ct_ftp_cmd", "ct_flw_http_mthd"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_schema_is_known_and_looks_at_no_other_flow() {
        let columns = Columns::new(&schema()).expect("known");
        assert!(!columns.wants_shared());
        assert!(columns.is_words(1) && columns.name(1) == Some("proto") && !columns.is_words(0));
    }

    #[test]
    fn a_feature_that_flows_do_not_have_is_named() {
        let strange = learn::Feature { name: "phase of the moon".into(), kind: Kind::Numeric };
        assert_eq!(Columns::new(&[strange]).err().as_deref(), Some("phase of the moon"));
        let counts = learn::Feature { name: "ct_dst_ltm".into(), kind: Kind::Numeric };
        assert!(Columns::new(&[counts]).expect("known").wants_shared());
    }
}
