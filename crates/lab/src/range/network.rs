//! Three segments with a gateway between them: where scenarios play.
//!
//! ```text
//!   hosts, each in a namespace of its own                                hosts
//!   eth0 ══╗                     namespace aim-ID-gateway              ╔══ eth0
//!   eth0 ══╬═ outside ═[link]══ outside0        inside0 ══ inside ═════╬══ eth0
//!   eth0 ══╝                              ot0                          ╚══ eth0
//!                                          ║
//!                                          ot ══ eth0 …
//! ```
//!
//! The bridges `outside`, `inside` and `ot` live in a namespace of their own (`wires`), so that the gateway has real veth
//! interfaces for the sensor. `inside` and `ot` do not learn where hosts are and repeat every frame to everybody, as a
//! switch does for its mirror port: the gateway sees what hosts of one segment say to each other. A tap (`wires`, interface
//! `tap-…`) is the other end of a gateway's interface: what is captured there includes what the sensor then drops.
//!
//! Whatever no segment holds, the forged sources of floods among it, is routed outside to a neighbour that does not exist.
//! Hosts do not bundle TCP segments, so that frames look as on a real wire.

use super::{Range, RangeError, is_place};
use crate::address::{self, GATEWAY, Segment};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The gateway's namespace.
pub const GATEWAY_PLACE: &str = "gateway";
/// The namespace of bridges.
pub const WIRES: &str = "wires";
/// The interface of each host.
pub const HOST_INTERFACE: &str = "eth0";
/// Most hosts of a network.
pub const MAX_HOSTS: usize = 24;
/// Most addresses of a host, per IP version.
pub const MAX_ADDRESSES: u8 = 100;
/// The outside neighbour that does not exist: what leaves for it is lost.
const NOWHERE: u8 = 254;

/// A host: one namespace on one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, see [`is_place`].
    pub name: String,
    /// Where it is.
    pub segment: Segment,
    /// Number of its first address, 2 to 253.
    pub number: u8,
    /// How many addresses it has, one after the other, 1 to [`MAX_ADDRESSES`]; each in both IP versions.
    pub count: u8,
}

impl Host {
    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.segment.host(self.number).into()
    }

    /// Its first IPv6 address.
    #[must_use]
    pub fn address6(&self) -> IpAddr {
        self.segment.host6(self.number).into()
    }

    /// Numbers of its addresses.
    pub fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        (0..self.count).map_while({
            let first = self.number;
            move |i| first.checked_add(i)
        })
    }

    /// Its addresses, both versions, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v4 = self.numbers().map(|n| IpAddr::from(self.segment.host(n)));
        v4.chain(self.numbers().map(|n| IpAddr::from(self.segment.host6(n)))).collect()
    }

    /// Its hardware address: its segment and number, locally administered.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        mac(self.segment, self.number)
    }
}

const fn mac(segment: Segment, number: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, segment as u8 + 1, number]
}

/// What the way between outside and gateway is like, each direction by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// Delay, ms.
    pub delay_ms: u32,
    /// Share of packets lost, per mille.
    pub loss_permille: u32,
}

impl Link {
    /// Whether it is a plain wire.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }
}

/// A network to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// Its hosts.
    pub hosts: Vec<Host>,
}

impl Network {
    /// Whether it can be made: names and addresses are each given once and within bounds.
    ///
    /// # Errors
    /// A sentence that names the host.
    pub fn check(&self) -> Result<(), String> {
        if self.hosts.len() > MAX_HOSTS {
            return Err(format!("{} hosts; a range has at most {MAX_HOSTS}", self.hosts.len()));
        }
        let (mut names, mut taken) = (BTreeSet::from([GATEWAY_PLACE, WIRES]), BTreeSet::new());
        for host in &self.hosts {
            let name = &host.name;
            if !is_place(name) {
                return Err(format!("'{name}' cannot name a host; use a-z, 0-9 and -, a letter first"));
            }
            if !names.insert(name) {
                return Err(format!("the name '{name}' is taken twice"));
            }
            if host.count == 0 || host.count > MAX_ADDRESSES {
                return Err(format!("{name} has {} addresses; 1 to {MAX_ADDRESSES} can be had", host.count));
            }
            for i in 0..host.count {
                let number = host.number.saturating_add(i);
                if !(GATEWAY + 1..NOWHERE).contains(&number) {
                    return Err(format!("{name} has the number {number}; hosts have 2 to {}", NOWHERE - 1));
                }
                if !taken.insert((host.segment, number)) {
                    return Err(format!("{} belongs to two hosts", host.segment.host(number)));
                }
            }
        }
        Ok(())
    }

    /// Its namespaces.
    pub(super) fn places(&self) -> Vec<String> {
        let own = [WIRES, GATEWAY_PLACE].map(str::to_owned);
        own.into_iter().chain(self.hosts.iter().map(|h| h.name.clone())).collect()
    }
}

/// The gateway's interface on a segment.
#[must_use]
pub fn gateway_interface(segment: Segment) -> String {
    format!("{}0", segment.name())
}

/// The other end of [`gateway_interface`], in [`WIRES`].
#[must_use]
pub fn tap_interface(segment: Segment) -> String {
    format!("tap-{}", segment.name())
}

