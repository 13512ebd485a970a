//! Addresses of web resources, as far as visiting needs them: `http` and `https`, no user names (RFC 3986, RFC 9110 §4.2).

use std::fmt;

/// Longest address followed, bytes: longer ones are rare, and the work of matching one against a site's wishes grows with it.
pub const MAX_URL: usize = 2048;
/// Longest host name, bytes (RFC 1035 §2.3.4, the final dot left out).
pub const MAX_HOST: usize = 253;

/// An absolute address. The host is lower case, the path begins with `/`, and there is no fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Url {
    secure: bool,
    host: String,
    port: Option<u16>,
    /// Path and query, percent-encoded.
    target: String,
}

impl Url {
    /// Reads an absolute address. `None` if it is another scheme, has a user name, a host that is neither a name in
    /// ASCII nor an IPv4 address, port 0, or is too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c.is_control());
        if text.len() > MAX_URL {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let secure = match () {
            () if scheme.eq_ignore_ascii_case("https") => true,
            () if scheme.eq_ignore_ascii_case("http") => false,
            () => return None,
        };
        let (authority, target) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = split_port(authority)?;
        let target = encode(target);
        let target = if target.starts_with('/') { target } else { format!("/{target}") };
        let (path, query) = split_query(&target);
        let target = format!("{}{query}", without_dots(path));
        let port = port.filter(|p| *p != default_port(secure));
        let fits = target.len() <= MAX_URL;
        fits.then_some(Self { secure, host: host.to_ascii_lowercase(), port, target })
    }

    /// The address that `reference`, found in the resource at this address, means (RFC 3986 §5.2). `None` if that is
    /// none that [`Url::parse`] takes.
    #[must_use]
    pub fn join(&self, reference: &str) -> Option<Self> {
        let reference = reference.trim_matches(|c: char| c.is_ascii_whitespace() || c.is_control());
        if reference.len() > MAX_URL {
            return None;
        }
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        let scheme = if self.secure { "https" } else { "http" };
        if reference.starts_with("//") {
            return Self::parse(&format!("{scheme}:{reference}"));
        }
        let reference = encode(reference);
        let (path, query) = split_query(&self.target);
        let (new_path, new_query) = split_query(&reference);
        let target = match (new_path, new_query) {
            ("", "") => format!("{path}{query}"),
            ("", new_query) => format!("{path}{new_query}"),
            (new_path, new_query) if new_path.starts_with('/') => {
                format!("{}{new_query}", without_dots(new_path))
            }
            (new_path, new_query) => {
                let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
                format!("{}{new_query}", without_dots(&format!("{folder}{new_path}")))
            }
        };
        (target.len() <= MAX_URL).then(|| Self { target, ..self.clone() })
    }

    /// The same server's resource at `target`, an encoded path with or without a query that begins with `/`.
    pub(super) fn at(&self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self.clone() }
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host name or IPv4 address, lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port, the scheme's own unless stated.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(default_port(self.secure))
    }

    /// Path and query, percent-encoded, beginning with `/`: what a request line and robots.txt speak of.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        split_query(&self.target).0
    }

    /// Scheme, host and port: what one robots.txt speaks for.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        match self.port {
            Some(port) => format!("{scheme}://{}:{port}", self.host),
            None => format!("{scheme}://{}", self.host),
        }
    }

    /// What a limit of requests counts together: the host without a leading `www.`.
    #[must_use]
    pub fn site(&self) -> &str {
        self.host.strip_prefix("www.").filter(|rest| rest.contains('.')).unwrap_or(&self.host)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.target)
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Host and port of an authority; `None` if it has a user name or is malformed.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.split_once(':') {
        // "host:" means the scheme's own port.
        Some((host, "")) => (host, None),
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, Some(port.parse().ok().filter(|p| *p != 0)?))
        }
        Some(_) => return None,
        None => (authority, None),
    };
    is_host(host).then_some((host, port))
}

/// Whether this is a host name of letters, digits, hyphens and underscores, or an IPv4 address.
#[must_use]
pub fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let ends = |c: Option<u8>| c.is_some_and(|c| c != b'-');
        label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && ends(label.bytes().next())
            && ends(label.bytes().last())
    };
    host.len() <= MAX_HOST && host.split('.').all(label)
}

/// Whether a reference begins with a scheme (RFC 3986 §3.1).
fn has_scheme(reference: &str) -> bool {
    let Some(at) = reference.find([':', '/', '?', '#']) else { return false };
    let scheme = &reference[..at];
    reference[at..].starts_with(':')
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Path, and query with its question mark.
fn split_query(target: &str) -> (&str, &str) {
    target.find('?').map_or((target, ""), |at| target.split_at(at))
}

/// Drops the fragment and percent-encodes what may not stand in a path or query, as browsers do. Line ends and tabs
/// go; what is encoded stays as it is.
fn encode(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'\t' | b'\n' | b'\r' => {}
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0..0x20 | 0x7f.. => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// A path without `.` and `..` (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let tail = if open && !kept.is_empty() { "/" } else { "" };
    format!("/{}{tail}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_one_spelling() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Url::parse(text).map(|u| u.to_string()).as_deref(), expected, "{text}");
        };
        check("https://www.Example.org", Some("https://www.example.org/"));
        check("HTTP://example.org:80/a?b#c", Some("http://example.org/a?b"));
        check("https://example.org:8443?x", Some("https://example.org:8443/?x"));
        check("https://example.org:/a b/ü", Some("https://example.org/a%20b/%C3%BC"));
        check(" https://example.org/a/./b/../c \n", Some("https://example.org/a/c"));
        check("https://example.org/%7euser", Some("https://example.org/%7euser"));
        check("https://192.0.2.1/", Some("https://192.0.2.1/"));
        for bad in [
            "",
            "example.org",
            "ftp://example.org/",
            "https://",
            "https://user@example.org/",
            "https://user:secret@example.org/",
            "https://example.org:0/",
            "https://example.org:99999/",
            "https://exa mple.org/",
            "https://-a.example/",
            "https://a..example/",
            "https://münchen.example/",
            "javascript:alert(1)",
        ] {
            check(bad, None);
        }
        check(&format!("https://example.org/{}", "a".repeat(MAX_URL)), None);
    }

    /// RFC 3986 §5.4, with the base it uses, but with a scheme of ours and without parameters' special cases.
    #[test]
    fn references_are_resolved_as_the_standard_says() {
        let base = Url::parse("http://a/b/c/d;p?q").expect("base");
        let check = |reference: &str, expected: &str| {
            let joined = base.join(reference).map(|u| u.to_string());
            assert_eq!(joined.as_deref(), Some(expected), "{reference}");
        };
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
        ] {
            check(reference, expected);
        }
        for other in ["mailto:a@b", "data:text/plain,x", "a:b/c", "//user@host/"] {
            assert_eq!(base.join(other), None, "{other}");
        }
    }

    #[test]
    fn a_site_is_its_host_without_www() {
        for (url, site, origin) in [
            ("https://www.example.org/a", "example.org", "https://www.example.org"),
            ("https://example.org/", "example.org", "https://example.org"),
            ("http://www.org:8080/", "www.org", "http://www.org:8080"),
        ] {
            let url = Url::parse(url).expect("url");
            assert_eq!((url.site(), url.origin().as_str()), (site, origin));
        }
    }
}
