//! What a bundle says of itself.

use crate::{Error, Result, sha256};
use learn::{Feature, Kind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Version of the format. A program loads its own version and no other: what a model means must not be guessed.
pub const FORMAT: u32 = 1;

/// Most models in a bundle.
pub(crate) const MAX_MODELS: usize = 64;
/// Most features of a schema: as many as a tree's node can name.
const MAX_FEATURES: usize = u16::MAX as usize - 1;

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`]
    pub format: u32,
    /// What it is called: lower-case letters, digits, `-`, `_`, `.`
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Program that made it, with its version.
    pub program: String,
    /// What models expect of their rows, by name.
    pub schemas: BTreeMap<String, Schema>,
    /// The models.
    pub models: Vec<Model>,
    /// Numbers that decide, by name. Probabilities and p-values are in 0 to 1.
    pub thresholds: BTreeMap<String, f64>,
    /// How it came about.
    pub lineage: Lineage,
    /// What was measured on data that the models did not learn from.
    pub figures: serde_json::Value,
}

/// The features a model expects, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// See [`Schema::hash`].
    pub sha256: String,
    /// Names and kinds.
    pub features: Vec<Feature>,
}

/// A model of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What it is for, such as `flow`.
    pub name: String,
    /// What it is, such as `hybrid`.
    pub kind: String,
    /// Which of the manifest's schemas its rows have; absent where it takes no rows of features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of its file.
    pub file: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// How a bundle came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lineage {
    /// The command line.
    pub command: String,
    /// Seed of everything drawn at random.
    pub seed: u64,
    /// What it was made from.
    pub data: Vec<Data>,
    /// First and last time in the data, RFC 3339; empty where the data has no times.
    pub span: Vec<String>,
    /// Rows by what they were used for, such as `train` and `test`.
    pub rows: BTreeMap<String, u64>,
    /// Rows learnt from, by class.
    pub classes: BTreeMap<String, u64>,
    /// How train and test were divided.
    pub split: String,
    /// Column with the truth.
    pub label: String,
    /// The class that means nothing is wrong.
    pub normal: String,
    /// Columns that were left out, and why.
    pub dropped: BTreeMap<String, String>,
}

/// A file that a bundle was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Its name without directories: paths tell of machines and people.
    pub file: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Size, bytes.
    pub bytes: u64,
}

impl Schema {
    /// A schema with its hash.
    #[must_use]
    pub fn new(features: Vec<Feature>) -> Self {
        Self { sha256: Self::hash(&features), features }
    }

    /// SHA-256 over names, kinds and categories in their order, each with its length before it, hexadecimal.
    #[must_use]
    pub fn hash(features: &[Feature]) -> String {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        for feature in features {
            put(&feature.name);
            match &feature.kind {
                Kind::Numeric => put("numeric"),
                Kind::Categorical(names) => {
                    put("categorical");
                    put(&names.len().to_string());
                    names.iter().for_each(|n| put(n));
                }
            }
        }
        sha256(&bytes)
    }

    /// How `features` differ from these, in a few words.
    pub(crate) fn differs(&self, features: &[Feature]) -> Option<String> {
        if self.features.len() != features.len() {
            return Some(format!("{} features where {} are expected", self.features.len(), features.len()));
        }
        let mut pairs = self.features.iter().zip(features).enumerate();
        let (i, (own, expected)) = pairs.find(|(_, (a, b))| a != b)?;
        Some(if own.name == expected.name {
            format!("feature {} ('{}') has other categories or another kind", i + 1, own.name)
        } else {
            format!("feature {} is '{}' where '{}' is expected", i + 1, own.name, expected.name)
        })
    }
}

/// Whether this can be the name of a bundle, model or file: one that cannot lead out of a directory.
pub(crate) fn is_name(name: &str) -> bool {
    let ordinary = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.as_bytes().first().is_some_and(ordinary)
        && name.bytes().all(|b| ordinary(&b) || matches!(b, b'-' | b'_' | b'.'))
}

fn name(text: &str) -> Result<()> {
    if is_name(text) { Ok(()) } else { Err(Error::Name(text.to_owned())) }
}

impl Manifest {
    /// Reads a manifest and checks what can be checked without the models.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        let wrong = |e: serde_json::Error| Error::Manifest(e.to_string());
        let version: Version = serde_json::from_slice(bytes).map_err(wrong)?;
        if version.format != u64::from(FORMAT) {
            return Err(Error::Version { found: version.format, known: FORMAT });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(wrong)?;
        manifest.check()?;
        Ok(manifest)
    }

    pub(crate) fn check(&self) -> Result<()> {
        name(&self.name)?;
        let wrong = |what: String| Err(Error::Manifest(what));
        if self.models.is_empty() || self.models.len() > MAX_MODELS {
            return wrong(format!("{} models; 1 to {MAX_MODELS} are expected", self.models.len()));
        }
        for (schema_name, schema) in &self.schemas {
            name(schema_name)?;
            if schema.features.is_empty() || schema.features.len() > MAX_FEATURES {
                return wrong(format!("schema '{schema_name}' has {} features", schema.features.len()));
            }
            if schema.sha256 != Schema::hash(&schema.features) {
                return wrong(format!("the hash of schema '{schema_name}' is not that of its features"));
            }
            let names: BTreeSet<&str> = schema.features.iter().map(|f| f.name.as_str()).collect();
            if names.len() != schema.features.len() {
                return wrong(format!("schema '{schema_name}' has a feature twice"));
            }
        }
        let mut files = BTreeSet::from([crate::MANIFEST, crate::SIGNATURE, crate::PUBLIC_KEY]);
        let mut names = BTreeSet::new();
        for model in &self.models {
            for text in [&model.name, &model.kind, &model.file] {
                name(text)?;
            }
            if !files.insert(&model.file) || !names.insert(&model.name) {
                return wrong(format!("the file or name of model '{}' is taken", model.name));
            }
            if let Some(schema) = &model.schema
                && !self.schemas.contains_key(schema)
            {
                return wrong(format!("model '{}' has a schema '{schema}' that is not there", model.name));
            }
        }
        if let Some((threshold, _)) = self.thresholds.iter().find(|(_, v)| !v.is_finite()) {
            return wrong(format!("threshold '{threshold}' is no number"));
        }
        Ok(())
    }
}
