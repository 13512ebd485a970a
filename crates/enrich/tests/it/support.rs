//! What the tests share: directories, data, a writer of small databases, a server of canned answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A directory of its own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("aim-enrich-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        Self(dir)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file of the shared data; says so where there is none.
pub(crate) fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("AUTOINMUNE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let file = root.join(path);
    if !file.exists() {
        eprintln!("skipped: {test}: there is no {path} (AUTOINMUNE_DATA)");
        return None;
    }
    Some(file)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Waits for something another thread does; fails after ten seconds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} did not come about");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A value of a record, as the MaxMind DB format 2.0 encodes it.
pub(crate) enum Value<'a> {
    Text(&'a str),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(&'a str, Value<'a>)>),
    List(Vec<Value<'a>>),
}

fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    // Sizes from 29 to 284 take one byte more; the tests need no longer ones.
    let (inline, more) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
    let inline = u8::try_from(inline).expect("below 30");
    match kind {
        0..=7 => out.push(kind << 5 | inline),
        extended => out.extend([inline, extended - 7]),
    }
    out.extend(more.map(|m| u8::try_from(m).expect("a short value")));
}

fn encode(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Short(number) => {
            control(5, 2, out);
            out.extend(number.to_be_bytes());
        }
        Value::Number(number) => {
            control(6, 4, out);
            out.extend(number.to_be_bytes());
        }
        Value::Long(number) => {
            control(9, 8, out);
            out.extend(number.to_be_bytes());
        }
        Value::Map(entries) => {
            control(7, entries.len(), out);
            for (key, value) in entries {
                encode(&Value::Text(key), out);
                encode(value, out);
            }
        }
        Value::List(values) => {
            control(11, values.len(), out);
            for value in values {
                encode(value, out);
            }
        }
    }
}

/// A database of IPv4 prefixes (in an IPv6 tree, as the real ones) with a record each.
pub(crate) fn database(kind: &str, prefixes: &[(&str, u8, Value<'_>)]) -> Vec<u8> {
    // A node holds where to go for a 0 and for a 1.
    #[derive(Clone, Copy)]
    enum Next {
        Nowhere,
        Node(usize),
        Record(usize),
    }
    let mut nodes = vec![[Next::Nowhere; 2]];
    let mut data = Vec::new();
    for (addr, len, record) in prefixes {
        let IpAddr::V4(v4) = ip(addr) else { panic!("IPv4 only") };
        let bits = u128::from(v4.to_bits());
        let mut node = 0;
        for bit in 0..96 + *len {
            let side = usize::from(bits >> (127 - bit) & 1 == 1);
            if bit + 1 == 96 + *len {
                nodes[node][side] = Next::Record(data.len());
            } else if let Next::Node(next) = nodes[node][side] {
                node = next;
            } else {
                nodes.push([Next::Nowhere; 2]);
                nodes[node][side] = Next::Node(nodes.len() - 1);
                node = nodes.len() - 1;
            }
        }
        encode(record, &mut data);
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for side in nodes.iter().flatten() {
        let value = match side {
            Next::Nowhere => count,
            Next::Node(node) => *node,
            Next::Record(offset) => count + 16 + offset,
        };
        file.extend(&u32::try_from(value).expect("a small tree").to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    encode(
        &Value::Map(vec![
            ("binary_format_major_version", Value::Short(2)),
            ("binary_format_minor_version", Value::Short(0)),
            ("build_epoch", Value::Long(1_700_000_000)),
            ("database_type", Value::Text(kind)),
            ("description", Value::Map(vec![])),
            ("ip_version", Value::Short(6)),
            ("languages", Value::List(vec![])),
            ("node_count", Value::Number(u32::try_from(count).expect("a small tree"))),
            ("record_size", Value::Short(24)),
        ]),
        &mut file,
    );
    file
}

/// A record of a country.
pub(crate) fn country(code: &str) -> Value<'_> {
    Value::Map(vec![("country", Value::Map(vec![("iso_code", Value::Text(code))]))])
}

/// A server on loopback that answers each request with the next of `answers` (status, headers, body) and tells what was
/// asked: the request line and headers. It ends with its last answer.
pub(crate) fn server(answers: Vec<(u16, &'static str, String)>) -> (String, Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for (status, headers, body) in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let reader = BufReader::new(stream.try_clone().expect("a handle"));
            let lines: Vec<String> =
                reader.lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            // The test may have seen enough.
            let _ = tell.send(lines);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
            );
        }
    });
    (url, told)
}
