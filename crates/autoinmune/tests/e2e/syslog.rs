//! Real services that log by real means, and a real guesser at them: what the log and the network tell is one incident.

use crate::attacks::sshd_with;
use crate::logins::{guess, rules};
use crate::support::{Agent, Host, PATIENCE, text, until};
use lab::address::{ATTACKERS, VICTIM};
use lab::range::{Daemon, OUTSIDE_INTERFACE};
use serde_json::Value;
use server::control::{Request, call};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A /dev of the victim's own, in which a log may be. `$0` is the range's directory.
const DEVICES: &str = r#"set -e
mkdir "$0/dev"
mount -t tmpfs tmpfs "$0/dev"
for file in null zero full random urandom; do
    : > "$0/dev/$file"
    mount --bind "/dev/$file" "$0/dev/$file"
done
mount --rbind "$0/dev" /dev
"#;

/// Configuration of an agent that follows one file, by which format it is to be read.
fn config(host: &Host, file: &str, format: &str) -> String {
    let path = host.path(file);
    format!(
        "[respond]\nttl = '60s'\nescalation = 1.0\nallow = ['{}']\n[incidents]\nquiet_s = 120\n[http]\naddress = 'off'\n\
         [logs]\nenabled = 'named'\nfiles = [{{ path = '{}'{format} }}]\n",
        ATTACKERS[2],
        path.display()
    )
}

/// Waits for an incident about which rules of both kinds have spoken.
fn both_views(agent: &Agent, from: IpAddr, network: &str) -> Value {
    until("one incident with both views", Duration::from_secs(90), || {
        let incident = agent.incident("brute_force", from)?;
        let rules = rules(&incident);
        let has = |start: &str| rules.iter().any(|r| r.starts_with(start));
        (has("login-") && has(network)).then_some(incident)
    })
}

/// How many open incidents are about an address.
fn count(agent: &Agent, from: IpAddr) -> usize {
    let all = call(&agent.socket(), &Request::Incidents).expect("an answer");
    let from = from.to_string();
    all.as_array().into_iter().flatten().filter(|i| i["actor"]["addr"] == from.as_str()).count()
}

#[test]
fn sshd_through_syslog_and_the_network_are_one_incident() {
    let name = "sshd_through_syslog_and_the_network_are_one_incident";
    let Some(host) = Host::new(name, &["hydra", "sshd", "ssh-keygen", "busybox"]) else { return };
    let scratch = host.path("");
    let scratch = scratch.to_str().expect("a plain path").trim_end_matches('/').to_owned();
    let output = host.victim("sh", &["-c", DEVICES, &scratch]).output().expect("sh");
    if !output.status.success() {
        println!("skipped: {name}: no /dev of its own here: {}", text(&output.stderr));
        return;
    }
    let log = host.path("auth.log");
    let file = log.to_str().expect("a plain path");
    let _syslogd = host.daemon("busybox", &["syslogd", "-n", "-O", file], &host.path("syslogd.log"));
    until("syslogd", PATIENCE, || log.exists().then_some(()));
    let _sshd = sshd_with(&host, &[]);
    // The guesser may not be blocked, so that both views go on.
    let agent = host.agent(&config(&host, "auth.log", ""), &["--enforce"]);
    let guesses = guess(&host, ATTACKERS[2].into());
    let incident = both_views(&agent, ATTACKERS[2].into(), "ssh-");
    assert_eq!(count(&agent, ATTACKERS[2].into()), 1, "{incident}");
    assert!(agent.block(ATTACKERS[2]).is_none(), "the allowlist is asked first: {}", agent.log());
    drop(guesses);
    agent.stop();
}

/// A real nginx that wants a password for everything.
fn nginx(host: &Host) -> Daemon {
    let dir = host.path("nginx");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("page"), "behind a password\n").expect("a page");
    // Of `correct horse`; {PLAIN} is nginx's own.
    std::fs::write(dir.join("users"), "alice:{PLAIN}correct horse\n").expect("users");
    let dir = dir.to_str().expect("a plain path");
    let spool: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}; "))
        .concat();
    let config = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error; user root; worker_processes 1;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log {dir}/access.log; {spool} server {{ listen 80; root {dir};\n\
         auth_basic \"members\"; auth_basic_user_file {dir}/users; }} }}\n"
    );
    let file = format!("{dir}/config");
    std::fs::write(&file, config).expect("a configuration");
    let daemon = host.daemon("nginx", &["-c", &file, "-p", dir], &host.path("nginx.log"));
    let open = host.range.wait_for_port(SocketAddr::new(VICTIM.into(), 80), PATIENCE).expect("the outside");
    assert!(open, "{}", std::fs::read_to_string(host.path("nginx.log")).unwrap_or_default());
    daemon
}

#[test]
fn guessing_at_nginx_is_one_incident_of_access_log_and_network() {
    let name = "guessing_at_nginx_is_one_incident_of_access_log_and_network";
    let Some(host) = Host::new(name, &["hydra", "nginx"]) else { return };
    let _nginx = nginx(&host);
    let agent = host.agent(&config(&host, "nginx/access.log", ", format = 'nginx-access'"), &["--enforce"]);
    let target = VICTIM.to_string();
    let from = ATTACKERS[2].to_string();
    let route = ["route", "replace", &target, "dev", OUTSIDE_INTERFACE, "src", &from];
    assert!(host.outside("ip", &route).status().expect("ip").success());
    let words: String = (0..3000).map(|n| format!("guess-{n}\n")).collect();
    let list = host.path("words");
    std::fs::write(&list, words).expect("a list of passwords");
    let list = list.to_str().expect("a plain path");
    let guesses = host
        .tool("hydra", &["-I", "-l", "alice", "-P", list, "-t", "4", &format!("http-get://{target}/page")]);
    let incident = both_views(&agent, ATTACKERS[2].into(), "http-");
    assert_eq!(count(&agent, ATTACKERS[2].into()), 1, "{incident}");
    drop(guesses);
    agent.stop();
}
