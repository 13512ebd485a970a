//! DHCP for IPv4, RFC 2131 and 2132.
//!
//! Violations, at most one a message: `short_message`, `bad_operation`, `hardware_address_length`,
//! `option_beyond_message`, `option_length`, `bad_overload`, `no_end_option`, `unassigned_type`,
//! `type_contradicts_operation`.

use super::bytes::{be32, v4};
use super::{App, Message, Next, Progress, Side, Violation};
use crate::Addr;
use serde::Serialize;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Dhcp {
    /// Message type (option 53): 1 discover, 2 offer, 3 request, 5 acknowledgement, 6 refusal …; 0 for plain BOOTP.
    pub kind: u8,
    /// Whether a server speaks (op 2).
    pub reply: bool,
    /// Transaction identifier.
    pub transaction: u32,
    /// Hardware address of the client.
    pub client: [u8; 6],
    /// Address given.
    pub given: Option<Addr>,
    /// Server identifier (option 54).
    pub server: Option<Addr>,
    /// First router given (option 3).
    pub router: Option<Addr>,
    /// First name server given (option 6).
    pub name_server: Option<Addr>,
}

/// Bytes before the options: the BOOTP message without its vendor area, RFC 951.
const HEADER: usize = 236;
/// What tells options from a vendor's own use of the area, RFC 2131 §3.
const COOKIE: u32 = 0x6382_5363;
/// Longest hardware address the header holds.
const MAX_HARDWARE: u8 = 16;
/// Highest message type assigned (IANA "DHCP Message Type 53 Values").
const MAX_KIND: u8 = 18;
/// The one type both ends send, RFC 7724.
const KIND_TLS: u8 = 18;
/// The message types only servers send: offer, acknowledgement, refusal, force renew, and the answers to lease queries.
const FROM_SERVER: [u8; 9] = [2, 5, 6, 9, 11, 12, 13, 15, 17];

/// Reads one flow: every datagram is a message.
#[derive(Debug, Default)]
pub struct Dissector {}

impl super::Dissector for Dissector {
    fn data(&mut self, _from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut dhcp = Dhcp::default();
        let outcome = read(bytes, &mut dhcp);
        if bytes.len() >= HEADER {
            out.push(Message::Dhcp(dhcp));
        }
        if let Err(what) = outcome {
            out.push(Message::Violation(Violation { app: App::Dhcp, what }));
        }
        Progress { consumed: bytes.len(), next: Next::More }
    }

    fn gap(&mut self, _from: Side, _missing: u64) -> Next {
        Next::More
    }
}

fn read(bytes: &[u8], dhcp: &mut Dhcp) -> Result<(), &'static str> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Err("short_message") };
    let [op, _, hardware, ..] = *header;
    dhcp.reply = op == 2;
    dhcp.transaction = be32(header, 4).unwrap_or_default();
    dhcp.given = address(header, 16);
    if let Some(client) = header.get(28..).and_then(|b| b.first_chunk()) {
        dhcp.client = *client;
    }
    if !matches!(op, 1 | 2) {
        return Err("bad_operation");
    }
    if hardware > MAX_HARDWARE {
        return Err("hardware_address_length");
    }
    if be32(rest, 0) != Some(COOKIE) {
        return Ok(());
    }
    let overload = options(rest.get(4..).unwrap_or_default(), dhcp)?;
    if overload > 3 {
        return Err("bad_overload");
    }
    // RFC 2131 §4.1: the options go on in the file name first, then in the server name.
    if overload & 1 != 0 {
        options(header.get(108..).unwrap_or_default(), dhcp)?;
    }
    if overload & 2 != 0 {
        options(header.get(44..108).unwrap_or_default(), dhcp)?;
    }
    match dhcp.kind {
        0 | KIND_TLS => Ok(()),
        kind if kind > MAX_KIND => Err("unassigned_type"),
        kind if FROM_SERVER.contains(&kind) != dhcp.reply => Err("type_contradicts_operation"),
        _ => Ok(()),
    }
}

/// Reads one area of options; the value of the overload option, 0 without it.
fn options(mut area: &[u8], dhcp: &mut Dhcp) -> Result<u8, &'static str> {
    let mut overload = 0;
    loop {
        let (code, rest) = match area {
            [] => return Err("no_end_option"),
            [0, rest @ ..] => {
                area = rest;
                continue;
            }
            [255, ..] => return Ok(overload),
            [code, rest @ ..] => (*code, rest),
        };
        let Some((value, behind)) =
            rest.split_first().and_then(|(n, rest)| rest.split_at_checked((*n).into()))
        else {
            return Err("option_beyond_message");
        };
        area = behind;
        match (code, value) {
            (3, [_, _, _, _, ..]) if value.len() % 4 == 0 => dhcp.router = dhcp.router.or(v4(value, 0)),
            (6, [_, _, _, _, ..]) if value.len() % 4 == 0 => {
                dhcp.name_server = dhcp.name_server.or(v4(value, 0));
            }
            (52, [areas]) => overload = *areas,
            (53, [kind]) => dhcp.kind = *kind,
            (54, [_, _, _, _]) => dhcp.server = v4(value, 0),
            (3 | 6 | 52 | 53 | 54, _) => return Err("option_length"),
            _ => {}
        }
    }
}

/// An address of the header, where zero stands for none.
fn address(header: &[u8], at: usize) -> Option<Addr> {
    v4(header, at).filter(|a| *a != Addr::v4([0; 4]))
}
