//! Who hands out addresses, and who asks for them.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::metric::Metric;
use wire::Addr;
use wire::message::Message;
use wire::message::dhcp::Dhcp;

/// Networks (VLANs and tunnels) remembered.
const CAPACITY: usize = 1024;
/// How long a server or a client is remembered.
const MEMORY_NS: u64 = 3600 * 1_000_000_000;
/// Servers remembered for each network.
const SERVERS: usize = 8;
/// Clients that asked within this time are counted together.
const CLIENTS_NS: u64 = 60_000_000_000;
/// Hardware addresses told apart in that time.
const CLIENTS: usize = 256;
/// Kinds of DHCP messages.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 5;

/// What one server hands out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Server {
    id: Addr,
    router: Option<Addr>,
    name_server: Option<Addr>,
    last_ns: u64,
}

/// One network.
#[derive(Debug, Default)]
struct Network {
    servers: Vec<Server>,
    /// Hardware addresses that asked since `clients_ns`.
    clients: Vec<[u8; 6]>,
    clients_ns: u64,
}

/// Servers and clients of DHCP.
#[derive(Debug)]
pub(crate) struct DhcpServers {
    networks: Table<(u16, u32), Network>,
}

impl Default for DhcpServers {
    fn default() -> Self {
        Self { networks: Table::new(CAPACITY, MEMORY_NS) }
    }
}

impl Network {
    /// Notes a server's word: how many servers there are now, and whether it sends clients elsewhere than one that was here
    /// before it. The one that was here first is not the one to name.
    fn answer(&mut self, now_ns: u64, said: Server) -> (usize, bool) {
        self.servers.retain(|s| now_ns.saturating_sub(s.last_ns) <= MEMORY_NS);
        // In the order in which they were first heard.
        let earlier = self.servers.iter().position(|s| s.id == said.id).unwrap_or(self.servers.len());
        if let Some(server) = self.servers.get_mut(earlier) {
            *server = said;
        } else if self.servers.len() < SERVERS {
            self.servers.push(said);
        }
        let differs = |a: Option<Addr>, b: Option<Addr>| a.zip(b).is_some_and(|(a, b)| a != b);
        let contradicted = self
            .servers
            .iter()
            .take(earlier)
            .any(|s| differs(s.router, said.router) || differs(s.name_server, said.name_server));
        (self.servers.len(), contradicted)
    }

    /// Notes a client that asks: how many different ones did so lately.
    fn ask(&mut self, now_ns: u64, client: [u8; 6]) -> usize {
        if now_ns.saturating_sub(self.clients_ns) > CLIENTS_NS {
            self.clients.clear();
            self.clients_ns = now_ns;
        }
        if self.clients.len() < CLIENTS && !self.clients.contains(&client) {
            self.clients.push(client);
        }
        self.clients.len()
    }
}

impl Profile for DhcpServers {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::DhcpServer, Subject::DhcpClients]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, message: Message::Dhcp(dhcp), .. } = fact else { return };
        let network = self.networks.touch((flow.key.vlan, flow.key.tunnel), now_ns);
        if !dhcp.reply {
            if dhcp.kind == DISCOVER {
                let clients = network.ask(now_ns, dhcp.client);
                let values = Values::default().with(Metric::DhcpClients, clients as f64);
                out.push(Observation::of_flow(Subject::DhcpClients, flow, network.clients_ns, values));
            }
            return;
        }
        if !matches!(dhcp.kind, OFFER | ACKNOWLEDGEMENT) {
            return;
        }
        let Some(id) = dhcp.server else { return };
        let (servers, contradicted) = network.answer(now_ns, word(dhcp, id, now_ns));
        let values = Values::default()
            .with(Metric::DhcpServers, servers as f64)
            .with(Metric::DhcpContradictions, f64::from(u8::from(contradicted)));
        let mut o = Observation::of_flow(Subject::DhcpServer, flow, now_ns, values);
        o.actor = crate::Actor::Source { addr: id };
        o.target = dhcp.given;
        let shown = |a: Option<Addr>| a.map_or_else(|| "none".to_owned(), |a| a.to_string());
        o.detail =
            Some(format!("router {}, name server {}", shown(dhcp.router), shown(dhcp.name_server)).into());
        out.push(o);
    }

    fn evicted(&self) -> u64 {
        self.networks.evicted()
    }
}

const fn word(dhcp: &Dhcp, id: Addr, now_ns: u64) -> Server {
    Server { id, router: dhcp.router, name_server: dhcp.name_server, last_ns: now_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(n: u8, router: u8) -> Server {
        Server {
            id: Addr::v4([10, 0, 0, n]),
            router: Some(Addr::v4([10, 0, 0, router])),
            name_server: None,
            last_ns: 1,
        }
    }

    #[test]
    fn a_pair_for_availability_agrees_and_a_rogue_does_not() {
        let mut network = Network::default();
        assert_eq!(network.answer(1, server(1, 254)), (1, false));
        assert_eq!(network.answer(1, server(2, 254)), (2, false));
        assert_eq!(network.answer(1, server(3, 66)), (3, true));
        assert_eq!(
            network.answer(2 * MEMORY_NS, Server { last_ns: 2 * MEMORY_NS, ..server(3, 66) }),
            (1, false)
        );
    }

    #[test]
    fn the_newcomer_is_named_and_not_the_one_that_was_here() {
        let mut network = Network::default();
        assert_eq!(network.answer(1, server(1, 254)), (1, false));
        assert_eq!(network.answer(2, server(9, 66)), (2, true));
        assert_eq!(network.answer(3, server(1, 254)), (2, false));
        assert_eq!(network.answer(4, server(9, 66)), (2, true));
    }

    #[test]
    fn clients_are_told_apart_within_a_minute() {
        let mut network = Network::default();
        let mac = |n: u8| [2, 0, 0, 0, 0, n];
        assert_eq!([1, 1, 2].map(|n| network.ask(1, mac(n))), [1, 1, 2]);
        assert_eq!(network.ask(CLIENTS_NS + 2, mac(3)), 1);
    }
}
