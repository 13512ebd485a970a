//! The bodies of the hellos, RFC 8446 §4.1.2 and §4.1.3.

use super::super::bytes::{be16, lower, text};
use super::super::{Message, Side};
use super::fingerprint::{self, Offer};
use super::{ClientHello, ServerHello};

/// Longest server name kept, bytes: that of a domain name.
const MAX_SNI: usize = 255;
/// Longest protocol name of ALPN, bytes, RFC 7301 §3.1.
const MAX_ALPN: usize = 255;

/// `legacy_version` and `random`.
const FIXED: usize = 2 + 32;

/// Extension types, IANA "TLS ExtensionType Values".
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const EC_POINT_FORMATS: u16 = 11;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
}

type Bytes<'a> = &'a [u8];

/// Reads the body of a hello.
pub(super) fn read(from: Side, body: &[u8]) -> Result<Message, &'static str> {
    let version = be16(body, 0).ok_or("hello_cut_short")?;
    let rest = body.get(FIXED..).ok_or("hello_cut_short")?;
    let (session_id, rest) = prefixed8(rest).ok_or("hello_cut_short")?;
    if session_id.len() > 32 {
        return Err("session_id_length");
    }
    match from {
        Side::Client => client(version, rest).map(Message::TlsClientHello),
        Side::Server => server(version, rest).map(Message::TlsServerHello),
    }
}

fn client(version: u16, rest: &[u8]) -> Result<ClientHello, &'static str> {
    let (ciphers, rest) = prefixed16(rest).ok_or("cipher_list_length")?;
    if ciphers.len() % 2 != 0 || ciphers.is_empty() {
        return Err("cipher_list_length");
    }
    let (_compressions, rest) = prefixed8(rest).ok_or("hello_cut_short")?;
    let mut offer =
        Offer { legacy_version: version, version, ciphers: shorts(ciphers).collect(), ..Offer::default() };
    let mut hello = ClientHello::default();
    extensions(rest, |kind, value| {
        offer.extensions.push(kind);
        match kind {
            extension::SERVER_NAME => hello.sni = server_name(value).map(|name| lower(name, MAX_SNI)),
            extension::SUPPORTED_GROUPS => offer.groups = list16(value),
            extension::EC_POINT_FORMATS => {
                offer.point_formats = prefixed8(value).map_or_else(Vec::new, |(formats, _)| formats.to_vec());
            }
            extension::SIGNATURE_ALGORITHMS => offer.signatures = list16(value),
            extension::ALPN => {
                let first = prefixed16(value).and_then(|(list, _)| prefixed8(list)).map(|(first, _)| first);
                offer.alpn = first.map(<[u8]>::to_vec);
                hello.alpn = first.map(|name| text(name, MAX_ALPN));
            }
            extension::SUPPORTED_VERSIONS => {
                let versions = prefixed8(value).map(|(versions, _)| versions).unwrap_or_default();
                let highest = shorts(versions).filter(|v| !fingerprint::is_grease(*v)).max();
                offer.version = highest.unwrap_or(version);
            }
            _ => {}
        }
    })?;
    let sni = offer.extensions.contains(&extension::SERVER_NAME);
    offer.ciphers.retain(|c| !fingerprint::is_grease(*c));
    offer.extensions.retain(|e| !fingerprint::is_grease(*e));
    hello.version = offer.version;
    hello.ciphers = offer.ciphers.len() as u16;
    hello.extensions = offer.extensions.len() as u16;
    hello.ja3 = fingerprint::ja3(&offer);
    hello.ja4 = fingerprint::ja4(&mut offer, sni);
    Ok(hello)
}

fn server(legacy_version: u16, rest: &[u8]) -> Result<ServerHello, &'static str> {
    let cipher = be16(rest, 0).ok_or("hello_cut_short")?;
    // The cipher suite and the compression method.
    let rest = rest.get(3..).ok_or("hello_cut_short")?;
    let (mut version, mut kinds) = (legacy_version, Vec::new());
    extensions(rest, |kind, value| {
        kinds.push(kind);
        if kind == extension::SUPPORTED_VERSIONS {
            version = be16(value, 0).unwrap_or(version);
        }
    })?;
    Ok(ServerHello { version, cipher, ja3s: fingerprint::ja3s(legacy_version, cipher, &kinds) })
}

/// Goes through the list of extensions that ends a hello; hellos before TLS 1.2 may have none.
fn extensions<'a>(rest: Bytes<'a>, mut each: impl FnMut(u16, Bytes<'a>)) -> Result<(), &'static str> {
    if rest.is_empty() {
        return Ok(());
    }
    let (mut list, behind) = prefixed16(rest).ok_or("extension_list_length")?;
    if !behind.is_empty() {
        return Err("trailing_bytes");
    }
    while !list.is_empty() {
        let kind = be16(list, 0).ok_or("extension_length")?;
        let (value, rest) = list.get(2..).and_then(prefixed16).ok_or("extension_length")?;
        each(kind, value);
        list = rest;
    }
    Ok(())
}

/// The first host name of a server name extension, RFC 6066 §3.
fn server_name(value: &[u8]) -> Option<&[u8]> {
    let (list, _) = prefixed16(value)?;
    match list {
        [0, name @ ..] => prefixed16(name).map(|(name, _)| name),
        _ => None,
    }
}

/// What a one-byte length announces, and what follows.
fn prefixed8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// What a two-byte length announces, and what follows.
fn prefixed16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Numbers of two bytes.
fn shorts(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|b| u16::from_be_bytes(*b))
}

fn list16(value: &[u8]) -> Vec<u16> {
    prefixed16(value).map_or_else(Vec::new, |(list, _)| shorts(list).collect())
}
