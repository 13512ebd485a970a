//! Work on the files of a share: as a person does it, as a backup does it, and as ransomware does it.

use super::actor::Actor;
use super::smb::{MAX_TRANSFER, Purpose, Session};
use super::{Kind, Parameter, parameter};
use crate::chance::Chance;
use crate::serve::{SHARE, USER};
use crate::traffic::TrafficError;
use std::io;
use std::time::Duration;

pub(super) const RANSOMWARE: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("445"),
    parameter::count(1000, "60", "files rewritten and renamed"),
    parameter::rate(200, "20"),
    parameter::seconds("20"),
    parameter::SEED,
];

pub(super) const OFFICE: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("445"),
    parameter::count(200, "12", "files worked on"),
    Parameter::new("pause_ms", Kind::Number(10, 10_000), "pause between files, ms").or("800"),
    parameter::seconds("20"),
    parameter::SEED,
];

pub(super) const BACKUP: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("445"),
    parameter::count(1000, "80", "files"),
    parameter::rate(200, "30"),
    Parameter::new("size", Kind::Number(1, 1_000_000), "bytes of a file that is written").or("40000"),
    Parameter::new("direction", Kind::Choice(&["write", "read"]), "to the share, or from it").or("write"),
    parameter::seconds("20"),
    parameter::SEED,
];

/// Logs in and connects to the share.
fn open<'a>(actor: &'a Actor<'_>) -> io::Result<Session<'a>> {
    let mut session = Session::open(actor.connect(actor.source(), actor.target())?, USER)?;
    session.connect(&actor.target().ip().to_string(), SHARE)?;
    Ok(session)
}

fn names(session: &mut Session<'_>) -> io::Result<Vec<String>> {
    let directory = session.create("", Purpose::List)?;
    let names = session.list(directory)?;
    session.close(directory)?;
    Ok(names)
}

fn read_all(session: &mut Session<'_>, name: &str) -> io::Result<Vec<u8>> {
    let file = session.create(name, Purpose::Use)?;
    let mut content = Vec::new();
    while (content.len() as u64) < file.size {
        let piece = session.read(file, content.len() as u64, MAX_TRANSFER)?;
        if piece.is_empty() {
            break;
        }
        content.extend(piece);
    }
    session.close(file)?;
    Ok(content)
}

fn write_all(session: &mut Session<'_>, name: &str, content: &[u8], purpose: Purpose) -> io::Result<()> {
    let file = session.create(name, purpose)?;
    for (i, piece) in content.chunks(MAX_TRANSFER).enumerate() {
        session.write(file, (i * MAX_TRANSFER) as u64, piece)?;
    }
    session.close(file)
}

/// Reads each file, writes bytes without pattern over it, and gives it another ending; a note at the end.
pub(super) fn ransomware(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut chance = actor.chance(0);
    let mut pace = actor.pace()?;
    let Some(mut session) = actor.attempt(|| open(actor)) else { return Ok(()) };
    let Some(names) = actor.attempt(|| names(&mut session)) else { return Ok(()) };
    let victims = names.iter().filter(|n| !n.ends_with(".locked"));
    for name in victims {
        if pace.next().is_none() {
            break;
        }
        let lock = |session: &mut Session<'_>, chance: &mut Chance| -> io::Result<()> {
            let content = read_all(session, name)?;
            let file = session.create(name, Purpose::Use)?;
            let secret = chance.bytes(content.len());
            for (i, piece) in secret.chunks(MAX_TRANSFER).enumerate() {
                session.write(file, (i * MAX_TRANSFER) as u64, piece)?;
            }
            session.rename(file, &format!("{name}.locked"))?;
            session.close(file)
        };
        if actor.attempt(|| lock(&mut session, &mut chance)).is_none() {
            break;
        }
    }
    let note = b"Your files are locked. This is a test in a lab; nobody wants anything.\r\n";
    let _ = actor.attempt(|| write_all(&mut session, "READ-ME.txt", note, Purpose::Make));
    Ok(())
}

/// Opens a document, reads it, saves it with a little more in it; now and then under another name, as programs do that
/// write beside the old file and rename the new one.
pub(super) fn office(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut chance = actor.chance(0);
    let pause = Duration::from_millis(actor.values.number("pause_ms"));
    let Some(mut session) = actor.attempt(|| open(actor)) else { return Ok(()) };
    let Some(names) = actor.attempt(|| names(&mut session)) else { return Ok(()) };
    for turn in 0..actor.values.number("count") {
        let Some(name) = chance.of(&names).cloned() else { break };
        let work = |session: &mut Session<'_>| -> io::Result<()> {
            let mut content = read_all(session, &name)?;
            content.extend(b"one more line\r\n");
            if turn % 4 != 0 {
                return write_all(session, &name, &content, Purpose::Use);
            }
            let fresh = format!("~{name}.tmp");
            write_all(session, &fresh, &content, Purpose::Make)?;
            let file = session.create(&fresh, Purpose::Use)?;
            session.rename(file, &name)?;
            session.close(file)
        };
        let done = actor.attempt(|| work(&mut session));
        if done.is_none() || !actor.sleep(chance.around(pause, 60)) {
            break;
        }
    }
    Ok(())
}

/// Copies many files at an even rate, to the share or from it, without renaming any.
pub(super) fn backup(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut chance = actor.chance(0);
    let mut pace = actor.pace()?;
    let write = actor.values.word("direction") == "write";
    let Some(mut session) = actor.attempt(|| open(actor)) else { return Ok(()) };
    let Some(names) = actor.attempt(|| names(&mut session)) else { return Ok(()) };
    while let Some(turn) = pace.next() {
        let at = usize::try_from(turn).unwrap_or(0);
        let done = actor.attempt(|| {
            if write {
                let size = usize::try_from(chance.pick(1..2 * actor.values.number("size"))).unwrap_or(1);
                write_all(&mut session, &format!("backup-{turn:04}.bak"), &chance.bytes(size), Purpose::Make)
            } else if names.is_empty() {
                Err(io::ErrorKind::NotFound.into())
            } else {
                read_all(&mut session, &names[at % names.len()]).map(|_| ())
            }
        });
        if done.is_none() {
            break;
        }
    }
    Ok(())
}
