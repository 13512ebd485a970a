//! Services over UDP: time, and those that are abused to amplify.
//!
//! Each answers one kind of small question with an answer as large as real servers give: NTP's monitor list (CVE-2013-5211),
//! SNMP's bulk answers, SSDP searches, memcached. A scenario that forges the sender's address makes them send to it.

use super::{Parameter, Server, TrafficError, Values, listen, parameter};
use crate::chance::Chance;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{SystemTime, UNIX_EPOCH};

/// From 1900, NTP's beginning, to 1970, s.
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// Entries of a monitor list's packet, each of 72 bytes: six, as ntpd sends.
const MONITORED: usize = 6;
/// Rows of a bulk answer; it stays below one packet of Ethernet, as SNMP over UDP does.
const SNMP_ROWS: usize = 36;
/// What data in an echo begins with that belongs to a tunnel.
pub(crate) const TUNNEL_MARK: &[u8] = b"tun!";
/// Bytes of the value that memcached holds.
const VALUE: usize = 1300;

pub(super) const NTP: &[Parameter] = &[parameter::ADDRESS, parameter::port("123")];
pub(super) const SNMP: &[Parameter] = &[parameter::ADDRESS, parameter::port("161")];
pub(super) const SSDP: &[Parameter] = &[parameter::ADDRESS, parameter::port("1900")];
pub(super) const MEMCACHED: &[Parameter] = &[parameter::ADDRESS, parameter::port("11211")];
pub(super) const TUNNEL: &[Parameter] = &[parameter::ADDRESS];
pub(super) const ECHO: &[Parameter] = &[parameter::ADDRESS, parameter::port("5004")];

pub(super) fn ntp(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::udp(listen(values), |question| time(question).or_else(|| monitored(question)))?])
}

pub(super) fn snmp(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::udp(listen(values), bulk)?])
}

pub(super) fn ssdp(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::udp(listen(values), discovered)?])
}

pub(super) fn memcached(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::udp(listen(values), cached)?])
}

/// The far end of a tunnel through echoes: data behind a mark is answered with other data, of another length; all other
/// echo requests are answered as they must be.
pub(super) fn tunnel(values: &Values) -> Result<Vec<Server>, TrafficError> {
    let IpAddr::V4(addr) = values.addr("address") else {
        return Err(TrafficError::Versions(values.addr("address"), Ipv4Addr::UNSPECIFIED.into()));
    };
    let server = Server::echo(addr, |data| {
        if !data.starts_with(TUNNEL_MARK) {
            return data.to_vec();
        }
        let seed = data.iter().fold(0, |sum: u64, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b)));
        let mut chance = Chance::new(seed);
        let len = usize::try_from(chance.pick(200..1200)).unwrap_or(200);
        [TUNNEL_MARK, &chance.bytes(len)].concat()
    })?;
    Ok(vec![server])
}

/// Returns every datagram, as the far end of a call does by sending its own.
pub(super) fn echo(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::udp(listen(values), |datagram| Some(datagram.to_vec()))?])
}

