//! Columns of a table, and what those with a known name mean.

use crate::cell::Kind;
use crate::{Error, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Type of its values.
    pub kind: Kind,
}

/// What a column says of a flow, known by its name. Names are those of our own tables, UNSW-NB15, CICIDS2017
/// and Wireshark's conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// When the flow began.
    Time,
    /// Address of who began it.
    Source,
    /// Port of who began it.
    SourcePort,
    /// Address of who was contacted.
    Target,
    /// Port that was contacted.
    TargetPort,
    /// Transport protocol.
    Protocol,
    /// Country of the source.
    SourceCountry,
    /// Country of the target.
    TargetCountry,
    /// Autonomous system of the source.
    SourceAsn,
    /// Autonomous system of the target.
    TargetAsn,
    /// Community ID.
    CommunityId,
    /// What the flow was: a class of threat or a word for none.
    Class,
    /// Whatever else says who the flow was or what it was: nothing to learn from.
    Identity,
    /// A quantity of the flow.
    Feature,
}

impl Role {
    /// The role of a column by its name, whatever its case.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "ts" | "stime" | "timestamp" | "start" | "start_time" => Self::Time,
            "src_ip" | "srcip" | "src ip" | "source ip" | "saddr" | "id.orig_h" | "address a" => Self::Source,
            "src_port" | "sport" | "src port" | "source port" | "id.orig_p" | "port a" => Self::SourcePort,
            "dst_ip" | "dstip" | "dst ip" | "destination ip" | "daddr" | "id.resp_h" | "address b" => {
                Self::Target
            }
            "dst_port" | "dsport" | "dport" | "dst port" | "destination port" | "id.resp_p" | "port b" => {
                Self::TargetPort
            }
            "protocol" => Self::Protocol,
            "src_country" => Self::SourceCountry,
            "dst_country" => Self::TargetCountry,
            "src_asn" => Self::SourceAsn,
            "dst_asn" => Self::TargetAsn,
            "community_id" => Self::CommunityId,
            "class" | "attack_cat" | "label" => Self::Class,
            "id" | "uid" | "flow_id" | "flow id" | "ltime" | "vlan" | "tunnel" | "end_reason" | "actor"
            | "technique" | "scenario" | "attack" | "attempted category" | "rel start" => Self::Identity,
            _ => Self::Feature,
        }
    }

    /// Whether a column of this role belongs to the tuple by which rows count as duplicates: what can be learnt from.
    #[must_use]
    pub const fn is_feature(self) -> bool {
        matches!(self, Self::Feature | Self::Protocol)
    }
}

/// Columns of a table, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Schema {
    columns: Vec<Column>,
}

/// Most columns: more than any dataset of flows has, and it bounds what a header can make us hold.
pub const MAX_COLUMNS: usize = 4096;

impl Schema {
    /// A schema of these columns.
    ///
    /// # Errors
    /// What is wrong with them: none, too many, an empty name, or one name twice.
    pub fn new(columns: Vec<Column>) -> std::result::Result<Self, String> {
        if columns.is_empty() {
            return Err("there are no columns".into());
        }
        if columns.len() > MAX_COLUMNS {
            return Err(format!("{} columns; at most {MAX_COLUMNS} are read", columns.len()));
        }
        let mut names = BTreeSet::new();
        for column in &columns {
            if column.name.is_empty() {
                return Err("a column has no name".into());
            }
            if !names.insert(column.name.as_str()) {
                return Err(format!("column '{}' is there twice", column.name));
            }
        }
        Ok(Self { columns })
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }

    /// Place of the column of this name.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Place of the first column of a role.
    #[must_use]
    pub fn of_role(&self, role: Role) -> Option<usize> {
        self.columns.iter().position(|c| Role::of(&c.name) == role)
    }

    /// Place of the column that says what a flow was: `asked` if given, else `class`, `attack_cat` or `Label`, in this
    /// order of preference.
    ///
    /// # Errors
    /// If there is no column `asked`.
    pub fn class(&self, asked: Option<&str>) -> Result<Option<usize>> {
        if let Some(name) = asked {
            return self.place(name).map(Some).ok_or_else(|| self.no_column(name));
        }
        let named = |wanted: &str| self.columns.iter().position(|c| c.name.eq_ignore_ascii_case(wanted));
        Ok(["class", "attack_cat", "label"].into_iter().find_map(named))
    }

    /// Places of the features.
    #[must_use]
    pub fn features(&self) -> Vec<usize> {
        let is = |c: &Column| Role::of(&c.name).is_feature();
        self.columns.iter().enumerate().filter(|(_, c)| is(c)).map(|(i, _)| i).collect()
    }

    /// The error that there is no such column.
    #[must_use]
    pub fn no_column(&self, name: &str) -> Error {
        let names: Vec<&str> = self.names().collect();
        Error::Request(format!("there is no column '{name}'; there are {}", names.join(", ")))
    }

    /// A name for the schema: SHA-256 over each column's name and type, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        for column in &self.columns {
            sha.update(format!("{}:{}\n", column.name, column.kind.name()));
        }
        sha.finalize().iter().fold(String::new(), |mut s, b| {
            // Writing to a String does not fail.
            let _ = write!(s, "{b:02x}");
            s
        })
    }

    /// Why `other` is not the same table, if it is not: names and their order count, types do not, as a part in which every
    /// value happens to be whole is no other table.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<String> {
        if self.columns.len() != other.columns.len() {
            return Some(format!(
                "it has {} columns, the first file {}",
                other.columns.len(),
                self.columns.len()
            ));
        }
        let mut pairs = self.names().zip(other.names()).enumerate();
        pairs
            .find(|(_, (a, b))| a != b)
            .map(|(i, (a, b))| format!("its column {} is '{b}', that of the first file '{a}'", i + 1))
    }
}
