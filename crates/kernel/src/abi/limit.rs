//! The limits of the fast path: rates, buckets and what is told of excesses. `bpf/limit.h` says what they mean.

use super::EventHead;
use std::mem::{offset_of, size_of};

/// Which limit, `enum limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Limit {
    /// SYN without ACK, by source.
    SourceSyn = 0,
    /// UDP packets of flows not answered, by source.
    SourceUdp = 1,
    /// ICMP and ICMPv6 echo requests, by source.
    SourceIcmp = 2,
    /// SYN without ACK to one service, of sources not known good.
    ServiceSyn = 3,
}

impl Limit {
    /// Every limit, in the order of [`Limits::interval_ns`].
    pub const ALL: [Self; 4] = [Self::SourceSyn, Self::SourceUdp, Self::SourceIcmp, Self::ServiceSyn];

    /// The limit's name, `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SourceSyn => "source_syn",
            Self::SourceUdp => "source_udp",
            Self::SourceIcmp => "source_icmp",
            Self::ServiceSyn => "service_syn",
        }
    }
}

/// The rates in force, `struct limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Limits {
    /// By [`Limit`]: one second divided by the packets per second, ns; 0: no limit.
    pub interval_ns: [u64; 4],
    /// How long a source stays known good, ns.
    pub known_ns: u64,
    /// 1: tiny fragments are dropped.
    pub block_tiny: u32,
    /// 1: overlapping fragments are dropped.
    pub block_overlapping: u32,
}

/// One bucket with its excess, `struct limit_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct LimitState {
    /// The buckets' times by [`Limit`], ns; of a service its bucket's, and when it last answered a SYN itself.
    pub tat_ns: [u64; 3],
    /// When the excess began, ns; 0: there was none.
    pub since_ns: u64,
    /// Its last packet over the limit, ns.
    pub last_ns: u64,
    /// When it was last told of, ns.
    pub told_ns: u64,
    /// The limits that were exceeded in it: bit `1 << `[`Limit`].
    pub kinds: u32,
    /// Zero.
    pub pad: u32,
    /// Packets over the limit in it.
    pub packets: u64,
    /// Their frame bytes.
    pub bytes: u64,
}

/// One service, `struct service_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ServiceKey {
    /// Its address.
    pub addr: [u8; 16],
    /// Its port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

/// Packets over a limit, `struct limited_event`: sent when an excess begins and each second while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LimitedEvent {
    /// Kind and time.
    pub head: EventHead,
    /// The source, IPv6 as its /64; of [`Limit::ServiceSyn`] the service.
    pub addr: [u8; 16],
    /// When the excess began, ns.
    pub since_ns: u64,
    /// Packets over the limit since then.
    pub packets: u64,
    /// Their frame bytes.
    pub bytes: u64,
    /// [`Limit`] as a number.
    pub limit: u32,
    /// Port of the service, else 0.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 0: shadow mode, all of them passed.
    pub enforced: u8,
}

const _: () = {
    assert!(size_of::<Limits>() == 48 && size_of::<LimitState>() == 72 && size_of::<ServiceKey>() == 20);
    assert!(size_of::<LimitedEvent>() == 64 && offset_of!(LimitedEvent, limit) == 56);
};
