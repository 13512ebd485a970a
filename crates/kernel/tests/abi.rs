//! `abi.rs` against the object's own BTF: every struct's size, every field's offset and size, every enum's values, and
//! the names of maps, programs and tunables.

use kernel::abi;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};

/// A field: offset and size in bytes.
type Field = (usize, usize);

/// What the tests ask of BTF (<https://docs.kernel.org/bpf/btf.html>), by name.
#[derive(Default)]
struct Btf {
    structs: BTreeMap<String, (usize, BTreeMap<String, Field>)>,
    enums: BTreeMap<String, BTreeMap<String, u32>>,
}

struct Type {
    kind: u32,
    name: usize,
    vlen: usize,
    size_or_type: u32,
    /// Where what follows the common part begins.
    tail: usize,
}

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;

impl Btf {
    fn of(object: &[u8]) -> Self {
        let file = object::File::parse(object).expect("an ELF object");
        let section = file.section_by_name(".BTF").expect(".BTF").data().expect("its bytes");
        let word = |at: usize| u32::from_le_bytes(section[at..at + 4].try_into().expect("four bytes"));
        let at = |field: usize| usize::try_from(word(field)).expect("fits");
        let (header, types, types_len, strings) = (at(4), at(8), at(12), at(16));
        let name = |offset: usize| {
            let text = &section[header + strings + offset..];
            let end = text.iter().position(|b| *b == 0).expect("terminated");
            String::from_utf8(text[..end].to_vec()).expect("UTF-8")
        };
        let mut list = vec![Type { kind: 0, name: 0, vlen: 0, size_or_type: 0, tail: 0 }];
        let mut here = header + types;
        while here < header + types + types_len {
            let info = word(here + 4);
            let (kind, vlen) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).expect("fits"));
            let tail = here + 12;
            list.push(Type { kind, name: at(here), vlen, size_or_type: word(here + 8), tail });
            here = tail
                + match kind {
                    INT | 14 | 17 => 4,
                    ARRAY => 12,
                    STRUCT | UNION | 15 | 19 => vlen * 12,
                    ENUM | 13 => vlen * 8,
                    _ => 0,
                };
        }
        let index = |t: u32| usize::try_from(t).expect("fits");
        // Recursion follows typedefs and arrays down to a size.
        fn size(list: &[Type], word: &dyn Fn(usize) -> u32, t: usize) -> usize {
            let to = |n: u32| usize::try_from(n).expect("fits");
            match list[t].kind {
                INT | STRUCT | UNION | ENUM => to(list[t].size_or_type),
                PTR => 8,
                ARRAY => size(list, word, to(word(list[t].tail))) * to(word(list[t].tail + 8)),
                _ => size(list, word, to(list[t].size_or_type)),
            }
        }
        let mut btf = Self::default();
        for t in &list {
            if t.kind == STRUCT {
                let fields = (0..t.vlen).map(|i| {
                    let member = t.tail + i * 12;
                    let field = (at(member + 8) / 8, size(&list, &word, index(word(member + 4))));
                    (name(at(member)), field)
                });
                btf.structs.insert(name(t.name), (index(t.size_or_type), fields.collect()));
            } else if t.kind == ENUM {
                let values = (0..t.vlen).map(|i| (name(at(t.tail + i * 8)), word(t.tail + i * 8 + 4)));
                btf.enums.insert(name(t.name), values.collect());
            }
        }
        btf
    }

    /// Both ways: a field that only one side has is a difference as well.
    fn check(&self, name: &str, size: usize, fields: &[(&str, usize, usize)]) {
        let (c_size, c_fields) = self.structs.get(name).unwrap_or_else(|| panic!("no struct {name} in BTF"));
        assert_eq!(*c_size, size, "size of struct {name}");
        let rust: BTreeMap<String, Field> =
            fields.iter().map(|(field, offset, size)| ((*field).to_owned(), (*offset, *size))).collect();
        assert_eq!(c_fields, &rust, "fields of struct {name}");
    }
}

/// Size of the field a projection points at.
fn size_by<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! check {
    ($btf:ident, $c:literal, $rust:ty, $($field:ident),+ $(,)?) => {
        $btf.check($c, size_of::<$rust>(), &[
            $((stringify!($field), offset_of!($rust, $field), size_by(|v: &$rust| &v.$field))),+
        ]);
    };
}

