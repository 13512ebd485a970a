//! Model bundles: a directory with models, what they expect, how they came about and how good they are, under one signature.
//!
//! ```text
//! BUNDLE/
//!   manifest.json   format, schemas, models with their SHA-256, thresholds, lineage, measured figures
//!   signature       Ed25519 (RFC 8032) over the bytes of manifest.json, hexadecimal
//!   public-key      of who signed, hexadecimal; tells whom to trust, and is trusted for nothing itself
//!   NAME.model      what the manifest lists; other files are not looked at
//! ```
//!
//! [`Bundle::load`] fails closed: nothing of a bundle is given out before signature, version, schemas, sizes and hashes have
//! been found right. [`Store`] keeps bundles and says which one is in use.

#![forbid(unsafe_code)]

mod diff;
mod error;
mod files;
mod hex;
mod key;
mod load;
mod manifest;
mod store;

pub use diff::{Difference, difference};
pub use error::Error;
pub use key::{PublicKey, SigningKey, Trust};
pub use load::{Bundle, Draft};
pub use manifest::{Data, FORMAT, Lineage, Manifest, Model, Schema};
pub use store::{Entry, Store};

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Name of the manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// Name of the signature's file.
pub const SIGNATURE: &str = "signature";
/// Name of the file with the key of who signed.
pub const PUBLIC_KEY: &str = "public-key";

/// SHA-256 of bytes, hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// The SHA-256 of the file at `path`, hexadecimal, and its size in bytes; read a piece at a time.
///
/// # Errors
/// [`Error::Io`].
pub fn sha256_of_file(path: &std::path::Path) -> Result<(String, u64)> {
    use std::io::Read as _;
    let fault = |e| Error::io("read", path, e);
    let mut file = std::fs::File::open(path).map_err(fault)?;
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let (mut piece, mut size) = (vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((hex::encode(hash.finish().as_ref()), size)),
            Ok(n) => {
                hash.update(piece.get(..n).unwrap_or_default());
                size += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fault(e)),
        }
    }
}
