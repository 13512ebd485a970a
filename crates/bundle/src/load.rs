//! Bundles: read and checked, made and signed.

use crate::files::{Directory, write_directory};
use crate::key::{PublicKey, SigningKey, Trust};
use crate::manifest::{Manifest, Model, Schema};
use crate::{Error, MANIFEST, PUBLIC_KEY, Result, SIGNATURE, hex, sha256};
use learn::Feature;
use std::collections::BTreeMap;
use std::path::Path;

/// Longest manifest, bytes: thousands of features with their categories.
const MAX_MANIFEST: u64 = 16 << 20;
/// Longest signature or key file, bytes: 128 digits and an end of line.
const MAX_LINE: u64 = 256;
/// Longest model, bytes: more than a forest of a thousand deep trees has.
const MAX_MODEL: u64 = 512 << 20;

/// A bundle that was found right: signed by somebody trusted, of this version, every file the one that was signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    id: String,
    manifest: Manifest,
    signer: PublicKey,
    /// By name, manifest and signature included.
    files: BTreeMap<String, Vec<u8>>,
}

impl Bundle {
    /// Loads a bundle from its directory.
    ///
    /// # Errors
    /// Whatever is not as it should be; nothing is loaded then.
    pub fn load(dir: &Path, trust: &Trust) -> Result<Self> {
        let directory = Directory::open(dir)?;
        Self::check(trust, |name, most| directory.read(name, most)).map_err(|e| e.within(dir))
    }

    /// Loads a bundle from the names and bytes of its files, such as one built into a program.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_files(files: &[(&str, &[u8])], trust: &Trust) -> Result<Self> {
        Self::check(trust, |name, most| {
            let found = files.iter().find(|(n, _)| *n == name);
            let (_, bytes) = found.ok_or_else(|| Error::Missing { file: name.to_owned() })?;
            if bytes.len() as u64 > most {
                return Err(Error::TooLong { file: name.to_owned(), most });
            }
            Ok(bytes.to_vec())
        })
    }

    fn check(trust: &Trust, read: impl Fn(&str, u64) -> Result<Vec<u8>>) -> Result<Self> {
        let bytes = read(MANIFEST, MAX_MANIFEST)?;
        let signature_file = read(SIGNATURE, MAX_LINE)?;
        let signature = std::str::from_utf8(&signature_file).ok().and_then(hex::decode::<64>);
        let signature = signature.ok_or(Error::Signature)?;
        // Nothing of the manifest is looked at before somebody trusted is known to have signed it.
        let Some(signer) = trust.signer(&bytes, &signature) else {
            let named = read(PUBLIC_KEY, MAX_LINE).ok();
            let named = named.as_deref().and_then(|b| std::str::from_utf8(b).ok()).and_then(PublicKey::parse);
            return Err(match named.filter(|k| k.verifies(&bytes, &signature)) {
                Some(key) => Error::Untrusted { key: key.to_string(), trusted: trust.keys().len() },
                None => Error::Signature,
            });
        };
        let manifest = Manifest::parse(&bytes)?;
        let mut files = BTreeMap::new();
        for model in &manifest.models {
            let wrong = |what| Error::Content { file: model.file.clone(), what };
            if model.bytes > MAX_MODEL {
                return Err(Error::TooLong { file: model.file.clone(), most: MAX_MODEL });
            }
            let found = match read(&model.file, model.bytes) {
                Err(Error::TooLong { .. }) => return Err(wrong("it is longer")),
                other => other?,
            };
            if (found.len() as u64) < model.bytes {
                return Err(wrong("it is shorter"));
            }
            if sha256(&found) != model.sha256 {
                return Err(wrong("its bytes differ"));
            }
            files.insert(model.file.clone(), found);
        }
        let id = id_of(&manifest.name, &bytes);
        files.insert(MANIFEST.to_owned(), bytes);
        files.insert(SIGNATURE.to_owned(), signature_file);
        files.insert(PUBLIC_KEY.to_owned(), format!("{signer}\n").into_bytes());
        Ok(Self { id, manifest, signer, files })
    }

    /// What it is called in a [`crate::Store`]: its name and the beginning of the manifest's SHA-256.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whose signature it bears.
    #[must_use]
    pub const fn signer(&self) -> PublicKey {
        self.signer
    }

    /// The bytes of a model by name and kind, which are for `learn`'s codec to read.
    ///
    /// # Errors
    /// There is none, or its rows have not exactly the features `expected`, if any are given.
    pub fn model(&self, name: &str, kind: &str, expected: Option<&[Feature]>) -> Result<&[u8]> {
        let found = self.manifest.models.iter().find(|m| m.name == name && m.kind == kind);
        let model = found.ok_or_else(|| Error::NoModel {
            name: name.to_owned(),
            kind: kind.to_owned(),
            has: self.listed(),
        })?;
        if let Some(expected) = expected {
            let schema = model.schema.as_ref().and_then(|s| self.manifest.schemas.get(s));
            let how = match schema {
                Some(schema) => schema.differs(expected),
                None => Some("the model states none".to_owned()),
            };
            if let Some(how) = how {
                return Err(Error::Schema { schema: model.schema.clone().unwrap_or_default(), how });
            }
        }
        Ok(self.files.get(&model.file).map_or(&[], Vec::as_slice))
    }

    /// The schema of that name.
    #[must_use]
    pub fn schema(&self, name: &str) -> Option<&Schema> {
        self.manifest.schemas.get(name)
    }

    /// Bytes of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|f| f.len() as u64).sum()
    }

    pub(crate) const fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    fn listed(&self) -> String {
        let names = self.manifest.models.iter().map(|m| format!("{} ({})", m.name, m.kind));
        names.collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn id_of(name: &str, manifest: &[u8]) -> String {
    let hash = sha256(manifest);
    format!("{name}-{}", hash.get(..12).unwrap_or_default())
}

/// A bundle in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it says of itself; the list of models is made by [`Draft::add`].
    pub manifest: Manifest,
    files: BTreeMap<String, Vec<u8>>,
}

