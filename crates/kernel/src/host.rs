//! What this host is and whom it depends on: everybody that must never be blocked.
//!
//! Reads the calling thread's network namespace. An SSH peer is one whose login has succeeded: a connection alone is
//! what a password guesser has too.

use crate::netlink;
use respond::{Allowed, Prefix};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use wire::Addr;

/// Files that name DNS servers; the second holds the real ones where the first names systemd-resolved's stub.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
const ROUTES_V4: &str = "/proc/thread-self/net/route";
const ROUTES_V6: &str = "/proc/thread-self/net/ipv6_route";
const SOCKETS: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];

const RTF_UP: u32 = 1;
const RTF_GATEWAY: u32 = 2;
const RTF_REJECT: u32 = 0x200;

/// One route, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its interface.
    pub interface: String,
    /// Whom it leads to.
    pub destination: Prefix,
    /// By which router, if not directly.
    pub gateway: Option<Addr>,
    /// Lower is preferred.
    pub metric: u32,
}

/// One TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// This side.
    pub local: (Addr, u16),
    /// The other side.
    pub remote: (Addr, u16),
    /// State, `TCP_ESTABLISHED` (1) and so on.
    pub state: u8,
    /// Inode, by which its owner's descriptors are found.
    pub inode: u64,
}

const ESTABLISHED: u8 = 1;

/// Everybody that must never be blocked: own addresses, gateways, DNS servers, live SSH peers, and the loopback; each
/// with its reason. What cannot be read is left out.
#[must_use]
pub fn allowed() -> Vec<Allowed> {
    let mut found: BTreeMap<Prefix, String> = BTreeMap::new();
    let mut add = |prefix: Prefix, why: String| {
        found.entry(prefix).or_insert(why);
    };
    for (addr, interface) in own_addresses() {
        add(Prefix::host(addr), format!("own address on {interface}"));
    }
    for (addr, interface) in gateways() {
        add(Prefix::host(addr), format!("gateway of {interface}"));
    }
    for addr in dns_servers() {
        add(Prefix::host(addr), "DNS server".to_owned());
    }
    for addr in ssh_peers() {
        add(Prefix::host(addr), "live SSH session".to_owned());
    }
    if let Ok(loopback) = Prefix::new(Addr::v4([127, 0, 0, 0]), 8) {
        add(loopback, "loopback".to_owned());
    }
    found.into_iter().map(|(prefix, why)| Allowed { prefix, why }).collect()
}

/// Own addresses, each with its interface's name.
#[must_use]
pub fn own_addresses() -> Vec<(Addr, String)> {
    let names: BTreeMap<u32, String> =
        netlink::interfaces().unwrap_or_default().into_iter().map(|i| (i.index, i.name)).collect();
    let addresses = netlink::addresses().unwrap_or_default();
    addresses.into_iter().map(|a| (a.addr, names.get(&a.ifindex).cloned().unwrap_or_default())).collect()
}

/// Interfaces of the default routes of both IP versions, the preferred first.
#[must_use]
pub fn default_interfaces() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut routes = routes();
    routes.retain(|r| r.destination.is_empty());
    routes.sort_by_key(|r| (!r.destination.addr().is_v4(), r.metric));
    for route in routes {
        if !names.contains(&route.interface) {
            names.push(route.interface);
        }
    }
    names
}

/// Routers that any route leads by, each with its interface.
#[must_use]
pub fn gateways() -> BTreeSet<(Addr, String)> {
    routes().into_iter().filter_map(|r| Some((r.gateway?, r.interface))).collect()
}

/// DNS servers this host asks.
#[must_use]
pub fn dns_servers() -> BTreeSet<Addr> {
    RESOLVERS.iter().flat_map(|path| name_servers(&read(path))).collect()
}

/// Addresses of SSH clients that are logged in, and of the one this program was started from.
#[must_use]
pub fn ssh_peers() -> BTreeSet<Addr> {
    let sessions = ssh_session_inodes(Path::new("/proc"));
    let mut peers: BTreeSet<Addr> = sockets()
        .into_iter()
        .filter(|s| s.state == ESTABLISHED && sessions.contains(&s.inode))
        .map(|s| s.remote.0)
        .collect();
    if let Ok(text) = std::env::var("SSH_CONNECTION") {
        peers.extend(ssh_client(&text));
    }
    peers
}

/// All routes of both versions.
#[must_use]
pub fn routes() -> Vec<Route> {
    let mut all = parse_routes_v4(&read(ROUTES_V4));
    all.extend(parse_routes_v6(&read(ROUTES_V6)));
    all
}

/// All TCP sockets of both versions.
#[must_use]
pub fn sockets() -> Vec<TcpSocket> {
    SOCKETS.iter().flat_map(|path| parse_sockets(&read(path))).collect()
}

fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// `/proc/net/route`: hexadecimal words as the kernel holds them, which are addresses in network order.
fn parse_routes_v4(text: &str) -> Vec<Route> {
    let word = |t: &str| u32::from_str_radix(t, 16).ok().map(|w| Addr::v4(w.to_ne_bytes()));
    let line = |line: &str| {
        let mut field = line.split_ascii_whitespace();
        let (interface, destination, gateway, flags) =
            (field.next()?, field.next()?, field.next()?, field.next()?);
        let (metric, mask) = (field.nth(2)?, field.next()?);
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let len = u32::from_str_radix(mask, 16).ok()?.count_ones();
        (flags & RTF_UP != 0 && flags & RTF_REJECT == 0).then_some(())?;
        Some(Route {
            interface: interface.to_owned(),
            destination: Prefix::new(word(destination)?, u8::try_from(len).ok()?).ok()?,
            gateway: if flags & RTF_GATEWAY == 0 { None } else { word(gateway) },
            metric: metric.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, metric, references, uses, flags,
/// interface; all hexadecimal.
fn parse_routes_v6(text: &str) -> Vec<Route> {
    let address = |t: &str| u128::from_str_radix(t, 16).ok().map(|w| Addr(w.to_be_bytes()));
    let line = |line: &str| {
        let field: Vec<&str> = line.split_ascii_whitespace().collect();
        let [destination, len, _, _, gateway, metric, _, _, flags, interface] = field[..] else {
            return None;
        };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        (flags & RTF_UP != 0 && flags & RTF_REJECT == 0).then_some(())?;
        let destination = Prefix::new(address(destination)?, u8::from_str_radix(len, 16).ok()?).ok()?;
        // The default route of every namespace that drops everything is by "lo".
        (interface != "lo" || !destination.is_empty()).then_some(())?;
        Some(Route {
            interface: interface.to_owned(),
            destination,
            gateway: if flags & RTF_GATEWAY == 0 { None } else { address(gateway) },
            metric: u32::from_str_radix(metric, 16).ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// resolv.conf(5).
fn name_servers(text: &str) -> Vec<Addr> {
    let line = |line: &str| {
        let mut word = line.split_ascii_whitespace();
        (word.next()? == "nameserver").then_some(())?;
        let address = word.next()?;
        // A link-local address may carry its interface.
        address.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(line).collect()
}

/// `/proc/net/tcp` and `tcp6`: addresses are printed as host-order words of their bytes in network order.
fn parse_sockets(text: &str) -> Vec<TcpSocket> {
    let endpoint = |t: &str| {
        let (address, port) = t.split_once(':')?;
        let mut bytes = [0_u8; 16];
        let mut count = 0;
        for (i, chunk) in address.as_bytes().chunks(8).enumerate() {
            let word = u32::from_str_radix(std::str::from_utf8(chunk).ok()?, 16).ok()?;
            bytes.get_mut(i * 4..i * 4 + 4)?.copy_from_slice(&word.to_ne_bytes());
            count = i + 1;
        }
        let addr = match (count, bytes) {
            (1, [a, b, c, d, ..]) => Addr::v4([a, b, c, d]),
            (4, bytes) => Addr(bytes),
            _ => return None,
        };
        Some((addr, u16::from_str_radix(port, 16).ok()?))
    };
    let line = |line: &str| {
        let field: Vec<&str> = line.split_ascii_whitespace().collect();
        Some(TcpSocket {
            local: endpoint(field.get(1)?)?,
            remote: endpoint(field.get(2)?)?,
            state: u8::from_str_radix(field.get(3)?, 16).ok()?,
            inode: field.get(9)?.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// First word of `$SSH_CONNECTION`, sshd(8).
fn ssh_client(text: &str) -> Option<Addr> {
    text.split_ascii_whitespace().next()?.split('%').next()?.parse::<IpAddr>().ok().map(Addr::from)
}

/// Whether the title of an sshd process is that of a session after login: `sshd: USER@TTY`. Before, it is
/// `sshd: USER [priv]`, `[net]`, `[preauth]` or `[accepted]`, whatever the name.
fn is_session(title: &str) -> bool {
    let Some(rest) = title
        .strip_prefix("sshd")
        .and_then(|t| t.strip_prefix(": ").or_else(|| t.strip_prefix("-session: ")))
    else {
        return false;
    };
    let rest = rest.trim_end();
    rest.contains('@') && !rest.ends_with(']')
}

/// Inodes of the sockets that sshd's session processes hold.
fn ssh_session_inodes(proc: &Path) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if is_process && is_ssh_session(&entry.path()) {
            inodes.extend(socket_inodes(&entry.path()));
        }
    }
    inodes
}

fn is_ssh_session(process: &Path) -> bool {
    // A title is anybody's to choose, the program is not: a local user could else exempt a confederate.
    let program = fs::read_link(process.join("exe")).unwrap_or_default();
    let program = program.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !program.trim_end_matches(" (deleted)").starts_with("sshd") {
        return false;
    }
    let title = fs::read(process.join("cmdline")).unwrap_or_default();
    let title: String = String::from_utf8_lossy(&title).trim_end_matches('\0').to_owned();
    is_session(&title)
}

fn socket_inodes(process: &Path) -> Vec<u64> {
    let links = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    links
        .filter_map(|fd| {
            let target = fs::read_link(fd.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// Names and process ids of running programs among `wanted`, for the doctor.
pub(crate) fn running(wanted: &[&str]) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if let Some(hit) = wanted.iter().find(|w| name.trim_end().to_ascii_lowercase().starts_with(**w)) {
            found.insert((*hit).to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_v4() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
            *\t000000C0\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0\n\
            broken\t00\n";
        let shown: Vec<_> = parse_routes_v4(text)
            .iter()
            .map(|r| format!("{} {} {:?} {}", r.interface, r.destination, r.gateway, r.metric))
            .collect();
        assert_eq!(shown, ["eth0 0.0.0.0/0 Some(192.168.1.1) 100", "eth0 192.168.1.0/24 None 100"]);
    }

    #[test]
    fn routes_v6() {
        let zero = "00000000000000000000000000000000";
        let text = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
             20010db8000000000000000000000000 20 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n\
             {zero} 00 {zero}\n"
        );
        let shown: Vec<_> = parse_routes_v6(&text)
            .iter()
            .map(|r| format!("{} {} {:?} {}", r.interface, r.destination, r.gateway, r.metric))
            .collect();
        assert_eq!(shown, ["eth0 ::/0 Some(fe80::1) 1024", "eth0 2001:db8::/32 None 256"]);
    }

    #[test]
    fn resolvers() {
        let text = "# made by hand\nnameserver 192.0.2.53\nsearch example.net\n  nameserver\t2001:db8::53\n\
            nameserver fe80::1%eth0\nnameserver\nnameserver nonsense\n;nameserver 192.0.2.99\n";
        let shown: Vec<_> = name_servers(text).iter().map(Addr::to_string).collect();
        assert_eq!(shown, ["192.0.2.53", "2001:db8::53", "fe80::1"]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn tcp_sockets() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0\n\
            \x20  1: 0100000A:0016 020000C0:C350 01 00000000:00000000 02:000A 00000000     0        0 12 2 0 20 4\n\
            \x20  2: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:9C40 01 0:0 0:0 0 0 0 13 1\n\
            \x20  3: 0000000000000000FFFF00000100000A:0016 0000000000000000FFFF0000030000C0:0001 01 0:0 0:0 0 0 0 14 1\n\
            \x20  4: 01:0016 02:0001 01 0:0 0:0 0 0 0\n";
        let shown: Vec<_> = parse_sockets(text)
            .iter()
            .map(|s| {
                format!("{}:{} {}:{} {} {}", s.local.0, s.local.1, s.remote.0, s.remote.1, s.state, s.inode)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "0.0.0.0:22 0.0.0.0:0 10 11",
                "10.0.0.1:22 192.0.0.2:50000 1 12",
                "2001:db8::1:22 2001:db8::2:40000 1 13",
                "10.0.0.1:22 192.0.0.3:1 1 14",
            ]
        );
    }

    #[test]
    fn sessions_by_title() {
        let check = |title: &str, expected: bool| assert_eq!(is_session(title), expected, "{title}");
        check("sshd: alice@pts/0", true);
        check("sshd: root@notty", true);
        check("sshd-session: alice@pts/3   ", true);
        check("sshd: alice@example.net@pts/0", true);
        check("sshd: alice [priv]", false);
        check("sshd: alice@example.net [priv]", false);
        check("sshd: unknown [net]", false);
        check("sshd: [accepted]", false);
        check("sshd: root [preauth]", false);
        check("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", false);
        check("vi alice@pts/0", false);
        check("", false);
    }

    #[test]
    fn ssh_connection_variable() {
        assert_eq!(
            ssh_client("192.0.2.7 50000 10.0.0.1 22").map(|a| a.to_string()),
            Some("192.0.2.7".to_owned())
        );
        assert_eq!(
            ssh_client("fe80::7%eth0 1 fe80::1 22").map(|a| a.to_string()),
            Some("fe80::7".to_owned())
        );
        assert_eq!(ssh_client("UNKNOWN"), None);
    }
}
