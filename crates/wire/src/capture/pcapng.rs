//! The pcapng format: sections of blocks.

use super::block::Place;
use super::buffer::Buffer;
use super::{CaptureError, Endian, MAX_BLOCK, MAX_FRAME, MAX_INTERFACES};
use crate::LinkType;
use std::io::Read;

/// Block type of a section header, the same in both byte orders.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Type and length before a block's body; the length again behind it.
const BLOCK_HEADER: usize = 8;
const BLOCK_FRAME: usize = 12;
/// Least section header: byte-order magic, version and section length.
const SECTION_BODY: usize = 16;

mod block {
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
}

mod option {
    pub(super) const END: u16 = 0;
    pub(super) const TSRESOL: u16 = 9;
    pub(super) const TSOFFSET: u16 = 14;
}

/// From an interface's timestamp units to nanoseconds.
#[derive(Clone, Copy)]
enum Unit {
    /// A unit is this many nanoseconds.
    Nanos(u64),
    /// A nanosecond is this many units.
    PerNano(u64),
    /// A unit is 2^-n seconds.
    Binary(u32),
}

impl Unit {
    /// From the option's value: the exponent of 10, or of 2 with the top bit set, negated.
    const fn new(resolution: u8) -> Self {
        match (resolution & 0x80 != 0, resolution & 0x7f) {
            (true, n) => Self::Binary(n as u32),
            (false, n @ 0..=9) => Self::Nanos(10_u64.pow(9 - n as u32)),
            (false, n @ 10..=28) => Self::PerNano(10_u64.pow(n as u32 - 9)),
            // A unit so small that 2^64 of them are less than two nanoseconds.
            (false, _) => Self::PerNano(u64::MAX),
        }
    }

    const fn nanos(self, units: u64) -> u128 {
        match self {
            Self::Nanos(ns) => units as u128 * ns as u128,
            Self::PerNano(n) => (units / n) as u128,
            Self::Binary(n) => (units as u128 * 1_000_000_000) >> n,
        }
    }
}

/// What an interface description block says.
struct Interface {
    dlt: u32,
    /// Longest captured frame, bytes; 0 is unlimited.
    snaplen: u32,
    unit: Unit,
    /// Seconds to add to every timestamp.
    offset_s: i64,
}

impl Interface {
    fn ts_ns(&self, high: u32, low: u32) -> Option<u64> {
        let units = u64::from(high) << 32 | u64::from(low);
        let ns = i128::try_from(self.unit.nanos(units)).ok()?;
        u64::try_from(ns + i128::from(self.offset_s) * 1_000_000_000).ok()
    }
}

/// A packet block, and where the frame lies in it.
struct Found {
    data: usize,
    len: usize,
    ts_ns: u64,
    dlt: u32,
    orig_len: u32,
}

/// A whole block that is in memory.
struct Block {
    /// Its bytes, header and trailer included; 0 at the end of the file.
    len: usize,
    packet: Option<Found>,
}

/// State of a pcapng file being read.
pub(super) struct Pcapng {
    endian: Endian,
    /// Interfaces of the present section, at most [`MAX_INTERFACES`].
    interfaces: Vec<Interface>,
    /// Time of the last frame, for blocks without one.
    last_ns: u64,
}

impl Pcapng {
    /// Reads the first section header.
    pub(super) fn open<R: Read>(buffer: &mut Buffer<R>) -> Result<Self, CaptureError> {
        let mut new = Self { endian: Endian::Little, interfaces: Vec::new(), last_ns: 0 };
        let block = new.step(buffer)?;
        buffer.take(block.len);
        Ok(new)
    }

    /// The next packet block; `None` at the end of the file.
    pub(super) fn next<R: Read>(&mut self, buffer: &mut Buffer<R>) -> Result<Option<Place>, CaptureError> {
        loop {
            let offset = buffer.offset();
            match self.step(buffer)? {
                Block { len: 0, .. } => return Ok(None),
                Block { len, packet: None } => _ = buffer.take(len),
                Block { len, packet: Some(p) } => {
                    return Ok(Some(Place {
                        ts_ns: p.ts_ns,
                        offset,
                        at: (buffer.take(len) + p.data) as u32,
                        len: p.len as u32,
                        orig_len: p.orig_len,
                        dlt: p.dlt,
                        link: LinkType::from_dlt(p.dlt),
                    }));
                }
            }
        }
    }

