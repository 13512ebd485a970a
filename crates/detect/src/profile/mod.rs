//! Profiles: what hosts make of protocols over time.
//!
//! A window counts packets; a profile understands. Each profile is a bounded table that learns from flows and messages
//! and, where it has something to compare with a rule, hands out an [`Observation`]: an actor and the values of the
//! metrics of its [`Subject`]. Rules (`subject = "…"` in a rule file) hold the thresholds, so that profiles decide nothing.
//!
//! A profile is fed only while an enabled rule asks for one of its subjects.

mod acks;
mod amplify;
mod arp;
mod beacon;
mod calls;
mod dga;
mod dhcp;
mod dns;
mod evasion;
mod exploits;
mod files;
mod icmp;
mod kerberos;
pub(crate) mod letters;
pub(crate) mod login;
mod logins;
mod modbus;
mod names;
mod protocol;
mod requests;
mod rpc;
mod slow_http;
pub(crate) mod table;
mod volume;
mod web_errors;
mod web_logins;

use crate::Actor;
use crate::home::Home;
use crate::metric::Metric;
use auth::LoginEvent;
use flow::{Conversation, EndReason, Entity, FlowRecord, Oddity, Share};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use wire::Addr;
use wire::message::arp::Arp;
use wire::message::{Message, Side};

macro_rules! subjects {
    ($first:ident $first_name:literal $first_meaning:literal; $($variant:ident $name:literal $meaning:literal;)*) => {
        /// What a rule is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Subject {
            #[doc = $first_meaning]
            #[default]
            $first,
            $(#[doc = $meaning] $variant,)*
        }

        impl Subject {
            /// Every subject, in the order of the documentation.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$variant,)*];

            /// The name in rule files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { Self::$first => $first_name, $(Self::$variant => $name,)* }
            }

            /// What it is, for docs/rules.md: one sentence or two, with the span it looks back over and its table's capacity.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { Self::$first => $first_meaning, $(Self::$variant => $meaning,)* }
            }
        }
    };
}

subjects! {
    Window "window" "What one entity did in 1, 10 or 60 s.";
    Snapshot "snapshot" "Figures of a second or so of a whole host or network, counted elsewhere and handed to the detector's API.";
    Beacon "beacon" "Connections of one inside host to one outside service, seen over up to two hours; 16,384 pairs.";
    Upload "upload" "What one inside host sends outwards in a minute, against its own habit once half an hour of activity is known; 16,384 hosts.";
    Reflected "reflected" "Datagrams from ports of services known to amplify, which nobody asked for, towards one address in 10 s; 4,096 addresses.";
    Reflector "reflector" "What services known to amplify answer to one address within a minute; 8,192 pairs of address and port.";
    Echoes "echoes" "ICMP echoes between two hosts, over the life of their flow.";
    ArpClaim "arp_claim" "A claim to an address by ARP that contradicts another, or that nobody asked for, over a minute; 8,192 addresses and as many hardware addresses.";
    DhcpServer "dhcp_server" "Servers that hand out addresses on one network, over an hour; 1,024 networks.";
    DhcpClients "dhcp_clients" "Hardware addresses that ask for an address on one network within a minute.";
    Oddities "oddities" "Flows of one source in which fragments or segments contradict each other, over a minute; 8,192 sources.";
    HttpRequests "http_requests" "HTTP requests of one client to one server in 10 s; 16,384 pairs.";
    RemoteCalls "remote_calls" "Remote procedure calls of one client that administrate, replicate or spy, until it pauses for five minutes; 8,192 clients.";
    FanOut "fan_out" "Hosts that one source reached within five minutes by SMB, DCE/RPC, SSH, RDP or WinRM; 8,192 sources.";
    FileChanges "file_changes" "What one client does to the files of one server over SMB in 60 s; 2,048 pairs.";
    ModbusClient "modbus_client" "What one client does to one server over Modbus/TCP in 60 s; 4,096 pairs, acquaintances kept for a week.";
    DomainNames "domain_names" "What one client asks below one registered domain, over a minute and an hour; 16,384 pairs, remembered for three days.";
    NonexistentDomains "nonexistent_domains" "Domains that one client asked for and that do not exist, over five minutes and an hour; 8,192 clients.";
    DrawnDomains "drawn_domains" "Domains that one client asked for, whether they exist or not, over an hour; 8,192 clients.";
    SlowHttp "slow_http" "HTTP requests of one source to one service that are held up for 10 s or longer; 16,384 connections.";
    SlowHttpTarget "slow_http_target" "HTTP requests of all sources to one service that are held up for 10 s or longer.";
    WrongPort "wrong_port" "A flow that ended, of an application that does not belong on its port.";
    StrangeDns "strange_dns" "A flow to port 53 in which both sides say what is no DNS.";
    BrokenMessages "broken_messages" "Messages of one sender that break the rules of their protocol, over a minute; 8,192 senders.";
    Overflow "overflow" "One message made to overflow its reader.";
    SshLogins "ssh_logins" "Logins of one client at one SSH server, by the sizes of what is said, in 60 s; 16,384 pairs.";
    SmbLogins "smb_logins" "Session setups of one client at one SMB server, in 60 s; 4,096 pairs.";
    HttpLogins "http_logins" "Logins of one client at one server over HTTP, by Basic authentication, forms and JSON, in 60 s; 4,096 pairs.";
    HttpErrors "http_errors" "What one client asked one server for over HTTP and did not get, in 60 s; 4,096 pairs.";
    AckProbes "ack_probes" "Ports of one host that got a lone ACK of one source out of any connection, in 60 s; 8,192 pairs.";
    KerberosClient "kerberos_client" "What a Kerberos KDC gave and refused one client, in 5 min; 8,192 clients.";
    KerberosDowngrade "kerberos_downgrade" "A first ticket of Kerberos answered with RC4 by a KDC that has AES; habits of 16,384 addresses and users, remembered for a week.";
    NameAnswers "name_answers" "Names one host answers for by LLMNR, until it pauses for ten minutes; 4,096 hosts.";
    LoginSource "login_source" "What one source (an address, in IPv6 its /64) did at the logins of this host, by its logs, in running windows of 1, 10 and 60 min; 16,384 sources.";
    LoginAccount "login_account" "Logins to one account of one service, by logs, in a running hour; 16,384 accounts.";
    LoginService "login_service" "Logins to one service by all sources, by logs, in running 10 min; 256 services.";
    LoginName "login_name" "What was typed as a user name and refused, where it has signs that names lack; by logs.";
    ControllerCall "controller_call" "A connection between two hosts that both answered as Modbus servers within a week; 4,096 servers.";
}