#[test]
fn structs_are_those_of_the_object() {
    let btf = Btf::of(kernel::object::SENSOR);
    check!(btf, "flow_key", abi::FlowKey, lo, hi, lo_port, hi_port, vlan, protocol, pad, tunnel);
    check!(
        btf,
        "dir_stats",
        abi::DirStats,
        packets,
        bytes,
        payload_bytes,
        payload_squares,
        header_bytes,
        gap_sum_us,
        gap_squares,
        first_ns,
        last_ns,
        gap_min_us,
        gap_max_us,
        flags,
        data_packets,
        fragments,
        first_seq,
        next_seq,
        retransmitted,
        lost,
        first_window,
        payload_min,
        payload_max,
        ttl_min,
        ttl_max,
        head,
        transport_min,
        pending_syns,
        odd,
        pad,
        cpu,
    );
    check!(btf, "periods", abi::Periods, sum_us, squares, count, min_us, max_us, pad);
    check!(
        btf,
        "flow_stats",
        abi::FlowStats,
        dir,
        syn_ns,
        synack_ns,
        established_ns,
        gap_sum_us,
        gap_squares,
        active_start_ns,
        gap_min_us,
        gap_max_us,
        active,
        idle,
        initiator,
        state,
        first_flags,
        fin_mask,
        rst_mask,
        pending_packets,
        long_head,
        pending_bytes,
    );
    check!(
        btf,
        "source_stats",
        abi::SourceStats,
        start_ns,
        bytes,
        reply_bytes,
        packets,
        tcp_packets,
        udp_packets,
        icmp_packets,
        syn_packets,
        handshakes,
        flows,
        reply_packets,
        udp_reply_packets,
        reply_resets,
        crossed,
        starts_sent,
        ends_sent,
        heads_sent,
        odds_sent,
        pad,
    );
    check!(btf, "block", abi::Block, expires_ns, packets, bytes, reason, prefix_len, not_allowed, pad);
    check!(btf, "allow", abi::Allow, why);
    check!(
        btf,
        "interface_stats",
        abi::InterfaceStats,
        packets,
        bytes,
        dropped_packets,
        dropped_bytes,
        egress_packets,
        egress_bytes,
    );
    check!(btf, "event_head", abi::EventHead, kind, ifindex, time_ns);
    check!(btf, "flow_event", abi::FlowEvent, head, key, pad, stats);
    check!(btf, "source_event", abi::SourceEvent, head, addr, counts, crossed, pad);
    check!(btf, "limits", abi::Limits, interval_ns, known_ns, block_tiny, block_overlapping);
    check!(
        btf,
        "limit_state",
        abi::LimitState,
        tat_ns,
        since_ns,
        last_ns,
        told_ns,
        kinds,
        pad,
        packets,
        bytes
    );
    check!(btf, "service_key", abi::ServiceKey, addr, port, protocol, pad);
    check!(
        btf,
        "limited_event",
        abi::LimitedEvent,
        head,
        addr,
        since_ns,
        packets,
        bytes,
        limit,
        port,
        protocol,
        enforced
    );
    check!(btf, "arp_event", abi::ArpEvent, head, captured, frame);
    check!(btf, "odd_event", abi::OddEvent, head, key, found, direction, initiator, pad);
    check!(
        btf,
        "head_event",
        abi::HeadEvent,
        head,
        key,
        payload_len,
        seq,
        ack,
        start,
        captured,
        flags,
        direction,
        initiator,
        begins,
        pad
    );
    btf.check("counters", size_of::<abi::Counters>(), &[("v", 0, size_of::<abi::Counters>())]);
    // The loader's LPM keys: a length and the address.
    btf.check("prefix_v4", 8, &[("prefix_len", 0, 4), ("addr", 4, 4)]);
    btf.check("prefix_v6", 20, &[("prefix_len", 0, 4), ("addr", 4, 16)]);
}

#[test]
fn counters_are_those_of_the_object() {
    let btf = Btf::of(kernel::object::SENSOR);
    let mut expected: BTreeMap<String, u32> = abi::Counter::ALL
        .iter()
        .map(|c| (format!("COUNTER_{}", c.name().to_uppercase()), u32::try_from(*c as usize).expect("small")))
        .collect();
    expected.insert("COUNTERS".to_owned(), u32::try_from(abi::Counter::ALL.len()).expect("small"));
    assert_eq!(btf.enums.get("counter"), Some(&expected));
    for skip in wire::Skip::ALL {
        let counter = abi::Counter::ALL[abi::Counter::LinkTruncated as usize + skip as usize];
        assert_eq!(counter.name(), skip.name());
    }
}

