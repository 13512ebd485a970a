//! Real servers that actors may offer, with the configuration they get.

use super::tool::{Invocation, Need, TUNNEL, TUNNEL_DOMAIN, TUNNEL_SECRET, strings, written};
use crate::address;
use crate::arguments::{ArgumentError, Arguments};
use crate::visit::sites::{Endpoint, shipped_services, shipped_sites};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// A real server that an actor may offer.
#[derive(Debug)]
pub struct RealServer {
    /// Its name in scenario files.
    pub name: &'static str,
    /// What it offers, one sentence.
    pub about: &'static str,
    /// What must be installed.
    pub needs: &'static [Need],
    /// The TCP port that says when it is ready.
    pub(super) port: Option<u16>,
    /// Program and arguments. Its files go into a directory of its own.
    pub(super) command: fn(&Serving<'_>) -> Invocation,
}

/// Where a server is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serving<'a> {
    /// A directory of its own.
    pub(super) dir: &'a Path,
    /// Its host's first IPv4 address.
    pub(super) address: IpAddr,
}

/// A real server by the word that names it.
#[must_use]
pub fn find(word: &str) -> Option<&'static RealServer> {
    SERVERS.iter().find(|s| s.name == word)
}

/// All real servers.
#[must_use]
pub fn all() -> &'static [RealServer] {
    &SERVERS
}

/// Whether an actor can offer this: a real server, or a service of the lab with its arguments.
pub(super) fn check(text: &str) -> Result<(), String> {
    if find(text).is_some() {
        return Ok(());
    }
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let service = crate::serve::all().iter().find(|s| s.name == name).ok_or_else(|| {
        let real = SERVERS.map(|s| s.name).join(", ");
        let own = crate::serve::names().join(", ");
        format!("there is no server '{name}'; there are {real}, and of the lab {own}")
    })?;
    let values =
        arguments(words, "127.0.0.1").and_then(|a| a.check(service.parameters)).map_err(|e| e.to_string())?;
    let address = values.addr("address");
    if address.is_loopback() || address::is_lab(address) {
        Ok(())
    } else {
        Err(format!("{address} is not an address of this range"))
    }
}

/// The words after a service's name, and where it listens unless they say so.
pub(super) fn arguments<'a>(
    words: impl Iterator<Item = &'a str>,
    address: &str,
) -> Result<Arguments, ArgumentError> {
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    if !words.iter().any(|w| w.starts_with("address=")) {
        words.push(format!("address={address}"));
    }
    Arguments::parse(words)
}

/// Sizes of the pages of nginx, bytes: `page` is one line of text.
const PAGES: [(&str, u64); 3] = [("1m", 1 << 20), ("8m", 8 << 20), ("64m", 64 << 20)];

const SERVERS: [RealServer; 5] = [
    RealServer {
        name: "iodined",
        about: "The far end of a tunnel through DNS.",
        needs: &[("iodined", "iodine")],
        port: None,
        command: |at| {
            let listen = at.address.to_string();
            let line = ["-f", "-c", "-P", TUNNEL_SECRET, "-l", &listen, TUNNEL, TUNNEL_DOMAIN];
            Ok(("iodined", strings(line)))
        },
    },
    RealServer {
        name: "iperf3",
        about: "Takes bulk data on port 5201.",
        needs: &[("iperf3", "iperf3")],
        port: Some(5201),
        command: |_| Ok(("iperf3", strings(["-s"]))),
    },
    RealServer {
        name: "nginx",
        about: "A web server with a page, a form, and files of 1, 8 and 64 MB on port 80.",
        needs: &[("nginx", "nginx-light")],
        port: Some(80),
        command: nginx,
    },
    RealServer {
        name: "sites",
        about: "All sites and services of `autoinmune generate` on port 443, with a certificate for their names.",
        needs: &[("nginx", "nginx-light"), ("openssl", "openssl")],
        port: Some(443),
        command: sites,
    },
    RealServer {
        name: "sshd",
        about: "An SSH server on port 22 that takes one key and no password.",
        needs: &[("sshd", "openssh-server"), ("ssh-keygen", "openssh-client")],
        port: Some(22),
        command: sshd,
    },
];

