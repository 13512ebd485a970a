//! `intel`: databases of addresses and reputation lists; and how the rest of the program comes by them.

use crate::cli::{ClientArgs, Format};
use crate::config::{self, Config};
use crate::exit::{Exit, fail};
use crate::line::{Line, Reputation};
use crate::text::table;
use clap::{Args, Subcommand, ValueHint};
use enrich::list::Kind;
use enrich::{Facts, Refreshed, Service};
use respond::Responder;
use serde_json::{Value, json};
use server::control::{Request, call, socket_in};
use server::view::Known;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use wire::Addr;

/// `intel …`.
#[derive(Debug, Subcommand)]
pub enum IntelCommand {
    /// List databases and lists with figures: those of the running agent, else as they are loaded now
    List(IntelArgs),
    /// Fetch the lists that come from the web now and check them; a running agent takes them over
    Update(IntelArgs),
    /// Say everything known of an address, with reasons
    Test {
        /// Address
        address: String,
        /// Configuration, agent and output.
        #[command(flatten)]
        args: IntelArgs,
    },
}

/// Arguments of every `intel` command.
#[derive(Clone, Debug, Args)]
pub struct IntelArgs {
    /// Configuration file, TOML or JSON [default: /etc/autoinmune/config.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Where copies of fetched lists are kept.
fn copies(config: &Config) -> PathBuf {
    config.state_dir.join("intel")
}

/// What is configured, not loaded yet; `None` if nothing is.
pub fn service(config: &Config) -> Option<Arc<Service>> {
    let service = Service::new(&config.geoip, &config.reputation, &copies(config));
    (!service.is_idle()).then(|| Arc::new(service))
}

/// What is configured, loaded from this machine; what could not be is said, and does without.
pub fn loaded(config: &Config) -> Option<Arc<Service>> {
    let service = service(config)?;
    for wrong in service.load() {
        eprintln!("autoinmune: {wrong}; going on without it");
    }
    Some(service)
}

/// As the line asks for reputation.
pub fn reputation(service: Option<&Arc<Service>>) -> Option<Reputation> {
    let service = Arc::clone(service?);
    Some(Arc::new(move |addr| service.score(addr.ip())))
}

/// A line that weighs signals by reputation, if any is known.
pub fn weighing(mut line: Line, service: Option<&Arc<Service>>) -> Line {
    line.set_reputation(reputation(service));
    line
}

/// Facts as `explain` shows them; `None` if there are none.
pub fn view(facts: &Facts) -> Option<Known> {
    if facts.is_empty() {
        return None;
    }
    let place = facts.place.as_ref().map(|p| {
        let parts = [&p.city, &p.region, &p.country];
        parts.into_iter().flatten().map(|p| &**p).collect::<Vec<_>>().join(", ")
    });
    let network = facts.network.as_ref();
    let reputation = facts.reputation.as_ref();
    Some(Known {
        place: place.filter(|p| !p.is_empty()),
        asn: network.map(|n| n.asn),
        organisation: network.and_then(|n| n.organisation.as_deref()).map(str::to_owned),
        network: network.map(|n| n.kind.name().to_owned()),
        reputation: reputation.map(|r| r.score),
        because: reputation.map_or_else(Vec::new, |r| r.parts.iter().map(enrich::Part::explain).collect()),
    })
}

/// What is known of an address, for people: one line each.
pub fn known(k: &Known) -> String {
    let mut out = String::new();
    if let Some(place) = &k.place {
        let _ = writeln!(out, "  in {place}");
    }
    if let Some(asn) = k.asn {
        let organisation = k.organisation.as_deref().unwrap_or("unknown organisation");
        let kind = k.network.as_deref().unwrap_or("unknown");
        let _ = writeln!(out, "  in AS{asn}, {organisation} (kind: {kind})");
    }
    if let Some(score) = k.reputation {
        let _ = writeln!(out, "  reputation {score} of 100");
        for part in &k.because {
            let _ = writeln!(out, "    {part}");
        }
    }
    out
}

/// Runs the command.
///
/// # Errors
/// A wrong configuration or address.
pub fn run(command: &IntelCommand) -> anyhow::Result<Exit> {
    match command {
        IntelCommand::List(args) => list(args),
        IntelCommand::Update(args) => update(args),
        IntelCommand::Test { address, args } => test(address, args),
    }
}

/// Says that nothing is configured, which is no failure.
fn nothing(args: &IntelArgs) -> Exit {
    match args.client.output {
        Format::Json => println!("{{}}"),
        Format::Human => {
            println!(
                "No database and no list is configured; see [geoip] and [reputation] in `config default`."
            );
        }
    }
    Exit::Ok
}

fn list(args: &IntelArgs) -> anyhow::Result<Exit> {
    let config = config::resolve(args.config.as_deref())?;
    // A configuration that was named is asked about itself, not what an agent with another one has.
    let live = match args.config {
        Some(_) => None,
        None => call(&socket_in(&args.client.run_dir), &Request::Intel).ok(),
    };
    let (figures, is_live) = match live {
        Some(figures) => (figures, true),
        None => match loaded(&config) {
            Some(service) => (json!(service.figures()), false),
            None => return Ok(nothing(args)),
        },
    };
    if figures.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(nothing(args));
    }
    match args.client.output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
        Format::Human => print!("{}", overview(&figures, is_live)),
    }
    Ok(Exit::Ok)
}

