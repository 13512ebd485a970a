//! Captures with pseudonyms for addresses and nothing of what was said.
//!
//! Of each frame stay the link header, IP and the transport header; hardware addresses are zeroed, IP addresses replaced,
//! checksums corrected by the difference (RFC 1624), so that a wrong one stays wrong. What comes behind is cut off, as
//! capturing with a short snap length does; the length on the wire stays. So features that are not of payloads are the same
//! as before. Cut off with the payload are tunnels' inner packets and the quotes in ICMP errors; IPv4 options other than
//! padding become no-operations. ARP is kept with pseudonyms; other protocols are left out and counted.

use super::CryptoPan;
use serde::Serialize;
use std::io::{self, Read, Write};
use wire::LinkType;
use wire::capture::{CaptureError, Reader, Writer};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// IPv6 extension headers that are stepped over, their options emptied: hop-by-hop and destination options. Others (routing
/// headers hold addresses) are cut off with what follows.
const OPTIONS: [u8; 2] = [0, 60];
const FRAGMENT: u8 = 44;
/// ICMP redirects name a gateway in their header (RFC 792).
const REDIRECT: u8 = 5;
/// Most IPv6 extension headers stepped over: the parser's own patience is no larger.
const MAX_EXTENSIONS: usize = 8;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CaptureReport {
    /// Frames read.
    pub frames: u64,
    /// Frames written.
    pub written: u64,
    /// Frames of other protocols than IP and ARP, or cut off before their addresses: left out.
    pub left_out: u64,
    /// Bytes of payload cut off.
    pub payload_bytes: u64,
    /// Why reading stopped early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Copies a capture.
///
/// # Errors
/// Of writing, or if nothing could be read. What can be read before a fault is copied; the fault is in the report.
pub fn capture(from: impl Read, to: impl Write, pan: &CryptoPan) -> Result<CaptureReport, CaptureError> {
    let fault = |source: io::Error| CaptureError::Io { offset: 0, source };
    let mut reader = Reader::new(from)?;
    let mut sink = Some(to);
    let mut writer: Option<(LinkType, Writer<_>)> = None;
    let mut report = CaptureReport::default();
    let mut frame = Vec::new();
    loop {
        let next = match reader.next() {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(e) => {
                report.error = Some(e.to_string());
                break;
            }
        };
        report.frames += 1;
        frame.clear();
        frame.extend_from_slice(next.data);
        let kept = next.link.and_then(|link| Some((link, conceal(link, &mut frame, pan)?)));
        let Some((link, length)) = kept else {
            report.left_out += 1;
            continue;
        };
        report.payload_bytes += (frame.len() - length.min(frame.len())) as u64;
        if writer.is_none()
            && let Some(sink) = sink.take()
        {
            writer = Some((link, Writer::new(sink, link).map_err(fault)?));
        }
        match &mut writer {
            // A pcap file has one link type.
            Some((first, out)) if *first == link => {
                let whole = next.orig_len;
                out.write_cut(next.ts_ns, frame.get(..length).unwrap_or(&frame), whole).map_err(fault)?;
                report.written += 1;
            }
            _ => report.left_out += 1,
        }
    }
    match (writer, sink) {
        (Some((_, out)), _) => drop(out.finish().map_err(fault)?),
        (None, Some(sink)) => {
            Writer::new(sink, LinkType::Ethernet).and_then(Writer::finish).map(drop).map_err(fault)?;
        }
        (None, None) => {}
    }
    Ok(report)
}

fn read16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Replaces addresses in place and returns how much of the frame stays; `None` if it is to be left out.
fn conceal(link: LinkType, frame: &mut [u8], pan: &CryptoPan) -> Option<usize> {
    let (start, kind) = match link {
        LinkType::Ethernet => {
            let mut at = 12;
            while VLAN.contains(&read16(frame, at)?) {
                at += 4;
            }
            frame.get_mut(..12)?.fill(0);
            (at + 2, read16(frame, at)?)
        }
        LinkType::LinuxSll => {
            frame.get_mut(6..14)?.fill(0);
            (16, read16(frame, 14)?)
        }
        LinkType::LinuxSll2 => {
            frame.get_mut(12..20)?.fill(0);
            (20, read16(frame, 0)?)
        }
        _ => {
            // Raw IP and loopback links: IP begins at 0, or behind a family of four bytes.
            let version = |at: usize| frame.get(at).map(|b| b >> 4);
            let start = if matches!(version(0), Some(4 | 6)) { 0 } else { 4 };
            match version(start)? {
                4 => (start, IPV4),
                6 => (start, IPV6),
                _ => return None,
            }
        }
    };
    let packet = frame.get_mut(start..)?;
    let kept = match kind {
        IPV4 => ipv4(packet, pan)?,
        IPV6 => ipv6(packet, pan)?,
        ARP => arp(packet, pan)?,
        _ => return None,
    };
    Some(start + kept)
}

fn ipv4(packet: &mut [u8], pan: &CryptoPan) -> Option<usize> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    if packet.first()? >> 4 != 4 || header < 20 || packet.len() < header {
        return None;
    }
    let mut change = Change::default();
    for at in [12, 16] {
        let place = packet.get_mut(at..at + 4)?;
        let new = pan.v4(*place.first_chunk()?);
        change.replace(place, &new);
    }
    let pseudo = change;
    // Record route and timestamps hold addresses.
    for byte in packet.get_mut(20..header)?.chunks_exact_mut(2) {
        let new = byte.iter().map(|b| u8::from(*b != 0)).collect::<Vec<u8>>();
        change.replace(byte, &new);
    }
    change.apply(packet, 10, false);
    let (protocol, offset) = (*packet.get(9)?, read16(packet, 6)? & 0x1fff);
    if offset != 0 {
        return Some(header);
    }
    let segment = packet.get_mut(header..)?;
    if protocol == 1 && segment.first() == Some(&REDIRECT) {
        let mut change = Change::default();
        let place = segment.get_mut(4..8)?;
        let new = pan.v4(*place.first_chunk()?);
        change.replace(place, &new);
        change.apply(segment, 2, false);
    }
    Some(header + transport(segment, protocol, pseudo))
}

