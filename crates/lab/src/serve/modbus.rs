//! A Modbus/TCP controller: coils and registers that change slowly, and the exceptions the protocol demands ("MODBUS
//! Application Protocol Specification" V1.1b3).

use super::{Parameter, Server, TrafficError, Values, listen, parameter};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

/// Coils, discrete inputs, holding and input registers, each so many.
const SIZE: u16 = 256;
/// The unit that answers; others are refused as a gateway does.
const UNIT: u8 = 1;

/// Header without the unit.
const HEADER: usize = 6;
/// Most coils or inputs of one read, §6.1.
const MAX_BITS: u16 = 2000;
/// Most registers of one read, §6.3.
const MAX_REGISTERS: u16 = 125;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;
const NO_PATH: u8 = 10;

pub(super) const PARAMETERS: &[Parameter] = &[parameter::ADDRESS, parameter::port("502")];

pub(super) fn start(values: &Values) -> Result<Vec<Server>, TrafficError> {
    let plant = Arc::new(Mutex::new(Plant::new()));
    let server = Server::tcp(listen(values), move |stream| serve(stream, &plant))?;
    Ok(vec![server])
}

fn serve(mut stream: TcpStream, plant: &Mutex<Plant>) -> io::Result<()> {
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header)?;
        let [t0, t1, p0, p1, l0, l1] = header;
        let length = u16::from_be_bytes([l0, l1]);
        if (p0, p1) != (0, 0) || !(2..=254).contains(&length) {
            return Ok(());
        }
        let mut body = vec![0; usize::from(length)];
        stream.read_exact(&mut body)?;
        let [unit, request @ ..] = body.as_slice() else { return Ok(()) };
        let answer = if *unit == UNIT {
            plant.lock().unwrap_or_else(PoisonError::into_inner).answer(request)
        } else {
            Err(NO_PATH)
        };
        let data = answer.unwrap_or_else(|code| vec![request.first().unwrap_or(&0) | 0x80, code]);
        let mut frame = vec![t0, t1, 0, 0];
        frame.extend(u16::try_from(data.len() + 1).unwrap_or(u16::MAX).to_be_bytes());
        frame.push(*unit);
        frame.extend(data);
        stream.write_all(&frame)?;
    }
}

/// The state of what is controlled.
#[derive(Debug)]
pub(super) struct Plant {
    coils: Vec<bool>,
    registers: Vec<u16>,
    /// Requests so far: what the inputs show changes with it.
    turn: u16,
}

impl Plant {
    pub(super) fn new() -> Self {
        Self {
            coils: (0..SIZE).map(|i| i % 3 == 0).collect(),
            registers: (0..SIZE).map(|i| 1000 + i * 7).collect(),
            turn: 0,
        }
    }

    /// The answer to function and data, or the code of an exception.
    pub(super) fn answer(&mut self, request: &[u8]) -> Result<Vec<u8>, u8> {
        self.turn = self.turn.wrapping_add(1);
        let function = *request.first().ok_or(ILLEGAL_FUNCTION)?;
        let half = |at: usize| {
            let pair = request.get(at..at + 2).ok_or(ILLEGAL_VALUE)?;
            Ok::<u16, u8>(u16::from_be_bytes([pair[0], pair[1]]))
        };
        match function {
            1 | 2 => {
                let range = range(half(1)?, half(3)?, MAX_BITS)?;
                let bits: Vec<bool> = if function == 1 {
                    self.coils[range].to_vec()
                } else {
                    range.map(|i| (i + usize::from(self.turn / 8)).is_multiple_of(5)).collect()
                };
                let bytes: Vec<u8> = bits.chunks(8).map(pack).collect();
                Ok(counted(function, bytes))
            }
            3 | 4 => {
                let range = range(half(1)?, half(3)?, MAX_REGISTERS)?;
                let values: Vec<u16> = if function == 3 {
                    self.registers[range].to_vec()
                } else {
                    range.map(|i| 400 + u16::try_from(i).unwrap_or(0) + self.turn / 4 % 16).collect()
                };
                Ok(counted(function, values.into_iter().flat_map(u16::to_be_bytes).collect()))
            }
            5 => {
                let (address, value) = (half(1)?, half(3)?);
                let coil = self.coils.get_mut(usize::from(address)).ok_or(ILLEGAL_ADDRESS)?;
                *coil = match value {
                    0xff00 => true,
                    0 => false,
                    _ => return Err(ILLEGAL_VALUE),
                };
                request.get(..5).map(<[u8]>::to_vec).ok_or(ILLEGAL_VALUE)
            }
            6 => {
                let (address, value) = (half(1)?, half(3)?);
                *self.registers.get_mut(usize::from(address)).ok_or(ILLEGAL_ADDRESS)? = value;
                request.get(..5).map(<[u8]>::to_vec).ok_or(ILLEGAL_VALUE)
            }
            15 => {
                let range = range(half(1)?, half(3)?, 1968)?;
                let bytes = request.get(6..).ok_or(ILLEGAL_VALUE)?;
                if usize::from(*request.get(5).ok_or(ILLEGAL_VALUE)?) != bytes.len()
                    || bytes.len() != range.len().div_ceil(8)
                {
                    return Err(ILLEGAL_VALUE);
                }
                for (i, coil) in self.coils[range].iter_mut().enumerate() {
                    *coil = bytes[i / 8] >> (i % 8) & 1 == 1;
                }
                request.get(..5).map(<[u8]>::to_vec).ok_or(ILLEGAL_VALUE)
            }
            16 => {
                let range = range(half(1)?, half(3)?, 123)?;
                let bytes = request.get(6..).ok_or(ILLEGAL_VALUE)?;
                if usize::from(*request.get(5).ok_or(ILLEGAL_VALUE)?) != bytes.len()
                    || bytes.len() != range.len() * 2
                {
                    return Err(ILLEGAL_VALUE);
                }
                for (register, pair) in self.registers[range].iter_mut().zip(bytes.chunks(2)) {
                    *register = u16::from_be_bytes([pair[0], pair[1]]);
                }
                request.get(..5).map(<[u8]>::to_vec).ok_or(ILLEGAL_VALUE)
            }
            // Read device identification, basic: §6.21.
            43 if request.get(1) == Some(&14) => {
                let objects = [(0, "Autoinmune"), (1, "lab controller"), (2, "1.0")];
                let mut out = vec![43, 14, 1, 1, 0, 0, 3];
                for (id, text) in objects {
                    out.extend([id, u8::try_from(text.len()).unwrap_or(0)]);
                    out.extend(text.as_bytes());
                }
                Ok(out)
            }
            _ => Err(ILLEGAL_FUNCTION),
        }
    }
}

