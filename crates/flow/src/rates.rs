//! Rates of the whole traffic, second by second.

use crate::event::Share;
use crate::sketch::{halves, linear_estimate, mix};
use serde::Serialize;
use wire::Addr;
use wire::packet::protocol;

/// Bits of the address sketch: standard error about 1 % at 10,000 addresses; saturates near 159,000.
const ADDRESS_BITS: u32 = 16_384;

/// What went by in one second of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Beginning of the second, ns.
    pub start_ns: u64,
    /// Packets.
    pub packets_per_second: u64,
    /// IP bytes.
    pub bytes_per_second: u64,
    /// Different addresses, both ends of flows; an estimate (linear counting on 16,384 bits).
    pub unique_ips: u32,
    /// Different TCP and UDP ports that were contacted; exact.
    pub unique_ports: u32,
    /// TCP packets.
    pub tcp_packets: u64,
    /// UDP packets.
    pub udp_packets: u64,
    /// ICMP and ICMPv6 packets.
    pub icmp_packets: u64,
    /// Packets with SYN from initiators.
    pub syn_packets: u64,
}

/// Counts the running second and keeps the one before. Memory: 10 KB, whatever goes by.
pub(crate) struct Rates {
    seed: u64,
    running: Traffic,
    completed: Option<Traffic>,
    addresses: Bits,
    ports: Bits,
}

/// A set of bits that knows how many it has and in which blocks they are: most seconds of quiet traffic see few addresses
/// and ports, and to clear all of it would cost more than to count them.
struct Bits {
    words: Vec<u64>,
    /// Blocks of [`BLOCK`] words with bits set, by bit.
    blocks: [u64; 2],
    ones: u32,
}

/// Words of one block: a cache line.
const BLOCK: usize = 8;
const _: () = assert!(65_536 / 64 / BLOCK <= 128, "as many as there are bits in `Bits::blocks`");

impl Bits {
    fn new(bits: usize) -> Self {
        Self { words: vec![0; bits / 64], blocks: [0; 2], ones: 0 }
    }

    #[inline]
    fn set(&mut self, at: usize) {
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        let block = word / BLOCK;
        self.blocks[block / 64] |= 1 << (block % 64);
        self.ones += u32::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    fn clear(&mut self) {
        for (half, blocks) in self.blocks.iter_mut().enumerate() {
            while *blocks != 0 {
                let block = half * 64 + blocks.trailing_zeros() as usize;
                self.words[block * BLOCK..][..BLOCK].fill(0);
                *blocks &= *blocks - 1;
            }
        }
        self.ones = 0;
    }
}

const SECOND: u64 = 1_000_000_000;

impl Rates {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            running: Traffic::default(),
            completed: None,
            addresses: Bits::new(ADDRESS_BITS as usize),
            ports: Bits::new(65_536),
        }
    }

    /// Turns to the second of `now`, unless it is a later one's turn already.
    #[inline]
    pub(crate) fn turn(&mut self, now: u64) {
        if now >= self.running.start_ns.saturating_add(SECOND) {
            self.turn_over(now);
        }
    }

    /// Turns to the second of `now`, of a clock begun anew.
    pub(crate) fn restart(&mut self, now: u64) {
        self.turn_over(now);
    }

    fn turn_over(&mut self, now: u64) {
        let start = now - now % SECOND;
        let running = self.running();
        let adjacent = self.running.start_ns.saturating_add(SECOND) == start;
        let first = self.running == Traffic::default();
        self.completed = if adjacent {
            Some(running)
        } else {
            (!first).then(|| Traffic { start_ns: start.saturating_sub(SECOND), ..Traffic::default() })
        };
        self.running = Traffic { start_ns: start, ..Traffic::default() };
        self.addresses.clear();
        self.ports.clear();
    }

    #[inline]
    pub(crate) fn count(&mut self, proto: u8, share: &Share) {
        let (packets, bytes) = (share.total(), share.bytes.saturating_add(share.reply_bytes));
        let r = &mut self.running;
        r.packets_per_second += packets;
        r.bytes_per_second = r.bytes_per_second.saturating_add(bytes);
        match proto {
            protocol::TCP => {
                r.tcp_packets += packets;
                r.syn_packets += u64::from(share.syn_packets);
            }
            protocol::UDP => r.udp_packets += packets,
            protocol::ICMP | protocol::ICMPV6 => r.icmp_packets += packets,
            _ => {}
        }
    }

    /// Counts a flow's addresses and contacted port.
    pub(crate) fn count_flow(&mut self, ends: [&Addr; 2], proto: u8, port: u16) {
        for addr in ends {
            let (a, b) = halves(addr);
            let bit = (mix(self.seed, a, b) % u64::from(ADDRESS_BITS)) as usize;
            self.addresses.set(bit);
        }
        if matches!(proto, protocol::TCP | protocol::UDP) {
            self.ports.set(usize::from(port));
        }
    }

    pub(crate) fn running(&self) -> Traffic {
        Traffic {
            unique_ips: linear_estimate(ADDRESS_BITS, self.addresses.ones),
            unique_ports: self.ports.ones,
            ..self.running
        }
    }

    pub(crate) fn completed(&self) -> Option<Traffic> {
        self.completed
    }
}
