//! Applications, told apart by what both sides say rather than by port.
//!
//! [`stream`] judges the first bytes of a TCP connection, [`datagram`] the first datagram of each side of a flow over
//! UDP. Both say [`Recognition::Is`] only where chance is unlikely to say the same: four bytes of magic, a line of text
//! that other protocols do not have, or fields that must agree with each other and with the length. Where one side
//! alone is too weak (a greeting `220`, a Modbus header) both must agree. Ports decide only between readings that the
//! content leaves open, and only for datagrams.

mod datagram;
mod shape;
mod stream;

pub use datagram::datagram;
use serde::{Deserialize, Serialize};
pub use stream::stream;

/// Most bytes of each side that recognition looks at. DHCP's cookie, the last mark of all, ends at 240.
pub const LOOK: usize = 256;

/// What the beginning of a flow tells about its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recognition {
    /// It is this one.
    Is(App),
    /// Nothing yet: more bytes, or the other side, may tell.
    Undecided,
    /// None that is known here; more bytes will not tell.
    No,
}

macro_rules! apps {
    ($($(#[$doc:meta])* $variant:ident $name:literal [$($port:literal),*];)*) => {
        /// An application protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        pub enum App {
            /// None of these, or nothing said yet.
            #[default]
            #[serde(rename = "unknown")]
            Unknown,
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl App {
            /// Every application that can be told.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name as serialised.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Unknown => "unknown",
                    $(Self::$variant => $name,)*
                }
            }

            /// Ports of the responder on which the application is nothing to wonder about: those registered for it and
            /// those in wide use. Empty where any port is usual.
            #[must_use]
            pub const fn usual_ports(self) -> &'static [u16] {
                match self {
                    Self::Unknown => &[],
                    $(Self::$variant => &[$($port),*],)*
                }
            }
        }
    };
}

apps! {
    /// SSH, RFC 4253 §4.2: the identification string.
    Ssh "ssh" [22, 2222];
    /// FTP control connection, RFC 959.
    Ftp "ftp" [21, 2121];
    /// Telnet, RFC 854: option negotiation.
    Telnet "telnet" [23, 2323];
    /// Remote Desktop: X.224 connection request in a TPKT (RFC 1006).
    Rdp "rdp" [3389];
    /// HTTP/1.x, RFC 9112; the preface of HTTP/2 too.
    Http "http" [
        80, 81, 591, 631, 2869, 3000, 3128, 5000, 5357, 5985, 7001, 8000, 8001, 8008, 8080, 8081, 8082, 8088, 8090, 8443,
        8888, 9000, 9090, 9200, 47001
    ];
    /// TLS, RFC 8446: a handshake record. Any port is usual.
    Tls "tls" [];
    /// SMTP, RFC 5321.
    Smtp "smtp" [25, 465, 587, 2525];
    /// DNS, RFC 1035; multicast DNS and LLMNR too.
    Dns "dns" [53, 5353, 5355];
    /// Server Message Block, any version.
    Smb "smb" [139, 445];
    /// DCE/RPC over TCP. After the endpoint mapper at 135 it is spoken at any port.
    DceRpc "dcerpc" [];
    /// Modbus/TCP.
    Modbus "modbus" [502];
    /// DHCP for IPv4, RFC 2131.
    Dhcp "dhcp" [67, 68, 4011];
    /// NTP, RFC 5905.
    Ntp "ntp" [123];
    /// SNMP, RFC 3411.
    Snmp "snmp" [161, 162];
    /// SSDP, of UPnP. Answers go to any port.
    Ssdp "ssdp" [1900];
    /// The memcached protocol over UDP.
    Memcached "memcached" [11211];
    /// LDAP over UDP.
    Cldap "cldap" [389];
    /// QUIC, RFC 9000: a long header. Any port is usual.
    Quic "quic" [];
    /// POP3, RFC 1939.
    Pop3 "pop3" [110];
    /// IMAP, RFC 9051.
    Imap "imap" [143];
    /// LDAP over TCP, RFC 4511.
    Ldap "ldap" [389, 3268];
    /// Kerberos 5, RFC 4120.
    Kerberos "krb5" [88, 464];
    /// IRC, RFC 2812.
    Irc "irc" [194, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 7000];
    /// NetBIOS name service, RFC 1002 §4.2.
    Nbns "nbns" [137];
    /// RADIUS, RFC 2865.
    Radius "radius" [1645, 1646, 1812, 1813, 3799];
    /// Syslog over UDP, RFC 5424 and RFC 3164.
    Syslog "syslog" [514];
    /// SIP, RFC 3261.
    Sip "sip" [5060];
    /// RTSP, RFC 7826.
    Rtsp "rtsp" [554, 8554];
    /// STUN, RFC 8489. Any port is usual.
    Stun "stun" [];
    /// BitTorrent: the handshake of peers. Any port is usual.
    BitTorrent "bittorrent" [];
    /// MQTT: a CONNECT packet.
    Mqtt "mqtt" [1883];
}

impl App {
    /// The application of a TCP stream from the first eight bytes of both sides, missing ones zero. It knows less than
    /// [`stream`]: what eight bytes cannot tell is `Unknown`, and what they make likely is taken.
    #[must_use]
    pub fn of_stream(ask: &[u8; 8], answer: &[u8; 8]) -> Self {
        stream::of_heads(ask, answer)
    }
}
