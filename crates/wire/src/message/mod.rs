//! Streams and datagrams to messages: what applications say to each other, recognised by content.
//!
//! A [`Dissector`] reads one flow of one protocol. It is fed the contiguous bytes of both directions in order, keeps
//! only what it must between calls, and appends the [`Message`]s it completed. It never sees a clock and never fails:
//! bytes that cannot be what they claim become a [`Message::Violation`], and a dissector that cannot go on says
//! [`Next::Done`]. Text from the network is bounded and lossily decoded where it is made; limits are constants beside
//! each parser.

pub mod app;
pub mod arp;
mod bytes;
pub mod dcerpc;
pub mod dhcp;
pub mod dns;
pub mod ftp;
pub mod http;
pub mod kerberos;
pub mod modbus;
pub mod smb;
pub mod ssh;
pub mod tls;

pub use app::App;
use serde::Serialize;

/// Which end of a flow speaks: the one that began it, or the one that was contacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Side {
    /// The initiator of the flow.
    Client = 0,
    /// The responder.
    Server = 1,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One application-level unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A DNS query or answer, over UDP or TCP; multicast DNS and LLMNR too.
    Dns(dns::Dns),
    /// The head of an HTTP/1 request.
    HttpRequest(http::Request),
    /// The head of an HTTP/1 response.
    HttpResponse(http::Response),
    /// An HTTP/1 body came to its end.
    HttpBody(http::Body),
    /// A TLS ClientHello.
    TlsClientHello(tls::ClientHello),
    /// A TLS ServerHello.
    TlsServerHello(tls::ServerHello),
    /// An SSH identification string.
    SshBanner(ssh::Banner),
    /// What sizes tell about an SSH authentication.
    SshAuth(ssh::Auth),
    /// An SMB request or response.
    Smb(smb::Smb),
    /// A DCE/RPC call, over TCP or in a named pipe.
    DceRpc(dcerpc::DceRpc),
    /// A Modbus/TCP request or response.
    Modbus(modbus::Modbus),
    /// A Kerberos message between a client and the key distribution centre.
    Kerberos(Box<kerberos::Kerberos>),
    /// An FTP command or reply.
    Ftp(ftp::Ftp),
    /// A DHCP message.
    Dhcp(dhcp::Dhcp),
    /// Bytes that break the rules of the protocol they belong to.
    Violation(Violation),
}

/// A broken rule of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Violation {
    /// The protocol.
    pub app: App,
    /// What is wrong, in snake case: a fixed list beside each parser.
    pub what: &'static str,
}

/// What a dissector wants next from the direction it was just fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on. Bytes not consumed are kept and fed again, with what follows them.
    More,
    /// Leave out this many bytes after the consumed ones without looking at them, then go on.
    Skip(u64),
    /// Nothing more from this direction.
    Enough,
    /// Nothing more from either direction: all is known, or the flow turned opaque.
    Done,
}

/// The outcome of feeding a dissector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are dealt with; at most its length.
    pub consumed: usize,
    /// What to do next.
    pub next: Next,
}

/// Most bytes a dissector may leave unconsumed in one direction. Beyond, the session counts an overrun and calls
/// [`Dissector::gap`] for what it drops.
pub const MAX_UNCONSUMED: usize = 16 * 1024;

/// A reader of one flow of one protocol; see the module.
pub trait Dissector: std::fmt::Debug + Send {
    /// Takes `bytes`, the next contiguous ones that `from` sent, unconsumed earlier ones first. For datagrams `bytes` is
    /// one whole datagram and what is not consumed is dropped.
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress;

    /// `missing` bytes that `from` sent will never come; `data` continues behind them. Framing may be lost.
    fn gap(&mut self, from: Side, missing: u64) -> Next;

    /// Encrypted or opaque payload sizes still matter (SSH): called with the stated length of each further payload after
    /// [`Next::Enough`], in place of bytes. Most dissectors ignore it.
    fn size(&mut self, _from: Side, _length: u32, _out: &mut Vec<Message>) {}
}

/// The dissector for a recognised application over a transport; `None` where recognition is all there is.
///
/// `protocol` is the IP protocol of the flow: over TCP (6) both directions are streams, over anything else every call
/// of [`Dissector::data`] hands in one datagram. DNS and Kerberos are spoken both ways, so
/// their readers are told.
#[must_use]
pub fn dissector(app: App, protocol: u8) -> Option<Box<dyn Dissector>> {
    Some(match app {
        App::Dns if protocol == crate::packet::protocol::TCP => Box::new(dns::Dissector::stream()),
        App::Dns => Box::new(dns::Dissector::datagram()),
        App::Http => Box::<http::Dissector>::default(),
        App::Tls => Box::<tls::Dissector>::default(),
        App::Ssh => Box::<ssh::Dissector>::default(),
        App::Smb => Box::<smb::Dissector>::default(),
        App::DceRpc => Box::<dcerpc::Dissector>::default(),
        App::Modbus => Box::<modbus::Dissector>::default(),
        App::Kerberos if protocol == crate::packet::protocol::TCP => Box::new(kerberos::Dissector::stream()),
        App::Kerberos => Box::new(kerberos::Dissector::datagram()),
        App::Ftp => Box::<ftp::Dissector>::default(),
        App::Dhcp => Box::<dhcp::Dissector>::default(),
        _ => return None,
    })
}
