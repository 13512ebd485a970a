//! The features of CICIDS2017 in the names and order of the corrected CSV, without identity, bulk and subflow columns.
//!
//! "Forward" is from the initiator. Lengths are of transport payloads, times are in whole microseconds, standard
//! deviations are of samples (over count − 1): so the published values are.

use super::statistic::Sums;
use super::{Feature, Kind, Subject, Value, features};
use crate::stats::Periods;
use crate::{Accumulator, FlowStats};
use wire::icmp_counterpart;
use wire::packet::protocol;

/// Positions of TCP control bits in [`Accumulator::flags`].
mod bit {
    pub(super) const FIN: usize = 0;
    pub(super) const SYN: usize = 1;
    pub(super) const RST: usize = 2;
    pub(super) const PSH: usize = 3;
    pub(super) const ACK: usize = 4;
    pub(super) const URG: usize = 5;
    pub(super) const ECE: usize = 6;
    pub(super) const CWR: usize = 7;
}

fn stats<'a>(s: &Subject<'a>) -> &'a FlowStats {
    &s.record.stats
}

fn fwd<'a>(s: &Subject<'a>) -> &'a Accumulator {
    stats(s).from_initiator()
}

fn bwd<'a>(s: &Subject<'a>) -> &'a Accumulator {
    stats(s).from_responder()
}

fn duration_us(s: &Subject<'_>) -> u64 {
    s.record.last_ns().saturating_sub(s.record.first_ns()) / 1000
}

fn per_second(s: &Subject<'_>, amount: u64) -> Option<f64> {
    let us = duration_us(s);
    (us > 0).then(|| amount as f64 * 1e6 / us as f64)
}

fn packets(s: &Subject<'_>) -> u64 {
    fwd(s).packets.saturating_add(bwd(s).packets)
}

fn lengths(a: &Accumulator) -> Sums {
    Sums { count: a.packets, sum: a.payload_bytes, squares: a.payload_squares }
}

fn all_lengths(s: &Subject<'_>) -> Sums {
    lengths(fwd(s)).and(lengths(bwd(s)))
}

fn longest(a: &Accumulator) -> Option<u64> {
    (a.packets > 0).then_some(u64::from(a.payload_max))
}

fn shortest(a: &Accumulator) -> Option<u64> {
    (a.packets > 0).then_some(u64::from(a.payload_min))
}

fn gaps(a: &Accumulator) -> Sums {
    Sums { count: a.packets.saturating_sub(1), sum: a.gap_sum_us, squares: a.gap_squares }
}

fn all_gaps(s: &Subject<'_>) -> Sums {
    let f = stats(s);
    Sums { count: packets(s).saturating_sub(1), sum: f.gap_sum_us, squares: f.gap_squares }
}

/// A figure of gaps, which two packets make.
fn gap(packets: u64, us: u32) -> Option<u64> {
    (packets > 1).then_some(u64::from(us))
}

fn gap_total(a: &Accumulator) -> Option<u64> {
    (a.packets > 1).then_some(a.gap_sum_us)
}

fn tcp<T>(s: &Subject<'_>, value: T) -> Option<T> {
    (s.record.key.protocol == protocol::TCP).then_some(value)
}

/// Packets of one direction with a control bit; absent where there are none to have it.
fn flag(s: &Subject<'_>, a: &Accumulator, bit: usize) -> Option<u64> {
    if a.packets > 0 { tcp(s, u64::from(a.flags.get(bit).copied()?)) } else { None }
}

fn flag_both(s: &Subject<'_>, bit: usize) -> Option<u64> {
    let of = |a: &Accumulator| a.flags.get(bit).copied().map(u64::from);
    tcp(s, of(fwd(s))? + of(bwd(s))?)
}

fn window(s: &Subject<'_>, a: &Accumulator) -> Option<u64> {
    if a.packets > 0 { tcp(s, u64::from(a.first_window)) } else { None }
}

/// Packets with payload after the first of the flow. Whether that had payload is known if all had.
fn later_data(a: &Accumulator) -> u64 {
    let data = u64::from(a.data_packets);
    if data > 0 && data == a.packets { data - 1 } else { data }
}

fn period(p: &Periods) -> Sums {
    Sums { count: u64::from(p.count), sum: p.sum_us, squares: p.squares }
}

fn extreme(p: &Periods, us: u32) -> Option<u64> {
    (p.count > 0).then_some(u64::from(us))
}

fn icmp(s: &Subject<'_>) -> bool {
    matches!(s.record.key.protocol, protocol::ICMP | protocol::ICMPV6)
}

/// Of a two-way type the key has the counterpart in the place of the code.
fn icmp_code(s: &Subject<'_>) -> Option<u64> {
    let kind = u8::try_from(s.record.initiator().1).ok()?;
    let one_way = icmp(s) && icmp_counterpart(s.record.key.protocol, kind).is_none();
    one_way.then(|| u64::from(s.record.responder().1))
}