#[test]
fn events_and_crossings_are_those_of_the_object() {
    let btf = Btf::of(kernel::object::SENSOR);
    let values = |pairs: &[(&str, u32)]| Some(pairs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect());
    assert_eq!(
        btf.enums.get("event_kind").cloned(),
        values(&[
            ("EVENT_FLOW_START", abi::EVENT_FLOW_START),
            ("EVENT_FLOW_END", abi::EVENT_FLOW_END),
            ("EVENT_SOURCE_OVER", abi::EVENT_SOURCE_OVER),
            ("EVENT_LIMITED", abi::EVENT_LIMITED),
            ("EVENT_HEAD", abi::EVENT_HEAD),
            ("EVENT_ARP", abi::EVENT_ARP),
            ("EVENT_ODD", abi::EVENT_ODD),
        ])
    );
    let mut limits: BTreeMap<String, u32> =
        abi::Limit::ALL.iter().map(|l| (format!("LIMIT_{}", l.name().to_uppercase()), *l as u32)).collect();
    limits.insert("LIMITS".to_owned(), u32::try_from(abi::Limit::ALL.len()).expect("small"));
    assert_eq!(btf.enums.get("limit"), Some(&limits));
    assert_eq!(
        btf.enums.get("crossing").cloned(),
        values(&[
            ("CROSSING_SYN_PENDING", abi::crossing::SYN_PENDING),
            ("CROSSING_UDP", abi::crossing::UDP),
            ("CROSSING_ICMP", abi::crossing::ICMP),
            ("CROSSING_FLOWS", abi::crossing::FLOWS),
        ])
    );
}

#[test]
fn names_exist_in_the_object() {
    use abi::{map, program, tunable};
    let file = object::File::parse(kernel::object::SENSOR).expect("an ELF object");
    let symbols: Vec<&str> = file.symbols().filter_map(|s| s.name().ok()).collect();
    for name in [
        map::FLOWS,
        map::SOURCES,
        map::INTERFACES,
        map::COUNTERS,
        map::CPU,
        map::ALLOW_V4,
        map::ALLOW_V6,
        map::BLOCK_V4,
        map::BLOCK_V6,
        map::EVENTS,
        map::HEADS,
        map::LIMITS,
        map::LIMIT_SOURCES,
        map::LIMIT_SERVICES,
        map::KNOWN,
        map::FRAGMENTS,
        program::XDP,
        program::TC_INGRESS,
        program::TC_EGRESS,
        tunable::ENFORCE,
        tunable::ACCOUNT_EGRESS,
        tunable::TEST_CLOCK,
        tunable::SOURCE_SYN_PENDING,
        tunable::SOURCE_UDP,
        tunable::SOURCE_ICMP,
        tunable::SOURCE_FLOWS,
        tunable::SOURCE_EVENT_BUDGET,
        tunable::CPU_EVENT_BUDGET,
        tunable::HEAD_BYTES,
        tunable::HEAD_BYTES_LONG,
        tunable::HEAD_PACKET_BYTES,
        tunable::SOURCE_HEAD_BUDGET,
        tunable::CPU_HEAD_BUDGET,
        tunable::IDLE_TCP_NS,
        tunable::IDLE_NS,
    ] {
        assert!(symbols.contains(&name), "no {name} in the object");
    }
    assert!(file.section_by_name(tunable::TEST_NOW_NS).is_some_and(|s| s.size() == 8));
}

#[test]
fn events_are_read_only_whole() {
    assert_eq!(abi::Event::read(&[]), None);
    assert_eq!(abi::Event::read(&[1, 0, 0, 0]), None);
    let mut bytes = vec![0; size_of::<abi::SourceEvent>()];
    assert_eq!(abi::Event::read(&bytes), None, "kind 0");
    bytes[..4].copy_from_slice(&abi::EVENT_SOURCE_OVER.to_ne_bytes());
    assert!(matches!(abi::Event::read(&bytes), Some(abi::Event::SourceOver(_))));
    bytes.pop();
    assert_eq!(abi::Event::read(&bytes), None);
}