fn text(v: &Value) -> String {
    v.as_str().map_or_else(|| if v.is_null() { "-".to_owned() } else { v.to_string() }, str::to_owned)
}

fn day(v: &Value) -> String {
    let time = v.as_i64().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(|| "-".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M").to_string())
}

fn rows(v: &Value) -> &[Value] {
    v.as_array().map_or(&[], Vec::as_slice)
}

fn overview(figures: &Value, is_live: bool) -> String {
    let mut out = String::new();
    if !is_live {
        let _ = writeln!(out, "As loaded now; no agent was asked.");
    }
    let databases = rows(&figures["databases"]);
    if !databases.is_empty() {
        let mut lines =
            vec![["DATABASE", "TYPE", "BUILT (UTC)", "RECORDS", "FILE"].map(str::to_owned).to_vec()];
        lines.extend(databases.iter().map(|d| {
            vec![
                text(&d["role"]),
                text(&d["database_type"]),
                day(&d["built_s"]),
                text(&d["records"]),
                text(&d["path"]),
            ]
        }));
        out.push_str(&table(&lines));
    }
    let lists = rows(&figures["lists"]);
    if !lists.is_empty() {
        let mut lines = vec![
            ["LIST", "KIND", "WEIGHT", "ENTRIES", "SKIPPED", "HITS", "AS OF (UTC)", "FROM"]
                .map(str::to_owned)
                .to_vec(),
        ];
        lines.extend(lists.iter().map(|l| {
            vec![
                text(&l["name"]),
                text(&l["kind"]),
                text(&l["weight"]),
                text(&l["entries"]),
                text(&l["skipped"]),
                text(&l["hits"]),
                day(&l["as_of_s"]),
                text(&l["source"]),
            ]
        }));
        out.push_str(&table(&lines));
    }
    for l in lists {
        for skipped in rows(&l["first_skipped"]) {
            let _ =
                writeln!(out, "{}: skipped {}: {}", text(&l["name"]), skipped["at"], text(&skipped["why"]));
        }
    }
    for failed in databases.iter().chain(lists).filter(|f| f["error"].is_string()) {
        let _ = writeln!(out, "error: {}", text(&failed["error"]));
    }
    let cache = &figures["cache"];
    let asked = cache["hits"].as_u64().unwrap_or(0) + cache["misses"].as_u64().unwrap_or(0);
    if asked > 0 {
        let _ = writeln!(
            out,
            "cache: {} of {} addresses, {} of {asked} answers from it, {} made room",
            cache["entries"], cache["capacity"], cache["hits"], cache["evicted"]
        );
    }
    let web = &figures["web"];
    if web.is_object() {
        let _ = writeln!(
            out,
            "web service: {} asked ({} of {} today), {} answered, {} failed, {} refused for want of budget, {} dropped{}",
            web["asked"],
            web["today"],
            web["daily_budget"],
            web["answered"],
            web["failed"],
            web["refused"],
            web["dropped"],
            web["error"].as_str().map_or_else(String::new, |e| format!("; latest error: {e}"))
        );
    }
    out
}

fn update(args: &IntelArgs) -> anyhow::Result<Exit> {
    let config = config::resolve(args.config.as_deref())?;
    let Some(service) = loaded(&config) else { return Ok(nothing(args)) };
    let agent_runs = call(&socket_in(&args.client.run_dir), &Request::Ping).is_ok();
    // The API counts what each key has been told. An answer to this process would be one that the agent never gets.
    let outcomes = service.fetch(|l| !(agent_runs && l.kind == Kind::Crowdsec));
    let figures = service.figures();
    let mut report = Vec::new();
    let mut failed = false;
    for ((name, outcome), list) in outcomes.into_iter().zip(&config.reputation.lists) {
        let (word, why) = match outcome {
            _ if list.url.is_none() => ("file", "read from its file; nothing to fetch".to_owned()),
            _ if agent_runs && list.kind == Kind::Crowdsec => {
                ("followed", "followed by the running agent".to_owned())
            }
            Refreshed::Same => ("same", "as it was".to_owned()),
            Refreshed::Changed => ("updated", String::new()),
            Refreshed::Failed(why) => {
                failed = true;
                ("failed", why)
            }
        };
        let figure = figures.lists.iter().find(|f| f.name == name);
        report.push(json!({
            "name": name,
            "outcome": word,
            "why": why,
            "entries": figure.map_or(0, |f| f.entries),
            "skipped": figure.map_or(0, |f| f.skipped),
        }));
    }
    match args.client.output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Format::Human => {
            for r in &report {
                let why = text(&r["why"]);
                let why = if why.is_empty() { why } else { format!(" ({why})") };
                println!(
                    "{}: {}{why}, {} entries, {} skipped",
                    text(&r["name"]),
                    text(&r["outcome"]),
                    r["entries"],
                    r["skipped"]
                );
            }
            if report.is_empty() {
                println!("No list is configured.");
            }
        }
    }
    Ok(if failed { Exit::Failure } else { Exit::Ok })
}

