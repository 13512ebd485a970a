//! Real servers that actors may offer, with the configuration they get.

use super::tool::{Invocation, Need, TUNNEL, TUNNEL_DOMAIN, TUNNEL_SECRET, strings, written};
use crate::address;
use crate::arguments::{ArgumentError, Arguments};
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

const SERVERS: [RealServer; 4] = [
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
