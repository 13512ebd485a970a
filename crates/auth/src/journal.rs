//! Entries of the journal as `journalctl -o json` prints them: one JSON object a line (systemd.journal-fields(7)).

use serde::Deserialize;

/// An entry in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the journal received it, ns since 1970.
    pub at_ns: Option<u64>,
    /// Who logged, by its own word.
    pub program: Vec<u8>,
    /// What.
    pub message: Vec<u8>,
    /// User id of the process that logged, by the journal's word: anybody may call himself `sshd`.
    pub uid: Option<u32>,
}

/// Text, or bytes where it is not UTF-8 or not printable; `null` where it was too large.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Bytes(Vec<u8>),
    Absent(()),
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "MESSAGE")]
    message: Text,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<String>,
    #[serde(rename = "_COMM")]
    command: Option<String>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<String>,
    #[serde(rename = "_UID")]
    uid: Option<String>,
}

/// Reads an entry; `None` where the line is none.
#[must_use]
pub fn entry(line: &[u8]) -> Option<Entry> {
    let fields: Fields = serde_json::from_slice(line).ok()?;
    let micros = fields.realtime.and_then(|t| t.parse::<u64>().ok());
    Some(Entry {
        at_ns: micros.and_then(|us| us.checked_mul(1000)),
        program: fields.identifier.or(fields.command).unwrap_or_default().into_bytes(),
        message: match fields.message {
            Text::Text(text) => text.into_bytes(),
            Text::Bytes(bytes) => bytes,
            Text::Absent(()) => return None,
        },
        uid: fields.uid.and_then(|u| u.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_text_or_bytes() {
        let text = r#"{"__REALTIME_TIMESTAMP":"1795290800000000","_UID":"0","SYSLOG_IDENTIFIER":"sshd","MESSAGE":"Failed x","_PID":"7"}"#;
        let read = entry(text.as_bytes()).unwrap();
        assert_eq!((read.at_ns, read.uid), (Some(1_795_290_800_000_000_000), Some(0)));
        assert_eq!((read.program.as_slice(), read.message.as_slice()), (&b"sshd"[..], &b"Failed x"[..]));
        let bytes = entry(br#"{"_COMM":"su","MESSAGE":[27,91,50,74]}"#).unwrap();
        assert_eq!((bytes.program.as_slice(), bytes.message.as_slice()), (&b"su"[..], &b"\x1b[2J"[..]));
        for broken in
            ["", "{", "[]", "{}", r#"{"MESSAGE":null}"#, r#"{"MESSAGE":{"a":1}}"#, r#"{"MESSAGE":[256]}"#]
        {
            assert_eq!(entry(broken.as_bytes()), None, "{broken}");
        }
    }
}
