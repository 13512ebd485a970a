//! STIX patterns (STIX 2.1 §9), as far as they name addresses.
//!
//! A pattern is taken for the addresses each of which alone fulfils it: alternatives joined by OR are, conditions joined by
//! AND, sequences and qualifiers ask for more than an address and give none.

use crate::Prefix;

/// Parentheses within each other; a person nests two or three.
const MAX_DEPTH: u32 = 32;
/// Addresses one pattern may name.
const MAX_ADDRESSES: usize = 10_000;

#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    /// `[` or `]` around an observation, `(`, `)`, `,`.
    Mark(u8),
    /// `=`, `==`, `!=`, `<`, `>`, `<=`, `>=`.
    Operator(&'a str),
    /// A word, number or object path.
    Word(&'a str),
    /// A quoted text, unescaped; also of the prefixed kinds (`t'…'`, `b'…'`, `h'…'`).
    Text(String),
}

/// The addresses a pattern names; `None` if it is not understood.
pub(super) fn addresses(pattern: &str) -> Option<Vec<Prefix>> {
    let tokens = lex(pattern)?;
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let found = parser.observations()?;
    parser.tokens.is_empty().then_some(found)
}

fn lex(pattern: &str) -> Option<Vec<Token<'_>>> {
    let bytes = pattern.as_bytes();
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':' | b'.' | b'+');
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let begin = at;
        at += 1;
        match b {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'[' | b']' | b'(' | b')' | b',' => tokens.push(Token::Mark(b)),
            b'=' | b'!' | b'<' | b'>' => {
                if bytes.get(at) == Some(&b'=') {
                    at += 1;
                }
                tokens.push(Token::Operator(pattern.get(begin..at)?));
            }
            b'\'' => {
                let mut text = Vec::new();
                loop {
                    let b = *bytes.get(at)?;
                    at += 1;
                    match b {
                        b'\'' => break,
                        b'\\' => {
                            text.push(*bytes.get(at)?);
                            at += 1;
                        }
                        other => text.push(other),
                    }
                }
                tokens.push(Token::Text(String::from_utf8(text).ok()?));
            }
            // A literal of another kind, such as a timestamp: its prefix says nothing here.
            b't' | b'b' | b'h' if bytes.get(at) == Some(&b'\'') => {}
            b if is_word(b) => {
                loop {
                    match bytes.get(at) {
                        Some(b) if is_word(*b) => at += 1,
                        // An index or key in a path, such as `[0]`, `[*]` or `'SHA-256'` after a dot.
                        Some(b'[') => at += bytes.get(at..)?.iter().position(|b| *b == b']')? + 1,
                        Some(b'\'') if bytes.get(at - 1) == Some(&b'.') => {
                            at += bytes.get(at + 1..)?.iter().position(|b| *b == b'\'')? + 2;
                        }
                        _ => break,
                    }
                }
                tokens.push(Token::Word(pattern.get(begin..at)?));
            }
            _ => return None,
        }
    }
    Some(tokens)
}

struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    depth: u32,
}

