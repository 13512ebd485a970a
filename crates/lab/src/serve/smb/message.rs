//! SMB 2 messages: the header, requests read by offset, and responses built ([MS-SMB2] §2.2).

/// Bytes of a header.
pub(super) const HEADER: usize = 64;
/// What every message begins with.
pub(super) const MAGIC: [u8; 4] = [0xfe, b'S', b'M', b'B'];
/// A response.
const RESPONSE: u32 = 1;
/// Concerns the session, tree and file of the request before it.
const RELATED: u32 = 4;
/// Credits granted with each response: requests the client may have under way.
const CREDITS: u16 = 64;

/// Commands, §2.2.1.2.
pub(super) mod command {
    pub(in super::super) const NEGOTIATE: u16 = 0;
    pub(in super::super) const SESSION_SETUP: u16 = 1;
    pub(in super::super) const LOGOFF: u16 = 2;
    pub(in super::super) const TREE_CONNECT: u16 = 3;
    pub(in super::super) const TREE_DISCONNECT: u16 = 4;
    pub(in super::super) const CREATE: u16 = 5;
    pub(in super::super) const CLOSE: u16 = 6;
    pub(in super::super) const FLUSH: u16 = 7;
    pub(in super::super) const READ: u16 = 8;
    pub(in super::super) const WRITE: u16 = 9;
    pub(in super::super) const LOCK: u16 = 10;
    pub(in super::super) const IOCTL: u16 = 11;
    pub(in super::super) const CANCEL: u16 = 12;
    pub(in super::super) const ECHO: u16 = 13;
    pub(in super::super) const QUERY_DIRECTORY: u16 = 14;
    pub(in super::super) const QUERY_INFO: u16 = 16;
    pub(in super::super) const SET_INFO: u16 = 17;
}

/// NT status codes, [MS-ERREF] §2.3.1.
pub(super) mod status {
    pub(in super::super) const SUCCESS: u32 = 0;
    pub(in super::super) const NO_MORE_FILES: u32 = 0x8000_0006;
    pub(in super::super) const INVALID_PARAMETER: u32 = 0xc000_000d;
    pub(in super::super) const END_OF_FILE: u32 = 0xc000_0011;
    pub(in super::super) const MORE_PROCESSING: u32 = 0xc000_0016;
    pub(in super::super) const ACCESS_DENIED: u32 = 0xc000_0022;
    pub(in super::super) const NAME_INVALID: u32 = 0xc000_0033;
    pub(in super::super) const NAME_NOT_FOUND: u32 = 0xc000_0034;
    pub(in super::super) const NAME_COLLISION: u32 = 0xc000_0035;
    pub(in super::super) const LOGON_FAILURE: u32 = 0xc000_006d;
    pub(in super::super) const DISK_FULL: u32 = 0xc000_007f;
    pub(in super::super) const TOO_MANY_OPENED: u32 = 0xc000_011f;
    pub(in super::super) const NOT_SUPPORTED: u32 = 0xc000_00bb;
    pub(in super::super) const BAD_NETWORK_NAME: u32 = 0xc000_00cc;
    pub(in super::super) const FILE_CLOSED: u32 = 0xc000_0128;
    pub(in super::super) const NOT_FOUND: u32 = 0xc000_0225;
}

/// A request: header and body, offsets counted from the body's beginning.
pub(super) struct Request<'a> {
    bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// Splits the first request off a message, which may be a compound; `None` if it is no SMB 2 request.
    pub(super) fn first(message: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if message.len() < HEADER + 2 || message.get(..4)? != MAGIC {
            return None;
        }
        let next = le32(message, 20) as usize;
        let end = if next == 0 { message.len() } else { next.clamp(HEADER + 2, message.len()) };
        let (own, rest) = message.split_at(end);
        Some((Self { bytes: own }, if next == 0 { &[] } else { rest }))
    }

    pub(super) fn command(&self) -> u16 {
        le16(self.bytes, 12)
    }

    pub(super) fn tree(&self) -> u32 {
        le32(self.bytes, 36)
    }

    pub(super) fn is_related(&self) -> bool {
        le32(self.bytes, 16) & RELATED != 0
    }

    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(HEADER + at).copied().unwrap_or(0)
    }

    pub(super) fn half(&self, at: usize) -> u16 {
        le16(self.bytes, HEADER + at)
    }

    pub(super) fn word(&self, at: usize) -> u32 {
        le32(self.bytes, HEADER + at)
    }

    pub(super) fn long(&self, at: usize) -> u64 {
        u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32
    }

    /// The bytes that lie `offset` behind the header's beginning; fewer if the message is shorter.
    pub(super) fn part(&self, offset: usize, len: usize) -> &'a [u8] {
        let from = offset.min(self.bytes.len());
        &self.bytes[from..offset.saturating_add(len).min(self.bytes.len()).max(from)]
    }

    /// The header of the answer; the session and tree are the given ones.
    pub(super) fn answer(&self, status: u32, session: u64, tree: u32) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = 64;
        out[6..8].copy_from_slice(&le16(self.bytes, 6).max(1).to_le_bytes());
        out[8..12].copy_from_slice(&status.to_le_bytes());
        out[12..14].copy_from_slice(&self.command().to_le_bytes());
        out[14..16].copy_from_slice(&CREDITS.to_le_bytes());
        let related = if self.is_related() { RELATED } else { 0 };
        out[16..20].copy_from_slice(&(RESPONSE | related).to_le_bytes());
        out[24..36].copy_from_slice(&self.bytes[24..36]);
        out[36..40].copy_from_slice(&tree.to_le_bytes());
        out[40..48].copy_from_slice(&session.to_le_bytes());
        out
    }
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Little-endian fields, one after the other.
#[derive(Debug, Default)]
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    pub(super) fn byte(mut self, n: u8) -> Self {
        self.0.push(n);
        self
    }

    pub(super) fn half(mut self, n: u16) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    pub(super) fn word(mut self, n: u32) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    pub(super) fn long(mut self, n: u64) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// The length of what follows or is counted, as 32 bits.
    pub(super) fn count(self, n: usize) -> Self {
        self.word(u32::try_from(n).unwrap_or(u32::MAX))
    }
}

/// Text as UTF-16, little-endian.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// UTF-16 as text; what is no text becomes the replacement character.
pub(super) fn text(utf16: &[u8]) -> String {
    let units: Vec<u16> = utf16.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    String::from_utf16_lossy(&units)
}