/// The addresses asked for, if the quantity is allowed and they exist.
fn range(address: u16, quantity: u16, most: u16) -> Result<std::ops::Range<usize>, u8> {
    if !(1..=most).contains(&quantity) {
        return Err(ILLEGAL_VALUE);
    }
    let end = u32::from(address) + u32::from(quantity);
    if end > u32::from(SIZE) {
        return Err(ILLEGAL_ADDRESS);
    }
    Ok(usize::from(address)..usize::from(address) + usize::from(quantity))
}

fn pack(bits: &[bool]) -> u8 {
    bits.iter().enumerate().map(|(i, bit)| u8::from(*bit) << i).sum()
}

fn counted(function: u8, bytes: Vec<u8>) -> Vec<u8> {
    let mut out = vec![function, u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
    out.extend(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::modbus::Dissector;
    use wire::message::{Dissector as _, Message, Side};

    #[test]
    fn the_projects_own_parser_reads_every_answer() {
        let mut plant = Plant::new();
        // Request; the answer's function byte, and its exception.
        let mut check = |request: &[u8], expected: (u8, Option<u8>)| {
            let data = plant.answer(request).unwrap_or_else(|code| vec![request[0] | 0x80, code]);
            let mut frame = vec![0, 7, 0, 0];
            frame.extend(u16::try_from(data.len() + 1).expect("short").to_be_bytes());
            frame.push(UNIT);
            frame.extend(&data);
            let mut out = Vec::new();
            Dissector::default().data(Side::Server, &frame, &mut out);
            let [Message::Modbus(modbus)] = out.as_slice() else { panic!("{request:?}: {out:?}") };
            assert_eq!((modbus.function, modbus.exception), expected, "{request:?}");
            assert!(modbus.response);
        };
        check(&[1, 0, 0, 0, 10], (1, None));
        check(&[2, 0, 0, 0, 9], (2, None));
        check(&[3, 0, 0, 0, 125], (3, None));
        check(&[4, 0, 10, 0, 2], (4, None));
        check(&[5, 0, 1, 0xff, 0], (5, None));
        check(&[5, 0, 1, 1, 1], (5, Some(3)));
        check(&[6, 0, 1, 1, 1], (6, None));
        check(&[15, 0, 0, 0, 9, 2, 0xff, 1], (15, None));
        check(&[16, 0, 0, 0, 2, 4, 0, 1, 0, 2], (16, None));
        check(&[16, 0, 0, 0, 2, 3, 0, 1, 0], (16, Some(3)));
        check(&[3, 0, 200, 0, 100], (3, Some(2)));
        check(&[3, 0, 0, 0, 126], (3, Some(3)));
        check(&[43, 14, 1, 0], (43, None));
        check(&[90], (90, Some(1)));
    }

    #[test]
    fn writes_are_read_back() {
        let mut plant = Plant::new();
        assert!(plant.answer(&[16, 0, 5, 0, 1, 2, 0xab, 0xcd]).is_ok());
        assert_eq!(plant.answer(&[3, 0, 5, 0, 1]), Ok(vec![3, 2, 0xab, 0xcd]));
        assert!(plant.answer(&[15, 0, 8, 0, 3, 1, 0b101]).is_ok());
        assert_eq!(plant.answer(&[1, 0, 8, 0, 3]), Ok(vec![1, 1, 0b101]));
    }
}
