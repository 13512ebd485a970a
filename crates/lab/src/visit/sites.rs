//! Who is visited: lists of sites and of services as CSV (RFC 4180), the shipped ones and the operator's own.

use super::url::{Url, is_host, split_port};
use serde::Serialize;
use std::fmt;

/// Largest list read, bytes.
pub const MAX_LIST: usize = 16 * 1024 * 1024;
/// Most entries of a list.
pub const MAX_ENTRIES: usize = 100_000;

/// First line of a list of sites.
pub const SITES_HEADER: &str = "country,category,language,name,url";
/// First line of a list of services.
pub const SERVICES_HEADER: &str = "kind,country,category,name,url";

const SHIPPED_SITES: &str = include_str!("../../sites.csv");
const SHIPPED_SERVICES: &str = include_str!("../../services.csv");

/// ISO 3166-1 alpha-2 codes.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET \
    FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ \
    IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML \
    MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS \
    PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL \
    TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// A country, ISO 3166-1 alpha-2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// The country with this code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let known = code.len() == 2 && COUNTRIES.split(' ').any(|c| c == code);
        known.then(|| code.as_bytes().first_chunk().copied().map(Self)).flatten()
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Country {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

/// What a site is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Public administration, parliaments, public data.
    Government,
    /// Press, radio and television.
    News,
    /// Software, hardware, networks, science.
    Technology,
    /// Shops, banks, travel, trade.
    Commerce,
    /// Universities, schools, libraries for learning.
    Education,
    /// Ministries and institutes of health, hospitals.
    Health,
    /// Museums, libraries, theatre, sport.
    Culture,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Government,
        Self::News,
        Self::Technology,
        Self::Commerce,
        Self::Education,
        Self::Health,
        Self::Culture,
    ];

    /// Its name in lists and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Government => "government",
            Self::News => "news",
            Self::Technology => "technology",
            Self::Commerce => "commerce",
            Self::Education => "education",
            Self::Health => "health",
            Self::Culture => "culture",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == text)
    }
}

/// Which country and category a request is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belonging {
    /// Of the list's entry.
    pub country: Country,
    /// Likewise.
    pub category: Category,
}

/// A site to visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Country and category.
    pub belonging: Belonging,
    /// Main language, a short BCP 47 tag.
    pub language: String,
    /// For people.
    pub name: String,
    /// The page visits begin with.
    pub url: Url,
}

/// What a service offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKind {
    /// A resource for programs, such as JSON over HTTP.
    Api,
    /// A file, of which the beginning is fetched.
    Download,
    /// A long recording, read piece by piece.
    Stream,
    /// Network time (RFC 5905).
    Ntp,
    /// Secure shell, whose identification line is read (RFC 4253 §4.2).
    Ssh,
}

impl ServiceKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Api, Self::Download, Self::Stream, Self::Ntp, Self::Ssh];

    /// Its name in lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Download => "download",
            Self::Stream => "stream",
            Self::Ntp => "ntp",
            Self::Ssh => "ssh",
        }
    }
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A web resource.
    Web(Url),
    /// A host and port.
    Host {
        /// Name or IPv4 address, lower case.
        host: String,
        /// UDP port for NTP, TCP port for SSH.
        port: u16,
    },
}

