//! An FTP server, RFC 959, with passive transfers (RFC 2428 for IPv6) of files in memory.
//!
//! [`USER`] with [`PASSWORD`], and `anonymous` with any, may list, fetch and store; everybody else is refused.

use super::store::{Refusal, Store};
use super::{PASSWORD, Parameter, Server, TrafficError, USER, Values, listen, parameter};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Longest command line, bytes: a name of the longest kind fits.
const MAX_LINE: u64 = 512;
/// Refused logins of one connection.
const MAX_REFUSED: u32 = 3;
/// How long the data connection may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Documents at the start.
const DOCUMENTS: usize = 24;

pub(super) const PARAMETERS: &[Parameter] = &[parameter::ADDRESS, parameter::port("21")];

pub(super) fn start(values: &Values) -> Result<Vec<Server>, TrafficError> {
    let store = Store::with_documents(DOCUMENTS, 21);
    let server = Server::tcp(listen(values), move |stream| {
        Session {
            control: stream,
            store: store.clone(),
            user: None,
            logged_in: false,
            refused: 0,
            passive: None,
        }
        .run()
    })?;
    Ok(vec![server])
}

struct Session {
    control: TcpStream,
    store: Store,
    user: Option<String>,
    logged_in: bool,
    refused: u32,
    passive: Option<TcpListener>,
}

impl Session {
    fn run(mut self) -> io::Result<()> {
        self.say("220 lab file server")?;
        let mut reader = BufReader::new(self.control.try_clone()?);
        loop {
            let mut line = Vec::new();
            reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if !self.obey(&command.to_ascii_uppercase(), argument)? {
                return Ok(());
            }
        }
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.control.write_all(format!("{line}\r\n").as_bytes())
    }

    /// Does what a command asks; says whether the session goes on.
    fn obey(&mut self, command: &str, argument: &str) -> io::Result<bool> {
        let open = matches!(command, "USER" | "PASS" | "QUIT" | "FEAT" | "SYST" | "NOOP" | "OPTS" | "AUTH");
        if !open && !self.logged_in {
            self.say("530 please log in")?;
            return Ok(true);
        }
        let name = argument.trim_start_matches('/');
        match command {
            "USER" => {
                self.user = Some(argument.to_owned());
                self.logged_in = false;
                self.say("331 password required")?;
            }
            "PASS" => return self.log_in(argument),
            "QUIT" => {
                self.say("221 goodbye")?;
                return Ok(false);
            }
            "FEAT" => self.say("211-features\r\n EPSV\r\n PASV\r\n SIZE\r\n211 end")?,
            "SYST" => self.say("215 UNIX Type: L8")?,
            "PWD" | "XPWD" => self.say("257 \"/\" is the directory")?,
            "CWD" if name.is_empty() => self.say("250 here")?,
            "TYPE" | "OPTS" | "NOOP" | "MODE" | "STRU" => self.say("200 so be it")?,
            "SIZE" => match self.store.size(name) {
                Some(size) => self.say(&format!("213 {size}"))?,
                None => self.say("550 no such file")?,
            },
            "DELE" => match self.store.remove(name) {
                Ok(()) => self.say("250 deleted")?,
                Err(_) => self.say("550 no such file")?,
            },
            "PASV" | "EPSV" => self.listen(command)?,
            "LIST" | "NLST" => {
                let line = |(name, size): (String, usize)| match command {
                    "LIST" => format!("-rw-r--r-- 1 lab lab {size:>9} Jan  1 12:00 {name}\r\n"),
                    _ => format!("{name}\r\n"),
                };
                let listing: String = self.store.list().into_iter().map(line).collect();
                self.transfer(|data, _| data.write_all(listing.as_bytes()).map(|()| Ok(())))?;
            }
            "RETR" => match self.store.get(name) {
                Some(content) => self.transfer(|data, _| data.write_all(&content).map(|()| Ok(())))?,
                None => self.say("550 no such file")?,
            },
            "STOR" => {
                let name = name.to_owned();
                self.transfer(|data, store| {
                    let mut content = Vec::new();
                    data.take(super::store::MAX_FILE as u64 + 1).read_to_end(&mut content)?;
                    Ok(store.put(&name, content))
                })?;
            }
            "AUTH" => self.say("502 no encryption here")?,
            _ => self.say("500 not understood")?,
        }
        Ok(true)
    }

    fn log_in(&mut self, password: &str) -> io::Result<bool> {
        let right = match self.user.as_deref() {
            Some(USER) => password == PASSWORD,
            Some("anonymous" | "ftp") => true,
            _ => false,
        };
        if right {
            self.logged_in = true;
            self.say("230 logged in")?;
            return Ok(true);
        }
        self.refused += 1;
        // As servers do, against guessing.
        std::thread::sleep(Duration::from_millis(100));
        self.say("530 login incorrect")?;
        Ok(self.refused < MAX_REFUSED)
    }

    fn listen(&mut self, command: &str) -> io::Result<()> {
        let here = self.control.local_addr()?.ip();
        let listener = TcpListener::bind(SocketAddr::new(here, 0))?;
        let port = listener.local_addr()?.port();
        let answer = match (command, here) {
            ("PASV", IpAddr::V4(a)) => {
                let [a, b, c, d] = a.octets();
                Some(format!("227 Entering Passive Mode ({a},{b},{c},{d},{},{})", port >> 8, port & 0xff))
            }
            ("PASV", IpAddr::V6(_)) => None,
            _ => Some(format!("229 Entering Extended Passive Mode (|||{port}|)")),
        };
        match answer {
            Some(answer) => {
                self.passive = Some(listener);
                self.say(&answer)
            }
            None => self.say("522 use EPSV"),
        }
    }

    /// Moves data over the connection that the client opens to the port it was told.
    fn transfer(
        &mut self,
        work: impl FnOnce(&mut TcpStream, &Store) -> io::Result<Result<(), Refusal>>,
    ) -> io::Result<()> {
        let Some(listener) = self.passive.take() else { return self.say("425 say PASV or EPSV first") };
        let peer = self.control.peer_addr()?.ip();
        let Some(mut data) = accept(&listener, peer)? else { return self.say("425 nobody came") };
        self.say("150 here it comes")?;
        let done = work(&mut data, &self.store);
        drop(data);
        match done {
            Ok(Ok(())) => self.say("226 done"),
            Ok(Err(Refusal::Name)) => self.say("553 no such name"),
            Ok(Err(_)) => self.say("552 no room"),
            Err(_) => self.say("426 the data connection broke"),
        }
    }
}

/// The next connection from `peer`, within some patience.
fn accept(listener: &TcpListener, peer: IpAddr) -> io::Result<Option<TcpStream>> {
    listener.set_nonblocking(true)?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match listener.accept() {
            Ok((stream, from)) if from.ip() == peer => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(Some(stream));
            }
            // Somebody else's connection is closed.
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}
