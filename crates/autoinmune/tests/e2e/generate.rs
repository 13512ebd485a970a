//! The generator of ordinary traffic against real servers in a range: every shipped site and service, by its own name.

use crate::support::{BINARY, Host, PATIENCE, until};
use lab::address;
use lab::range::Daemon;
use lab::visit::sites::{Endpoint, shipped_services, shipped_sites};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;

const CONFIGURATION: &str = "
user root;
daemon off;
pid DIR/nginx.pid;
worker_processes 1;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3;
    uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
    types { text/html html; text/css css; }
    default_type application/json;
    root DIR/www;
    keepalive_requests 10000;
    server {
        listen 443 ssl default_server; listen [::]:443 ssl default_server;
        ssl_certificate DIR/server.pem; ssl_certificate_key DIR/server.key;
        location / { try_files $uri $uri/index.html /large.bin; }
        location = /robots.txt { return 200 'User-agent: *\\nDisallow: /private/\\n'; }
    }
}";

const PAGE: &str = "<!doctype html><link rel=stylesheet href=/style.css><img src=/a.png><img src=/b.png>\
    <img src=/c.png><img src=/private/d.png><a href=/next/>next</a>";

/// Everything that all shipped names lead to: web servers with a certificate for each, and the name server.
struct Internet {
    _daemons: Vec<Daemon>,
    authority: String,
}

fn internet(host: &Host) -> Internet {
    let dir = host.path("internet");
    std::fs::create_dir_all(dir.join("www/next")).expect("a directory");
    for page in ["www/index.html", "www/next/index.html"] {
        std::fs::write(dir.join(page), PAGE).expect("a page");
    }
    for part in ["style.css", "a.png", "b.png", "c.png"] {
        std::fs::write(dir.join("www").join(part), vec![b'x'; 4096]).expect("a part");
    }
    let large = OpenOptions::new().create(true).truncate(true).write(true).open(dir.join("www/large.bin"));
    large.and_then(|f| f.set_len(1 << 20)).expect("a large file");
    certify(&dir);
    let text = dir.to_str().expect("a plain path");
    let file = dir.join("nginx.conf");
    std::fs::write(&file, CONFIGURATION.replace("DIR", text)).expect("a file");
    let nginx = host.daemon("nginx", &["-c", file.to_str().expect("a plain path")], &host.path("nginx.log"));
    let answer = [format!("address={}", address::VICTIM), format!("answer={}", address::VICTIM)];
    let answer6 = format!("answer6={}", address::VICTIM6);
    let args = ["lab", "serve", "dns", &answer[0], &answer[1], &answer6, "wildcard=yes"];
    let names = host.daemon(BINARY, &args, &host.path("dns.log"));
    until("the servers", PATIENCE, || {
        let url = format!("https://{}/robots.txt", address::VICTIM);
        let web = host.victim("curl", &["-sk", "-o", "/dev/null", &url]).status().expect("curl runs");
        let said = std::fs::read_to_string(host.path("dns.log")).unwrap_or_default();
        (web.success() && said.contains("serving")).then_some(())
    });
    let authority = dir.join("ca.pem").to_str().expect("a plain path").to_owned();
    Internet { _daemons: vec![nginx, names], authority }
}

/// An authority, and a certificate of it for every shipped host.
fn certify(dir: &Path) {
    let sites = shipped_sites().expect("sites").into_iter().map(|s| s.url.host().to_owned());
    let services = shipped_services().expect("services").into_iter().filter_map(|s| match s.endpoint {
        Endpoint::Web(url) => Some(url.host().to_owned()),
        Endpoint::Host { .. } => None,
    });
    let hosts: BTreeSet<String> = sites.chain(services).collect();
    let names: Vec<String> = hosts.iter().map(|h| format!("DNS:{h}")).collect();
    std::fs::write(dir.join("names"), format!("subjectAltName={}", names.join(","))).expect("a file");
    let script = "set -e
        key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 -subj '/CN=lab authority' -days 2 $key -keyout ca.key -out ca.pem
        openssl req -subj /CN=lab $key -keyout server.key -out server.csr
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem";
    let output = Command::new("sh").args(["-c", script]).current_dir(dir).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the generator outside against the lab; its report.
fn generate(host: &Host, internet: &Internet, args: &[&str]) -> Value {
    let resolver = address::VICTIM.to_string();
    let common = ["generate", "--lab", "--resolver", &resolver, "--ca", &internet.authority, "-o", "json"];
    let output = host.outside(BINARY, &[&common[..], args].concat()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
}

fn number(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} in {report:#}"))
}

#[test]
fn every_shipped_site_is_visited_by_its_own_name() {
    let Some(host) = Host::new("generate_batch", &["nginx", "openssl", "curl"]) else { return };
    let internet = internet(&host);
    let report = generate(&host, &internet, &["--mode", "single-batch", "--seed", "5", "--duration", "5m"]);
    let sites = shipped_sites().expect("sites");
    let countries: BTreeSet<_> = sites.iter().map(|s| s.belonging.country.to_string()).collect();
    let total = |what: &str| number(&report, &format!("/total/{what}"));
    assert_eq!(total("started"), total("completed") + total("failed") + number(&report, "/open"));
    // A page per site, and now and then one more. Time and SSH servers are not part of this range.
    assert!(number(&report, "/kinds/page/completed") >= sites.len() as u64, "{report:#}");
    let other = number(&report, "/kinds/ntp/failed") + number(&report, "/kinds/ssh/failed");
    assert_eq!(total("failed"), other, "{report:#}");
    for kind in ["robots", "part", "api", "download", "stream", "dns"] {
        assert!(number(&report, &format!("/kinds/{kind}/completed")) > 0, "{kind}");
    }
    for country in &countries {
        assert!(number(&report, &format!("/countries/{country}/completed")) > 0, "{country}");
    }
    assert!(number(&report, "/skipped/robots") > 0, "what is disallowed was found and left alone");
}

/// The figure itself is in docs/generate.md: this holds that a debug build on a busy machine is not hopelessly below.
#[test]
fn turbo_against_the_lab_is_fast() {
    let Some(host) = Host::new("generate_turbo", &["nginx", "openssl", "curl"]) else { return };
    let internet = internet(&host);
    let report = generate(&host, &internet, &["--mode", "turbo", "--duration", "5s", "--seed", "5"]);
    let rate = report["requests_per_s"].as_f64().unwrap_or_default();
    println!("{rate:.0} requests/s");
    assert_eq!(report["unlimited"], true);
    assert!(rate > 200.0, "{report:#}");
}