/// A service to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it offers.
    pub kind: ServiceKind,
    /// Country and category.
    pub belonging: Belonging,
    /// For people.
    pub name: String,
    /// Where it is; `ntp://` and `ssh://` in lists are [`Endpoint::Host`].
    pub endpoint: Endpoint,
}

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ListError {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// The shipped sites.
///
/// # Errors
/// Never in a build that passed its tests.
pub fn shipped_sites() -> Result<Vec<Site>, ListError> {
    sites(SHIPPED_SITES)
}

/// The shipped services.
///
/// # Errors
/// Never in a build that passed its tests.
pub fn shipped_services() -> Result<Vec<Service>, ListError> {
    services(SHIPPED_SERVICES)
}

/// Reads a list of sites: [`SITES_HEADER`], then one per line; lines that are empty or begin with `#` are comments.
///
/// # Errors
/// The first line that is wrong, and what is.
pub fn sites(text: &str) -> Result<Vec<Site>, ListError> {
    entries(text, SITES_HEADER, |[country, category, language, name, url]: [&str; 5]| {
        let belonging = belonging(country, category)?;
        if !is_language(language) {
            return Err(format!("'{language}' is no language tag such as en or pt-BR"));
        }
        let url = Url::parse(url).ok_or_else(|| format!("'{url}' is no http or https address"))?;
        Ok(Site { belonging, language: language.to_owned(), name: named(name)?, url })
    })
}

/// Reads a list of services: [`SERVICES_HEADER`], then one per line, as for [`sites`].
///
/// # Errors
/// The first line that is wrong, and what is.
pub fn services(text: &str) -> Result<Vec<Service>, ListError> {
    entries(text, SERVICES_HEADER, |[kind, country, category, name, url]: [&str; 5]| {
        let wrong = || format!("'{kind}' is none of api, download, stream, ntp, ssh");
        let kind = ServiceKind::ALL.into_iter().find(|k| k.name() == kind).ok_or_else(wrong)?;
        let (scheme, port) = match kind {
            ServiceKind::Ntp => ("ntp://", 123),
            ServiceKind::Ssh => ("ssh://", 22),
            ServiceKind::Api | ServiceKind::Download | ServiceKind::Stream => ("", 0),
        };
        let endpoint = match url.strip_prefix(scheme).and_then(split_port) {
            Some((host, stated)) if !scheme.is_empty() => {
                Some(Endpoint::Host { host: host.to_ascii_lowercase(), port: stated.unwrap_or(port) })
            }
            _ if scheme.is_empty() => Url::parse(url).map(Endpoint::Web),
            _ => None,
        };
        let endpoint = endpoint.ok_or_else(|| format!("'{url}' is no address of kind {}", kind.name()))?;
        Ok(Service { kind, belonging: belonging(country, category)?, name: named(name)?, endpoint })
    })
}

fn belonging(country: &str, category: &str) -> Result<Belonging, String> {
    Ok(Belonging {
        country: Country::parse(country)
            .ok_or_else(|| format!("'{country}' is no ISO 3166-1 country code"))?,
        category: Category::parse(category).ok_or_else(|| {
            format!("'{category}' is none of {}", Category::ALL.map(Category::name).join(", "))
        })?,
    })
}

fn named(name: &str) -> Result<String, String> {
    let fits = (1..=100).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned())
        .ok_or_else(|| "the name is empty, too long or has control characters".into())
}

/// A language of two or three letters, with a script or region or without (RFC 5646 §2.1).
fn is_language(tag: &str) -> bool {
    let (language, rest) = tag.split_once('-').map_or((tag, None), |(l, r)| (l, Some(r)));
    let lower = |t: &str| t.bytes().all(|b| b.is_ascii_lowercase());
    let region = |t: &str| t.len() == 2 && t.bytes().all(|b| b.is_ascii_uppercase());
    let script = |t: &str| t.len() == 4 && t.starts_with(|c: char| c.is_ascii_uppercase()) && lower(&t[1..]);
    (2..=3).contains(&language.len()) && lower(language) && rest.is_none_or(|r| region(r) || script(r))
}

/// Reads a list of five columns; entries are unique by what `Debug` shows of their address.
fn entries<T: Addressed>(
    text: &str,
    header: &str,
    read: impl Fn([&str; 5]) -> Result<T, String>,
) -> Result<Vec<T>, ListError> {
    let error = |line: usize, what: String| ListError { line, what };
    if text.len() > MAX_LIST {
        return Err(error(1, format!("the list is longer than {MAX_LIST} bytes")));
    }
    let mut lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .zip(1..)
        .filter(|(l, _)| !l.trim().is_empty() && !l.starts_with('#'));
    match lines.next() {
        Some((first, _)) if first.trim() == header => {}
        Some((_, line)) => return Err(error(line, format!("the first line must be {header}"))),
        None => return Err(error(1, "the list is empty".into())),
    }
    let mut out: Vec<T> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (text, line) in lines {
        let cells = cells(text).ok_or_else(|| error(line, "a quotation mark is not closed".into()))?;
        let cells: Vec<&str> = cells.iter().map(|c| c.trim()).collect();
        let cells: [&str; 5] = cells
            .try_into()
            .map_err(|c: Vec<&str>| error(line, format!("{} columns instead of 5", c.len())))?;
        let entry = read(cells).map_err(|what| error(line, what))?;
        if out.len() == MAX_ENTRIES {
            return Err(error(line, format!("more than {MAX_ENTRIES} entries")));
        }
        if !seen.insert(entry.address()) {
            return Err(error(line, format!("{} stands above already", entry.address())));
        }
        out.push(entry);
    }
    if out.is_empty() { Err(error(1, "the list has no entry".into())) } else { Ok(out) }
}

