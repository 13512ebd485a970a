//! Programs that steps may run, each by a template: what a scenario file may choose is listed and bounded here, and
//! nothing of the file becomes part of a command line unchecked.

use super::file::Step;
use crate::address;
use crate::arguments::{Kind, Parameter, Values};
use crate::range::network::HOST_INTERFACE;
use crate::simulation::Simulation;
use crate::traffic::act::{self, Act};
use flow::label::Protocol;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;
use wire::packet::protocol;

/// A program and the Debian package that has it.
pub type Need = (&'static str, &'static str);

/// A program and its arguments, or why a file it needs could not be written.
pub(super) type Invocation = io::Result<(&'static str, Vec<String>)>;

/// A program that a step may run.
#[derive(Debug)]
pub struct Tool {
    /// Its name in scenario files.
    pub name: &'static str,
    /// What it does, one sentence.
    pub about: &'static str,
    /// What must be installed; the first is what is run. Nothing for a command of this program itself.
    pub needs: &'static [Need],
    /// What a scenario may choose.
    pub parameters: &'static [Parameter],
    /// Its arguments. May write files it needs into the directory given.
    line: fn(&Values, &Path) -> io::Result<Vec<String>>,
    /// What its traffic looks like on the wire.
    traffic: fn(&Values) -> Traffic,
}

/// What the traffic of a program looks like on the wire.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Its protocol, if it is one.
    pub protocol: Option<Protocol>,
    /// The port contacted, if it is one.
    pub port: Option<u16>,
    /// Where it comes from, if not from the one who does it.
    pub sources: Vec<IpAddr>,
}

impl Tool {
    /// The program, or `None` for this one itself, and its arguments.
    ///
    /// # Errors
    /// A file could not be written.
    pub(super) fn command(
        &self,
        values: &Values,
        scratch: &Path,
    ) -> io::Result<(Option<&'static str>, Vec<String>)> {
        Ok((self.needs.first().map(|(program, _)| *program), (self.line)(values, scratch)?))
    }

    /// What its traffic looks like on the wire.
    pub(super) fn traffic(&self, values: &Values) -> Traffic {
        (self.traffic)(values)
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Doing {
    /// An act of the lab.
    Act(&'static Act),
    /// A program.
    Tool(&'static Tool),
}

impl Doing {
    /// What a step names.
    ///
    /// # Errors
    /// It names nothing, two things, or something that is not there.
    pub(super) fn of(step: &Step) -> Result<Self, String> {
        match (&step.act, &step.tool) {
            (Some(name), None) => {
                let act = act::all().iter().find(|a| a.name == name);
                act.map(Self::Act)
                    .ok_or_else(|| format!("there is no act '{name}'; there are {}", act::names().join(", ")))
            }
            (None, Some(name)) => {
                let names = || TOOLS.map(|t| t.name).join(", ");
                find(name)
                    .map(Self::Tool)
                    .ok_or_else(|| format!("there is no tool '{name}'; there are {}", names()))
            }
            _ => Err("names either an act or a tool".to_owned()),
        }
    }

    pub(super) const fn parameters(&self) -> &'static [Parameter] {
        match self {
            Self::Act(act) => act.parameters,
            Self::Tool(tool) => tool.parameters,
        }
    }
}

/// All tools.
#[must_use]
pub fn all() -> &'static [Tool] {
    &TOOLS
}

/// A tool by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|t| t.name == name)
}

/// Whether a program is there to run.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().any(|folder| Path::new(folder).join(program).exists())
}

const TARGET: Parameter = Parameter::new("target", Kind::Address, "whom");
const SECONDS: Parameter =
    Parameter::new("seconds", Kind::Number(1, 120), "ends after so many seconds").or("10");

const fn port(default: &'static str) -> Parameter {
    Parameter::new("port", Kind::Number(1, 65_535), "port of the target").or(default)
}

fn ip(number: u8, port: Option<u16>) -> Traffic {
    Traffic { protocol: Some(Protocol::Ip(number)), port, sources: Vec::new() }
}

fn tcp(port: Option<u16>) -> Traffic {
    ip(protocol::TCP, port)
}

fn udp(port: Option<u16>) -> Traffic {
    ip(protocol::UDP, port)
}

