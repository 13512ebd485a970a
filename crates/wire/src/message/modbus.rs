//! Modbus/TCP, "MODBUS Messaging on TCP/IP Implementation Guide" V1.0b, and the functions of "MODBUS Application Protocol
//! Specification" V1.1b3.
//!
//! Violations: `protocol_identifier` and `length` lose the framing, so they end their direction. `function_zero`,
//! `function_reserved` (a request with the exception bit), `exception_code`, `short_data`, `trailing_data`, `byte_count`
//! and `quantity` follow the message they are about, at most one of them a message.

use super::bytes::be16;
use super::{App, Message, Next, Progress, Side, Violation};
use serde::Serialize;

/// A request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Modbus {
    /// Whether it is a response.
    pub response: bool,
    /// Transaction identifier.
    pub transaction: u16,
    /// Unit identifier.
    pub unit: u8,
    /// Function code, without the exception bit.
    pub function: u8,
    /// Exception code.
    pub exception: Option<u8>,
    /// First address; of function 23, which reads and writes, the first one written. Responses have it where they echo it.
    pub address: Option<u16>,
    /// Quantity of coils or registers, or the value of a single write; of function 23 the quantity written.
    pub quantity: Option<u16>,
    /// Of function 8 the subfunction; of function 43 the type of encapsulated interface, 14 for device identification.
    pub subfunction: Option<u16>,
}

/// Transaction, protocol, length and unit.
const HEADER: usize = 7;
/// Longest frame: the header and 253 bytes of function and data.
pub const MAX_FRAME: usize = HEADER + 253;

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {
    /// Bytes of a side are missing: the next ones may not begin a message.
    lost: [bool; 2],
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut consumed = 0;
        let lost = self.lost.get(from as usize).copied().unwrap_or_default();
        while let (Some(protocol), Some(length)) = (be16(bytes, consumed + 2), be16(bytes, consumed + 4)) {
            // The length counts the unit, the function and its data.
            let end = consumed + HEADER - 1 + usize::from(length);
            let wrong = match length {
                _ if protocol != 0 => Some("protocol_identifier"),
                2..=254 => None,
                _ => Some("length"),
            };
            if let Some(what) = wrong {
                if !lost {
                    out.push(violation(what));
                }
                return Progress { consumed: bytes.len(), next: Next::Enough };
            }
            let Some(frame) = bytes.get(consumed..end) else { break };
            read(from, frame, out);
            consumed = end;
        }
        if consumed > 0 {
            self.set_lost(from, false);
        }
        Progress { consumed, next: Next::More }
    }

    fn gap(&mut self, from: Side, _missing: u64) -> Next {
        // Most segments begin with a message.
        self.set_lost(from, true);
        Next::More
    }
}

impl Dissector {
    fn set_lost(&mut self, side: Side, lost: bool) {
        if let Some(flag) = self.lost.get_mut(side as usize) {
            *flag = lost;
        }
    }
}

fn violation(what: &'static str) -> Message {
    Message::Violation(Violation { app: App::Modbus, what })
}

/// Reads a whole frame.
fn read(from: Side, frame: &[u8], out: &mut Vec<Message>) {
    let [t0, t1, _, _, _, _, unit, code, data @ ..] = frame else { return };
    let mut modbus = Modbus {
        response: from == Side::Server,
        transaction: u16::from_be_bytes([*t0, *t1]),
        unit: *unit,
        function: code & 0x7f,
        ..Modbus::default()
    };
    let wrong = if modbus.function == 0 {
        Some("function_zero")
    } else if code & 0x80 == 0 {
        if modbus.response { answer(&mut modbus, data) } else { request(&mut modbus, data) }
    } else if modbus.response {
        modbus.exception = data.first().copied();
        match data {
            [] => Some("short_data"),
            [1..=8 | 10 | 11] => None,
            [_] => Some("exception_code"),
            _ => Some("trailing_data"),
        }
    } else {
        Some("function_reserved")
    };
    out.push(Message::Modbus(modbus));
    out.extend(wrong.map(violation));
}

