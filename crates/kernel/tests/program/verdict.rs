//! What the XDP program drops and passes: blocks, allowlist, expiry, prefixes, broken frames.

use crate::testrun::{DROP, PASS, SECOND, START, Sensor, Tunable};
use kernel::abi::{Counter, tunable};
use wire::craft::{self, Builder, Tcp};
use wire::packet::tcp_flag;

const NEVER: u64 = u64::MAX;

fn addr(text: &str) -> wire::Addr {
    text.parse().expect("address")
}

/// A SYN from `src` to a fixed host of the same IP version.
fn syn(src: &str) -> Vec<u8> {
    let src = addr(src);
    let dst = if src.is_v4() { addr("192.0.2.1") } else { addr("2001:db8::1") };
    craft::tcp((src, 40_000), (dst, 22), tcp_flag::SYN, 1, 0, 64_240, &[])
}

#[test]
fn nothing_listed_passes() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let frame = syn("198.51.100.1");
    assert_eq!(sensor.run(&frame), PASS);
    let interface = sensor.interface(1);
    assert_eq!((interface.packets, interface.bytes, interface.dropped_packets), (1, frame.len() as u64, 0));
    assert_eq!(sensor.counter(Counter::Packets), 1);
    assert_eq!(sensor.counter(Counter::Bytes), frame.len() as u64);
}

#[test]
fn blocked_source_is_dropped_and_counted_and_not_accounted() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.block("198.51.100.1", NEVER);
    let frame = syn("198.51.100.1");
    assert_eq!(sensor.run(&frame), DROP);
    assert_eq!(sensor.run(&frame), DROP);
    assert_eq!(sensor.run(&syn("198.51.100.2")), PASS);
    assert_eq!(sensor.counter(Counter::DroppedPackets), 2);
    assert_eq!(sensor.counter(Counter::DroppedBytes), 2 * frame.len() as u64);
    assert_eq!(sensor.interface(1).dropped_packets, 2);
    let block = sensor.block_v4("198.51.100.1");
    assert_eq!((block.packets, block.bytes, block.reason), (2, 2 * frame.len() as u64, 7));
    assert_eq!(sensor.flows().len(), 1, "only the passed packet made a flow");
    assert_eq!(sensor.source("198.51.100.1"), None);
}

#[test]
fn allow_beats_block_whatever_the_prefix_lengths() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.block("198.51.100.0/24", NEVER);
    sensor.block("203.0.113.7", NEVER);
    sensor.block("2001:db8:bad::/48", NEVER);
    sensor.allow("198.51.100.9");
    sensor.allow("203.0.113.0/24");
    sensor.allow("2001:db8:bad::5");
    assert_eq!(sensor.run(&syn("198.51.100.9")), PASS, "host allowed within a blocked prefix");
    assert_eq!(sensor.run(&syn("203.0.113.7")), PASS, "host blocked within an allowed prefix");
    assert_eq!(sensor.run(&syn("2001:db8:bad::5")), PASS);
    assert_eq!(sensor.counter(Counter::AllowedPackets), 3);
    assert_eq!(sensor.run(&syn("198.51.100.8")), DROP);
    assert_eq!(sensor.run(&syn("2001:db8:bad::6")), DROP);
}

#[test]
fn block_ends_at_its_expiry() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.block("198.51.100.1", START + SECOND);
    let frame = syn("198.51.100.1");
    assert_eq!(sensor.run(&frame), DROP);
    sensor.at(START + SECOND - 1);
    assert_eq!(sensor.run(&frame), DROP);
    sensor.at(START + SECOND);
    assert_eq!(sensor.run(&frame), PASS);
    assert_eq!(sensor.counter(Counter::ExpiredBlockPackets), 1);
}

#[test]
fn expired_block_does_not_hide_a_shorter_one() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.block("198.51.0.0/16", NEVER);
    sensor.block("198.51.100.0/24", START - 1);
    sensor.block("198.51.100.1", START - 1);
    sensor.block("2001:db8::/32", NEVER);
    sensor.block("2001:db8::7", START - 1);
    assert_eq!(sensor.run(&syn("198.51.100.1")), DROP);
    assert_eq!(sensor.run(&syn("2001:db8::7")), DROP);
    assert_eq!(sensor.block_v4("198.51.0.0/16").packets, 1);
    assert_eq!(sensor.counter(Counter::ExpiredBlockPackets), 0);
}

#[test]
fn prefixes_cover_exactly_their_addresses() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.block("10.1.2.0/23", NEVER);
    sensor.block("2001:db8:1::/48", NEVER);
    for (src, verdict) in [
        ("10.1.1.255", PASS),
        ("10.1.2.0", DROP),
        ("10.1.3.255", DROP),
        ("10.1.4.0", PASS),
        ("2001:db8:0:ffff::1", PASS),
        ("2001:db8:1::", DROP),
        ("2001:db8:1:ffff::1", DROP),
        ("2001:db8:2::", PASS),
    ] {
        assert_eq!(sensor.run(&syn(src)), verdict, "{src}");
    }
}

#[test]
fn shadow_mode_counts_and_passes() {
    let Some(mut sensor) = Sensor::load(&[Tunable::Byte(tunable::ENFORCE, 0)]) else { return };
    sensor.block("198.51.100.1", NEVER);
    let frame = syn("198.51.100.1");
    assert_eq!(sensor.run(&frame), PASS);
    assert_eq!(sensor.counter(Counter::WouldDropPackets), 1);
    assert_eq!(sensor.counter(Counter::WouldDropBytes), frame.len() as u64);
    assert_eq!(sensor.counter(Counter::DroppedPackets), 0);
    assert_eq!(sensor.flows().len(), 1, "what passes is accounted");
}

