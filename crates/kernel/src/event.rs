//! What the kernel tells without being asked, in the words of user space.

use crate::abi;
use crate::limits::{self, Excess};
use flow::fragment::OddFragment;
use flow::window::SourceCounts;
use flow::{FlowKey, FlowStats};
use wire::Addr;

/// What the kernel tells without being asked; times are wall-clock ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// A flow's first packet.
    FlowStart {
        /// Which.
        key: FlowKey,
        /// Its sums so far.
        stats: FlowStats,
    },
    /// A flow closed by FINs or reset.
    FlowEnd {
        /// Which.
        key: FlowKey,
        /// Its sums so far.
        stats: FlowStats,
    },
    /// A source reached a threshold.
    SourceOver {
        /// When it crossed.
        at_ns: u64,
        /// Who.
        addr: Addr,
        /// What it did in the running second.
        counts: SourceCounts,
    },
    /// Packets were over a limit: told when an excess begins and each second while it lasts.
    Limited(Excess),
    /// A frame with ARP, which has no flow.
    Arp {
        /// The frame's start, from the link header on: the first `len` bytes.
        frame: [u8; abi::ARP_FRAME_MAX],
        /// Bytes of it, at most [`abi::ARP_FRAME_MAX`].
        len: usize,
    },
    /// A fragment that is tiny or overlaps, whether it was dropped or not. About once a flow, direction and kind.
    Odd {
        /// When it passed.
        at_ns: u64,
        /// Whose it is and what is odd; if it was dropped, nothing else may be told of its flow.
        odd: OddFragment,
    },
}

impl KernelEvent {
    /// An event on the wall clock; `None` if it names a limit that is unknown here. `offset_ns` is `CLOCK_REALTIME -
    /// CLOCK_BOOTTIME`.
    pub(crate) fn of(event: &abi::Event, offset_ns: i64) -> Option<Self> {
        let wall = |boot_ns| abi::wall_ns(boot_ns, offset_ns);
        Some(match event {
            abi::Event::FlowStart(e) => {
                Self::FlowStart { key: e.key.into(), stats: e.stats.to_flow(offset_ns) }
            }
            abi::Event::FlowEnd(e) => Self::FlowEnd { key: e.key.into(), stats: e.stats.to_flow(offset_ns) },
            abi::Event::SourceOver(e) => Self::SourceOver {
                at_ns: wall(e.head.time_ns),
                addr: Addr(e.addr),
                counts: e.counts.to_flow(offset_ns),
            },
            abi::Event::Limited(e) => Self::Limited(limits::excess(e, offset_ns)?),
            abi::Event::Arp(e) => {
                let len = usize::try_from(e.captured).unwrap_or(0).min(e.frame.len());
                Self::Arp { frame: e.frame, len }
            }
            abi::Event::Odd(e) => Self::Odd {
                at_ns: wall(e.head.time_ns),
                odd: OddFragment {
                    key: e.key.into(),
                    direction: abi::direction(e.direction),
                    initiator: abi::direction(e.initiator),
                    finding: e.finding(),
                },
            },
        })
    }
}