impl Subject {
    /// Whether it is a window.
    #[must_use]
    pub fn is_window(&self) -> bool {
        *self == Self::Window
    }
}

/// Something a profile may learn from. Flows are as they stand at that moment.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A flow began.
    Started(&'a Conversation),
    /// A flow's application was recognised (`flow.app`).
    Recognised(&'a Conversation),
    /// A message was completed.
    Message {
        /// The flow.
        flow: &'a Conversation,
        /// Who said it.
        from: Side,
        /// What.
        message: &'a Message,
    },
    /// Reassembly or fragments were odd.
    Odd(&'a Conversation, Oddity),
    /// A TCP flow closed.
    Closed(&'a FlowRecord),
    /// A flow left the table; closed ones were told before.
    Ended(&'a FlowRecord, EndReason),
    /// An ARP packet.
    Arp(&'a Arp),
    /// An entity's windows changed in a way worth judging, or grew by [`flow::window::JUDGE_EVERY`] packets.
    Active {
        /// The entity with its windows.
        entity: &'a Entity,
        /// The flow that made it worth judging.
        flow: &'a Conversation,
    },
    /// A flow had another [`flow::window::JUDGE_EVERY`] packets, or an odd fragment.
    Grown(&'a FlowRecord),
    /// Packets of a UDP flow, each told once, and within a tick of the tracker or a reading of the kernel's counts.
    Datagrams(&'a Conversation, &'a Share),
    /// A log told of a login.
    Login {
        /// What it told.
        event: &'a LoginEvent,
        /// The host that was logged in to.
        server: Addr,
    },
}

/// A kind of fact, to say which ones a profile wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Fact::Started`].
    Started = 0,
    /// [`Fact::Recognised`].
    Recognised = 1,
    /// [`Fact::Message`].
    Message = 2,
    /// [`Fact::Odd`].
    Odd = 3,
    /// [`Fact::Closed`].
    Closed = 4,
    /// [`Fact::Ended`].
    Ended = 5,
    /// [`Fact::Arp`].
    Arp = 6,
    /// [`Fact::Active`].
    Active = 7,
    /// [`Fact::Grown`].
    Grown = 8,
    /// [`Fact::Datagrams`].
    Datagrams = 9,
    /// [`Fact::Login`].
    Login = 10,
}

/// How many kinds of facts there are.
pub(crate) const KINDS: usize = 11;

impl Fact<'_> {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Started(_) => Kind::Started,
            Self::Recognised(_) => Kind::Recognised,
            Self::Message { .. } => Kind::Message,
            Self::Odd(..) => Kind::Odd,
            Self::Closed(_) => Kind::Closed,
            Self::Ended(..) => Kind::Ended,
            Self::Arp(_) => Kind::Arp,
            Self::Active { .. } => Kind::Active,
            Self::Grown(_) => Kind::Grown,
            Self::Datagrams(..) => Kind::Datagrams,
            Self::Login { .. } => Kind::Login,
        }
    }
}

/// Most values of one observation.
pub const MAX_VALUES: usize = 12;

/// Values of metrics; absent ones satisfy no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values {
    held: [Option<(Metric, f64)>; MAX_VALUES],
}

impl Values {
    /// Adds a value. Beyond [`MAX_VALUES`] it is left out, which a test of each profile would notice.
    #[must_use]
    pub fn with(mut self, metric: Metric, value: f64) -> Self {
        if let Some(free) = self.held.iter_mut().find(|v| v.is_none()) {
            *free = Some((metric, value));
        }
        self
    }

    /// Adds a value where there is one.
    #[must_use]
    pub fn with_some(self, metric: Metric, value: Option<f64>) -> Self {
        match value {
            Some(value) => self.with(metric, value),
            None => self,
        }
    }

    /// The value of a metric.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.held.iter().flatten().find(|(m, _)| *m == metric).map(|(_, value)| *value)
    }
}

