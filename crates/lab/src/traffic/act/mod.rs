//! Acts: pieces of traffic, hostile and ordinary, that scenarios are made of.
//!
//! An act is a name, a table of parameters and a function. [`run`] checks the arguments, refuses every address that is
//! not the lab's, runs the function within its limits, and returns a [`Report`] of what was really done, from which labels
//! are written. Equal seeds give equal content, order and pauses; when packets leave, and which ports the kernel picks,
//! is not ours to say.
//!
//! Hostile acts are run of the mill: enough to be what they are called, aimed at the lab's own servers ([`crate::serve`]),
//! without working exploits. Ordinary acts are those that are mistaken for attacks most easily.

mod account;
mod actor;
mod calls;
mod evasion;
mod files;
mod flood;
mod guess;
mod home;
mod link;
mod modbus;
mod names;
mod people;
mod scan;
mod smb;
mod transfer;
mod web;

pub use account::{Net, Protocol, Report, Row};

use super::{Control, TrafficError, permit};
use crate::arguments::{Arguments, Kind, Parameter};
use actor::Actor;

/// One act.
#[derive(Debug)]
pub struct Act {
    /// Its name.
    pub name: &'static str,
    /// What it does, one sentence.
    pub about: &'static str,
    /// The class of threat it is an example of, a class name of events; `None` for ordinary traffic.
    pub class: Option<&'static str>,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    run: fn(&Actor<'_>) -> Result<(), TrafficError>,
}

/// All acts, in order of their names.
#[must_use]
pub fn all() -> &'static [Act] {
    ACTS
}

/// Their names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ACTS.iter().map(|act| act.name).collect()
}

/// Runs an act in the network namespace of the calling thread, and returns what it did.
///
/// # Errors
/// No such act, arguments that do not fit, an address that is not the lab's, or a refusal of the kernel. Targets that
/// do not answer are counted in the report and are no error.
pub fn run(name: &str, arguments: &Arguments, control: &Control) -> Result<Report, TrafficError> {
    let act = ACTS.iter().find(|act| act.name == name).ok_or_else(|| TrafficError::Unknown {
        what: "act",
        name: name.to_owned(),
        known: names().join(", "),
    })?;
    let values = arguments.check(act.parameters)?;
    for parameter in act.parameters {
        if matches!(parameter.kind, Kind::Address | Kind::Addresses) {
            values.addrs(parameter.name).iter().try_for_each(|addr| permit(*addr))?;
        }
    }
    let start_ns = account::now_ns();
    let actor = Actor::new(&values, control);
    (act.run)(&actor)?;
    Ok(actor.report(act.name, start_ns))
}

/// Parameters that many acts share.
mod parameter {
    use super::{Kind, Parameter};

    pub(super) const SOURCE: Parameter =
        Parameter::new("source", Kind::Address, "where the traffic comes from");
    pub(super) const TARGET: Parameter = Parameter::new("target", Kind::Address, "where it goes");
    pub(super) const TARGETS: Parameter = Parameter::new("targets", Kind::Addresses, "where it goes");
    pub(super) const SEED: Parameter =
        Parameter::new("seed", Kind::Number(0, u64::MAX), "what chance depends on").or("1");

    pub(super) const fn port(default: &'static str) -> Parameter {
        Parameter::new("port", Kind::Number(1, 65_535), "port of the target").or(default)
    }

    /// At most so many seconds; no act runs longer than [`crate::traffic::MAX_DURATION`].
    pub(super) const fn seconds(default: &'static str) -> Parameter {
        Parameter::new("seconds", Kind::Number(1, 120), "ends after so many seconds").or(default)
    }

    pub(super) const fn count(most: u64, default: &'static str, about: &'static str) -> Parameter {
        Parameter::new("count", Kind::Number(1, most), about).or(default)
    }

    pub(super) const fn rate(most: u64, default: &'static str) -> Parameter {
        Parameter::new("rate", Kind::Number(1, most), "so many of them a second").or(default)
    }
}

