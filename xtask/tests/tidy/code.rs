//! Rust source with comments and the contents of literals blanked out.

/// The lines of `text`, each as long as before, with everything that is not code replaced by spaces. Total: any text has
/// an answer, if not a meaningful one.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match chars[i] {
            '/' if chars.get(i + 1) == Some(&'/') => find(&chars, i, |c| c == '\n'),
            '/' if chars.get(i + 1) == Some(&'*') => block_comment(&chars, i),
            '"' => string(&chars, i),
            'r' | 'b' | 'c' if !is_word(i.checked_sub(1).map(|p| chars[p])) => prefixed(&chars, i),
            '\'' => character(&chars, i),
            _ => i,
        };
        if end > i {
            out.extend(chars[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            i = end;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out.lines().map(str::to_owned).collect()
}

/// Where `word` stands in `line` as a word of its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !is_word(line[..at].chars().next_back()) && !is_word(line[at + word.len()..].chars().next())
    })
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn find(chars: &[char], from: usize, what: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|i| what(chars[*i])).unwrap_or(chars.len())
}

fn block_comment(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut i = from;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

/// End of a string that opens at `from`.
fn string(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// End of a raw, byte or C string whose prefix begins at `from`; `from` if it is none.
fn prefixed(chars: &[char], from: usize) -> usize {
    let mut i = find(chars, from, |c| !matches!(c, 'r' | 'b' | 'c'));
    if i - from > 2 {
        return from;
    }
    let raw = chars[from..i].contains(&'r');
    let hashes = find(chars, i, |c| c != '#') - i;
    i += hashes;
    match chars.get(i) {
        Some('"') if raw => {
            let close = |at: usize| chars[at] == '"' && (1..=hashes).all(|h| chars.get(at + h) == Some(&'#'));
            (i + 1..chars.len()).find(|at| close(*at)).map_or(chars.len(), |at| at + 1 + hashes)
        }
        Some('"') if hashes == 0 => string(chars, i),
        _ => from,
    }
}

/// End of a character literal that opens at `from`; `from` if it is a lifetime.
fn character(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), Some(_)) => (find(chars, from + 3, |c| c == '\'') + 1).min(chars.len()),
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        let check = |text: &str, expected: &str| assert_eq!(lines(text), [expected], "{text}");
        check("a // b", "a     ");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"f("a\"b", c)"#, "f(      , c)");
        check(r##"f(r#"a"b"#, c)"##, "f(        , c)");
        check(r#"f(b"ab", br"\", c"x")"#, "f(     ,      ,     )");
        check(r"f('\'', '/', 'a', b'\\') // x", "f(    ,    ,    , b    )     ");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("bar(crab, c)", "bar(crab, c)");
        assert_eq!(lines("a\n/*\nb\n*/\nc"), ["a", "  ", " ", "  ", "c"]);
        assert_eq!(lines("\"open\nend"), ["     ", "   "]);
    }

    #[test]
    fn words() {
        assert!(has_word("a b", "b") && has_word("(b)", "b"));
        assert!(!has_word("ab b_c", "b"));
    }
}