/// What a profile has to say about an actor, to be compared with the rules of its subject.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Whose rules judge it.
    pub subject: Subject,
    /// Who.
    pub actor: Actor,
    /// Whom it hits, where it is one address.
    pub target: Option<Addr>,
    /// Port, where it is one.
    pub port: Option<u16>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// The flow it was seen in.
    pub flow: Option<Conversation>,
    /// What it is about in words that rules do not know, such as a domain or an interface; shown to people.
    pub detail: Option<Box<str>>,
    /// Since when it was observed, ns.
    pub since_ns: u64,
    /// The values.
    pub values: Values,
}

impl Observation {
    /// As [`Self::of_flow`], about who spoke.
    #[must_use]
    pub fn of_speaker(
        subject: Subject,
        flow: &Conversation,
        from: Side,
        since_ns: u64,
        values: Values,
    ) -> Self {
        let ((addr, _), (target, port)) = speaker(flow, from);
        Self {
            actor: Actor::Source { addr },
            target: Some(target),
            port: Some(port),
            ..Self::of_flow(subject, flow, since_ns, values)
        }
    }

    /// As [`Self::of_flow`], about a flow whose record is at hand.
    #[must_use]
    pub fn of_record(subject: Subject, record: &FlowRecord, since_ns: u64, values: Values) -> Self {
        Self::of_flow(subject, &Conversation::of(record), since_ns, values)
    }

    /// An observation about who began `flow`, against whom it contacted.
    #[must_use]
    pub fn of_flow(subject: Subject, flow: &Conversation, since_ns: u64, values: Values) -> Self {
        let (target, port) = flow.responder();
        Self {
            subject,
            actor: Actor::Source { addr: flow.initiator().0 },
            target: Some(target),
            port: Some(port),
            protocol: Some(flow.key.protocol),
            flow: Some(*flow),
            detail: None,
            since_ns,
            values,
        }
    }
}

/// Who says something in a flow, and to whom: address and port of each. A sensor that came late may hold a server for the
/// initiator, but who sends a request is the client whatever the flow's beginning looked like.
pub(crate) fn speaker(flow: &Conversation, from: Side) -> ((Addr, u16), (Addr, u16)) {
    match from {
        Side::Client => (flow.initiator(), flow.responder()),
        Side::Server => (flow.responder(), flow.initiator()),
    }
}

/// A bounded memory of what hosts did, and the observations it leads to; see the module.
pub trait Profile: std::fmt::Debug + Send {
    /// The subjects it observes.
    fn subjects(&self) -> &'static [Subject];

    /// The kinds of facts it wants to learn; it is handed no others.
    fn wants(&self) -> &'static [Kind];

    /// Learns a fact of time `now_ns`.
    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>);

    /// Called about once a second of traffic time, for what silence tells and to forget what is old.
    fn tick(&mut self, _now_ns: u64, _out: &mut Vec<Observation>) {}

    /// Entries given up because the table was full.
    fn evicted(&self) -> u64;
}

/// All profiles, empty. Some tell inside from outside by `home`.
#[must_use]
pub fn all(home: &Arc<Home>) -> Vec<Box<dyn Profile>> {
    vec![
        Box::new(beacon::Beacons::new(Arc::clone(home))),
        Box::new(volume::Volumes::new(Arc::clone(home))),
        Box::<amplify::Amplification>::default(),
        Box::<icmp::Echoes>::default(),
        Box::<arp::ArpClaims>::default(),
        Box::<dhcp::DhcpServers>::default(),
        Box::<evasion::Evasions>::default(),
        Box::<requests::HttpRequests>::default(),
        Box::<rpc::RemoteCalls>::default(),
        Box::<rpc::FanOut>::default(),
        Box::<files::FileChanges>::default(),
        Box::<modbus::ModbusClients>::default(),
        Box::<exploits::Exploits>::default(),
        Box::<logins::SshLogins>::default(),
        Box::<logins::SmbLogins>::default(),
        Box::<web_logins::HttpLogins>::default(),
        Box::<web_errors::HttpErrors>::default(),
        Box::<acks::AckProbes>::default(),
        Box::<login::Logins>::default(),
        Box::<kerberos::KerberosClients>::default(),
        Box::<names::NameAnswers>::default(),
        Box::<dns::Names>::default(),
        Box::<dga::DrawnNames>::default(),
        Box::<slow_http::SlowHttp>::default(),
        Box::<protocol::Anomalies>::default(),
    ]
}