const ACTS: &[Act] = &[
    Act {
        name: "amplification",
        about: "Asks services for their largest answers in the name of a victim.",
        class: Some("amplification"),
        parameters: flood::AMPLIFICATION,
        run: flood::amplification,
    },
    Act {
        name: "arp_spoof",
        about: "Claims another's address by ARP replies that nobody asked for.",
        class: Some("arp_spoof"),
        parameters: link::ARP_SPOOF,
        run: link::arp_spoof,
    },
    Act {
        name: "backup",
        about: "Copies many files over SMB at an even rate, to a share or from it.",
        class: None,
        parameters: files::BACKUP,
        run: files::backup,
    },
    Act {
        name: "beacon",
        about: "Calls the same server at intervals with some jitter, sending about the same.",
        class: Some("c2_beacon"),
        parameters: home::BEACON,
        run: home::beacon,
    },
    Act {
        name: "call",
        about: "Sends packets of sound and picture at an even rate and takes as many back.",
        class: None,
        parameters: transfer::CALL,
        run: transfer::call,
    },
    Act {
        name: "crawl",
        about: "Follows the links of a web site, keeping to its robots.txt.",
        class: None,
        parameters: web::CRAWL,
        run: web::crawl,
    },
    Act {
        name: "datagrams",
        about: "Sends datagrams that IP must fragment, and takes their echoes.",
        class: None,
        parameters: transfer::DATAGRAMS,
        run: transfer::datagrams,
    },
    Act {
        name: "dga",
        about: "Looks up domains drawn by lot, none of which exists.",
        class: Some("dga"),
        parameters: names::GENERATED,
        run: names::generated,
    },
    Act {
        name: "dhcp_spoof",
        about: "Offers addresses with itself as router, beside the offers of an honest server.",
        class: Some("dhcp_spoof"),
        parameters: link::DHCP_SPOOF,
        run: link::dhcp_spoof,
    },
    Act {
        name: "dns_tunnel",
        about: "Carries data in names and takes data from the answers.",
        class: Some("dns_tunnel"),
        parameters: names::TUNNEL,
        run: names::tunnel,
    },
    Act {
        name: "download",
        about: "Fetches many files from one server, several at once.",
        class: None,
        parameters: transfer::DOWNLOAD,
        run: transfer::download,
    },
    Act {
        name: "evasion",
        about: "Sends fragments or segments that readers understand differently.",
        class: Some("evasion"),
        parameters: evasion::PARAMETERS,
        run: evasion::run,
    },
    Act {
        name: "guess",
        about: "Guesses passwords of FTP, the web, SMB or the lab's stand-in for SSH.",
        class: Some("brute_force"),
        parameters: guess::PARAMETERS,
        run: guess::run,
    },
    Act {
        name: "host_scan",
        about: "Looks for hosts of a network by echoes, connection requests or datagrams.",
        class: Some("port_scan"),
        parameters: scan::HOSTS,
        run: scan::hosts,
    },
    Act {
        name: "http_flood",
        about: "Asks for the same page again and again over a few connections.",
        class: Some("dos"),
        parameters: web::FLOOD,
        run: web::flood,
    },
    Act {
        name: "icmp_flood",
        about: "Sends echo requests of one source at a rate.",
        class: Some("icmp_flood"),
        parameters: flood::ICMP,
        run: flood::icmp,
    },
    Act {
        name: "icmp_tunnel",
        about: "Carries data in echo requests to a far end that answers with its own (IPv4).",
        class: Some("icmp_tunnel"),
        parameters: flood::TUNNEL,
        run: flood::tunnel,
    },
    Act {
        name: "keepalive",
        about: "Asks a clock, an agent or a broker at regular intervals.",
        class: None,
        parameters: home::KEEPALIVE,
        run: home::keepalive,
    },
    Act {
        name: "lookups",
        about: "Looks up names as browsers, caches, virus scanners, mail servers and bad typists do.",
        class: None,
        parameters: names::LOOKUPS,
        run: names::lookups,
    },
    Act {
        name: "mail",
        about: "Delivers mails to a server.",
        class: None,
        parameters: people::MAIL,
        run: people::mail,
    },
    Act {
        name: "modbus_abuse",
        about: "Writes to a controller, or tries its functions, units or addresses.",
        class: Some("ot_abuse"),
        parameters: modbus::ABUSE,
        run: modbus::abuse,
    },
    Act {
        name: "modbus_poll",
        about: "Reads the values of controllers round after round, as an operator's station does.",
        class: None,
        parameters: modbus::POLL,
        run: modbus::poll,
    },
    Act {
        name: "monitoring",
        about: "Pings hosts and asks their services, round after round.",
        class: None,
        parameters: people::MONITORING,
        run: people::monitoring,
    },
    Act {
        name: "morning",
        about: "Many clients log in, look up names and read pages, each in their own way.",
        class: None,
        parameters: people::MORNING,
        run: people::morning,
    },
    Act {
        name: "office",
        about: "Works on documents of a share as a person does.",
        class: None,
        parameters: files::OFFICE,
        run: files::office,
    },
    Act {
        name: "port_scan",
        about: "Looks for open ports of a host by SYN, FIN, NULL, Xmas, ACK or UDP packets.",
        class: Some("port_scan"),
        parameters: scan::PORTS,
        run: scan::ports,
    },
    Act {
        name: "ransomware",
        about: "Rewrites and renames the files of a share, one after the other.",
        class: Some("ransomware"),
        parameters: files::RANSOMWARE,
        run: files::ransomware,
    },
    Act {
        name: "remote_calls",
        about: "Makes remote procedure calls of one purpose at host after host.",
        class: Some("lateral_movement"),
        parameters: calls::PARAMETERS,
        run: calls::run,
    },
    Act {
        name: "slow_http",
        about: "Holds connections to a web server open with requests that never end.",
        class: Some("slow_http"),
        parameters: web::SLOW,
        run: web::slow,
    },
    Act {
        name: "syn_flood",
        about: "Sends connection requests from one source or from forged ones.",
        class: Some("syn_flood"),
        parameters: flood::SYN,
        run: flood::syn,
    },
    Act {
        name: "udp_flood",
        about: "Sends datagrams of one source at a rate.",
        class: Some("udp_flood"),
        parameters: flood::UDP,
        run: flood::udp,
    },
    Act {
        name: "upload",
        about: "Sends much data out over HTTP or FTP.",
        class: Some("data_exfiltration"),
        parameters: transfer::UPLOAD,
        run: transfer::upload,
    },
    Act {
        name: "web_attack",
        about: "Sends requests with injections, scripts, paths and probes to the shop.",
        class: Some("web_attack"),
        parameters: web::ATTACK,
        run: web::attack,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Values;

    fn defaults(act: &Act) -> Values {
        let address =
            |p: &Parameter| matches!(p.kind, Kind::Address | Kind::Addresses) && p.default.is_none();
        let words = act.parameters.iter().filter(|p| address(p)).map(|p| format!("{}=127.0.0.1", p.name));
        let arguments = Arguments::parse(words).expect("words");
        arguments.check(act.parameters).unwrap_or_else(|e| panic!("{}: {e}", act.name))
    }

    #[test]
    fn names_are_sorted_and_only_addresses_must_be_given() {
        assert!(ACTS.is_sorted_by_key(|act| act.name));
        for act in ACTS {
            let _ = defaults(act);
            assert!(act.about.ends_with('.'), "{}", act.name);
        }
    }

    #[test]
    fn every_act_is_bounded() {
        for act in ACTS {
            let values = defaults(act);
            assert!((1..=120).contains(&values.number("seconds")), "{} has no seconds", act.name);
        }
    }

    #[test]
    fn addresses_elsewhere_are_refused_by_every_act() {
        let elsewhere = std::net::IpAddr::from([198, 51, 100, 1]);
        for act in ACTS {
            for foreign in act.parameters.iter().filter(|p| matches!(p.kind, Kind::Address | Kind::Addresses))
            {
                let words = act.parameters.iter().filter_map(|p| match p.kind {
                    Kind::Address | Kind::Addresses if p.name == foreign.name => {
                        Some(format!("{}={elsewhere}", p.name))
                    }
                    Kind::Address | Kind::Addresses => Some(format!("{}=127.0.0.1", p.name)),
                    _ => None,
                });
                let refused = run(act.name, &Arguments::parse(words).expect("words"), &Control::new());
                assert!(
                    matches!(refused, Err(TrafficError::Forbidden(a)) if a == elsewhere),
                    "{} {}: {refused:?}",
                    act.name,
                    foreign.name
                );
            }
        }
    }

    #[test]
    fn unknown_acts_and_arguments_are_refused_with_what_there_is() {
        let refused = run("dance", &Arguments::default(), &Control::new()).expect_err("unknown");
        assert!(refused.to_string().contains("port_scan"), "{refused}");
    }
}
