//! The sessions of flows: what each side said, in order, handed to the reader of its protocol.

/// The start of a payload of one direction of a flow, as sources that do the accounting elsewhere report it to
/// [`crate::Tracker::data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Direction of the flow's initiator.
    pub initiator: crate::Direction,
    /// TCP: sequence number of the direction's SYN plus one, if that SYN was seen; it tells where the stream begins.
    pub start: Option<u32>,
    /// TCP sequence number of the packet as its header states it; 0 for other protocols.
    pub seq: u32,
    /// TCP acknowledgement number, where `flags` has ACK.
    pub ack: u32,
    /// TCP control bits; 0 for other protocols.
    pub flags: u8,
    /// Transport payload bytes as the headers state them.
    pub payload_len: u32,
    /// The first of them, as far as they were taken.
    pub payload: &'a [u8],
}
