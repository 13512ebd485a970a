//! What the sizes of a server's encrypted payloads tell, given the cipher that was agreed on.

use super::super::Side;
use super::super::bytes::be32;
use super::Auth;

/// How packets of one direction are sealed: RFC 4253 §6, RFC 5647 and OpenSSH's PROTOCOL.chacha20poly1305.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// Sizes are multiples of this, bytes.
    block: u32,
    /// Bytes of the authentication code.
    code: u32,
    /// The length field does not count for the multiple.
    length_outside: bool,
}

/// Position of the lists of names in a key exchange message, RFC 4253 §7.1.
const CIPHER_TO_CLIENT: usize = 3;
const CODE_TO_CLIENT: usize = 5;
const COMPRESSION_TO_CLIENT: usize = 7;

impl Seal {
    /// The one from server to client that these two offers lead to; `None` if its sizes are not known.
    pub(super) fn agreed(client: &[u8], server: &[u8]) -> Option<Self> {
        let choose = |list: usize| {
            let (wanted, had) = (names(client, list)?, names(server, list)?);
            wanted.split(|b| *b == b',').find(|name| had.split(|b| *b == b',').any(|other| other == *name))
        };
        // Delayed compression begins after success.
        if !matches!(choose(COMPRESSION_TO_CLIENT), Some(b"none" | b"zlib@openssh.com")) {
            return None;
        }
        let block = match choose(CIPHER_TO_CLIENT)? {
            b"chacha20-poly1305@openssh.com" => {
                return Some(Self { block: 8, code: 16, length_outside: true });
            }
            b"aes128-gcm@openssh.com"
            | b"aes256-gcm@openssh.com"
            | b"AEAD_AES_128_GCM"
            | b"AEAD_AES_256_GCM" => {
                return Some(Self { block: 16, code: 16, length_outside: true });
            }
            b"aes128-ctr" | b"aes192-ctr" | b"aes256-ctr" | b"aes128-cbc" | b"aes192-cbc" | b"aes256-cbc" => {
                16
            }
            b"3des-cbc" | b"3des-ctr" | b"blowfish-cbc" | b"cast128-cbc" | b"arcfour" | b"arcfour128"
            | b"arcfour256" => 8,
            _ => return None,
        };
        let code = choose(CODE_TO_CLIENT)?;
        let plain = code.strip_suffix(b"@openssh.com").unwrap_or(code);
        let length_outside = plain.ends_with(b"-etm");
        let code = match plain.strip_suffix(b"-etm").unwrap_or(plain) {
            b"hmac-sha2-256" => 32,
            b"hmac-sha2-512" => 64,
            b"hmac-sha1" => 20,
            b"hmac-md5" | b"umac-128" => 16,
            b"hmac-sha1-96" | b"hmac-md5-96" => 12,
            b"umac-64" => 8,
            _ => return None,
        };
        Some(Self { block, code, length_outside })
    }

    /// Bytes on the wire of a packet with this much content.
    const fn packet(self, content: u32) -> u32 {
        // The length of the padding, of which there are at least four bytes.
        let body = if self.length_outside { 1 + content } else { 5 + content };
        let sealed = (body + 4).next_multiple_of(self.block);
        sealed + self.code + if self.length_outside { 4 } else { 0 }
    }
}

/// The list of names at this position of an offer.
fn names(offer: &[u8], list: usize) -> Option<&[u8]> {
    let mut at = 0;
    for _ in 0..list {
        at += 4 + be32(offer, at)? as usize;
    }
    offer.get(at + 4..)?.get(..be32(offer, at)? as usize)
}

/// SERVICE_ACCEPT of `ssh-userauth`, RFC 4253 §10.
const ACCEPT: u32 = 17;
/// USERAUTH_SUCCESS, RFC 4252 §5.1.
const SUCCESS: u32 = 1;
/// USERAUTH_FAILURE with the shortest method (`none` alone is never listed) and with all that are registered.
const FAILURE: (u32, u32) = (14, 120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Service,
    Requests,
    Over,
}

/// The encrypted part of a connection up to a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    seal: Seal,
    stage: Stage,
    /// The client spoke since the server last did.
    asked: bool,
    /// Size of a refusal.
    refusal: Option<u32>,
    failures: u16,
}

impl Sealed {
    pub(super) const fn new(seal: Seal) -> Self {
        Self { seal, stage: Stage::Service, asked: false, refusal: None, failures: 0 }
    }

    /// Takes the length of one payload; what it tells.
    pub(super) fn payload(&mut self, from: Side, length: u32) -> Option<Auth> {
        if from == Side::Client {
            self.asked = true;
            return None;
        }
        // What nobody asked for are extensions (RFC 8308) and banners.
        if !std::mem::take(&mut self.asked) {
            return None;
        }
        match self.stage {
            Stage::Service if length == self.seal.packet(ACCEPT) => self.stage = Stage::Requests,
            Stage::Requests if length == self.seal.packet(SUCCESS) => {
                self.stage = Stage::Over;
                return Some(Auth { success: true, failures: self.failures });
            }
            Stage::Requests => {
                let (least, most) = (self.seal.packet(FAILURE.0), self.seal.packet(FAILURE.1));
                if (least..=most).contains(&length) && *self.refusal.get_or_insert(length) == length {
                    self.failures = self.failures.saturating_add(1);
                    return Some(Auth { success: false, failures: self.failures });
                }
            }
            Stage::Service | Stage::Over => {}
        }
        None
    }
}
