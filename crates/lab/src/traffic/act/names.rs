//! Names: tunnels through DNS, generated domains, and the many lookups that look like either and are neither.

use super::actor::Actor;
use super::{Kind, Parameter, parameter};
use crate::chance::Chance;
use crate::traffic::TrafficError;
use crate::traffic::dns::{kind, question};
use std::io;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(1000);
/// Base 32 in lower case, as tunnels use it: names do not tell case apart.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const HEX: &[u8] = b"0123456789abcdef";

pub(super) const TUNNEL: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("53"),
    Parameter::new("domain", Kind::Domain, "below what").or("t.example"),
    Parameter::new("kind", Kind::Choice(&["txt", "null", "cname", "mx", "a"]), "which records are asked for")
        .or("txt"),
    Parameter::new("size", Kind::Number(4, 140), "bytes of data in a name").or("60"),
    parameter::count(10_000, "150", "queries"),
    parameter::rate(200, "15"),
    parameter::seconds("15"),
    parameter::SEED,
];

pub(super) const GENERATED: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("53"),
    parameter::count(2000, "40", "domains"),
    parameter::rate(100, "4"),
    parameter::seconds("15"),
    parameter::SEED,
];

pub(super) const LOOKUPS: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("53"),
    Parameter::new(
        "style",
        Kind::Choice(&["browsing", "content", "reputation", "mail", "typos"]),
        "a browser; a network of content caches; a virus scanner; a mail server; a user who mistypes",
    )
    .or("browsing"),
    parameter::count(10_000, "80", "queries"),
    parameter::rate(200, "8"),
    parameter::seconds("15"),
    parameter::SEED,
];

/// Asks for names that `name` makes: each from a port of its own, as resolvers do, or all from one, as tunnels do.
fn ask(
    actor: &Actor<'_>,
    fresh_port: bool,
    mut name: impl FnMut(u64, &mut Chance) -> (String, u16),
) -> Result<(), TrafficError> {
    let (mut pace, mut chance) = (actor.pace()?, actor.chance(0));
    let mut socket = None;
    while let Some(n) = pace.next() {
        let (name, kind) = name(n, &mut chance);
        let id = u16::try_from(chance.bits() & 0xffff).unwrap_or(0);
        let answer = actor.attempt(|| -> io::Result<()> {
            let open = match socket.take().filter(|_| !fresh_port) {
                Some(open) => open,
                None => actor.udp(actor.source(), actor.target())?,
            };
            let answer = actor.ask(&open, &question(id, &name, kind, Some(1232)), PATIENCE)?;
            socket = Some(open);
            if answer.get(..2) == Some(&id.to_be_bytes()) {
                Ok(())
            } else {
                Err(io::ErrorKind::InvalidData.into())
            }
        });
        if answer.is_none() {
            socket = None;
        }
    }
    Ok(())
}

/// Data in names, as much as fits; answers carry data back.
pub(super) fn tunnel(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let record = match actor.values.word("kind") {
        "null" => kind::NULL,
        "cname" => kind::CNAME,
        "mx" => kind::MX,
        "a" => kind::A,
        _ => kind::TXT,
    };
    let (domain, size) = (actor.values.word("domain").to_owned(), actor.values.size("size"));
    ask(actor, false, |_, chance| {
        // Five bytes of data are eight letters, in labels of at most sixty.
        let data = chance.text(LETTERS, (size * 8).div_ceil(5));
        let labels: Vec<&str> =
            data.as_bytes().chunks(60).filter_map(|piece| std::str::from_utf8(piece).ok()).collect();
        (format!("{}.{domain}", labels.join(".")), record)
    })
}

/// Domains drawn by lot, of which none exists.
pub(super) fn generated(actor: &Actor<'_>) -> Result<(), TrafficError> {
    ask(actor, true, |_, chance| {
        let len = usize::try_from(chance.pick(10..18)).unwrap_or(12);
        // Reserved (RFC 6761): nobody can ever register them.
        (format!("{}.example", chance.text(b"abcdefghijklmnopqrstuvwxyz", len)), kind::A)
    })
}

/// Lookups that mean no harm.
pub(super) fn lookups(actor: &Actor<'_>) -> Result<(), TrafficError> {
    const HOSTS: [&str; 9] = ["www", "mail", "files", "app", "time", "update", "backup", "media", "ns"];
    const TYPOS: [&str; 6] = ["wwww", "mial", "fiels", "updaet", "intranet-old", "printer3"];
    let style = actor.values.word("style").to_owned();
    ask(actor, true, |n, chance| {
        let host = chance.of(&HOSTS).copied().unwrap_or("www");
        match style.as_str() {
            // Names of caches are as random as those of tunnels, but they are asked for as addresses.
            "content" => (
                format!("{}.cdn.example", chance.text(HEX, 12)),
                if n % 2 == 0 { kind::A } else { kind::AAAA },
            ),
            // A checksum in the name, one address back.
            "reputation" => (format!("{}.rep.example", chance.text(HEX, 32)), kind::A),
            "mail" => match n % 3 {
                0 => ("example".to_owned(), kind::MX),
                1 => ("example".to_owned(), kind::TXT),
                _ => (format!("{}.2.0.192.rep.example", chance.pick(1..255)), kind::A),
            },
            "typos" if n % 5 == 0 => {
                (format!("{}.example", chance.of(&TYPOS).copied().unwrap_or("wwww")), kind::A)
            }
            _ => (format!("{host}.example"), if n % 3 == 0 { kind::AAAA } else { kind::A }),
        }
    })
}
