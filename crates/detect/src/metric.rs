//! The quantities that rules may bound: one table, from which names, evaluation and documentation come.
//!
//! A metric belongs to one [`Subject`]. Those of windows are computed from the window; those of a profile are handed over
//! with its [`crate::profile::Observation`].

use crate::names;
use crate::profile::Subject;
use flow::{Span, Window};
use serde::{Deserialize, Serialize};

macro_rules! metrics {
    (
        window { $($variant:ident $name:literal $unit:literal $label:literal $meaning:literal $value:expr;)* }
        $($subject:ident { $($pvariant:ident $pname:literal $punit:literal $plabel:literal $pmeaning:literal;)* })*
    ) => {
        /// A quantity of a window or of a profile's subject.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Metric {
            $(#[doc = $meaning] $variant,)*
            $($(#[doc = $pmeaning] $pvariant,)*)*
        }

        impl Metric {
            /// Every metric, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)* $($(Self::$pvariant,)*)*];

            /// What it is a quantity of.
            #[must_use]
            pub const fn subject(self) -> Subject {
                match self {
                    $(Self::$variant => Subject::Window,)*
                    $($(Self::$pvariant => Subject::$subject,)*)*
                }
            }

            /// The name in rule files and in evidence.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* $($(Self::$pvariant => $pname,)*)* }
            }

            /// The unit.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* $($(Self::$pvariant => $punit,)*)* }
            }

            /// How an explanation calls it.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* $($(Self::$pvariant => $plabel,)*)* }
            }

            /// What it means, one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* $($(Self::$pvariant => $pmeaning,)*)* }
            }

            /// The value in `window` of length `span`; `None` where it cannot be computed, and for metrics of profiles.
            #[must_use]
            #[inline]
            pub fn of(self, window: &Window, span: Span) -> Option<f64> {
                match self {
                    $(Self::$variant => {
                        let value: fn(&Window, Span) -> Option<f64> = $value;
                        value(window, span)
                    })*
                    $($(Self::$pvariant => None,)*)*
                }
            }
        }
    };
}

/// A count that is kept for every window.
#[expect(clippy::unnecessary_wraps, reason = "the form of every metric")]
fn count(n: u32) -> Option<f64> {
    Some(f64::from(n))
}

/// A distinct count that is only begun above a floor, so that 0 means not known.
fn counted(n: u32) -> Option<f64> {
    (n > 0).then(|| f64::from(n))
}

/// A rate over the whole span, also while the window still runs: it grows towards the final value, never beyond.
#[expect(clippy::unnecessary_wraps, reason = "the form of every metric")]
fn rate(n: u32, span: Span) -> Option<f64> {
    Some(f64::from(n) / f64::from(span.seconds()))
}

