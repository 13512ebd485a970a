//! What the demo shows: one model, filled by the live run and by the simulated one, rendered as styled rows or text.

use crate::text::{number, si, table};
use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// Log lines kept for the screen.
const MAX_LOG: usize = 64;
/// Seconds over which rates are taken.
const RATE_WINDOW: f64 = 1.0;
/// Seconds per bar of an attack's history.
const BAR: f64 = 0.5;
/// Bars of history kept.
const MAX_BARS: usize = 40;
/// Below this width, attacks take two rows each.
const NARROW: usize = 90;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Headings.
    Bold,
    /// Less important.
    Dim,
    /// As it should be.
    Good,
    /// An attack.
    Bad,
    /// Under way.
    Warn,
}

/// Styled text.
pub type Span = (Style, String);

/// A count over time, and its rate over the last second.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    samples: VecDeque<(f64, u64)>,
}

impl Meter {
    /// Notes the count at a time, s.
    pub fn note(&mut self, at: f64, count: u64) {
        self.samples.push_back((at, count));
        while self.samples.get(1).is_some_and(|(t, _)| at - t >= RATE_WINDOW) {
            self.samples.pop_front();
        }
    }

    /// The latest count.
    pub fn count(&self) -> u64 {
        self.samples.back().map_or(0, |(_, n)| *n)
    }

    /// Per second, over the last second.
    pub fn rate(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((t0, n0)), Some((t1, n1))) if t1 > t0 => {
                n1.saturating_sub(*n0) as f64 / (t1 - t0).max(RATE_WINDOW)
            }
            _ => 0.0,
        }
    }
}

/// One attack, from its beginning to the end of its block. Times are seconds since the demo began.
#[derive(Clone, Debug)]
pub struct Act {
    /// For people.
    pub title: &'static str,
    /// The class it must be recognised as.
    pub class: &'static str,
    /// Who does it.
    pub attacker: Ipv4Addr,
    /// What is counted in `sent`.
    pub unit: &'static str,
    /// When it began.
    pub began: Option<f64>,
    /// When it stopped.
    pub ended: Option<f64>,
    /// Packets sent, or connections tried.
    pub sent: Meter,
    /// Packets that reached the victim.
    pub reached: Meter,
    /// When the incident was seen.
    pub recognised: Option<f64>,
    /// Technique and evidence, for people.
    pub why: String,
    /// When the block was in force.
    pub blocked: Option<f64>,
    /// Milliseconds from the attack's first packet to the block, as the agent's clock says.
    pub block_ms: Option<f64>,
    /// Seconds the block has left.
    pub remaining: f64,
    /// Packets dropped by the block.
    pub dropped: u64,
    /// `reached` when the block had settled: what comes after it leaked.
    pub reached_before: Option<u64>,
    /// When the block ended.
    pub expired: Option<f64>,
    bars: Vec<f64>,
}

impl Act {
    /// An attack still to come.
    pub const fn new(
        title: &'static str,
        class: &'static str,
        attacker: Ipv4Addr,
        unit: &'static str,
    ) -> Self {
        Self {
            title,
            class,
            attacker,
            unit,
            began: None,
            ended: None,
            sent: Meter { samples: VecDeque::new() },
            reached: Meter { samples: VecDeque::new() },
            recognised: None,
            why: String::new(),
            blocked: None,
            block_ms: None,
            remaining: 0.0,
            dropped: 0,
            reached_before: None,
            expired: None,
            bars: Vec::new(),
        }
    }

    /// Notes both counts at a time, s. What comes after the attack has ended is no part of it.
    pub fn note(&mut self, at: f64, sent: u64, reached: u64) {
        let Some(began) = self.began else { return };
        let over = self.ended.is_some();
        self.sent.note(at, if over { self.sent.count() } else { sent });
        self.reached.note(at, if over { self.reached.count() } else { reached });
        let due = ((at - began) / BAR) as usize;
        if self.ended.is_none() && self.bars.len() <= due && self.bars.len() < MAX_BARS {
            self.bars.push(self.reached.rate());
        }
    }

