//! The sensor's figures as a Prometheus server has them.

use detect::snapshot::Snapshot;
use enrich::web;
use serde::Deserialize;
use server::http::problem::Problem;
use std::time::Duration;

/// Longest wait for each figure.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// Figures asked for, by the sensor's names.
const QUERIES: [&str; 7] = [
    "sum(ebpf_packets_per_second)",
    "sum(ebpf_bytes_per_second)",
    "sum(ebpf_unique_ips)",
    "sum(ebpf_unique_ports)",
    "sum(ebpf_tcp_packets)",
    "sum(ebpf_udp_packets)",
    "sum(ebpf_syn_packets)",
];

/// A server to ask.
#[derive(Clone, Debug)]
pub struct Prometheus {
    url: String,
    client: web::Client,
}

/// What it answers (Prometheus HTTP API, instant queries).
#[derive(Deserialize)]
struct Reply {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    value: (f64, String),
}

impl Prometheus {
    /// The server at `url`, such as `http://127.0.0.1:9090`.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn new(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if rest.is_none_or(|r| r.is_empty() || r.contains(['?', '#', '@', ' '])) {
            return Err(format!("'{url}' is not an address such as http://127.0.0.1:9090"));
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client: web::Client::new(PATIENCE) })
    }

    fn figure(&self, query: &str) -> Result<f64, Problem> {
        let coded: String = query.replace('(', "%28").replace(')', "%29");
        let url = format!("{}/api/v1/query?query={coded}", self.url);
        let body = self.client.ask(&url, None, MAX_ANSWER).map_err(|e| match e {
            web::WebError::Status(status) => {
                Problem::bad_gateway(format!("Prometheus answered with status {status}"))
            }
            web::WebError::Transport(why) if why.contains("timeout") => {
                Problem::gateway_timeout(format!("Prometheus did not answer within {} s", PATIENCE.as_secs()))
            }
            other => Problem::unavailable(format!("Prometheus at {} cannot be asked: {other}", self.url)),
        })?;
        let wrong = || Problem::bad_gateway("what Prometheus answered is not understood");
        let reply: Reply = serde_json::from_slice(&body).map_err(|_| wrong())?;
        let Some(series) = reply.data.result.first() else {
            return Err(Problem::unavailable(format!(
                "Prometheus has no `{query}`: is the sensor's /metrics among its targets?"
            )));
        };
        let value: f64 = series.value.1.parse().map_err(|_| wrong())?;
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(wrong()) }
    }

    /// The figures of now.
    ///
    /// # Errors
    /// A problem that says what is wrong with the server or its answer.
    pub fn snapshot(&self, at_ns: u64) -> Result<Snapshot, Problem> {
        let mut figures = [0.0; QUERIES.len()];
        for (figure, query) in figures.iter_mut().zip(QUERIES) {
            *figure = self.figure(query)?;
        }
        let [packets, bytes, addresses, ports, tcp, udp, syn] = figures;
        Ok(Snapshot {
            at_ns,
            packets_per_second: packets,
            bytes_per_second: bytes,
            addresses,
            ports,
            udp_share: if tcp + udp > 0.0 { udp / (tcp + udp) } else { 0.0 },
            syn_packets: syn,
            tcp_packets: tcp,
            source: None,
        })
    }
}
