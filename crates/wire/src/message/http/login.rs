//! Who logs in with a request: Basic authentication (RFC 7617), and forms and JSON objects that carry a name and a
//! password.
//!
//! Of the password nothing is kept but that there is one. A body is looked at as a whole, and not if it is longer than
//! [`MAX_FORM`] or comes in chunks.

use super::super::bytes::text;

/// Longest user name kept, bytes: that of an address of mail (RFC 5321 §4.5.3.1).
pub const MAX_USER: usize = 254;
/// Longest body that is looked at, bytes. Logins are some hundred; it has to fit into what a session keeps.
pub const MAX_FORM: u64 = 4096;
/// Most pairs of a form or of a JSON object that are looked at.
const MAX_PAIRS: usize = 64;

/// How the body of a request is written, as far as it may be a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json`.
    Json,
}

impl Written {
    /// By the value of Content-Type.
    pub(super) fn of(content_type: &[u8]) -> Option<Self> {
        let kind = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Some(Self::Form)
        } else {
            kind.eq_ignore_ascii_case(b"application/json").then_some(Self::Json)
        }
    }

    /// The user that logs in with a body; `None` unless it has both a user and a password.
    pub(super) fn user(self, body: &[u8]) -> Option<Box<str>> {
        let mut found = Found::default();
        match self {
            Self::Form => {
                for pair in body.split(|b| *b == b'&').take(MAX_PAIRS) {
                    let mut halves = pair.splitn(2, |b| *b == b'=');
                    if let (Some(name), Some(value)) = (halves.next(), halves.next()) {
                        found.pair(name, value);
                    }
                }
            }
            Self::Json => {
                let mut rest = body;
                for _ in 0..MAX_PAIRS {
                    let Some((name, behind)) = string(rest) else { break };
                    rest = behind;
                    let behind = behind.trim_ascii_start();
                    let Some(value) = behind.strip_prefix(b":").map(<[u8]>::trim_ascii_start) else {
                        continue;
                    };
                    match string(value).filter(|_| value.first() == Some(&b'"')) {
                        Some((value, behind)) => {
                            found.pair(name, value);
                            rest = behind;
                        }
                        None => rest = value,
                    }
                }
            }
        }
        found.user.filter(|_| found.password).map(|user| text(user, MAX_USER))
    }
}

/// What was found so far.
#[derive(Default)]
struct Found<'a> {
    user: Option<&'a [u8]>,
    password: bool,
}

impl<'a> Found<'a> {
    /// Words by which the fields of logins are called, in whatever framework.
    const USER: [&'static str; 5] = ["user", "login", "email", "account", "uname"];
    const PASSWORD: [&'static str; 3] = ["pass", "pwd", "psw"];

    fn pair(&mut self, name: &[u8], value: &'a [u8]) {
        // Longer names are no names of such fields.
        let name = text(name, 64).to_ascii_lowercase();
        let called = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if value.is_empty() {
            return;
        }
        if called(&Self::PASSWORD) {
            self.password = true;
        // `log` is the field of WordPress.
        } else if self.user.is_none() && (called(&Self::USER) || name == "log") {
            self.user = Some(value);
        }
    }
}

/// The next string of JSON without its quotes, escapes as they are, and what is behind it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let begin = bytes.iter().position(|b| *b == b'"')? + 1;
    let mut at = begin;
    loop {
        match bytes.get(at)? {
            b'"' => return Some((bytes.get(begin..at)?, bytes.get(at + 1..)?)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The user of an Authorization field, if it is one of Basic authentication.
pub(super) fn basic(value: &[u8]) -> Option<Box<str>> {
    let (scheme, credentials) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64(credentials.trim_ascii());
    let user = decoded.split(|b| *b == b':').next().filter(|user| user.len() < decoded.len())?;
    Some(text(user, MAX_USER))
}

/// The beginning of what base 64 (RFC 4648 §4) says, up to the first character that does not belong, as far as a user name
/// may reach.
fn base64(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in encoded.iter().take(MAX_USER.div_ceil(3) * 4) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_objects_with_user_and_password_are_logins() {
        let check = |written: Written, body: &str, expected: Option<&str>| {
            assert_eq!(written.user(body.as_bytes()).as_deref(), expected, "{body}");
        };
        check(Written::Form, "user=anna&password=x", Some("anna"));
        check(
            Written::Form,
            "csrf=1&session%5Busername_or_email%5D=a%40b&session%5Bpassword%5D=x",
            Some("a%40b"),
        );
        check(Written::Form, "log=admin&pwd=letmein&wp-submit=Log+In", Some("admin"));
        check(Written::Form, "user=anna&message=hello", None);
        check(Written::Form, "q=lamp", None);
        check(Written::Form, "user=&password=x", None);
        check(Written::Json, r#"{"email": "a@b", "password" : "x"}"#, Some("a@b"));
        check(Written::Json, r#"{"data":{"id":7,"login":"a\"b","pass":"x"}}"#, Some("a\\\"b"));
        check(Written::Json, r#"{"user":"anna","event":"click"}"#, None);
        check(Written::Json, r#"{"user":"anna","password":"#, None);
        check(Written::Json, "", None);
    }

    #[test]
    fn basic_authentication_names_its_user() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(basic(value.as_bytes()).as_deref(), expected, "{value}");
        };
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin"));
        check("basic YWRtaW46", Some("admin"));
        check("Basic YWRtaW4=", None);
        check("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", None);
        check("Basic", None);
        check("Basic !", None);
    }

    #[test]
    fn content_types_are_read_without_their_parameters() {
        let check = |value: &str, expected| assert_eq!(Written::of(value.as_bytes()), expected, "{value}");
        check("application/json; charset=utf-8", Some(Written::Json));
        check("Application/X-WWW-Form-Urlencoded", Some(Written::Form));
        check("text/plain", None);
    }
}
