//! Models as bytes: what a bundle keeps and another machine reads.
//!
//! ```text
//! "aimn"  kind: 4 bytes  version: u16, little-endian  the model in postcard's format, to the end
//! ```
//!
//! Reading is total: whatever the bytes are, the answer is a model that all its methods can work with, or an error. Memory
//! taken is at most in proportion to the bytes given. Who wrote the bytes is not this module's concern: bundles are signed.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first bytes of every model.
const MAGIC: [u8; 4] = *b"aimn";
/// Bytes before the model.
const HEADER: usize = 10;

/// A model that can be written and read.
pub trait Pack: Serialize + DeserializeOwned {
    /// Tells kinds of models apart: four printable characters.
    const KIND: [u8; 4];
    /// Goes up when the format of this kind changes; other versions are refused.
    const VERSION: u16;

    /// Whether the parts fit each other, so that no method panics or runs without end.
    ///
    /// # Errors
    /// [`CodecError::Invalid`], naming what does not fit.
    fn check(&self) -> Result<(), CodecError>;
}

/// Why bytes are not the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not a model at all.
    #[error("these bytes are no model: they do not begin with \"aimn\"")]
    NoModel,
    /// Another kind of model.
    #[error("a model of kind {found:?} where {expected:?} was expected")]
    Kind {
        /// The kind asked for.
        expected: String,
        /// The kind found, printable.
        found: String,
    },
    /// Written by a version that this one does not know.
    #[error("version {found} of a model of kind {kind:?}; this program reads version {expected}")]
    Version {
        /// The kind.
        kind: String,
        /// The version read here.
        expected: u16,
        /// The version found.
        found: u16,
    },
    /// Cut off, too long, or not in the format.
    #[error("the model is cut off or garbled")]
    Garbled,
    /// In the format, but its parts do not fit.
    #[error("the model contradicts itself: {0}")]
    Invalid(&'static str),
}

/// `Ok` if a part fits.
///
/// # Errors
/// [`CodecError::Invalid`] with `what` if not.
pub fn ensure(fits: bool, what: &'static str) -> Result<(), CodecError> {
    if fits { Ok(()) } else { Err(CodecError::Invalid(what)) }
}

/// A model as bytes, the same for the same model.
#[must_use]
pub fn to_bytes<T: Pack>(model: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend(MAGIC);
    bytes.extend(T::KIND);
    bytes.extend(T::VERSION.to_le_bytes());
    // The formatter fails on sequences of unknown length alone, and no model has any.
    postcard::to_extend(model, bytes).unwrap_or_default()
}

/// The kind and version that bytes claim to be, if they are a model.
#[must_use]
pub fn kind_of(bytes: &[u8]) -> Option<([u8; 4], u16)> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let [m0, m1, m2, m3, k0, k1, k2, k3, v0, v1] = *header;
    ([m0, m1, m2, m3] == MAGIC).then_some(([k0, k1, k2, k3], u16::from_le_bytes([v0, v1])))
}

/// The model that bytes are.
///
/// # Errors
/// The bytes are no model, of another kind or version, cut off, or contradict themselves.
pub fn from_bytes<T: Pack>(bytes: &[u8]) -> Result<T, CodecError> {
    let (kind, version) = kind_of(bytes).ok_or(CodecError::NoModel)?;
    let text = |kind: [u8; 4]| kind.escape_ascii().to_string();
    if kind != T::KIND {
        return Err(CodecError::Kind { expected: text(T::KIND), found: text(kind) });
    }
    if version != T::VERSION {
        return Err(CodecError::Version { kind: text(kind), expected: T::VERSION, found: version });
    }
    let (model, rest): (T, &[u8]) =
        postcard::take_from_bytes(&bytes[HEADER..]).map_err(|_| CodecError::Garbled)?;
    if !rest.is_empty() {
        return Err(CodecError::Garbled);
    }
    model.check()?;
    Ok(model)
}
