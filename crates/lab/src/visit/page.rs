//! What a page refers to: pictures, scripts and style sheets that belong to it, and other pages.
//!
//! This is no HTML parser: it finds tags and their attributes, which is what a bounded reader of strangers' pages
//! needs. Comments and the insides of scripts and styles are passed over. Nothing is ever sent to a page's forms.

use super::url::Url;

/// Bytes of a page that are looked at.
pub const MAX_LOOKED_AT: usize = 512 * 1024;
/// References of each kind that are kept.
pub const MAX_LINKS: usize = 64;

/// Words in a path that suggest logins, purchases and other things that a visitor without a purpose stays away from.
const PRIVATE: [&str; 18] = [
    "account", "admin", "auth", "basket", "cart", "checkout", "delete", "login", "logon", "logout", "member",
    "passw", "register", "session", "sign-in", "signin", "signup", "subscri",
];

/// What a page refers to, each once, in the page's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Parts of the page, on its host or one under the same site.
    pub parts: Vec<Url>,
    /// Other pages of the same host, without a query.
    pub pages: Vec<Url>,
}

/// The references of a page.
#[must_use]
pub fn links(html: &[u8], base: &Url) -> Links {
    let html = &html[..html.len().min(MAX_LOOKED_AT)];
    let mut found = Links::default();
    let mut at = 0;
    while let Some(begin) = html.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'<')) {
        at += begin + 1;
        let rest = html.get(at..).unwrap_or_default();
        if rest.starts_with(b"!--") {
            at += find(rest, b"-->").unwrap_or(rest.len());
            continue;
        }
        let (tag, length) = Tag::read(rest);
        at += length;
        let Some(tag) = tag else { continue };
        found.take(&tag, base);
        // What stands inside is not markup.
        for raw in [&b"script"[..], b"style"] {
            if tag.name.eq_ignore_ascii_case(raw) {
                let inside = html.get(at..).unwrap_or_default();
                at += find_end(inside, raw).unwrap_or(inside.len());
            }
        }
    }
    found
}

impl Links {
    fn take(&mut self, tag: &Tag<'_>, base: &Url) {
        let reference = match tag.name.to_ascii_lowercase().as_slice() {
            b"img" | b"script" => tag.get("src"),
            b"link" if tag.has_word("rel", &["stylesheet", "icon"]) => tag.get("href"),
            b"a" if !tag.has_word("rel", &["nofollow"]) => tag.get("href"),
            _ => None,
        };
        let Some(url) = reference.and_then(|r| base.join(&unescape(r))) else { return };
        if tag.name.eq_ignore_ascii_case(b"a") {
            let elsewhere = url.origin() != base.origin() || url.path() == base.path();
            if !elsewhere && !url.target().contains('?') && !is_private(url.path()) {
                keep(&mut self.pages, url);
            }
        } else if is_part(base, &url) {
            keep(&mut self.parts, url);
        }
    }
}

fn keep(urls: &mut Vec<Url>, url: Url) {
    if urls.len() < MAX_LINKS && !urls.contains(&url) {
        urls.push(url);
    }
}

/// Whether a part is on a host of the page's own site, and not less secure than the page.
fn is_part(page: &Url, part: &Url) -> bool {
    let under =
        part.host().strip_suffix(page.site()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    under && (part.is_secure() || !page.is_secure())
}

fn is_private(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    PRIVATE.iter().any(|word| path.contains(word))
}

/// A tag's name and attributes.
struct Tag<'a> {
    name: &'a [u8],
    attributes: Vec<(&'a [u8], &'a [u8])>,
}

/// Attributes of one tag that are looked at.
const MAX_ATTRIBUTES: usize = 32;

