//! Queries of DNS and their answers, as they are on the wire (RFC 1035 §4).

use super::script::Script;
use super::{Answer, Traffic};

/// Words that names of ordinary hosts are made of.
const WORDS: [&str; 32] = [
    "mail", "garden", "silver", "market", "river", "photo", "cloud", "summer", "travel", "music", "island",
    "paper", "button", "doctor", "winter", "kitchen", "tienda", "camino", "verano", "noticias", "escuela",
    "libros", "puerto", "montana", "orange", "bridge", "planet", "studio", "hotel", "forest", "letter",
    "station",
];
const HEX: &[u8] = b"0123456789abcdef";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const CONSONANTS: &[u8] = b"bcdfghjklmnpqrstvwxz";
const VOWELS: &[u8] = b"aeiouy";
/// Longest text of one placeholder.
const MOST: usize = 250;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// A source of numbers that look random and are the same for the same seed: xorshift after Marsaglia.
struct Lots(u64);

impl Lots {
    fn draw(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % below.max(1)
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).filter_map(|_| alphabet.get(self.draw(alphabet.len())).map(|b| char::from(*b))).collect()
    }
}

/// The `n`-th name after a pattern: `{n}` is the number, `{word}` a word, `{hex:8}`, `{letters:8}` and `{base32:8}` that many
/// characters drawn by lot, `{spoken:8}` consonants and vowels in turn. `None` where a placeholder is none of them.
pub(crate) fn name(pattern: &str, n: u32) -> Option<String> {
    let mut lots = Lots((u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut text, mut rest) = (String::new(), pattern);
    while let Some((before, behind)) = rest.split_once('{') {
        let (inside, after) = behind.split_once('}')?;
        text.push_str(before);
        match inside.split_once(':') {
            None if inside == "n" => text.push_str(&n.to_string()),
            None if inside == "word" => text.push_str(WORDS.get(lots.draw(WORDS.len()))?),
            Some((kind, length)) => {
                let length: usize = length.parse().ok().filter(|n| *n <= MOST)?;
                match kind {
                    "hex" => text.push_str(&lots.text(HEX, length)),
                    "letters" => text.push_str(&lots.text(LETTERS, length)),
                    "base32" => text.push_str(&lots.text(BASE32, length)),
                    "spoken" => (0..length).for_each(|i| {
                        text.push_str(&lots.text(if i % 2 == 0 { CONSONANTS } else { VOWELS }, 1));
                    }),
                    _ => return None,
                }
            }
            None => return None,
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

impl Script<'_> {
    /// The `n`-th query, and its answer.
    pub(super) fn query(&mut self, t: &Traffic, n: u32) {
        let name = name(&t.query, n).unwrap_or_default();
        let question = question(&name, t.qtype);
        let ask = message(n as u16, 0x0100, [1, 0, 0, 0], &question, &[]);
        self.datagram_of(true, &ask);
        if t.answer != Answer::Reply {
            return;
        }
        self.wait(ANSWER_NS);
        let flags = 0x8180 | u16::from(t.rcode & 0xf);
        let data = match t.qtype {
            TYPE_A => 4,
            TYPE_AAAA => 16,
            _ => t.reply_size.unwrap_or(0).min(1200),
        };
        let answers = u16::from(t.rcode == 0 && data > 0);
        let record = match (answers, t.qtype) {
            (0, _) => Vec::new(),
            (_, TYPE_A) => record(t.qtype, &t.address.0[12..]),
            _ => record(t.qtype, &(0..data).map(|i| (i % 251) as u8).collect::<Vec<u8>>()),
        };
        let answer = message(n as u16, flags, [1, answers, 0, 0], &question, &record);
        self.datagram_of(false, &answer);
    }

    fn datagram_of(&mut self, by_client: bool, bytes: &[u8]) {
        self.send(by_client, 0, bytes.len() as u32, bytes);
    }
}

/// Time to an answer, ns.
const ANSWER_NS: u64 = 8_000_000;

fn message(id: u16, flags: u16, counts: [u16; 4], question: &[u8], record: &[u8]) -> Vec<u8> {
    let header = [[id, flags].as_slice(), &counts].concat();
    let mut bytes: Vec<u8> = header.iter().flat_map(|half| half.to_be_bytes()).collect();
    bytes.extend_from_slice(question);
    bytes.extend_from_slice(record);
    bytes
}

fn question(name: &str, qtype: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        let label = label.as_bytes();
        let length = label.len().min(63);
        bytes.push(length as u8);
        bytes.extend_from_slice(label.get(..length).unwrap_or_default());
    }
    bytes.push(0);
    bytes.extend_from_slice(&qtype.to_be_bytes());
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes
}

/// An answer to the question, its name a pointer to it.
fn record(qtype: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 12];
    bytes.extend_from_slice(&qtype.to_be_bytes());
    bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_make_names() {
        assert_eq!(name("host{n}.example.com", 7).as_deref(), Some("host7.example.com"));
        let drawn = name("{hex:12}.t.example", 3).unwrap();
        assert_eq!(drawn.len(), 12 + ".t.example".len());
        assert_eq!(name("{hex:12}.t.example", 3).unwrap(), drawn, "the same for the same number");
        assert_ne!(name("{hex:12}.t.example", 4).unwrap(), drawn);
        for slip in ["{hexx:3}", "{hex:9999}", "{word", "{words}"] {
            assert_eq!(name(slip, 0), None, "{slip}");
        }
    }
}
