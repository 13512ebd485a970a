//! What clients ask of a Kerberos KDC: tickets collected to guess their keys, names and passwords tried, and encryption
//! weaker than it was.
//!
//! Tickets forged outside the KDC (golden, silver) are made with the real keys and look like any other; nothing here sees
//! them.

use super::table::{Table, hash};
use super::{Fact, Kind as Want, Observation, Profile, Subject, Values, speaker};
use crate::metric::Metric;
use flow::Conversation;
use flow::sketch::Distinct;
use wire::Addr;
use wire::message::kerberos::{Kerberos, Kind, etype};
use wire::message::{Message, Side};

/// Clients remembered, some 250 bytes each, sketches aside.
const CAPACITY: usize = 8192;
/// Length of the window in which is counted, ns.
const WINDOW_NS: u64 = 300_000_000_000;
/// Users whose refusals one client gets that are told apart, to find the one with most.
const GUESSED: usize = 32;
/// Addresses that offered AES, and users whose keys were of AES, remembered.
const HABITS: usize = 16_384;
/// How long that is remembered, ns.
const HABIT_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;

/// Requests that wait for their answer, some 100 bytes each, and for how long.
const OPEN: usize = 8192;
const OPEN_NS: u64 = 30_000_000_000;

/// Error codes, RFC 4120 §7.5.9: no such client, locked or disabled, wrong password.
const UNKNOWN: i32 = 6;
const REVOKED: i32 = 18;
const FAILED: i32 = 24;

/// Classes of services that run under the account of a computer, whose key is random and not worth guessing.
const COMPUTER_SERVICES: [&str; 14] = [
    "host",
    "cifs",
    "ldap",
    "gc",
    "dns",
    "rpcss",
    "rpc",
    "termsrv",
    "wsman",
    "nfs",
    "restrictedkrbhost",
    "e3514235-4b06-11d1-ab04-00c04fc2dcd2",
    "krbtgt",
    "kadmin",
];

/// What one client got lately.
#[derive(Debug, Default)]
struct Client {
    since_ns: u64,
    /// Services whose tickets came encrypted with RC4.
    weak_services: Distinct,
    /// Tickets of services under accounts of users, and of them those asked for with another type than AES preferred.
    tickets: u32,
    rc4_preferred: u32,
    /// Users who got an answer to guess at without proving who they are.
    unproved: Distinct,
    /// Users asked for.
    users: Distinct,
    unknown: Distinct,
    failed: Distinct,
    /// Refusals by user.
    guesses: Vec<(u32, u32)>,
}

/// A request, as much of it as its answer does not say again.
#[derive(Debug, Default)]
struct Asked {
    /// Whether a first ticket is asked for.
    first: bool,
    /// Name of the client; encrypted where the ticket of a service is asked for.
    name: Option<Box<str>>,
    /// The encryption type preferred.
    preferred: Option<i32>,
    offers_aes: bool,
    proved: bool,
}

impl Asked {
    fn of(told: &Kerberos) -> Self {
        Self {
            first: told.kind == Kind::AsReq,
            name: told.client.clone(),
            preferred: told.offered.first().copied(),
            offers_aes: told.offered.iter().copied().any(etype::is_aes),
            proved: told.proves(),
        }
    }
}

/// Kerberos by client; see the module.
#[derive(Debug)]
pub(crate) struct KerberosClients {
    clients: Table<Addr, Client>,
    /// Last requests, by address and port of who asked.
    open: Table<(Addr, u16), Asked>,
    /// Addresses that offered AES.
    modern: Table<Addr, ()>,
    /// Users that an answer was encrypted for with AES, by hash of realm and name.
    strong: Table<u64, ()>,
}

impl Default for KerberosClients {
    fn default() -> Self {
        Self {
            clients: Table::new(CAPACITY, WINDOW_NS),
            open: Table::new(OPEN, OPEN_NS),
            modern: Table::new(HABITS, HABIT_NS),
            strong: Table::new(HABITS, HABIT_NS),
        }
    }
}