#[test]
fn blocks_hold_under_tags_in_fragments_and_before_broken_transport() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.block("198.51.100.1", NEVER);
    sensor.block("2001:db8::bad", NEVER);
    let (src, dst) = (addr("198.51.100.1"), addr("192.0.2.1"));
    let tagged = Builder::new(src, dst).service_vlan(100).vlan(7);
    assert_eq!(sensor.run(&tagged.tcp(&Tcp::default(), b"x")), DROP);
    let plain = Builder::new(src, dst);
    for fragment in plain.fragments(&plain.udp_segment(1, 2, &[0; 64]), 32) {
        assert_eq!(sensor.run(&fragment), DROP);
    }
    let mut broken = syn("198.51.100.1");
    broken[14 + 20 + 12] = 0;
    assert_eq!(sensor.run(&broken), DROP, "data offset 0");
    let six = Builder::new(addr("2001:db8::bad"), addr("2001:db8::1")).extension(0, &[]).extension(60, &[]);
    assert_eq!(sensor.run(&six.udp(1, 2, b"x")), DROP);
}

#[test]
fn tc_ingress_drops_and_egress_never() {
    // TCX_DROP, and TCX_NEXT as the kernel reports it.
    for (program, verdict) in [("sensor_tc_ingress", 2), ("sensor_tc_egress", u32::MAX)] {
        let Some(mut sensor) = Sensor::load_program(program, &[]) else { return };
        sensor.block("198.51.100.1", NEVER);
        assert_eq!(sensor.run(&syn("198.51.100.1")), verdict, "{program}");
        assert_eq!(sensor.run(&syn("198.51.100.2")), u32::MAX, "{program}");
        let egress = program == "sensor_tc_egress";
        assert_eq!(sensor.counter(Counter::EgressPackets), if egress { 2 } else { 0 });
        assert_eq!(sensor.counter(Counter::Packets), if egress { 0 } else { 2 });
        assert_eq!(sensor.flows().len(), if egress { 2 } else { 1 });
    }
}

#[test]
fn egress_accounting_can_be_switched_off() {
    let off = [Tunable::Byte(tunable::ACCOUNT_EGRESS, 0)];
    let Some(mut sensor) = Sensor::load_program("sensor_tc_egress", &off) else { return };
    sensor.run(&syn("198.51.100.1"));
    assert_eq!(sensor.flows().len(), 0);
    assert_eq!(sensor.counter(Counter::EgressPackets), 1);
}

/// Frames that are no packet pass, and each counts under its reason, the one `wire::parse` gives too.
#[test]
fn unparsable_frames_pass_and_are_counted_by_reason() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let (v4, v6) = (syn("198.51.100.1"), syn("2001:db8::2"));
    let edit = |frame: &[u8], at: usize, byte: u8| {
        let mut frame = frame.to_vec();
        frame[at] = byte;
        frame
    };
    let tags = Builder::new(addr("198.51.100.1"), addr("192.0.2.1")).vlan(1).vlan(2).vlan(3).vlan(4).vlan(5);
    let mut chain = Builder::new(addr("2001:db8::2"), addr("2001:db8::1"));
    for _ in 0..9 {
        chain = chain.extension(60, &[]);
    }
    let udp = craft::udp((addr("198.51.100.1"), 1), (addr("192.0.2.1"), 2), b"payload");
    let frames = [
        v4[..16].to_vec(),
        tags.udp(1, 2, b"x"),
        tags.udp(1, 2, b"x")[..20].to_vec(),
        edit(&v4, 12, 0x99),
        v4[..33].to_vec(),
        v6[..53].to_vec(),
        edit(&v4, 14, 0x65),
        edit(&v4, 14, 0x44),
        edit(&v6, 14, 0x45),
        edit(&v4, 14, 0x4f),
        edit(&v4, 17, 19),
        chain.udp(1, 2, b"x"),
        v4[..53].to_vec(),
        udp[..41].to_vec(),
        edit(&v4, 46, 0x40),
        edit(&v4, 46, 0xf0),
        edit(&udp, 39, 7),
        edit(&udp, 39, 200),
        edit(&udp, 17, 24),
    ];
    for (i, frame) in frames.iter().enumerate() {
        let before = sensor.counters();
        assert_eq!(sensor.run(frame), PASS, "frame {i}");
        let after = sensor.counters();
        let length = u32::try_from(frame.len()).expect("short");
        let counted: Vec<_> =
            wire::Skip::ALL.into_iter().filter(|s| after.skipped(*s) != before.skipped(*s)).collect();
        let expected = wire::parse(wire::LinkType::Ethernet, frame, length).expect_err("unparsable");
        assert_eq!(counted, [expected], "frame {i}");
    }
    assert_eq!(sensor.flows().len(), 0);
    let all: u64 = wire::Skip::ALL.into_iter().map(|s| sensor.counters().skipped(s)).sum();
    assert_eq!(all, frames.len() as u64);
    assert!(wire::Skip::ALL.into_iter().all(|s| sensor.counters().skipped(s) > 0), "every reason occurs");
}
