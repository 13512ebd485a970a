//! Web servers for visits: nginx with a certificate of our own authority, and the lab's name server, on loopback.

use lab::arguments::Arguments;
use lab::serve::Running;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Hosts that nginx answers for differently; every other one has the common pages.
const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid DIR/nginx.pid;
error_log DIR/error.log;
events { worker_connections 512; }
http {
    log_format visits '$msec|$connection|$host|$request_uri|$status|$http_user_agent';
    access_log DIR/access.log visits;
    client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3;
    uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
    types { text/html html; text/css css; image/png png; application/json json; }
    default_type application/octet-stream;
    ssl_certificate DIR/server.pem;
    ssl_certificate_key DIR/server.key;
    root DIR/www;
    server { listen 127.0.0.1:PORT ssl default_server; server_name _; }
    server { listen 127.0.0.1:PORT ssl; server_name absent.example; location = /robots.txt { return 404; } }
    server { listen 127.0.0.1:PORT ssl; server_name down.example; location = /robots.txt { return 503; } }
    server { listen 127.0.0.1:PORT ssl; server_name delay.example;
             location = /robots.txt { return 200 "User-agent: *\nCrawl-delay: 60\n"; } }
    server { listen 127.0.0.1:PORT ssl; server_name busy.example; location = / { return 429; } }
    server { listen 127.0.0.1:PORT ssl; server_name moved.example; location = / { return 302 /private/page.html; } }
    server { listen 127.0.0.1:PORT ssl; server_name circle.example; location = / { return 301 https://$host:PORT/; } }
    server { listen 127.0.0.1:PORT ssl; server_name abroad.example; location = / { return 307 https://9.9.9.9/; } }
}
"#;

const PAGE: &str = "<!doctype html><link rel=stylesheet href=/style.css><img src=/picture.png>\
    <img src=/private/secret.png><script src='/script.js'></script><a href=/next.html>next</a>\
    <a href=/login.html>log in</a><a href=/private/page.html>private</a>";

/// A line of nginx's log.
#[derive(Debug)]
pub(crate) struct Entry {
    /// When the request had been answered, s.
    pub(crate) at: f64,
    /// Number of the connection it came over.
    pub(crate) connection: u64,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) agent: String,
}

/// The servers. They end when dropped.
pub(crate) struct Servers {
    dir: PathBuf,
    port: u16,
    names: Running,
    nginx: Child,
}

impl Servers {
    /// Starts them, or says why not: nginx or openssl is missing.
    pub(crate) fn start(test: &str) -> Option<Self> {
        for program in ["/usr/sbin/nginx", "/usr/bin/openssl"] {
            if !Path::new(program).exists() {
                println!("skipped: {test}: {program} is not there");
                return None;
            }
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = std::fs::remove_dir_all(&dir);
        let www = dir.join("www");
        std::fs::create_dir_all(www.join("private")).expect("a directory");
        for (name, text) in [
            ("robots.txt", "User-agent: *\nDisallow: /private/\n"),
            ("index.html", PAGE),
            ("next.html", PAGE),
            ("login.html", PAGE),
            ("private/page.html", PAGE),
            ("private/secret.png", "secret"),
            ("picture.png", "picture"),
            ("script.js", "0"),
            ("style.css", "p {}"),
            ("data.json", "{}"),
        ] {
            std::fs::write(www.join(name), text).expect("a file");
        }
        let large = std::fs::File::create(www.join("large.bin")).expect("a file");
        large.set_len(16 << 20).expect("a large file");
        certify(&dir);
        let port = free_port();
        // As root, workers would be another user, who may not read the directory.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let text = CONFIGURATION.replace("DIR", dir.to_str().expect("a plain path"));
        let file = dir.join("nginx.conf");
        std::fs::write(&file, format!("{user}{}", text.replace("PORT", &port.to_string()))).expect("a file");
        let mut nginx = Command::new("/usr/sbin/nginx")
            .arg("-e")
            .arg(dir.join("error.log"))
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(dir.join("error.log")).unwrap_or_default();
            assert!(nginx.try_wait().expect("its state").is_none(), "nginx ended: {}", log());
            assert!(begun.elapsed() < Duration::from_secs(20), "nginx does not answer: {}", log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let words = ["address=127.0.0.1", "port=0", "answer=127.0.0.1", "wildcard=yes"];
        let names = Arguments::parse(words).expect("arguments");
        let names = lab::serve::start("dns", &names).expect("the name server starts");
        Some(Self { dir, port, names, nginx })
    }

    /// Where nginx listens on 127.0.0.1.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The name server.
    pub(crate) fn resolver(&self) -> SocketAddr {
        self.names.addresses()[0]
    }

    /// The authority that signed nginx's certificate.
    pub(crate) fn authority(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("ca.pem")).expect("the authority")
    }

    /// What nginx has logged, in order of the ends of requests.
    pub(crate) fn log(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(self.dir.join("access.log")).expect("the log");
        let entry = |line: &str| {
            let mut fields = line.splitn(6, '|');
            let mut next = || fields.next().expect("a field").to_owned();
            Entry {
                at: next().parse().expect("a time"),
                connection: next().parse().expect("a number"),
                host: next(),
                path: next(),
                status: next().parse().expect("a status"),
                agent: next(),
            }
        };
        // The check whether nginx answers leaves lines of status 400 without a request.
        text.lines().map(entry).filter(|e| e.status != 400).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

/// Hosts that tests visit. Clients trust no wildcard for a whole top-level domain.
const HOSTS: [&str; 15] = [
    "one",
    "two",
    "www.three",
    "three",
    "absent",
    "down",
    "delay",
    "busy",
    "moved",
    "circle",
    "abroad",
    "api",
    "files",
    "media",
    "silent",
];

/// An authority, and a certificate of it for [`HOSTS`] below `example`.
fn certify(dir: &Path) {
    let names = format!("subjectAltName={}", HOSTS.map(|h| format!("DNS:{h}.example")).join(","));
    std::fs::write(dir.join("names"), names).expect("a file");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let openssl = |args: &[&str]| {
        let output =
            Command::new("/usr/bin/openssl").args(args).current_dir(dir).output().expect("openssl runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let authority = ["req", "-x509", "-subj", "/CN=lab authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&authority[..], &key].concat());
    let request = ["req", "-subj", "/CN=lab", "-keyout", "server.key", "-out", "server.csr"];
    openssl(&[&request[..], &key[..5]].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "server.pem",
    ]);
}

/// A TCP port nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}
