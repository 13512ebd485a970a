//! Recognition of TCP streams: one reading of each side's first bytes, then what both say together.

use super::super::bytes::{be16, be32};
use super::shape::{self, Fit};
use super::{App, LOOK, Recognition};

/// What one side's bytes say by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// Certainly this.
    Is(App),
    /// This if the other side agrees.
    Weak(App),
    /// The beginning of something.
    Part,
    /// Nothing known.
    No,
}

/// The application of a TCP connection from the contiguous first bytes of each side so far; either may be empty. Bytes
/// beyond [`LOOK`] are not looked at.
#[must_use]
pub fn stream(client: &[u8], server: &[u8]) -> Recognition {
    let client = client.get(..LOOK).unwrap_or(client);
    let server = server.get(..LOOK).unwrap_or(server);
    let asked = asks(client);
    if let Says::Is(app) = asked {
        return Recognition::Is(app);
    }
    let answered = answers(server);
    match (asked, answered) {
        (_, Says::Is(app)) => Recognition::Is(app),
        (Says::Weak(App::Modbus), Says::Weak(App::Modbus)) => {
            if modbus_agrees(client, server) {
                Recognition::Is(App::Modbus)
            } else {
                Recognition::No
            }
        }
        // A server that speaks first and says `+OK` is a mail server; after a command it may be another's answer.
        (_, Says::Weak(App::Pop3)) if client.is_empty() => Recognition::Is(App::Pop3),
        (Says::Weak(App::Ftp), Says::Weak(both @ (App::Ftp | App::Pop3))) => Recognition::Is(both),
        (Says::Weak(_), Says::Part) | (Says::Part, Says::Weak(_)) => Recognition::Undecided,
        _ if open(asked, client) || open(answered, server) => Recognition::Undecided,
        _ => Recognition::No,
    }
}

/// Whether a side may still tell: it said nothing yet, or only the beginning of something.
fn open(says: Says, bytes: &[u8]) -> bool {
    bytes.is_empty() || says == Says::Part && bytes.len() < LOOK
}

/// See [`App::of_stream`].
pub(super) fn of_heads(ask: &[u8; 8], answer: &[u8; 8]) -> App {
    let held = |head: &[u8; 8]| if *head == [0; 8] { 0 } else { 8 };
    let client = ask.get(..held(ask)).unwrap_or_default();
    let server = answer.get(..held(answer)).unwrap_or_default();
    let quiet = server.is_empty() || server.starts_with(b"220");
    match stream(client, server) {
        Recognition::Is(app) => app,
        Recognition::No => App::Unknown,
        Recognition::Undecided if matches!(client, b"CONNECT " | b"OPTIONS ") => App::Http,
        Recognition::Undecided if rdp(client) == Says::Part && client.len() == 8 => App::Rdp,
        Recognition::Undecided if shape::dcerpc(client) == Fit::SoFar && client.len() == 8 => App::DceRpc,
        Recognition::Undecided if quiet && FTP_FIRST.iter().any(|verb| starts_with(client, verb)) => App::Ftp,
        Recognition::Undecided if FTP_GREETINGS.iter().any(|name| starts_with(server, name)) => App::Ftp,
        Recognition::Undecided => App::Unknown,
    }
}

/// Methods of RFC 9110 §9.3, RFC 5789, and WebDAV with its extensions (RFC 4918, 3253, 3648, 3744, 5323, 4791). Others
/// are taken too, but only with a whole request line.
const METHODS: [&[u8]; 31] = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"ACL",
    b"CHECKIN",
    b"CHECKOUT",
    b"UNCHECKOUT",
    b"MERGE",
    b"LABEL",
    b"MKACTIVITY",
    b"MKWORKSPACE",
    b"UPDATE",
    b"BASELINE-CONTROL",
    b"ORDERPATCH",
    b"MKCALENDAR",
    b"VERSION-CONTROL",
];
/// Longest method taken: `BASELINE-CONTROL` and some room.
const MAX_METHOD: usize = 24;
/// What FTP clients say first. Others do as well, so a greeting must agree.
const FTP_FIRST: [&[u8]; 9] =
    [b"USER ", b"PASS ", b"AUTH TLS", b"AUTH SSL", b"AUTH GSS", b"FEAT\r", b"SYST\r", b"OPTS ", b"CLNT "];
