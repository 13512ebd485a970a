//! JA3, JA3S and JA4: what a TLS stack offers, as short names for it.
//!
//! They identify software, not messages: MD5 is part of what JA3 is. Values of GREASE (RFC 8701), which are random by
//! design, are left out. JA4 (client) is the FoxIO specification, revision of 2023: sorted, so that stacks that shuffle
//! their extensions keep one name.

use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// What a ClientHello offers.
#[derive(Default)]
pub(super) struct Offer {
    pub(super) legacy_version: u16,
    /// The highest offered.
    pub(super) version: u16,
    pub(super) ciphers: Vec<u16>,
    pub(super) extensions: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) point_formats: Vec<u8>,
    pub(super) signatures: Vec<u16>,
    /// The first protocol of ALPN.
    pub(super) alpn: Option<Vec<u8>>,
}

/// RFC 8701 §2: both bytes alike, the low half of each 0xa.
pub(super) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// JA3: version, ciphers, extensions, groups and point formats in decimal.
pub(super) fn ja3(offer: &Offer) -> Box<str> {
    let mut text = String::with_capacity(512);
    decimal(&mut text, offer.legacy_version);
    text.push(',');
    decimals(&mut text, offer.ciphers.iter().copied());
    text.push(',');
    decimals(&mut text, offer.extensions.iter().copied());
    text.push(',');
    decimals(&mut text, offer.groups.iter().copied().filter(|g| !is_grease(*g)));
    text.push(',');
    decimals(&mut text, offer.point_formats.iter().map(|f| u16::from(*f)));
    hexadecimal(&Md5::digest(&text))
}

/// JA3S: version, cipher and extensions in decimal.
pub(super) fn ja3s(version: u16, cipher: u16, extensions: &[u16]) -> Box<str> {
    let mut text = String::with_capacity(64);
    decimal(&mut text, version);
    text.push(',');
    decimal(&mut text, cipher);
    text.push(',');
    decimals(&mut text, extensions.iter().copied());
    hexadecimal(&Md5::digest(&text))
}

/// JA4 of a ClientHello over TCP. Sorts what the offer holds.
pub(super) fn ja4(offer: &mut Offer, sni: bool) -> Box<str> {
    let version = match offer.version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    };
    let (ciphers, extensions) = (offer.ciphers.len().min(99), offer.extensions.len().min(99));
    let [first, last] = alpn_ends(offer.alpn.as_deref().unwrap_or_default());
    let mut name = String::with_capacity(36);
    // Writing to a string cannot fail.
    let _ = write!(name, "t{version}{}{ciphers:02}{extensions:02}", if sni { 'd' } else { 'i' });
    name.extend([first, last, '_']);

    let mut text = String::with_capacity(256);
    offer.ciphers.sort_unstable();
    quads(&mut text, &offer.ciphers);
    push_digest(&mut name, &text);
    name.push('_');

    text.clear();
    // Server name and ALPN say where, not what: the same software has them or not.
    offer.extensions.retain(|e| !matches!(e, 0x0000 | 0x0010));
    offer.extensions.sort_unstable();
    quads(&mut text, &offer.extensions);
    offer.signatures.retain(|s| !is_grease(*s));
    if !offer.signatures.is_empty() && !offer.extensions.is_empty() {
        text.push('_');
        quads(&mut text, &offer.signatures);
    }
    push_digest(&mut name, &text);
    name.into()
}

/// First and last character of the first protocol; of its hexadecimal form if either is not alphanumeric.
fn alpn_ends(alpn: &[u8]) -> [char; 2] {
    match (alpn.first(), alpn.last()) {
        (Some(a), Some(b)) if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric() => {
            [char::from(*a), char::from(*b)]
        }
        (Some(a), Some(b)) => [digit(a >> 4), digit(b & 15)],
        _ => ['0', '0'],
    }
}

/// The first twelve digits of a SHA-256; zeros of nothing.
fn push_digest(name: &mut String, text: &str) {
    if text.is_empty() {
        name.push_str("000000000000");
        return;
    }
    for byte in Sha256::digest(text).iter().take(6) {
        name.extend([digit(byte >> 4), digit(byte & 15)]);
    }
}

fn hexadecimal(bytes: &[u8]) -> Box<str> {
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect::<String>().into()
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value & 15), 16).unwrap_or('0')
}

/// Four hexadecimal digits each, with commas.
fn quads(text: &mut String, values: &[u16]) {
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        let [a, b] = value.to_be_bytes();
        text.extend([digit(a >> 4), digit(a), digit(b >> 4), digit(b)]);
    }
}

/// Decimal numbers with hyphens.
fn decimals(text: &mut String, values: impl Iterator<Item = u16>) {
    for (i, value) in values.enumerate() {
        if i > 0 {
            text.push('-');
        }
        decimal(text, value);
    }
}

fn decimal(text: &mut String, value: u16) {
    let mut unit = 10_000;
    while unit > 1 && value < unit {
        unit /= 10;
    }
    while unit > 0 {
        text.push(char::from(b'0' + (value / unit % 10) as u8));
        unit /= 10;
    }
}