fn ratio(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

metrics! {
    window {
        FailedFlows "failed_flows" "flows" "failed connections"
            "Flows whose opening failed: refused, not answered within the grace time, or reset by the initiator before either side sent payload."
            |w, _| count(w.failed_flows);
        FailedServices "failed_services" "services" "services tried without success"
            "Distinct (host, port) pairs of failed TCP flows."
            |w, _| count(w.failed_services());
        FailedHosts "failed_hosts" "hosts" "hosts tried without success"
            "Distinct hosts of failed TCP flows."
            |w, _| count(w.failed_hosts());
        FailedPorts "failed_ports" "ports" "TCP ports tried without success"
            "Distinct ports of failed TCP flows, over all hosts."
            |w, _| count(w.failed_ports());
        FailedPortsPerHost "failed_ports_per_host" "ports" "TCP ports tried without success on each host"
            "`failed_services` over `failed_hosts`; absent without failed hosts."
            |w, _| ratio(w.failed_services(), w.failed_hosts());
        FailedHostsPerPort "failed_hosts_per_port" "hosts" "hosts tried without success on each TCP port"
            "`failed_services` over `failed_ports`; absent without failed ports."
            |w, _| ratio(w.failed_services(), w.failed_ports());
        FailureRatio "failure_ratio" "ratio" "share of connections that failed"
            "Failed flows over flows begun, at most 1; absent without flows."
            |w, _| ratio(w.failed_flows.min(w.flows.max(1)), w.flows.max(u32::from(w.failed_flows > 0)));
        AbortedFlows "aborted_flows" "flows" "connections reset by their own initiator before any payload"
            "Failed flows that the initiator reset before either side sent payload."
            |w, _| count(w.aborted_flows);
        RefusedFlows "refused_flows" "flows" "refused connections"
            "Failed flows whose first answer was a reset."
            |w, _| count(w.refused_flows);
        ReplyResets "reply_resets" "packets" "resets received in answer"
            "TCP packets with RST from the contacted side; also known where only the kernel's counts are."
            |w, _| count(w.reply_resets);
        StealthServices "stealth_services" "services" "services probed with FIN, NULL or Xmas packets"
            "Distinct (host, port) pairs of TCP flows whose first packet had none of SYN, RST and ACK."
            |w, _| count(w.stealth_services());
        UdpFailedServices "udp_failed_services" "services" "UDP services tried without answer"
            "Distinct (host, port) pairs of UDP flows that nobody answered, or that were refused."
            |w, _| count(w.udp_failed_services());
        UdpFailedHosts "udp_failed_hosts" "hosts" "hosts tried over UDP without answer"
            "Distinct hosts of UDP flows that nobody answered, or that were refused."
            |w, _| count(w.udp_failed_hosts());
        UdpFailedPorts "udp_failed_ports" "ports" "UDP ports tried without answer"
            "Distinct ports of UDP flows that nobody answered, or that were refused, over all hosts."
            |w, _| count(w.udp_failed_ports());
        UdpFailedPortsPerHost "udp_failed_ports_per_host" "ports" "UDP ports tried without answer on each host"
            "`udp_failed_services` over `udp_failed_hosts`; absent without failed hosts."
            |w, _| ratio(w.udp_failed_services(), w.udp_failed_hosts());
        UdpFailedHostsPerPort "udp_failed_hosts_per_port" "hosts" "hosts tried without answer on each UDP port"
            "`udp_failed_services` over `udp_failed_ports`; absent without failed ports."
            |w, _| ratio(w.udp_failed_services(), w.udp_failed_ports());
        EchoHosts "echo_hosts" "hosts" "hosts pinged"
            "Distinct hosts that were sent ICMP or ICMPv6 echo requests."
            |w, _| count(w.echo_hosts());
        Flows "flows" "flows" "connections begun"
            "Flows begun, of any protocol."
            |w, _| count(w.flows);
        SynPackets "syn_packets" "packets" "connection requests"
            "TCP packets with SYN from the initiator, retransmissions included."
            |w, _| count(w.syn_packets);
        PendingHandshakes "pending_handshakes" "packets" "connection requests neither completed nor refused"
            "SYN packets less handshakes completed and less resets received: requests left hanging, retransmissions included."
            |w, _| count(w.syn_packets.saturating_sub(w.handshakes).saturating_sub(w.reply_resets));
        CompletionRatio "completion_ratio" "ratio" "handshakes completed for each connection request"
            "Handshakes completed over SYN packets; absent without SYN packets."
            |w, _| ratio(w.handshakes, w.syn_packets);
        HalfOpenFlows "half_open_flows" "flows" "connections accepted by the other side and then reset instead of acknowledged"
            "Aborted flows beyond the handshakes completed in the window: a lower bound of the half-open ones."
            |w, _| count(w.aborted_flows.saturating_sub(w.handshakes));
        DistinctSources "distinct_sources" "hosts" "different senders"
            "Distinct senders towards a target; absent below 64 packets and for sources."
            |w, _| counted(w.sources());
        PacketsPerSecond "packets_per_second" "packets/s" "packets a second"
            "Packets sent, over the length of the window."
            |w, s| rate(w.packets, s);
        UdpPacketsPerSecond "udp_packets_per_second" "packets/s" "UDP packets a second"
            "UDP packets sent, over the length of the window."
            |w, s| rate(w.udp_packets, s);
        UdpReplyRatio "udp_reply_ratio" "ratio" "UDP packets back for each one sent"
            "UDP packets back over UDP packets sent; absent if none was sent."
            |w, _| ratio(w.udp_reply_packets, w.udp_packets);
        BytesPerPacket "bytes_per_packet" "bytes" "bytes a packet"
            "Mean IP length of the packets sent, of any protocol; absent if none was sent."
            |w, _| (w.packets > 0).then(|| w.bytes as f64 / f64::from(w.packets));
        IcmpPacketsPerSecond "icmp_packets_per_second" "packets/s" "ICMP packets a second"
            "ICMP and ICMPv6 packets sent, over the length of the window."
            |w, s| rate(w.icmp_packets, s);
        PacketsPerFlow "packets_per_flow" "packets" "packets for each connection begun"
            "Packets sent over flows begun in the window, a window without beginnings counting as one."
            |w, _| ratio(w.packets, w.flows.max(1));
        MatchingFlows "matching_flows" "flows" "connections of the shape of a failed login"
            "Flow-count rules only: flows of one source to one service that match the rule's `flows` table, within the sliding span."
            |_, _| None;
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Metric> for &'static str {
    fn from(metric: Metric) -> Self {
        metric.name()
    }
}

impl std::str::FromStr for Metric {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().map(|m| m.name());
        Self::ALL
            .iter()
            .copied()
            .find(|m| m.name() == name)
            .ok_or_else(|| names::unknown("metric", name, known))
    }
}

impl TryFrom<String> for Metric {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_slips_get_a_suggestion() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().as_ref(), Ok(metric));
        }
        assert!("failed_prots".parse::<Metric>().unwrap_err().contains("did you mean `failed_ports`"));
    }

    #[test]
    fn what_was_not_counted_is_absent() {
        let idle = Window::default();
        for metric in [
            Metric::CompletionRatio,
            Metric::UdpReplyRatio,
            Metric::DistinctSources,
            Metric::FailedPortsPerHost,
            Metric::FailureRatio,
        ] {
            assert_eq!(metric.of(&idle, Span::S1), None, "{metric}");
        }
        assert_eq!(Metric::Flows.of(&idle, Span::S1), Some(0.0));
    }
}
