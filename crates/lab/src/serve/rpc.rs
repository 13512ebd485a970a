//! Remote procedure calls (DCE/RPC, C706 and [MS-RPCE]) for named pipes and for TCP: every interface may be bound, few
//! calls are answered with more than a status, and nothing is ever done.
//!
//! Services are "created" and "started", shares are listed; everything else is refused as for lack of rights. So tools and
//! acts go through their usual calls, and no more.

use super::smb::utf16;
use super::{Parameter, Server, TrafficError, Values, listen, parameter};
use std::io::{self, Read, Write};

/// Bytes of the common header.
const HEADER: usize = 16;
/// Longest fragment taken and given, as Windows negotiates.
const MAX_FRAGMENT: u16 = 4280;
/// Interfaces bound on one connection.
const MAX_CONTEXTS: usize = 16;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 2;
const FAULT: u8 = 3;
const BIND: u8 = 11;
const BIND_ACK: u8 = 12;
const ALTER: u8 = 14;
const ALTER_ACK: u8 = 15;

/// First four bytes of the interfaces that are answered: service control and server service.
const SVCCTL: [u8; 4] = [0x81, 0xbb, 0x7a, 0x36];
const SRVSVC: [u8; 4] = [0xc8, 0x4f, 0x32, 0x4b];
/// NDR, 32 bit: 8a885d04-1ceb-11c9-9fe8-08002b104860 version 2.
pub(crate) const NDR: [u8; 20] = [
    0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0,
    0,
];
/// A handle of the server's: any twenty bytes that are not all zero.
const HANDLE: [u8; 20] = [1; 20];
/// No rights, as Windows says it in a fault.
const ACCESS_DENIED: u32 = 5;
/// The presentation context was never bound (C706, nca_s_unk_if).
const UNKNOWN_INTERFACE: u32 = 0x1c01_0003;

pub(super) const PARAMETERS: &[Parameter] = &[parameter::ADDRESS, parameter::port("135")];

pub(super) fn start(values: &Values) -> Result<Vec<Server>, TrafficError> {
    let server = Server::tcp(listen(values), |mut stream| {
        let mut talk = Talk::default();
        loop {
            let mut header = [0; HEADER];
            stream.read_exact(&mut header)?;
            let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
            if header[0] != 5 || !(HEADER..=usize::from(MAX_FRAGMENT) + 1520).contains(&length) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut unit = header.to_vec();
            unit.resize(length, 0);
            stream.read_exact(&mut unit[HEADER..])?;
            if let Some(answer) = talk.answer(&unit) {
                stream.write_all(&answer)?;
            }
        }
    })?;
    Ok(vec![server])
}

/// One client's conversation: the interfaces it bound.
#[derive(Debug, Default)]
pub(super) struct Talk {
    contexts: Vec<(u16, [u8; 4])>,
}

impl Talk {
    /// The answer to one protocol data unit; `None` to what needs none, or is none.
    pub(super) fn answer(&mut self, unit: &[u8]) -> Option<Vec<u8>> {
        let call = unit.get(12..16)?;
        match *unit.get(2)? {
            BIND => Some(pdu(BIND_ACK, call, &self.bind(unit)?)),
            ALTER => Some(pdu(ALTER_ACK, call, &self.bind(unit)?)),
            // Of a call in fragments the last one is answered.
            REQUEST if unit.get(3)? & 2 != 0 => {
                let context = u16::from_le_bytes(unit.get(20..22)?.try_into().ok()?);
                let operation = u16::from_le_bytes(unit.get(22..24)?.try_into().ok()?);
                let bound = self.contexts.iter().find(|(id, _)| *id == context);
                let stub = match bound {
                    Some((_, interface)) => result(*interface, operation),
                    None => Err(UNKNOWN_INTERFACE),
                };
                Some(match stub {
                    Ok(stub) => {
                        let mut body = u32::try_from(stub.len()).unwrap_or(0).to_le_bytes().to_vec();
                        body.extend(context.to_le_bytes());
                        body.extend([0, 0]);
                        body.extend(stub);
                        pdu(RESPONSE, call, &body)
                    }
                    Err(status) => {
                        let mut body = vec![0; 8];
                        body.extend(status.to_le_bytes());
                        body.extend([0; 4]);
                        pdu(FAULT, call, &body)
                    }
                })
            }
            _ => None,
        }
    }

