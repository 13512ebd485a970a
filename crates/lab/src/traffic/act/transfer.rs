//! Moving data: out of the network and into it, and calls with picture and sound.

use super::actor::{Actor, Line};
use super::guess::reply;
use super::{Kind, Parameter, parameter};
use crate::chance::Chance;
use crate::serve::{PASSWORD, USER};
use crate::traffic::{TrafficError, http};
use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes written at once.
const CHUNK: usize = 64 * 1024;
/// Largest single upload over FTP: what the lab's server keeps.
const MAX_STORED: u64 = 8 * 1024 * 1024;

pub(super) const UPLOAD: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    Parameter::new("over", Kind::Choice(&["http", "ftp"]), "protocol").or("http"),
    Parameter::new("port", Kind::Number(0, 65_535), "port of the target; 0 for the protocol's own").or("0"),
    Parameter::new("megabytes", Kind::Number(1, 400), "how much, MB").or("30"),
    Parameter::new("rate", Kind::Number(1, 1000), "MB a second").or("10"),
    parameter::seconds("30"),
    parameter::SEED,
];

pub(super) const DOWNLOAD: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("80"),
    parameter::count(500, "24", "files"),
    Parameter::new("parallel", Kind::Number(1, 32), "files at once").or("6"),
    Parameter::new("kilobytes", Kind::Number(1, 60_000), "size of a file, kB").or("2000"),
    parameter::seconds("30"),
];

pub(super) const CALL: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("5004"),
    parameter::rate(500, "150"),
    Parameter::new("size", Kind::Number(40, 1400), "bytes of a packet").or("900"),
    parameter::seconds("15"),
];

pub(super) const DATAGRAMS: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("5004"),
    parameter::count(5000, "60", "datagrams"),
    parameter::rate(200, "10"),
    Parameter::new("size", Kind::Number(1500, 60_000), "payload bytes: more than one packet holds")
        .or("8192"),
    parameter::seconds("15"),
];

/// Sends `size` bytes at the rate asked for. They have no pattern, as what is encrypted or compressed.
fn pour(actor: &Actor<'_>, line: &mut Line<'_>, size: u64, chance: &mut Chance) -> io::Result<()> {
    let rate = actor.values.number("rate").max(1) * 1_000_000;
    let (begun, piece) = (Instant::now(), chance.bytes(CHUNK));
    let mut sent = 0;
    while sent < size {
        let len = usize::try_from(size - sent).unwrap_or(CHUNK).min(CHUNK);
        line.write_all(&piece[..len])?;
        sent += len as u64;
        let due = Duration::from_secs_f64(sent as f64 / rate as f64);
        if !actor.sleep(due.saturating_sub(begun.elapsed())) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

/// One upload of everything over HTTP, or files of up to 8 MB over FTP.
pub(super) fn upload(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut chance = actor.chance(0);
    let mut target = actor.target();
    let total = actor.values.number("megabytes") * 1_000_000;
    if actor.values.word("over") == "ftp" {
        if target.port() == 0 {
            target.set_port(21);
        }
        let mut left = total;
        while left > 0 && !actor.is_over() {
            let size = left.min(MAX_STORED);
            if actor.attempt(|| store(actor, target, size, &mut chance)).is_none() {
                break;
            }
            left -= size;
        }
        return Ok(());
    }
    if target.port() == 0 {
        target.set_port(80);
    }
    let _ = actor.attempt(|| -> io::Result<()> {
        let mut line = actor.connect(actor.source(), target)?;
        let fields = format!("Content-Type: application/octet-stream\r\nContent-Length: {total}\r\n");
        http::send(&mut line, "POST", "/upload", &fields)?;
        pour(actor, &mut line, total, &mut chance)?;
        http::receive(&mut line).map(|_| ())
    });
    Ok(())
}

/// Stores a file over FTP, with an extended passive data connection (RFC 2428).
fn store(actor: &Actor<'_>, target: SocketAddr, size: u64, chance: &mut Chance) -> io::Result<()> {
    let mut control = BufReader::new(actor.connect(actor.source(), target)?);
    reply(&mut control)?;
    for command in [format!("USER {USER}"), format!("PASS {PASSWORD}"), "TYPE I".to_owned()] {
        control.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        if reply(&mut control)? >= 400 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    control.get_mut().write_all(b"EPSV\r\n")?;
    let mut text = String::new();
    io::BufRead::read_line(&mut (&mut control).take(200), &mut text)?;
    let port = text.split('|').nth(3).and_then(|p| p.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut data = actor.connect(actor.source(), SocketAddr::new(target.ip(), port))?;
    control.get_mut().write_all(b"STOR backup.tar\r\n")?;
    reply(&mut control)?;
    pour(actor, &mut data, size, chance)?;
    drop(data);
    match reply(&mut control)? {
        226 => Ok(()),
        code => Err(io::Error::other(format!("the file server answers {code}"))),
    }
}

/// Many files from one server, several at once, as an update fetches packages.
pub(super) fn download(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (count, next) = (actor.values.number("count"), AtomicU64::new(0));
    let size = actor.values.number("kilobytes") * 1000;
    actor.together(actor.values.number("parallel"), |_| {
        let mut open = None;
        while next.fetch_add(1, Ordering::Relaxed) < count && !actor.is_over() {
            let _ = actor.attempt(|| -> io::Result<()> {
                let mut line = match open.take() {
                    Some(line) => line,
                    None => BufReader::with_capacity(CHUNK, actor.connect(actor.source(), actor.target())?),
                };
                http::send(line.get_mut(), "GET", &format!("/downloads/{size}"), "")?;
                let answer = http::receive(&mut line)?;
                if answer.status != 200 || answer.length != size {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                open = Some(line);
                Ok(())
            });
        }
    })
}

/// Packets of nearly equal size at an even rate, and as many back, RTP (RFC 3550) by their header.
pub(super) fn call(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut pace = actor.pace()?;
    let size = actor.values.size("size");
    let Some(socket) = actor.attempt(|| actor.udp(actor.source(), actor.target())) else { return Ok(()) };
    socket.set_nonblocking(true).map_err(TrafficError::io("make a socket non-blocking"))?;
    let mut buffer = [0; 2048];
    let mut take = || {
        while let Ok(len) = socket.recv(&mut buffer) {
            actor.account().received(len);
        }
    };
    while let Some(n) = pace.next() {
        let [.., a, b] = n.to_be_bytes();
        let stamp = u32::try_from(n.wrapping_mul(3000) & 0xffff_ffff).unwrap_or(0).to_be_bytes();
        let mut packet = [vec![0x80, 96, a, b], stamp.to_vec(), b"lab!".to_vec()].concat();
        packet.resize(size - usize::try_from(n % 7).unwrap_or(0), 0x42);
        let _ = actor.attempt(|| actor.datagram(&socket, &packet));
        take();
    }
    // The last ones are still on their way; a closed port would refuse them.
    let _ = actor.control().sleep(Duration::from_millis(50));
    take();
    Ok(())
}

/// Datagrams that IP must fragment, as of NFS, RADIUS with certificates, or signed DNS.
pub(super) fn datagrams(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (mut pace, mut chance) = (actor.pace()?, actor.chance(0));
    let size = actor.values.size("size");
    let Some(socket) = actor.attempt(|| actor.udp(actor.source(), actor.target())) else { return Ok(()) };
    while pace.next().is_some() {
        let _ = actor.attempt(|| actor.ask(&socket, &chance.bytes(size), Duration::from_millis(500)));
    }
    Ok(())
}
