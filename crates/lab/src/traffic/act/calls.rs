//! Remote procedure calls (DCE/RPC) over named pipes and TCP: what administrators call, and intruders.
//!
//! Of each call the interface, the operation and a plausible length are real; its data is zeros, which read as null pointers
//! and handles of nothing.

use super::actor::{Actor, Line};
use super::smb::{Purpose, Session};
use super::{Kind, Parameter, parameter};
use crate::serve::{NDR, USER, pdu};
use crate::traffic::TrafficError;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What an intruder or administrator is about.
struct Errand {
    name: &'static str,
    /// The pipe of the interface.
    pipe: &'static str,
    /// The interface, as its UUID lies on the wire, and its version.
    interface: [u8; 20],
    /// Operations in order, each with the bytes of its data.
    operations: &'static [(u16, usize)],
}

/// A UUID of five groups, in the order of the wire: the first three little-endian.
const fn interface(groups: (u32, u16, u16, [u8; 8]), version: u16) -> [u8; 20] {
    let (a, b, c, d) = (groups.0.to_le_bytes(), groups.1.to_le_bytes(), groups.2.to_le_bytes(), groups.3);
    let v = version.to_le_bytes();
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], v[0],
        v[1], 0, 0,
    ]
}

const SVCCTL: [u8; 20] =
    interface((0x367a_bb81, 0x9844, 0x35f1, [0xad, 0x32, 0x98, 0xf0, 0x38, 0, 0x10, 3]), 2);
const DRSUAPI: [u8; 20] =
    interface((0xe351_4235, 0x4b06, 0x11d1, [0xab, 4, 0, 0xc0, 0x4f, 0xc2, 0xdc, 0xd2]), 4);
const SAMR: [u8; 20] =
    interface((0x1234_5778, 0x1234, 0xabcd, [0xef, 0, 1, 0x23, 0x45, 0x67, 0x89, 0xac]), 1);
const SRVSVC: [u8; 20] =
    interface((0x4b32_4fc8, 0x1670, 0x01d3, [0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88]), 3);
const EFSRPC: [u8; 20] =
    interface((0xc681_d488, 0xd850, 0x11d0, [0x8c, 0x52, 0, 0xc0, 0x4f, 0xd9, 0x0f, 0x7e]), 1);
const BACKUP_KEY: [u8; 20] =
    interface((0x3dde_7c30, 0x165d, 0x11d1, [0xab, 0x8f, 0, 0x80, 0x5f, 0x14, 0xdb, 0x40]), 1);

const ERRANDS: [Errand; 7] = [
    // OpenSCManager, CreateService, StartService, DeleteService, CloseServiceHandle: [MS-SCMR].
    Errand {
        name: "service",
        pipe: "svcctl",
        interface: SVCCTL,
        operations: &[(15, 60), (12, 240), (19, 32), (2, 20), (0, 20)],
    },
    // OpenSCManager, EnumServicesStatus, CloseServiceHandle: how services are looked at.
    Errand {
        name: "service_list",
        pipe: "svcctl",
        interface: SVCCTL,
        operations: &[(15, 60), (14, 48), (0, 20)],
    },
    // DRSBind, DRSGetNCChanges: [MS-DRSR].
    Errand {
        name: "replication",
        pipe: "drsuapi",
        interface: DRSUAPI,
        operations: &[(0, 80), (3, 220), (1, 20)],
    },
    // SamrConnect5, EnumerateDomains, OpenDomain, EnumerateUsers, EnumerateGroups, EnumerateAliases: [MS-SAMR].
    Errand {
        name: "accounts",
        pipe: "samr",
        interface: SAMR,
        operations: &[(64, 60), (6, 28), (7, 52), (13, 32), (11, 32), (15, 32), (1, 20)],
    },
    // NetrShareEnum, NetrSessionEnum, NetrConnectionEnum: [MS-SRVS].
    Errand { name: "shares", pipe: "srvsvc", interface: SRVSVC, operations: &[(15, 76), (12, 80), (8, 80)] },
    // EfsRpcOpenFileRaw: [MS-EFSR].
    Errand { name: "coercion", pipe: "lsarpc", interface: EFSRPC, operations: &[(0, 120)] },
    // BackuprKey: [MS-BKRP].
    Errand { name: "backup_key", pipe: "protected_storage", interface: BACKUP_KEY, operations: &[(0, 64)] },
];

pub(super) const PARAMETERS: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGETS,
    Parameter::new(
        "errand",
        Kind::Choice(&[
            "service",
            "service_list",
            "replication",
            "accounts",
            "shares",
            "coercion",
            "backup_key",
        ]),
        "what is called for",
    )
    .or("service"),
    Parameter::new("over", Kind::Choice(&["smb", "tcp"]), "named pipes of SMB, or TCP directly").or("smb"),
    Parameter::new("port", Kind::Number(0, 65_535), "port of the targets; 0 for 445 or 135").or("0"),
    Parameter::new("pause_ms", Kind::Number(0, 10_000), "pause between targets, ms").or("500"),
    parameter::seconds("30"),
];

/// Runs one errand at each target in turn.
pub(super) fn run(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let wanted = actor.values.word("errand");
    let Some(errand) = ERRANDS.iter().find(|e| e.name == wanted) else { return Ok(()) };
    let pause = Duration::from_millis(actor.values.number("pause_ms"));
    for target in actor.values.addrs("targets") {
        let _ = actor.attempt(|| visit(actor, *target, errand));
        if !actor.sleep(pause) {
            break;
        }
    }
    Ok(())
}

fn visit(actor: &Actor<'_>, target: IpAddr, errand: &Errand) -> io::Result<()> {
    let pipes = actor.values.word("over") == "smb";
    let port = match (actor.values.port("port"), pipes) {
        (0, true) => 445,
        (0, false) => 135,
        (port, _) => port,
    };
    let mut line = actor.connect(actor.source(), SocketAddr::new(target, port))?;
    if pipes {
        let mut session = Session::open(line, USER)?;
        session.connect(&target.to_string(), "IPC$")?;
        let pipe = session.create(errand.pipe, Purpose::Use)?;
        call(errand, |unit| session.transceive(pipe, unit))?;
        session.close(pipe)
    } else {
        call(errand, |unit| {
            line.write_all(unit)?;
            read_unit(&mut line)
        })
    }
}

/// Binds the interface and makes the calls; `exchange` carries a unit there and its answer back.
fn call(errand: &Errand, mut exchange: impl FnMut(&[u8]) -> io::Result<Vec<u8>>) -> io::Result<()> {
    exchange(&bind(&errand.interface))?;
    for ((operation, len), id) in errand.operations.iter().zip(2..) {
        let mut body = u32::try_from(*len).unwrap_or(0).to_le_bytes().to_vec();
        body.extend([0, 0]);
        body.extend(operation.to_le_bytes());
        body.extend(vec![0; *len]);
        exchange(&pdu(0, &u32::to_le_bytes(id), &body))?;
    }
    Ok(())
}

fn bind(interface: &[u8; 20]) -> Vec<u8> {
    let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0];
    body.extend(interface);
    body.extend(NDR);
    pdu(11, &[1, 0, 0, 0], &body)
}

fn read_unit(line: &mut Line<'_>) -> io::Result<Vec<u8>> {
    let mut out = vec![0; 16];
    line.read_exact(&mut out)?;
    let length = usize::from(u16::from_le_bytes([out[8], out[9]]));
    if length < out.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    out.resize(length, 0);
    line.read_exact(&mut out[16..])?;
    Ok(out)
}
