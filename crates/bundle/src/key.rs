//! Keys: who signs, and who is trusted.
//!
//! A signing key is a file in PKCS#8 (RFC 5958) as PEM, as `openssl genpkey -algorithm ed25519` writes it too; a public key
//! is 32 bytes in hexadecimal.

use crate::{Error, Result, hex};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{Mode, OFlags};
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Longest key file read, bytes: a key has some hundred.
const MAX_KEY_FILE: u64 = 16 << 10;
/// Others must not read it, and the group neither.
const FORBIDDEN_MODE: u32 = 0o077;

/// The public half of a key that signs bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }

    /// Whether `signature` is this key's signature of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// Whose bundles are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<PublicKey>,
}

impl Trust {
    /// Trusts these keys and nobody else.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self { keys: keys.into_iter().collect() }
    }

    /// Trusts one more key.
    #[must_use]
    pub fn and(mut self, key: PublicKey) -> Self {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        self
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Which trusted key signed `message`, if one did.
    pub(crate) fn signer(&self, message: &[u8], signature: &[u8; 64]) -> Option<PublicKey> {
        self.keys.iter().copied().find(|k| k.verifies(message, signature))
    }
}

/// A key that signs bundles.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new key, from the system's randomness, kept nowhere.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self> {
        let refused = |_| Error::Store("cannot make a key: the system gives no randomness".into());
        Ed25519KeyPair::generate().map(Self).map_err(refused)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The file cannot be read, is no key, or is readable by others than its owner.
    pub fn read(path: &Path) -> Result<Self> {
        let fault = |e| Error::io("read", path, e);
        let file = File::open(path).map_err(fault)?;
        let meta = file.metadata().map_err(fault)?;
        let wrong = |what| Error::Key { path: path.to_owned(), what };
        if !meta.is_file() || meta.len() > MAX_KEY_FILE {
            return Err(wrong("is no key file"));
        }
        if meta.mode() & FORBIDDEN_MODE != 0 {
            return Err(wrong(
                "can be read by others than its owner; chmod 600 it, or sign with another key",
            ));
        }
        let mut text = String::new();
        file.take(MAX_KEY_FILE)
            .read_to_string(&mut text)
            .map_err(|_| wrong("is no PEM with a private key"))?;
        let body = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(body, _)| body);
        let body = body.ok_or_else(|| {
            wrong("is no PEM with a private key; make one with: openssl genpkey -algorithm ed25519")
        })?;
        let digits: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(digits).map_err(|_| wrong("is no PEM: its base64 is damaged"))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map_err(|_| wrong("is no Ed25519 key in PKCS#8"))?;
        Ok(Self(pair))
    }

    /// Reads a key, or makes one there, readable by its owner alone, if there is none. Says whether it was made.
    ///
    /// # Errors
    /// As [`Self::read`]; the file cannot be written.
    pub fn read_or_make(path: &Path) -> Result<(Self, bool)> {
        match Self::read(path) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => return other.map(|key| (key, false)),
        }
        let key = Self::generate()?;
        key.write_new(path)?;
        Ok((key, true))
    }

    /// Writes the key to a new file that its owner alone can read.
    ///
    /// # Errors
    /// There is such a file, or it cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        let fault = |e: std::io::Error| Error::io("write", path, e);
        if let Some(parent) = path.parent().filter(|p| *p != Path::new("")) {
            std::fs::create_dir_all(parent).map_err(|e| Error::io("make", parent, e))?;
        }
        let der: Pkcs8V1Der<'static> = self
            .0
            .as_der()
            .map_err(|_| Error::Key { path: path.to_owned(), what: "the key cannot be encoded" })?;
        let text = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der.as_ref()));
        // Private from its first moment on.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| fault(e.into()))?;
        let mut file = File::from(file);
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fault)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(bytes)
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        for (to, from) in out.iter_mut().zip(self.0.sign(message).as_ref()) {
            *to = *from;
        }
        out
    }
}
