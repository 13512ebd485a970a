//! The demo for real: a range, the agent in its kernel, attackers, and a meter behind the sensor.

use super::show::Show;
use super::view::{Ordinary, Style, View};
use super::{Ending, because, cast};
use crate::lab::agent::{Agent, Setup};
use anyhow::Context as _;
use lab::address::{ATTACKERS, CLIENT, VICTIM};
use lab::range::{Range, RangeError, Side, VICTIM_INTERFACE, sweep};
use lab::traffic::{Client, Control, Limits, Meter, Server, Services, TrafficError, dns, flood, http, ssh};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What differs from the default configuration: blocks short enough to be seen ending.
const CONFIG: &str = "[respond]
ttl = '8s'
escalation = 1.0
";
/// Longest wait for the agent to attach.
const ATTACH: Duration = Duration::from_secs(15);
/// Ordinary traffic alone, before the first attack and between attacks, s.
const CALM: f64 = 2.5;
/// An attack not answered by then has won, s.
const ATTACK: f64 = 12.0;
/// The attack goes on for this long against the block, s.
const SIEGE: f64 = 4.0;
/// From the block being listed to every packet that had already passed being counted, s.
const SETTLE: f64 = 0.1;
/// Longest wait for all blocks to end, s: their length and some.
const EXPIRY: f64 = 12.0;
/// Between looks at counters.
const TICK: Duration = Duration::from_millis(50);
/// Between questions to the agent, s.
const ASK: f64 = 0.15;
/// The whole show, with room.
const LENGTH: Duration = Duration::from_secs(110);

/// Why the show stops early.
enum Halt {
    /// Somebody wants it to.
    Interrupted,
    /// Something broke.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Halt {
    fn from(e: E) -> Self {
        Self::Failed(e.into())
    }
}

/// Plays the story on this machine's kernel.
///
/// # Errors
/// What broke once the agent was at work. What keeps it from getting there is [`Ending::Unavailable`].
pub fn play(view: &mut View, show: &mut Show, stop: &AtomicBool) -> anyhow::Result<Ending> {
    let swept = match sweep() {
        Ok(swept) => swept,
        Err(e) => {
            return Ok(Ending::Unavailable(format!("an earlier run's leftovers cannot be removed: {e}")));
        }
    };
    let range = match Range::create() {
        Ok(range) => range,
        Err(RangeError::NotRoot) => {
            return Ok(Ending::Unavailable("making network namespaces needs root".into()));
        }
        Err(e) => return Ok(Ending::Unavailable(e.to_string())),
    };
    let result = Stage::set(&range, view, show, stop).and_then(|mut stage| {
        if !swept.is_empty() {
            stage.view.say(Style::Dim, format!("removed what {} interrupted run(s) had left", swept.len()));
        }
        stage.play()
    });
    // Whatever happened, the range goes; its own error matters only if there is none yet.
    let removed = range.destroy();
    match result {
        Ok(ending) => removed.map(|()| ending).context("the demo ran, but left something behind"),
        Err(Halt::Interrupted) => {
            removed.map(|()| Ending::Interrupted).context("interrupted, and something is left")
        }
        // Ctrl-C reaches the agent too, which may stop answering before the signal is looked at here.
        Err(Halt::Failed(_)) if stop.load(Ordering::Relaxed) => {
            removed.map(|()| Ending::Interrupted).context("interrupted, and something is left")
        }
        Err(Halt::Failed(e)) => Err(e),
    }
}

/// Everything at work. Fields end in this order: the client before the servers, all of them before the range.
struct Stage<'a> {
    client: Option<Client>,
    agent: Option<Agent>,
    meter: Meter,
    _servers: [Server; 3],
    range: &'a Range,
    view: &'a mut View,
    show: &'a mut Show,
    stop: &'a AtomicBool,
    began: Instant,
    asked: f64,
    /// Wall clock at the beginning of each attack, ns.
    attack_ns: [u64; 3],
    controls: [Control; 3],
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(VICTIM.into(), port)
}

impl<'a> Stage<'a> {
    /// Starts servers and meter.
    fn set(
        range: &'a Range,
        view: &'a mut View,
        show: &'a mut Show,
        stop: &'a AtomicBool,
    ) -> Result<Self, Halt> {
        let attackers = cast().map(|a| a.attacker);
        let (servers, meter) = range.enter(Side::Victim, || {
            let servers = [http::serve(at(80))?, dns::serve(at(53), VICTIM)?, ssh::serve(at(22))?];
            Ok::<_, TrafficError>((servers, Meter::start(&attackers)?))
        })??;
        Ok(Self {
            client: None,
            agent: None,
            meter,
            _servers: servers,
            range,
            view,
            show,
            stop,
            began: Instant::now(),
            asked: 0.0,
            attack_ns: [0; 3],
            controls: Default::default(),
        })
    }

