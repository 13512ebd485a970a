//! The heads of flows as they come up: `struct head_event` and the payload behind it.

use super::{EVENT_HEAD, EventHead, FlowKey, read_pod};
use std::mem::{offset_of, size_of};

/// Most payload bytes in one record.
pub const HEAD_PACKET_MAX: usize = 2048;

/// What stands before the payload of a record, `struct head_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HeadEvent {
    /// Kind and time.
    pub head: EventHead,
    /// Which flow.
    pub key: FlowKey,
    /// Payload bytes as the headers state them.
    pub payload_len: u32,
    /// TCP sequence number; 0 for other protocols, likewise the next two.
    pub seq: u32,
    /// TCP acknowledgement number.
    pub ack: u32,
    /// If [`Self::begins`]: the sequence number of the direction's first payload byte.
    pub start: u32,
    /// Payload bytes that follow.
    pub captured: u16,
    /// TCP control bits.
    pub flags: u8,
    /// Direction: 0 from lo to hi, 1 back.
    pub direction: u8,
    /// Direction of the flow's initiator.
    pub initiator: u8,
    /// 1: the direction's SYN was seen.
    pub begins: u8,
    /// Zero.
    pub pad: [u8; 6],
}

const _: () = assert!(size_of::<HeadEvent>() == 88 && offset_of!(HeadEvent, captured) == 76);

/// One record: the start of one packet's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Whose it is.
    pub event: HeadEvent,
    /// The first bytes of the payload.
    pub payload: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads one item of the ring; `None` if it is of another kind or shorter than it says.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        if u32::from_ne_bytes(*bytes.first_chunk()?) != EVENT_HEAD {
            return None;
        }
        let event: HeadEvent = read_pod(bytes)?;
        let payload = bytes.get(size_of::<HeadEvent>()..)?.get(..usize::from(event.captured))?;
        Some(Self { event, payload })
    }
}
