//! TCP states, the initiator and the handshake's times, from conversations written as tables.

use crate::common::{T0, segment};
use flow::{Direction, FlowKey, FlowStats, TcpState};
use wire::packet::protocol;

/// Packets one nanosecond apart from `T0` on.
fn account(conversation: &str) -> FlowStats {
    let packets: Vec<_> = conversation.split_whitespace().map(segment).collect();
    let (_, direction) = FlowKey::of(&packets[0]);
    let mut stats = FlowStats::begin(&packets[0], direction);
    for (i, p) in packets.iter().enumerate() {
        stats.account(T0 + i as u64, p, FlowKey::of(p).1);
    }
    stats
}

/// `times` are those of SYN, SYN+ACK and establishment as packet numbers from 1, 0 for none; masks as `fin/rst`.
fn check(conversation: &str, state: TcpState, times: [u64; 3], masks: &str) {
    let s = account(conversation);
    let number = |ns: u64| if ns == 0 { 0 } else { ns - T0 + 1 };
    assert_eq!(s.state, state, "state of {conversation}");
    assert_eq!([s.syn_ns, s.synack_ns, s.established_ns].map(number), times, "times of {conversation}");
    assert_eq!(format!("{}/{}", s.fin_mask, s.rst_mask), masks, "masks of {conversation}");
}

#[test]
fn states_follow_the_specification() {
    use TcpState as T;
    check(">S", T::SynSent, [1, 0, 0], "0/0");
    check(">S >S", T::SynSent, [1, 0, 0], "0/0");
    check(">S <SA", T::SynReceived, [1, 2, 0], "0/0");
    check(">S <SA >A", T::Established, [1, 2, 3], "0/0");
    check(">S <SA <SA >A >A", T::Established, [1, 2, 4], "0/0");
    check(">S <SA >A >PA+ <A", T::Established, [1, 2, 3], "0/0");
    // Only one direction visible.
    check(">S >A", T::Established, [1, 0, 2], "0/0");
    check("<SA >A", T::Established, [0, 1, 2], "0/0");
    check("<SA >S", T::SynReceived, [2, 1, 0], "0/0");
    // Closing, in every order.
    check(">S <SA >A >FA", T::Closing, [1, 2, 3], "1/0");
    check(">S <SA >A >FA <FA >A", T::Closed, [1, 2, 3], "3/0");
    check(">S <SA >A <FA >FA", T::Closed, [1, 2, 3], "3/0");
    check(">S <SA >FA", T::Closing, [1, 2, 3], "1/0");
    // Resets are final, but masks go on.
    check(">S <RA", T::Reset, [1, 0, 0], "0/2");
    check(">S <SA >R", T::Reset, [1, 2, 0], "0/1");
    check(">S <RA >FA", T::Reset, [1, 0, 0], "1/2");
    check(">S <RA <SA >A", T::Reset, [1, 3, 0], "0/2");
    check(">S <SA >A >FA <FA >R", T::Reset, [1, 2, 3], "3/1");
    // Beginnings other than SYN.
    check(">A", T::Midstream, [0, 0, 0], "0/0");
    check(">A <SA", T::Midstream, [0, 2, 0], "0/0");
    check(">R", T::Reset, [0, 0, 0], "0/1");
    check(">SR", T::Reset, [0, 0, 0], "0/1");
    check(">F", T::Closing, [0, 0, 0], "1/0");
    check(">FPU <RA", T::Reset, [0, 0, 0], "1/2");
    check(">FR", T::Reset, [0, 0, 0], "0/1");
    check(">SF", T::Closing, [1, 0, 0], "1/0");
    check(">", T::Midstream, [0, 0, 0], "0/0");
    // SYN from the responder, SYN+ACK from the initiator: not the handshake, but the latter acknowledges.
    check(">S <S", T::SynSent, [1, 0, 0], "0/0");
    check(">S >SA", T::Established, [1, 0, 2], "0/0");
}

#[test]
fn the_initiator_is_whoever_sent_the_syn() {
    for (conversation, initiator) in [
        (">S", Direction::LoToHi),
        ("<S", Direction::HiToLo),
        ("<SA", Direction::LoToHi),
        (">SA", Direction::HiToLo),
    ] {
        assert_eq!(account(conversation).initiator, initiator, "{conversation}");
    }
}

#[test]
fn other_protocols_have_no_state() {
    for proto in [protocol::UDP, protocol::ICMP, 132] {
        // A careless parser's flags must not matter either.
        let p = wire::Packet { protocol: proto, ..segment(">FRSA") };
        let (_, d) = FlowKey::of(&p);
        let mut s = FlowStats::begin(&p, d);
        s.account(T0, &p, d);
        s.account(T0, &p, d);
        assert_eq!((s.state, s.first_flags, s.fin_mask, s.rst_mask), (TcpState::None, 0, 0, 0));
        assert_eq!(s.initiator, d);
        assert_eq!(s.from_initiator().flags, [0; 8]);
    }
}
