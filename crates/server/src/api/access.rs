//! Who may ask, and how often.

use crate::http::Peer;
use crate::http::problem::Problem;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Fewest bytes of an API key or of the secret of tokens: what is shorter can be guessed.
pub const SHORTEST_SECRET: usize = 16;
/// Clients whose rate is known at once; when full, those with full buckets are forgotten, and if none is, all are.
const CLIENTS: usize = 4096;

/// Why keys cannot be used. Each is one sentence with the way out; none shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key that can be guessed.
    #[error(
        "line {0}: a key of less than {SHORTEST_SECRET} characters can be guessed; make one with `openssl rand -hex 32`"
    )]
    Short(usize),
    /// No key at all.
    #[error("there is no key in it; write one on each line")]
    Empty,
    /// A secret that can be guessed.
    #[error(
        "a secret of less than {SHORTEST_SECRET} bytes can be guessed; make one with `openssl rand -hex 32`"
    )]
    ShortSecret,
}

/// What a client must show. Without keys and secret everybody may ask.
#[derive(Clone, Default)]
pub struct Credentials {
    /// SHA-256 of each API key: comparing digests takes the same time for every wrong key.
    keys: Vec<[u8; 32]>,
    token: Option<DecodingKey>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} keys, token: {})", self.keys.len(), self.token.is_some())
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, key).as_ref());
    out
}

impl Credentials {
    /// Adds the keys of a text: one on each line; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// No key, or one that can be guessed.
    pub fn add_keys(&mut self, text: &str) -> Result<(), KeyError> {
        let lines = text.lines().map(str::trim).enumerate();
        let keys: Vec<(usize, &str)> = lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#')).collect();
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        for (at, key) in keys {
            if key.len() < SHORTEST_SECRET {
                return Err(KeyError::Short(at + 1));
            }
            self.keys.push(hash(key.as_bytes()));
        }
        Ok(())
    }

    /// Takes JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256 by this secret and not expired.
    ///
    /// # Errors
    /// A secret that can be guessed.
    pub fn set_token_secret(&mut self, secret: &[u8]) -> Result<(), KeyError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(KeyError::ShortSecret);
        }
        self.token = Some(DecodingKey::from_secret(secret));
        Ok(())
    }

    /// Whether clients must show something.
    #[must_use]
    pub fn required(&self) -> bool {
        !self.keys.is_empty() || self.token.is_some()
    }

    /// Who asks by these headers, if he may: a name for his rate.
    fn admit(&self, headers: &HeaderMap) -> Option<String> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let bearer = text("authorization").and_then(|v| {
            let (scheme, rest) = v.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
        });
        let shown = text("x-api-key").or(bearer)?;
        let hashed = hash(shown.as_bytes());
        if self.keys.iter().any(|k| verify_slices_are_equal(k, &hashed).is_ok()) {
            return Some(format!("key {:02x}{:02x}{:02x}{:02x}", hashed[0], hashed[1], hashed[2], hashed[3]));
        }
        let mut rules = Validation::new(Algorithm::HS256);
        rules.validate_aud = false;
        rules.validate_nbf = true;
        let claims = jsonwebtoken::decode::<Claims>(shown, self.token.as_ref()?, &rules).ok()?.claims;
        Some(format!("token {}", claims.sub.unwrap_or_default()))
    }
}

/// What is read of a token; that it has not expired is checked beside.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
}

/// Token buckets by client.
#[derive(Debug)]
pub(super) struct Rates {
    /// Requests a second; 0 is no limit. The burst is as many, and at least 10.
    per_second: f64,
    clients: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Rates {
    pub(super) fn new(per_second: f64) -> Self {
        Self { per_second, clients: Mutex::default() }
    }

    /// Takes a request of a client into account. `Err`: the seconds to wait.
    fn take(&self, client: String) -> Result<(), u64> {
        if self.per_second <= 0.0 {
            return Ok(());
        }
        let burst = self.per_second.max(10.0);
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS && !clients.contains_key(&client) {
            let rate = self.per_second;
            clients.retain(|_, (left, at)| *left + now.duration_since(*at).as_secs_f64() * rate < burst);
            if clients.len() >= CLIENTS {
                clients.clear();
            }
        }
        let (left, at) = clients.entry(client).or_insert((burst, now));
        *left = (*left + now.duration_since(*at).as_secs_f64() * self.per_second).min(burst);
        *at = now;
        if *left < 1.0 {
            return Err(((1.0 - *left) / self.per_second).ceil().max(1.0) as u64);
        }
        *left -= 1.0;
        Ok(())
    }
}

/// What the check before every route needs.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) credentials: Credentials,
    pub(super) rates: Rates,
}