impl<'a> Tag<'a> {
    /// Reads what follows `<`, up to and with `>`; also says how long that is. No tag if it is not closed.
    fn read(bytes: &'a [u8]) -> (Option<Self>, usize) {
        let mut rest = bytes;
        let mut is_closed = false;
        let name = take_while(&mut rest, |b| b.is_ascii_alphanumeric());
        let mut tag = Self { name, attributes: Vec::new() };
        loop {
            take_while(&mut rest, |b| b.is_ascii_whitespace() || b == b'/');
            match rest {
                [] => break,
                [b'>', after @ ..] => {
                    rest = after;
                    is_closed = true;
                    break;
                }
                // A new tag: this one was none.
                [b'<', ..] => break,
                _ => {}
            }
            let key = take_while(&mut rest, |b| {
                !b.is_ascii_whitespace() && !matches!(b, b'=' | b'>' | b'/' | b'<')
            });
            take_while(&mut rest, |b| b.is_ascii_whitespace());
            let mut value: &[u8] = &[];
            if let [b'=', after @ ..] = rest {
                rest = after;
                take_while(&mut rest, |b| b.is_ascii_whitespace());
                value = match rest {
                    [quote @ (b'"' | b'\''), after @ ..] => {
                        rest = after;
                        let value = take_while(&mut rest, |b| b != *quote);
                        rest = rest.get(1..).unwrap_or_default();
                        value
                    }
                    _ => take_while(&mut rest, |b| !b.is_ascii_whitespace() && b != b'>'),
                };
            }
            if tag.attributes.len() < MAX_ATTRIBUTES {
                tag.attributes.push((key, value));
            }
        }
        (is_closed.then_some(tag), bytes.len() - rest.len())
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        let (_, value) = self.attributes.iter().find(|(k, _)| k.eq_ignore_ascii_case(key.as_bytes()))?;
        std::str::from_utf8(value).ok().filter(|v| !v.is_empty())
    }

    fn has_word(&self, key: &str, words: &[&str]) -> bool {
        let value = self.get(key).unwrap_or_default();
        value.split_ascii_whitespace().any(|w| words.iter().any(|x| w.eq_ignore_ascii_case(x)))
    }
}

fn take_while<'a>(rest: &mut &'a [u8], keep: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|b| !keep(*b)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    taken
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// Where the closing tag of an element begins.
fn find_end(bytes: &[u8], name: &[u8]) -> Option<usize> {
    let close = |w: &[u8]| w.starts_with(b"</") && w.get(2..).is_some_and(|n| n.eq_ignore_ascii_case(name));
    bytes.windows(name.len() + 2).position(close)
}

/// The character references that addresses contain.
fn unescape(text: &str) -> String {
    text.replace("&amp;", "&").replace("&#38;", "&").replace("&#x26;", "&").replace("&#47;", "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, parts: &[&str], pages: &[&str]) {
        let base = Url::parse("https://www.example.org/a/b.html").expect("base");
        let links = links(html.as_bytes(), &base);
        let text = |urls: &[Url]| urls.iter().map(Url::to_string).collect::<Vec<_>>();
        assert_eq!(
            (text(&links.parts), text(&links.pages)),
            (
                parts.iter().map(ToString::to_string).collect(),
                pages.iter().map(ToString::to_string).collect(),
            ),
            "{html}"
        );
    }

    #[test]
    fn parts_and_pages_are_found() {
        check(
            "<!doctype html><IMG alt='a > b' SRC=x.png><script async src=\"/s.js?a=1&amp;b=2\"></script>\
             <link rel='preload stylesheet' href=c.css><link rel=canonical href=/no><a class=x href='c.html#top'>c</a>",
            &[
                "https://www.example.org/a/x.png",
                "https://www.example.org/s.js?a=1&b=2",
                "https://www.example.org/a/c.css",
            ],
            &["https://www.example.org/a/c.html"],
        );
        check(
            "<img src=//static.example.org/x><img src=//example.org/x><img src=//badexample.org/x>",
            &["https://static.example.org/x", "https://example.org/x"],
            &[],
        );
        check(
            "<img src=x><img src=x><img src=http://www.example.org/y>",
            &["https://www.example.org/a/x"],
            &[],
        );
    }

    #[test]
    fn what_is_not_for_a_passing_visitor_is_left_alone() {
        check(
            "<a href=/login><a href='/My-Account/x'><a href=/x?delete=1><a href=mailto:a@b><a rel=nofollow href=/n>\
             <a href=https://other.example/><a href=#top><a href=b.html><form action=/f><input type=image src=/i></form>",
            &[],
            &[],
        );
    }

    #[test]
    fn what_is_not_markup_is_passed_over() {
        check(
            "<!-- <img src=a> --><script>'<img src=b>'</SCRIPT><style><img src=c></style><img src=d>",
            &["https://www.example.org/a/d"],
            &[],
        );
        for broken in [
            "<",
            "<img",
            "<img src",
            "<img src=",
            "<img src='x",
            "<!--",
            "<script>",
            "< img src=x>",
            "<<<>>>",
        ] {
            check(broken, &[], &[]);
        }
        check("a < b <img src=x>", &["https://www.example.org/a/x"], &[]);
    }

    #[test]
    fn links_are_bounded() {
        let many: String = (0..1000).map(|i| format!("<img src={i}><a href={i}>")).collect();
        let base = Url::parse("https://example.org/").expect("base");
        let links = links(many.as_bytes(), &base);
        assert_eq!((links.parts.len(), links.pages.len()), (MAX_LINKS, MAX_LINKS));
    }
}