features! {
    Integer "Flow Duration" "µs" "last packet − first packet, either direction" ["CICFlowMeter cuts flows at 120 s; here at `flow.active_s`."] |s| Some(duration_us(s));
    Integer "Total Fwd Packet" "packets" "packets forward" [] |s| Some(fwd(s).packets);
    Integer "Total Bwd packets" "packets" "packets backward" [] |s| Some(bwd(s).packets);
    Integer "Total Length of Fwd Packet" "bytes" "payload bytes forward" [] |s| Some(fwd(s).payload_bytes);
    Integer "Total Length of Bwd Packet" "bytes" "payload bytes backward" [] |s| Some(bwd(s).payload_bytes);
    Integer "Fwd Packet Length Max" "bytes" "largest payload forward" [] |s| longest(fwd(s));
    Integer "Fwd Packet Length Min" "bytes" "smallest payload forward" [] |s| shortest(fwd(s));
    Real "Fwd Packet Length Mean" "bytes" "mean payload forward" [] |s| lengths(fwd(s)).mean();
    Real "Fwd Packet Length Std" "bytes" "deviation of payloads forward; absent below two packets" [] |s| lengths(fwd(s)).sample_deviation();
    Integer "Bwd Packet Length Max" "bytes" "largest payload backward; absent without packets" [] |s| longest(bwd(s));
    Integer "Bwd Packet Length Min" "bytes" "smallest payload backward; absent without packets" [] |s| shortest(bwd(s));
    Real "Bwd Packet Length Mean" "bytes" "mean payload backward; absent without packets" [] |s| lengths(bwd(s)).mean();
    Real "Bwd Packet Length Std" "bytes" "deviation of payloads backward; absent below two packets" [] |s| lengths(bwd(s)).sample_deviation();
    Real "Flow Bytes/s" "bytes/s" "payload bytes of both directions / duration; absent if that is 0" []
        |s| per_second(s, fwd(s).payload_bytes.saturating_add(bwd(s).payload_bytes));
    Real "Flow Packets/s" "packets/s" "packets of both directions / duration; absent if that is 0" [] |s| per_second(s, packets(s));
    Real "Flow IAT Mean" "µs" "mean gap between packets of either direction; absent below two" [] |s| all_gaps(s).mean();
    Real "Flow IAT Std" "µs" "deviation of those gaps; absent below two gaps" [] |s| all_gaps(s).sample_deviation();
    Integer "Flow IAT Max" "µs" "largest of those gaps, at most 300 s" [] |s| gap(packets(s), stats(s).gap_max_us);
    Integer "Flow IAT Min" "µs" "smallest of those gaps" [] |s| gap(packets(s), stats(s).gap_min_us);
    Integer "Fwd IAT Total" "µs" "sum of gaps between packets forward; absent below two" [] |s| gap_total(fwd(s));
    Real "Fwd IAT Mean" "µs" "mean gap forward" [] |s| gaps(fwd(s)).mean();
    Real "Fwd IAT Std" "µs" "deviation of gaps forward; absent below two gaps" [] |s| gaps(fwd(s)).sample_deviation();
    Integer "Fwd IAT Max" "µs" "largest gap forward" [] |s| gap(fwd(s).packets, fwd(s).gap_max_us);
    Integer "Fwd IAT Min" "µs" "smallest gap forward" [] |s| gap(fwd(s).packets, fwd(s).gap_min_us);
    Integer "Bwd IAT Total" "µs" "sum of gaps between packets backward; absent below two" [] |s| gap_total(bwd(s));
    Real "Bwd IAT Mean" "µs" "mean gap backward" [] |s| gaps(bwd(s)).mean();
    Real "Bwd IAT Std" "µs" "deviation of gaps backward; absent below two gaps" [] |s| gaps(bwd(s)).sample_deviation();
    Integer "Bwd IAT Max" "µs" "largest gap backward" [] |s| gap(bwd(s).packets, bwd(s).gap_max_us);
    Integer "Bwd IAT Min" "µs" "smallest gap backward" [] |s| gap(bwd(s).packets, bwd(s).gap_min_us);
    Integer "Fwd PSH Flags" "packets" "TCP: packets forward with PSH" [] |s| flag(s, fwd(s), bit::PSH);
    Integer "Bwd PSH Flags" "packets" "TCP: packets backward with PSH" [] |s| flag(s, bwd(s), bit::PSH);
    Integer "Fwd URG Flags" "packets" "TCP: packets forward with URG" [] |s| flag(s, fwd(s), bit::URG);
    Integer "Bwd URG Flags" "packets" "TCP: packets backward with URG" [] |s| flag(s, bwd(s), bit::URG);
    Integer "Fwd RST Flags" "packets" "TCP: packets forward with RST" [] |s| flag(s, fwd(s), bit::RST);
    Integer "Bwd RST Flags" "packets" "TCP: packets backward with RST" [] |s| flag(s, bwd(s), bit::RST);
    Integer "Fwd Header Length" "bytes" "transport header bytes forward" ["The published sums of long flows overflowed and are negative."] |s| Some(fwd(s).header_bytes);
    Integer "Bwd Header Length" "bytes" "transport header bytes backward" [] |s| Some(bwd(s).header_bytes);
    Real "Fwd Packets/s" "packets/s" "packets forward / duration; absent if that is 0" [] |s| per_second(s, fwd(s).packets);
    Real "Bwd Packets/s" "packets/s" "packets backward / duration; absent if that is 0" [] |s| per_second(s, bwd(s).packets);
    Integer "Packet Length Min" "bytes" "smallest payload of either direction" [] |s| Some(u64::from(fwd(s).payload_min.min(bwd(s).payload_min)));
    Integer "Packet Length Max" "bytes" "largest payload of either direction" [] |s| Some(u64::from(fwd(s).payload_max.max(bwd(s).payload_max)));
    Real "Packet Length Mean" "bytes" "mean payload of both directions" [] |s| all_lengths(s).mean();
    Real "Packet Length Std" "bytes" "deviation of those; absent below two packets" [] |s| all_lengths(s).sample_deviation();
    Real "Packet Length Variance" "bytes²" "the square of the deviation" [] |s| all_lengths(s).sample_variance();
    Integer "FIN Flag Count" "packets" "TCP: packets of either direction with FIN" [] |s| flag_both(s, bit::FIN);
    Integer "SYN Flag Count" "packets" "TCP: with SYN" [] |s| flag_both(s, bit::SYN);
    Integer "RST Flag Count" "packets" "TCP: with RST" [] |s| flag_both(s, bit::RST);
    Integer "PSH Flag Count" "packets" "TCP: with PSH" [] |s| flag_both(s, bit::PSH);
    Integer "ACK Flag Count" "packets" "TCP: with ACK" [] |s| flag_both(s, bit::ACK);
    Integer "URG Flag Count" "packets" "TCP: with URG" [] |s| flag_both(s, bit::URG);
    Integer "CWR Flag Count" "packets" "TCP: with CWR" [] |s| flag_both(s, bit::CWR);
    Integer "ECE Flag Count" "packets" "TCP: with ECE" [] |s| flag_both(s, bit::ECE);
    Real "Down/Up Ratio" "ratio" "packets backward / packets forward; absent without packets forward" []
        |s| (fwd(s).packets > 0).then(|| bwd(s).packets as f64 / fwd(s).packets as f64);
    Real "Average Packet Size" "bytes" "the same as Packet Length Mean" [] |s| all_lengths(s).mean();
    Real "Fwd Segment Size Avg" "bytes" "the same as Fwd Packet Length Mean" [] |s| lengths(fwd(s)).mean();
    Real "Bwd Segment Size Avg" "bytes" "the same as Bwd Packet Length Mean" [] |s| lengths(bwd(s)).mean();
    Integer "FWD Init Win Bytes" "bytes" "TCP: window of the first packet forward, unscaled" [] |s| window(s, fwd(s));
    Integer "Bwd Init Win Bytes" "bytes" "TCP: window of the first packet backward, unscaled; absent without packets" [] |s| window(s, bwd(s));
    Integer "Fwd Act Data Pkts" "packets" "packets forward with payload, the flow's first packet left out"
        ["Whether the first had payload is only known if all or none had; otherwise it is taken to have had none, which is right for TCP from its SYN."]
        |s| (fwd(s).packets > 0).then(|| later_data(fwd(s)));
    Integer "Fwd Seg Size Min" "bytes" "smallest transport header forward; absent without any" []
        |s| (fwd(s).header_bytes > 0).then_some(u64::from(fwd(s).transport_min));
    Real "Active Mean" "µs" "mean period of activity that a silence of more than 5 s ended, those of one packet left out; absent without any" []
        |s| period(&stats(s).active).mean();
    Real "Active Std" "µs" "deviation of those; absent below two" [] |s| period(&stats(s).active).sample_deviation();
    Integer "Active Max" "µs" "longest of those, at most an hour" [] |s| extreme(&stats(s).active, stats(s).active.max_us);
    Integer "Active Min" "µs" "shortest of those" [] |s| extreme(&stats(s).active, stats(s).active.min_us);
    Real "Idle Mean" "µs" "mean silence of more than 5 s; absent without any" [] |s| period(&stats(s).idle).mean();
    Real "Idle Std" "µs" "deviation of those; absent below two" [] |s| period(&stats(s).idle).sample_deviation();
    Integer "Idle Max" "µs" "longest of those, at most 300 s" [] |s| extreme(&stats(s).idle, stats(s).idle.max_us);
    Integer "Idle Min" "µs" "shortest of those" [] |s| extreme(&stats(s).idle, stats(s).idle.min_us);
    Integer "ICMP Code" "" "ICMP: code of one-way types; absent for echo and other types with a counterpart" ["The data set has −1 for other protocols."] |s| icmp_code(s);
    Integer "ICMP Type" "" "ICMP: type of the first packet" ["As ICMP Code."] |s| icmp(s).then(|| u64::from(s.record.initiator().1));
}
