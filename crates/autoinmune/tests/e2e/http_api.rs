//! The HTTP API of a running agent.

use crate::support::{Host, PATIENCE, until};
use lab::address::{CLIENT, VICTIM};
use lab::range::Side;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn health_readiness_metrics_and_statistics() {
    let Some(host) = Host::new("health_readiness_metrics_and_statistics", &[]) else { return };
    let agent = host.agent("", &["--enforce"]);
    assert_eq!(host.get("/health").0, 200);
    let (status, body) = host.get("/ready");
    let ready: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, &ready["sensor"], &ready["ready"]),
        (200, &"xdp-native".into(), &true.into()),
        "{body}"
    );
    assert_eq!(ready["simulated"], false);
    assert_eq!(ready["interfaces"][0]["mode"], "native");
    assert_eq!(ready["interfaces"][0]["egress"], true);

    let ping = ["-n", "-q", "-c", "600", "-i", "0.02", "-I", &CLIENT.to_string(), &VICTIM.to_string()];
    let _ping = host.tool("ping", &ping);
    let stats: Value = until("traffic in /stats", PATIENCE, || {
        let stats: Value = serde_json::from_str(&host.get("/stats").1).ok()?;
        (stats["packets_per_second"].as_f64()? > 0.0 && !stats["top_sources"].as_array()?.is_empty())
            .then_some(stats)
    });
    for field in [
        "packets_per_second",
        "bytes_per_second",
        "unique_ips",
        "unique_ports",
        "tcp_packets",
        "udp_packets",
        "syn_packets",
    ] {
        assert!(stats[field].is_number(), "{field}: {stats}");
    }
    assert_eq!(stats["top_sources"][0]["address"], CLIENT.to_string(), "{stats}");
    let metrics = until("traffic in /metrics", PATIENCE, || {
        let (status, body) = host.get("/metrics");
        assert_eq!(status, 200);
        (sample(&body, "ebpf_packets_processed_total")? > 0.0).then_some(body)
    });
    for name in [
        "ebpf_packets_per_second",
        "ebpf_bytes_per_second",
        "ebpf_unique_ips",
        "ebpf_unique_ports",
        "ebpf_packets_processed_total",
        "ebpf_bytes_processed_total",
        "ebpf_ringbuf_lost_events_total",
        "ebpf_program_run_seconds_total",
        "ebpf_program_runs_total",
    ] {
        assert!(sample(&metrics, name).is_some(), "{name} is missing in\n{metrics}");
    }
    assert!(sample(&metrics, "ebpf_program_runs_total").is_some_and(|n| n > 0.0), "{metrics}");
    assert_eq!(sample(&metrics, "ebpf_ringbuf_lost_events_total"), Some(0.0));
    assert_eq!(host.get("/nothing").0, 404);
    // Oversized: refused or hung up on, and the next one is served.
    let refused = host.range.enter(Side::Victim, || {
        let mut stream = TcpStream::connect("127.0.0.1:8800")?;
        let mut answer = String::new();
        write!(stream, "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1_000_000))?;
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    if let Ok(answer) = refused.expect("the victim's namespace") {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(host.get("/health").0, 200);
    agent.stop();
}

/// The first sample of a metric.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    let line =
        metrics.lines().find(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))?;
    line.rsplit(' ').next()?.parse().ok()
}
