//! One frame, parsed: the values every later stage works on.

use crate::Addr;
pub use crate::parse::parse;

/// IP protocol numbers used by name (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// ICMP for IPv4, RFC 792.
    pub const ICMP: u8 = 1;
    /// TCP, RFC 9293.
    pub const TCP: u8 = 6;
    /// UDP, RFC 768.
    pub const UDP: u8 = 17;
    /// IPv4 in IP, RFC 2003.
    pub const IPV4: u8 = 4;
    /// IPv6 in IP, RFC 4213 and RFC 2473.
    pub const IPV6: u8 = 41;
    /// Generic routing encapsulation, RFC 2784.
    pub const GRE: u8 = 47;
    /// ICMP for IPv6, RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// SCTP, RFC 9260.
    pub const SCTP: u8 = 132;
}

/// TCP control bits in wire order, RFC 9293 §3.1.
pub mod tcp_flag {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push function.
    pub const PSH: u8 = 0x08;
    /// Acknowledgement field significant.
    pub const ACK: u8 = 0x10;
    /// Urgent pointer field significant.
    pub const URG: u8 = 0x20;
    /// ECN-Echo, RFC 3168.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced, RFC 3168.
    pub const CWR: u8 = 0x80;
}

/// 802.1Q/802.1ad tags followed before giving up (QinQ is two; nothing real stacks more than a few).
pub const MAX_VLAN_TAGS: usize = 4;
/// IPv6 extension headers followed before giving up; RFC 8504 §5.3 lets nodes limit the chain to 8.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// How frames of a capture or an interface begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// `LINKTYPE_ETHERNET` (1).
    Ethernet,
    /// `LINKTYPE_RAW` (101), and 12, 14, 228, 229: an IPv4 or IPv6 header at once.
    RawIp,
    /// `LINKTYPE_LINUX_SLL` (113): Linux cooked capture v1.
    LinuxSll,
    /// `LINKTYPE_LINUX_SLL2` (276): Linux cooked capture v2.
    LinuxSll2,
    /// `LINKTYPE_NULL` (0) and `LINKTYPE_LOOP` (108): a 4-byte address family first, in either byte order.
    BsdLoopback,
}

impl LinkType {
    /// Every link type.
    pub const ALL: [Self; 5] =
        [Self::Ethernet, Self::RawIp, Self::LinuxSll, Self::LinuxSll2, Self::BsdLoopback];

    /// The link type of a `LINKTYPE_`/`DLT_` number (tcpdump.org registry), if it is one this crate parses.
    ///
    /// 12 and 14 are what `DLT_RAW` is called on other systems, 228 and 229 are raw IPv4 and raw IPv6.
    #[must_use]
    pub const fn from_dlt(dlt: u32) -> Option<Self> {
        match dlt {
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::RawIp),
            113 => Some(Self::LinuxSll),
            276 => Some(Self::LinuxSll2),
            0 | 108 => Some(Self::BsdLoopback),
            _ => None,
        }
    }

    /// The `LINKTYPE_` number that a capture file of this link type carries.
    #[must_use]
    pub const fn dlt(self) -> u32 {
        match self {
            Self::Ethernet => 1,
            Self::RawIp => 101,
            Self::LinuxSll => 113,
            Self::LinuxSll2 => 276,
            Self::BsdLoopback => 0,
        }
    }
}

/// Where a packet stands in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fragment {
    /// The packet is the whole datagram.
    #[default]
    None,
    /// Offset zero, more to come: the ports are here.
    First,
    /// A later fragment: no ports; both are zero.
    Later,
}