/// What clients say first, in one protocol only.
const FIRST: [(&[u8], App); 10] = [
    (b"EHLO ", App::Smtp),
    (b"HELO ", App::Smtp),
    (b"LHLO ", App::Smtp),
    (b"NICK ", App::Irc),
    (b"CAP LS", App::Irc),
    (b"CAP REQ ", App::Irc),
    (b"CAP END", App::Irc),
    (b"CAPA\r\n", App::Pop3),
    (b"APOP ", App::Pop3),
    (b"SSH-", App::Ssh),
];
/// Greetings that name FTP within eight bytes.
const FTP_GREETINGS: [&[u8]; 5] = [b"220 FTP", b"220-FTP", b"220 (VSF", b"220 PROF", b"220-PROF"];

/// Whether `bytes` begin with `word` in any case.
fn starts_with(bytes: &[u8], word: &[u8]) -> bool {
    bytes.get(..word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word))
}

/// As far as the bytes go, `word` in any case.
fn begins(bytes: &[u8], word: &[u8], then: Says) -> Says {
    if starts_with(bytes, word) {
        then
    } else if word.get(..bytes.len()).is_some_and(|w| bytes.eq_ignore_ascii_case(w)) {
        Says::Part
    } else {
        Says::No
    }
}

/// The better of two readings of the same bytes.
fn or(one: Says, other: impl FnOnce() -> Says) -> Says {
    match one {
        Says::Is(_) | Says::Weak(_) => one,
        Says::Part => match other() {
            Says::No => Says::Part,
            better => better,
        },
        Says::No => other(),
    }
}

impl Fit {
    fn says(self, app: App) -> Says {
        match self {
            Self::Yes => Says::Is(app),
            Self::SoFar => Says::Part,
            Self::No => Says::No,
        }
    }
}

/// What the side that began the connection says.
fn asks(bytes: &[u8]) -> Says {
    match bytes {
        [] => Says::Part,
        [b'A'..=b'Z' | b'a'..=b'z', ..] => asks_in_words(bytes),
        [0x16, ..] => or(tls(bytes), || framed(bytes)),
        [0xff, ..] => telnet(bytes),
        [3, ..] => or(rdp(bytes), || framed(bytes)),
        [5, ..] => or(shape::dcerpc(bytes).says(App::DceRpc), || framed(bytes)),
        [0x13, ..] => {
            or(begins(bytes, b"\x13BitTorrent protocol", Says::Is(App::BitTorrent)), || framed(bytes))
        }
        [0x10, ..] => or(mqtt(bytes), || framed(bytes)),
        [0x30, ..] => or(ldap(bytes, |tag| matches!(tag, 0x42 | 0x60 | 0x63 | 0x77)), || framed(bytes)),
        [0x81, ..] => or(smb_after_request(bytes), || framed(bytes)),
        _ => framed(bytes),
    }
}

/// Requests that begin with a length or a number, so with any byte.
fn framed(bytes: &[u8]) -> Says {
    or(shape::smb(bytes, 0).says(App::Smb), || {
        or(dns(bytes), || or(kerberos(bytes), || or(modbus(bytes, false), || stun(bytes))))
    })
}

/// Requests in words: HTTP and its relatives, or the first command of a protocol of lines.
fn asks_in_words(bytes: &[u8]) -> Says {
    // Words before lines: what is decided sooner must not be overruled by what is decided later.
    let mut says = Says::No;
    for (word, app) in FIRST {
        says = or(says, || begins(bytes, word, Says::Is(app)));
    }
    for verb in FTP_FIRST {
        says = or(says, || begins(bytes, verb, Says::Weak(App::Ftp)));
    }
    // Letters are also lengths and numbers.
    or(says, || or(http_request(bytes), || framed(bytes)))
}

