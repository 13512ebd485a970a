//! What a site asks robots not to visit (Robots Exclusion Protocol, RFC 9309).

/// Bytes of a file that are read; the rest is left out (RFC 9309 §2.5 asks for 500 KiB at least).
pub const MAX_FILE: usize = 512 * 1024;
/// Rules kept. Files in the wild have some hundreds; what a longer one says beyond is not forgotten but answered with
/// "not allowed", see [`Robots::allows`].
pub const MAX_RULES: usize = 10_000;
/// Longest path pattern kept, bytes. A longer one is cut and closed by a wildcard, so that it matches no less.
pub const MAX_PATTERN: usize = 2000;

/// Longest pause that a file may ask for, s: a day, as long as a file is kept (RFC 9309 §2.4).
const MAX_DELAY: f64 = 86_400.0;

/// One site's wishes towards one robot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Robots {
    rules: Vec<Rule>,
    /// Seconds between requests, the `Crawl-delay` that RFC 9309 does not define but many files state.
    delay: Option<f64>,
    /// There were more rules than are kept.
    overflow: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    allow: bool,
    /// With the escapes of [`spell`]; `*` any bytes, `$` at the end the end.
    pattern: Vec<u8>,
}

impl Robots {
    /// Everything may be visited: there is no file (RFC 9309 §2.3.1.3).
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Nothing may be visited: the file cannot be had although there may be one (RFC 9309 §2.3.1.4).
    #[must_use]
    pub fn nothing() -> Self {
        Self { rules: vec![Rule { allow: false, pattern: b"/".to_vec() }], ..Self::default() }
    }

    /// Reads the groups of a file that are for `product`, the robot's product token, or if none is, those for `*`
    /// (RFC 9309 §2.2.1). Any bytes are a file; lines that say nothing known are passed over.
    #[must_use]
    pub fn parse(file: &[u8], product: &str) -> Self {
        let file = &file[..file.len().min(MAX_FILE)];
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let (mut own, mut common) = (None, None);
        // Of the group being read: whether it is ours, everybody's, and whether its rules have begun.
        let (mut is_own, mut is_common, mut in_rules) = (false, false, true);
        for line in file.split(|b| matches!(b, b'\n' | b'\r')) {
            let Some((key, value)) = split_line(line) else { continue };
            if key.eq_ignore_ascii_case(b"user-agent") {
                if in_rules {
                    (is_own, is_common, in_rules) = (false, false, false);
                }
                is_own |= product_of(value).eq_ignore_ascii_case(product.as_bytes());
                is_common |= value.first() == Some(&b'*');
                // A group without rules still is a group: everything may be visited.
                for (wanted, robots) in [(is_own, &mut own), (is_common, &mut common)] {
                    if wanted {
                        robots.get_or_insert_with(Self::default);
                    }
                }
                continue;
            }
            let Some(statement) = Statement::of(key, value) else { continue };
            in_rules = true;
            for (wanted, robots) in [(is_own, &mut own), (is_common, &mut common)] {
                if let Some(robots) = robots.as_mut().filter(|_| wanted) {
                    robots.take(&statement);
                }
            }
        }
        own.or(common).unwrap_or_default()
    }

    fn take(&mut self, statement: &Statement<'_>) {
        match *statement {
            // An empty path matches nothing.
            Statement::Rule { pattern: b"", .. } => {}
            Statement::Rule { .. } if self.rules.len() == MAX_RULES => self.overflow = true,
            Statement::Rule { allow, pattern } => {
                self.rules.push(Rule { allow, pattern: spell_pattern(pattern) });
            }
            Statement::Delay(delay) => self.delay = Some(self.delay.map_or(delay, |d| d.max(delay))),
        }
    }

    /// Whether a path with its query, percent-encoded, may be visited. The longest matching rule decides, and of two
    /// equally long ones that which allows (RFC 9309 §2.2.2). A file with more rules than are kept allows nothing but
    /// what one of the rules kept allows.
    #[must_use]
    pub fn allows(&self, target: &str) -> bool {
        // The file itself may always be read.
        if target == "/robots.txt" {
            return true;
        }
        let target = spell(target.as_bytes());
        let best = self
            .rules
            .iter()
            .filter(|rule| matches(&rule.pattern, &target))
            .map(|rule| (rule.pattern.len(), rule.allow))
            .max();
        best.map_or(!self.overflow, |(_, allow)| allow)
    }

    /// Seconds that the site wants between requests; at most a day.
    #[must_use]
    pub const fn delay(&self) -> Option<f64> {
        self.delay
    }

