//! What the API is asked and what it answers.

use super::amount::{Amount, Count, Share};
pub use detect::learned::ensemble::Reading;
pub use detect::login::NameKind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most characters of a user name, and of other words in a request.
pub const LONGEST_TEXT: usize = 1024;

/// A field that may be left out, but if it is there has a value: `null` is none.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// An address in text.
pub(super) fn address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "format": "ipv4" }, { "type": "string", "format": "ipv6" }] })
}

/// When something was: RFC 3339, or seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Time {
    /// As RFC 3339 writes it, such as `2025-11-28T14:00:00Z`.
    Text(#[schemars(extend("format" = "date-time"))] String),
    /// Seconds since 1970.
    Seconds(#[schemars(range(min = 0, max = 4_102_444_800_u64))] f64),
}

/// Figures of one window of traffic, usually a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Packets a second.
    pub packets_per_second: Amount,
    /// Bytes a second.
    pub bytes_per_second: Amount,
    /// Different source addresses.
    pub unique_ips: Count,
    /// Different destination ports.
    pub unique_ports: Count,
    /// TCP packets; with `udp_packets`, or `tcp_ratio` in place of both.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tcp_packets: Option<Count>,
    /// UDP packets.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub udp_packets: Option<Count>,
    /// TCP packets over TCP and UDP packets.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tcp_ratio: Option<Share>,
    /// TCP packets that ask for a connection.
    pub syn_packets: Count,
    /// The address that sent most of it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "address")]
    pub source_ip: Option<IpAddr>,
    /// When it was; now if absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// What `detection_type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectionType {
    /// The body is about logins.
    Authentication,
}

/// Whose rights an account has: a word, or a number the caller understands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Privilege {
    /// A word such as `admin` or `user`.
    Word(#[schemars(length(max = 1024))] String),
    /// A number.
    Level(Count),
}

/// Logins of one account or from one source, summed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logins {
    /// `authentication`.
    pub detection_type: DetectionType,
    /// The user name as it was typed; or `username_type`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub username_text: Option<String>,
    /// Its kind, where the caller does not tell the name.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub username_type: Option<NameKind>,
    /// Attempts to log in.
    pub total_attempts: Count,
    /// Those that failed; if absent, all that are not known to have succeeded.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<Count>,
    /// Those that succeeded; if absent, all that are not known to have failed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub successful_attempts: Option<Count>,
    /// Different addresses they came from; 1 if absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub unique_source_ips: Option<Count>,
    /// Different user names that were tried; 1 if absent.
    #[serde(
        default,
        alias = "unique_users",
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub unique_usernames: Option<Count>,
    /// Rights of the account.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub privilege_level: Option<Privilege>,
    /// The address, or the one with most attempts.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "address")]
    pub source_ip: Option<IpAddr>,
    /// When it was; now if absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// What `POST /detect` may be asked.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Question {
    /// Traffic.
    Traffic(Traffic),
    /// Logins.
    Logins(Logins),
}

/// Scores from 0 to 1, higher for more hostile or stranger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scores {
    /// The most confident rule that holds.
    pub rule_based: f64,
    /// The learned views together.
    pub ml_based: f64,
    /// The model of what is surely normal.
    pub conservative: f64,
    /// The model that follows what has been going on lately.
    pub adaptive: f64,
    /// The distance from what is usual, quantity by quantity.
    pub statistical: f64,
}

/// The answer of `POST /detect`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Whether anything was recognised that deserves an alert.
    pub threat_detected: bool,
    /// How sure, from 0 to 1.
    pub confidence: f64,
    /// Classes of threat, and grades of anomaly (`ml_low_risk` to `ml_critical_risk`).
    pub threat_types: Vec<String>,
    /// Scores.
    pub scores: Scores,
    /// The reading.
    pub verdict: Reading,
    /// Addresses to blame, where one is known.
    pub attacking_ips: Vec<IpAddr>,
    /// Why, in words.
    pub explanation: String,
    /// Version of the model that judged.
    pub model_version: String,
}

/// What `POST /classify_username` is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameQuestion {
    /// The user name.
    #[serde(alias = "username_text")]
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
}

/// An n-gram that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gram {
    /// Its characters; `^` and `$` are beginning and end, shapes are in angle brackets.
    pub text: String,
    /// What it added to the score of the predicted type.
    pub weight: f64,
}

/// The answer of `POST /classify_username`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NameAnswer {
    /// The most probable type.
    pub predicted_type: NameKind,
    /// Its probability.
    pub confidence: f64,
    /// Probability of every type.
    pub probabilities: BTreeMap<String, f64>,
    /// The n-grams that decided, the weightiest first.
    pub n_gram_analysis: Vec<Gram>,
}

/// What a retraining is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All of it that there is.
    #[default]
    All,
    /// What ordinary figures look like to this API.
    Snapshots,
    /// What windows of sources look like that are usual: the agent's own detector.
    Windows,
    /// Which flows are of which attack: the agent's own classifier.
    Flows,
}

/// The body of `POST /train`; an empty one asks for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainQuestion {
    /// What to train anew.
    #[serde(default)]
    pub target: Target,
}

/// How far a retraining has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Running,
    /// A model of it was put to use; `detail` says which.
    Promoted,
    /// No model of it was put to use; `detail` says why.
    Refused,
    /// It failed; `detail` says why.
    Failed,
}

/// A retraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its identifier.
    pub id: String,
    /// What it is of.
    pub target: Target,
    /// How far it has come.
    pub state: Progress,
    /// When it was asked for, seconds since 1970.
    pub asked: f64,
    /// When it ended, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<f64>,
    /// What is to be said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A model in use or at hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it judges now.
    pub in_use: bool,
    /// What it is, in words.
    pub about: String,
    /// Figures measured when it was made, by name.
    pub figures: BTreeMap<String, f64>,
}

/// What a sensor posted, since the detector knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SensorStats {
    /// Batches taken.
    pub batches: u64,
    /// Batches that had been judged before and were answered again.
    pub repeated: u64,
    /// Batches that the sensor numbered and that never came: it dropped them, or they are on their way.
    pub missing: u64,
    /// Flows judged.
    pub flows: u64,
    /// Windows of sources judged.
    pub windows: u64,
    /// Findings told.
    pub findings: u64,
    /// When it was heard of last, seconds since 1970.
    pub last_heard: f64,
}

/// The answer of `GET /stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DetectorStats {
    /// Seconds since start.
    pub uptime_seconds: f64,
    /// Questions answered, by path.
    pub questions: BTreeMap<String, u64>,
    /// Threats told, by type.
    pub threats: BTreeMap<String, u64>,
    /// Readings, by name.
    pub readings: BTreeMap<String, u64>,
    /// Sensors that post flows, by name; the 32 heard of latest.
    pub sensors: BTreeMap<String, SensorStats>,
    /// Sensors forgotten to make room for others.
    pub sensors_forgotten: u64,
    /// Snapshots held as recent history.
    pub history: u64,
    /// Version of the model that judges.
    pub model_version: String,
}
