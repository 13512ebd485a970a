//! Servers that are content with little: mail that nobody reads, and a broker of messages nobody subscribed to.

use super::{Parameter, Server, TrafficError, Values, listen, parameter};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Longest line of a command or of a mail, RFC 5321 §4.5.3.1.
const MAX_LINE: u64 = 1000;
/// Longest mail, bytes.
const MAX_MAIL: u64 = 8 * 1024 * 1024;
/// Longest MQTT packet, bytes.
const MAX_PACKET: usize = 64 * 1024;

pub(super) const MAIL: &[Parameter] = &[parameter::ADDRESS, parameter::port("25")];
pub(super) const MQTT: &[Parameter] = &[parameter::ADDRESS, parameter::port("1883")];

pub(super) fn mail(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::tcp(listen(values), smtp)?])
}

pub(super) fn mqtt(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::tcp(listen(values), broker)?])
}

/// SMTP (RFC 5321): every mail is accepted and forgotten.
fn smtp(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 mail.example ESMTP lab\r\n")?;
    loop {
        let line = line(&mut reader)?;
        let word: String = line.chars().take_while(char::is_ascii_alphabetic).collect();
        let answer: &[u8] = match word.to_ascii_uppercase().as_str() {
            "EHLO" => b"250-mail.example\r\n250 SIZE 8388608\r\n",
            "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => b"250 ok\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                content(&mut reader)?;
                b"250 accepted\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 goodbye\r\n")?;
                return Ok(());
            }
            _ => b"500 not understood\r\n",
        };
        stream.write_all(answer)?;
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        Ok(String::from_utf8_lossy(&line).into_owned())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Reads a mail up to the line with a single dot.
fn content(reader: &mut impl BufRead) -> io::Result<()> {
    let mut left = MAX_MAIL;
    loop {
        let line = line(reader)?;
        left = left.checked_sub(line.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        if line.trim_end() == "." {
            return Ok(());
        }
    }
}

/// MQTT 3.1.1 (OASIS, 2014): connections, publications and pings are acknowledged, subscriptions granted and never
/// served.
fn broker(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = [0; 1];
        reader.read_exact(&mut first)?;
        let mut body = vec![0; length(&mut reader)?];
        reader.read_exact(&mut body)?;
        let id = || body.get(..2).map_or([0, 0], |b| [b[0], b[1]]);
        let answer = match first[0] >> 4 {
            1 => vec![0x20, 2, 0, 0],
            // Only publications of quality 1 are acknowledged; their identifier follows the topic.
            3 if first[0] & 6 == 2 => {
                let topic = body.get(..2).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
                let id = body.get(2 + topic..4 + topic).map_or([0, 0], |b| [b[0], b[1]]);
                vec![0x40, 2, id[0], id[1]]
            }
            8 => vec![0x90, 3, id()[0], id()[1], 0],
            12 => vec![0xd0, 0],
            14 => return Ok(()),
            _ => Vec::new(),
        };
        stream.write_all(&answer)?;
    }
}

/// The remaining length, §2.2.3: seven bits a byte, at most four bytes.
fn length(reader: &mut impl Read) -> io::Result<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let mut byte = [0; 1];
        reader.read_exact(&mut byte)?;
        value |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return if value <= MAX_PACKET { Ok(value) } else { Err(io::ErrorKind::InvalidData.into()) };
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