    /// Accepts every interface offered that fits, each with NDR.
    fn bind(&mut self, unit: &[u8]) -> Option<Vec<u8>> {
        let mut accepted = 0;
        let mut at = 28;
        for _ in 0..*unit.get(24)? {
            // Identifier, count of encodings, the interface with its version, and the encodings, twenty bytes each.
            let element = unit.get(at..at + 24 + 20 * usize::from(*unit.get(at + 2)?))?;
            let (id, interface) = (element.first_chunk()?, element.get(4..8)?.try_into().ok()?);
            if self.contexts.len() < MAX_CONTEXTS {
                self.contexts.push((u16::from_le_bytes(*id), interface));
            }
            accepted += 1;
            at += element.len();
        }
        let mut body = [MAX_FRAGMENT.to_le_bytes(), MAX_FRAGMENT.to_le_bytes()].concat();
        body.extend(0x1234_u32.to_le_bytes());
        // The secondary address, with its length and final zero, up to a multiple of four.
        body.extend([4, 0, b'1', b'3', b'5', 0, 0, 0]);
        body.extend([accepted, 0, 0, 0]);
        for _ in 0..accepted {
            body.extend([0; 4]);
            body.extend(NDR);
        }
        Some(body)
    }
}

/// A protocol data unit of version 5.0, first and last fragment (C706 §12.6.3).
pub(crate) fn pdu(kind: u8, call: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
    out.extend(u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend([0, 0]);
    out.extend(call);
    out.extend(body);
    out
}

/// What a call returns, or the status of a fault.
fn result(interface: [u8; 4], operation: u16) -> Result<Vec<u8>, u32> {
    let success = [0; 4].to_vec();
    Ok(match (interface, operation) {
        // [MS-SCMR]: OpenSCManagerW and OpenServiceW give a handle; CreateServiceW a tag before it.
        (SVCCTL, 15 | 16) => [HANDLE.to_vec(), success].concat(),
        (SVCCTL, 12) => [vec![0; 4], HANDLE.to_vec(), success].concat(),
        (SVCCTL, 0) => [vec![0; 20], success].concat(),
        (SVCCTL, 2 | 19) => success,
        // [MS-SRVS]: NetrShareEnum.
        (SRVSVC, 15) => shares(),
        _ => return Err(ACCESS_DENIED),
    })
}

/// `SHARE_INFO_1_CONTAINER` with the shares of the file server, in NDR.
fn shares() -> Vec<u8> {
    const SHARES: [(&str, u32, &str); 2] = [("share", 0, "documents"), ("IPC$", 0x8000_0003, "")];
    let mut out = Vec::new();
    let word = |n: u32, out: &mut Vec<u8>| out.extend(n.to_le_bytes());
    let count = u32::try_from(SHARES.len()).unwrap_or(0);
    // Level, union's level, pointer to the container; its count, pointer to the array; the array's size.
    for n in [1, 1, 0x2_0000, count, 0x2_0004, count] {
        word(n, &mut out);
    }
    for (i, (_, kind, _)) in (0_u32..).zip(SHARES) {
        for n in [0x2_0008 + i * 8, kind, 0x2_000c + i * 8] {
            word(n, &mut out);
        }
    }
    for (name, _, remark) in SHARES {
        for text in [name, remark] {
            let units = u32::try_from(text.encode_utf16().count() + 1).unwrap_or(1);
            for n in [units, 0, units] {
                word(n, &mut out);
            }
            out.extend(utf16(text));
            out.extend([0, 0]);
            out.resize(out.len().next_multiple_of(4), 0);
        }
    }
    // Entries in all, no resume handle, success.
    for n in [count, 0, 0] {
        word(n, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::dcerpc::{Dissector, Kind};
    use wire::message::{Dissector as _, Message, Side};

    /// A bind to service control as context 0.
    fn bind() -> Vec<u8> {
        let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0];
        body.extend([
            0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0, 0x10, 3,
        ]);
        body.extend([2, 0, 0, 0]);
        body.extend(NDR);
        pdu(BIND, &[1, 0, 0, 0], &body)
    }

    fn request(context: u8, operation: u8) -> Vec<u8> {
        pdu(REQUEST, &[2, 0, 0, 0], &[0, 0, 0, 0, context, 0, operation, 0])
    }

    #[test]
    fn the_projects_own_parser_follows_a_service_being_created() {
        let (mut talk, mut reader, mut out) = (Talk::default(), Dissector::default(), Vec::new());
        for unit in [bind(), request(0, 15), request(0, 12), request(0, 19), request(7, 1)] {
            reader.data(Side::Client, &unit, &mut out);
            let answer = talk.answer(&unit).expect("an answer");
            reader.data(Side::Server, &answer, &mut out);
        }
        let kinds: Vec<Kind> = out
            .iter()
            .map(|m| match m {
                Message::DceRpc(unit) => unit.kind,
                other => panic!("{other:?}"),
            })
            .collect();
        use Kind::{Bind, BindAck, Fault, Request, Response};
        let pair = [Request, Response];
        assert_eq!(kinds, [&[Bind, BindAck][..], &pair, &pair, &pair, &[Request, Fault]].concat());
    }

    #[test]
    fn cut_units_are_not_answered() {
        let whole = bind();
        for cut in 0..whole.len() {
            assert_eq!(Talk::default().answer(&whole[..cut]), None, "{cut}");
        }
    }
}