    /// Packets that reached the victim although the block had settled.
    pub fn leaked(&self) -> Option<u64> {
        self.reached_before.map(|before| self.reached.count().saturating_sub(before))
    }

    /// Recognised, blocked, and nothing more reached the victim.
    pub fn answered(&self) -> bool {
        self.recognised.is_some() && self.leaked() == Some(0)
    }

    fn state(&self) -> Span {
        match (self.began, self.recognised, self.blocked, self.expired) {
            (None, ..) => (Style::Dim, "waiting".into()),
            (.., Some(_)) => (Style::Dim, "block expired".into()),
            (_, _, Some(_), None) => (Style::Good, format!("blocked, {:.0} s left", self.remaining.max(0.0))),
            (_, Some(_), None, _) => (Style::Warn, "recognised".into()),
            (Some(_), None, None, None) if self.ended.is_some() => (Style::Bad, "not answered".into()),
            (Some(_), None, None, None) => (Style::Bad, "under way".into()),
        }
    }
}

/// What became of the ordinary client's requests, in the demo's own words.
#[derive(Clone, Debug, Default)]
pub struct Ordinary {
    /// Kind and number completed.
    pub completed: Vec<(&'static str, u64)>,
    /// Begun, all kinds.
    pub tried: u64,
    /// Lost, all kinds.
    pub lost: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Whether all of it is over, so that nothing is under way.
    pub over: bool,
}

impl Ordinary {
    /// Something was tried, all of it completed.
    pub fn unharmed(&self) -> bool {
        let completed: u64 = self.completed.iter().map(|(_, n)| n).sum();
        self.over && self.tried > 0 && self.lost == 0 && completed == self.tried
    }

    fn line(&self) -> String {
        let kinds: Vec<String> = self.completed.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        format!("{}, {}B", kinds.join(", "), si(self.bytes as f64))
    }
}

/// Everything on show.
#[derive(Clone, Debug)]
pub struct View {
    /// What watches: `live, xdp-native on victim0`, or `simulated`.
    pub sensor: String,
    /// Seconds since the demo began.
    pub at: f64,
    /// What the agent says of the current window.
    pub packets_per_second: f64,
    /// Likewise.
    pub bytes_per_second: f64,
    /// Distinct sources in the window.
    pub sources: u64,
    /// The attacks, in order.
    pub acts: Vec<Act>,
    /// The ordinary client.
    pub ordinary: Ordinary,
    /// What happened, with its time.
    pub log: VecDeque<(f64, Style, String)>,
    /// Whether the terminal can show block characters.
    pub blocks: bool,
}

impl View {
    /// An empty stage.
    pub fn new(sensor: &str, acts: Vec<Act>) -> Self {
        Self {
            sensor: sensor.to_owned(),
            at: 0.0,
            packets_per_second: 0.0,
            bytes_per_second: 0.0,
            sources: 0,
            acts,
            ordinary: Ordinary::default(),
            log: VecDeque::new(),
            blocks: false,
        }
    }

    /// Adds to the log.
    pub fn say(&mut self, style: Style, text: String) {
        if self.log.len() == MAX_LOG {
            self.log.pop_front();
        }
        self.log.push_back((self.at, style, text));
    }

    /// The i-th attack has stopped: says how it came out.
    pub fn conclude(&mut self, i: usize) {
        let at = self.at;
        let Some(act) = self.acts.get_mut(i) else { return };
        act.ended = Some(at);
        let (style, text) = match act.leaked() {
            Some(0) => {
                (Style::Good, format!("{}: no packet has reached the victim since the block", act.title))
            }
            Some(n) => (Style::Bad, format!("{}: {n} packets reached the victim after the block", act.title)),
            None => (Style::Bad, format!("{} was not answered", act.title)),
        };
        self.say(style, text);
    }

    /// Whether every attack was recognised and answered and the ordinary client lost nothing.
    pub fn succeeded(&self) -> bool {
        self.acts.iter().all(Act::answered) && self.ordinary.unharmed()
    }