impl Draft {
    /// A bundle of what the manifest says, as yet without models: its list of them is emptied.
    #[must_use]
    pub fn new(mut manifest: Manifest) -> Self {
        manifest.format = crate::FORMAT;
        manifest.models.clear();
        Self { manifest, files: BTreeMap::new() }
    }

    /// Adds a model; its file is `NAME.model`. `schema` names one of the manifest's.
    pub fn add(&mut self, name: &str, kind: &str, schema: Option<&str>, bytes: Vec<u8>) {
        let file = format!("{name}.model");
        self.manifest.models.push(Model {
            name: name.to_owned(),
            kind: kind.to_owned(),
            schema: schema.map(str::to_owned),
            file: file.clone(),
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
        });
        self.files.insert(file, bytes);
    }

    /// Signs it: the files of the bundle by name.
    ///
    /// # Errors
    /// The manifest says what no manifest may.
    pub fn sign(self, key: &SigningKey) -> Result<BTreeMap<String, Vec<u8>>> {
        self.manifest.check()?;
        let mut text =
            serde_json::to_vec_pretty(&self.manifest).map_err(|e| Error::Manifest(e.to_string()))?;
        text.push(b'\n');
        let mut files = self.files;
        files.insert(SIGNATURE.to_owned(), format!("{}\n", hex::encode(&key.sign(&text))).into_bytes());
        files.insert(PUBLIC_KEY.to_owned(), format!("{}\n", key.public()).into_bytes());
        files.insert(MANIFEST.to_owned(), text);
        Ok(files)
    }

    /// Signs it and writes it to a directory that is not there yet, whole or not at all. Returns it as loaded again.
    ///
    /// # Errors
    /// The directory is there, or cannot be written; the manifest says what no manifest may.
    pub fn write(self, dir: &Path, key: &SigningKey) -> Result<Bundle> {
        write_directory(dir, &self.sign(key)?)?;
        Bundle::load(dir, &Trust::new([key.public()]))
    }
}
