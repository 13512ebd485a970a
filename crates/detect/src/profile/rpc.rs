//! Remote procedure calls that administrate, replicate or spy, by who calls whom; and whom one source reaches by protocols
//! of administration.

use super::calls::{Purpose, activation, purpose};
use super::table::Table;
use super::{Fact, Kind as Want, Observation, Profile, Subject, Values, speaker};
use crate::home::is_host;
use crate::metric::Metric;
use flow::Conversation;
use wire::Addr;
use wire::message::dcerpc::{DceRpc, Kind};
use wire::message::{App, Message, Side};

/// Callers remembered, some 200 bytes each.
const CAPACITY: usize = 8192;
/// Calls within this time count together.
const MEMORY_NS: u64 = 300_000_000_000;
/// Controllers remembered: hosts that others contact for Kerberos or LDAP.
const CONTROLLERS: usize = 4096;
/// How long a controller, and who asks whom, is remembered.
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
/// Different servers of one caller told apart.
const SERVERS: usize = 32;
/// Different questions of one caller told apart.
const QUESTIONS: usize = 32;
/// Ports that controllers are contacted on: Kerberos, LDAP, LDAP over TLS, global catalogue.
const CONTROLLER_PORTS: [u16; 4] = [88, 389, 636, 3268];

/// Paths of Windows Remote Management ([MS-WSMV]); what is asked there is encrypted, but it is to run or to set something.
const WSMAN: [&str; 2] = ["/wsman", "/WSMAN"];

/// What one caller did lately.
#[derive(Debug, Default)]
struct Caller {
    since_ns: u64,
    executions: u32,
    secrets: u32,
    replications: u32,
    challenges: u32,
    coercions: u32,
    logs_cleared: u32,
    /// Different servers on which something was executed.
    servers: Vec<Addr>,
    /// Different questions, as interface and operation.
    questions: Vec<(u32, u16)>,
}

/// Remote procedure calls; see the module.
#[derive(Debug)]
pub(crate) struct RemoteCalls {
    callers: Table<Addr, Caller>,
    controllers: Table<Addr, ()>,
    /// Who asked which server about accounts or shares before.
    askers: Table<(Addr, Addr), ()>,
}

impl Default for RemoteCalls {
    fn default() -> Self {
        Self {
            callers: Table::new(CAPACITY, MEMORY_NS),
            controllers: Table::new(CONTROLLERS, DAY_NS),
            askers: Table::new(CAPACITY, DAY_NS),
        }
    }
}

impl Profile for RemoteCalls {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::RemoteCalls]
    }

    fn wants(&self) -> &'static [Want] {
        &[Want::Message, Want::Closed]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        match fact {
            Fact::Closed(flow) => {
                let (server, port) = flow.responder();
                // Whoever wants to pass for a controller must be asked, and answer.
                if CONTROLLER_PORTS.contains(&port) && flow.stats.from_responder().payload_bytes > 0 {
                    self.controllers.touch(server, now_ns);
                }
            }
            Fact::Message { flow, from, message: Message::DceRpc(call) } => {
                if let Some((purpose, name)) =
                    purpose(call).or_else(|| activation(call, speaker(flow, *from).1.1))
                {
                    self.call(now_ns, (flow, *from), call, (purpose, name), out);
                }
            }
            Fact::Message { flow, from, message: Message::HttpRequest(request) }
                if WSMAN.iter().any(|path| request.target.starts_with(path)) =>
            {
                let call = DceRpc { kind: Kind::Request, ..DceRpc::default() };
                self.call(now_ns, (flow, *from), &call, (Purpose::Execute, "remote management"), out);
            }
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.callers.evicted() + self.controllers.evicted() + self.askers.evicted()
    }
}

