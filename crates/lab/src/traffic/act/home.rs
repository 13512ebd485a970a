//! Programs that call home: agents of a botnet, and those that are supposed to.

use super::actor::{Actor, Line};
use super::{Kind, Parameter, parameter};
use crate::traffic::{TrafficError, http};
use std::io::{self, Read, Write};
use std::time::Duration;

pub(super) const BEACON: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("80"),
    Parameter::new("over", Kind::Choice(&["http", "tcp"]), "requests, or bytes of no known protocol")
        .or("http"),
    parameter::count(1000, "40", "calls"),
    Parameter::new("pause_ms", Kind::Number(50, 60_000), "pause between calls, ms").or("400"),
    Parameter::new("jitter", Kind::Number(0, 90), "how far a pause may be from that, percent").or("20"),
    Parameter::new("size", Kind::Number(1, 4000), "bytes sent in a call").or("120"),
    parameter::seconds("20"),
    parameter::SEED,
];

pub(super) const KEEPALIVE: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    Parameter::new("service", Kind::Choice(&["mqtt", "ntp", "snmp"]), "whom it calls").or("ntp"),
    Parameter::new("port", Kind::Number(0, 65_535), "port of the target; 0 for the service's own").or("0"),
    parameter::count(1000, "30", "calls"),
    Parameter::new("pause_ms", Kind::Number(50, 60_000), "pause between calls, ms").or("500"),
    Parameter::new("jitter", Kind::Number(0, 90), "how far a pause may be from that, percent").or("10"),
    parameter::seconds("20"),
    parameter::SEED,
];

/// A short connection each time, with about the same in it.
pub(super) fn beacon(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut chance = actor.chance(0);
    let (pause, jitter) =
        (Duration::from_millis(actor.values.number("pause_ms")), actor.values.number("jitter"));
    let size = actor.values.size("size");
    let agent = chance.text(b"0123456789abcdef", 16);
    for turn in 0..actor.values.number("count") {
        let data = chance.text(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", size);
        let _ = actor.attempt(|| -> io::Result<()> {
            let mut line = actor.connect(actor.source(), actor.target())?;
            if actor.values.word("over") == "tcp" {
                line.write_all(data.as_bytes())?;
                // Whatever the other side says, it is taken; most servers say nothing.
                line.stream.set_read_timeout(Some(Duration::from_millis(100)))?;
                let _ = line.read(&mut [0; 512]);
                return Ok(());
            }
            let target = format!("/api/status?agent={agent}&turn={turn}&d={data}");
            http::send(&mut line, "GET", &target, "Connection: close\r\n")?;
            http::receive(&mut line).map(|_| ())
        });
        if !actor.sleep(chance.around(pause, jitter)) {
            break;
        }
    }
    Ok(())
}

/// Regular calls of programs that every network has: a clock, a monitoring station, a device with its broker.
pub(super) fn keepalive(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut chance = actor.chance(0);
    let (pause, jitter) =
        (Duration::from_millis(actor.values.number("pause_ms")), actor.values.number("jitter"));
    let service = actor.values.word("service").to_owned();
    let mut target = actor.target();
    if target.port() == 0 {
        target.set_port(match service.as_str() {
            "mqtt" => 1883,
            "snmp" => 161,
            _ => 123,
        });
    }
    let mut broker: Option<Line<'_>> = None;
    for turn in 0..actor.values.number("count") {
        let _ = actor.attempt(|| -> io::Result<()> {
            if service == "mqtt" {
                let mut line = match broker.take() {
                    Some(line) => line,
                    None => subscribe(actor.connect(actor.source(), target)?)?,
                };
                publish(&mut line, turn)?;
                broker = Some(line);
                return Ok(());
            }
            let socket = actor.udp(actor.source(), target)?;
            let question = if service == "snmp" { get_request(turn) } else { time_request() };
            actor.ask(&socket, &question, Duration::from_secs(1)).map(|_| ())
        });
        if !actor.sleep(chance.around(pause, jitter)) {
            break;
        }
    }
    Ok(())
}

/// A client's question, RFC 5905 §7.3: version 4, mode 3.
pub(super) fn time_request() -> Vec<u8> {
    let mut question = vec![0x23, 0, 6, 0xec];
    question.resize(48, 0);
    question
}

/// A get of version 2c for the description of the system, RFC 3416.
pub(super) fn get_request(turn: u64) -> Vec<u8> {
    let [.., a, b] = turn.to_be_bytes();
    let mut ask = vec![0x30, 0x29, 2, 1, 1, 4, 6];
    ask.extend(b"public");
    ask.extend([0xa0, 0x1c, 2, 4, 0, 0, a, b, 2, 1, 0, 2, 1, 0, 0x30, 0x0e, 0x30, 0x0c]);
    ask.extend([6, 8, 0x2b, 6, 1, 2, 1, 1, 1, 0, 5, 0]);
    ask
}

/// MQTT 3.1.1: connects as `lab-client`, clean session, alive within 60 s.
fn subscribe(mut line: Line<'_>) -> io::Result<Line<'_>> {
    let mut connect = vec![0x10, 22, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 10];
    connect.extend(b"lab-client");
    line.write_all(&connect)?;
    line.read_exact(&mut [0; 4])?;
    Ok(line)
}

/// A measurement of quality 1, and every fourth time a ping.
fn publish(line: &mut Line<'_>, turn: u64) -> io::Result<()> {
    let [.., id] = turn.to_be_bytes();
    let mut packet = vec![0x32, 18, 0, 8];
    packet.extend(b"lab/temp");
    packet.extend([0, id.max(1)]);
    packet.extend(format!("{:06}", 200_000 + turn % 1000).as_bytes());
    line.write_all(&packet)?;
    line.read_exact(&mut [0; 4])?;
    if turn % 4 == 3 {
        line.write_all(&[0xc0, 0])?;
        line.read_exact(&mut [0; 2])?;
    }
    Ok(())
}
