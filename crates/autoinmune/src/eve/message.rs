//! Events about messages: `dns`, `http`, `tls`, `ssh`, `smb`, `dcerpc`, `modbus`, `ftp`, `dhcp`, `krb5`, and `anomaly` for broken
//! protocols. One event per message, as far as the published schema has a place for it; nothing of passwords or bodies is
//! known here, let alone written.

use super::{Context, Event};
use flow::Conversation;
use serde_json::{Value, json};
use wire::message::dcerpc::DceRpc;
use wire::message::dhcp::Dhcp;
use wire::message::dns::Dns;
use wire::message::ftp::Ftp;
use wire::message::kerberos::{Kerberos, Kind, etype};
use wire::message::modbus::Modbus;
use wire::message::smb::Smb;
use wire::message::{Message, Side, Violation};

/// The event of a message of `flow`, sent by `from`; `None` for those that say nothing of their own (ends of bodies).
pub fn message(
    context: &Context,
    at_ns: u64,
    flow: &Conversation,
    from: Side,
    message: &Message,
) -> Option<String> {
    let (kind, value) = match message {
        Message::Dns(m) => ("dns", dns(m)),
        Message::HttpRequest(m) => (
            "http",
            json!({
                "hostname": m.host, "url": m.target, "http_method": m.method, "http_user_agent": m.user_agent,
                "protocol": format!("HTTP/1.{}", m.minor),
            }),
        ),
        Message::HttpResponse(m) => (
            "http",
            json!({
                "status": m.status, "http_content_type": m.content_type, "length": m.content_length,
                "protocol": format!("HTTP/1.{}", m.minor),
            }),
        ),
        Message::HttpBody(_) => return None,
        Message::TlsClientHello(m) => (
            "tls",
            json!({
                "sni": m.sni, "client_alpns": m.alpn.iter().collect::<Vec<_>>(), "ja3": {"hash": m.ja3}, "ja4": m.ja4,
            }),
        ),
        Message::TlsServerHello(m) => {
            ("tls", json!({"version": tls_version(m.version), "ja3s": {"hash": m.ja3s}}))
        }
        Message::SshBanner(m) => {
            let end = if m.from == Side::Client { "client" } else { "server" };
            ("ssh", json!({end: {"proto_version": m.protocol, "software_version": m.software}}))
        }
        Message::SshAuth(m) => {
            return Some(ours(context, at_ns, flow, from, json!({"ssh_auth": m})));
        }
        Message::Smb(m) => ("smb", smb(m)),
        Message::DceRpc(m) => ("dcerpc", dcerpc(m)),
        Message::Modbus(m) => ("modbus", modbus(m)),
        Message::Kerberos(m) => ("krb5", krb5(m)),
        Message::Ftp(Ftp::Command { verb, user }) => ("ftp", json!({"command": verb, "command_data": user})),
        Message::Ftp(Ftp::Reply { code }) => ("ftp", json!({"completion_code": [code.to_string()]})),
        Message::Dhcp(m) => ("dhcp", dhcp(m)),
        Message::Violation(v) => return Some(violation(context, at_ns, flow, from, *v)),
    };
    let mut event = of_flow(context, at_ns, kind, flow, from, json!({}));
    event.message.insert(kind, without_nulls(value));
    Some(event.line())
}

/// An event with the ends of a flow, the speaker as source.
fn of_flow(
    context: &Context,
    at_ns: u64,
    kind: &'static str,
    flow: &Conversation,
    from: Side,
    ours: Value,
) -> Event {
    let mut event = Event::new(context, at_ns, kind, ours);
    let (client, server) = (flow.initiator(), flow.responder());
    let (src, dst) = if from == Side::Client { (client, server) } else { (server, client) };
    event.src_ip = Some(src.0.ip());
    event.src_port = Some(src.1);
    event.dest_ip = Some(dst.0.ip());
    event.dest_port = Some(dst.1);
    event.ip_v = Some(if src.0.is_v4() { 4 } else { 6 });
    event.proto = Some(super::protocol_name(flow.key.protocol));
    event.flow_id = Some(super::flow_id(&flow.key, flow.first_ns));
    event.community_id = Some(flow.community_id(0));
    event.app_proto = Some(flow.app.name());
    event
}

/// An event for what the schema has no place for: everything under our own object.
fn ours(context: &Context, at_ns: u64, flow: &Conversation, from: Side, value: Value) -> String {
    of_flow(context, at_ns, "ssh", flow, from, value).line()
}

fn violation(context: &Context, at_ns: u64, flow: &Conversation, from: Side, v: Violation) -> String {
    let mut event = of_flow(context, at_ns, "anomaly", flow, from, json!({}));
    let event_name = format!("{}_{}", v.app.name(), v.what);
    event.anomaly = Some(json!({
        "type": "applayer", "event": event_name, "layer": "proto_parser", "app_proto": v.app.name(),
    }));
    event.line()
}

fn dns(m: &Dns) -> Value {
    let query = json!([{"rrname": m.name, "rrtype": rrtype(m.qtype)}]);
    json!({
        "version": 3,
        "type": if m.response { "response" } else { "request" },
        "id": m.id,
        "opcode": m.opcode,
        "rcode": m.response.then(|| rcode(m.rcode)),
        "tc": m.truncated.then_some(true),
        "rd": m.recursion.then_some(true),
        "queries": query,
        "grouped": (!m.addresses.is_empty()).then(|| addresses(m)),
    })
}

fn addresses(m: &Dns) -> Value {
    let of = |v4: bool| -> Option<Vec<String>> {
        let some: Vec<String> =
            m.addresses.iter().filter(|a| a.is_v4() == v4).map(ToString::to_string).collect();
        (!some.is_empty()).then_some(some)
    };
    json!({"A": of(true), "AAAA": of(false)})
}

