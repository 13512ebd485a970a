//! What was found, against what is known: `replay --labels`.
//!
//! **Attacks.** Rows of the labels with the same class, scenario and actor are one attack; it lasts from the first row's start to
//! the last one's end. An incident recognises it if it names its class, overlaps its time by [`NEAR_NS`] at most, and its
//! actor (of a distributed one, its target) is an address that the rows name. The time to detect runs from the attack's first
//! packet to the moment at which such an incident first named the class. Attacks of which the captures hold no flow are
//! counted apart; ARP makes no flows and always counts.
//!
//! **Incidents** count once for each class they name; one is right for a class if it recognises an attack of it.
//!
//! **Flows.** An incident claims the flows that its actor began (of a distributed one, those that touch its target) while it
//! lasted, [`NEAR_NS`] before and after included. A flow is detected if an incident that names its class claims it. It counts
//! against each class that claims it if no claim is right; a second class of the same actor is not held against the first.
//!
//! Precision is right over all claimed, recall is found over all there are. Either is absent where there is nothing to divide by.

use crate::exit::{Exit, fail};
use detect::{Actor, Change, Update};
use flow::label::{BENIGN, Net, Protocol};
use flow::{FlowRecord, Label, Labels};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use wire::Addr;

/// How far apart in time an incident and what it is about may be, ns: rules look back over windows of up to a minute.
const NEAR_NS: u64 = 60_000_000_000;

/// Flows are weighed together if they have the same ends and class and began within this time of each other, ns.
const GROUP_NS: u64 = 10_000_000_000;

/// Groups of flows held, some 100 MB; further flows are counted as not weighed.
const MAX_GROUPS: usize = 1_000_000;

/// Attacks told apart; rows beyond are left out, and counted.
const MAX_ATTACKS: usize = 65_536;

/// One attack.
struct Attack {
    class: String,
    start_ns: u64,
    end_ns: u64,
    /// Whether the rows say when it began.
    dated: bool,
    hosts: BTreeSet<Addr>,
    nets: Vec<Net>,
    /// First packet of a flow of it.
    first_flow_ns: Option<u64>,
    has_arp: bool,
    /// When it was first recognised.
    recognised_ns: Option<u64>,
}

/// One incident, and when it first named each class.
struct Seen {
    actor: Actor,
    first_ns: u64,
    last_ns: u64,
    named: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    /// Position among classes; `None` is benign.
    class: Option<u32>,
    source: Addr,
    target: Addr,
    at: u64,
}

struct Flows {
    count: u64,
    first_ns: u64,
    last_ns: u64,
}

/// Collects flows and incidents while captures are replayed.
pub struct Truth {
    labels: Labels,
    attacks: Vec<Attack>,
    /// Attack of each row, by the row's key.
    of_row: HashMap<(String, String, String), usize>,
    attacks_left_out: u64,
    classes: Vec<String>,
    groups: HashMap<Group, Flows>,
    flows_not_weighed: u64,
    open: BTreeMap<u64, Seen>,
    seen: Vec<Seen>,
}

/// Seconds to detect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Delay {
    /// Of the attacks detected, the middle one.
    pub median: f64,
    /// The longest.
    pub max: f64,
}

/// Figures of one class.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassFigures {
    /// The class, or `any` for attacks of whatever class.
    pub class: String,
    /// Attacks in the captures.
    pub attacks: u64,
    /// Of these, those an incident recognised.
    pub detected: u64,
    /// Incidents that name the class.
    pub incidents: u64,
    /// Of these, those that recognised an attack.
    pub right: u64,
    /// `right` over `incidents`.
    pub precision: Option<f64>,
    /// `detected` over `attacks`.
    pub recall: Option<f64>,
    /// Time to detect, s.
    pub seconds_to_detect: Option<Delay>,
    /// Flows of the class.
    pub flows: u64,
    /// Of these, those that an incident of the class claims.
    pub flows_detected: u64,
    /// Flows that an incident of the class claims wrongly.
    pub flows_wrong: u64,
    /// `flows_detected` over those and the wrong ones.
    pub flow_precision: Option<f64>,
    /// `flows_detected` over `flows`.
    pub flow_recall: Option<f64>,
}

