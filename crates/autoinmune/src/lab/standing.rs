//! `lab up` and `lab down`: a network that stays until it is removed.

use super::agent::{Agent, Setup};
use super::{ATTACH, UpArgs, range_error, run, scenario, stage_error};
use crate::cli::Format;
use crate::exit::{Exit, fail};
use ::lab::range::network::{GATEWAY_PLACE, gateway_interface};
use ::lab::range::{kept, remove_kept, sweep};
use ::lab::scenario::Stage;
use anyhow::Context as _;
use serde_json::json;
use std::time::Instant;

/// `lab up`.
///
/// # Errors
/// A network is up already, or something of it does not work; nothing is left then.
pub fn up(args: &UpArgs) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let (name, scenario) = scenario(&args.scenario)?;
    sweep().map_err(range_error)?;
    if let Some(range) = kept().map_err(range_error)?.first() {
        let what = format!("the network {} is up already; remove it with `autoinmune lab down`", range.id);
        return Err(fail(Exit::Busy, what));
    }
    let program = std::env::current_exe().context("cannot tell the path of this program")?;
    let stage = Stage::set(&scenario, &program).map_err(stage_error)?;
    let interface = gateway_interface(scenario.sensor);
    let setup = Setup {
        place: GATEWAY_PLACE,
        interface: &interface,
        enforce: args.enforce,
        config: &run::configuration(&scenario),
        eve: Some(stage.range().scratch().join("eve.json")),
    };
    let mut agent = Agent::start(stage.range(), &setup)?;
    let status = agent.wait(ATTACH)?;
    let range = stage.range();
    let namespace = |place: &str| range.namespace(place);
    let hosts: Vec<_> = scenario
        .actors
        .iter()
        .map(|a| {
            let host = a.host();
            json!({
                "name": a.name, "role": a.role, "segment": a.segment, "namespace": namespace(&a.name),
                "addresses": host.addresses(), "serves": a.serve,
            })
        })
        .collect();
    let run_dir = range.scratch().join("run");
    let shown = json!({
        "id": range.id(), "scenario": name, "gateway": namespace(GATEWAY_PLACE), "interface": interface,
        "sensor": status.sensor, "mode": status.mode, "run_dir": run_dir, "hosts": hosts,
        "seconds": begun.elapsed().as_secs_f64(),
    });
    let mut text = vec![["HOST", "SEGMENT", "ADDRESS", "SERVES", "NAMESPACE"].map(str::to_owned).to_vec()];
    for a in &scenario.actors {
        let host = a.host();
        let address = match host.count {
            1 => host.address().to_string(),
            n => format!("{} and {} more", host.address(), n - 1),
        };
        let serves = if a.serve.is_empty() { "-".to_owned() } else { a.serve.join(", ") };
        text.push(vec![a.name.clone(), a.segment.name().to_owned(), address, serves, namespace(&a.name)]);
    }
    let hints = format!(
        "\nThe agent watches {interface} of {} ({}, {}).\n\
         \n  ip netns exec NAMESPACE COMMAND                run a command on a host\
         \n  autoinmune status --run-dir {}\
         \n  autoinmune lab down                            remove it all\n",
        namespace(GATEWAY_PLACE),
        status.sensor,
        status.mode.name(),
        run_dir.display(),
    );
    agent.leave();
    stage.keep().map_err(range_error)?;
    match args.output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&shown)?),
        Format::Human => print!("{}{hints}", crate::text::table(&text)),
    }
    Ok(Exit::Ok)
}

/// `lab down`.
///
/// # Errors
/// Something could not be removed.
pub fn down(output: Format) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    if !rustix::process::geteuid().is_root() {
        return Err(range_error(::lab::range::RangeError::NotRoot));
    }
    sweep().map_err(range_error)?;
    let removed = remove_kept(None).map_err(range_error)?;
    let seconds = begun.elapsed().as_secs_f64();
    match (output, removed.as_slice()) {
        (Format::Json, _) => println!("{}", json!({"removed": removed, "seconds": seconds})),
        (Format::Human, []) => println!("Nothing was up."),
        (Format::Human, ids) => println!("Removed {} in {seconds:.2} s.", ids.join(", ")),
    }
    Ok(Exit::Ok)
}
