//! The counters of the kernel programs, `enum counter` and `struct counters`.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Index into [`Counters`], `enum counter`. "Frame" is everything a program saw, parsed or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)+ }

        impl Counter {
            /// Every counter in the kernel's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The counter's name, `snake_case`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

counters! {
    /// Frames received.
    Packets = "packets",
    /// Their bytes.
    Bytes = "bytes",
    /// Frames sent.
    EgressPackets = "egress_packets",
    /// Their bytes.
    EgressBytes = "egress_bytes",
    /// Frames dropped by a block.
    DroppedPackets = "dropped_packets",
    /// Their bytes.
    DroppedBytes = "dropped_bytes",
    /// Frames a block covered while `enforce` was off.
    WouldDropPackets = "would_drop_packets",
    /// Their bytes.
    WouldDropBytes = "would_drop_bytes",
    /// Frames a block covered and the allowlist saved.
    AllowedPackets = "allowed_packets",
    /// Frames a block covered after its expiry.
    ExpiredBlockPackets = "expired_block_packets",
    /// [`wire::Skip::LinkTruncated`].
    LinkTruncated = "link_truncated",
    /// [`wire::Skip::TooManyTags`].
    TooManyTags = "too_many_tags",
    /// [`wire::Skip::NotIp`].
    NotIp = "not_ip",
    /// [`wire::Skip::IpTruncated`].
    IpTruncated = "ip_truncated",
    /// [`wire::Skip::IpMalformed`].
    IpMalformed = "ip_malformed",
    /// [`wire::Skip::TooManyExtensions`].
    TooManyExtensions = "too_many_extensions",
    /// [`wire::Skip::TransportTruncated`].
    TransportTruncated = "transport_truncated",
    /// [`wire::Skip::TransportMalformed`].
    TransportMalformed = "transport_malformed",
    /// Accounted packets that were fragments.
    Fragments = "fragments",
    /// Flows created, reused keys included.
    FlowsStarted = "flows_started",
    /// Of those, keys whose earlier flow had ended or gone idle.
    FlowsReused = "flows_reused",
    /// Packets not accounted: no entry in the flow map to be had.
    FlowInsertFailed = "flow_insert_failed",
    /// Packets not counted per source: no entry in the source map to be had.
    SourceInsertFailed = "source_insert_failed",
    /// Frames of an interface whose index is beyond the interface map.
    InterfaceUncounted = "interface_uncounted",
    /// Flow-start events over the per-source budget.
    FlowStartSuppressedSource = "flow_start_suppressed_source",
    /// Flow-start events over the per-CPU budget.
    FlowStartSuppressedCpu = "flow_start_suppressed_cpu",
    /// Flow-start events lost to a full ring buffer.
    FlowStartLost = "flow_start_lost",
    /// Flow-end events lost to a full ring buffer.
    FlowEndLost = "flow_end_lost",
    /// Source events that met a full ring buffer (each is tried again with the source's next packet).
    SourceOverLost = "source_over_lost",
    /// Times a direction's packet was counted on another CPU than its last.
    FlowCpuMigrations = "flow_cpu_migrations",
    /// Flow-end events over the per-source budget.
    FlowEndSuppressedSource = "flow_end_suppressed_source",
    /// Flow-end events over the per-CPU budget.
    FlowEndSuppressedCpu = "flow_end_suppressed_cpu",
    /// Packets that came out of a tunnel.
    TunnelPackets = "tunnel_packets",
    /// Packets whose tunnel cannot be opened, [`wire::Packet::opaque_tunnel`]: the packet around it is accounted.
    TunnelOpaque = "tunnel_opaque",
    /// Likewise, but only in the kernel, which does not see headers outside a packet's linear part.
    TunnelUserOnly = "tunnel_user_only",
    /// Records of flow heads sent.
    HeadsSent = "heads_sent",
    /// Payload bytes in them.
    HeadBytes = "head_bytes",
    /// Records of flow heads over the per-source budget.
    HeadSuppressedSource = "head_suppressed_source",
    /// Records of flow heads over the per-CPU budget.
    HeadSuppressedCpu = "head_suppressed_cpu",
    /// Records of flow heads lost to a full ring buffer.
    HeadLost = "head_lost",
    /// Frames dropped by [`super::Limit::SourceSyn`].
    LimitedSourceSyn = "limited_source_syn",
    /// Frames dropped by [`super::Limit::SourceUdp`].
    LimitedSourceUdp = "limited_source_udp",
    /// Frames dropped by [`super::Limit::SourceIcmp`].
    LimitedSourceIcmp = "limited_source_icmp",
    /// Frames dropped by [`super::Limit::ServiceSyn`].
    LimitedServiceSyn = "limited_service_syn",
    /// Frames over a limit, or odd fragments, while `enforce` was off.
    LimitedWouldDrop = "limited_would_drop",
    /// Frames over a limit, or odd fragments, that the allowlist saved.
    LimitedAllowed = "limited_allowed",
    /// Limit events that met a full ring buffer (each is tried again with the next packet).
    LimitedLost = "limited_lost",
    /// Fragments that [`flow::fragment`] calls tiny.
    FragmentsTiny = "fragments_tiny",
    /// Fragments that overlap.
    FragmentsOverlapping = "fragments_overlapping",
    /// Later fragments whose first was not seen.
    FragmentsOrphaned = "fragments_orphaned",
    /// Fragments dropped: tiny, overlapping, or the rest of a datagram that lost one.
    FragmentsDropped = "fragments_dropped",
    /// ARP packets not sent up: too many in one second, or a full ring buffer.
    ArpLost = "arp_lost",
    /// SYNs over [`super::Limit::ServiceSyn`] that were answered with a SYN cookie instead of dropped.
    CookiesSent = "cookies_sent",
    /// Acknowledgements of no known flow that carried a valid cookie.
    CookiesValid = "cookies_valid",
    /// Those that did not, to a service that was over its limit lately.
    CookiesInvalid = "cookies_invalid",
    /// Odd fragments not told of: too many of one sender or in all in one second, or a full ring buffer.
    OddLost = "odd_lost",
}

/// The counters of one CPU, or summed over all, `struct counters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counters(pub [u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// One counter's value.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// The sum over CPUs.
    #[must_use]
    pub fn sum<'a>(cpus: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut total = Self::default();
        for cpu in cpus {
            for (t, v) in total.0.iter_mut().zip(cpu.0) {
                *t = t.wrapping_add(v);
            }
        }
        total
    }

    /// Name and value of every counter, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL.iter().map(|c| (c.name(), self.get(*c)))
    }

    /// Frames that did not parse, for one reason.
    #[must_use]
    pub const fn skipped(&self, skip: wire::Skip) -> u64 {
        self.0[Counter::LinkTruncated as usize + skip as usize]
    }

    /// Events lost because the ring buffer was full, all kinds.
    #[must_use]
    pub const fn events_lost(&self) -> u64 {
        self.get(Counter::FlowStartLost)
            .wrapping_add(self.get(Counter::FlowEndLost))
            .wrapping_add(self.get(Counter::SourceOverLost))
            .wrapping_add(self.get(Counter::LimitedLost))
    }
}

const _: () = assert!(size_of::<Counters>() == 8 * Counter::ALL.len());