/// Figures of everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// By class, in order of the alphabet, `any` first.
    pub classes: Vec<ClassFigures>,
    /// Flows that no row names, or one names as benign.
    pub benign_flows: u64,
    /// Of these, flows that an incident claims.
    pub benign_flows_claimed: u64,
    /// Attacks of which the captures hold nothing.
    pub attacks_without_traffic: u64,
    /// Flows beyond what is weighed.
    pub flows_not_weighed: u64,
    /// Attacks beyond what is told apart.
    pub attacks_left_out: u64,
}

/// Largest label file read, bytes: a million rows of usual length.
const MAX_BYTES: u64 = 256 << 20;

/// The labels in a file.
///
/// # Errors
/// Exit code 2: the file and, if it is no list of labels, the line.
pub fn labels_of(path: &Path) -> anyhow::Result<Labels> {
    let wrong = |what: String| fail(Exit::Input, format!("labels {}: {what}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| wrong(format!("cannot read: {e}")))?.len();
    if size > MAX_BYTES {
        return Err(wrong(format!("{size} bytes; at most {MAX_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot read: {e}")))?;
    Labels::parse(&text).map_err(|e| wrong(e.to_string()))
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1e4).round() / 1e4)
}

fn row_key(label: &Label) -> (String, String, String) {
    (label.class.clone(), label.scenario.clone(), label.actor.clone())
}

impl Attack {
    fn new(label: &Label) -> Self {
        Self {
            class: label.class.clone(),
            start_ns: u64::MAX,
            end_ns: 0,
            dated: true,
            hosts: BTreeSet::new(),
            nets: Vec::new(),
            first_flow_ns: None,
            has_arp: false,
            recognised_ns: None,
        }
    }

    fn add(&mut self, label: &Label) {
        self.start_ns = self.start_ns.min(label.start_ns);
        self.end_ns = self.end_ns.max(label.end_ns);
        self.dated &= label.start_ns > 0;
        self.has_arp |= label.protocol == Some(Protocol::Arp);
        for net in [label.source, label.target].into_iter().flatten() {
            match net.as_host() {
                Some(host) => drop(self.hosts.insert(host)),
                None if self.nets.contains(&net) => {}
                None => self.nets.push(net),
            }
        }
        self.hosts.extend(label.actor.parse::<Addr>().ok());
    }

    /// Whether an incident may be about it: by its address and time. Rows that name nobody are about everybody.
    fn involves(&self, incident: &Seen) -> bool {
        let (Actor::Source { addr } | Actor::Distributed { target: addr }) = incident.actor;
        let nobody = self.hosts.is_empty() && self.nets.is_empty();
        let named = nobody || self.hosts.contains(&addr) || self.nets.iter().any(|n| n.contains(addr));
        named
            && self.start_ns <= incident.last_ns.saturating_add(NEAR_NS)
            && incident.first_ns <= self.end_ns.saturating_add(NEAR_NS)
    }

    fn began_ns(&self) -> u64 {
        match self.first_flow_ns {
            Some(first) if self.dated => first.max(self.start_ns),
            Some(first) => first,
            None => self.start_ns,
        }
    }
}

impl Truth {
    /// Nothing seen yet.
    pub fn new(labels: Labels) -> Self {
        let mut truth = Self {
            labels: Labels::default(),
            attacks: Vec::new(),
            of_row: HashMap::new(),
            attacks_left_out: 0,
            classes: Vec::new(),
            groups: HashMap::new(),
            flows_not_weighed: 0,
            open: BTreeMap::new(),
            seen: Vec::new(),
        };
        for row in labels.rows().iter().filter(|r| !r.is_benign()) {
            let next = truth.attacks.len();
            let at = *truth.of_row.entry(row_key(row)).or_insert(next);
            if at == next {
                if next == MAX_ATTACKS {
                    truth.of_row.remove(&row_key(row));
                    truth.attacks_left_out += 1;
                    continue;
                }
                truth.attacks.push(Attack::new(row));
                if !truth.classes.contains(&row.class) {
                    truth.classes.push(row.class.clone());
                }
            }
            if let Some(attack) = truth.attacks.get_mut(at) {
                attack.add(row);
            }
        }
        truth.labels = labels;
        truth
    }

    /// Takes a flow that ended.
    pub fn flow(&mut self, record: &FlowRecord) {
        let label = self.labels.of(record).filter(|l| !l.is_benign());
        let class = label.and_then(|l| self.classes.iter().position(|c| *c == l.class));
        let (first_ns, last_ns) = (record.first_ns(), record.last_ns());
        if let Some(label) = label
            && let Some(attack) = self.of_row.get(&row_key(label)).and_then(|at| self.attacks.get_mut(*at))
        {
            attack.first_flow_ns = Some(attack.first_flow_ns.map_or(first_ns, |at| at.min(first_ns)));
        }
        let group = Group {
            class: class.and_then(|c| u32::try_from(c).ok()),
            source: record.initiator().0,
            target: record.responder().0,
            at: first_ns / GROUP_NS,
        };
        if let Some(flows) = self.groups.get_mut(&group) {
            flows.count += 1;
            flows.first_ns = flows.first_ns.min(first_ns);
            flows.last_ns = flows.last_ns.max(last_ns);
        } else if self.groups.len() < MAX_GROUPS {
            self.groups.insert(group, Flows { count: 1, first_ns, last_ns });
        } else {
            self.flows_not_weighed += 1;
        }
    }

    /// Takes what an incident became.
    pub fn incident(&mut self, at_ns: u64, update: &Update) {
        let i = &update.incident;
        let seen = self.open.entry(i.id).or_insert_with(|| Seen {
            actor: i.actor,
            first_ns: i.first_ns,
            last_ns: i.last_ns,
            named: BTreeMap::new(),
        });
        seen.first_ns = seen.first_ns.min(i.first_ns);
        seen.last_ns = seen.last_ns.max(i.last_ns);
        if update.change != Change::Ended {
            for class in &i.classes {
                seen.named.entry(class.name()).or_insert(at_ns);
            }
        }
    }

    /// The line ended; identifiers of incidents begin anew.
    pub fn end_line(&mut self) {
        self.seen.extend(std::mem::take(&mut self.open).into_values());
    }

    /// The figures.
    pub fn evaluate(mut self) -> Evaluation {
        self.end_line();
        let mut out = Evaluation {
            flows_not_weighed: self.flows_not_weighed,
            attacks_left_out: self.attacks_left_out,
            ..Evaluation::default()
        };
        let mut figures: BTreeMap<String, ClassFigures> = BTreeMap::new();
        let mut any = ClassFigures { class: "any".into(), ..ClassFigures::default() };
        self.incidents(&mut figures, &mut any);
        self.delays(&mut figures, &mut any, &mut out);
        self.flows(&mut figures, &mut any, &mut out);
        out.classes = std::iter::once(any).chain(figures.into_values()).collect();
        for f in &mut out.classes {
            f.precision = ratio(f.right, f.incidents);
            f.recall = ratio(f.detected, f.attacks);
            f.flow_precision = ratio(f.flows_detected, f.flows_detected + f.flows_wrong);
            f.flow_recall = ratio(f.flows_detected, f.flows);
        }
        out
    }

    fn incidents(&mut self, figures: &mut BTreeMap<String, ClassFigures>, any: &mut ClassFigures) {
        for incident in &self.seen {
            let mut right = false;
            for (class, at) in &incident.named {
                let f = of_class(figures, class);
                f.incidents += 1;
                let mut hit = false;
                for attack in self.attacks.iter_mut().filter(|a| a.class == *class && a.involves(incident)) {
                    hit = true;
                    attack.recognised_ns = Some(attack.recognised_ns.map_or(*at, |known| known.min(*at)));
                }
                f.right += u64::from(hit);
                right |= hit;
            }
            any.incidents += 1;
            any.right += u64::from(right);
        }
    }

    fn delays(
        &self,
        figures: &mut BTreeMap<String, ClassFigures>,
        any: &mut ClassFigures,
        out: &mut Evaluation,
    ) {
        let mut delays: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for attack in &self.attacks {
            if attack.first_flow_ns.is_none() && !attack.has_arp {
                out.attacks_without_traffic += 1;
                continue;
            }
            let f = of_class(figures, &attack.class);
            f.attacks += 1;
            any.attacks += 1;
            if let Some(at) = attack.recognised_ns {
                f.detected += 1;
                any.detected += 1;
                let seconds = at.saturating_sub(attack.began_ns()) as f64 / 1e9;
                delays.entry(&attack.class).or_default().push(seconds);
                delays.entry("any").or_default().push(seconds);
            }
        }
        for (class, mut all) in delays {
            all.sort_unstable_by(f64::total_cmp);
            let delay =
                all.get((all.len() - 1) / 2).zip(all.last()).map(|(m, l)| Delay { median: *m, max: *l });
            if class == "any" {
                any.seconds_to_detect = delay;
            } else {
                of_class(figures, class).seconds_to_detect = delay;
            }
        }
    }

    fn flows(
        &self,
        figures: &mut BTreeMap<String, ClassFigures>,
        any: &mut ClassFigures,
        out: &mut Evaluation,
    ) {
        let mut about: HashMap<Addr, Vec<&Seen>> = HashMap::new();
        for incident in &self.seen {
            let (Actor::Source { addr } | Actor::Distributed { target: addr }) = incident.actor;
            about.entry(addr).or_default().push(incident);
        }
        for (group, flows) in &self.groups {
            let near = |i: &&&Seen| {
                i.first_ns <= flows.last_ns.saturating_add(NEAR_NS)
                    && flows.first_ns <= i.last_ns.saturating_add(NEAR_NS)
            };
            let of = |addr: &Addr| about.get(addr).into_iter().flatten().filter(near);
            let distributed = |i: &&&Seen| matches!(i.actor, Actor::Distributed { .. });
            let claims = of(&group.source).chain(of(&group.target).filter(distributed));
            let claimed: BTreeSet<&str> = claims.flat_map(|i| i.named.keys().copied()).collect();
            let class = group.class.and_then(|c| self.classes.get(c as usize)).map_or(BENIGN, String::as_str);
            if class == BENIGN {
                out.benign_flows += flows.count;
                out.benign_flows_claimed += if claimed.is_empty() { 0 } else { flows.count };
                any.flows_wrong += if claimed.is_empty() { 0 } else { flows.count };
            } else {
                let f = of_class(figures, class);
                f.flows += flows.count;
                any.flows += flows.count;
                any.flows_detected += if claimed.is_empty() { 0 } else { flows.count };
            }
            if claimed.contains(class) {
                of_class(figures, class).flows_detected += flows.count;
            } else {
                claimed.iter().for_each(|c| of_class(figures, c).flows_wrong += flows.count);
            }
        }
    }
}

fn of_class<'a>(figures: &'a mut BTreeMap<String, ClassFigures>, class: &str) -> &'a mut ClassFigures {
    figures
        .entry(class.to_owned())
        .or_insert_with(|| ClassFigures { class: class.to_owned(), ..ClassFigures::default() })
}

