//! Who logs in by NTLM: the AUTHENTICATE message of [MS-NLMP] §2.2.1.3, wherever a security blob holds it.

use super::super::bytes::{le16, le32};
use super::{ascii, utf16};

/// Domain and user that a blob names; `None` if it names none, as in the first of NTLM's messages or for Kerberos.
pub(super) fn user(blob: &[u8]) -> Option<(Box<str>, Box<str>)> {
    const MAGIC: &[u8] = b"NTLMSSP\0";
    // SPNEGO wraps the message; its structure adds nothing.
    let begin = blob.windows(MAGIC.len()).position(|w| w == MAGIC)?;
    let ntlm = blob.get(begin..)?;
    if le32(ntlm, 8) != Some(3) {
        return None;
    }
    let unicode = le32(ntlm, 60).is_some_and(|flags| flags & 1 != 0);
    let field = |at: usize| {
        let (length, offset) = (usize::from(le16(ntlm, at)?), le32(ntlm, at + 4)? as usize);
        let bytes = ntlm.get(offset..offset.checked_add(length)?)?;
        Some(if unicode { utf16(bytes) } else { ascii(bytes) })
    };
    // An empty name is an anonymous session.
    field(36).filter(|user| !user.is_empty()).map(|user| (field(28).unwrap_or_default(), user))
}