impl<'t, 'a> Parser<'t, 'a> {
    fn next(&mut self) -> Option<&'t Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take(&mut self, wanted: &Token<'_>) -> bool {
        let there = self.tokens.first() == Some(wanted);
        if there {
            self.next();
        }
        there
    }

    fn word(&mut self, word: &str) -> bool {
        self.take(&Token::Word(word))
    }

    /// Goes into parentheses.
    fn within<T>(&mut self, end: u8, inner: impl Fn(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let found = inner(self)?;
        self.depth -= 1;
        self.take(&Token::Mark(end)).then_some(found)
    }

    /// Alternatives of `part`; those joined by one of `more` name nothing.
    fn alternatives(
        &mut self,
        more: &[&str],
        part: impl Fn(&mut Self) -> Option<Vec<Prefix>>,
    ) -> Option<Vec<Prefix>> {
        let mut all = Vec::new();
        loop {
            let mut one = part(self)?;
            while more.iter().any(|m| self.word(m)) {
                part(self)?;
                one.clear();
            }
            all.append(&mut one);
            if all.len() > MAX_ADDRESSES {
                return None;
            }
            if !self.word("OR") {
                return Some(all);
            }
        }
    }

    fn observations(&mut self) -> Option<Vec<Prefix>> {
        self.alternatives(&["AND", "FOLLOWEDBY"], Self::observation)
    }

    fn observation(&mut self) -> Option<Vec<Prefix>> {
        let mut found = match self.next()? {
            Token::Mark(b'[') => self.within(b']', Self::comparisons)?,
            Token::Mark(b'(') => self.within(b')', Self::observations)?,
            _ => return None,
        };
        // Qualifiers: WITHIN n SECONDS, REPEATS n TIMES, START t STOP t.
        while let Some(Token::Word(qualifier)) = self.tokens.first() {
            let rest = match *qualifier {
                "WITHIN" | "REPEATS" => 3,
                "START" => 4,
                _ => break,
            };
            self.tokens = self.tokens.get(rest..)?;
            found.clear();
        }
        Some(found)
    }

    fn comparisons(&mut self) -> Option<Vec<Prefix>> {
        self.alternatives(&["AND"], Self::comparison)
    }

    fn comparison(&mut self) -> Option<Vec<Prefix>> {
        if self.take(&Token::Mark(b'(')) {
            return self.within(b')', Self::comparisons);
        }
        if self.word("EXISTS") {
            self.next()?;
            return Some(Vec::new());
        }
        let Token::Word(path) = self.next()? else { return None };
        let negated = self.word("NOT");
        let texts = match self.next()? {
            Token::Operator("=" | "==") | Token::Word("ISSUBSET") => vec![self.literal()?],
            Token::Word("IN") => {
                if !self.take(&Token::Mark(b'(')) {
                    return None;
                }
                let mut texts = vec![self.literal()?];
                while self.take(&Token::Mark(b',')) {
                    texts.push(self.literal()?);
                }
                if !self.take(&Token::Mark(b')')) {
                    return None;
                }
                texts
            }
            Token::Operator(_) | Token::Word("LIKE" | "MATCHES" | "ISSUPERSET") => {
                self.literal()?;
                Vec::new()
            }
            _ => return None,
        };
        let is_address = matches!(
            *path,
            "ipv4-addr:value"
                | "ipv6-addr:value"
                | "network-traffic:src_ref.value"
                | "network-traffic:dst_ref.value"
        );
        if !is_address || negated {
            return Some(Vec::new());
        }
        texts.into_iter().map(|t| Prefix::parse(t).ok()).collect()
    }

    /// A literal; as text, where it is one.
    fn literal(&mut self) -> Option<&'t str> {
        match self.next()? {
            Token::Text(text) => Some(text),
            Token::Word(word) => Some(word),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_give_the_addresses_that_alone_fulfil_them() {
        let check = |pattern: &str, expected: Option<&[&str]>| {
            let got = addresses(pattern).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(
                got.as_deref(),
                expected.map(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>()).as_deref(),
                "{pattern}"
            );
        };
        check("[ipv4-addr:value = '198.51.100.1']", Some(&["198.51.100.1"]));
        check("[ipv4-addr:value='198.51.100.0/24']", Some(&["198.51.100.0/24"]));
        check("[ipv6-addr:value = '2001:db8::1']", Some(&["2001:db8::1"]));
        check("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", Some(&["198.51.100.0/24"]));
        check("[network-traffic:dst_ref.value = '192.0.2.1']", Some(&["192.0.2.1"]));
        check("[ipv4-addr:value IN ('192.0.2.1', '192.0.2.2')]", Some(&["192.0.2.1", "192.0.2.2"]));
        check(
            "[ipv4-addr:value = '192.0.2.1' OR ipv4-addr:value = '192.0.2.2']",
            Some(&["192.0.2.1", "192.0.2.2"]),
        );
        check(
            "[ipv4-addr:value = '192.0.2.1'] OR [ipv6-addr:value = '2001:db8::2']",
            Some(&["192.0.2.1", "2001:db8::2"]),
        );
        check("[domain-name:value = 'a.example' OR ipv4-addr:value = '192.0.2.1']", Some(&["192.0.2.1"]));
        check("([ipv4-addr:value = '192.0.2.1'])", Some(&["192.0.2.1"]));
        check("[(ipv4-addr:value = '192.0.2.1')]", Some(&["192.0.2.1"]));
        // More than an address.
        for more in [
            "[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 80]",
            "[ipv4-addr:value = '192.0.2.1'] AND [ipv4-addr:value = '192.0.2.2']",
            "[ipv4-addr:value = '192.0.2.1'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.2']",
            "[ipv4-addr:value = '192.0.2.1'] WITHIN 300 SECONDS",
            "[ipv4-addr:value = '192.0.2.1'] START t'2020-01-01T00:00:00Z' STOP t'2021-01-01T00:00:00Z'",
            "[ipv4-addr:value != '192.0.2.1']",
            "[ipv4-addr:value NOT = '192.0.2.1']",
            "[ipv4-addr:value NOT IN ('192.0.2.1')]",
            "[ipv4-addr:value LIKE '192.0.2.%']",
            "[file:hashes.'SHA-256' = 'ab']",
            "[email-message:to_refs[*].value = 'a@b.example']",
            "[EXISTS ipv4-addr:value]",
        ] {
            check(more, Some(&[]));
        }
        // An alternative beside one that asks for more.
        check(
            "[ipv4-addr:value = '192.0.2.1' AND a:b = 'c' OR ipv4-addr:value = '192.0.2.2']",
            Some(&["192.0.2.2"]),
        );
        for broken in [
            "",
            "[",
            "[]",
            "ipv4-addr:value = '192.0.2.1'",
            "[ipv4-addr:value = 192.0.2.1",
            "[ipv4-addr:value = '192.0.2.1",
            "[ipv4-addr:value = 'x']",
            "[ipv4-addr:value = '192.0.2.1'] x",
            "[ipv4-addr:value ~ '192.0.2.1']",
            "[ipv4-addr:value IN ('192.0.2.1']",
            "[ipv4-addr:value IN '192.0.2.1']",
            "[a:b\\]",
        ] {
            check(broken, None);
        }
        check(&format!("{}[a:b = 'c']{}", "(".repeat(100_000), ")".repeat(100_000)), None);
    }
}
