//! Blocks by nftables, for hosts whose interfaces take no XDP or tc program.
//!
//! Everything lives in a table of our own, `inet autoinmune`; no other table is read or changed. Sources are looked up
//! before routing and connection tracking (hook prerouting, priority raw, −300), which what is forwarded and what is
//! for this host both pass: first the allow sets, then the block sets, whose elements carry timeouts that the kernel
//! honours. Single addresses and prefixes are in different sets, since the elements of an interval set must not
//! overlap; of prefixes nested in each other only the broadest is in the set, and the next comes in when it leaves.

use crate::blocks::{BlockInForce, Book};
use crate::clock::wall_ns;
use crate::error::NftError;
use respond::{Block, Effect, Owner, Prefix};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use wire::Addr;

/// The table.
pub const TABLE: &str = "inet autoinmune";
/// Elements of each block set; beyond, nft refuses further ones.
pub const CAPACITY: u32 = 131_072;
/// Elements of each allow set.
const ALLOW_CAPACITY: u32 = 16_384;
/// Where Debian and most others have the command, beside the search path.
const COMMANDS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// Our table in nftables. Dropped without [`Nft::close`] it removes the table.
#[derive(Debug)]
pub struct Nft {
    command: &'static str,
    book: Book,
    /// The prefixes (not single addresses) that are in the sets, with their ends.
    shown: BTreeMap<Prefix, u64>,
    allowed: Vec<Prefix>,
    recovered: Vec<Block>,
    remove: bool,
}

