//! What people and those who look after them do: a busy morning, mail, and monitoring.

use super::account::Protocol;
use super::actor::Actor;
use super::guess::reply;
use super::home::{get_request, time_request};
use super::{Kind, Parameter, parameter};
use crate::chance::Chance;
use crate::serve::{PASSWORD, USER};
use crate::traffic::{Limits, TrafficError, dns, flood, http};
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) const MORNING: &[Parameter] = &[
    Parameter::new("sources", Kind::Addresses, "the clients"),
    Parameter::new("target", Kind::Address, "who serves names and the web"),
    Parameter::new("port", Kind::Number(1, 65_535), "port of the web").or("80"),
    Parameter::new("dns_port", Kind::Number(1, 65_535), "port of the names").or("53"),
    Parameter::new("mistakes", Kind::Number(0, 100), "logins that fail at first, percent").or("20"),
    parameter::seconds("15"),
    parameter::SEED,
];

pub(super) const MAIL: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("25"),
    parameter::count(500, "20", "mails"),
    parameter::rate(50, "2"),
    Parameter::new("size", Kind::Number(1, 1_000_000), "bytes of a mail, on average").or("20000"),
    parameter::seconds("15"),
    parameter::SEED,
];

pub(super) const MONITORING: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGETS,
    Parameter::new("pause_ms", Kind::Number(100, 60_000), "pause between rounds, ms").or("3000"),
    parameter::seconds("15"),
    parameter::SEED,
];

/// Every client in a thread of its own: looks up a name, logs in (some mistype), and reads pages in bursts with pauses.
pub(super) fn morning(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let sources = actor.values.addrs("sources");
    actor.together(sources.len() as u64, |i| {
        let Some(source) = usize::try_from(i).ok().and_then(|i| sources.get(i)) else { return };
        let mut chance = actor.chance(i + 1);
        // People do not arrive all at once.
        let arrival = Duration::from_millis(chance.pick(0..3000));
        if actor.sleep(arrival) {
            person(actor, *source, &mut chance);
        }
    })
}

fn person(actor: &Actor<'_>, source: IpAddr, chance: &mut Chance) {
    const PAGES: [&str; 7] =
        ["/", "/news", "/products", "/product?id=3", "/search?q=lamp", "/about", "/downloads/60000"];
    let web = actor.target();
    let names = SocketAddr::new(web.ip(), actor.values.port("dns_port"));
    let fails = chance.pick(0..100) < actor.values.number("mistakes");
    let tries: &[&str] = if fails { &["capslock-was-on", PASSWORD] } else { &[PASSWORD] };
    for password in tries {
        let body = format!("user={USER}&password={password}");
        let _ = actor.attempt(|| -> io::Result<()> {
            let mut line = BufReader::new(actor.connect(source, web)?);
            let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
            http::send(
                line.get_mut(),
                "POST",
                "/login",
                &format!("{kind}Content-Length: {}\r\n", body.len()),
            )?;
            line.get_mut().write_all(body.as_bytes())?;
            http::receive(&mut line).map(|_| ())
        });
        if !actor.sleep(chance.around(Duration::from_millis(1500), 60)) {
            return;
        }
    }
    while !actor.is_over() {
        let _ = actor.attempt(|| -> io::Result<()> {
            let socket = actor.udp(source, names)?;
            let id = u16::try_from(chance.bits() & 0xffff).unwrap_or(0);
            actor.ask(&socket, &dns::query(id, "www.example"), Duration::from_secs(1)).map(|_| ())
        });
        let pages = chance.pick(1..5);
        let _ = actor.attempt(|| -> io::Result<()> {
            let mut line = BufReader::new(actor.connect(source, web)?);
            for _ in 0..pages {
                let page = chance.of(&PAGES).copied().unwrap_or("/");
                http::send(line.get_mut(), "GET", page, "")?;
                http::receive(&mut line)?;
            }
            Ok(())
        });
        if !actor.sleep(chance.around(Duration::from_millis(1800), 90)) {
            return;
        }
    }
}

/// Mails from one server to another, RFC 5321.
pub(super) fn mail(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (mut pace, mut chance) = (actor.pace()?, actor.chance(0));
    while pace.next().is_some() {
        let size = usize::try_from(chance.pick(200..2 * actor.values.number("size") + 201)).unwrap_or(200);
        let text = chance.text(b"abcdefghij klmnop qrstuvwxyz ", size);
        let _ = actor.attempt(|| -> io::Result<()> {
            let mut line = BufReader::new(actor.connect(actor.source(), actor.target())?);
            reply(&mut line)?;
            let begin =
                ["EHLO client.example", "MAIL FROM:<anna@example>", "RCPT TO:<bruno@example>", "DATA"];
            for command in begin {
                line.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
                reply(&mut line)?;
            }
            let mut body = String::from("From: anna@example\r\nTo: bruno@example\r\nSubject: lab\r\n\r\n");
            for piece in text.as_bytes().chunks(72) {
                body.push_str(&String::from_utf8_lossy(piece));
                body.push_str("\r\n");
            }
            line.get_mut().write_all((body + ".\r\n").as_bytes())?;
            reply(&mut line)?;
            line.get_mut().write_all(b"QUIT\r\n")?;
            reply(&mut line).map(|_| ())
        });
    }
    Ok(())
}

/// Each round, at each target: two pings, a connection to every usual port with its greeting read, a page, a name, the
/// time, and a value over SNMP. Closed ports are refused, as on every network where a service was moved.
pub(super) fn monitoring(actor: &Actor<'_>) -> Result<(), TrafficError> {
    const PORTS: [u16; 6] = [21, 22, 25, 80, 445, 502];
    let mut chance = actor.chance(0);
    let pause = Duration::from_millis(actor.values.number("pause_ms"));
    loop {
        for target in actor.values.addrs("targets") {
            ping(actor, *target)?;
            for port in PORTS {
                let _ = actor.attempt(|| greeting(actor, SocketAddr::new(*target, port)));
            }
            let web = SocketAddr::new(*target, 80);
            let _ = actor.attempt(|| -> io::Result<()> {
                let mut line = BufReader::new(actor.connect(actor.source(), web)?);
                http::send(line.get_mut(), "GET", "/api/status", "Connection: close\r\n")?;
                http::receive(&mut line).map(|_| ())
            });
            for (port, question) in
                [(53, dns::query(7, "www.example")), (123, time_request()), (161, get_request(1))]
            {
                let _ = actor.attempt(|| {
                    let socket = actor.udp(actor.source(), SocketAddr::new(*target, port))?;
                    actor.ask(&socket, &question, Duration::from_millis(300))
                });
            }
        }
        if !actor.sleep(chance.around(pause, 10)) {
            return Ok(());
        }
    }
}

fn ping(actor: &Actor<'_>, target: IpAddr) -> Result<(), TrafficError> {
    let source = actor.source();
    let limits = Limits::new(2, 20, Duration::from_secs(1))?;
    let protocol = if target.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
    actor.account().flow(protocol, SocketAddr::new(source, 0), SocketAddr::new(target, 0));
    actor.account().tried(flood::icmp_flood(source, target, 56, limits, actor.control())?);
    Ok(())
}

/// Connects and reads what the server says first, if it says something within a moment.
fn greeting(actor: &Actor<'_>, target: SocketAddr) -> io::Result<()> {
    let mut line = actor.connect(actor.source(), target)?;
    line.stream.set_read_timeout(Some(Duration::from_millis(150)))?;
    let mut buffer = [0; 512];
    // Silence is an answer, too.
    let _ = line.read(&mut buffer);
    Ok(())
}
