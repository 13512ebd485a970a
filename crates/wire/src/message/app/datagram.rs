//! Recognition of datagrams: the first of each side, whole, with ports to break ties.

use super::super::bytes::{be16, be32};
use super::shape::{self, Fit};
use super::{App, Recognition};

/// The application of a flow over UDP from the first datagram of each side; either may be empty. `ports` are those of
/// the client and the server; they count only where the content leaves a choice.
#[must_use]
pub fn datagram(client: &[u8], server: &[u8], ports: (u16, u16)) -> Recognition {
    if let Some(app) = one(client, ports).or_else(|| one(server, ports)) {
        return Recognition::Is(app);
    }
    if client.is_empty() || server.is_empty() {
        return Recognition::Undecided;
    }
    // Client and server of NTP agree on a time.
    let stamp = |bytes: &[u8], at: usize| bytes.get(at..).and_then(|b| b.first_chunk::<8>().copied());
    let mode = |bytes: &[u8]| bytes.first().map(|b| b & 7);
    let same = stamp(client, 40).is_some_and(|sent| sent != [0; 8] && stamp(server, 24) == Some(sent));
    if same && mode(client) == Some(3) && mode(server) == Some(4) && client.len() >= 48 {
        return Recognition::Is(App::Ntp);
    }
    Recognition::No
}

/// What one datagram is.
fn one(bytes: &[u8], (client, server): (u16, u16)) -> Option<App> {
    let at = |port: u16| client == port || server == port;
    let first = *bytes.first()?;
    let length = bytes.len();
    let cookie = length >= 240 && be32(bytes, 236) == Some(0x6382_5363) && matches!(first, 1 | 2);
    if cookie && bytes.get(2).is_some_and(|hardware| *hardware <= 16) {
        return Some(App::Dhcp);
    }
    if first & 0x80 != 0 && first & 0x40 != 0 && quic(bytes) {
        return Some(App::Quic);
    }
    if (b' '..0x7f).contains(&first) {
        if let Some(app) = words(bytes, at(1900)) {
            return Some(app);
        }
        match shape::ldap(bytes) {
            Some(0x60..=0x66 | 0x73 | 0x77 | 0x78) => return Some(App::Cldap),
            _ if first == 0x30 && shape::snmp(bytes) => return Some(App::Snmp),
            _ => {}
        }
    }
    // Names of NetBIOS fit into DNS, but the type (NB, NBSTAT) does not.
    if length >= 50 && shape::netbios_name(bytes, 12) && matches!(be16(bytes, 46), Some(0x20 | 0x21)) {
        return Some(App::Nbns);
    }
    if shape::dns(bytes, length) == Fit::Yes {
        return Some(App::Dns);
    }
    if length >= 20 && first < 0x40 && be32(bytes, 4) == Some(0x2112_a442) {
        return be16(bytes, 2).is_some_and(|l| usize::from(l) + 20 == length).then_some(App::Stun);
    }
    if shape::kerberos(bytes) {
        return Some(App::Kerberos);
    }
    if memcached(bytes) {
        return Some(App::Memcached);
    }
    if radius(bytes) {
        return Some(App::Radius);
    }
    // From here on a header alone, so the port must say the same.
    let named = at(53) || at(5353) || at(5355);
    if named && shape::dns_header(bytes) {
        return Some(App::Dns);
    }
    let (version, mode) = (first >> 3 & 7, first & 7);
    let long = length >= 48 || matches!(mode, 6 | 7) && length >= 8;
    (at(123) && (1..=4).contains(&version) && mode != 0 && long).then_some(App::Ntp)
}

/// Protocols of lines.
fn words(bytes: &[u8], ssdp_port: bool) -> Option<App> {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let has = |what: &[u8]| line.windows(what.len()).any(|w| w == what);
    let begins = |what: &[u8]| line.starts_with(what);
    if begins(b"M-SEARCH * HTTP/1.") || begins(b"NOTIFY * HTTP/1.") || ssdp_port && begins(b"HTTP/1.") {
        Some(App::Ssdp)
    } else if begins(b"SIP/2.0 ") || has(b" SIP/2.0") {
        Some(App::Sip)
    } else if syslog(bytes) {
        Some(App::Syslog)
    } else {
        None
    }
}

/// `<priority>` up to 191 without leading zeros, then a version or a word.
fn syslog(bytes: &[u8]) -> bool {
    let Some((b'<', rest)) = bytes.split_first() else { return false };
    let digits = rest.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    let priority =
        rest.get(..digits).unwrap_or_default().iter().fold(0u32, |sum, b| sum * 10 + u32::from(b - b'0'));
    let plain = digits == 1 || rest.first() != Some(&b'0');
    let (close, then) = (rest.get(digits), rest.get(digits + 1));
    (1..=3).contains(&digits)
        && plain
        && priority <= 191
        && close == Some(&b'>')
        && then.is_some_and(u8::is_ascii_graphic)
}

/// A long header, RFC 9000 §17.2, with a version that exists, and connection identifiers that fit it.
fn quic(bytes: &[u8]) -> bool {
    let version = be32(bytes, 1).unwrap_or(u32::MAX);
    let known = matches!(version, 0 | 1 | 0x6b33_43cf | 0xff00_0000..=0xff00_00ff | 0xface_b000..=0xface_b0ff)
        || version & 0x0f0f_0f0f == 0x0a0a_0a0a
        // Google's own, such as Q046 and T051.
        || matches!(version.to_be_bytes(), [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9']);
    let destination = usize::from(bytes.get(5).copied().unwrap_or(u8::MAX));
    // Up to Q046 one byte tells both lengths.
    let old = matches!(version.to_be_bytes(), [b'Q', b'0', b'4', _]);
    known && (old || destination <= 20 && bytes.get(6 + destination).is_some_and(|source| *source <= 20))
}

/// The frame header of memcached over UDP, then a command or an answer.
fn memcached(bytes: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"get ",
        b"gets ",
        b"gat ",
        b"set ",
        b"add ",
        b"stats",
        b"version",
        b"delete ",
        b"flush_all",
        b"STAT ",
        b"VALUE ",
        b"END\r\n",
        b"VERSION ",
        b"STORED\r\n",
    ];
    let framed = be16(bytes, 4).is_some_and(|n| n > 0) && be16(bytes, 6) == Some(0);
    framed && bytes.get(8..).is_some_and(|text| WORDS.iter().any(|word| text.starts_with(word)))
}

/// A header as long as the datagram, and attributes that fill it exactly; RFC 2865 §3 and §5.
fn radius(bytes: &[u8]) -> bool {
    if !matches!(bytes.first(), Some(1..=5 | 11..=13 | 40..=45))
        || be16(bytes, 2).map(usize::from) != Some(bytes.len())
    {
        return false;
    }
    let mut at = 20;
    while let (Some(kind), Some(length)) = (bytes.get(at), bytes.get(at + 1)) {
        if *kind == 0 || *length < 2 {
            return false;
        }
        at += usize::from(*length);
    }
    at == bytes.len() && bytes.len() >= 22
}