/// Most coils or inputs, and most registers, that one request may read or write, V1.1b3 §6.
const MAX_READ_BITS: u16 = 2000;
const MAX_READ_REGISTERS: u16 = 125;
const MAX_WRITE_BITS: u16 = 1968;
const MAX_WRITE_REGISTERS: u16 = 123;
const MAX_WRITE_BOTH: u16 = 121;

/// Takes in a request's data; what is wrong with it.
fn request(modbus: &mut Modbus, data: &[u8]) -> Option<&'static str> {
    let (first, second) = (be16(data, 0), be16(data, 2));
    match modbus.function {
        1..=6 => (modbus.address, modbus.quantity) = (first, second),
        8 => modbus.subfunction = first,
        15 | 16 => (modbus.address, modbus.quantity) = (first, second),
        22 => modbus.address = first,
        23 => (modbus.address, modbus.quantity) = (be16(data, 4), be16(data, 6)),
        43 => modbus.subfunction = data.first().map(|b| u16::from(*b)),
        _ => {}
    }
    let quantity = modbus.quantity.unwrap_or_default();
    let most = match modbus.function {
        1 | 2 => MAX_READ_BITS,
        3 | 4 => MAX_READ_REGISTERS,
        15 => MAX_WRITE_BITS,
        16 => MAX_WRITE_REGISTERS,
        23 => MAX_WRITE_BOTH,
        _ => u16::MAX,
    };
    let counted = |at: usize, bytes: u16| {
        let follows = data.get(at + 1..).unwrap_or_default().len();
        let stated = data.get(at).map(|b| usize::from(*b));
        (stated != Some(follows) || stated != Some(usize::from(bytes))).then_some("byte_count")
    };
    if let Some(wrong) = length(data, request_length(modbus.function)) {
        return Some(wrong);
    }
    match modbus.function {
        1..=4 | 15 | 16 | 23 if quantity == 0 || quantity > most => Some("quantity"),
        15 => counted(4, quantity.div_ceil(8)),
        16 => counted(4, quantity * 2),
        23 if !second.is_some_and(|read| (1..=MAX_READ_REGISTERS).contains(&read)) => Some("quantity"),
        23 => counted(8, quantity * 2),
        _ => None,
    }
}

/// Takes in a response's data; what is wrong with it.
fn answer(modbus: &mut Modbus, data: &[u8]) -> Option<&'static str> {
    match modbus.function {
        5 | 6 | 15 | 16 => (modbus.address, modbus.quantity) = (be16(data, 0), be16(data, 2)),
        22 => modbus.address = be16(data, 0),
        8 => modbus.subfunction = be16(data, 0),
        43 => modbus.subfunction = data.first().map(|b| u16::from(*b)),
        _ => {}
    }
    match modbus.function {
        5 | 6 | 15 | 16 => length(data, (4, 4)),
        22 => length(data, (6, 6)),
        1..=4 | 12 | 17 | 20 | 21 | 23 => match data.split_first() {
            None => Some("short_data"),
            Some((count, follows)) => (usize::from(*count) != follows.len()).then_some("byte_count"),
        },
        _ => None,
    }
}

/// Least and most bytes of a request's data.
const fn request_length(function: u8) -> (usize, usize) {
    const ANY: usize = MAX_FRAME;
    match function {
        1..=6 => (4, 4),
        7 | 11 | 12 | 17 => (0, 0),
        8 => (2, ANY),
        15 | 16 => (5, ANY),
        22 => (6, 6),
        23 => (9, ANY),
        24 => (2, 2),
        43 => (1, ANY),
        _ => (0, ANY),
    }
}

fn length(data: &[u8], (least, most): (usize, usize)) -> Option<&'static str> {
    if data.len() < least {
        Some("short_data")
    } else if data.len() > most {
        Some("trailing_data")
    } else {
        None
    }
}
