//! A plant's controllers: the station that polls them, and those who should not.

use super::actor::{Actor, Line};
use super::{Kind, Parameter, parameter};
use crate::chance::Chance;
use crate::traffic::TrafficError;
use std::io::{self, Read, Write};
use std::time::Duration;

pub(super) const ABUSE: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("502"),
    Parameter::new(
        "kind",
        Kind::Choice(&["write", "functions", "units", "addresses"]),
        "writes to coils and registers, or tries functions, units or addresses in turn",
    )
    .or("write"),
    parameter::count(5000, "60", "requests"),
    parameter::rate(200, "10"),
    parameter::seconds("15"),
    parameter::SEED,
];

pub(super) const POLL: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGETS,
    parameter::port("502"),
    Parameter::new("pause_ms", Kind::Number(50, 10_000), "pause between rounds, ms").or("500"),
    Parameter::new("writes", Kind::Number(0, 100), "rounds in which an operator changes a value, percent")
        .or("5"),
    parameter::seconds("15"),
    parameter::SEED,
];

/// Sends function and data to a unit, and returns the function of the answer with its exception bit.
fn ask(line: &mut Line<'_>, transaction: u16, unit: u8, request: &[u8]) -> io::Result<u8> {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend([0, 0]);
    frame.extend(u16::try_from(request.len() + 1).unwrap_or(u16::MAX).to_be_bytes());
    frame.push(unit);
    frame.extend(request);
    line.write_all(&frame)?;
    let mut header = [0; 6];
    line.read_exact(&mut header)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
    line.read_exact(&mut body)?;
    body.get(1).copied().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The n-th request of somebody who should not be there: the unit, then function and data.
fn abusive(kind: &str, n: u64, chance: &mut Chance) -> (u8, Vec<u8>) {
    let low = u8::try_from(n & 0xff).unwrap_or(0);
    let value = chance.bytes(2);
    match kind {
        "functions" => (1, vec![low % 127 + 1, 0, 0, 0, 1]),
        "units" => (low, vec![3, 0, 0, 0, 1]),
        "addresses" => {
            let [.., a, b] = (n * 997).to_be_bytes();
            (1, vec![3, a, b, 0, 1])
        }
        _ if n.is_multiple_of(3) => (1, vec![5, 0, low % 64, if n.is_multiple_of(2) { 0xff } else { 0 }, 0]),
        _ if n % 3 == 1 => (1, vec![6, 0, low % 64, value[0], value[1]]),
        _ => (1, vec![16, 0, low % 64, 0, 1, 2, value[0], value[1]]),
    }
}

pub(super) fn abuse(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (mut pace, mut chance) = (actor.pace()?, actor.chance(0));
    let kind = actor.values.word("kind").to_owned();
    let mut open = None;
    while let Some(n) = pace.next() {
        let (unit, request) = abusive(&kind, n, &mut chance);
        let id = u16::try_from(n & 0xffff).unwrap_or(0);
        let _ = actor.attempt(|| -> io::Result<()> {
            let mut line = match open.take() {
                Some(line) => line,
                None => actor.connect(actor.source(), actor.target())?,
            };
            ask(&mut line, id, unit, &request)?;
            open = Some(line);
            Ok(())
        });
    }
    Ok(())
}

/// Reads the same values of every controller round after round, over connections that stay open; now and then an operator
/// sets one.
pub(super) fn poll(actor: &Actor<'_>) -> Result<(), TrafficError> {
    const ROUND: [[u8; 5]; 4] = [[1, 0, 0, 0, 16], [2, 0, 0, 0, 16], [3, 0, 0, 0, 20], [4, 0, 0, 0, 10]];
    let mut chance = actor.chance(0);
    let (pause, writes) =
        (Duration::from_millis(actor.values.number("pause_ms")), actor.values.number("writes"));
    let targets = actor.values.addrs("targets");
    let mut lines: Vec<Option<Line<'_>>> = targets.iter().map(|_| None).collect();
    let mut id = 0_u16;
    loop {
        for (target, open) in targets.iter().zip(&mut lines) {
            let mut requests: Vec<Vec<u8>> = ROUND.map(|r| r.to_vec()).to_vec();
            // After the first rounds, when station and controller know each other.
            if id > 60 && chance.pick(0..100) < writes {
                requests.push(vec![6, 0, 7, 3, u8::try_from(chance.pick(0..200)).unwrap_or(0)]);
            }
            let _ = actor.attempt(|| -> io::Result<()> {
                let mut line = match open.take() {
                    Some(line) => line,
                    None => actor.connect(actor.source(), (*target, actor.values.port("port")).into())?,
                };
                for request in &requests {
                    id = id.wrapping_add(1);
                    ask(&mut line, id, 1, request)?;
                }
                *open = Some(line);
                Ok(())
            });
        }
        if !actor.sleep(chance.around(pause, 5)) {
            return Ok(());
        }
    }
}