    fn play(&mut self) -> Result<Ending, Halt> {
        if let Some(why) = self.attach()? {
            return Ok(Ending::Unavailable(why));
        }
        let services = Services { http: at(80), dns: at(53), ssh: at(22) };
        let client = self.range.enter(Side::Outside, || Client::start(CLIENT.into(), services, LENGTH))??;
        self.client = Some(client);
        self.view.say(
            Style::Plain,
            "ordinary traffic: downloads, name lookups, an SSH session (stand-in server)".into(),
        );
        for i in 0..self.view.acts.len() {
            self.pass(CALM)?;
            self.attack(i)?;
        }
        self.expiry()?;
        self.finish()?;
        Ok(Ending::Played)
    }

    /// Starts the agent and waits until it watches. `Some` is the reason why it cannot.
    fn attach(&mut self) -> Result<Option<String>, Halt> {
        self.view.say(
            Style::Plain,
            "two network namespaces, a veth pair; starting the agent in one of them".into(),
        );
        let setup = Setup {
            place: Side::Victim.name(),
            interface: VICTIM_INTERFACE,
            enforce: true,
            config: CONFIG,
            eve: None,
        };
        self.agent = Some(Agent::start(self.range, &setup)?);
        let begun = Instant::now();
        loop {
            self.tick()?;
            let Some(agent) = &mut self.agent else { return Ok(Some("there is no agent".into())) };
            let status = match agent.ready() {
                Ok(Some(status)) => status,
                Ok(None) if begun.elapsed() < ATTACH => continue,
                Ok(None) => {
                    return Ok(Some(format!("the agent did not attach within {} s", ATTACH.as_secs())));
                }
                Err(why) => return Ok(Some(format!("{why:#}"))),
            };
            self.view.sensor = format!("{} on {}, enforcing", status.sensor, VICTIM_INTERFACE);
            let text = format!("the agent is attached: {}", status.sensor);
            self.view.say(Style::Good, text);
            for fallback in status.interfaces.iter().flat_map(|i| &i.attachment.fallbacks) {
                self.view.say(Style::Warn, format!("not attached better because: {fallback}"));
            }
            return Ok(None);
        }
    }