fn ipv6(packet: &mut [u8], pan: &CryptoPan) -> Option<usize> {
    if packet.first()? >> 4 != 6 || packet.len() < 40 {
        return None;
    }
    let mut change = Change::default();
    for at in [8, 24] {
        let place = packet.get_mut(at..at + 16)?;
        let new = pan.v6(*place.first_chunk()?);
        change.replace(place, &new);
    }
    let (mut next, mut at) = (*packet.get(6)?, 40);
    for _ in 0..MAX_EXTENSIONS {
        let fragment = next == FRAGMENT;
        if !fragment && !OPTIONS.contains(&next) {
            break;
        }
        let Some(length) = packet.get(at + 1).map(|n| if fragment { 8 } else { 8 + usize::from(*n) * 8 })
        else {
            return Some(at.min(packet.len()));
        };
        if packet.len() < at + length {
            return Some(at);
        }
        let later = fragment && read16(packet, at + 2)? & 0xfff8 != 0;
        next = *packet.get(at)?;
        // Home address options of mobile hosts hold addresses: padding instead (PadN, RFC 8200 §4.2).
        if !fragment {
            let options = packet.get_mut(at + 2..at + length)?;
            options.fill(0);
            if let [kind, size, ..] = options {
                (*kind, *size) = (1, u8::try_from(length - 4).unwrap_or(u8::MAX));
            }
        }
        at += length;
        if later {
            return Some(at);
        }
    }
    Some(at + transport(packet.get_mut(at..)?, next, change))
}

/// Corrects the transport's checksum and returns the length of its header.
fn transport(segment: &mut [u8], protocol: u8, pseudo: Change) -> usize {
    let (checksum, length) = match protocol {
        6 => (Some(16), segment.get(12).map_or(0, |b| usize::from(b >> 4) * 4)),
        17 => (Some(6), 8),
        1 => (None, 8),
        58 => (Some(2), 8),
        132 => (None, 12),
        _ => (None, 0),
    };
    if let Some(at) = checksum {
        pseudo.apply(segment, at, protocol == 17);
    }
    length.min(segment.len())
}

fn arp(packet: &mut [u8], pan: &CryptoPan) -> Option<usize> {
    // Ethernet and IPv4 (RFC 826): 28 bytes.
    if packet.get(..8)?.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    for at in [8, 18] {
        packet.get_mut(at..at + 6)?.fill(0);
    }
    for at in [14, 24] {
        let place = packet.get_mut(at..at + 4)?;
        let new = pan.v4(*place.first_chunk()?);
        place.copy_from_slice(&new);
    }
    Some(28)
}

/// What replaced words add to a checksum, RFC 1624: one's complement sum of `~m + m'`.
#[derive(Clone, Copy, Default)]
struct Change {
    sum: u32,
}

impl Change {
    /// Replaces bytes at an even place of what is summed.
    fn replace(&mut self, place: &mut [u8], new: &[u8]) {
        for (old, new) in place.chunks_exact_mut(2).zip(new.chunks_exact(2)) {
            if let ([a, b], [c, d]) = (&mut *old, new) {
                self.sum +=
                    u32::from(!u16::from_be_bytes([*a, *b])) + u32::from(u16::from_be_bytes([*c, *d]));
                (*a, *b) = (*c, *d);
            }
        }
    }

    /// Corrects the checksum at `at`; where 0 means that there is none, it stays so.
    fn apply(self, bytes: &mut [u8], at: usize, optional: bool) {
        let Some(old) = read16(bytes, at) else { return };
        if optional && old == 0 {
            return;
        }
        let mut sum = u32::from(!old) + self.sum;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let new = !(sum as u16);
        let new = if optional && new == 0 { 0xffff } else { new };
        if let Some(place) = bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&new.to_be_bytes());
        }
    }
}
