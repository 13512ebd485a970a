//! docs/features.md, from the table.

use super::{Feature, Set};
use std::fmt::Write as _;

const HEAD: &str = "# Flow features

Generated from the feature table (`crates/flow/src/feature`) by `cargo xtask docs`; do not edit.

`autoinmune replay --features PATH` writes one row for each flow that ended: first the columns that say which flow it is, then
the features below under the names that the data sets use. `--feature-set` chooses one set. What cannot be known of a flow is
absent: an empty field in CSV, null in Parquet. It is never 0 in place of \"unknown\", though the data sets do write 0 there; to
compare with them, fill absent numbers with 0.

A flow ends when both sides closed it or one reset it, after its idle time, or after `flow.active_s`, when it is reported and
counted anew. Counts of payload and packets include retransmissions. Gaps are in whole microseconds, at most 300 s each.

## Identity

| Column | Type | Meaning |
|---|---|---|
| ts | time | first packet |
| community_id | text | Community ID 1.0 |
| src_ip, src_port | text, integer | the side that began the flow; ports absent where the protocol has none |
| dst_ip, dst_port | text, integer | the side that was contacted. For ICMP the ports are type and code, or type and counterpart |
| protocol | integer | IP protocol number |
| vlan | integer | outermost VLAN; absent when untagged |
| tunnel | integer | tunnel the packets came out of; absent outside tunnels |
| end_reason | text | why the flow ended |
";

const UNSW: &str = "
## UNSW-NB15

Names, order and meaning of the 42 features of N. Moustafa and J. Slay, \"UNSW-NB15: a comprehensive data set for network
intrusion detection systems\", MilCIS 2015, whose values came from Argus and Zeek. Units and formulas were checked against the
published rows: `rate` holds for 98.5 % of them, `sload` for 98.4 %, `dload` for 99.9 % (within 1 %), `smean` and `dmean` and
`tcprtt` = `synack` + `ackdat` for all. Bytes are IP bytes: a DNS query of 57 bytes leaves 29 after IP and UDP headers, and would
leave 15, fewer than a query has, after an Ethernet header too. `sinpkt` and `sjit` are in milliseconds. `ct_state_ttl` is a
function of `state`, `sttl` and `dttl` but for three combinations. The published rows carry no addresses, so the seven counts
over 100 connections follow the paper's words and were not recomputed.

Order of connections is the order in which flows leave the table, which is later than their last packet by the idle or linger
time. Over several captures in one command it runs on.
";

const CICIDS: &str = "
## CICIDS2017

Names, order and meaning of the columns of CICFlowMeter as corrected by G. Engelen, V. Rimmer and W. Joosen, \"Troubleshooting
an Intrusion Detection Dataset: the CICIDS2017 Case Study\", SPW 2021. Checked against the published rows: lengths are of
transport payloads, standard deviations are of samples, `Fwd Act Data Pkts` leaves out the flow's first packet, and the last
period of activity is not in `Active`: all ratios and means hold for every row.

Left out: the six bulk columns and the four subflow columns, since they depend on the state machine of the tool (bulks of four
packets within a second, subflows cut after a second) more than on the flow, and Engelen et al. found the former wrong;
`Total TCP Flow Time`, since it adds up flows that CICFlowMeter cut; and the columns of identity and label.
";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    for set in Set::ALL {
        out.push_str(match set {
            Set::Unsw => UNSW,
            Set::Cicids => CICIDS,
        });
        out.push_str("\n| Feature | Type | Unit | Definition | Where it differs |\n|---|---|---|---|---|\n");
        for Feature { name, unit, kind, formula, limit, .. } in set.features() {
            let kind = format!("{kind:?}").to_lowercase();
            // Writing to a String does not fail.
            let _ = writeln!(out, "| {name} | {kind} | {unit} | {formula} | {limit} |");
        }
    }
    out
}
