//! What the detector is asked: every documented kind, and what must be refused.

use serde_json::{Value, json};

/// One question and what must come back.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) body: String,
    /// The status of the answer.
    pub(super) status: u16,
    /// What stands in it.
    pub(super) says: &'static str,
}

/// Addresses that are named as sources; more than the metrics keep.
const SOURCES: u64 = 200;
/// How many kinds there are.
pub(super) const KINDS: u64 = 40;

/// The n-th. They repeat with other figures, names and addresses.
pub(super) fn question(n: u64) -> Question {
    let source = format!("198.51.100.{}", n / KINDS % SOURCES);
    // Up to 20 % more or less, so that no two windows are the same.
    let vary = 0.8 + 0.01 * ((n / KINDS * 7) % 41) as f64;
    let figures = |of: [f64; 7]| {
        let [packets, bytes, ips, ports, tcp, udp, syn] = of.map(|v| (v * vary).round());
        json!({ "packets_per_second": packets, "bytes_per_second": bytes, "unique_ips": ips, "unique_ports": ports,
                "tcp_packets": tcp, "udp_packets": udp, "syn_packets": syn, "source_ip": source })
    };
    let exact = |of: [f64; 7]| {
        let [packets, bytes, ips, ports, tcp, udp, syn] = of;
        json!({ "packets_per_second": packets, "bytes_per_second": bytes, "unique_ips": ips, "unique_ports": ports,
                "tcp_packets": tcp, "udp_packets": udp, "syn_packets": syn, "source_ip": source })
    };
    let logins = |more: Value| {
        let mut body = json!({ "detection_type": "authentication" });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        body
    };
    let detect = |body: Value, says| answered("/detect", body.to_string(), says);
    let name =
        |name: String, says| answered("/classify_username", json!({ "username": name }).to_string(), says);
    let refused = |body: Value, says| Question { status: 422, ..answered("/detect", body.to_string(), says) };
    match n % KINDS {
        0 => detect(exact([1200.0, 1.5e6, 30.0, 50.0, 1140.0, 60.0, 800.0]), "\"port_scan\""),
        1 => detect(exact([15_000.0, 5e7, 500.0, 100.0, 9000.0, 6000.0, 900.0]), "\"ddos\""),
        2 => detect(exact([5000.0, 3e5, 200.0, 1.0, 5000.0, 0.0, 5000.0]), "\"syn_flood\""),
        3 => detect(exact([300.0, 1e7, 3.0, 2.0, 300.0, 0.0, 2.0]), "\"data_exfiltration\""),
        4 => detect(exact([800.0, 6e5, 20.0, 10.0, 300.0, 500.0, 10.0]), "\"rule_based\":0.0"),
        5 => {
            let mut body = figures([400.0, 3e5, 20.0, 25.0, 360.0, 40.0, 30.0]);
            for key in ["tcp_packets", "udp_packets"] {
                body.as_object_mut().map(|b| b.remove(key));
            }
            body["tcp_ratio"] = json!(0.9);
            detect(body, "\"verdict\"")
        }
        6 => {
            let mut body = figures([850.0, 9e5, 60.0, 3.0, 820.0, 30.0, 60.0]);
            body["time"] = json!("2025-11-28T14:00:00Z");
            detect(body, "\"verdict\"")
        }
        7 => detect(
            logins(
                json!({ "username_text": "svc-backup", "total_attempts": 136_963, "failed_attempts": 136_963,
                           "successful_attempts": 0, "unique_source_ips": 34, "privilege_level": "service" }),
            ),
            "\"service_account_abuse\"",
        ),
        8 => detect(logins(one_login("sudo rm -rf /")), "\"command_injection\""),
        9 => detect(logins(one_login("P@ssw0rd2024!")), "\"username_confusion\""),
        10 => detect(
            logins(
                json!({ "username_text": "alice@example.org", "total_attempts": 5000, "failed_attempts": 4950,
                           "successful_attempts": 50, "unique_source_ips": 900, "unique_usernames": 4500 }),
            ),
            "\"credential_stuffing\"",
        ),
        11 => detect(
            logins(json!({ "username_text": "alice", "total_attempts": 200, "failed_attempts": 199,
                           "successful_attempts": 1, "unique_source_ips": 1, "unique_usernames": 180,
                           "source_ip": source })),
            "\"password_spraying\"",
        ),
        12 => detect(
            logins(json!({ "username_text": "root", "total_attempts": 500, "failed_attempts": 500,
                           "successful_attempts": 0, "unique_source_ips": 1, "source_ip": source })),
            "\"brute_force\"",
        ),
        13 => detect(logins(one_login(&format!("user{n}"))), "\"verdict\""),
        14 => name("sudo rm -rf /".into(), "\"predicted_type\":\"command\""),
        15 => name(format!("admin' OR '1'='{n}' --"), "\"predicted_type\":\"sql_or_script\""),
        16 => name(format!("person.{n}"), "\"predicted_type\""),
        17 => name(format!("mail{n}@example.org"), "\"predicted_type\":\"email\""),
        18 => get("/stats", 200, "\"uptime_seconds\""),
        19 => get("/metrics", 200, "ml_detector_processing_seconds"),
        20 => get("/models", 200, "\"in_use\":true"),
        21 => get("/health", 200, ""),
        22 => get("/ready", 200, ""),
        23 => get("/openapi.json", 200, "\"openapi\""),
        24 => refused(json!({ "packets_per_second": 1 }), "\"detail\""),
        25 => refused(exact([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), "0 to 1e15"),
        26 => Question {
            status: 400,
            ..answered("/detect", "{\"packets_per_second\": NaN".into(), "\"detail\"")
        },
        27 => get("/train/none", 404, "\"detail\""),
        28 => get("/detect", 405, "\"detail\""),
        29 => Question { status: 422, ..name("x".repeat(1025), "\"detail\"") },
        _ => detect(figures([120.0, 9e4, 8.0, 4.0, 110.0, 10.0, 6.0]), "\"verdict\""),
    }
}

fn one_login(name: &str) -> Value {
    json!({ "username_text": name, "total_attempts": 1, "failed_attempts": 1, "successful_attempts": 0,
            "unique_source_ips": 1, "privilege_level": "user" })
}

const fn answered(path: &'static str, body: String, says: &'static str) -> Question {
    Question { method: "POST", path, body, status: 200, says }
}

const fn get(path: &'static str, status: u16, says: &'static str) -> Question {
    Question { method: "GET", path, body: String::new(), status, says }
}

/// Whether answers to it are counted among the questions of `/stats`.
pub(super) fn is_counted(question: &Question) -> bool {
    question.method == "POST" && question.status == 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_asked_and_varies() {
        let round: Vec<Question> = (0..KINDS).map(question).collect();
        for path in ["/detect", "/classify_username", "/stats", "/metrics", "/models", "/health", "/ready"] {
            assert!(round.iter().any(|q| q.path == path && q.status == 200), "{path}");
        }
        for status in [400, 404, 405, 422] {
            assert!(round.iter().any(|q| q.status == status), "{status}");
        }
        let bodies: BTreeSet<String> = (0..KINDS * SOURCES).map(|n| question(n).body).collect();
        assert!(bodies.len() as u64 > KINDS * SOURCES / 4, "{}", bodies.len());
        assert!(round.iter().filter(|q| is_counted(q)).count() > 20);
    }
}