impl RemoteCalls {
    fn call(
        &mut self,
        now_ns: u64,
        (flow, from): (&Conversation, Side),
        call: &DceRpc,
        (purpose, name): (Purpose, &'static str),
        out: &mut Vec<Observation>,
    ) {
        let ((client, _), (server, _)) = speaker(flow, from);
        let controller = self.controllers.get(&client, now_ns).is_some();
        let mut first_question = false;
        if purpose == Purpose::Ask {
            first_question = self.askers.get(&(client, server), now_ns).is_none();
            self.askers.touch((client, server), now_ns);
        }
        let caller = self.callers.touch(client, now_ns);
        if caller.since_ns == 0 {
            caller.since_ns = now_ns;
        }
        let raise = |count: &mut u32| *count = count.saturating_add(1);
        match purpose {
            Purpose::Replicate if controller => return,
            Purpose::Execute => {
                remember(&mut caller.servers, server, SERVERS);
                raise(&mut caller.executions);
            }
            Purpose::Secret => raise(&mut caller.secrets),
            Purpose::Replicate => raise(&mut caller.replications),
            Purpose::Challenge => raise(&mut caller.challenges),
            Purpose::Coerce => raise(&mut caller.coercions),
            Purpose::Clear => raise(&mut caller.logs_cleared),
            Purpose::Ask => {
                let interface = call.interface.as_deref().map_or(0, first_word);
                remember(&mut caller.questions, (interface, call.operation.unwrap_or(0)), QUESTIONS);
            }
        }
        let values = Values::default()
            .with(Metric::RemoteExecutions, f64::from(caller.executions))
            .with(Metric::ExecutionServers, caller.servers.len() as f64)
            .with(Metric::SecretCalls, f64::from(caller.secrets))
            .with(Metric::StrangeReplications, f64::from(caller.replications))
            .with(Metric::LogonChallenges, f64::from(caller.challenges))
            .with(Metric::CoercionCalls, f64::from(caller.coercions))
            .with(Metric::LogsCleared, f64::from(caller.logs_cleared))
            .with(Metric::DirectoryQuestions, caller.questions.len() as f64)
            .with(Metric::FirstQuestion, f64::from(u8::from(first_question)));
        let mut o = Observation::of_speaker(Subject::RemoteCalls, flow, from, caller.since_ns, values);
        o.detail = Some(match (call.operation, call.pipe.as_deref().filter(|p| !p.is_empty())) {
            (Some(operation), Some(pipe)) => format!("{name}, operation {operation}, pipe {pipe}").into(),
            (Some(operation), None) => format!("{name}, operation {operation}").into(),
            (None, _) => name.into(),
        });
        out.push(o);
    }
}

/// Adds what is new while there is room.
fn remember<T: PartialEq>(known: &mut Vec<T>, item: T, most: usize) {
    if known.len() < most && !known.contains(&item) {
        known.push(item);
    }
}

/// The first eight digits of a UUID as a number.
fn first_word(uuid: &str) -> u32 {
    uuid.get(..8).and_then(|word| u32::from_str_radix(word, 16).ok()).unwrap_or(0)
}

/// Sessions of one source to many hosts by protocols made for administration.
#[derive(Debug)]
pub(crate) struct FanOut {
    sources: Table<Addr, Reached>,
}

/// Hosts one source reached lately.
#[derive(Debug, Default)]
struct Reached {
    since_ns: u64,
    hosts: Vec<Addr>,
}

/// Different hosts told apart.
const HOSTS: usize = 64;
/// Ports of Windows Remote Management, which is HTTP.
const WINRM: [u16; 2] = [5985, 5986];

impl Default for FanOut {
    fn default() -> Self {
        Self { sources: Table::new(CAPACITY, MEMORY_NS) }
    }
}

impl Profile for FanOut {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::FanOut]
    }

    fn wants(&self) -> &'static [Want] {
        &[Want::Recognised]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Recognised(flow) = fact else { return };
        let ((client, _), (server, port)) = (flow.initiator(), flow.responder());
        let remote = matches!(flow.app, App::Smb | App::DceRpc | App::Ssh | App::Rdp)
            || (matches!(flow.app, App::Http | App::Tls) && WINRM.contains(&port));
        if !remote || !is_host(server) {
            return;
        }
        let reached = self.sources.touch(client, now_ns);
        if now_ns.saturating_sub(reached.since_ns) > MEMORY_NS {
            reached.since_ns = now_ns;
            reached.hosts.clear();
        }
        if reached.hosts.contains(&server) || reached.hosts.len() >= HOSTS {
            return;
        }
        reached.hosts.push(server);
        let values = Values::default().with(Metric::AdministeredHosts, reached.hosts.len() as f64);
        let mut o = Observation::of_flow(Subject::FanOut, flow, reached.since_ns, values);
        o.target = None;
        out.push(o);
    }

    fn evicted(&self) -> u64 {
        self.sources.evicted()
    }
}
