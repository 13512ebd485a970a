//! Remote procedure calls that administrate, replicate or spy, by who calls whom.
//!
//! The table below says what a call is for; the call's content is mostly sealed, its interface and operation are not.
//! Operation numbers are those of the Microsoft Open Specifications named beside each interface.

use super::place::is_host;
use super::table::Table;
use super::{Fact, Kind as Want, Observation, Profile, Subject, Values, speaker};
use crate::metric::Metric;
use flow::FlowRecord;
use wire::Addr;
use wire::message::dcerpc::{DceRpc, Kind};
use wire::message::{App, Message, Side};

/// Callers remembered, some 200 bytes each.
const CAPACITY: usize = 8192;
/// Calls within this time count together.
const MEMORY_NS: u64 = 300_000_000_000;
/// Controllers remembered: hosts that others contact for Kerberos or LDAP.
const CONTROLLERS: usize = 4096;
/// How long a controller is remembered.
const CONTROLLER_NS: u64 = 24 * 3600 * 1_000_000_000;
/// Different servers of one caller told apart.
const SERVERS: usize = 32;
/// Different questions of one caller told apart.
const QUESTIONS: usize = 32;
/// Ports that controllers are contacted on: Kerberos, LDAP, LDAP over TLS, global catalogue.
const CONTROLLER_PORTS: [u16; 4] = [88, 389, 636, 3268];

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Makes the server run something.
    Execute,
    /// Reads or changes secrets.
    Secret,
    /// Replicates the directory.
    Replicate,
    /// Opens a secure channel without knowing its secret yet.
    Challenge,
    /// Makes the server log on somewhere else.
    Coerce,
    /// Asks for users, groups, shares or sessions.
    Ask,
    /// Clears a log.
    Clear,
}

/// Interface, operations, purpose, what people call it.
const CALLS: [(&str, &[u16], Purpose, &str); 21] = [
    // [MS-SCMR] services: create (A, W, WOW64), start (W, A)
    (
        "367abb81-9844-35f1-ad32-98f038001003",
        &[12, 24, 44, 45, 60, 19, 31],
        Purpose::Execute,
        "service control",
    ),
    // [MS-TSCH] at jobs and tasks: add, register, run
    ("1ff70682-0a51-30e8-076d-740be8cee98b", &[0], Purpose::Execute, "at job"),
    ("86d35949-83c9-4044-b424-db363231fd0c", &[1, 12], Purpose::Execute, "task scheduler"),
    // [MS-DCOM] activation: RemoteGetClassObject, RemoteCreateInstance; RemoteActivation
    ("000001a0-0000-0000-c000-000000000046", &[3, 4], Purpose::Execute, "remote COM activation"),
    ("4d9f4ab8-7d1c-11cf-861e-0020af6e7c57", &[0], Purpose::Execute, "remote COM activation"),
    // [MS-WMI] IWbemServices: ExecMethod, ExecMethodAsync
    ("9556dc99-828c-11cf-a37e-00aa003240c7", &[24, 25], Purpose::Execute, "WMI method"),
    // [MS-RRP] registry: set value
    ("338cd001-2244-31f1-aaaa-900038001003", &[22], Purpose::Execute, "remote registry"),
    // [MS-DRSR] drsuapi: GetNCChanges, ReplicaAdd
    ("e3514235-4b06-11d1-ab04-00c04fc2dcd2", &[3, 5], Purpose::Replicate, "directory replication"),
    // [MS-NRPC] netlogon: ServerReqChallenge, ServerAuthenticate2, 3
    ("12345678-1234-abcd-ef00-01234567cffb", &[4, 15, 26], Purpose::Challenge, "netlogon challenge"),
    // netlogon: ServerPasswordSet, ServerPasswordSet2
    ("12345678-1234-abcd-ef00-01234567cffb", &[6, 30], Purpose::Secret, "machine password set"),
    // [MS-BKRP] backup key
    ("3dde7c30-165d-11d1-ab8f-00805f14db40", &[0], Purpose::Secret, "backup key"),
    // [MS-LSAD] secrets: OpenSecret, SetSecret, QuerySecret, StorePrivateData, RetrievePrivateData
    ("12345778-1234-abcd-ef00-0123456789ab", &[28, 29, 30, 42, 43], Purpose::Secret, "LSA secret"),
    // [MS-SAMR] SamrSetInformationUser, SamrSetInformationUser2, ChangePassword
    ("12345778-1234-abcd-ef00-0123456789ac", &[37, 38, 54, 55, 58, 63], Purpose::Secret, "account password"),
    // [MS-RPRN] RemoteFindFirstPrinterChangeNotification, ...Ex
    ("12345678-1234-abcd-ef00-0123456789ab", &[62, 65], Purpose::Coerce, "printer notification"),
    // [MS-EFSR] EfsRpcOpenFileRaw, EncryptFileSrv, DecryptFileSrv, QueryUsersOnFile, QueryRecoveryAgents, FileKeyInfo
    ("c681d488-d850-11d0-8c52-00c04fd90f7e", &[0, 4, 5, 6, 7, 12], Purpose::Coerce, "encrypting file system"),
    ("df1941c5-fe89-4e79-bf10-463657acf44d", &[0, 4, 5, 6, 7, 12], Purpose::Coerce, "encrypting file system"),
    // [MS-DFSNM] NetrDfsAddStdRoot, NetrDfsRemoveStdRoot
    ("4fc742e0-4a10-11cf-8273-00aa004ae673", &[12, 13], Purpose::Coerce, "distributed file system"),
    // [MS-SRVS] connections, files, sessions, shares; [MS-WKST] users
    ("4b324fc8-1670-01d3-1278-5a47bf6ee188", &[8, 9, 12, 15, 36], Purpose::Ask, "shares and sessions"),
    ("6bffd098-a112-3610-9833-46c3f87e345a", &[2], Purpose::Ask, "logged on users"),
    // [MS-SAMR] enumerations, lookups, members
    (
        "12345778-1234-abcd-ef00-0123456789ac",
        &[11, 13, 15, 16, 17, 18, 25, 27, 33, 40, 51],
        Purpose::Ask,
        "accounts and groups",
    ),
    // [MS-EVEN] ClearEventLog (W, A)
    ("82273fdc-e32a-18c3-3f78-827929dc23ea", &[0, 12], Purpose::Clear, "event log"),
];