impl Profile for KerberosClients {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::KerberosClient, Subject::KerberosDowngrade]
    }

    fn wants(&self) -> &'static [Want] {
        &[Want::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message: Message::Kerberos(told) } = fact else { return };
        if told.kind.is_request() {
            *self.open.touch(speaker(flow, *from).0, now_ns) = Asked::of(told);
            return;
        }
        let who = Who { flow, asker: from.other(), now_ns };
        let asker = speaker(flow, who.asker).0;
        // An answer without its question may belong to anybody's, and each question has one.
        let Some(asked) = self.open.get_mut(&asker, now_ns).map(std::mem::take) else { return };
        self.open.remove(&asker);
        match told.kind {
            Kind::AsRep if asked.first => self.first_ticket(&who, told, &asked, out),
            Kind::TgsRep if !asked.first => self.service_ticket(&who, told, &asked, out),
            Kind::Error if asked.first => self.refused(&who, told, &asked, out),
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.clients.evicted() + self.open.evicted() + self.modern.evicted() + self.strong.evicted()
    }
}

/// Who asked, and when the answer came.
struct Who<'a> {
    flow: &'a Conversation,
    asker: Side,
    now_ns: u64,
}

impl Who<'_> {
    fn client(&self) -> Addr {
        speaker(self.flow, self.asker).0.0
    }

    fn observe(&self, subject: Subject, since_ns: u64, values: Values, detail: String) -> Observation {
        let mut o = Observation::of_speaker(subject, self.flow, self.asker, since_ns, values);
        o.detail = Some(detail.into());
        o
    }
}

/// Folds a name for a sketch; names are compared regardless of case, as controllers of Windows do.
fn fold(name: &str) -> u32 {
    (hash(&name.to_ascii_lowercase()) >> 32) as u32
}

/// Whether a service runs under the account of a user, whose password can be guessed.
fn is_guessable(server: &str) -> bool {
    let class = server.split('/').next().unwrap_or_default();
    !Kerberos::is_computer(server) && !COMPUTER_SERVICES.iter().any(|c| class.eq_ignore_ascii_case(c))
}

impl KerberosClients {
    /// The client's window, begun anew if it is over.
    fn client(&mut self, who: &Who<'_>) -> &mut Client {
        let client = self.clients.touch(who.client(), who.now_ns);
        if client.since_ns == 0 || who.now_ns.saturating_sub(client.since_ns) > WINDOW_NS {
            *client = Client { since_ns: who.now_ns, ..Client::default() };
        }
        client
    }

    fn first_ticket(&mut self, who: &Who<'_>, told: &Kerberos, asked: &Asked, out: &mut Vec<Observation>) {
        let (Some(name), Some(key), Some(ticket)) = (told.client.as_deref(), told.etype, told.ticket_etype)
        else {
            return;
        };
        self.downgrade(who, told, asked, (name, key, ticket), out);
        let client = self.client(who);
        client.users.insert(fold(name));
        if asked.proved || key != etype::RC4 || Kerberos::is_computer(name) {
            return;
        }
        client.unproved.insert(fold(name));
        let detail = format!("RC4 answer for {name} without pre-authentication");
        let o = who.observe(Subject::KerberosClient, client.since_ns, client.values(), detail);
        out.push(o);
    }