    /// The rates in one line.
    pub fn rates(&self) -> String {
        let acts: Vec<String> = self
            .acts
            .iter()
            .filter(|a| a.began.is_some() && a.ended.is_none())
            .map(|a| {
                format!(
                    "; {}: {}/s sent, {}/s reach the victim",
                    a.title,
                    si(a.sent.rate().round()),
                    si(a.reached.rate().round())
                )
            })
            .collect();
        format!(
            "{} packets/s, {}B/s, {} sources; client: {}, {} lost{}",
            si(self.packets_per_second.round()),
            si(self.bytes_per_second.round()),
            self.sources,
            self.ordinary.line(),
            self.ordinary.lost,
            acts.concat()
        )
    }

    /// The screen, `width` columns wide (rows may be longer and are cut) and at most `height` rows.
    pub fn rows(&self, width: usize, height: usize) -> Vec<Vec<Span>> {
        use Style::{Bold, Dim, Plain};
        let blank = Vec::new;
        let mut rows: Vec<Vec<Span>> = vec![
            vec![
                (Bold, "Autoinmune demo".into()),
                (Dim, format!("  {:5.1} s  ", self.at)),
                (Plain, self.sensor.clone()),
            ],
            blank(),
            vec![
                (Dim, "Traffic  ".into()),
                (
                    Plain,
                    format!(
                        "{} packets/s   {}B/s   {} sources",
                        si(self.packets_per_second.round()),
                        si(self.bytes_per_second.round()),
                        self.sources
                    ),
                ),
            ],
            vec![
                (Dim, "Client   ".into()),
                (Plain, self.ordinary.line()),
                (
                    if self.ordinary.lost == 0 { Style::Good } else { Style::Bad },
                    format!("   {} lost", self.ordinary.lost),
                ),
            ],
            blank(),
        ];
        let narrow = width < NARROW;
        if !narrow {
            let head = format!(
                "{:<13}{:<17}{:>9}{:>18}{:>10}  ",
                "Attack", "from", "sent/s", "reach victim/s", "dropped"
            );
            rows.push(vec![(Bold, head + "state")]);
        }
        for act in &self.acts {
            self.act_rows(act, narrow, &mut rows);
        }
        rows.push(blank());
        let room = height.saturating_sub(rows.len() + 1);
        let skip = self.log.len().saturating_sub(room);
        for (at, style, text) in self.log.iter().skip(skip) {
            rows.push(vec![(Dim, format!("{at:5.1} s  ")), (*style, text.clone())]);
        }
        rows.truncate(height.saturating_sub(1));
        rows.push(vec![(Dim, "Ctrl-C ends and cleans up".into())]);
        rows
    }

    fn act_rows(&self, act: &Act, narrow: bool, rows: &mut Vec<Vec<Span>>) {
        use Style::{Bad, Bold, Dim, Good, Plain};
        let reach = act.reached.rate().round();
        let reach_style = match (act.began, reach > 0.0) {
            (None, _) => Dim,
            (_, true) => Bad,
            (_, false) => Good,
        };
        let figure = |n: f64| if act.began.is_some() { si(n.round()) } else { "-".into() };
        if narrow {
            rows.push(vec![
                (Bold, format!("{} ", act.title)),
                (Plain, format!("{}  ", act.attacker)),
                act.state(),
            ]);
            rows.push(vec![
                (Dim, format!("  {} {}/s sent, ", figure(act.sent.rate()), act.unit)),
                (reach_style, format!("{} packets/s reach the victim", figure(reach))),
            ]);
        } else {
            rows.push(vec![
                (Bold, format!("{:<13}", act.title)),
                (Plain, format!("{:<17}{:>9}", act.attacker.to_string(), figure(act.sent.rate()))),
                (reach_style, format!("{:>18}", figure(reach))),
                (Plain, format!("{:>10}  ", figure(act.dropped as f64))),
                act.state(),
            ]);
        }
        if !act.bars.is_empty() {
            rows.push(vec![(Dim, "  reaching the victim ".into()), (Plain, bars(&act.bars, self.blocks))]);
        }
        if !act.why.is_empty() {
            rows.push(vec![(Dim, format!("  {}", act.why))]);
        }
    }

