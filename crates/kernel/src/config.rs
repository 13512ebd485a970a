//! What to attach, where, and how large its tables are.

use crate::abi::HEAD_PACKET_MAX;
use crate::attach::AttachChoice;
use crate::limits::LimitRates;
use crate::pins;
use std::path::PathBuf;

/// What user space sets in the programs before load; units and meaning are those of `bpf/tunables.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// Account flows on egress too; else frames are only counted.
    pub account_egress: bool,
    /// Answer SYNs over the limit of their service with SYN cookies, while `enforce` is on. See
    /// [`crate::limits::syn_cookies_possible`] for what the host must offer.
    pub syn_cookies: bool,
    /// SYNs without completed handshake per source and second that make an event.
    pub source_syn_pending: u32,
    /// UDP packets per source and second that make an event.
    pub source_udp: u32,
    /// ICMP and ICMPv6 packets per source and second that make an event.
    pub source_icmp: u32,
    /// Flows begun per source and second that make an event.
    pub source_flows: u32,
    /// Flow-start events, and as many flow-end events, per source and second.
    pub source_event_budget: u32,
    /// Flow-start events, and as many flow-end events, per CPU and second.
    pub cpu_event_budget: u32,
    /// Payload bytes of each direction of a flow that are sent up; 0: none.
    pub head_bytes: u32,
    /// Likewise of flows that speak in messages (DNS, DHCP, SMB, DCE/RPC, Modbus); at least `head_bytes`. Beyond it the
    /// packets that begin a message are sent up, as they are of HTTP beyond `head_bytes`.
    pub head_bytes_long: u32,
    /// Most of them out of one packet, at most [`HEAD_PACKET_MAX`].
    pub head_packet_bytes: u32,
    /// Records of flow heads per source and second.
    pub source_head_budget: u32,
    /// Payload bytes of flow heads per CPU and second.
    pub cpu_head_budget: u32,
    /// Silence after which a TCP key is a new flow, ns.
    pub idle_tcp_ns: u64,
    /// Silence after which any other key is a new flow, ns.
    pub idle_ns: u64,
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            account_egress: true,
            syn_cookies: false,
            source_syn_pending: 100,
            source_udp: 1000,
            source_icmp: 100,
            source_flows: 50,
            source_event_budget: 100,
            cpu_event_budget: 5000,
            head_bytes: 2048,
            head_bytes_long: 65_536,
            head_packet_bytes: u32::try_from(HEAD_PACKET_MAX).unwrap_or(u32::MAX),
            source_head_budget: 2000,
            cpu_head_budget: 32 << 20,
            idle_tcp_ns: 300_000_000_000,
            idle_ns: 60_000_000_000,
        }
    }
}

/// What to attach, where, and how large its tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorConfig {
    /// Names of the interfaces to watch; at least one.
    pub interfaces: Vec<String>,
    /// Which hooks may be tried.
    pub mode: AttachChoice,
    /// Constants of the programs.
    pub tunables: Tunables,
    /// Flows held in the kernel; beyond, the least recently used goes. At least 1.
    pub flow_capacity: u32,
    /// Sources counted in the kernel; beyond, the least recently used goes. At least 1.
    pub source_capacity: u32,
    /// Bytes of the event ring, rounded up to a power of two of at least a page; beyond, events are lost and counted.
    pub ring_bytes: u32,
    /// Bytes of the ring of flow heads, likewise.
    pub head_ring_bytes: u32,
    /// Limits of the fast path.
    pub limits: LimitRates,
    /// Blocks held in the kernel per IP version; beyond, further ones are refused. At least 1.
    pub block_capacity: u32,
    /// Directory of the pins, directly below a BPF file system; `None`: pin nothing, and blocks end with the agent.
    pub bpffs: Option<PathBuf>,
    /// Whether blocks drop; else what they would have dropped is counted.
    pub enforce: bool,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            mode: AttachChoice::Auto,
            tunables: Tunables::default(),
            flow_capacity: 131_072,
            source_capacity: 32_768,
            ring_bytes: 4 << 20,
            head_ring_bytes: 4 << 20,
            limits: LimitRates::OFF,
            block_capacity: 131_072,
            bpffs: Some(PathBuf::from(pins::DEFAULT_DIRECTORY)),
            enforce: true,
        }
    }
}