impl Evaluation {
    /// A table for people.
    pub fn table(&self) -> String {
        let share = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{:.1} %", x * 100.0));
        let header = [
            "class",
            "attacks",
            "found",
            "recall",
            "precision",
            "median",
            "longest",
            "flow recall",
            "flow precision",
        ];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for f in &self.classes {
            let seconds = |of: fn(&Delay) -> f64| {
                f.seconds_to_detect.as_ref().map_or_else(|| "-".to_owned(), |d| format!("{:.2} s", of(d)))
            };
            rows.push(vec![
                f.class.clone(),
                f.attacks.to_string(),
                f.detected.to_string(),
                share(f.recall),
                share(f.precision),
                seconds(|d| d.median),
                seconds(|d| d.max),
                share(f.flow_recall),
                share(f.flow_precision),
            ]);
        }
        let mut out = format!("Against the labels:\n{}", crate::text::table(&rows));
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "{} of {} benign flows were claimed by an incident.",
            self.benign_flows_claimed, self.benign_flows
        );
        for (n, what) in [
            (self.attacks_without_traffic, "attacks of the labels are not in the captures"),
            (self.flows_not_weighed, "flows were too many to be weighed"),
            (self.attacks_left_out, "rows of attacks were too many to be told apart"),
        ] {
            if n > 0 {
                let _ = writeln!(out, "{n} {what}.");
            }
        }
        out
    }
}