impl Nft {
    /// Makes the table, taking over the blocks of one that an earlier run left, without a gap.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn open() -> Result<Self, NftError> {
        let command = find()?;
        let mut nft = Self {
            command,
            book: Book::default(),
            shown: BTreeMap::new(),
            allowed: Vec::new(),
            recovered: Vec::new(),
            remove: false,
        };
        let now = wall_ns();
        for block in nft.list()? {
            nft.book.insert(block.prefix, block.until_ns);
            nft.recovered.push(Block {
                prefix: block.prefix,
                since_ns: now,
                until_ns: block.until_ns,
                owner: Owner::Policy,
                reason: "in force since an earlier run".to_owned(),
                incident: None,
                offence: 1,
            });
        }
        nft.rebuild()?;
        nft.remove = true;
        Ok(nft)
    }

    /// Blocks of an earlier run that were still in force at start, and are. Their ends are known to the second.
    #[must_use]
    pub fn recovered_blocks(&self) -> &[Block] {
        &self.recovered
    }

    /// Puts a block in force, moves its end, or lifts it.
    ///
    /// # Errors
    /// [`NftError::Refused`]; what was in force before then still is.
    pub fn apply(&mut self, effect: &Effect) -> Result<(), NftError> {
        self.apply_all(std::slice::from_ref(effect))
    }

    /// Several effects in one transaction: all of them or none.
    ///
    /// # Errors
    /// [`NftError::Refused`]; what was in force before then still is.
    pub fn apply_all(&mut self, effects: &[Effect]) -> Result<(), NftError> {
        let before = (self.book.clone(), self.shown.clone());
        let now = wall_ns();
        let mut script = String::new();
        for effect in effects {
            self.plan(effect, now, &mut script);
        }
        if script.is_empty() {
            return Ok(());
        }
        let result = match self.feed(&script, "a change of blocks") {
            // Somebody may have removed the table or elements of it: set up anew what should be there.
            Err(NftError::Refused { .. }) => self.rebuild(),
            other => other,
        };
        if result.is_err() {
            (self.book, self.shown) = before;
        }
        result
    }

    /// Makes exactly these prefixes exempt from every block.
    ///
    /// # Errors
    /// [`NftError::Refused`]; what was exempt before then still is.
    pub fn set_allowlist(&mut self, allowed: &[Prefix]) -> Result<(), NftError> {
        let before = std::mem::replace(&mut self.allowed, allowed.to_vec());
        let mut script = format!("flush set {TABLE} allow4\nflush set {TABLE} allow6\n");
        self.add_allowed(&mut script);
        let result = match self.feed(&script, "the allowlist") {
            Err(NftError::Refused { .. }) => self.rebuild(),
            other => other,
        };
        if result.is_err() {
            self.allowed = before;
        }
        result
    }

    /// The blocks in force. Packets and bytes of a prefix count from when it came into the set.
    ///
    /// # Errors
    /// [`NftError::Answer`] and those of running nft.
    pub fn blocks(&self) -> Result<Vec<BlockInForce>, NftError> {
        let now = wall_ns();
        let listed: BTreeMap<Prefix, BlockInForce> =
            self.list()?.into_iter().map(|b| (b.prefix, b)).collect();
        let mut all: Vec<BlockInForce> = Vec::new();
        for (prefix, until_ns) in self.book.iter().filter(|(_, until)| *until > now) {
            let held = listed.get(prefix);
            // Not in a set: hidden in a broader one, which drops for it, or taken out by somebody else.
            if held.is_some() || self.hidden(prefix) {
                let (packets, bytes) = held.map_or((0, 0), |b| (b.packets, b.bytes));
                all.push(BlockInForce { prefix: *prefix, until_ns, packets, bytes });
            }
        }
        Ok(all)
    }

    /// Removes the table, or with `keep_blocks` leaves it: every block stays in force until its end.
    ///
    /// # Errors
    /// Those of running nft.
    pub fn close(mut self, keep_blocks: bool) -> Result<(), NftError> {
        self.remove = false;
        if keep_blocks { Ok(()) } else { self.delete() }
    }

    fn delete(&self) -> Result<(), NftError> {
        self.feed(&format!("add table {TABLE}\ndelete table {TABLE}\n"), "removing our table")
    }

    fn hidden(&self, prefix: &Prefix) -> bool {
        !host(prefix) && self.shown.keys().any(|s| s != prefix && s.covers(prefix))
    }

    /// Changes the book by one effect and writes what follows for the sets.
    fn plan(&mut self, effect: &Effect, now: u64, script: &mut String) {
        let prefix = match effect {
            Effect::Insert(block) => {
                self.book.insert(block.prefix, block.until_ns);
                block.prefix
            }
            Effect::Remove(prefix) => {
                self.book.remove(prefix);
                *prefix
            }
        };
        if host(&prefix) {
            delete_element(script, &prefix);
            if let Effect::Insert(block) = effect {
                add_element(script, &prefix, block.until_ns, now);
            }
            return;
        }
        self.book.drop_ended(now);
        // What must be in the set of all that overlaps the prefix.
        let wanted: BTreeMap<Prefix, u64> =
            broadest(&self.book).filter(|(p, _)| p.overlaps(&prefix)).collect();
        let shown: Vec<Prefix> = self.shown.keys().filter(|p| p.overlaps(&prefix)).copied().collect();
        for old in shown {
            if wanted.get(&old) != self.shown.get(&old) {
                self.shown.remove(&old);
                delete_element(script, &old);
            }
        }
        for (new, until) in wanted {
            if self.shown.insert(new, until).is_none() {
                add_element(script, &new, until, now);
            }
        }
    }

    /// Makes the whole table anew from what is known, in one transaction.
    fn rebuild(&mut self) -> Result<(), NftError> {
        let now = wall_ns();
        self.book.drop_ended(now);
        let mut script = format!("add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n");
        for (version, kind) in [(4, "ipv4_addr"), (6, "ipv6_addr")] {
            let intervals = CAPACITY.saturating_mul(2);
            let allow = ALLOW_CAPACITY.saturating_mul(2);
            // Writing to a String cannot fail.
            let _infallible = write!(
                script,
                " set allow{version} {{ type {kind}; flags interval; auto-merge; size {allow}; }}\n\
                 \x20set hosts{version} {{ type {kind}; flags timeout; counter; size {CAPACITY}; }}\n\
                 \x20set nets{version} {{ type {kind}; flags interval,timeout; counter; size {intervals}; }}\n"
            );
        }
        script.push_str(
            " chain prerouting {\n  type filter hook prerouting priority raw; policy accept;\n  \
             iif \"lo\" accept\n  ip saddr @allow4 accept\n  ip6 saddr @allow6 accept\n  \
             ip saddr @hosts4 drop\n  ip saddr @nets4 drop\n  ip6 saddr @hosts6 drop\n  ip6 saddr @nets6 drop\n }\n}\n",
        );
        self.add_allowed(&mut script);
        for (prefix, until) in self.book.iter().filter(|(p, _)| host(p)) {
            add_element(&mut script, prefix, until, now);
        }
        self.shown = broadest(&self.book).collect();
        for (prefix, until) in &self.shown {
            add_element(&mut script, prefix, *until, now);
        }
        self.feed(&script, "our table")
    }

    fn add_allowed(&self, script: &mut String) {
        for (set, v4) in [("allow4", true), ("allow6", false)] {
            let elements: Vec<String> =
                self.allowed.iter().filter(|p| p.addr().is_v4() == v4).map(Prefix::to_string).collect();
            if !elements.is_empty() {
                let _infallible = writeln!(script, "add element {TABLE} {set} {{ {} }}", elements.join(", "));
            }
        }
    }

    /// What our table holds, none if there is no table.
    fn list(&self) -> Result<Vec<BlockInForce>, NftError> {
        match run(self.command, &["-j", "list", "table", "inet", "autoinmune"], "", "listing our table") {
            Ok(answer) => parse(&answer, wall_ns()),
            Err(NftError::Refused { why, .. }) if why.contains("No such file or directory") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn feed(&self, script: &str, what: &'static str) -> Result<(), NftError> {
        run(self.command, &["-f", "-"], script, what).map(drop)
    }
}

impl Drop for Nft {
    fn drop(&mut self) {
        if self.remove
            && let Err(error) = self.delete()
        {
            tracing::warn!(%error, "the nftables table could not be removed");
        }
    }
}

fn host(prefix: &Prefix) -> bool {
    *prefix == Prefix::host(prefix.addr())
}

/// The prefixes of the book, single addresses left out, that no other prefix covers.
fn broadest(book: &Book) -> impl Iterator<Item = (Prefix, u64)> {
    // In order of the book a prefix comes right before what it covers.
    let mut last: Option<Prefix> = None;
    book.iter().filter(|(p, _)| !host(p)).filter_map(move |(p, until)| {
        if last.is_some_and(|l| l.covers(p)) {
            return None;
        }
        last = Some(*p);
        Some((*p, until))
    })
}

fn set_of(prefix: &Prefix) -> &'static str {
    match (host(prefix), prefix.addr().is_v4()) {
        (true, true) => "hosts4",
        (true, false) => "hosts6",
        (false, true) => "nets4",
        (false, false) => "nets6",
    }
}