/// A client by its address: in IPv6 its /64, which is one customer.
fn neighbour(peer: IpAddr) -> String {
    match peer {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).to_string(),
    }
}

/// Lets those in who may ask, as often as they may. `/health` and `/ready` are open: who watches over the service has no key.
pub(super) async fn gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let open = matches!(request.uri().path(), "/health" | "/ready");
    let peer = request.extensions().get::<Peer>().map_or_else(String::new, |p| neighbour(p.0));
    let client = if open || !gate.credentials.required() {
        peer
    } else if let Some(client) = gate.credentials.admit(request.headers()) {
        client
    } else {
        // Guessing keys is limited like everything else.
        if let Err(seconds) = gate.rates.take(peer) {
            return later(seconds);
        }
        let mut answer = Problem::new(
            StatusCode::UNAUTHORIZED,
            "show an API key in X-API-Key, or a token in Authorization: Bearer",
        )
        .into_response();
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    };
    match gate.rates.take(client) {
        Ok(()) => next.run(request).await,
        Err(seconds) => later(seconds),
    }
}

fn later(seconds: u64) -> Response {
    let mut answer =
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests; Retry-After says how long to wait")
            .into_response();
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(header::HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))]
            .into_iter()
            .collect()
    }

    #[test]
    fn keys_and_tokens_open_and_nothing_else_does() {
        let (key, secret) = ("0123456789abcdef-key", b"0123456789abcdef-secret");
        let mut c = Credentials::default();
        assert!(!c.required());
        c.add_keys(&format!("# ours\n\n  {key}\n")).expect("a key");
        c.set_token_secret(secret).expect("a secret");
        assert!(c.required() && !format!("{c:?}").contains(key));
        let token = |claims: serde_json::Value, by: &[u8]| {
            encode(&Header::default(), &claims, &EncodingKey::from_secret(by)).expect("a token")
        };
        let good = token(json!({ "sub": "scraper", "exp": 4_000_000_000_u64 }), secret);
        let check = |name, value: &str, expected: bool| {
            assert_eq!(c.admit(&headers(name, value)).is_some(), expected, "{name}: {value}");
        };
        check("x-api-key", key, true);
        check("authorization", &format!("Bearer {key}"), true);
        check("authorization", &format!("bearer {good}"), true);
        check("x-api-key", "0123456789abcdef-kex", false);
        check("x-api-key", "", false);
        check("authorization", key, false);
        check("authorization", &format!("Basic {good}"), false);
        let expired = token(json!({ "exp": 1_000_000_000_u64 }), secret);
        check("authorization", &format!("Bearer {expired}"), false);
        let endless = token(json!({ "sub": "x" }), secret);
        check("authorization", &format!("Bearer {endless}"), false);
        let forged = token(json!({ "exp": 4_000_000_000_u64 }), b"another secret of 32 characters.");
        check("authorization", &format!("Bearer {forged}"), false);
        // {"alg":"none","typ":"JWT"}
        let none =
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", good.split('.').nth(1).expect("claims"));
        check("authorization", &format!("Bearer {none}"), false);
    }

    #[test]
    fn secrets_that_can_be_guessed_are_refused() {
        let mut c = Credentials::default();
        assert_eq!(c.add_keys("# nothing\n"), Err(KeyError::Empty));
        assert_eq!(c.add_keys("\nhunter2\n"), Err(KeyError::Short(2)));
        assert_eq!(c.set_token_secret(b"secret"), Err(KeyError::ShortSecret));
    }

    #[test]
    fn a_client_beyond_its_rate_waits_and_others_do_not() {
        let rates = Rates::new(1.0);
        let passed = (0..50).filter(|_| rates.take("a".into()).is_ok()).count();
        assert!((10..=11).contains(&passed), "{passed}");
        assert!(rates.take("a".into()).is_err_and(|seconds| seconds >= 1));
        assert!(rates.take("b".into()).is_ok());
        for i in 0..3 * CLIENTS {
            assert!(rates.take(i.to_string()).is_ok());
        }
        assert!(rates.clients.lock().expect("a lock").len() <= CLIENTS);
        assert!((0..10_000).all(|_| Rates::new(0.0).take("a".into()).is_ok()));
    }
}
