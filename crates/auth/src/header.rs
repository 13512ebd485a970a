//! What syslog puts before a message: RFC 3164 as it is written in practice, RFC 5424, and the file formats of rsyslog and
//! BusyBox.

use crate::time::{self, Clock};

/// Most bytes of a host name or program: RFC 5424 allows 255 and 48.
const MAX_WORD: usize = 255;

/// A line of syslog in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// When, ns since 1970.
    pub(crate) at_ns: u64,
    /// Who logged, without process id and path.
    pub(crate) program: &'a [u8],
    /// What.
    pub(crate) message: &'a [u8],
}

/// Splits at the first space; the word must not be empty nor long.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().take(MAX_WORD + 1).position(|b| *b == b' ')?;
    (end > 0).then(|| (&text[..end], &text[end + 1..]))
}

/// A program's name without its folder and without `[123]`.
pub(crate) fn program(tag: &[u8]) -> &[u8] {
    let end = tag.iter().position(|b| *b == b'[').unwrap_or(tag.len());
    let name = &tag[..end];
    match name.iter().rposition(|b| *b == b'/') {
        // `postfix/smtpd` is a name of two parts; `/usr/sbin/cron` is a path.
        Some(at) if name.first() == Some(&b'/') => &name[at + 1..],
        _ => name,
    }
}

/// Reads the header of a line; `None` where it has none.
pub(crate) fn header<'a>(line: &'a [u8], clock: &Clock) -> Option<Header<'a>> {
    let line = priority(line);
    if let Some(rest) = line.strip_prefix(b"1 ") {
        return rfc5424(rest);
    }
    let (at_ns, rest) = match line.first()? {
        b'0'..=b'9' => time::iso(line)?,
        _ => time::bsd(line, clock)?,
    };
    let (_host, rest) = word(rest.strip_prefix(b" ")?)?;
    let rest = without_level(rest);
    let colon = rest.iter().take(MAX_WORD).position(|b| *b == b':' || *b == b' ')?;
    if rest.get(colon) != Some(&b':') {
        return None;
    }
    let message = &rest[colon + 1..];
    Some(Header {
        at_ns,
        program: program(&rest[..colon]),
        message: message.strip_prefix(b" ").unwrap_or(message),
    })
}

/// Without `auth.info `, which BusyBox writes before the program: a facility and a level by their names in syslog(3).
fn without_level(rest: &[u8]) -> &[u8] {
    const FACILITIES: &[&[u8]] = &[
        b"kern",
        b"user",
        b"mail",
        b"daemon",
        b"auth",
        b"syslog",
        b"lpr",
        b"news",
        b"uucp",
        b"cron",
        b"authpriv",
        b"ftp",
        b"local0",
        b"local1",
        b"local2",
        b"local3",
        b"local4",
        b"local5",
        b"local6",
        b"local7",
    ];
    const LEVELS: &[&[u8]] =
        &[b"emerg", b"alert", b"crit", b"err", b"warn", b"warning", b"notice", b"info", b"debug"];
    let parts = word(rest).and_then(|(first, rest)| {
        let dot = first.iter().position(|b| *b == b'.')?;
        Some((&first[..dot], &first[dot + 1..], rest))
    });
    match parts {
        Some((facility, level, rest)) if FACILITIES.contains(&facility) && LEVELS.contains(&level) => rest,
        _ => rest,
    }
}

/// Without `<34>`, where a line has it.
fn priority(line: &[u8]) -> &[u8] {
    let digits = |n: usize| line.get(1..1 + n).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    if line.first() == Some(&b'<') {
        for n in 1..=3 {
            if digits(n) && line.get(1 + n) == Some(&b'>') {
                return &line[n + 2..];
            }
        }
    }
    line
}