fn add_element(script: &mut String, prefix: &Prefix, until_ns: u64, now: u64) {
    let left_ms = until_ns.saturating_sub(now).div_ceil(1_000_000);
    if left_ms > 0 {
        let _infallible =
            writeln!(script, "add element {TABLE} {} {{ {prefix} timeout {left_ms}ms }}", set_of(prefix));
    }
}

/// Removes an element whether it is there or not: it may have ended a moment ago, and nft would refuse everything.
fn delete_element(script: &mut String, prefix: &Prefix) {
    let set = set_of(prefix);
    let _infallible = writeln!(
        script,
        "add element {TABLE} {set} {{ {prefix} timeout 1h }}\ndelete element {TABLE} {set} {{ {prefix} }}"
    );
}

fn find() -> Result<&'static str, NftError> {
    for command in COMMANDS {
        match Command::new(command).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(_) => return Ok(command),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(NftError::Missing)
}

/// Whether nft is there and may list tables; for the doctor.
pub(crate) fn usable() -> Result<(), NftError> {
    run(find()?, &["list", "tables"], "", "listing tables").map(drop)
}

fn run(command: &str, args: &[&str], script: &str, what: &'static str) -> Result<String, NftError> {
    let mut child = Command::new(command)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // nft reads all of it before it answers anything. That it has gone shows in its exit code.
        match stdin.write_all(script.as_bytes()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e.into()),
            _ => {}
        }
    }
    let out = child.wait_with_output()?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let why = text.lines().find(|l| l.contains("rror")).unwrap_or("no reason given").trim().to_owned();
    Err(if why.contains("Operation not permitted") {
        NftError::NoPermission
    } else if why.contains("Protocol not supported") || why.contains("Unable to initialize Netlink socket") {
        NftError::Unsupported(why)
    } else {
        NftError::Refused { what, why }
    })
}