/// The answer of a server to a client, RFC 5905 §7.3: version 4, stratum 2.
pub(super) fn time(question: &[u8]) -> Option<Vec<u8>> {
    let first = *question.first()?;
    // Mode 3 is a client's.
    if first & 7 != 3 || question.len() < 48 {
        return None;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = u32::try_from((since.as_secs() + NTP_TO_UNIX) & 0xffff_ffff).unwrap_or(0);
    let fraction = u32::try_from((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000).unwrap_or(0);
    let stamp = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
    // No warning, the client's version, server; stratum, poll, precision; root delay and dispersion; reference.
    let mut out = vec![first & 0x38 | 4, 2, 6, 0xec, 0, 0, 1, 0, 0, 0, 2, 0, 192, 0, 2, 1];
    out.extend(&stamp);
    out.extend(question.get(40..48)?);
    out.extend(&stamp);
    out.extend(&stamp);
    Some(out)
}

/// One packet of the answer to the private request for the monitor list: mode 7, implementation 3, request 42.
pub(super) fn monitored(question: &[u8]) -> Option<Vec<u8>> {
    if question.first()? & 7 != 7 || question.get(2..4)? != [3, 42] {
        return None;
    }
    let mut out = vec![0x97, 0, 3, 42, 0, MONITORED as u8, 0, 72];
    for i in 0..MONITORED {
        out.extend((0..72).map(|b| (i * 31 + b * 7) as u8));
    }
    Some(out)
}

/// One BER element of less than 64 KB.
fn ber(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut out = match (high, low) {
        (0, 0..=127) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend(content);
    out
}

/// The answer to a version 2c request with community `public` (RFC 3416): one value to a get, a table to a bulk request.
pub(super) fn bulk(question: &[u8]) -> Option<Vec<u8>> {
    const GET: u8 = 0xa0;
    const NEXT: u8 = 0xa1;
    const BULK: u8 = 0xa5;
    let community = question.windows(8).position(|w| w == b"\x04\x06public")?;
    let kind = *question.get(community + 8)?;
    // The request identifier is the first element of the request, whose length may take more bytes than one.
    let long = usize::from(question.get(community + 9)? & 0x80 != 0);
    let at = community + 10 + long;
    let len = usize::from(*question.get(at + 1)?);
    let id = question.get(at..at + 2 + len.min(8))?;
    let rows = match kind {
        GET | NEXT => 1,
        BULK => SNMP_ROWS,
        _ => return None,
    };
    // sysDescr, and so on below the system group.
    let row = |i: usize| {
        let name = ber(6, &[0x2b, 6, 1, 2, 1, 1, 1, u8::try_from(i).unwrap_or(0)]);
        ber(0x30, &[name, ber(4, b"lab device, first floor")].concat())
    };
    let list = ber(0x30, &(0..rows).flat_map(row).collect::<Vec<u8>>());
    let answer = [id.to_vec(), ber(2, &[0]), ber(2, &[0]), list].concat();
    Some(ber(0x30, &[ber(2, &[1]), ber(4, b"public"), ber(0xa2, &answer)].concat()))
}

/// The answer to a search (UPnP Device Architecture 1.1 §1.3.3).
pub(super) fn discovered(question: &[u8]) -> Option<Vec<u8>> {
    question.starts_with(b"M-SEARCH ").then(|| {
        let text = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nEXT:\r\nLOCATION: http://192.0.2.110:80/device.xml\r\n\
             SERVER: lab/1.0 UPnP/1.1 lab/1.0\r\nST: upnp:rootdevice\r\n\
             USN: uuid:00000000-0000-0000-0000-000000000000::upnp:rootdevice\r\n\
             X-DESCRIPTION: a device of the lab that answers searches at some length, as many devices do\r\n\r\n";
        text.as_bytes().to_vec()
    })
}

/// The answer to a `get` over UDP: the frame header of eight bytes (the request's, one packet), and a large value.
pub(super) fn cached(question: &[u8]) -> Option<Vec<u8>> {
    let (frame, command) = question.split_at_checked(8)?;
    let key = command.strip_prefix(b"get ")?.split(u8::is_ascii_whitespace).next()?;
    let mut out = frame.get(..2)?.to_vec();
    out.extend([0, 0, 0, 1, 0, 0]);
    out.extend(b"VALUE ");
    out.extend(key.get(..key.len().min(250))?);
    out.extend(format!(" 0 {VALUE}\r\n").into_bytes());
    out.extend(std::iter::repeat_n(b'x', VALUE));
    out.extend(b"\r\nEND\r\n");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::app::{App, Recognition, datagram};

    #[test]
    fn small_questions_have_large_answers_and_nonsense_has_none() {
        // Service, question, least bytes of the answer.
        let check = |answer: fn(&[u8]) -> Option<Vec<u8>>, question: &[u8], least: Option<usize>| {
            let got = answer(question).map(|a| a.len().min(least.unwrap_or(0)));
            assert_eq!(got, least, "{question:?}");
        };
        let mut client = [0; 48];
        client[0] = 0x23;
        check(time, &client, Some(48));
        check(time, &client[..47], None);
        check(monitored, &[0x17, 0, 3, 42, 0, 0, 0, 0], Some(440));
        check(monitored, &[0x17, 0, 3, 41, 0, 0, 0, 0], None);
        check(discovered, b"M-SEARCH * HTTP/1.1\r\n\r\n", Some(300));
        check(discovered, b"GET / HTTP/1.1\r\n\r\n", None);
        check(cached, b"\0\x01\0\0\0\x01\0\0get a\r\n", Some(1300));
        check(cached, b"get a\r\n", None);
        let request = |kind: u8| {
            let body = [ber(2, &[0, 1, 2, 3]), ber(2, &[0]), ber(2, &[50]), ber(0x30, &[])].concat();
            ber(0x30, &[ber(2, &[1]), ber(4, b"public"), ber(kind, &body)].concat())
        };
        check(bulk, &request(0xa0), Some(50));
        check(bulk, &request(0xa5), Some(1300));
        check(bulk, &request(0xa3), None);
        let ports = |server| (40_000, server);
        for (question, service, port, app) in [
            (&client[..], time as fn(&[u8]) -> Option<Vec<u8>>, 123, App::Ntp),
            (&request(0xa5), bulk, 161, App::Snmp),
            (b"M-SEARCH * HTTP/1.1\r\n\r\n", discovered, 1900, App::Ssdp),
            (b"\0\x01\0\0\0\x01\0\0get a\r\n", cached, 11_211, App::Memcached),
        ] {
            let said = service(question).expect("an answer");
            assert_eq!(datagram(question, &said, ports(port)), Recognition::Is(app));
        }
        for service in [time, monitored, discovered, cached, bulk] {
            for cut in 0..12 {
                check(service, &request(0xa5)[..cut], None);
            }
        }
    }
}
