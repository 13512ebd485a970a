//! Guessing of passwords, and logins as people make them.

use super::actor::{Actor, Line};
use super::smb::Session;
use super::{Kind, Parameter, parameter};
use crate::chance::Chance;
use crate::traffic::{TrafficError, http, ssh};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;

const SERVICE: Parameter = Parameter::new(
    "service",
    Kind::Choice(&["ftp", "http", "smb", "ssh"]),
    "whose; ssh is the lab's stand-in, which real SSH servers refuse",
);

pub(super) const PARAMETERS: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    Parameter { default: Some("ftp"), ..SERVICE },
    Parameter::new("port", Kind::Number(0, 65_535), "port of the target; 0 for the service's own").or("0"),
    Parameter::new(
        "style",
        Kind::Choice(&["guess", "spray", "stuff"]),
        "many passwords of one user, few of many users, or one each of many users",
    )
    .or("guess"),
    parameter::count(10_000, "60", "guesses, one a connection"),
    parameter::rate(200, "8"),
    parameter::seconds("15"),
    parameter::SEED,
];

const USERS: [&str; 12] = [
    "admin",
    "administrator",
    "user",
    "test",
    "oracle",
    "postgres",
    "support",
    "anna",
    "bruno",
    "carla",
    "david",
    "erika",
];
const PASSWORDS: [&str; 10] = [
    "123456",
    "password",
    "qwerty",
    "letmein",
    "admin",
    "welcome",
    "Summer2026",
    "changeme",
    "dragon",
    "iloveyou",
];

/// The n-th pair of name and password.
fn pair(style: &str, n: u64, chance: &mut Chance) -> (String, String) {
    let at = usize::try_from(n).unwrap_or(0);
    let user = USERS[at % USERS.len()];
    // Lists are longer than ours: numbers make up for it.
    let password = |i: usize| match i / PASSWORDS.len() {
        0 => PASSWORDS[i % PASSWORDS.len()].to_owned(),
        n => format!("{}{n}", PASSWORDS[i % PASSWORDS.len()]),
    };
    match style {
        "spray" => (format!("{user}{}", at / USERS.len() % 20), password(at / (USERS.len() * 20))),
        "stuff" => {
            let name = format!("{user}.{}", chance.text(b"abcdefghijklmnopqrstuvwxyz", 5));
            (name, chance.text(b"abcdefghijkmnpqrstuvwxyz23456789", 10))
        }
        _ => ("admin".to_owned(), password(at)),
    }
}

pub(super) fn run(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (mut pace, mut chance) = (actor.pace()?, actor.chance(0));
    let service = actor.values.word("service").to_owned();
    let target = at(&service, actor.target());
    while let Some(n) = pace.next() {
        let (user, password) = pair(actor.values.word("style"), n, &mut chance);
        // The answer is a refusal: that it came is what counts.
        let _ = actor.attempt(|| log_in(actor, &service, target, &user, &password));
    }
    Ok(())
}

/// The service's own port, where none is given.
pub(super) fn at(service: &str, target: SocketAddr) -> SocketAddr {
    let own = match service {
        "ssh" => 22,
        "http" => 80,
        "smb" => 445,
        _ => 21,
    };
    SocketAddr::new(target.ip(), if target.port() == 0 { own } else { target.port() })
}

/// Tries one pair; says whether it was let in.
pub(super) fn log_in(
    actor: &Actor<'_>,
    service: &str,
    target: SocketAddr,
    user: &str,
    password: &str,
) -> io::Result<bool> {
    let mut line = actor.connect(actor.source(), target)?;
    match service {
        "ssh" => ssh::refused(&mut line, 1).map(|refused| refused == 0),
        "http" => {
            let body = format!("user={user}&password={password}");
            let fields = format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                body.len()
            );
            http::send(&mut line, "POST", "/login", &fields)?;
            line.write_all(body.as_bytes())?;
            Ok(http::receive(&mut line)?.status < 400)
        }
        "smb" => match Session::open(line, user) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(e) => Err(e),
        },
        _ => {
            let mut line = BufReader::new(line);
            reply(&mut line)?;
            for command in [format!("USER {user}\r\n"), format!("PASS {password}\r\n")] {
                line.get_mut().write_all(command.as_bytes())?;
                let code = reply(&mut line)?;
                if code == 530 {
                    return Ok(false);
                }
            }
            line.get_mut().write_all(b"QUIT\r\n")?;
            Ok(true)
        }
    }
}

/// The code of an FTP or SMTP reply of one or more lines (RFC 959 §4.2).
pub(super) fn reply(line: &mut BufReader<Line<'_>>) -> io::Result<u16> {
    loop {
        let mut text = String::new();
        line.take(1000).read_line(&mut text)?;
        let code = text.get(..3).and_then(|c| c.parse().ok());
        match (code, text.as_bytes().get(3)) {
            (Some(code), Some(b' ')) => return Ok(code),
            (Some(_), Some(b'-')) => {}
            // Lines between need no code.
            _ if text.starts_with(' ') => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a reply")),
        }
    }
}