fn nginx(at: &Serving<'_>) -> Invocation {
    std::fs::write(at.dir.join("page"), "an ordinary page\n")?;
    for (name, size) in PAGES {
        // A sparse file: its bytes are zeros and take no room.
        std::fs::File::create(at.dir.join(name))?.set_len(size)?;
    }
    let dir = at.dir.display();
    let spool: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}; "))
        .concat();
    let config = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error; user root; worker_processes 1;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; {spool} server {{ listen 80; listen [::]:80; root {dir}; index page;\n\
         location /form {{ proxy_pass http://127.0.0.1:81; }} }}\n\
         server {{ listen 127.0.0.1:81; return 200 \"thank you\"; }} }}\n"
    );
    let file = written(at.dir, "config", config)?;
    Ok(("nginx", strings(["-c", &file, "-p", &dir.to_string()])))
}

/// The authority that certifies `sites`, in the range's directory.
pub(super) const SITES_AUTHORITY: &str = "sites_authority.pem";

/// What each site shows: parts that are fetched too, one that robots.txt forbids, and a link.
const SITE: &str = "<!doctype html><link rel=stylesheet href=/style.css><img src=/a.png><img src=/b.png>\
    <img src=/private/c.png><a href=/next/>next</a>";

fn sites(at: &Serving<'_>) -> Invocation {
    let root = at.dir.join("www");
    std::fs::create_dir_all(root.join("next"))?;
    for page in ["index.html", "next/index.html"] {
        std::fs::write(root.join(page), SITE)?;
    }
    for (part, size) in [("style.css", 6_000), ("a.png", 20_000), ("b.png", 45_000)] {
        std::fs::write(root.join(part), vec![b'x'; size])?;
    }
    // Sparse, as above.
    std::fs::File::create(root.join("large"))?.set_len(1 << 20)?;
    certify(at.dir)?;
    let dir = at.dir.display();
    let spool: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}; "))
        .concat();
    let config = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error; user root; worker_processes 1;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; {spool} types {{ text/html html; text/css css; }} default_type application/json;\n\
         server {{ listen 443 ssl; listen [::]:443 ssl; root {dir}/www;\n\
         ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;\n\
         location / {{ try_files $uri $uri/index.html /large; }}\n\
         location = /robots.txt {{ return 200 'User-agent: *\nDisallow: /private/\n'; }} }} }}\n"
    );
    let file = written(at.dir, "config", config)?;
    Ok(("nginx", strings(["-c", &file, "-p", &dir.to_string()])))
}

/// Makes an authority and a certificate of it for every name that `autoinmune generate` visits.
fn certify(dir: &Path) -> io::Result<()> {
    let web = |endpoint: Endpoint| match endpoint {
        Endpoint::Web(url) => Some(url.host().to_owned()),
        Endpoint::Host { .. } => None,
    };
    let sites = shipped_sites().map_err(io::Error::other)?.into_iter().map(|s| s.url.host().to_owned());
    let services = shipped_services().map_err(io::Error::other)?.into_iter().filter_map(|s| web(s.endpoint));
    let hosts: BTreeSet<String> = sites.chain(services).collect();
    let names: Vec<String> = hosts.iter().map(|h| format!("DNS:{h}")).collect();
    std::fs::write(dir.join("names"), format!("subjectAltName={}", names.join(",")))?;
    let script = format!(
        "set -e; key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n\
         openssl req -x509 -subj '/CN=lab authority' -days 2 $key -keyout ca.key -out ../{SITES_AUTHORITY}\n\
         openssl req -subj /CN=lab $key -keyout server.key -out server.csr\n\
         openssl x509 -req -in server.csr -CA ../{SITES_AUTHORITY} -CAkey ca.key -CAcreateserial -days 2 \
         -extfile names -out server.pem\n"
    );
    let made = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()?;
    if made.success() { Ok(()) } else { Err(io::Error::other("openssl could not make a certificate")) }
}

/// The key that every `sshd` of a range takes, in the range's directory.
pub(super) const SSH_KEY: &str = "ssh_key";

fn ssh_key(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(std::process::Stdio::null())
        .status()?;
    if made.success() { Ok(()) } else { Err(io::Error::other("ssh-keygen could not make a key")) }
}

fn sshd(at: &Serving<'_>) -> Invocation {
    let key = at.dir.join("host_key");
    let user = at.dir.with_file_name(SSH_KEY);
    ssh_key(&key)?;
    ssh_key(&user)?;
    let (key, user) = (key.display(), user.display());
    // Where sshd puts its unprivileged half; a service manager would make it.
    std::fs::create_dir_all("/run/sshd")?;
    // As distributions ship it: PAM makes the answer to a wrong password wait.
    let config = format!(
        "Port 22\nHostKey {key}\nAuthorizedKeysFile {user}.pub\nPidFile none\nStrictModes no\nUsePAM yes\n\
         KbdInteractiveAuthentication no\nPasswordAuthentication yes\nUseDNS no\n\
         PermitRootLogin prohibit-password\nMaxStartups 50\n"
    );
    let file = written(at.dir, "config", config)?;
    // sshd re-executes itself and wants to know where it is.
    let program = if Path::new("/usr/sbin/sshd").exists() { "/usr/sbin/sshd" } else { "/usr/bin/sshd" };
    Ok((program, strings(["-D", "-e", "-f", &file])))
}