/// Ends of request lines: RFC 9112 §2.3, RFC 3261 §7.1, RFC 7826 §20.3 and its forerunner.
const VERSIONS: [(&[u8; 8], App); 4] =
    [(b" HTTP/1.", App::Http), (b" SIP/2.0", App::Sip), (b" RTSP/1.", App::Rtsp), (b" RTSP/2.", App::Rtsp)];

/// A request line of HTTP/1, SIP or RTSP, or the preface of HTTP/2.
fn http_request(bytes: &[u8]) -> Says {
    let token = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'-' | b'_');
    let length = bytes.iter().take(MAX_METHOD + 1).take_while(|b| token(b)).count();
    let (method, rest) = bytes.split_at_checked(length).unwrap_or_default();
    let target = match rest {
        [] if length <= MAX_METHOD => return Says::Part,
        [b' ', target @ ..] if (2..=MAX_METHOD).contains(&length) => target,
        _ => return Says::No,
    };
    let known = METHODS.contains(&method);
    match target.first() {
        None => Says::Part,
        Some(b'/') if known => Says::Is(App::Http),
        Some(b'*') if method == b"PRI" => begins(target, b"* HT", Says::Is(App::Http)),
        // Other targets are those of a proxy, an authority or a star, and those of SIP and RTSP.
        Some(_) => {
            // Control characters end a line; formats with lengths have them, so that they are no request lines.
            let end = target.iter().position(|b| b.is_ascii_control() && *b != b'\t');
            let line = target.get(..end.unwrap_or(target.len())).unwrap_or(target);
            // What stands first decides, so that more of the line changes nothing.
            let scheme = |names: &[&[u8]]| names.iter().any(|name| starts_with(line, name));
            let version = || line.windows(8).find_map(|w| VERSIONS.iter().find(|(mark, _)| w == *mark));
            if scheme(&[b"sip:", b"sips:"]) {
                Says::Is(App::Sip)
            } else if scheme(&[b"rtsp:"]) {
                Says::Is(App::Rtsp)
            } else if known && scheme(&[b"http:", b"https:"]) {
                Says::Is(App::Http)
            } else if let Some((_, app)) = version() {
                Says::Is(*app)
            } else if end.is_none() {
                Says::Part
            } else {
                Says::No
            }
        }
    }
}

/// What the side that was contacted says.
fn answers(bytes: &[u8]) -> Says {
    match bytes {
        [] => Says::Part,
        [b'2', ..] => or(greeting(bytes), || framed_answer(bytes)),
        [b'S', ..] => or(begins(bytes, b"SSH-", Says::Is(App::Ssh)), || {
            or(begins(bytes, b"SIP/2.0 ", Says::Is(App::Sip)), || framed_answer(bytes))
        }),
        [b'H', ..] => or(begins(bytes, b"HTTP/1.", Says::Is(App::Http)), || framed_answer(bytes)),
        [b'R', ..] => or(begins(bytes, b"RTSP/", Says::Is(App::Rtsp)), || framed_answer(bytes)),
        [b'+', ..] => or(begins(bytes, b"+OK", Says::Weak(App::Pop3)), || framed_answer(bytes)),
        [b'*', ..] => or(begins(bytes, b"* OK", Says::Is(App::Imap)), || {
            or(begins(bytes, b"* PREAUTH", Says::Is(App::Imap)), || framed_answer(bytes))
        }),
        [b':', ..] => or(irc(bytes), || framed_answer(bytes)),
        [b'N', ..] => or(begins(bytes, b"NOTICE AUTH", Says::Is(App::Irc)), || framed_answer(bytes)),
        [0x16, ..] => or(tls(bytes), || framed_answer(bytes)),
        [0xff, ..] => telnet(bytes),
        [5, ..] => or(shape::dcerpc(bytes).says(App::DceRpc), || framed_answer(bytes)),
        [0x30, ..] => {
            or(ldap(bytes, |tag| matches!(tag, 0x61 | 0x64 | 0x65 | 0x73 | 0x78)), || framed_answer(bytes))
        }
        [0x13, ..] => {
            or(begins(bytes, b"\x13BitTorrent protocol", Says::Is(App::BitTorrent)), || framed_answer(bytes))
        }
        _ => framed_answer(bytes),
    }
}