    /// Looks at the next block.
    fn step<R: Read>(&mut self, buffer: &mut Buffer<R>) -> Result<Block, CaptureError> {
        let offset = buffer.offset();
        let corrupt = |why: String| Err(CaptureError::Corrupt { offset, why });
        let start = buffer.need(BLOCK_FRAME)?;
        if start.is_empty() {
            return Ok(Block { len: 0, packet: None });
        }
        let Some(start) = start.first_chunk::<BLOCK_FRAME>() else {
            return Err(CaptureError::Truncated { offset });
        };
        let section = start[..4] == SECTION_HEADER;
        if section {
            // The byte order of the lengths is that of the new section, not of the one before it.
            self.endian = match [Endian::Little, Endian::Big]
                .into_iter()
                .find(|e| e.word(start, 2) == BYTE_ORDER_MAGIC)
            {
                Some(endian) => endian,
                None => return corrupt("a section header without its byte-order magic".into()),
            };
        }
        let kind = self.endian.word(start, 0);
        let len = self.endian.word(start, 1) as usize;
        if len < BLOCK_FRAME || !len.is_multiple_of(4) {
            return corrupt(format!("a block of {len} bytes; it must be a multiple of 4 and at least 12"));
        }
        if len > MAX_BLOCK {
            return corrupt(format!("a block of {len} bytes, more than {MAX_BLOCK}"));
        }
        let Some(whole) = buffer.need(len)?.get(..len) else {
            return Err(CaptureError::Truncated { offset });
        };
        let trailer = self.endian.word(whole, len / 4 - 1) as usize;
        if trailer != len {
            return corrupt(format!("a block that begins with length {len} and ends with {trailer}"));
        }
        let body = &whole[BLOCK_HEADER..len - 4];
        let found = match kind {
            block::SECTION => self.section(body).map(|()| None),
            block::INTERFACE => self.interface(body).map(|()| None),
            block::ENHANCED_PACKET | block::PACKET => self.packet(kind, body).map(Some),
            block::SIMPLE_PACKET => self.simple(body).map(Some),
            _ => Ok(None),
        };
        match found {
            Ok(packet) => Ok(Block { len, packet }),
            Err(why) => corrupt(why),
        }
    }

    fn section(&mut self, body: &[u8]) -> Result<(), String> {
        if body.len() < SECTION_BODY {
            return Err("a section header too short for its fields".into());
        }
        let major = self.endian.u16([body[4], body[5]]);
        if major != 1 {
            return Err(format!("pcapng version {major}; only version 1 is known"));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), String> {
        let Some((fields, mut options)) = body.split_first_chunk::<8>() else {
            return Err("an interface description too short for its fields".into());
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(format!("more than {MAX_INTERFACES} interfaces"));
        }
        let mut interface = Interface {
            dlt: u32::from(self.endian.u16([fields[0], fields[1]])),
            snaplen: self.endian.word(fields, 1),
            unit: Unit::new(6),
            offset_s: 0,
        };
        while let Some((&[a, b, c, d], rest)) = options.split_first_chunk::<4>() {
            let (code, len) = (self.endian.u16([a, b]), usize::from(self.endian.u16([c, d])));
            if code == option::END {
                break;
            }
            let Some(value) = rest.get(..len) else {
                return Err("an interface option longer than its block".into());
            };
            match (code, value) {
                (option::TSRESOL, &[resolution]) => interface.unit = Unit::new(resolution),
                (option::TSOFFSET, value) if len == 8 => {
                    let (w0, w1) = (self.endian.word(value, 0), self.endian.word(value, 1));
                    let (high, low) = if self.endian == Endian::Big { (w0, w1) } else { (w1, w0) };
                    interface.offset_s = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                }
                (option::TSRESOL | option::TSOFFSET, _) => {
                    return Err(format!("an interface timestamp option of {len} bytes"));
                }
                _ => {}
            }
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn declared(&self, id: u32) -> Result<&Interface, String> {
        self.interfaces
            .get(id as usize)
            .ok_or_else(|| format!("a packet of interface {id}, but only {} declared", self.interfaces.len()))
    }

    /// Enhanced packet block, or the obsolete packet block, which differs in its first word alone.
    fn packet(&mut self, kind: u32, body: &[u8]) -> Result<Found, String> {
        const FIELDS: usize = 20;
        let Some((fields, data)) = body.split_first_chunk::<FIELDS>() else {
            return Err("a packet block too short for its fields".into());
        };
        let id = if kind == block::PACKET {
            u32::from(self.endian.u16([fields[0], fields[1]]))
        } else {
            self.endian.word(fields, 0)
        };
        let [high, low, captured, orig_len] = [1, 2, 3, 4].map(|i| self.endian.word(fields, i));
        let interface = self.declared(id)?;
        let len = frame_len(captured, data)?;
        let Some(ts_ns) = interface.ts_ns(high, low) else {
            return Err("a timestamp outside 1970 to 2554".into());
        };
        let dlt = interface.dlt;
        self.last_ns = ts_ns;
        Ok(Found { data: BLOCK_HEADER + FIELDS, len, ts_ns, dlt, orig_len })
    }

    /// Simple packet block: the captured length is the least of the original length and the interface's snap length.
    fn simple(&self, body: &[u8]) -> Result<Found, String> {
        const FIELDS: usize = 4;
        let Some((fields, data)) = body.split_first_chunk::<FIELDS>() else {
            return Err("a packet block too short for its fields".into());
        };
        let orig_len = self.endian.u32(*fields);
        let interface = self.declared(0)?;
        let captured = if interface.snaplen == 0 { orig_len } else { orig_len.min(interface.snaplen) };
        let len = frame_len(captured, data)?;
        let (ts_ns, dlt) = (self.last_ns, interface.dlt);
        Ok(Found { data: BLOCK_HEADER + FIELDS, len, ts_ns, dlt, orig_len })
    }
}

/// Checks a captured length against the limit and the block it lies in.
fn frame_len(captured: u32, data: &[u8]) -> Result<usize, String> {
    let len = captured as usize;
    if len > MAX_FRAME {
        return Err(format!("a frame of {len} bytes, more than {MAX_FRAME}"));
    }
    if len > data.len() {
        return Err(format!("a frame of {len} bytes in a block with room for {}", data.len()));
    }
    Ok(len)
}