    fn downgrade(
        &mut self,
        who: &Who<'_>,
        told: &Kerberos,
        asked: &Asked,
        (name, key, ticket): (&str, i32, i32),
        out: &mut Vec<Observation>,
    ) {
        let offers_aes = asked.offers_aes;
        let address = who.client();
        let realm = told.realm.as_deref().unwrap_or_default();
        let user = hash(&realm.to_ascii_lowercase()) ^ hash(&name.to_ascii_lowercase()).rotate_left(1);
        if offers_aes {
            self.modern.touch(address, who.now_ns);
        }
        if etype::is_aes(key) {
            self.strong.touch(user, who.now_ns);
            return;
        }
        // A KDC that has keys of AES itself is of a domain that uses it; the answer is weak by choice or by force.
        if key != etype::RC4 || !etype::is_aes(ticket) {
            return;
        }
        let flag = |is: bool| f64::from(u8::from(is));
        let values = Values::default()
            .with(Metric::Rc4DespiteOffer, flag(offers_aes))
            .with(Metric::Rc4OnlyOffered, flag(!offers_aes))
            .with(
                Metric::Rc4NewForClient,
                flag(!offers_aes && self.modern.get(&address, who.now_ns).is_some()),
            )
            .with(Metric::Rc4NewForUser, flag(offers_aes && self.strong.get(&user, who.now_ns).is_some()));
        let detail = format!("RC4 for {name} of {realm}");
        out.push(who.observe(Subject::KerberosDowngrade, who.now_ns, values, detail));
    }

    fn service_ticket(&mut self, who: &Who<'_>, told: &Kerberos, asked: &Asked, out: &mut Vec<Observation>) {
        let Some(server) = told.server.as_deref().filter(|s| is_guessable(s)) else { return };
        // From user to user: the key is that of a session, and the service is who asked.
        if told.client.as_deref().is_some_and(|c| c.eq_ignore_ascii_case(server)) {
            return;
        }
        let client = self.client(who);
        client.tickets = client.tickets.saturating_add(1);
        client.rc4_preferred += u32::from(asked.preferred.is_some_and(etype::is_weak));
        if told.ticket_etype != Some(etype::RC4) {
            return;
        }
        client.weak_services.insert(fold(server));
        let detail = format!("RC4 ticket for {server}");
        let o = who.observe(Subject::KerberosClient, client.since_ns, client.values(), detail);
        out.push(o);
    }

    fn refused(&mut self, who: &Who<'_>, told: &Kerberos, asked: &Asked, out: &mut Vec<Observation>) {
        let name = asked.name.as_deref().or(told.client.as_deref());
        let (Some(name), Some(code @ (UNKNOWN | REVOKED | FAILED))) = (name, told.error) else { return };
        let client = self.client(who);
        let user = fold(name);
        client.users.insert(user);
        let what = if code == UNKNOWN {
            client.unknown.insert(user);
            "unknown"
        } else {
            // An account that is locked or disabled stops further guesses, so it counts as one user, not as guesses.
            client.failed.insert(user);
            if code == FAILED {
                client.guess(user);
            };
            "refused"
        };
        let o =
            who.observe(Subject::KerberosClient, client.since_ns, client.values(), format!("{name} {what}"));
        out.push(o);
    }
}

impl Client {
    fn guess(&mut self, user: u32) {
        if let Some((_, count)) = self.guesses.iter_mut().find(|(known, _)| *known == user) {
            *count = count.saturating_add(1);
        } else if self.guesses.len() < GUESSED {
            self.guesses.push((user, 1));
        }
    }

    fn values(&self) -> Values {
        let share =
            |part: u32, whole: u32| (whole > 0).then(|| f64::from(part.min(whole)) / f64::from(whole));
        let (users, failed) = (self.users.estimate(), self.failed.estimate());
        Values::default()
            .with(Metric::KerberosWeakServices, f64::from(self.weak_services.estimate()))
            .with_some(Metric::KerberosRc4Preferred, share(self.rc4_preferred, self.tickets))
            .with(Metric::KerberosUnprovedUsers, f64::from(self.unproved.estimate()))
            .with(Metric::KerberosUnknownUsers, f64::from(self.unknown.estimate()))
            .with(Metric::KerberosRefusedUsers, f64::from(failed))
            .with_some(Metric::KerberosRefusedShare, share(failed, users))
            .with(
                Metric::KerberosGuesses,
                f64::from(self.guesses.iter().map(|(_, count)| *count).max().unwrap_or(0)),
            )
    }
}