/// After the version: time, host, program, process, message id, structured data, message (RFC 5424 §6).
fn rfc5424(rest: &[u8]) -> Option<Header<'_>> {
    let (at_ns, rest) = time::iso(rest)?;
    let (_host, rest) = word(rest.strip_prefix(b" ")?)?;
    let (name, rest) = word(rest)?;
    let (_process, rest) = word(rest)?;
    let (_id, rest) = word(rest)?;
    let message = match rest.strip_prefix(b"-") {
        Some(message) => message,
        None => after_data(rest)?,
    };
    let message = message.strip_prefix(b" ").unwrap_or(message);
    Some(Header {
        at_ns,
        program: program(name),
        message: message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message),
    })
}

/// What follows structured data: `[id name="value"][…]`, in which `"`, `\` and `]` are escaped in values.
fn after_data(mut rest: &[u8]) -> Option<&[u8]> {
    while rest.first() == Some(&b'[') {
        let (mut quoted, mut escaped, mut end) = (false, false, None);
        for (at, b) in rest.iter().enumerate().skip(1) {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                b']' if !quoted => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        rest = &rest[end? + 1..];
    }
    Some(rest)
}

/// `message repeated 5 times: [ Failed password for …]` (rsyslog): the message and how often it was said; else itself, once.
pub(crate) fn repeated(message: &[u8]) -> (&[u8], u32) {
    let inner = || {
        let rest = message.strip_prefix(b"message repeated ")?;
        let (count, rest) = word(rest)?;
        let count: u32 = std::str::from_utf8(count).ok()?.parse().ok()?;
        let inner = rest.strip_prefix(b"times: [ ")?.strip_suffix(b"]")?;
        Some((inner, count.clamp(1, crate::MAX_TRIES)))
    };
    inner().unwrap_or((message, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_whatever_wrote_them() {
        let clock = Clock { now_ns: 1_795_290_800_000_000_000, utc_offset_s: 0 };
        for (line, program, message) in [
            ("Nov 21 19:53:20 host sshd[123]: Failed x", "sshd", "Failed x"),
            ("<38>Nov  1 19:53:20 host sshd[123]: Failed x", "sshd", "Failed x"),
            ("2026-11-21T19:53:20.1+00:00 host sshd-session[9]: a: b", "sshd-session", "a: b"),
            ("2026-11-21T19:53:20+00:00 host postfix/smtpd[9]: a", "postfix/smtpd", "a"),
            ("2026-11-21T19:53:20+00:00 host /usr/sbin/cron[9]: a", "cron", "a"),
            ("Nov 21 19:53:20 host auth.info sshd[123]: Failed x", "sshd", "Failed x"),
            ("Nov 21 19:53:20 host authpriv.notice su: a", "su", "a"),
            ("Nov 21 19:53:20 host auth.info: a", "auth.info", "a"),
            ("<34>1 2026-11-21T19:53:20Z host su - ID47 - failed", "su", "failed"),
            (
                r#"<165>1 2026-11-21T19:53:20Z h evntslog 8 ID [a@1 b="x\]\" [" c=""][d@2] said"#,
                "evntslog",
                "said",
            ),
        ] {
            let header = header(line.as_bytes(), &clock).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(header.program, program.as_bytes(), "{line}");
            assert_eq!(header.message, message.as_bytes(), "{line}");
        }
        for line in [
            "",
            "Nov 21",
            "Nov 21 19:53:20 host",
            "Nov 21 19:53:20 host a b: c",
            "Nov 21 19:53:20 host no.level b: c",
            "<34",
            "1 2026",
        ] {
            assert_eq!(header(line.as_bytes(), &clock), None, "{line}");
        }
    }

    #[test]
    fn repeated_messages_count_and_forged_counts_are_bounded() {
        for (message, inner, count) in [
            ("message repeated 5 times: [ Failed a]", "Failed a", 5),
            ("message repeated 4294967295 times: [ b]", "b", crate::MAX_TRIES),
            ("message repeated 99999999999 times: [ b]", "message repeated 99999999999 times: [ b]", 1),
            ("message repeated 0 times: [ b]", "b", 1),
            ("message repeated 5 times: [ Failed a", "message repeated 5 times: [ Failed a", 1),
            ("Failed a", "Failed a", 1),
        ] {
            assert_eq!(repeated(message.as_bytes()), (inner.as_bytes(), count), "{message}");
        }
    }
}
