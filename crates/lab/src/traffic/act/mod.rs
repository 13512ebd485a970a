//! Acts: pieces of traffic, hostile and ordinary, that scenarios are made of.
//!
//! An act is a name, a table of parameters and a function. [`run`] checks the arguments, refuses every address that is
//! not the lab's, runs the function within its limits, and returns a [`Report`] of what was really done, from which labels
//! are written. Equal seeds give equal content, order and pauses; when packets leave, and which ports the kernel picks,
//! is not ours to say.
//!
//! Hostile acts are run of the mill: enough to be what they are called, aimed at the lab's own servers ([`crate::serve`]),
//! without working exploits. Ordinary acts are those that are mistaken for attacks most easily.

mod account;
mod actor;

pub use account::{Net, Protocol, Report, Row};

use super::{Control, TrafficError, permit};
use crate::arguments::{Arguments, Kind, Parameter};
use actor::Actor;

/// One act.
#[derive(Debug)]
pub struct Act {
    /// Its name.
    pub name: &'static str,
    /// What it does, one sentence.
    pub about: &'static str,
    /// The class of threat it is an example of, a class name of events; `None` for ordinary traffic.
    pub class: Option<&'static str>,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    run: fn(&Actor<'_>) -> Result<(), TrafficError>,
}

/// All acts, in order of their names.
#[must_use]
pub fn all() -> &'static [Act] {
    ACTS
}

/// Their names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ACTS.iter().map(|act| act.name).collect()
}

/// Runs an act in the network namespace of the calling thread, and returns what it did.
///
/// # Errors
/// No such act, arguments that do not fit, an address that is not the lab's, or a refusal of the kernel. Targets that
/// do not answer are counted in the report and are no error.
pub fn run(name: &str, arguments: &Arguments, control: &Control) -> Result<Report, TrafficError> {
    let act = ACTS.iter().find(|act| act.name == name).ok_or_else(|| TrafficError::Unknown {
        what: "act",
        name: name.to_owned(),
        known: names().join(", "),
    })?;
    let values = arguments.check(act.parameters)?;
    for parameter in act.parameters {
        if matches!(parameter.kind, Kind::Address | Kind::Addresses) {
            values.addrs(parameter.name).iter().try_for_each(|addr| permit(*addr))?;
        }
    }
    let start_ns = account::now_ns();
    let actor = Actor::new(&values, control);
    (act.run)(&actor)?;
    Ok(actor.report(act.name, start_ns))
}

/// Parameters that many acts share.
mod parameter {
    use super::{Kind, Parameter};

    pub(super) const SOURCE: Parameter = Parameter::new("source", Kind::Address, "where the traffic comes from");
    pub(super) const TARGET: Parameter = Parameter::new("target", Kind::Address, "where it goes");
    pub(super) const TARGETS: Parameter = Parameter::new("targets", Kind::Addresses, "where it goes");
    pub(super) const SEED: Parameter =
        Parameter::new("seed", Kind::Number(0, u64::MAX), "what chance depends on").or("1");

    pub(super) const fn port(default: &'static str) -> Parameter {
        Parameter::new("port", Kind::Number(1, 65_535), "port of the target").or(default)
    }

    /// At most so many seconds; no act runs longer than [`crate::traffic::MAX_DURATION`].
    pub(super) const fn seconds(default: &'static str) -> Parameter {
        Parameter::new("seconds", Kind::Number(1, 120), "ends after so many seconds").or(default)
    }

    pub(super) const fn count(most: u64, default: &'static str, about: &'static str) -> Parameter {
        Parameter::new("count", Kind::Number(1, most), about).or(default)
    }

    pub(super) const fn rate(most: u64, default: &'static str) -> Parameter {
        Parameter::new("rate", Kind::Number(1, most), "so many of them a second").or(default)
    }
}

const ACTS: &[Act] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Values;

    fn defaults(act: &Act) -> Values {
        let address = |p: &Parameter| matches!(p.kind, Kind::Address | Kind::Addresses) && p.default.is_none();
        let words = act.parameters.iter().filter(|p| address(p)).map(|p| format!("{}=127.0.0.1", p.name));
        let arguments = Arguments::parse(words).expect("words");
        arguments.check(act.parameters).unwrap_or_else(|e| panic!("{}: {e}", act.name))
    }

    #[test]
    fn names_are_sorted_and_only_addresses_must_be_given() {
        assert!(ACTS.is_sorted_by_key(|act| act.name));
        for act in ACTS {
            let _ = defaults(act);
            assert!(act.about.ends_with('.'), "{}", act.name);
        }
    }

    #[test]
    fn every_act_is_bounded() {
        for act in ACTS {
            let values = defaults(act);
            assert!((1..=120).contains(&values.number("seconds")), "{} has no seconds", act.name);
        }
    }

    #[test]
    fn addresses_elsewhere_are_refused_by_every_act() {
        let elsewhere = std::net::IpAddr::from([198, 51, 100, 1]);
        for act in ACTS {
            for foreign in act.parameters.iter().filter(|p| matches!(p.kind, Kind::Address | Kind::Addresses)) {
                let words = act.parameters.iter().filter_map(|p| match p.kind {
                    Kind::Address | Kind::Addresses if p.name == foreign.name => {
                        Some(format!("{}={elsewhere}", p.name))
                    }
                    Kind::Address | Kind::Addresses => Some(format!("{}=127.0.0.1", p.name)),
                    _ => None,
                });
                let refused = run(act.name, &Arguments::parse(words).expect("words"), &Control::new());
                assert!(
                    matches!(refused, Err(TrafficError::Forbidden(a)) if a == elsewhere),
                    "{} {}: {refused:?}",
                    act.name,
                    foreign.name
                );
            }
        }
    }

    #[test]
    fn unknown_acts_and_arguments_are_refused_with_what_there_is() {
        let refused = run("dance", &Arguments::default(), &Control::new()).expect_err("unknown");
        assert!(refused.to_string().contains("port_scan"), "{refused}");
    }
}
