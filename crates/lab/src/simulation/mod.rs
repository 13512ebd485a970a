//! The demo's story as packets, without privileges: deterministic by seed.
//!
//! The same cast at the same addresses as in a [`crate::range`]: ordinary clients throughout, then a port scan, a SYN
//! flood and an SSH guessing run, each from an attacker of its own. The frames are valid down to the checksums; the
//! hosts answer as Linux hosts do.

mod acts;
mod mixture;
mod stage;

pub use mixture::mixture;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use wire::LinkType;
use wire::capture::Writer;

/// Time of a scenario's beginning, ns since 1970: 2026-01-01 00:00:00 UTC. Live players shift it to now.
pub const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// Bytes of each frame kept in [`write_capture`]: all headers and the first payload bytes, which is all that flows and
/// detectors look at.
const SNAP: usize = 72;

/// A story to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Simulation {
    /// Ordinary traffic throughout, and the three attacks of the demo one after the other; 30 s.
    Story,
    /// Ordinary traffic only; 30 s.
    Ordinary,
    /// A vertical half-open TCP scan; 3 s.
    PortScan,
    /// Connection requests that are never completed, from one silent source; 2 s.
    SynFlood,
    /// Datagrams to one port; 3 s.
    UdpFlood,
    /// Echo requests; 3 s.
    IcmpFlood,
    /// Short SSH connections, one refused guess each; 5 s.
    SshGuessing,
}

impl Simulation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Story,
        Self::Ordinary,
        Self::PortScan,
        Self::SynFlood,
        Self::UdpFlood,
        Self::IcmpFlood,
        Self::SshGuessing,
    ];

    /// The name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Story => "story",
            Self::Ordinary => "ordinary",
            Self::PortScan => "port-scan",
            Self::SynFlood => "syn-flood",
            Self::UdpFlood => "udp-flood",
            Self::IcmpFlood => "icmp-flood",
            Self::SshGuessing => "ssh-guessing",
        }
    }

    /// Its frames in order of time: ns since 1970, Ethernet frame. Same seed, same frames.
    pub fn frames(self, seed: u64) -> impl Iterator<Item = (u64, Vec<u8>)> + Send + use<> {
        let mut stage = stage::Stage::new(seed);
        match self {
            Self::Story => acts::story(&mut stage),
            Self::Ordinary => acts::ordinary(&mut stage),
            Self::PortScan => acts::port_scan(&mut stage, 0),
            Self::SynFlood => acts::syn_flood(&mut stage, 0),
            Self::UdpFlood => acts::udp_flood(&mut stage, 0),
            Self::IcmpFlood => acts::icmp_flood(&mut stage, 0),
            Self::SshGuessing => acts::ssh_guessing(&mut stage, 0),
        }
        stage.play().map(|(ns, frame)| (EPOCH_NS + ns, frame))
    }
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no scenario's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no scenario '{0}'; there are story, ordinary, port-scan, syn-flood, udp-flood, icmp-flood and ssh-guessing"
)]
pub struct UnknownSimulation(pub String);

impl FromStr for Simulation {
    type Err = UnknownSimulation;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| UnknownSimulation(name.to_owned()))
    }
}

/// The frames of a scenario by name; see [`Simulation::frames`].
///
/// # Errors
/// The name is not a scenario's.
pub fn frames(
    name: &str,
    seed: u64,
) -> Result<impl Iterator<Item = (u64, Vec<u8>)> + Send + use<>, UnknownSimulation> {
    Ok(name.parse::<Simulation>()?.frames(seed))
}

/// Writes a scenario as a capture file (pcap, ns, Ethernet), payloads cut short as by a snap length of 72. Same seed, same bytes.
///
/// # Errors
/// The sink's.
pub fn write_capture(scenario: Simulation, seed: u64, sink: impl Write) -> io::Result<()> {
    write_cut(scenario, seed, SNAP, sink)
}

/// As [`write_capture`], with whole frames: they can be sent.
///
/// # Errors
/// The sink's.
pub fn write_whole(scenario: Simulation, seed: u64, sink: impl Write) -> io::Result<()> {
    write_cut(scenario, seed, usize::MAX, sink)
}

fn write_cut(scenario: Simulation, seed: u64, snap: usize, sink: impl Write) -> io::Result<()> {
    let mut writer = Writer::new(sink, LinkType::Ethernet)?;
    for (ts_ns, frame) in scenario.frames(seed) {
        let captured = frame.get(..snap).unwrap_or(&frame);
        writer.write_cut(ts_ns, captured, u32::try_from(frame.len()).unwrap_or(u32::MAX))?;
    }
    writer.finish().map(drop)
}

/// The captures kept in `testdata/`: file name, scenario and seed. `cargo run -p lab --example captures` writes them,
/// and a test finds any drift.
pub const CAPTURES: [(&str, Simulation, u64); 2] =
    [("story.pcap", Simulation::Story, 1), ("ordinary.pcap", Simulation::Ordinary, 1)];