pub(super) fn strings<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// A file in the scratch directory, as an argument.
pub(super) fn written(scratch: &Path, name: &str, content: impl AsRef<[u8]>) -> io::Result<String> {
    let path = scratch.join(name);
    std::fs::write(&path, content)?;
    Ok(path.display().to_string())
}

/// An address in a URL.
fn in_url(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(a) => a.to_string(),
        IpAddr::V6(a) => format!("[{a}]"),
    }
}

/// Where the hostile packets of a recording come from.
fn recorded(simulation: Simulation) -> Vec<IpAddr> {
    let [scanner, flooder, guesser, _] = address::ATTACKERS;
    let source = match simulation {
        Simulation::PortScan => scanner,
        Simulation::SynFlood => address::SILENT,
        Simulation::UdpFlood | Simulation::IcmpFlood => flooder,
        Simulation::SshGuessing => guesser,
        Simulation::Story | Simulation::Ordinary => return Vec::new(),
    };
    vec![source.into()]
}

/// Domain below which iodine tunnels.
pub(super) const TUNNEL_DOMAIN: &str = "t.example.org";
/// The server's address within the tunnel, which is not on any wire.
pub(super) const TUNNEL: &str = "10.53.0.1";
/// What both ends of the tunnel know.
pub(super) const TUNNEL_SECRET: &str = "secret";

