//! Text from a log line, made harmless for whoever shows it.

use std::fmt::Write;

/// Characters that change what is shown without being shown: direction marks and isolates (Unicode Standard Annex 9),
/// zero-width characters, separators of lines and paragraphs, the byte order mark, tags.
const fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// The text of `bytes`: at most `most` characters, control characters (so also those that begin an ANSI escape) and
/// unseen ones as `\u{…}`, invalid UTF-8 as U+FFFD, `…` where something was cut off.
#[must_use]
pub fn clean(bytes: &[u8], most: usize) -> Box<str> {
    // Four bytes are the longest character; more than that many are cut anyway.
    let cut = &bytes[..bytes.len().min(most.saturating_mul(4).saturating_add(4))];
    if cut.len() <= most && cut.iter().all(|b| (0x20..0x7f).contains(b)) {
        return String::from_utf8_lossy(cut).into();
    }
    let mut out = String::with_capacity(cut.len() + 8);
    let text = String::from_utf8_lossy(cut);
    for (n, c) in text.chars().enumerate() {
        if n >= most {
            out.push('…');
            break;
        }
        if c.is_control() || is_unseen(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_turns_text_around_stays() {
        for (input, expected) in [
            (&b"alice"[..], "alice"),
            (b"\x1b[2J\x1b[31mroot", "\\u{1b}[2J\\u{1b}[31mroot"),
            (b"a\nb\r\tc\0", "a\\u{a}b\\u{d}\\u{9}c\\u{0}"),
            ("x\u{202e}gnp.exe".as_bytes(), "x\\u{202e}gnp.exe"),
            ("a\u{200b}b\u{2028}c\u{9b}1m".as_bytes(), "a\\u{200b}b\\u{2028}c\\u{9b}1m"),
            (b"caf\xe9", "caf\u{fffd}"),
            ("M\u{fc}ller".as_bytes(), "M\u{fc}ller"),
            (b"", ""),
        ] {
            assert_eq!(&*clean(input, 64), expected);
        }
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        assert_eq!(&*clean(&[b'a'; 1_000_000], 4), "aaaa…");
        assert_eq!(&*clean("ääääää".as_bytes(), 4), "ääää…");
        assert_eq!(&*clean(b"abcd", 4), "abcd");
    }
}