    /// Rules that apply.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no rule applies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// What a line inside a group says.
enum Statement<'a> {
    Rule { allow: bool, pattern: &'a [u8] },
    Delay(f64),
}

impl<'a> Statement<'a> {
    fn of(key: &[u8], value: &'a [u8]) -> Option<Self> {
        if key.eq_ignore_ascii_case(b"allow") {
            return Some(Self::Rule { allow: true, pattern: value });
        }
        if key.eq_ignore_ascii_case(b"disallow") {
            return Some(Self::Rule { allow: false, pattern: value });
        }
        if key.eq_ignore_ascii_case(b"crawl-delay") {
            let delay: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
            return (delay >= 0.0).then_some(Self::Delay(delay.min(MAX_DELAY)));
        }
        None
    }
}

/// Key and value of a line, without comment and blanks.
fn split_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.split(|b| *b == b'#').next()?;
    let at = line.iter().position(|b| *b == b':')?;
    Some((line[..at].trim_ascii(), line[at + 1..].trim_ascii()))
}

/// The product token a `User-agent` line begins with: letters, `-` and `_` (RFC 9309 §2.2.1).
fn product_of(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|b| !(b.is_ascii_alphabetic() || matches!(b, b'-' | b'_')));
    &value[..end.unwrap_or(value.len())]
}

/// One spelling for what is the same path: unreserved characters plain, all else outside ASCII encoded, hexadecimal
/// digits in capitals (RFC 9309 §2.2.2 after RFC 3986 §6.2.2).
fn spell(path: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let encoded = match tail {
            [high, low, after @ ..] if *byte == b'%' => {
                hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, after))
            }
            _ => None,
        };
        match encoded {
            Some((value, after)) => {
                rest = after;
                if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                    out.push(value);
                } else {
                    out.extend([b'%', HEX[usize::from(value >> 4)], HEX[usize::from(value & 15)]]);
                }
            }
            None if byte.is_ascii_graphic() => out.push(*byte),
            None => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    out
}

