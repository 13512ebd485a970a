//! `autoinmune demo`: the main job shown in under a minute.
//!
//! As root on Linux it is real: namespaces, the kernel sensor, attack traffic, blocks in the kernel, and a meter behind
//! them. Where that cannot be, it says why and plays the same story from a generated capture through the same line.

mod live;
mod show;
mod simulated;
mod view;

use crate::cli::DemoArgs;
use crate::exit::{Exit, fail};
use crate::text::number;
use anyhow::Context as _;
use lab::address::{ATTACKERS, SILENT};
use show::Show;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use view::{Act, Style, View};

/// Evidence shown per attack; the rest is one `explain` away.
const MAX_EVIDENCE: usize = 3;

/// How a run of the story ended.
enum Ending {
    /// It was played to the end; the view tells how it came out.
    Played,
    /// Somebody wanted it to stop.
    Interrupted,
    /// It cannot be played here, for this reason.
    Unavailable(String),
}

/// The attacks of the story, in order.
fn cast() -> [Act; 3] {
    [
        Act::new("port scan", "port_scan", ATTACKERS[0], "packets"),
        Act::new("SYN flood", "syn_flood", SILENT, "packets"),
        Act::new("SSH guessing", "brute_force", ATTACKERS[2], "connections"),
    ]
}

/// Shows a real attack being recognised and blocked, or says why the kernel cannot be used and plays the same story
/// from a generated capture.
///
/// # Errors
/// What broke on the way, or standard output being gone. [`Exit::Failure`] without an error means that an attack was
/// not answered, that the ordinary client lost something, or that the demo was interrupted.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot handle signals")?;
    }
    let mut show = Show::new(args.plain)?;
    let mut view = View::new("starting", cast().to_vec());
    view.blocks = Show::blocks();
    let ending = if args.no_kernel {
        Ending::Unavailable("--no-kernel was given".into())
    } else {
        live::play(&mut view, &mut show, &stop)?
    };
    let (ending, simulated) = match ending {
        Ending::Unavailable(why) => {
            let blocks = view.blocks;
            view = View::new("simulated, no kernel", cast().to_vec());
            view.blocks = blocks;
            view.say(Style::Warn, format!("not using the kernel: {why}"));
            (simulated::play(&mut view, &mut show, &stop, args.seed)?, Some(why))
        }
        played => (played, None),
    };
    let header = match &simulated {
        Some(why) => format!("\nSIMULATED (not using the kernel: {why})\n\n"),
        None => format!("\n{}\n\n", view.sensor),
    };
    let (exit, text) = match ending {
        Ending::Interrupted => (Exit::Failure, "\nInterrupted; nothing is left behind.\n".to_owned()),
        Ending::Unavailable(why) => return Err(fail(Exit::Kernel, why)),
        Ending::Played if view.succeeded() => {
            let words = "Every attack was recognised and blocked; the ordinary client lost nothing.\n";
            (Exit::Ok, format!("{header}{}\n{words}", view.summary()))
        }
        Ending::Played => {
            let words = "Not every attack was answered, or the ordinary client lost something.\n";
            (Exit::Failure, format!("{header}{}\n{words}", view.summary()))
        }
    };
    show.end(&mut view, &text)?;
    Ok(exit)
}

/// Techniques and strongest evidence, for people.
fn because<'a>(techniques: &[String], evidence: impl Iterator<Item = (&'a str, f64, f64)>) -> String {
    let evidence: Vec<String> = evidence
        .take(MAX_EVIDENCE)
        .map(|(metric, observed, threshold)| {
            format!("{metric} {} (limit {})", number(observed), number(threshold))
        })
        .collect();
    match (techniques, evidence.as_slice()) {
        ([], evidence) => evidence.join(", "),
        (techniques, []) => techniques.join(", "),
        (techniques, evidence) => format!("{}, {}", techniques.join(", "), evidence.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_well() {
        let t = ["T1046".to_owned()];
        let evidence = [("ports", 40.0, 20.0), ("failed share", 0.975, 0.8)];
        for (techniques, evidence, expected) in [
            (&t[..], &evidence[..], "T1046, ports 40 (limit 20), failed share 0.97 (limit 0.80)"),
            (&t[..], &[][..], "T1046"),
            (&[][..], &evidence[..1], "ports 40 (limit 20)"),
            (&[][..], &[][..], ""),
        ] {
            assert_eq!(because(techniques, evidence.iter().copied()), expected);
        }
    }
}