/// Makes the network's interfaces in a range of its places.
pub(super) fn lay(range: &Range, network: &Network) -> Result<(), RangeError> {
    for place in network.places() {
        prepare(range, &place)?;
    }
    let gateway = range.namespace(GATEWAY_PLACE);
    let mut wires = String::new();
    for segment in Segment::ALL {
        let (bridge, tap, own) = (segment.name(), tap_interface(segment), gateway_interface(segment));
        // A bridge that forgets at once where hosts are repeats every frame to all ports.
        let kind = if segment == Segment::Outside { "bridge" } else { "bridge ageing_time 0" };
        let at = address::mac(mac(segment, GATEWAY));
        wires += &format!(
            "link add {bridge} type {kind}\nlink set {bridge} up\n\
             link add {tap} type veth peer name {own} address {at} netns {gateway}\n\
             link set {tap} master {bridge} gso_max_segs 1 up\n"
        );
    }
    for (i, host) in network.hosts.iter().enumerate() {
        let (there, at) = (range.namespace(&host.name), address::mac(host.mac()));
        let bridge = host.segment.name();
        wires += &format!(
            "link add port{i} type veth peer name {HOST_INTERFACE} address {at} netns {there}\n\
             link set port{i} master {bridge} gso_max_segs 1 up\n"
        );
    }
    range.batch(WIRES, &wires)?;
    range.batch(GATEWAY_PLACE, &gateway_setup())?;
    for host in &network.hosts {
        range.batch(&host.name, &host_setup(host))?;
    }
    Ok(())
}

/// Network settings of a namespace, before its interfaces come. Those of the host are inherited in part.
fn prepare(range: &Range, place: &str) -> Result<(), RangeError> {
    let forward = if place == GATEWAY_PLACE { "1" } else { "0" };
    let settings = [
        // Forged sources arrive where no route leads back.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/ip_forward", forward),
        ("ipv6/conf/all/forwarding", forward),
        // Duplicate address detection would keep IPv6 addresses unusable for a second.
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/all/accept_ra", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
    ];
    let written = range.enter(place, || {
        settings.iter().try_for_each(|(name, value)| {
            std::fs::write(format!("/proc/sys/net/{name}"), value).map_err(|e| (*name, e))
        })
    })?;
    match written {
        // A kernel without IPv6 has none of its settings; its addresses then say so.
        Err((name, e)) if e.kind() == std::io::ErrorKind::NotFound && name.starts_with("ipv6") => Ok(()),
        Err((name, source)) => {
            Err(RangeError::State { path: format!("/proc/sys/net/{name}").into(), source })
        }
        Ok(()) => Ok(()),
    }
}

fn gateway_setup() -> String {
    let mut lines = "link set lo up\n".to_owned();
    for segment in Segment::ALL {
        let dev = gateway_interface(segment);
        lines += &addresses(segment, GATEWAY, &dev);
        lines += &format!("link set {dev} gso_max_segs 1 up\n");
    }
    let (outside, dev) = (Segment::Outside, gateway_interface(Segment::Outside));
    let at = address::mac(mac(outside, NOWHERE));
    for nowhere in [IpAddr::from(outside.host(NOWHERE)), outside.host6(NOWHERE).into()] {
        lines += &format!(
            "neigh replace {nowhere} lladdr {at} dev {dev} nud permanent\n\
             route add default via {nowhere} dev {dev}\n"
        );
    }
    lines
}

fn host_setup(host: &Host) -> String {
    let mut lines = "link set lo up\n".to_owned();
    for number in host.numbers() {
        lines += &addresses(host.segment, number, HOST_INTERFACE);
    }
    lines += &format!("link set {HOST_INTERFACE} gso_max_segs 1 up\n");
    // The first address is where packets come from by default.
    for (gateway, from) in [
        (IpAddr::from(host.segment.host(GATEWAY)), host.address()),
        (host.segment.host6(GATEWAY).into(), host.address6()),
    ] {
        lines += &format!("route add default via {gateway} dev {HOST_INTERFACE} src {from}\n");
    }
    lines
}

fn addresses(segment: Segment, number: u8, dev: &str) -> String {
    let (v4, v6) = (segment.host(number), segment.host6(number));
    format!(
        "addr add {v4}/{} dev {dev}\naddr add {v6}/{} dev {dev} nodad\n",
        address::PREFIX_LEN,
        address::PREFIX_LEN6
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, segment: Segment, number: u8, count: u8) -> Host {
        Host { name: name.into(), segment, number, count }
    }

    #[test]
    fn a_network_has_each_name_and_address_once() {
        let web = || host("web", Segment::Inside, 10, 1);
        for (hosts, wrong) in [
            (vec![web(), host("client", Segment::Outside, 10, 20)], ""),
            (vec![web(), web()], "the name 'web' is taken twice"),
            (vec![web(), host("db", Segment::Inside, 5, 6)], "192.0.2.10 belongs to two hosts"),
            (vec![host("gateway", Segment::Ot, 9, 1)], "taken twice"),
            (vec![host("Web", Segment::Inside, 9, 1)], "cannot name a host"),
            (vec![host("web", Segment::Inside, 1, 1)], "has the number 1"),
            (vec![host("web", Segment::Inside, 250, 5)], "has the number 254"),
            (vec![host("web", Segment::Inside, 250, 0)], "has 0 addresses"),
            (vec![host("web", Segment::Inside, 255, 3)], "has the number 255"),
            ((0..=MAX_HOSTS).map(|i| host(&format!("h{i}"), Segment::Ot, 9, 1)).collect(), "at most 24"),
        ] {
            let said = Network { hosts }.check().err().unwrap_or_default();
            assert!(if wrong.is_empty() { said.is_empty() } else { said.contains(wrong) }, "{wrong}: {said}");
        }
    }
}