/// Answers that begin with a length or a number.
fn framed_answer(bytes: &[u8]) -> Says {
    or(shape::smb(bytes, 0).says(App::Smb), || or(dns(bytes), || or(kerberos(bytes), || modbus(bytes, true))))
}

/// `220` opens FTP and SMTP; the rest of the line may name one.
fn greeting(bytes: &[u8]) -> Says {
    if !matches!(bytes.get(..4), Some(b"220 " | b"220-")) {
        return if b"220".starts_with(bytes) || bytes == b"220" { Says::Part } else { Says::No };
    }
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let has = |what: &[u8]| line.windows(what.len()).any(|w| w.eq_ignore_ascii_case(what));
    if has(b"SMTP") {
        Says::Is(App::Smtp)
    // A host may be called after FTP and yet take mail: the line must be whole.
    } else if line.len() < bytes.len() && has(b"FTP") {
        Says::Is(App::Ftp)
    } else {
        Says::Weak(App::Ftp)
    }
}

/// A message of a server: a prefix, then a notice or the welcome.
fn irc(bytes: &[u8]) -> Says {
    let mut words = bytes.split(|b| *b == b' ').skip(1);
    match words.next() {
        Some(b"NOTICE" | b"001" | b"020" | b"433" | b"451" | b"CAP") if words.next().is_some() => {
            Says::Is(App::Irc)
        }
        None => Says::Part,
        Some(word) if word.len() < 6 && words.next().is_none() => Says::Part,
        Some(_) => Says::No,
    }
}

/// Handshake record (22), version 3.0 to 3.4, a length the first record can have, and a hello.
fn tls(bytes: &[u8]) -> Says {
    let known = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|b| test(*b));
    let length = be16(bytes, 3).is_none_or(|length| (4..=16_640).contains(&length));
    match bytes.get(5) {
        _ if !(known(1, |b| b == 3) && known(2, |b| b <= 4) && length) => Says::No,
        None => Says::Part,
        Some(1 | 2) => Says::Is(App::Tls),
        Some(_) => Says::No,
    }
}

/// TPKT version 3, reserved 0, then an X.224 connection request (0xe0) whose length fits the packet's, without the
/// parameters (0xc0 to 0xc2) that users of ISO transport other than Remote Desktop add.
fn rdp(bytes: &[u8]) -> Says {
    let known = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|b| test(*b));
    let fits = match (be16(bytes, 2), bytes.get(4)) {
        (Some(length), Some(inner)) => u16::from(*inner) + 5 == length && length >= 11,
        _ => true,
    };
    let fits = fits && known(0, |b| b == 3) && known(1, |b| b == 0) && known(5, |b| b == 0xe0);
    match bytes.get(11) {
        _ if !fits || bytes.is_empty() => Says::No,
        None if be16(bytes, 2) == Some(11) && bytes.len() >= 6 => Says::Is(App::Rdp),
        None => Says::Part,
        Some(0xc0..=0xc2) => Says::No,
        Some(_) => Says::Is(App::Rdp),
    }
}

/// IAC with WILL, WONT, DO, DONT or a subnegotiation, and an option that is assigned.
fn telnet(bytes: &[u8]) -> Says {
    match bytes {
        [0xff] | [0xff, 0xfa..=0xfe] => Says::Part,
        [0xff, 0xfa..=0xfe, 0..=49 | 138..=140 | 255, ..] => Says::Is(App::Telnet),
        _ => Says::No,
    }
}

/// A CONNECT packet: remaining length, then the protocol's name.
fn mqtt(bytes: &[u8]) -> Says {
    let more = bytes.iter().skip(1).take(3).take_while(|b| **b & 0x80 != 0).count();
    let Some(name) = bytes.get(2 + more..) else { return Says::Part };
    or(begins(name, b"\0\x04MQTT", Says::Is(App::Mqtt)), || {
        begins(name, b"\0\x06MQIsdp", Says::Is(App::Mqtt))
    })
}