/// Names of record types (IANA); others as `TYPEn` (RFC 3597).
fn rrtype(n: u16) -> String {
    match n {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        24 => "SIG",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        46 => "RRSIG",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        n => return format!("TYPE{n}"),
    }
    .to_owned()
}

/// Names of response codes (IANA).
fn rcode(n: u8) -> String {
    match n {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        n => return n.to_string(),
    }
    .to_owned()
}

fn tls_version(v: u16) -> String {
    match v {
        0x0300 => "SSLv3",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        v => return format!("0x{v:04x}"),
    }
    .to_owned()
}

fn smb(m: &Smb) -> Value {
    let (share, file) = if m.share { (m.name.as_deref(), None) } else { (None, m.name.as_deref()) };
    json!({
        "command": format!("SMB{}_{:#04x}", m.version, m.command),
        "dialect": m.dialect.map(|d| format!("{:x}.{:02x}", d >> 8, d & 0xff)),
        "share": share,
        "filename": file,
        "size": (m.written > 0).then_some(m.written),
        "status_code": m.response.then(|| format!("0x{:x}", m.status)),
        "ntlmssp": m.user.as_deref().map(|user| json!({"user": user})),
    })
}

fn dcerpc(m: &DceRpc) -> Value {
    json!({
        "request": format!("{:?}", m.kind).to_uppercase(),
        "interfaces": m.interface.as_deref().map(|uuid| json!([{"uuid": uuid}])),
        "req": m.operation.map(|n| json!({"opnum": n, "stub_data_size": m.stub_bytes})),
    })
}

fn modbus(m: &Modbus) -> Value {
    let side = json!({
        "transaction_id": m.transaction,
        "unit_id": m.unit,
        "function_raw": m.function,
        "exception": m.exception.map(|code| json!({"raw": code})),
        "read": m.address.filter(|_| !m.response && (1..=4).contains(&m.function))
            .map(|address| json!({"address": address, "quantity": m.quantity})),
    });
    json!({ (if m.response { "response" } else { "request" }): side })
}

fn krb5(m: &Kerberos) -> Value {
    let reply = matches!(m.kind, Kind::AsRep | Kind::TgsRep);
    let sealed = m.etype.filter(|_| reply);
    json!({
        "msg_type": krb5_kind(m.kind),
        "realm": m.realm,
        "cname": m.client,
        "sname": m.server,
        "encryption": sealed.map(krb5_etype),
        "weak_encryption": sealed.map(etype::is_weak),
        "ticket_encryption": m.ticket_etype.map(krb5_etype),
        "ticket_weak_encryption": m.ticket_etype.map(etype::is_weak),
        "error_code": m.error.map(krb5_error),
    })
}

fn krb5_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::AsReq => "KRB_AS_REQ",
        Kind::AsRep => "KRB_AS_REP",
        Kind::TgsReq => "KRB_TGS_REQ",
        Kind::TgsRep => "KRB_TGS_REP",
        Kind::ApReq => "KRB_AP_REQ",
        Kind::ApRep => "KRB_AP_REP",
        Kind::Other => "KRB_OTHER",
        Kind::Error => "KRB_ERROR",
    }
}

/// Names of encryption types (IANA, Kerberos Encryption Type Numbers); others by number.
fn krb5_etype(n: i32) -> String {
    match n {
        1 => "des-cbc-crc",
        3 => "des-cbc-md5",
        16 => "des3-cbc-sha1-kd",
        17 => "aes128-cts-hmac-sha1-96",
        18 => "aes256-cts-hmac-sha1-96",
        19 => "aes128-cts-hmac-sha256-128",
        20 => "aes256-cts-hmac-sha384-192",
        23 => "rc4-hmac",
        24 => "rc4-hmac-exp",
        n => return n.to_string(),
    }
    .to_owned()
}

/// Names of the errors that matter most (RFC 4120 §7.5.9); others by number.
fn krb5_error(n: i32) -> String {
    match n {
        6 => "KDC_ERR_C_PRINCIPAL_UNKNOWN",
        7 => "KDC_ERR_S_PRINCIPAL_UNKNOWN",
        12 => "KDC_ERR_POLICY",
        13 => "KDC_ERR_BADOPTION",
        14 => "KDC_ERR_ETYPE_NOSUPP",
        18 => "KDC_ERR_CLIENT_REVOKED",
        23 => "KDC_ERR_KEY_EXPIRED",
        24 => "KDC_ERR_PREAUTH_FAILED",
        25 => "KDC_ERR_PREAUTH_REQUIRED",
        32 => "KRB_AP_ERR_TKT_EXPIRED",
        37 => "KRB_AP_ERR_SKEW",
        52 => "KRB_ERR_RESPONSE_TOO_BIG",
        68 => "KDC_ERR_WRONG_REALM",
        n => return n.to_string(),
    }
    .to_owned()
}

fn dhcp(m: &Dhcp) -> Value {
    let kind = match m.kind {
        1 => "discover",
        2 => "offer",
        3 => "request",
        4 => "decline",
        5 => "ack",
        6 => "nak",
        7 => "release",
        8 => "inform",
        _ => "unknown",
    };
    let [a, b, c, d, e, f] = m.client;
    json!({
        "type": if m.reply { "reply" } else { "request" },
        "dhcp_type": kind,
        "id": m.transaction,
        "client_mac": format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        "assigned_ip": m.given.map(|a| a.to_string()),
        "next_server_ip": m.server.map(|a| a.to_string()),
        "routers": m.router.map(|a| [a.to_string()]),
        "dns_servers": m.name_server.map(|a| [a.to_string()]),
    })
}

/// What is absent is left out rather than null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        other => other,
    }
}
