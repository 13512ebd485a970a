//! Words, numbers, texts and signs of a query.

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Number(f64),
    Text(String),
    Sign(&'static str),
}

/// Signs, longer ones first.
const SIGNS: [&str; 16] =
    ["||", "<>", "!=", "<=", ">=", "==", "=", "<", ">", "(", ")", ",", "*", "+", "-", "/"];
const MORE_SIGNS: [&str; 3] = ["%", ";", "."];

/// Splits a query; comments are left out.
pub(super) fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = query;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(out) };
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else if first == '\'' || first == '"' {
            let (text, after) = quoted(rest, first).ok_or_else(|| near(rest))?;
            out.push(Token::Text(text));
            rest = after;
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            out.push(Token::Number(rest[..end].parse().map_err(|_| near(rest))?));
            rest = &rest[end..];
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            out.push(Token::Word(rest[..end].to_ascii_lowercase()));
            rest = &rest[end..];
        } else {
            let sign = SIGNS.iter().chain(&MORE_SIGNS).find(|s| rest.starts_with(**s));
            let sign = sign.ok_or_else(|| format!("unrecognized token: \"{first}\""))?;
            out.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        }
    }
}

/// A text in quotes, which stand double inside, and what follows it.
fn quoted(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            text.push(quote);
            chars.next();
        } else {
            return Some((text, &rest[at + quote.len_utf8()..]));
        }
    }
    None
}

/// The error for what begins with `rest`.
pub(super) fn near(rest: &str) -> String {
    let word: String = rest.chars().take(12).collect();
    format!("near \"{word}\": syntax error")
}
