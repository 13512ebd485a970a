//! SSH: identification strings and key exchange (RFC 4253), and how an authentication turned out, by sizes.
//!
//! The key exchange is in clear text until each side's NEWKEYS, and names the cipher that follows. With it the size of
//! every packet of known content is known too: SERVICE_ACCEPT and, smallest of all, USERAUTH_SUCCESS (RFC 4252). What is
//! neither, and comes again and again in answer to the client, is USERAUTH_FAILURE: its list of methods stays the same.
//!
//! Limits. Sizes are those of segments: a server that sends its success together with other packets is not understood,
//! and neither are compression from the start or an unknown cipher; then nothing is said. The first refusal is often the
//! answer to the method `none`, by which clients ask for the list. Servers that accept a first key before they see its
//! signature, without having refused anything, make one false refusal.
//!
//! Violations: `no_banner`, `banner_too_long`, `packet_length` and `padding_length`; after them nothing more is read.

mod sizes;

use super::bytes::{be32, text};
use super::{App, Message, Next, Progress, Side, Violation};
use serde::Serialize;
use sizes::{Seal, Sealed};

/// An identification string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Banner {
    /// Who said it.
    pub from: Side,
    /// Protocol version, such as `2.0`.
    pub protocol: Box<str>,
    /// Software version and comment.
    pub software: Box<str>,
}

/// How an authentication turned out, judged by the sizes of encrypted packets. One for each refusal, and one for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Auth {
    /// Whether a session was opened; `false` for a refusal.
    pub success: bool,
    /// Refusals so far, this one included; the first may be of the method `none`.
    pub failures: u16,
}

/// Longest identification string, its line end included, RFC 4253 §4.2.
pub const MAX_BANNER: usize = 255;
/// Lines a server may say before its identification; RFC 4253 §4.2 sets no limit, and nobody needs more.
pub const MAX_PREFACE: u8 = 32;
/// Longest packet read before encryption, bytes: twice the largest key exchange with post-quantum methods.
pub const MAX_PACKET: usize = 8192;

const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;

/// How far one side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Banner,
    Clear,
    Sealed,
}

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {
    stage: [Stage; 2],
    preface: u8,
    /// Names of algorithms each side offered.
    offers: [Option<Box<[u8]>>; 2],
    sealed: Option<Sealed>,
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut consumed = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let taken = match self.stage.get(from as usize).copied().unwrap_or_default() {
                Stage::Banner => self.banner(from, rest, out),
                Stage::Clear => self.packet(from, rest),
                Stage::Sealed => {
                    if !rest.is_empty() {
                        self.payload(from, rest.len() as u32, out);
                    }
                    return Progress { consumed: bytes.len(), next: Next::Enough };
                }
            };
            match taken {
                Some(Ok(length)) => consumed += length,
                None => return Progress { consumed, next: Next::More },
                Some(Err(what)) => {
                    if let Some(what) = what {
                        out.push(Message::Violation(Violation { app: App::Ssh, what }));
                    }
                    return Progress { consumed: bytes.len(), next: Next::Done };
                }
            }
        }
    }

    fn gap(&mut self, _from: Side, _missing: u64) -> Next {
        // Without the whole key exchange no size can be told.
        Next::Done
    }

    fn size(&mut self, from: Side, length: u32, out: &mut Vec<Message>) {
        self.payload(from, length, out);
    }
}

/// Bytes taken; nothing yet; or the end, with what is wrong if something is.
type Taken = Option<Result<usize, Option<&'static str>>>;

impl Dissector {
    fn set_stage(&mut self, side: Side, stage: Stage) {
        if let Some(known) = self.stage.get_mut(side as usize) {
            *known = stage;
        }
    }

    /// A line: the identification or, of a server, one before it.
    fn banner(&mut self, from: Side, rest: &[u8], out: &mut Vec<Message>) -> Taken {
        let Some(end) = rest.iter().take(MAX_BANNER).position(|b| *b == b'\n') else {
            return (rest.len() >= MAX_BANNER).then_some(Err(Some("banner_too_long")));
        };
        let line = rest.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(named) = line.strip_prefix(b"SSH-") else {
            self.preface += 1;
            let allowed = from == Side::Server && self.preface <= MAX_PREFACE;
            return Some(if allowed { Ok(end + 1) } else { Err(Some("no_banner")) });
        };
        let dash = named.iter().position(|b| *b == b'-').unwrap_or(named.len());
        let (protocol, software) = named.split_at_checked(dash).unwrap_or_default();
        let software = text(software.strip_prefix(b"-").unwrap_or(software), MAX_BANNER);
        let modern = matches!(protocol, b"2.0" | b"1.99");
        out.push(Message::SshBanner(Banner { from, protocol: text(protocol, MAX_BANNER), software }));
        self.set_stage(from, Stage::Clear);
        // The packets of version 1 look otherwise, and nobody should speak it.
        Some(if modern { Ok(end + 1) } else { Err(None) })
    }

    /// A packet of the key exchange, RFC 4253 §6.
    fn packet(&mut self, from: Side, rest: &[u8]) -> Taken {
        let length = be32(rest, 0)? as usize;
        if !(2..=MAX_PACKET).contains(&length) {
            return Some(Err(Some("packet_length")));
        }
        let packet = rest.get(4..4 + length)?;
        let (padding, body) = packet.split_first()?;
        let Some((kind, content)) =
            body.get(..body.len().saturating_sub((*padding).into())).and_then(<[u8]>::split_first)
        else {
            return Some(Err(Some("padding_length")));
        };
        match *kind {
            // A cookie stands before the names.
            KEXINIT => {
                if let Some(offer) = self.offers.get_mut(from as usize) {
                    *offer = content.get(16..).map(Into::into);
                }
            }
            NEWKEYS => {
                self.set_stage(from, Stage::Sealed);
                if let [Some(client), Some(server)] = &self.offers
                    && self.sealed.is_none()
                {
                    self.sealed = Seal::agreed(client, server).map(Sealed::new);
                }
            }
            _ => {}
        }
        Some(Ok(4 + length))
    }

    fn payload(&mut self, from: Side, length: u32, out: &mut Vec<Message>) {
        if let Some(auth) = self.sealed.as_mut().and_then(|sealed| sealed.payload(from, length)) {
            out.push(Message::SshAuth(auth));
        }
    }
}
