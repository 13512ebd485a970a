//! Where figures are sent, as configured.

use super::api::{Fault, secret};
use super::raw::{self, LearnedBy};
use server::api::batch::{LONGEST_NAME, is_name};
use std::time::Duration;

/// Where the detector listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:5000/detect";

/// Where and how figures are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The detector.
    pub url: Option<String>,
    /// The API key to show.
    pub key: Option<String>,
    /// From one to the next.
    pub interval: Duration,
    /// What the figures are of.
    pub window: Duration,
    /// Figures that may wait.
    pub queue: usize,
    /// Who judges by learned models, if that was said.
    pub learned: Option<LearnedBy>,
    /// The sensor's name.
    pub name: String,
    /// Flows and windows that may wait.
    pub rows: usize,
}

/// A number of seconds from the environment, or else from the file.
fn seconds(key: &'static str, variable: &str, file: f64) -> Result<Duration, Fault> {
    let told = std::env::var(variable).ok();
    let value = match &told {
        None => file,
        Some(text) => text.trim().trim_end_matches('s').parse().unwrap_or(f64::NAN),
    };
    if (0.1..=3600.0).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    let from = told.map_or_else(String::new, |text| format!(" (from {variable}={text})"));
    Err((key, format!("{value}{from} is not between 0.1 and 3600 seconds")))
}

/// The name of this host, without what no sensor's name has.
fn host() -> String {
    let uname = rustix::system::uname();
    let name: String = uname
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(LONGEST_NAME)
        .collect();
    if name.is_empty() { "sensor".to_owned() } else { name }
}

impl Post {
    /// Whether flows and windows are judged by the detector that figures go to.
    #[must_use]
    pub fn judged_there(&self) -> bool {
        self.url.is_some() && self.learned == Some(LearnedBy::Detector)
    }

    /// Sends figures there.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn set_url(&mut self, url: &str) -> Result<(), String> {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if rest.is_none_or(str::is_empty) {
            return Err(format!("'{url}' is not an address such as {DEFAULT_URL}"));
        }
        self.url = Some(url.to_owned());
        Ok(())
    }
}

/// Checks what was typed.
///
/// # Errors
/// The key and what is wrong with it.
pub(super) fn check(raw: &raw::Post) -> Result<Post, Fault> {
    if !(1..=1 << 20).contains(&raw.queue) {
        return Err(("queue", format!("{} is not between 1 and 1048576", raw.queue)));
    }
    let key = raw.key_file.as_deref().map(secret).transpose().map_err(|why| ("key_file", why))?;
    if !(1..=1 << 22).contains(&raw.rows) {
        return Err(("rows", format!("{} is not between 1 and 4194304", raw.rows)));
    }
    let name = raw.name.clone().unwrap_or_else(host);
    if !is_name(&name) {
        return Err(("name", "it is not 1 to 64 letters, digits and .-_".to_owned()));
    }
    let mut post = Post {
        url: None,
        key: key.map(|k| k.trim().to_owned()),
        interval: seconds("interval_s", "POST_INTERVAL", raw.interval_s)?,
        window: seconds("window_s", "STATS_WINDOW", raw.window_s)?,
        queue: raw.queue as usize,
        learned: raw.learned,
        name,
        rows: raw.rows as usize,
    };
    if let Some(url) = &raw.url {
        post.set_url(url).map_err(|why| ("url", why))?;
    }
    Ok(post)
}
