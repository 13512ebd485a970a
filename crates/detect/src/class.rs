//! The names of threats.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Classes of threat, by the names used everywhere; a finer kind goes into [`crate::Signal::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Probing for hosts, ports or services.
    PortScan,
    /// TCP connection requests that are never completed, in quantity.
    SynFlood,
    /// UDP without regard for answers, in quantity.
    UdpFlood,
    /// ICMP in quantity.
    IcmpFlood,
    /// Guessing credentials of a service.
    BruteForce,
}

impl Class {
    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortScan => "port_scan",
            Self::SynFlood => "syn_flood",
            Self::UdpFlood => "udp_flood",
            Self::IcmpFlood => "icmp_flood",
            Self::BruteForce => "brute_force",
        }
    }
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Reconnaissance without effect.
    Low,
    /// Hostile, limited effect.
    Medium,
    /// Hostile, service or credentials at risk.
    High,
    /// Service failing or access gained.
    Critical,
}

impl Severity {
    /// EVE's number: 1 is most severe, 4 least.
    #[must_use]
    pub const fn eve(self) -> u8 {
        match self {
            Self::Critical | Self::High => 1,
            Self::Medium => 2,
            Self::Low => 3,
            Self::Info => 4,
        }
    }
}
