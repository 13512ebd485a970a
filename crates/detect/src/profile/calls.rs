//! What remote procedure calls are for: a table of interfaces and operations.
//!
//! Numbers are those of the Microsoft Open Specifications named beside each. Much of a call is sealed; these two never are.

use Purpose::{Ask, Challenge, Clear, Coerce, Execute, Replicate, Secret};
use wire::message::dcerpc::{DceRpc, Kind};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
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
type Row = (&'static str, &'static [u16], Purpose, &'static str);

const SVCCTL: &str = "367abb81-9844-35f1-ad32-98f038001003";
const ATSVC: &str = "1ff70682-0a51-30e8-076d-740be8cee98b";
const TASKS: &str = "86d35949-83c9-4044-b424-db363231fd0c";
const ACTIVATOR: &str = "000001a0-0000-0000-c000-000000000046";
const ACTIVATION: &str = "4d9f4ab8-7d1c-11cf-861e-0020af6e7c57";
const WBEM: &str = "9556dc99-828c-11cf-a37e-00aa003240c7";
const WINREG: &str = "338cd001-2244-31f1-aaaa-900038001003";
const DRSUAPI: &str = "e3514235-4b06-11d1-ab04-00c04fc2dcd2";
const NETLOGON: &str = "12345678-1234-abcd-ef00-01234567cffb";
const BACKUP_KEY: &str = "3dde7c30-165d-11d1-ab8f-00805f14db40";
const LSARPC: &str = "12345778-1234-abcd-ef00-0123456789ab";
const SAMR: &str = "12345778-1234-abcd-ef00-0123456789ac";
const SPOOLSS: &str = "12345678-1234-abcd-ef00-0123456789ab";
const PRINTING: &str = "76f03f96-cdfd-44fc-a22c-64950a001209";
const EFSRPC: &str = "c681d488-d850-11d0-8c52-00c04fd90f7e";
const EFSRPC_OTHER: &str = "df1941c5-fe89-4e79-bf10-463657acf44d";
const DFSNM: &str = "4fc742e0-4a10-11cf-8273-00aa004ae673";
const FSRVP: &str = "a8e0653c-2744-4389-a61d-7373df8b2292";
const SRVSVC: &str = "4b324fc8-1670-01d3-1278-5a47bf6ee188";
const WKSSVC: &str = "6bffd098-a112-3610-9833-46c3f87e345a";
const EVENTLOG: &str = "82273fdc-e32a-18c3-3f78-827929dc23ea";
const EVENTLOG_6: &str = "f6beaff7-1e19-4fbb-9f8f-b89e2018337c";

const CALLS: &[Row] = &[
    // [MS-SCMR]: ChangeServiceConfig, CreateService, CreateServiceWOW64, StartService, each W and A
    (SVCCTL, &[11, 12, 19, 23, 24, 31, 44, 45, 60], Execute, "service control"),
    // [MS-TSCH]: NetrJobAdd; SchRpcRegisterTask, SchRpcRun
    (ATSVC, &[0], Execute, "at job"),
    (TASKS, &[1, 12], Execute, "task scheduler"),
    // [MS-DCOM]: RemoteGetClassObject, RemoteCreateInstance; RemoteActivation
    (ACTIVATOR, &[3, 4], Execute, "remote COM activation"),
    (ACTIVATION, &[0], Execute, "remote COM activation"),
    // [MS-WMI]: PutClass and PutInstance, which subscribe to events; ExecMethod, ExecMethodAsync
    (WBEM, &[8, 14, 24, 25], Execute, "WMI method"),
    // [MS-RPRN], [MS-PAR]: AddPrinterDriver, AddPrinterDriverEx; RpcAsyncAddPrinterDriver
    (SPOOLSS, &[9, 89], Execute, "printer driver"),
    (PRINTING, &[39], Execute, "printer driver"),
    // [MS-RRP]: SetValue; SaveKey, SaveKeyEx (the account database is a key)
    (WINREG, &[22], Execute, "remote registry"),
    (WINREG, &[20, 31], Secret, "registry key saved"),
    // [MS-DRSR]: GetNCChanges, ReplicaAdd
    (DRSUAPI, &[3, 5], Replicate, "directory replication"),
    // [MS-NRPC]: ServerReqChallenge, ServerAuthenticate2, 3; ServerPasswordSet, 2
    (NETLOGON, &[4, 15, 26], Challenge, "netlogon challenge"),
    (NETLOGON, &[6, 30], Secret, "machine password set"),
    // [MS-BKRP]
    (BACKUP_KEY, &[0], Secret, "backup key"),
    // [MS-LSAD]: OpenSecret, SetSecret, QuerySecret, AddAccountRights, StorePrivateData, RetrievePrivateData
    (LSARPC, &[28, 29, 30, 37, 42, 43], Secret, "LSA secret or right"),
    // [MS-SAMR]: SetInformationUser, ChangePasswordUser, OemChangePasswordUser2, UnicodeChangePasswordUser2,
    // SetInformationUser2, and the change of an administrator's recovery password
    (SAMR, &[37, 38, 54, 55, 58, 66], Secret, "account password"),
    // AddMemberToGroup, AddMemberToAlias, CreateUser2InDomain
    (SAMR, &[22, 31, 50], Secret, "account or group change"),
    // [MS-RPRN]: RemoteFindFirstPrinterChangeNotification, Ex
    (SPOOLSS, &[62, 65], Coerce, "printer notification"),
    // [MS-EFSR]: OpenFileRaw, EncryptFileSrv, DecryptFileSrv, QueryUsersOnFile, QueryRecoveryAgents, FileKeyInfo
    (EFSRPC, &[0, 4, 5, 6, 7, 12], Coerce, "encrypting file system"),
    (EFSRPC_OTHER, &[0, 4, 5, 6, 7, 12], Coerce, "encrypting file system"),
    // [MS-DFSNM]: NetrDfsAddStdRoot, NetrDfsRemoveStdRoot
    (DFSNM, &[12, 13], Coerce, "distributed file system"),
    // [MS-FSRVP]: IsPathSupported, IsPathShadowCopied
    (FSRVP, &[8, 9], Coerce, "shadow copies"),
    // [MS-SRVS]: connections, files, sessions, shares; [MS-WKST]: users
    (SRVSVC, &[8, 9, 12, 15, 36], Ask, "shares and sessions"),
    (WKSSVC, &[2], Ask, "logged on users"),
    // [MS-SAMR]: enumerations, lookups, members
    (SAMR, &[11, 13, 15, 16, 17, 18, 25, 27, 33, 40, 51], Ask, "accounts and groups"),
    // [MS-EVEN]: ClearEventLog, W and A; [MS-EVEN6]: EvtRpcClearLog
    (EVENTLOG, &[0, 12], Clear, "event log"),
    (EVENTLOG_6, &[6], Clear, "event log"),
];

/// What a call is for, and what people call it; `None` for all that is not in the table.
pub(super) fn purpose(call: &DceRpc) -> Option<(Purpose, &'static str)> {
    if call.kind != Kind::Request {
        return None;
    }
    let (interface, operation) = (call.interface.as_deref()?, call.operation?);
    CALLS
        .iter()
        .find(|(uuid, operations, ..)| *uuid == interface && operations.contains(&operation))
        .map(|(_, _, purpose, name)| (*purpose, *name))
}

/// Port of the endpoint mapper, which also activates remote objects.
const ENDPOINT_MAPPER: u16 = 135;
/// An activation carries a description of the object and of the caller; a question to the mapper has some 150 bytes.
const ACTIVATION_BYTES: u32 = 400;

/// A remote activation whose beginning was not seen, so that its interface is not known: a call 3 or 4 to the endpoint
/// mapper's port that is far too long for a question to the mapper.
pub(super) fn activation(call: &DceRpc, port: u16) -> Option<(Purpose, &'static str)> {
    let unknown = call.kind == Kind::Request && call.interface.is_none() && port == ENDPOINT_MAPPER;
    let long = matches!(call.operation, Some(3 | 4)) && call.stub_bytes >= ACTIVATION_BYTES;
    (unknown && long).then_some((Execute, "remote COM activation"))
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
            (SVCCTL, 12, Some(Execute)),
            (SVCCTL, 0, None),
            (DRSUAPI, 3, Some(Replicate)),
            (NETLOGON, 26, Some(Challenge)),
            (NETLOGON, 30, Some(Secret)),
            (SPOOLSS, 65, Some(Coerce)),
            (SPOOLSS, 89, Some(Execute)),
        ] {
            assert_eq!(
                purpose(&call(interface, operation)).map(|p| p.0),
                expected,
                "{interface} {operation}"
            );
        }
        assert_eq!(purpose(&DceRpc { kind: Kind::Response, ..call(SVCCTL, 12) }), None);
    }

    #[test]
    fn the_table_is_written_as_the_dissector_writes_and_names_each_call_once() {
        for (n, (uuid, operations, ..)) in CALLS.iter().enumerate() {
            assert_eq!(uuid.len(), 36);
            assert!(uuid.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
            let twice = CALLS[..n]
                .iter()
                .filter(|row| row.0 == *uuid)
                .any(|row| row.1.iter().any(|operation| operations.contains(operation)));
            assert!(!twice && !operations.is_empty(), "{uuid} {operations:?}");
        }
    }
}