/// What makes an entry one that is listed once.
trait Addressed {
    fn address(&self) -> String;
}

impl Addressed for Site {
    fn address(&self) -> String {
        self.url.origin()
    }
}

impl Addressed for Service {
    fn address(&self) -> String {
        match &self.endpoint {
            Endpoint::Web(url) => url.to_string(),
            Endpoint::Host { host, port } => format!("{}://{host}:{port}", self.kind.name()),
        }
    }
}

/// The cells of one line; quotation marks around a cell protect commas and doubled marks. `None` if one is not closed.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut out = vec![String::new()];
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let cell = out.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            c => cell.push(c),
        }
    }
    (!quoted).then_some(out)
}

/// Whether a name can be asked for: a host name, not an address.
#[must_use]
pub fn is_name(host: &str) -> bool {
    is_host(host) && host.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_or_refused_with_the_line() {
        let check = |lines: &str, expected: Result<usize, &str>| {
            let read = sites(&format!("{SITES_HEADER}\n{lines}"));
            let read = read.map(|s| s.len()).map_err(|e| e.to_string());
            match (&read, expected) {
                (Ok(n), Ok(expected)) => assert_eq!(*n, expected, "{lines}"),
                (Err(e), Err(part)) => assert!(e.contains(part), "{lines}: {e}"),
                _ => panic!("{lines}: {read:?}"),
            }
        };
        check("DE,news,de,A,https://a.example/", Ok(1));
        check(
            "# c\n\nDE,news,de,\"A, \"\"B\"\"\",https://a.example/\nFR,news,fr,B,http://b.example:8080",
            Ok(2),
        );
        check("BR,health,pt-BR,A,https://a.example/\nCN,health,zh-Hans,A,https://b.example/", Ok(2));
        check("", Err("no entry"));
        check(
            "DE,news,de,A,https://a.example/\nDE,news,de,B,https://a.example/x",
            Err("line 3: https://a.example stands"),
        );
        check("XX,news,de,A,https://a.example/", Err("'XX' is no ISO"));
        check("de,news,de,A,https://a.example/", Err("'de' is no ISO"));
        check("DE,sports,de,A,https://a.example/", Err("'sports' is none of government"));
        check("DE,news,DE,A,https://a.example/", Err("language tag"));
        check("DE,news,de,,https://a.example/", Err("name"));
        check("DE,news,de,A,a.example", Err("no http or https"));
        check("DE,news,de,A", Err("4 columns"));
        check("DE,news,de,\"A,https://a.example/", Err("not closed"));
        assert!(sites("a,b\n").is_err_and(|e| e.what.contains(SITES_HEADER)));
    }

    #[test]
    fn services_have_an_address_of_their_kind() {
        let check = |line: &str, fits: bool| {
            assert_eq!(services(&format!("{SERVICES_HEADER}\n{line}")).is_ok(), fits, "{line}");
        };
        check("ntp,DE,technology,A,ntp://time.example", true);
        check("ssh,DE,technology,A,ssh://git.example:2222", true);
        check("api,DE,technology,A,https://a.example/x.json", true);
        check("ntp,DE,technology,A,https://a.example/", false);
        check("ssh,DE,technology,A,ntp://a.example", false);
        check("api,DE,technology,A,ntp://a.example", false);
        check("fax,DE,technology,A,https://a.example/", false);
    }
}