    /// One attack, until it is answered and has gone on for a while in vain, or has won.
    fn attack(&mut self, i: usize) -> Result<(), Halt> {
        self.controls[i] = Control::new();
        self.attack_ns[i] = wall_ns();
        let thread = begin(self.range, i, &self.controls[i])?;
        let now = self.now();
        let act = &mut self.view.acts[i];
        act.began = Some(now);
        let text = format!("{} from {} begins", act.title, act.attacker);
        self.view.say(Style::Bad, text);
        loop {
            self.tick()?;
            let now = self.now();
            let act = &mut self.view.acts[i];
            if act.reached_before.is_none() && act.blocked.is_some_and(|b| now - b >= SETTLE) {
                act.reached_before = Some(act.reached.count());
            }
            let besieged = act.blocked.is_some_and(|b| now - b >= SIEGE);
            if besieged || act.began.is_some_and(|b| now - b >= ATTACK) || thread.is_finished() {
                break;
            }
        }
        self.controls[i].stop();
        match thread.join() {
            Ok(result) => result??,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        self.tick()?;
        self.view.conclude(i);
        Ok(())
    }

    /// Waits for the blocks to end, and lets the last attacker connect again.
    fn expiry(&mut self) -> Result<(), Halt> {
        let begun = self.now();
        while self.view.acts.iter().any(|a| a.blocked.is_some() && a.expired.is_none()) {
            if self.now() - begun >= EXPIRY {
                self.view.say(Style::Bad, "a block did not expire in time".into());
                return Ok(());
            }
            self.tick()?;
        }
        let guesser = ATTACKERS[2];
        let again = self.range.enter(Side::Outside, || http::download(guesser.into(), at(80), 1000))?;
        match again {
            Ok(_) => self.view.say(Style::Plain, format!("{guesser} can connect again")),
            Err(e) => self.view.say(Style::Bad, format!("{guesser} still cannot connect: {e}")),
        }
        self.pass(0.5)
    }

    /// Ends client and agent.
    fn finish(&mut self) -> Result<(), Halt> {
        if let Some(client) = self.client.take() {
            let end = client.finish();
            self.view.ordinary = ordinary(&end, true);
        }
        if let Some(agent) = self.agent.take()
            && !agent.stop()?
        {
            self.view.say(Style::Warn, "the agent did not leave in order".into());
        }
        Ok(())
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Halt> {
        let until = self.now() + seconds;
        while self.now() < until {
            self.tick()?;
        }
        Ok(())
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Waits a little, looks at everything, shows it.
    fn tick(&mut self) -> Result<(), Halt> {
        std::thread::sleep(TICK);
        if self.stop.load(Ordering::Relaxed) {
            return Err(Halt::Interrupted);
        }
        let now = self.now();
        self.view.at = now;
        for (act, control) in self.view.acts.iter_mut().zip(&self.controls) {
            act.note(now, control.sent(), self.meter.packets(act.attacker));
        }
        if let Some(client) = &self.client {
            self.view.ordinary = ordinary(&client.statistics(), false);
            if now - self.asked >= ASK {
                self.asked = now;
                self.ask().context("the agent stopped answering")?;
            }
        }
        self.show.draw(self.view)?;
        Ok(())
    }

    /// What the agent says.
    fn ask(&mut self) -> anyhow::Result<()> {
        let Some(agent) = &self.agent else { return Ok(()) };
        // Blocks first: whatever caused one is then among the incidents.
        let (blocks, incidents, status) = (agent.blocks()?, agent.incidents()?, agent.status()?);
        let view = &mut *self.view;
        view.packets_per_second = status.traffic.packets_per_second;
        view.bytes_per_second = status.traffic.bytes_per_second;
        view.sources = status.traffic.unique_ips;
        let mut said = Vec::new();
        for (act, attack_ns) in view.acts.iter_mut().zip(self.attack_ns).filter(|(a, _)| a.began.is_some()) {
            let name = act.attacker.to_string();
            let incident = incidents
                .iter()
                .find(|i| i.classes.iter().any(|c| c == act.class) && i.actor["addr"] == name.as_str());
            if let Some(i) = incident {
                act.why =
                    because(&i.techniques, i.evidence.iter().map(|e| (&*e.metric, e.observed, e.threshold)));
                if act.recognised.is_none() {
                    act.recognised = Some(view.at);
                    said.push((Style::Warn, format!("recognised as {}: {}", act.class, act.why)));
                }
            }
            match blocks.iter().find(|b| b.prefix == name && b.enforced) {
                Some(block) => {
                    act.remaining = block.remaining_seconds;
                    act.dropped = act.dropped.max(block.dropped_packets.unwrap_or(0));
                    if act.blocked.is_none() {
                        act.blocked = Some(view.at);
                        let ms = block.since_ns.saturating_sub(attack_ns) as f64 / 1e6;
                        act.block_ms = Some(ms);
                        said.push((
                            Style::Good,
                            format!("{name} is blocked, {ms:.0} ms after its first packet"),
                        ));
                    }
                }
                None if act.blocked.is_some() && act.expired.is_none() => {
                    act.expired = Some(view.at);
                    act.remaining = 0.0;
                    said.push((Style::Plain, format!("the block of {name} has expired")));
                }
                None => {}
            }
        }
        for (style, text) in said {
            view.say(style, text);
        }
        Ok(())
    }
}

/// Starts the i-th attack of [`cast`].
fn begin(
    range: &Range,
    i: usize,
    control: &Control,
) -> Result<JoinHandle<std::io::Result<Result<(), TrafficError>>>, Halt> {
    let act = &cast()[i];
    let (source, victim) = (IpAddr::from(act.attacker), IpAddr::from(VICTIM));
    let control = control.clone();
    let length = Duration::from_secs(20);
    let attack: Box<dyn FnOnce() -> Result<(), TrafficError> + Send> = match act.class {
        "port_scan" => Box::new(move || {
            let ports: Vec<u16> = (1..=1000).collect();
            flood::port_scan(source, victim, &ports, Limits::new(5000, 250, length)?, &control).map(drop)
        }),
        "syn_flood" => Box::new(move || {
            flood::syn_flood(source, at(80), Limits::new(80_000, 4000, length)?, &control).map(drop)
        }),
        _ => {
            Box::new(move || ssh::guess(source, at(22), 1, Limits::new(300, 10, length)?, &control).map(drop))
        }
    };
    Ok(range.spawn(Side::Outside, "demo-attack", attack)?)
}

fn ordinary(s: &lab::traffic::Statistics, over: bool) -> Ordinary {
    let total = s.total();
    Ordinary {
        completed: vec![
            ("downloads", s.http.completed),
            ("lookups", s.dns.completed),
            ("keystrokes", s.ssh.completed),
        ],
        tried: total.tried,
        lost: total.failed,
        bytes: total.bytes,
        over,
    }
}

fn wall_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}
