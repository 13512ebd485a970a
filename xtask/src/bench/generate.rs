//! How many requests the generator of ordinary traffic makes a second, against real web servers with TLS.

use super::figure::{Aim, Figure, Section};
use super::{Setup, agent, progress};
use anyhow::{Context as _, ensure};
use lab::address::{VICTIM, VICTIM6};
use lab::arguments::Arguments;
use lab::range::{Daemon, Range, Side};
use lab::visit::sites::{Endpoint, shipped_services, shipped_sites};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

/// Names in one certificate: what large sites have. All names in one would make handshakes of 30 KB.
const NAMES: usize = 16;
/// Bytes of a page's part, and of a large file.
const PART: usize = 8 * 1024;
const LARGE: u64 = 1 << 20;
/// How long nginx may take to start.
const START: Duration = Duration::from_secs(20);
const WRK: &str = "wrk";

const HEAD: &str = "user root; daemon off; pid DIR/pid; error_log DIR/error; worker_processes auto;\n\
    worker_rlimit_nofile 16384;\nevents { worker_connections 4096; }\nhttp {\n access_log off; keepalive_requests 10000;\n\
    client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4;\n\
    scgi_temp_path DIR/t5; types { text/html html; text/css css; } default_type application/json;\n\
    server_names_hash_max_size 8192; server_names_hash_bucket_size 256; root DIR/www;\n";

const PAGE: &str = "<!doctype html><link rel=stylesheet href=/style.css><script src=/a.js></script>\
    <img src=/b.png><img src=/c.png><img src=/d.png><img src=/e.png><a href=/next/>next</a>";

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let range = agent::range()?;
    progress("generate: certificates and servers");
    let (authority, _nginx) = servers(&range)?;
    let words = [
        format!("address={VICTIM}"),
        format!("answer={VICTIM}"),
        format!("answer6={VICTIM6}"),
        "wildcard=yes".into(),
    ];
    let words = Arguments::parse(words)?;
    let _names = range.enter(Side::Victim, || lab::serve::start("dns", &words))??;
    // Without them every visit to a time or SSH server keeps a thread waiting for as long as it is patient.
    let mut others = Vec::new();
    for address in [format!("address={VICTIM}"), format!("address={VICTIM6}")] {
        let address = Arguments::parse([address])?;
        for service in ["ntp", "ssh"] {
            others.push(range.enter(Side::Victim, || lab::serve::start(service, &address))??);
        }
    }
    let seconds = if setup.quick { 3 } else { 15 };
    let mut section = Section::new(format!(
        "`autoinmune generate --lab --mode turbo` with its default 30 threads runs {seconds} s in one network namespace \
         against nginx (TLS, a worker per processor) and the lab's name, time and SSH servers in another, over veth, all on the same \
         processors. It visits the shipped sites by their names with every check that it makes on the internet, but \
         without limits per site. Requests of all kinds that were answered are counted, by the program itself. Beside: `wrk` asks the same nginx for one part of a page over 30 connections that \
         it keeps, without names, handshakes, robots.txt or pages."
    ));
    progress("generate: turbo");
    let report = generate(setup, &range, &authority, seconds)?;
    let rate = report["requests_per_s"].as_f64().context("the report has no rate")?;
    let figure = Figure::new("requests a second", rate, "/s").aim(Aim::AtLeast(2000.0));
    let figure = match wrk(&range, seconds) {
        Ok(baseline) => figure.baseline(baseline, WRK),
        Err(why) => {
            section.note(format!("No figure beside: {why:#}."));
            figure
        }
    };
    section.push(figure);
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
    section.push(Figure::new("half of the answers within", number("/latency/p50_ms"), "ms"));
    section.push(Figure::new("95 of 100 within", number("/latency/p95_ms"), "ms"));
    let kinds = report["kinds"].as_object().into_iter().flatten();
    let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{kind} {}", count["completed"])).collect();
    section.note(format!(
        "Answered: {}. Failed: {}. {:.0} MB.",
        kinds.join(", "),
        number("/total/failed"),
        number("/total/bytes") / 1e6
    ));
    section.explain_missed(
        "client and servers share the processors, and each new connection costs both a TLS handshake.",
    );
    range.destroy()?;
    Ok(section)
}