/// A parsed frame. Integers are in host order. Lengths come from the IP header, so that a capture's snap length and
/// Ethernet padding do not change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// TCP, UDP or SCTP source port; for ICMP see [`Packet::icmp_type`]; else 0.
    ///
    /// For ICMP the pair of ports is the type and its counterpart for two-way types (8/0 for an echo request, 0/8 for
    /// its reply), else type and code: the convention of Community ID v1, under which both directions of an exchange
    /// share one key.
    pub src_port: u16,
    /// Destination port, see `src_port`.
    pub dst_port: u16,
    /// IP protocol number after IPv6 extension headers.
    pub protocol: u8,
    /// Outermost 802.1Q/802.1ad VLAN identifier, 0 when untagged.
    pub vlan: u16,
    /// Bytes from the first IP header byte to the end of the datagram as the IP header states it.
    pub ip_len: u32,
    /// Bytes of the whole frame on the wire, as the source states it, but not less than were captured.
    pub frame_len: u32,
    /// Transport payload bytes as the headers state them (not what was captured).
    pub payload_len: u32,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// TCP control bits ([`tcp_flag`]), 0 for other protocols.
    pub tcp_flags: u8,
    /// TCP sequence number, else 0.
    pub tcp_seq: u32,
    /// TCP acknowledgement number, else 0.
    pub tcp_ack: u32,
    /// TCP window, unscaled, else 0.
    pub tcp_window: u16,
    /// ICMP type, else 0.
    pub icmp_type: u8,
    /// ICMP code, else 0.
    pub icmp_code: u8,
    /// Place in a fragmented datagram.
    pub fragment: Fragment,
    /// Identification that the fragments of a datagram share: 16 bits in IPv4, 32 in IPv6; 0 for whole datagrams.
    pub fragment_id: u32,
    /// Offset of a fragment's content in its datagram, bytes; 0 for whole datagrams.
    pub fragment_offset: u16,
    /// Bytes of the transport header as stated; 0 without one (later fragments, other protocols).
    pub transport_len: u8,
    /// Which tunnels the packet came out of, the same for both directions; 0 outside tunnels. See [`crate::tunnel`].
    pub tunnel: u32,
    /// The packet carries a tunnel whose content could not be read or lies too deep: this is the packet around it.
    pub opaque_tunnel: bool,
    /// Captured transport payload; shorter than `payload_len` when the capture cut the packet.
    pub payload: &'a [u8],
}

/// Why a frame did not become a [`Packet`]. Every variant is a loss counter of the same name in the kernel program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Skip {
    /// The frame ends inside the link header.
    LinkTruncated = 0,
    /// More than [`MAX_VLAN_TAGS`] tags, or more than [`MAX_MPLS_LABELS`](crate::tunnel::MAX_MPLS_LABELS) labels.
    TooManyTags = 1,
    /// No IPv4 or IPv6 behind the link header (ARP, LLDP, PPP control, …): seen, not an error.
    NotIp = 2,
    /// The frame ends inside the IP header.
    IpTruncated = 3,
    /// Version, header length or total length contradict each other.
    IpMalformed = 4,
    /// More than [`MAX_EXTENSION_HEADERS`] extension headers.
    TooManyExtensions = 5,
    /// The frame ends inside the TCP, UDP, ICMP or SCTP header.
    TransportTruncated = 6,
    /// A TCP data offset below 5 or beyond the segment, a UDP length below 8 or beyond the datagram, or a datagram
    /// stated to be too short for its transport header.
    TransportMalformed = 7,
}

impl Skip {
    /// Every reason, in the order of the kernel's counters.
    pub const ALL: [Self; 8] = [
        Self::LinkTruncated,
        Self::TooManyTags,
        Self::NotIp,
        Self::IpTruncated,
        Self::IpMalformed,
        Self::TooManyExtensions,
        Self::TransportTruncated,
        Self::TransportMalformed,
    ];

    /// The counter's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkTruncated => "link_truncated",
            Self::TooManyTags => "too_many_tags",
            Self::NotIp => "not_ip",
            Self::IpTruncated => "ip_truncated",
            Self::IpMalformed => "ip_malformed",
            Self::TooManyExtensions => "too_many_extensions",
            Self::TransportTruncated => "transport_truncated",
            Self::TransportMalformed => "transport_malformed",
        }
    }
}
