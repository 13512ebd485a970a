//! Odd fragments: whose they are is told, of each flow and kind once, within bounds.

use crate::testrun::{DROP, SECOND, START, Sensor};
use flow::Direction;
use kernel::abi::{Counter, Event, Limits, ODD_OVERLAP, ODD_TINY, OddEvent, direction, program};
use wire::craft::{self, Builder};

/// Events of one sender per second, `ODD_PER_SOURCE`.
const PER_SOURCE: usize = 32;

fn addr(text: &str) -> wire::Addr {
    text.parse().expect("address")
}

/// The fragments of datagram `id`, `size` bytes of content each.
fn datagram(src: (&str, u16), dst: (&str, u16), id: u16, size: usize) -> Vec<Vec<u8>> {
    let plain = Builder::new(addr(src.0), addr(dst.0)).id(id);
    plain.fragments(&plain.udp_segment(src.1, dst.1, &[0; 1000]), size)
}

/// Runs frames; how many were dropped.
fn run(sensor: &mut Sensor, frames: &[Vec<u8>]) -> usize {
    frames.iter().filter(|frame| sensor.run(frame) == DROP).count()
}

fn odd(sensor: &mut Sensor) -> Vec<OddEvent> {
    let odd = |event| if let Event::Odd(odd) = event { Some(odd) } else { None };
    sensor.events().into_iter().filter_map(odd).collect()
}

/// Who sent it, from which port, and what is odd.
fn senders(sensor: &mut Sensor) -> Vec<(wire::Addr, u16, u8)> {
    let sender = |e: &OddEvent| {
        let key: flow::FlowKey = e.key.into();
        let (sender, port) = key.source(direction(e.direction));
        (sender, port, e.found)
    };
    odd(sensor).iter().map(sender).collect()
}

#[test]
fn the_sender_of_odd_fragments_is_told_once_a_flow_and_kind() {
    for (src, dst) in
        [("198.51.100.1", "192.0.2.1"), ("192.0.2.1", "198.51.100.1"), ("2001:db8::5", "2001:db8::1")]
    {
        let Some(mut sensor) = Sensor::load(&[]) else { return };
        run(&mut sensor, &datagram((src, 7), (dst, 9), 1, 600));
        assert_eq!(senders(&mut sensor), [], "of a plausible size");
        run(&mut sensor, &datagram((src, 7), (dst, 9), 2, 64));
        run(&mut sensor, &datagram((src, 7), (dst, 9), 3, 64));
        assert_eq!(senders(&mut sensor), [(addr(src), 7, ODD_TINY)]);
        let (coarse, fine) = (datagram((src, 7), (dst, 9), 4, 600), datagram((src, 7), (dst, 9), 4, 400));
        run(&mut sensor, &[coarse[0].clone(), fine[1].clone()]);
        assert_eq!(senders(&mut sensor), [(addr(src), 7, ODD_OVERLAP)]);
        run(&mut sensor, &datagram((src, 8), (dst, 9), 5, 64));
        assert_eq!(senders(&mut sensor)[0], (addr(src), 8, ODD_TINY), "another flow");
        assert_eq!(sensor.counter(Counter::OddLost), 0);
    }
}

#[test]
fn both_directions_are_told_of_and_who_began_the_flow() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let (client, server) = (("198.51.100.1", 7), ("192.0.2.1", 53));
    sensor.run(&craft::udp((addr(client.0), client.1), (addr(server.0), server.1), b"question"));
    run(&mut sensor, &datagram(server, client, 1, 64));
    run(&mut sensor, &datagram(client, server, 1, 64));
    let told: Vec<_> =
        odd(&mut sensor).iter().map(|e| (direction(e.direction), direction(e.initiator))).collect();
    let (from_client, from_server) = (Direction::HiToLo, Direction::LoToHi);
    assert_eq!(told, [(from_server, from_client), (from_client, from_client)]);
}

#[test]
fn what_is_dropped_is_told_of_too() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(Limits { block_tiny: 1, ..Limits::default() });
    let tiny = datagram(("198.51.100.1", 7), ("192.0.2.1", 9), 1, 64);
    assert_eq!(run(&mut sensor, &tiny), tiny.len());
    assert_eq!(senders(&mut sensor)[0], (addr("198.51.100.1"), 7, ODD_TINY));
    assert!(sensor.flows().is_empty());
}

#[test]
fn what_this_host_sends_is_told_of() {
    let Some(mut sensor) = Sensor::load_program(program::TC_EGRESS, &[]) else { return };
    run(&mut sensor, &datagram(("198.51.100.1", 7), ("192.0.2.1", 9), 1, 64));
    assert_eq!(senders(&mut sensor)[0], (addr("198.51.100.1"), 7, ODD_TINY));
}

#[test]
fn no_sender_is_told_of_without_bounds() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let first = |src, port| datagram((src, port), ("192.0.2.1", 9), port, 64).swap_remove(0);
    let flood = |sensor: &mut Sensor| {
        for port in 1..=100 {
            sensor.run(&first("198.51.100.1", port));
        }
        senders(sensor).len()
    };
    assert_eq!(flood(&mut sensor), PER_SOURCE);
    assert_eq!(sensor.counter(Counter::OddLost), 100 - PER_SOURCE as u64);
    sensor.run(&first("198.51.100.2", 1));
    assert_eq!(senders(&mut sensor).len(), 1, "another sender has a budget of its own");
    assert_eq!(sensor.counter(Counter::FragmentsTiny), 101);
    sensor.at(START + SECOND);
    assert_eq!(flood(&mut sensor), PER_SOURCE, "of the flows not told of yet");
}
