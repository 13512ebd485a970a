//! The shipped baseline of snapshots, and the golden set that every other one is held against.
//!
//! models/README.md says how both are made: `autoinmune learn-snapshots`.

use anyhow::Context as _;
use detect::RuleSet;
use detect::snapshot::{Baseline, Judge, Snapshot};
use learn::codec::from_bytes;
use std::fmt::Write as _;
use std::sync::Arc;

/// The shipped baseline.
const BASELINE: &[u8] = include_bytes!("../../../../models/snapshots/baseline.model");
/// Seconds of the lab that nothing was learnt from: attacks, and ordinary traffic beside them.
const GOLDEN: &str = include_str!("../../../../models/snapshots/golden.csv");
/// Its columns.
pub(super) const HEADER: &str =
    "attack,packets_per_second,bytes_per_second,unique_ips,unique_ports,udp_share,syn_packets,tcp_packets";

/// The shipped baseline.
///
/// # Errors
/// It is not what this program was made with, which a test rules out.
pub fn shipped() -> anyhow::Result<Baseline> {
    let baseline: Baseline =
        from_bytes(BASELINE).context("the baseline of snapshots built into this program")?;
    anyhow::ensure!(
        baseline.fits(),
        "the baseline of snapshots built into this program is of other quantities"
    );
    Ok(baseline)
}

/// A line of the golden set.
pub(super) fn line(attack: bool, s: &Snapshot) -> String {
    let mut text = u8::from(attack).to_string();
    for value in [
        s.packets_per_second,
        s.bytes_per_second,
        s.addresses,
        s.ports,
        s.udp_share,
        s.syn_packets,
        s.tcp_packets,
    ] {
        let _ = write!(text, ",{}", (value * 1e4).round() / 1e4);
    }
    text
}

/// The golden set: whether each second is of an attack, and its figures.
fn read(golden: &str) -> impl Iterator<Item = (bool, Snapshot)> {
    golden.lines().skip(1).filter_map(|line| {
        let mut fields = line.split(',').map(|f| f.parse::<f64>().unwrap_or(0.0));
        let attack = fields.next()? > 0.0;
        let values: Vec<f64> = fields.collect();
        let [packets, bytes, addresses, ports, udp_share, syn, tcp] = values[..] else { return None };
        let snapshot = Snapshot {
            packets_per_second: packets,
            bytes_per_second: bytes,
            addresses,
            ports,
            udp_share,
            syn_packets: syn,
            tcp_packets: tcp,
            ..Snapshot::default()
        };
        Some((attack, snapshot))
    })
}

/// The share of the golden set that is judged rightly, attacks and ordinary seconds counting the same; each second is judged
/// alone, without history.
#[must_use]
pub fn accuracy(baseline: &Arc<Baseline>) -> f64 {
    accuracy_on(baseline, GOLDEN)
}

/// As [`accuracy`], on another set of the same form.
#[must_use]
pub(super) fn accuracy_on(baseline: &Arc<Baseline>, golden: &str) -> f64 {
    let mut right = [0.0_f64; 2];
    let mut all = [0.0_f64; 2];
    let judge = Judge::new(RuleSet::builtin(), Some(Arc::clone(baseline)), 0);
    for (attack, snapshot) in read(golden) {
        let verdict = judge.judge_alone(&snapshot);
        all[usize::from(attack)] += 1.0;
        right[usize::from(attack)] += f64::from(u8::from(verdict.alerts() == attack));
    }
    let share = |side: usize| if all[side] > 0.0 { right[side] / all[side] } else { 1.0 };
    f64::midpoint(share(0), share(1))
}
