//! Servers of the lab's own: what scenarios attack and ordinary clients use.
//!
//! A service is a name, a table of parameters and a function that starts it. Each says little, but says it as its
//! protocol demands, so that ordinary clients are content with it. None keeps anything: files are in memory, nothing
//! that a client sends is ever run, and passwords are the lab's own.

mod datagram;
mod dns;
mod ftp;
#[cfg(test)]
mod hostile;
mod line;
mod modbus;
mod rpc;
mod smb;
mod store;
mod web;

pub(crate) use datagram::TUNNEL_MARK;
pub use dns::HOSTS;
pub(crate) use rpc::{NDR, pdu};
pub(crate) use smb::{SHARE, utf16};

use crate::arguments::{Arguments, Kind, Parameter, Values};
use crate::traffic::{Control, Server, TrafficError, ssh};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// The user who may log in everywhere, with [`PASSWORD`] where one is asked for.
pub const USER: &str = "lab";
/// The password of [`USER`]. It is no secret.
pub const PASSWORD: &str = "lab-password";

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// What it is, one sentence.
    pub about: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    start: fn(&Values) -> Result<Vec<Server>, TrafficError>,
}

/// A running service: its servers end when it is dropped.
#[derive(Debug)]
pub struct Running {
    servers: Vec<Server>,
}

/// What a service says once it listens.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    serving: &'a str,
    addresses: Vec<SocketAddr>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::addr).collect()
    }

    /// Connections accepted and datagrams answered so far.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.servers.iter().map(Server::served).sum()
    }
}

/// All services, in order of their names.
#[must_use]
pub fn all() -> &'static [Service] {
    SERVICES
}

/// Their names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SERVICES.iter().map(|service| service.name).collect()
}

/// Starts a service in the network namespace of the calling thread.
///
/// # Errors
/// No such service, arguments that do not fit, or an address that is not the lab's or is taken.
pub fn start(name: &str, arguments: &Arguments) -> Result<Running, TrafficError> {
    let service = SERVICES.iter().find(|s| s.name == name).ok_or_else(|| TrafficError::Unknown {
        what: "service",
        name: name.to_owned(),
        known: names().join(", "),
    })?;
    let servers = (service.start)(&arguments.check(service.parameters)?)?;
    Ok(Running { servers })
}

/// Starts a service, says so with one line of JSON through `ready`, and serves until `control` is stopped.
///
/// # Errors
/// As [`start`].
pub fn run(
    name: &str,
    arguments: &Arguments,
    control: &Control,
    ready: impl FnOnce(&str),
) -> Result<(), TrafficError> {
    let running = start(name, arguments)?;
    let line = Ready { serving: name, addresses: running.addresses() };
    // A name and addresses cannot fail to serialise.
    ready(&serde_json::to_string(&line).unwrap_or_default());
    while !control.is_stopped() {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Parameters that services share.
mod parameter {
    use super::{Kind, Parameter};

    pub(super) const ADDRESS: Parameter = Parameter::new("address", Kind::Address, "where to listen");

    /// Port 0 lets the kernel choose.
    pub(super) const fn port(default: &'static str) -> Parameter {
        Parameter::new("port", Kind::Number(0, 65_535), "port to listen on, 0 for any").or(default)
    }
}

fn listen(values: &Values) -> SocketAddr {
    SocketAddr::new(values.addr("address"), values.port("port"))
}

const SSH: &[Parameter] = &[parameter::ADDRESS, parameter::port("22")];

const SERVICES: &[Service] = &[
    Service {
        name: "dns",
        about: "A name server with a small zone, the far end of a tunnel, and large answers.",
        parameters: dns::PARAMETERS,
        start: dns::start,
    },
    Service {
        name: "echo",
        about: "Returns every datagram: the far end of a call.",
        parameters: datagram::ECHO,
        start: datagram::echo,
    },
    Service {
        name: "ftp",
        about: "A file server for users lab (password lab-password) and anonymous.",
        parameters: ftp::PARAMETERS,
        start: ftp::start,
    },
    Service {
        name: "icmp_tunnel",
        about: "The far end of a tunnel through echoes (IPv4); ordinary pings are answered, too.",
        parameters: datagram::TUNNEL,
        start: datagram::tunnel,
    },
    Service {
        name: "mail",
        about: "A mail server that accepts every mail and forgets it.",
        parameters: line::MAIL,
        start: line::mail,
    },
    Service {
        name: "memcached",
        about: "A memcached over UDP with one large value: a get is answered with 1,300 bytes.",
        parameters: datagram::MEMCACHED,
        start: datagram::memcached,
    },
    Service {
        name: "modbus",
        about: "A Modbus/TCP controller: unit 1, 256 coils and registers of each kind.",
        parameters: modbus::PARAMETERS,
        start: modbus::start,
    },
    Service {
        name: "mqtt",
        about: "A broker of messages that grants every subscription and serves none.",
        parameters: line::MQTT,
        start: line::mqtt,
    },
    Service {
        name: "ntp",
        about: "A time server that also gives its monitor list.",
        parameters: datagram::NTP,
        start: datagram::ntp,
    },
    Service {
        name: "rpc",
        about: "Remote procedure calls over TCP: every interface may be bound, nothing is done.",
        parameters: rpc::PARAMETERS,
        start: rpc::start,
    },
    Service {
        name: "smb",
        about: "An SMB 2 file server: one share of documents for guests, and named pipes.",
        parameters: smb::PARAMETERS,
        start: smb::start,
    },
    Service {
        name: "snmp",
        about: "An SNMP agent with community public: a bulk request is answered with 1,300 bytes.",
        parameters: datagram::SNMP,
        start: datagram::snmp,
    },
    Service {
        name: "ssdp",
        about: "A device that answers searches.",
        parameters: datagram::SSDP,
        start: datagram::ssdp,
    },
    Service {
        name: "ssh",
        about: "A stand-in for SSH that refuses every guess and has no shell; for real clients there is sshd.",
        parameters: SSH,
        start: |values| Ok(vec![ssh::serve(listen(values))?]),
    },
    Service {
        name: "web",
        about: "A small shop with an injectable database, pages to crawl, downloads and a login.",
        parameters: web::PARAMETERS,
        start: web::start,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(service: &Service) -> Vec<String> {
        let port = service.parameters.iter().any(|p| p.name == "port").then(|| "port=0".to_owned());
        ["address=127.0.0.1".to_owned()].into_iter().chain(port).collect()
    }

    #[test]
    fn names_are_sorted_and_only_the_address_must_be_given() {
        assert!(SERVICES.is_sorted_by_key(|s| s.name));
        for service in SERVICES {
            let arguments = Arguments::parse(words(service)).expect("words");
            arguments.check(service.parameters).unwrap_or_else(|e| panic!("{}: {e}", service.name));
            assert!(service.about.ends_with('.'), "{}", service.name);
        }
    }

    #[test]
    fn addresses_elsewhere_are_refused_by_every_service() {
        for service in SERVICES {
            let foreign = words(service).into_iter().map(|w| w.replace("127.0.0.1", "192.0.2.110"));
            let arguments = Arguments::parse(foreign).expect("words");
            let refused = start(service.name, &arguments);
            assert!(matches!(refused, Err(TrafficError::Forbidden(_))), "{}: {refused:?}", service.name);
        }
    }
}
