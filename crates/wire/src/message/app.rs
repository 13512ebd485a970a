//! Applications, told apart by what both sides say rather than by port.

use serde::{Deserialize, Serialize};

/// An application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum App {
    /// None of these, or nothing said yet.
    #[default]
    Unknown,
    /// SSH, RFC 4253 §4.2: the identification string.
    Ssh,
    /// FTP control connection, RFC 959.
    Ftp,
    /// Telnet, RFC 854: option negotiation.
    Telnet,
    /// Remote Desktop: X.224 connection request in a TPKT (RFC 1006).
    Rdp,
    /// HTTP/1.x, RFC 9112.
    Http,
    /// TLS, RFC 8446: a handshake record.
    Tls,
    /// SMTP, RFC 5321.
    Smtp,
    /// DNS, RFC 1035; multicast DNS and LLMNR too.
    Dns,
    /// Server Message Block, any version.
    Smb,
    /// DCE/RPC over TCP.
    DceRpc,
    /// Modbus/TCP.
    Modbus,
    /// DHCP for IPv4.
    Dhcp,
    /// NTP, RFC 5905.
    Ntp,
    /// SNMP.
    Snmp,
    /// SSDP.
    Ssdp,
    /// The memcached protocol over UDP.
    Memcached,
    /// LDAP over UDP.
    Cldap,
    /// QUIC, RFC 9000.
    Quic,
}

/// Request lines and their beginnings, RFC 9110 §9.3, and the HTTP/2 preface, within eight bytes.
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET /",
    b"POST /",
    b"HEAD /",
    b"PUT /",
    b"DELETE /",
    b"OPTIONS ",
    b"PATCH /",
    b"CONNECT ",
    b"TRACE /",
    b"PRI * HT",
];
/// What FTP clients say first.
const FTP_COMMANDS: [&[u8]; 6] = [b"USER ", b"AUTH TLS", b"AUTH SSL", b"FEAT\r", b"SYST\r", b"PASS "];
/// What SMTP clients say first.
const SMTP_COMMANDS: [&[u8]; 3] = [b"EHLO ", b"HELO ", b"LHLO "];

impl App {
    /// The application of a TCP stream from the first bytes of both sides; eight of each are enough for those that can
    /// be told at all, missing ones zero.
    #[must_use]
    pub fn of_stream(ask: &[u8; 8], answer: &[u8; 8]) -> Self {
        let either = |test: fn(&[u8; 8]) -> bool| test(ask) || test(answer);
        let asks = |words: &[&[u8]]| words.iter().any(|w| upper(ask).starts_with(w));
        if either(|h| h.starts_with(b"SSH-")) {
            Self::Ssh
        } else if HTTP_METHODS.iter().any(|m| ask.starts_with(m)) || answer.starts_with(b"HTTP/1.") {
            Self::Http
        } else if either(is_tls) {
            Self::Tls
        } else if is_rdp(ask) {
            Self::Rdp
        } else if either(is_telnet) {
            Self::Telnet
        } else if asks(&SMTP_COMMANDS) {
            Self::Smtp
        } else if asks(&FTP_COMMANDS) && (answer.starts_with(b"220") || *answer == [0; 8]) {
            Self::Ftp
        } else {
            greeting(answer)
        }
    }

    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ssh => "ssh",
            Self::Ftp => "ftp",
            Self::Telnet => "telnet",
            Self::Rdp => "rdp",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Smtp => "smtp",
            Self::Dns => "dns",
            Self::Smb => "smb",
            Self::DceRpc => "dcerpc",
            Self::Modbus => "modbus",
            Self::Dhcp => "dhcp",
            Self::Ntp => "ntp",
            Self::Snmp => "snmp",
            Self::Ssdp => "ssdp",
            Self::Memcached => "memcached",
            Self::Cldap => "cldap",
            Self::Quic => "quic",
        }
    }
}

fn upper(head: &[u8; 8]) -> [u8; 8] {
    head.map(|b| b.to_ascii_uppercase())
}

/// Handshake record (22), version 3.0 to 3.4, and a length the first record can have.
fn is_tls(h: &[u8; 8]) -> bool {
    let length = u16::from_be_bytes([h[3], h[4]]);
    h[0] == 0x16 && h[1] == 3 && h[2] <= 4 && (4..=16_640).contains(&length) && matches!(h[5], 1 | 2)
}

/// TPKT version 3, reserved 0, then an X.224 connection request (0xe0) whose length fits the packet's.
fn is_rdp(h: &[u8; 8]) -> bool {
    let length = u16::from_be_bytes([h[2], h[3]]);
    h[0] == 3 && h[1] == 0 && h[5] == 0xe0 && u16::from(h[4]) + 5 == length
}

/// IAC with WILL, WONT, DO or DONT.
fn is_telnet(h: &[u8; 8]) -> bool {
    h[0] == 0xff && (0xfb..=0xfe).contains(&h[1])
}

/// FTP or SMTP by a server's greeting alone: both begin with 220, so only a name in the four bytes after it helps.
fn greeting(h: &[u8; 8]) -> App {
    match upper(h) {
        [b'2', b'2', b'0', b' ' | b'-', b'F', b'T', b'P', _]
        | [b'2', b'2', b'0', b' ' | b'-', b'(', b'V', b'S', b'F']
        | [b'2', b'2', b'0', b' ' | b'-', b'P', b'R', b'O', b'F'] => App::Ftp,
        _ => App::Unknown,
    }
}