fn purpose(call: &DceRpc) -> Option<(Purpose, &'static str)> {
    if call.kind != Kind::Request {
        return None;
    }
    let (interface, operation) = (call.interface.as_deref()?, call.operation?);
    CALLS
        .iter()
        .find(|(uuid, operations, ..)| *uuid == interface && operations.contains(&operation))
        .map(|(_, _, purpose, name)| (*purpose, *name))
}

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
}

impl Default for RemoteCalls {
    fn default() -> Self {
        Self { callers: Table::new(CAPACITY, MEMORY_NS), controllers: Table::new(CONTROLLERS, CONTROLLER_NS) }
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
                if let Some((purpose, name)) = purpose(call) {
                    self.call(now_ns, (flow, *from), call, (purpose, name), out);
                }
            }
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.callers.evicted() + self.controllers.evicted()
    }
}

impl RemoteCalls {
    fn call(
        &mut self,
        now_ns: u64,
        (flow, from): (&FlowRecord, Side),
        call: &DceRpc,
        (purpose, name): (Purpose, &'static str),
        out: &mut Vec<Observation>,
    ) {
        let ((client, _), (server, _)) = speaker(flow, from);
        let controller = self.controllers.get(&client, now_ns).is_some();
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
            .with(Metric::DirectoryQuestions, caller.questions.len() as f64);
        let mut o = Observation::of_speaker(Subject::RemoteCalls, flow, from, caller.since_ns, values);
        let operation = call.operation.unwrap_or(0);
        o.detail = Some(match &call.pipe {
            Some(pipe) => format!("{name}, operation {operation}, pipe {pipe}").into(),
            None => format!("{name}, operation {operation}").into(),
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
        let remote = matches!(flow.talk.app, App::Smb | App::DceRpc | App::Ssh | App::Rdp)
            || (matches!(flow.talk.app, App::Http | App::Tls) && WINRM.contains(&port));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_interface_and_operation() {
        let call = |interface: &str, operation| DceRpc {
            kind: Kind::Request,
            interface: Some(interface.into()),
            operation: Some(operation),
            ..DceRpc::default()
        };
        for (interface, operation, expected) in [
            ("367abb81-9844-35f1-ad32-98f038001003", 12, Some(Purpose::Execute)),
            ("367abb81-9844-35f1-ad32-98f038001003", 0, None),
            ("e3514235-4b06-11d1-ab04-00c04fc2dcd2", 3, Some(Purpose::Replicate)),
            ("12345678-1234-abcd-ef00-01234567cffb", 26, Some(Purpose::Challenge)),
            ("12345678-1234-abcd-ef00-01234567cffb", 30, Some(Purpose::Secret)),
        ] {
            assert_eq!(
                purpose(&call(interface, operation)).map(|p| p.0),
                expected,
                "{interface} {operation}"
            );
        }
        assert_eq!(purpose(&DceRpc { kind: Kind::Response, ..call(CALLS[0].0, 12) }), None);
    }

    #[test]
    fn interfaces_are_written_as_the_dissector_writes_them() {
        for (uuid, operations, ..) in CALLS {
            assert_eq!(uuid.len(), 36);
            assert!(uuid.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
            assert!(!operations.is_empty());
            assert_ne!(first_word(uuid), 0, "{uuid}");
        }
    }
}