fn ldap(bytes: &[u8], test: fn(u8) -> bool) -> Says {
    match shape::ldap(bytes) {
        Some(tag) if test(tag) => Says::Is(App::Ldap),
        None if bytes.len() < 16 => Says::Part,
        _ => Says::No,
    }
}

/// A session request of NetBIOS over TCP, then SMB.
fn smb_after_request(bytes: &[u8]) -> Says {
    let length = be16(bytes, 2).map_or(68, usize::from);
    let names = bytes.len() < 38 || shape::netbios_name(bytes, 4);
    if bytes.get(1).is_none_or(|b| *b == 0) && names && length == 68 {
        shape::smb(bytes, 4 + length).says(App::Smb)
    } else {
        Says::No
    }
}

/// A message behind its length in two bytes.
fn dns(bytes: &[u8]) -> Says {
    match (be16(bytes, 0), bytes.get(2..)) {
        (Some(length), Some(message)) if length >= 12 => {
            shape::dns(message, usize::from(length)).says(App::Dns)
        }
        (Some(_), _) => Says::No,
        (None, _) => Says::Part,
    }
}

/// A message behind its length in four bytes, the topmost bit zero.
fn kerberos(bytes: &[u8]) -> Says {
    match (be32(bytes, 0), bytes.get(4..)) {
        (Some(10..=0x10_0000), Some(message)) if shape::kerberos(message) => Says::Is(App::Kerberos),
        (Some(10..=0x10_0000), Some([] | [0x6a..=0x7e, ..])) if bytes.len() < 24 => Says::Part,
        _ => Says::No,
    }
}

/// A message with the magic cookie, RFC 8489 §5.
fn stun(bytes: &[u8]) -> Says {
    let length = be16(bytes, 2).is_none_or(|length| length % 4 == 0);
    match be32(bytes, 4) {
        Some(0x2112_a442) if length && bytes.first().is_some_and(|b| *b < 0x40) => Says::Is(App::Stun),
        None if length && bytes.first().is_some_and(|b| *b < 2) => Says::Part,
        _ => Says::No,
    }
}

/// Functions whose requests have so many bytes of data, and no others.
const MODBUS_FIXED: [(u8, u16); 12] =
    [(1, 4), (2, 4), (3, 4), (4, 4), (5, 4), (6, 4), (7, 0), (11, 0), (12, 0), (17, 0), (22, 6), (24, 2)];

/// A Modbus header (protocol 0, a length that can be) and a function; of a request, the length that it needs. Vendors have
/// functions of their own, and scanners try them all: that both sides agree is what counts.
fn modbus(bytes: &[u8], response: bool) -> Says {
    let length = be16(bytes, 4);
    let fits =
        be16(bytes, 2).is_none_or(|protocol| protocol == 0) && length.is_none_or(|l| (2..=254).contains(&l));
    let Some(code) = bytes.get(7) else {
        return if fits && bytes.len() < 8 { Says::Part } else { Says::No };
    };
    let data = length.unwrap_or_default().saturating_sub(2);
    let fixed = |function: u8| MODBUS_FIXED.iter().find(|(f, _)| *f == function).map(|(_, needed)| *needed);
    let sound = match *code {
        0 => false,
        // An exception has one byte.
        0x80.. => response && data == 1,
        _ => response || fixed(*code).is_none_or(|needed| data == needed),
    };
    if fits && sound { Says::Weak(App::Modbus) } else { Says::No }
}

/// Whether the server's first message answers one of the client's: same transaction, unit and function.
fn modbus_agrees(client: &[u8], server: &[u8]) -> bool {
    let mut at = 0;
    while let Some(request) = client.get(at..).filter(|b| b.len() >= 8) {
        let same = |i: usize| request.get(i) == server.get(i);
        let code = |bytes: &[u8]| bytes.get(7).map(|code| code & 0x7f);
        if same(0) && same(1) && same(6) && code(request) == code(server) {
            return true;
        }
        at += 6 + be16(request, 4).map_or(0, usize::from);
    }
    false
}
