//! Delay and loss on the way between outside and gateway.
//!
//! By the kernel's netem where it has it. Else loss comes from nftables (`numgen`, in the bridge), and delay from a
//! relay of our own: the gateway's end of the wire gets a bridge for itself, and a process carries frames between the two
//! by TAP interfaces ([`carry`]).

use super::network::{GATEWAY_PLACE, Link, WIRES, gateway_interface, tap_interface};
use super::{Range, RangeError};
use crate::address::Segment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// TAP interfaces of the relay, in [`WIRES`]: on the gateway's side, and on that of everybody outside.
pub const RELAY: [&str; 2] = ["relay-near", "relay-far"];
/// The bridge of the gateway's side.
const NEAR: &str = "near";
/// Frames under way in one direction; more are dropped, as by any queue, and counted. A second of a fast scenario.
const MAX_UNDER_WAY: usize = 16_384;
/// Longest frame, bytes; interfaces of a range have an MTU of 1500.
const MAX_FRAME: usize = 2_048;
/// How long the relay may take to open its interfaces.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the relay looks whether to end.
const TICK: Duration = Duration::from_millis(50);

impl Range {
    /// Makes the way outside of a network slow or lossy. `program` is `autoinmune`, which the relay runs in.
    ///
    /// # Errors
    /// Neither netem nor the substitute can be had; the error says what was refused.
    pub fn condition(&self, link: Link, program: &Path) -> Result<(), RangeError> {
        if link.is_plain() || self.netem(link)? {
            return Ok(());
        }
        if link.loss_permille > 0 {
            self.lose(link.loss_permille)?;
        }
        if link.delay_ms > 0 {
            self.relay(link.delay_ms, program)?;
        }
        Ok(())
    }

    /// Whether the kernel does it.
    fn netem(&self, link: Link) -> Result<bool, RangeError> {
        let (delay, loss) =
            (format!("{}ms", link.delay_ms), format!("{}%", f64::from(link.loss_permille) / 10.0));
        for (place, dev) in
            [(WIRES, tap_interface(Segment::Outside)), (GATEWAY_PLACE, gateway_interface(Segment::Outside))]
        {
            let mut command = self.command(place, "tc");
            command.args(["qdisc", "add", "dev", &dev, "root", "netem", "delay", &delay, "loss", &loss]);
            command.args(["limit", &MAX_UNDER_WAY.to_string()]).stdin(Stdio::null());
            let output =
                command.output().map_err(|source| RangeError::Start { what: "tc".into(), source })?;
            if !output.status.success() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn lose(&self, permille: u32) -> Result<(), RangeError> {
        let tap = tap_interface(Segment::Outside);
        let rules = format!(
            "table bridge conditions {{\n chain way {{\n  type filter hook forward priority 0;\n  \
             iifname \"{tap}\" numgen random mod 1000 < {permille} counter drop\n  \
             oifname \"{tap}\" numgen random mod 1000 < {permille} counter drop\n }}\n}}\n"
        );
        let start = |source| RangeError::Start { what: "nft".into(), source };
        let mut child = self
            .command(WIRES, "nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A broken pipe means it has already failed, and its message says why.
            let _ = stdin.write_all(rules.as_bytes());
        }
        let output = child.wait_with_output().map_err(start)?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(RangeError::Network(format!("packets cannot be lost by nftables here: {why}")))
    }

    fn relay(&self, delay_ms: u32, program: &Path) -> Result<(), RangeError> {
        let (tap, far) = (tap_interface(Segment::Outside), Segment::Outside.name());
        let [near_end, far_end] = RELAY;
        self.batch(
            WIRES,
            &format!(
                "link add {NEAR} type bridge\nlink set {NEAR} up\nlink set {tap} master {NEAR}\n\
                 tuntap add dev {near_end} mode tap\nlink set {near_end} master {NEAR} up\n\
                 tuntap add dev {far_end} mode tap\nlink set {far_end} master {far} up\n"
            ),
        )?;
        let log = self.scratch().join("relay.log");
        let state = |source| RangeError::State { path: log.clone(), source };
        let output = File::create(&log).map_err(state)?;
        let errors = output.try_clone().map_err(state)?;
        let delay = delay_ms.to_string();
        let mut daemon = self.daemon(WIRES, program, ["lab", "relay", "--delay-ms", &delay], |c| {
            c.stdout(output).stderr(errors).env("NO_COLOR", "1");
        })?;
        let begun = Instant::now();
        loop {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if said.contains("ready") {
                // It ends with the range, as everything that runs in it.
                daemon.leave();
                return Ok(());
            }
            if begun.elapsed() > PATIENCE || !matches!(daemon.try_wait(), Ok(None)) {
                return Err(RangeError::Network(format!("frames cannot be delayed here: {}", said.trim())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a relay did.
#[derive(Debug, Default)]
pub struct Carried {
    /// Frames handed on.
    pub frames: AtomicU64,
    /// Frames dropped: too many under way, or refused by the interface.
    pub dropped: AtomicU64,
}

/// Carries frames from one TAP interface to the other, each `delay` after it came, until `stop`. One call per direction.
///
/// # Errors
/// An interface is gone.
pub fn carry(
    from: &File,
    to: &File,
    delay: Duration,
    stop: &AtomicBool,
    carried: &Carried,
) -> io::Result<()> {
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; MAX_FRAME];
    while !stop.load(Ordering::Relaxed) {
        let wait = under_way.front().map_or(TICK, |(due, _)| due.saturating_duration_since(Instant::now()));
        if is_readable(from, wait.min(TICK))? {
            let len = (&*from).read(&mut buffer)?;
            if under_way.len() < MAX_UNDER_WAY {
                let frame = buffer.get(..len).unwrap_or_default().to_vec();
                under_way.push_back((Instant::now() + delay, frame));
            } else {
                carried.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        let now = Instant::now();
        while under_way.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, frame)) = under_way.pop_front() else { break };
            // An interface whose queue is full or that is down loses frames, as a wire does.
            let count = if (&*to).write(&frame).is_ok() { &carried.frames } else { &carried.dropped };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Waits until a frame has come, at most `patience`.
fn is_readable(from: &File, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&timeout)) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
