//! What may be configured: the sections `[geoip]` and `[reputation]`.

use crate::list::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Reputation lists at once: a table entry names its list in few bits, and nobody reads the figures of more.
pub const MAX_LISTS: usize = 64;

/// Databases of addresses: where an address is and whose network it is in. They are context in events and answers, never a
/// reason to block. None is shipped; see docs/enrichment.md for where to get one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GeoIp {
    /// MaxMind or DB-IP database of cities (.mmdb); it tells countries too. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<PathBuf>,
    /// Database of countries, where there is none of cities. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<PathBuf>,
    /// Database of autonomous systems. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<PathBuf>,
    /// Seconds between looks at whether a database or list file has changed; 1 to 86400.
    #[schemars(range(min = 1, max = 86400))]
    pub poll_s: u32,
    /// Addresses of which the answer is remembered; 16 to 1000000. Full, those not asked for lately make room.
    #[schemars(range(min = 16, max = 1_000_000))]
    pub cache: u32,
    /// A service on the web to ask where no database knows the country.
    pub web: Web,
}

impl Default for GeoIp {
    fn default() -> Self {
        Self { city: None, country: None, asn: None, poll_s: 10, cache: 10_000, web: Web::default() }
    }
}

/// A geolocation service that answers `GET` with JSON as ipapi.co, ip-api.com and their like do. Asked in the background by
/// `run` alone, for public addresses only: it learns which addresses this host talks to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Address to ask, with `{ip}` where the address goes and `{token}` where the token goes, such as
    /// "https://ipapi.co/{ip}/json/?key={token}". Absent: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// File that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Environment variable that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// Questions per day (UTC), kept over restarts.
    pub daily_budget: u32,
    /// Milliseconds to wait for an answer; 100 to 60000.
    #[schemars(range(min = 100, max = 60000))]
    pub timeout_ms: u32,
}

impl Default for Web {
    fn default() -> Self {
        Self { url: None, token_file: None, token_env: None, daily_budget: 1000, timeout_ms: 3000 }
    }
}

/// Reputation lists: who others say misbehaved. A listed address that attacks is taken more seriously; a listed address that
/// does nothing is left alone, and the allowlist wins over every list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reputation {
    /// The lists, each as a table `[[reputation.lists]]`.
    pub lists: Vec<List>,
}

/// One reputation list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Its name in figures and explanations: letters, digits, `-` and `_`.
    pub name: String,
    /// How to read it.
    pub kind: Kind,
    /// File to read; read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Address to fetch it from; for "crowdsec" that of the local API, such as "http://127.0.0.1:8080".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How far it is trusted: the probability that an address it names without reserve deserves it; above 0 to 1.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: f64,
    /// Seconds between fetches; 5 to 2592000. Absent: 10 for "crowdsec", else 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_s: Option<u32>,
    /// File that holds the key of the CrowdSec API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Environment variable that holds the key of the CrowdSec API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
}

const fn half() -> f64 {
    0.5
}

/// Which value is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct ConfigError {
    /// Key, such as `lists.0.url`.
    pub key: String,
    /// What is wrong and what is accepted.
    pub why: String,
}

fn wrong(key: impl Into<String>, why: impl Into<String>) -> ConfigError {
    ConfigError { key: key.into(), why: why.into() }
}

fn http(key: &str, url: &str) -> Result<(), ConfigError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !url.contains(char::is_whitespace) => Ok(()),
        _ => Err(wrong(key, format!("'{url}' is not an address that begins with https:// or http://"))),
    }
}

impl GeoIp {
    /// Checks every value.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, value, low, high) in [
            ("poll_s", self.poll_s, 1, 86_400),
            ("cache", self.cache, 16, 1_000_000),
            ("web.timeout_ms", self.web.timeout_ms, 100, 60_000),
        ] {
            if !(low..=high).contains(&value) {
                return Err(wrong(key, format!("{value} is not between {low} and {high}")));
            }
        }
        let Some(url) = &self.web.url else { return Ok(()) };
        http("web.url", url)?;
        if !url.contains("{ip}") {
            return Err(wrong("web.url", "has no {ip} where the address goes"));
        }
        let tokens = usize::from(self.web.token_file.is_some()) + usize::from(self.web.token_env.is_some());
        if tokens != usize::from(url.contains("{token}")) {
            return Err(wrong(
                "web.url",
                "{token} goes with one of token_file and token_env, and neither without it",
            ));
        }
        Ok(())
    }
}

impl Reputation {
    /// Checks every list.
    ///
    /// # Errors
    /// The first value that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.lists.len() > MAX_LISTS {
            return Err(wrong("lists", format!("has {} entries, more than {MAX_LISTS}", self.lists.len())));
        }
        let mut names = BTreeSet::new();
        for (i, list) in self.lists.iter().enumerate() {
            let key = |k: &str| format!("lists.{i}.{k}");
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if list.name.is_empty() || list.name.len() > 64 || !list.name.chars().all(plain) {
                return Err(wrong(key("name"), "is not 1 to 64 letters, digits, - and _"));
            }
            if !names.insert(&list.name) {
                return Err(wrong(key("name"), format!("there are two lists '{}'", list.name)));
            }
            // Written so that NaN is refused.
            if !(list.weight > 0.0 && list.weight <= 1.0) {
                return Err(wrong(key("weight"), format!("{} is not above 0 and at most 1", list.weight)));
            }
            if let Some(refresh) = list.refresh_s
                && !(5..=2_592_000).contains(&refresh)
            {
                return Err(wrong(key("refresh_s"), format!("{refresh} is not between 5 and 2592000")));
            }
            match (&list.path, &list.url) {
                (Some(_), Some(_)) => return Err(wrong(key("path"), "give path or url, not both")),
                (None, None) => return Err(wrong(key("path"), "give path or url")),
                (None, Some(url)) => http(&key("url"), url)?,
                (Some(_), None) if list.kind == Kind::Crowdsec => {
                    return Err(wrong(key("url"), "a list of kind crowdsec needs the url of the local API"));
                }
                (Some(_), None) => {}
            }
            let keys = usize::from(list.key_file.is_some()) + usize::from(list.key_env.is_some());
            if keys != usize::from(list.kind == Kind::Crowdsec) {
                return Err(wrong(
                    key("key_file"),
                    "a list of kind crowdsec needs one of key_file and key_env; other kinds take neither",
                ));
            }
        }
        Ok(())
    }
}

impl List {
    /// Seconds between fetches.
    #[must_use]
    pub fn refresh_s(&self) -> u32 {
        self.refresh_s.unwrap_or(if self.kind == Kind::Crowdsec { 10 } else { 86_400 })
    }
}
