//! Modbus/TCP, "MODBUS Messaging on TCP/IP Implementation Guide" V1.0b.

use super::{Message, Next, Progress, Side};
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
    /// First address.
    pub address: Option<u16>,
    /// Quantity of coils or registers, or the value of a single write.
    pub quantity: Option<u16>,
}

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {}

impl super::Dissector for Dissector {
    fn data(&mut self, _from: Side, bytes: &[u8], _out: &mut Vec<Message>) -> Progress {
        Progress { consumed: bytes.len(), next: Next::Done }
    }

    fn gap(&mut self, _from: Side, _missing: u64) -> Next {
        Next::Done
    }
}
