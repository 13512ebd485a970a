//! Who logs in: SPNEGO (RFC 4178) around NTLM ([MS-NLMP]), without keys. The server looks at the name alone.
//!
//! Guests, the anonymous user and [`USERS`] are let in as guests; everybody else is refused as for a wrong password.

use super::message::{Body, text, utf16};

/// Users who are let in, whatever their password.
const USERS: [&str; 3] = ["lab", "guest", "backup"];
/// 1.3.6.1.5.5.2, SPNEGO.
const SPNEGO: [u8; 6] = [0x2b, 6, 1, 5, 5, 2];
/// 1.3.6.1.4.1.311.2.2.10, NTLM.
const NTLM: [u8; 10] = [0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10];
const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Unicode, target name, NTLM, always sign, type of target: server, extended session security, target information,
/// version, 128 and 56 bits, key exchange ([MS-NLMP] §2.2.2.5).
const FLAGS: u32 = 0xe28a_8215;
/// Not random: nothing is proven by it.
const CHALLENGE: [u8; 8] = *b"lab-lab-";

/// What became of a step of the login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To be sent; the client goes on.
    Continue(Vec<u8>),
    /// Logged in; to be sent.
    Accept(Vec<u8>),
    /// The name is not let in.
    Refuse,
}

/// One DER element of up to 64 KB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut out = vec![tag];
    match (high, low) {
        (0, 0..=127) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend(content);
    out
}

/// What the negotiation offers: NTLM and nothing else.
pub(super) fn offer() -> Vec<u8> {
    let mechanisms = der(0xa0, &der(0x30, &der(6, &NTLM)));
    der(0x60, &[der(6, &SPNEGO), der(0xa0, &der(0x30, &mechanisms))].concat())
}

/// `NegTokenResp`: 0 completed, 1 incomplete.
fn respond(state: u8, token: Option<&[u8]>) -> Vec<u8> {
    let mut parts = der(0xa0, &der(0x0a, &[state]));
    if let Some(token) = token {
        parts.extend(der(0xa1, &der(6, &NTLM)));
        parts.extend(der(0xa2, &der(4, token)));
    }
    der(0xa1, &der(0x30, &parts))
}

/// Takes a token of a session setup.
pub(super) fn step(token: &[u8]) -> Step {
    let wrapped = matches!(token.first(), Some(0x60 | 0xa1));
    let found = token.windows(SIGNATURE.len()).position(|w| w == SIGNATURE);
    let ntlm = found.and_then(|at| token.get(at..)).unwrap_or_default();
    match ntlm.get(8) {
        Some(1) => {
            let challenge = challenge();
            Step::Continue(if wrapped { respond(1, Some(&challenge)) } else { challenge })
        }
        Some(3) => {
            let name = field(ntlm, 36).to_lowercase();
            if name.is_empty() || USERS.contains(&name.as_str()) {
                Step::Accept(if wrapped { respond(0, None) } else { Vec::new() })
            } else {
                Step::Refuse
            }
        }
        // Another mechanism first: NTLM is chosen, and its first message asked for.
        _ => Step::Continue(respond(1, Some(&[]))),
    }
}

/// Text whose length and offset stand at `at` of an NTLM message.
fn field(ntlm: &[u8], at: usize) -> String {
    let number = |at: usize, len: usize| {
        ntlm.get(at..at + len).map_or(0, |b| b.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)))
    };
    let (len, offset) = (number(at, 2), number(at + 4, 4));
    text(ntlm.get(offset..offset.saturating_add(len)).unwrap_or_default())
}

fn challenge() -> Vec<u8> {
    let target = utf16("LAB");
    let pair = |kind: u16, value: &[u8]| {
        Body::default().half(kind).half(u16::try_from(value.len()).unwrap_or(0)).bytes(value).0
    };
    // Domain and computer, NetBIOS and DNS names; the end.
    let info = [
        pair(2, &target),
        pair(1, &utf16("FILES")),
        pair(4, &utf16("example")),
        pair(3, &utf16("files.example")),
        pair(0, &[]),
    ]
    .concat();
    let (target_len, info_len) = (target.len(), info.len());
    let fields = |body: Body, len: usize, at: usize| {
        let half = u16::try_from(len).unwrap_or(0);
        body.half(half).half(half).count(at)
    };
    let body = Body::default().bytes(SIGNATURE).word(2);
    let body = fields(body, target_len, 56).word(FLAGS).bytes(&CHALLENGE).long(0);
    // Version 10.0 of NTLM revision 15.
    let body = fields(body, info_len, 56 + target_len).bytes(&[10, 0, 0x61, 0x4a, 0, 0, 0, 15]);
    body.bytes(&target).bytes(&info).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticate(name: &str) -> Vec<u8> {
        let name = utf16(name);
        let mut ntlm = Body::default().bytes(SIGNATURE).word(3).0;
        ntlm.resize(36, 0);
        let len = u16::try_from(name.len()).expect("short");
        ntlm = Body(ntlm).half(len).half(len).word(64).0;
        ntlm.resize(64, 0);
        ntlm.extend(name);
        ntlm
    }

    #[test]
    fn names_decide() {
        assert_eq!(step(&authenticate("Lab")), Step::Accept(Vec::new()));
        assert_eq!(step(&authenticate("")), Step::Accept(Vec::new()));
        assert_eq!(step(&authenticate("administrator")), Step::Refuse);
        let Step::Continue(challenge) = step(b"NTLMSSP\0\x01\0\0\0") else { panic!("a challenge") };
        assert_eq!((&challenge[..8], challenge[8]), (&SIGNATURE[..], 2));
        let wrapped = der(0x60, b"NTLMSSP\0\x01\0\0\0");
        assert!(matches!(step(&wrapped), Step::Continue(token) if token[0] == 0xa1));
        assert!(matches!(step(&[]), Step::Continue(_)));
        let mut cut = authenticate("lab");
        cut.truncate(65);
        assert_eq!(step(&cut), Step::Accept(Vec::new()), "a name that is not there is the anonymous user's");
    }
}