    /// The table at the end.
    pub fn summary(&self) -> String {
        let mut rows = vec![
            [
                "ATTACK",
                "FROM",
                "RECOGNISED AS",
                "BLOCKED AFTER",
                "REACHED BEFORE",
                "REACHED AFTER",
                "DROPPED",
                "BLOCK",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for act in &self.acts {
            rows.push(vec![
                act.title.to_owned(),
                act.attacker.to_string(),
                act.recognised.map_or("no", |_| act.class).to_owned(),
                act.block_ms.map_or("no".into(), |ms| format!("{} ms", number(ms.round()))),
                act.reached_before.unwrap_or_else(|| act.reached.count()).to_string(),
                act.leaked().map_or("-".into(), |n| n.to_string()),
                act.dropped.to_string(),
                match (act.blocked, act.expired) {
                    (Some(_), Some(_)) => "expired".into(),
                    (Some(_), None) => "in force".into(),
                    (None, _) => "-".to_owned(),
                },
            ]);
        }
        let loss = match (self.ordinary.unharmed(), self.ordinary.lost) {
            (true, _) => "nothing lost".to_owned(),
            (false, 0) => "some never finished".to_owned(),
            (false, n) => format!("{n} lost"),
        };
        format!("{}Ordinary client: {}; {loss}.\n", table(&rows), self.ordinary.line())
    }
}

/// A bar per value, the highest full.
fn bars(values: &[f64], blocks: bool) -> String {
    const BLOCKS: [char; 9] = ['_', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 9] = ['_', '.', ':', '-', '=', '+', '*', '%', '#'];
    let most = values.iter().copied().fold(1.0, f64::max);
    let glyphs = if blocks { BLOCKS } else { ASCII };
    values
        .iter()
        .map(|v| if *v <= 0.0 { glyphs[0] } else { glyphs[((v / most * 8.0).ceil() as usize).clamp(1, 8)] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act() -> Act {
        Act::new("port scan", "port_scan", Ipv4Addr::new(192, 0, 2, 201), "packets")
    }

    #[test]
    fn rates_cover_the_last_second() {
        let mut meter = Meter::default();
        for i in 0..=30_u32 {
            meter.note(f64::from(i) / 10.0, if i <= 20 { u64::from(i) * 10 } else { 200 });
        }
        assert_eq!(meter.count(), 200);
        assert!(meter.rate() < 1.0, "{}", meter.rate());
    }

    #[test]
    fn an_attack_is_answered_only_if_nothing_leaks() {
        let mut act = act();
        act.began = Some(0.0);
        act.note(0.1, 10, 10);
        assert!(!act.answered());
        act.recognised = Some(0.2);
        act.blocked = Some(0.2);
        act.reached_before = Some(10);
        assert!(act.answered());
        act.note(0.3, 20, 11);
        assert!(!act.answered() && act.leaked() == Some(1));
        act.ended = Some(0.3);
        act.note(0.4, 30, 30);
        assert_eq!(act.leaked(), Some(1), "what comes later is no part of the attack");
    }

    #[test]
    fn the_client_is_unharmed_only_when_all_it_tried_completed() {
        let mut o = Ordinary { completed: vec![("downloads", 3)], tried: 3, lost: 0, bytes: 9, over: true };
        assert!(o.unharmed());
        o.tried = 4;
        assert!(!o.unharmed());
        assert!(!Ordinary { over: true, ..Ordinary::default() }.unharmed());
    }

    #[test]
    fn rows_fit_the_height_and_bars_the_alphabet() {
        let mut view = View::new("simulated", vec![act(), act(), act()]);
        for i in 0..100 {
            view.say(Style::Plain, format!("line {i}"));
        }
        for (width, height) in [(20, 5), (80, 24), (200, 60)] {
            assert!(view.rows(width, height).len() <= height, "{width}x{height}");
        }
        assert_eq!(bars(&[0.0, 5.0, 10.0, 0.1], false), "_=#.");
    }
}