const TOOLS: [Tool; 13] = [
    Tool {
        name: "curl",
        about: "Downloads a page of nginx again and again over HTTP/1.1, at a rate.",
        needs: &[("curl", "curl")],
        parameters: &[
            TARGET,
            port("80"),
            Parameter::new(
                "page",
                Kind::Choice(&["page", "1m", "8m", "64m"]),
                "which: a few bytes or so many MB",
            )
            .or("page"),
            Parameter::new("count", Kind::Number(1, 2_000), "how often").or("10"),
            Parameter::new("rate", Kind::Number(1, 200), "so many a second").or("2"),
            SECONDS,
        ],
        line: |v, _| {
            let rate = format!("{}/s", v.number("rate"));
            let mut line = strings(["-sS", "--fail", "--rate", &rate, "--max-time", "60"]);
            let url = format!("http://{}:{}/{}", in_url(v.addr("target")), v.number("port"), v.word("page"));
            for _ in 0..v.number("count") {
                line.extend(strings(["-o", "/dev/null", &url]));
            }
            Ok(line)
        },
        traffic: |v| tcp(Some(v.port("port"))),
    },
    Tool {
        name: "dnsperf",
        about: "Asks a DNS server for names at a rate.",
        needs: &[("dnsperf", "dnsperf")],
        parameters: &[
            TARGET,
            Parameter::new("rate", Kind::Number(1, 5_000), "questions a second").or("200"),
            Parameter::new("names", Kind::Number(1, 1_000), "so many different names").or("50"),
            SECONDS,
        ],
        line: |v, scratch| {
            let mut questions = Vec::new();
            for n in 0..v.number("names") {
                writeln!(questions, "host{n}.lab.example {}", if n % 3 == 0 { "AAAA" } else { "A" })?;
            }
            let file = written(scratch, "dnsperf.questions", questions)?;
            let (rate, seconds) = (v.number("rate").to_string(), v.number("seconds").to_string());
            Ok(strings(["-s", &v.addr("target").to_string(), "-d", &file, "-Q", &rate, "-l", &seconds]))
        },
        traffic: |_| udp(Some(53)),
    },
    Tool {
        name: "generate",
        about: "Visits the shipped sites and services by their names, as `autoinmune generate` does; its target is their name \
            server.",
        needs: &[],
        parameters: &[
            TARGET,
            Parameter::new("visitors", Kind::Number(1, 30), "visitors at once").or("3"),
            SECONDS,
            Parameter::new("seed", Kind::Number(0, u64::MAX), "what chance depends on").or("1"),
        ],
        line: |v, scratch| {
            let authority = scratch.with_file_name(super::server::SITES_AUTHORITY);
            let (resolver, visitors) = (v.addr("target").to_string(), v.number("visitors").to_string());
            let (duration, seed) = (format!("{}s", v.number("seconds")), v.number("seed").to_string());
            let mut line = strings(["generate", "--lab", "--plain", "--resolver", &resolver, "--ca"]);
            line.push(authority.display().to_string());
            line.extend(strings(["--threads", &visitors, "--duration", &duration, "--seed", &seed]));
            Ok(line)
        },
        traffic: |_| Traffic::default(),
    },
    Tool {
        name: "hping3",
        about: "Floods one port with packets of its own address at a rate.",
        needs: &[("hping3", "hping3")],
        parameters: &[
            TARGET,
            port("80"),
            Parameter::new("kind", Kind::Choice(&["syn", "ack", "udp", "icmp"]), "of which packets")
                .or("syn"),
            Parameter::new("count", Kind::Number(1, 200_000), "how many").or("10000"),
            Parameter::new("rate", Kind::Number(1, 20_000), "so many a second").or("2000"),
            Parameter::new("size", Kind::Number(0, 1_400), "payload bytes").or("0"),
        ],
        line: |v, _| {
            let kind = match v.word("kind") {
                "udp" => "--udp",
                "icmp" => "--icmp",
                "ack" => "--ack",
                _ => "--syn",
            };
            let pause = format!("u{}", 1_000_000 / v.number("rate").max(1));
            let mut line = strings(["-q", "-n", "-I", HOST_INTERFACE, kind, "-i", &pause]);
            line.extend(strings(["-c", &v.number("count").to_string(), "-d", &v.number("size").to_string()]));
            if kind != "--icmp" {
                line.extend(strings(["-p", &v.number("port").to_string()]));
            }
            line.push(v.addr("target").to_string());
            Ok(line)
        },
        traffic: |v| match v.word("kind") {
            "udp" => udp(Some(v.port("port"))),
            "icmp" => ip(protocol::ICMP, None),
            _ => tcp(Some(v.port("port"))),
        },
    },
    Tool {
        name: "hydra",
        about: "Guesses passwords of one account, or one password of many accounts.",
        needs: &[("hydra", "hydra")],
        parameters: &[
            TARGET,
            Parameter::new("service", Kind::Choice(&["ssh", "ftp", "http-get"]), "of which service")
                .or("ssh"),
            Parameter::new(
                "kind",
                Kind::Choice(&["guess", "spray"]),
                "passwords of one account, or accounts of one password",
            )
            .or("guess"),
            Parameter::new("count", Kind::Number(1, 1_000), "how many").or("100"),
            Parameter::new("tasks", Kind::Number(1, 16), "connections at once").or("4"),
        ],
        line: |v, scratch| {
            let spray = v.word("kind") == "spray";
            let words: String = (0..v.number("count"))
                .map(|n| if spray { format!("user{n}\n") } else { format!("guess-{n}\n") })
                .collect();
            let list = written(scratch, "hydra.words", words)?;
            let tasks = v.number("tasks").to_string();
            let mut line = if spray {
                strings(["-I", "-L", &list, "-p", "Winter2025", "-t", &tasks])
            } else {
                strings(["-I", "-l", "admin", "-P", &list, "-t", &tasks])
            };
            line.push(format!("{}://{}", v.word("service"), in_url(v.addr("target"))));
            Ok(line)
        },
        traffic: |v| {
            tcp(Some(match v.word("service") {
                "ftp" => 21,
                "http-get" => 80,
                _ => 22,
            }))
        },
    },
    Tool {
        name: "iodine",
        about: "Opens a tunnel through DNS to an iodined, and pings through it.",
        needs: &[("sh", "dash"), ("iodine", "iodine"), ("ping", "iputils-ping")],
        parameters: &[
            TARGET,
            Parameter::new("size", Kind::Number(56, 1_000), "bytes of each ping").or("200"),
            Parameter::new("rate", Kind::Number(1, 50), "pings a second").or("20"),
            SECONDS,
        ],
        // A shell runs both: the tunnel has to be there for the pings, and ends with them.
        line: |v, scratch| {
            let script = format!(
                "iodine -f -r -P {TUNNEL_SECRET} -T NULL -m 500 {} {TUNNEL_DOMAIN} & \
                 for i in 1 2 3 4 5 6 7 8 9 10; do ping -q -c 1 -W 1 {TUNNEL} && break; done; \
                 exec ping -q -i {:.3} -s {} -w {} {TUNNEL}",
                v.addr("target"),
                1.0 / v.number("rate").max(1) as f64,
                v.number("size"),
                v.number("seconds"),
            );
            Ok(vec![written(scratch, "iodine.sh", script)?])
        },
        traffic: |_| udp(Some(53)),
    },
    Tool {
        name: "iperf3",
        about: "Sends bulk data to an iperf3 server at a rate.",
        needs: &[("iperf3", "iperf3")],
        parameters: &[
            TARGET,
            Parameter::new("kind", Kind::Choice(&["tcp", "udp"]), "over which protocol").or("tcp"),
            Parameter::new("mbit", Kind::Number(1, 200), "Mbit/s").or("20"),
            SECONDS,
        ],
        line: |v, _| {
            let (rate, seconds) = (format!("{}M", v.number("mbit")), v.number("seconds").to_string());
            let mut line = strings(["-c", &v.addr("target").to_string(), "-b", &rate, "-t", &seconds]);
            if v.word("kind") == "udp" {
                line.extend(strings(["-u", "-l", "1200"]));
            }
            Ok(line)
        },
        traffic: |_| Traffic { port: Some(5201), ..Traffic::default() },
    },
    Tool {
        name: "nmap",
        about: "Scans ports of one or more hosts.",
        needs: &[("nmap", "nmap")],
        parameters: &[
            TARGET,
            Parameter::new(
                "kind",
                Kind::Choice(&["syn", "connect", "udp", "fin", "null", "xmas", "ack", "services"]),
                "of which kind",
            )
            .or("syn"),
            Parameter::new("first", Kind::Number(1, 65_535), "first port").or("1"),
            Parameter::new("last", Kind::Number(1, 65_535), "last port").or("1000"),
            Parameter::new("hosts", Kind::Number(1, 200), "so many addresses from the target's on (IPv4)")
                .or("1"),
            Parameter::new("rate", Kind::Number(1, 5_000), "packets a second at most").or("500"),
        ],
        line: |v, _| {
            let kind = match v.word("kind") {
                "connect" => "-sT",
                "udp" => "-sU",
                "fin" => "-sF",
                "null" => "-sN",
                "xmas" => "-sX",
                "ack" => "-sA",
                "services" => "-sV",
                _ => "-sS",
            };
            let (first, rate) = (v.number("first"), v.number("rate").to_string());
            let ports = format!("{first}-{}", v.number("last").max(first));
            let mut line = strings(["-n", "-Pn", "-T4", "--max-retries", "1", "-e", HOST_INTERFACE]);
            line.extend(strings([kind, "-p", &ports, "--max-rate", &rate]));
            if kind == "-sU" {
                // A host answers for one closed port a second; waiting for that would stretch the scan over minutes.
                line.push("--defeat-icmp-ratelimit".to_owned());
            }
            match v.addr("target") {
                IpAddr::V6(a) => line.extend(strings(["-6", &a.to_string()])),
                IpAddr::V4(a) => {
                    let [x, y, z, n] = a.octets();
                    let last = u64::from(n) + v.number("hosts").saturating_sub(1);
                    line.push(format!("{x}.{y}.{z}.{n}-{}", last.min(253)));
                }
            }
            Ok(line)
        },
        traffic: |v| match v.word("kind") {
            "udp" => udp(None),
            _ => tcp(None),
        },
    },
    Tool {
        name: "ping",
        about: "Sends echo requests at a rate.",
        needs: &[("ping", "iputils-ping")],
        parameters: &[
            TARGET,
            Parameter::new("count", Kind::Number(1, 1_000), "how many").or("10"),
            Parameter::new("rate", Kind::Number(1, 100), "so many a second").or("2"),
            Parameter::new("size", Kind::Number(0, 8_000), "payload bytes").or("56"),
        ],
        line: |v, _| {
            let pause = format!("{:.3}", 1.0 / v.number("rate").max(1) as f64);
            let (count, size) = (v.number("count").to_string(), v.number("size").to_string());
            Ok(strings(["-n", "-q", "-c", &count, "-i", &pause, "-s", &size, &v.addr("target").to_string()]))
        },
        traffic: |v| {
            let number = if v.addr("target").is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
            ip(number, None)
        },
    },
    Tool {
        name: "slowhttptest",
        about: "Keeps connections of a web server busy by sending or reading slowly.",
        needs: &[("slowhttptest", "slowhttptest")],
        parameters: &[
            TARGET,
            port("80"),
            Parameter::new("kind", Kind::Choice(&["headers", "body", "read"]), "what is slow").or("headers"),
            Parameter::new("connections", Kind::Number(1, 200), "how many").or("60"),
            SECONDS,
        ],
        line: |v, _| {
            let kind = match v.word("kind") {
                "body" => "-B",
                "read" => "-X",
                _ => "-H",
            };
            let page = match kind {
                "-X" => "8m",
                "-B" => "form",
                _ => "page",
            };
            let url = format!("http://{}:{}/{page}", in_url(v.addr("target")), v.number("port"));
            let (many, seconds) = (v.number("connections").to_string(), v.number("seconds").to_string());
            let mut line = strings([kind, "-c", &many, "-r", "40", "-i", "3", "-l", &seconds, "-p", "2"]);
            if kind == "-X" {
                line.extend(strings(["-w", "512", "-y", "1024", "-n", "2", "-z", "32"]));
            }
            line.extend(strings(["-u", &url]));
            Ok(line)
        },
        traffic: |v| tcp(Some(v.port("port"))),
    },
    Tool {
        name: "sqlmap",
        about: "Looks for SQL injection in the lab's web application.",
        needs: &[("sqlmap", "sqlmap")],
        parameters: &[TARGET, port("80")],
        line: |v, scratch| {
            let url = format!("http://{}:{}/product?id=1", in_url(v.addr("target")), v.number("port"));
            let folder = scratch.join("sqlmap").display().to_string();
            let mut line = strings(["--batch", "--flush-session", "--level=1", "--risk=1", "--technique=BU"]);
            line.extend(strings(["--disable-coloring", "--output-dir", &folder, "-u", &url]));
            Ok(line)
        },
        traffic: |v| tcp(Some(v.port("port"))),
    },
    Tool {
        name: "ssh",
        about: "Logs in by key and runs a command, again and again.",
        needs: &[("sh", "dash"), ("ssh", "openssh-client")],
        parameters: &[
            TARGET,
            Parameter::new("count", Kind::Number(1, 100), "how often").or("10"),
            Parameter::new("pause_ms", Kind::Number(0, 10_000), "pause between two, ms").or("1000"),
        ],
        line: |v, scratch| {
            let key = scratch.with_file_name(super::server::SSH_KEY);
            let script = format!(
                "i=0; while [ $i -lt {} ]; do ssh -F none -i {} -o BatchMode=yes -o StrictHostKeyChecking=no \
                 -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@{} uptime || exit 1; sleep {:.3}; i=$((i+1)); done",
                v.number("count"),
                key.display(),
                v.addr("target"),
                v.number("pause_ms") as f64 / 1e3,
            );
            Ok(vec![written(scratch, "ssh.sh", script)?])
        },
        traffic: |_| tcp(Some(22)),
    },
    Tool {
        name: "tcpreplay",
        about: "Sends a recorded attack as it was: frames of the generated captures of `lab::simulation`.",
        needs: &[("tcpreplay", "tcpreplay")],
        parameters: &[Parameter::new(
            "capture",
            Kind::Choice(&["port-scan", "syn-flood", "udp-flood", "icmp-flood", "ssh-guessing"]),
            "which",
        )],
        line: |v, scratch| {
            let simulation: Simulation = v.word("capture").parse().map_err(io::Error::other)?;
            let mut capture = Vec::new();
            crate::simulation::write_whole(simulation, 1, &mut capture)?;
            let file = written(scratch, "tcpreplay.pcap", capture)?;
            Ok(strings(["--quiet", "-i", HOST_INTERFACE, &file]))
        },
        traffic: |v| Traffic {
            sources: v.word("capture").parse().map(recorded).unwrap_or_default(),
            ..Traffic::default()
        },
    },
];