fn test(address: &str, args: &IntelArgs) -> anyhow::Result<Exit> {
    let address: Addr = address.parse().map_err(|_| {
        fail(Exit::Input, format!("'{address}' is not an address such as 192.0.2.7 or 2001:db8::1"))
    })?;
    let config = config::resolve(args.config.as_deref())?;
    let Some(service) = loaded(&config) else { return Ok(nothing(args)) };
    let facts = service.facts(address.ip());
    let allowed = Responder::new(config.policy.clone()).explain(address, 0).allowed;
    let weighed = facts.reputation.as_ref().is_some_and(|r| r.score >= detect::reputation::HEEDED);
    let effect = match (&allowed, weighed) {
        (Some(a), _) => format!("on the allowlist as {} ({}): lists change nothing", a.prefix, a.why),
        (None, true) => "attacks by it count for more; by itself this blocks nothing".to_owned(),
        (None, false) => "no effect on judgements".to_owned(),
    };
    match args.client.output {
        Format::Json => {
            let mut answer = json!(*facts);
            answer["address"] = json!(address);
            answer["public"] = json!(enrich::is_public(address.ip()));
            answer["allowed"] = json!(allowed);
            answer["effect"] = json!(effect);
            println!("{}", serde_json::to_string_pretty(&answer)?);
        }
        Format::Human => {
            println!("{address}");
            match view(&facts) {
                Some(k) => print!("{}", known(&k)),
                None => println!("  nothing is known of it"),
            }
            if !enrich::is_public(address.ip()) {
                println!("  not a public address: no list may name it");
            }
            println!("  {effect}");
        }
    }
    Ok(Exit::Ok)
}