/// nginx for every shipped name; the path of the authority that signed its certificates.
fn servers(range: &Range) -> anyhow::Result<(String, Daemon)> {
    let dir = range.scratch().join("internet");
    fs::create_dir_all(dir.join("www/next"))?;
    for page in ["www/index.html", "www/next/index.html"] {
        fs::write(dir.join(page), PAGE)?;
    }
    for part in ["style.css", "a.js", "b.png", "c.png", "d.png", "e.png"] {
        fs::write(dir.join("www").join(part), vec![b'x'; PART])?;
    }
    File::create(dir.join("www/large.bin"))?.set_len(LARGE)?;
    let text = dir.to_str().context("the range's directory is no text")?;
    let mut config = HEAD.replace("DIR", text);
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let mut script = format!(
        "set -e\nopenssl req -x509 -subj '/CN=lab authority' -days 2 {key} -keyout ca.key -out ca.pem\n\
         openssl req -subj /CN=lab {key} -keyout server.key -out server.csr\n"
    );
    for (i, names) in hosts()?.chunks(NAMES).enumerate() {
        let list: Vec<String> = names.iter().map(|h| format!("DNS:{h}")).collect();
        fs::write(dir.join(format!("names{i}")), format!("subjectAltName={}", list.join(",")))?;
        writeln!(
            script,
            "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names{i} -out {i}.pem"
        )?;
        writeln!(
            config,
            " server {{ listen 443 ssl; listen [::]:443 ssl; server_name {};\n  \
             ssl_certificate {text}/{i}.pem; ssl_certificate_key {text}/server.key;\n  \
             location / {{ try_files $uri $uri/index.html /large.bin; }}\n  \
             location = /robots.txt {{ return 200 'User-agent: *\\nDisallow: /private/\\n'; }} }}",
            names.join(" ")
        )?;
    }
    config.push_str("}\n");
    fs::write(dir.join("nginx.conf"), config)?;
    let made =
        Command::new("sh").args(["-c", &script]).current_dir(&dir).output().context("cannot run sh")?;
    ensure!(made.status.success(), "openssl failed: {}", String::from_utf8_lossy(&made.stderr));
    let log = File::create(dir.join("log"))?;
    let file = format!("{text}/nginx.conf");
    let mut nginx = range.daemon(Side::Victim, "nginx", ["-c", &file, "-e", "stderr"], |command| {
        command.stderr(log);
    })?;
    let begun = Instant::now();
    while range.enter(Side::Outside, || std::net::TcpStream::connect((VICTIM, 443)).is_err())? {
        let said = || fs::read_to_string(dir.join("log")).unwrap_or_default();
        ensure!(nginx.try_wait()?.is_none(), "nginx ended: {}", said());
        ensure!(begun.elapsed() < START, "nginx does not answer: {}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((format!("{text}/ca.pem"), nginx))
}

/// Every host of the shipped lists that is visited over HTTPS.
fn hosts() -> anyhow::Result<Vec<String>> {
    let sites = shipped_sites()?.into_iter().map(|s| s.url.host().to_owned());
    let services = shipped_services()?.into_iter().filter_map(|s| match s.endpoint {
        Endpoint::Web(url) => Some(url.host().to_owned()),
        Endpoint::Host { .. } => None,
    });
    Ok(sites.chain(services).collect::<BTreeSet<_>>().into_iter().collect())
}

fn generate(setup: &Setup, range: &Range, authority: &str, seconds: u32) -> anyhow::Result<Value> {
    let output = range
        .command(Side::Outside, &setup.program)
        .args(["generate", "--lab", "--mode", "turbo", "--seed", "1", "-o", "json", "--ca", authority])
        .args(["--resolver", &VICTIM.to_string(), "--duration", &format!("{seconds}s")])
        .output()
        .context("cannot run the generator")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the generator failed: {}", said.lines().last().unwrap_or_default());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Requests a second that `wrk` reports.
fn wrk(range: &Range, seconds: u32) -> anyhow::Result<f64> {
    let have = Command::new(WRK).arg("-v").output().is_ok();
    ensure!(have, "wrk is not installed (Debian package wrk)");
    progress("generate: wrk");
    let output = range
        .command(Side::Outside, WRK)
        .args(["-t", "2", "-c", "30", "-d", &format!("{seconds}s"), &format!("https://{VICTIM}/style.css")])
        .output()
        .context("cannot run wrk")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|l| l.trim().strip_prefix("Requests/sec:")?.trim().parse().ok());
    rate.with_context(|| format!("wrk does not say its rate: {said}"))
}
