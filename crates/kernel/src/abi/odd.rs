//! Odd fragments as they come up: `struct odd_event`. `bpf/fragment.h` finds them.

use super::{EventHead, FlowKey};
use flow::fragment::Finding;
use std::mem::{offset_of, size_of};

/// Bit of [`OddEvent::found`]: [`Finding::tiny`].
pub const ODD_TINY: u8 = 1;
/// Bit of [`OddEvent::found`]: [`Finding::overlap`].
pub const ODD_OVERLAP: u8 = 2;

/// An odd fragment, `struct odd_event`: once a flow, direction and kind, as long as the kernel holds the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct OddEvent {
    /// Kind and time.
    pub head: EventHead,
    /// Its flow, which the kernel does not hold if the fragment was dropped.
    pub key: FlowKey,
    /// [`ODD_TINY`], [`ODD_OVERLAP`].
    pub found: u8,
    /// Direction of the fragment: 0 from lo to hi, 1 back.
    pub direction: u8,
    /// Direction of the flow's initiator.
    pub initiator: u8,
    /// Zero.
    pub pad: u8,
}

impl OddEvent {
    /// What is odd.
    #[must_use]
    pub const fn finding(&self) -> Finding {
        Finding { tiny: self.found & ODD_TINY != 0, overlap: self.found & ODD_OVERLAP != 0, orphan: false }
    }
}

const _: () = assert!(size_of::<OddEvent>() == 64 && offset_of!(OddEvent, found) == 60);