fn spell_pattern(pattern: &[u8]) -> Vec<u8> {
    let mut pattern = spell(pattern);
    if pattern.len() > MAX_PATTERN {
        pattern.truncate(MAX_PATTERN - 1);
        pattern.push(b'*');
    }
    pattern
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether a pattern matches the beginning of a path: `*` any bytes, `$` at the end the end of the path (RFC 9309
/// §2.2.3). Pieces between wildcards are found greedily from the left, so that time is bounded by the product of both lengths.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (pattern, anchored) = match pattern {
        [head @ .., b'$'] => (head, true),
        _ => (pattern, false),
    };
    let mut pieces = pattern.split(|b| *b == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return !anchored || rest.is_empty() };
    for piece in pieces {
        let Some(at) = find(rest, piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    if anchored { rest.ends_with(last) } else { find(rest, last).is_some() }
}

fn find(bytes: &[u8], piece: &[u8]) -> Option<usize> {
    if piece.is_empty() {
        return Some(0);
    }
    bytes.windows(piece.len()).position(|w| w == piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "autoinmune";

    fn check(file: &str, expected: &[(&str, bool)]) {
        let robots = Robots::parse(file.as_bytes(), US);
        for (path, allowed) in expected {
            assert_eq!(robots.allows(path), *allowed, "{path} under {file:?}");
        }
    }

    #[test]
    fn the_groups_for_us_apply_together_else_those_for_everybody() {
        check("", &[("/", true), ("/a", true)]);
        check("User-agent: *\nDisallow: /", &[("/", false), ("/a", false), ("/robots.txt", true)]);
        check("User-agent: *\nDisallow:", &[("/", true)]);
        check(
            "User-agent: *\nDisallow: /\n\nUser-agent: Autoinmune\nDisallow: /x",
            &[("/a", true), ("/x", false)],
        );
        check("User-agent: AUTOINMUNE/2.0\nDisallow: /x\n", &[("/x", false)]);
        check("User-agent: autoinmune-other\nDisallow: /x\n", &[("/x", true)]);
        check("User-agent: autoinmun\nDisallow: /x\n", &[("/x", true)]);
        check("User-agent: a\nUser-agent: autoinmune\nDisallow: /x", &[("/x", false), ("/y", true)]);
        // Two groups for us are one.
        let two = "User-agent: autoinmune\nDisallow: /x\nUser-agent: b\nDisallow: /y\nUser-agent: autoinmune\nDisallow: /z";
        check(two, &[("/x", false), ("/y", true), ("/z", false)]);
        // An empty line does not end a group, but a group of ours without rules allows everything.
        check("User-agent: autoinmune\n\nUser-agent: *\nDisallow: /", &[("/a", false)]);
        check("User-agent: *\nDisallow: /\nUser-agent: autoinmune\n", &[("/a", true)]);
        // Rules before any group are nobody's; unknown lines do not end a group's names.
        check("Disallow: /\nUser-agent: *\nAllow: /", &[("/a", true)]);
        check("User-agent: autoinmune\nSitemap: https://a/b\nUser-agent: b\nDisallow: /x", &[("/x", false)]);
    }

    #[test]
    fn the_longest_match_decides_and_allowing_wins_ties() {
        let file = "User-agent: *\nAllow: /p\nDisallow: /";
        check(file, &[("/page", true), ("/other", false)]);
        check("User-agent: *\nDisallow: /page\nAllow: /page", &[("/page", true)]);
        check(
            "User-agent: *\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif",
            &[("/example/page/x", true), ("/example/page/disallowed.gif", false)],
        );
        check("User-agent: *\nAllow: /$\nDisallow: /", &[("/", true), ("/page.htm", false)]);
        check(
            "User-agent: *\nDisallow: /fish",
            &[
                ("/fish", false),
                ("/fish.html", false),
                ("/fishheads?id=1", false),
                ("/Fish.asp", true),
                ("/catfish", true),
            ],
        );
        check(
            "User-agent: *\nDisallow: /folder/",
            &[("/folder", true), ("/folder/", false), ("/folder/a", false)],
        );
    }

    #[test]
    fn wildcards_and_ends_match_as_written() {
        let php = "User-agent: *\nDisallow: /*.php";
        check(php, &[("/filename.php?a", false), ("/folder/filename.php5", false), ("/windows.PHP", true)]);
        let end = "User-agent: *\nDisallow: /*.php$";
        check(end, &[("/a.php", false), ("/a.php?b", true), ("/a.php.php", false), ("/a.php/", true)]);
        let two = "User-agent: *\nDisallow: /fish*.php";
        check(two, &[("/fish.php", false), ("/fishheads/catfish.php?x", false), ("/Fish.PHP", true)]);
        check("User-agent: *\nDisallow: *", &[("/", false)]);
        check("User-agent: *\nDisallow: /a**b$", &[("/ab", false), ("/axb", false), ("/abx", true)]);
        check("User-agent: *\nDisallow: /a$b", &[("/a$b", false), ("/a", true)]);
    }

    #[test]
    fn encodings_of_one_path_are_one() {
        check(
            "User-agent: *\nDisallow: /foo/bar?baz=https://foo.bar",
            &[("/foo/bar?baz=https://foo.bar", false)],
        );
        check(
            "User-agent: *\nDisallow: /foo/bar/\u{30c4}",
            &[("/foo/bar/%E3%83%84", false), ("/foo/bar/%e3%83%84", false)],
        );
        check("User-agent: *\nDisallow: /%62ar", &[("/bar", false)]);
        check("User-agent: *\nDisallow: /a%2Fb", &[("/a%2fb", false), ("/a/b", true)]);
    }

    #[test]
    fn delays_comments_and_odd_lines() {
        let delay = |file: &str| Robots::parse(file.as_bytes(), US).delay();
        assert_eq!(delay("User-agent: *\nCrawl-delay: 2.5 # slowly"), Some(2.5));
        assert_eq!(delay("User-agent: *\nCrawl-delay: 1e9"), Some(MAX_DELAY));
        for bad in ["-1", "soon", "NaN", ""] {
            assert_eq!(delay(&format!("User-agent: *\nCrawl-delay: {bad}")), None, "{bad}");
        }
        check(
            "\u{feff}user-AGENT :  *  # all\r\n  DISALLOW :/x\r\nnonsense\r\n:\r\n",
            &[("/x", false), ("/y", true)],
        );
        assert!(!Robots::nothing().allows("/"));
        assert!(Robots::everything().allows("/"));
    }

    #[test]
    fn what_is_beyond_a_limit_is_never_allowed_by_it() {
        let long = format!("User-agent: *\nDisallow: /{}", "a".repeat(MAX_PATTERN * 2));
        let robots = Robots::parse(long.as_bytes(), US);
        assert!(!robots.allows(&format!("/{}", "a".repeat(MAX_PATTERN * 2))));
        assert!(robots.allows("/b"));
        let many = format!("User-agent: *\nAllow: /kept\n{}", "Disallow: /x\n".repeat(MAX_RULES));
        let robots = Robots::parse(many.as_bytes(), US);
        assert_eq!(robots.len(), MAX_RULES);
        assert!(robots.allows("/kept/1") && !robots.allows("/other"));
    }
}