/// The blocks in an answer to `nft -j list table`.
fn parse(answer: &str, now_ns: u64) -> Result<Vec<BlockInForce>, NftError> {
    let answer: Value = serde_json::from_str(answer).map_err(|e| NftError::Answer(e.to_string()))?;
    let objects =
        answer["nftables"].as_array().ok_or_else(|| NftError::Answer("no list of objects".to_owned()))?;
    let mut found = Vec::new();
    for set in objects.iter().filter_map(|o| o.get("set")) {
        let name = set["name"].as_str().unwrap_or_default();
        if !(name.starts_with("hosts") || name.starts_with("nets")) {
            continue;
        }
        for element in set["elem"].as_array().into_iter().flatten() {
            let element = element.get("elem").unwrap_or(element);
            let Some(seconds) = element["expires"].as_u64() else { continue };
            if let Some(prefix) = prefix_of(&element["val"]) {
                found.push(BlockInForce {
                    prefix,
                    until_ns: now_ns.saturating_add(seconds.saturating_mul(1_000_000_000)),
                    packets: element["counter"]["packets"].as_u64().unwrap_or(0),
                    bytes: element["counter"]["bytes"].as_u64().unwrap_or(0),
                });
            }
        }
    }
    Ok(found)
}

/// An element's value: an address or a prefix. We never write ranges.
fn prefix_of(value: &Value) -> Option<Prefix> {
    if let Some(text) = value.as_str() {
        return text.parse().ok();
    }
    let addr: Addr = value["prefix"]["addr"].as_str()?.parse().ok()?;
    Prefix::new(addr, u8::try_from(value["prefix"]["len"].as_u64()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"inet","name":"autoinmune"}},
            {"set":{"name":"allow4","elem":["192.0.2.1"]}},
            {"set":{"name":"hosts4","elem":[{"elem":{"val":"192.0.2.7","timeout":60,"expires":59,"counter":{"packets":3,"bytes":252}}}]}},
            {"set":{"name":"nets6","elem":[{"elem":{"val":{"prefix":{"addr":"2001:db8::","len":32}},"timeout":9,"expires":5}}]}},
            {"set":{"name":"nets4"}}]}"#;
        let found = parse(answer, 1_000).expect("answer");
        let seen: Vec<_> = found.iter().map(|b| (b.prefix.to_string(), b.until_ns, b.packets)).collect();
        assert_eq!(
            seen,
            [("192.0.2.7".to_owned(), 59_000_001_000, 3), ("2001:db8::/32".to_owned(), 5_000_001_000, 0)]
        );
        assert!(parse("", 0).is_err() && parse("{}", 0).is_err());
    }

    #[test]
    fn only_the_broadest_of_nested_prefixes_shows() {
        let mut book = Book::default();
        for text in ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "11.0.0.0/16", "11.0.0.0/24", "2001:db8::/32"] {
            book.insert(text.parse().expect("prefix"), 1);
        }
        let shown: Vec<_> = broadest(&book).map(|(p, _)| p.to_string()).collect();
        assert_eq!(shown, ["10.0.0.0/8", "11.0.0.0/16", "2001:db8::/32"]);
    }
}
