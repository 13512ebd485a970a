//! Commands that ask the running agent: `ban`, `unban`, `bans`, `limits`, `explain`, `status`.

use crate::cli::{BanArgs, ClientArgs, ExplainArgs, Format, LimitsArgs, LimitsCommand, UnbanArgs};
use crate::exit::{Exit, fail};
use crate::text::{number, si, span, table};
use respond::Ttl;
use serde::de::DeserializeOwned;
use serde_json::Value;
use server::control::{CallError, Code, Request, call, socket_in};
use server::view::{BlockView, ExplainView, IncidentView, LimitTotals, LimitsView, Standing, Status};
use std::fmt::Write as _;
use wire::Addr;

/// Sends a request; errors carry their exit code.
pub fn ask(client: &ClientArgs, request: &Request) -> anyhow::Result<Value> {
    call(&socket_in(&client.run_dir), request).map_err(|e| {
        let exit = match &e {
            CallError::NotRunning(_) => Exit::NoAgent,
            CallError::Permission(_) => Exit::Permission,
            CallError::Refused { code: Code::Refused | Code::NotFound, .. } => Exit::Refused,
            CallError::Refused { code: Code::BadRequest, .. } => Exit::Input,
            _ => Exit::Failure,
        };
        fail(exit, e.to_string())
    })
}

/// Prints an answer as asked for.
///
/// # Errors
/// It is not what was expected.
pub fn show<T: DeserializeOwned>(
    client: &ClientArgs,
    data: Value,
    render: impl FnOnce(&T) -> String,
) -> anyhow::Result<Exit> {
    match client.output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&data)?),
        Format::Human => print!("{}", render(&serde_json::from_value(data)?)),
    }
    Ok(Exit::Ok)
}

fn prefix(text: &str) -> anyhow::Result<respond::Prefix> {
    text.parse().map_err(|e: respond::PrefixError| fail(Exit::Input, e.to_string()))
}

/// `ban`.
///
/// # Errors
/// Bad input, no agent, or the agent's refusal.
pub fn ban(args: &BanArgs) -> anyhow::Result<Exit> {
    let prefix = prefix(&args.address)?;
    let ttl: Ttl = args.duration.parse().map_err(|e| fail(Exit::Input, format!("--for: {e}")))?;
    let request = Request::Ban { prefix: prefix.to_string(), for_seconds: ttl.secs(), why: args.why.clone() };
    let data = ask(&args.client, &request)?;
    show(&args.client, data, |_: &Value| format!("{prefix} is blocked for {}\n", span(ttl.secs() as f64)))
}

/// `unban`.
///
/// # Errors
/// Bad input, no agent, or nothing to lift.
pub fn unban(args: &UnbanArgs) -> anyhow::Result<Exit> {
    let prefix = prefix(&args.address)?;
    let data = ask(&args.client, &Request::Unban { prefix: prefix.to_string() })?;
    show(&args.client, data, |_: &Value| format!("{prefix} is no longer blocked\n"))
}

/// `bans`.
///
/// # Errors
/// No agent.
pub fn bans(args: &ClientArgs) -> anyhow::Result<Exit> {
    let data = ask(args, &Request::Bans)?;
    show(args, data, |blocks: &Vec<BlockView>| {
        if blocks.is_empty() {
            return "No blocks.\n".into();
        }
        let mut rows =
            vec![["PREFIX", "ENDS IN", "OWNER", "OFFENCE", "DROPPED", "REASON"].map(str::to_owned).to_vec()];
        for b in blocks {
            rows.push(vec![
                b.prefix.clone(),
                span(b.remaining_seconds),
                b.owner.clone(),
                b.offence.to_string(),
                match (b.enforced, b.dropped_packets) {
                    (false, _) => "shadow".into(),
                    (true, Some(n)) => si(n as f64),
                    (true, None) => "-".into(),
                },
                b.reason.clone(),
            ]);
        }
        table(&rows)
    })
}

fn address(text: &str) -> anyhow::Result<Addr> {
    text.parse().map_err(|_| fail(Exit::Input, format!("'{text}' is not an IP address")))
}

/// `limits`.
///
/// # Errors
/// Bad input, no agent, or one without a kernel program.
pub fn limits(args: &LimitsArgs) -> anyhow::Result<Exit> {
    let Some(LimitsCommand::Clear { address: whose, client }) = &args.command else {
        let data = ask(&args.client, &Request::Limits)?;
        return show(&args.client, data, rates_and_excesses);
    };
    let address = if whose == "all" { None } else { Some(address(whose)?) };
    let data = ask(client, &Request::ClearLimits { address })?;
    show(client, data, |cleared: &u64| format!("{cleared} sources and services start anew\n"))
}

fn rates_and_excesses(l: &LimitsView) -> String {
    let mut rows = vec![["LIMIT", "PACKETS/S"].map(str::to_owned).to_vec()];
    for (name, rate) in &l.rates {
        rows.push(vec![name.clone(), if *rate == 0 { "off".into() } else { rate.to_string() }]);
    }
    let mut out = table(&rows);
    for (what, dropped) in [("tiny", l.block_tiny_fragments), ("overlapping", l.block_overlapping_fragments)]
    {
        if dropped {
            let _ = writeln!(out, "{what} fragments are dropped");
        }
    }
    if l.syn_cookies {
        out.push_str("SYNs over the limit of their service are answered with SYN cookies\n");
    }
    let _ = writeln!(out, "{}", limited(&l.totals));
    if l.excesses.is_empty() {
        out.push_str("Nobody was over a limit in the last minute.\n");
        return out;
    }
    let over = if l.enforced { "DROPPED" } else { "WOULD DROP" };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let ago = |at_ns: u64| span((now.as_secs_f64() - at_ns as f64 / 1e9).max(0.0));
    let mut rows =
        vec![["OVER A LIMIT", "LIMIT", over, "BYTES", "BEGAN", "LAST"].map(str::to_owned).to_vec()];
    for e in &l.excesses {
        let who = match e.port {
            Some(port) => std::net::SocketAddr::new(e.address.ip(), port).to_string(),
            None if e.address.is_v4() => e.address.to_string(),
            None => format!("{}/64", e.address),
        };
        let ago = |at_ns| format!("{} ago", ago(at_ns));
        let counts = [si(e.packets as f64), si(e.bytes as f64)];
        rows.push(
            [vec![who, e.limit.clone()], counts.to_vec(), vec![ago(e.since_ns), ago(e.last_ns)]].concat(),
        );
    }
    out.push_str(&table(&rows));
    out
}

/// What limits did, in one line.
fn limited(t: &LimitTotals) -> String {
    let mut out = format!("limits: {} packets dropped", si(t.dropped_packets as f64));
    for (count, what) in [
        (t.would_drop_packets, "would be dropped without shadow mode"),
        (t.allowed_packets, "over one but on the allowlist"),
        (t.cookies_sent, "answered with SYN cookies"),
        (t.cookies_valid, "valid cookies came back"),
        (t.cookies_invalid, "acknowledgements without one"),
    ] {
        if count > 0 {
            let _ = write!(out, ", {} {what}", si(count as f64));
        }
    }
    out
}

/// `explain`.
///
/// # Errors
/// Bad input or no agent.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let address = address(&args.address)?;
    let data = ask(&args.client, &Request::Explain { address })?;
    show(&args.client, data, explanation)
}

fn explanation(e: &ExplainView) -> String {
    let mut out = format!("{}: {}\n", e.address, e.standing.words());
    if let Some(a) = &e.allowed {
        let _ = writeln!(out, "  on the allowlist as {}: {}", a.prefix, a.why);
    }
    if let Some(b) = &e.block {
        let verb = if e.standing == Standing::Blocked { "blocked" } else { "would be blocked" };
        let _ = writeln!(
            out,
            "  {verb} as {} by {}, {} left: {}",
            b.prefix,
            b.owner,
            span(b.remaining_seconds),
            b.reason
        );
        if let Some(n) = b.dropped_packets {
            let _ = writeln!(out, "  {n} packets dropped by this block");
        }
    }
    if let Some(known) = &e.known {
        out.push_str(&crate::intel::known(known));
    }
    if e.offences > 0 {
        let _ = writeln!(out, "  blocked {} times in memory", e.offences);
    }
    for i in &e.incidents {
        out.push_str(&incident(i));
    }
    if e.windows.is_empty() {
        let _ = writeln!(out, "  nothing seen of it in the last minute");
    }
    for w in &e.windows {
        let _ = writeln!(
            out,
            "  as {} in {} s: {} packets, {} bytes, {} back, {} flows, {} failed, {} SYN",
            w.role,
            w.span_seconds,
            w.packets,
            w.bytes,
            w.reply_packets,
            w.flows,
            w.failed_flows,
            w.syn_packets
        );
    }
    for note in &e.notes {
        let _ = writeln!(out, "  {note}");
    }
    out
}

fn incident(i: &IncidentView) -> String {
    let mut out = format!(
        "  incident {}: {} {} ({}), confidence {:.2}, {}\n",
        i.id,
        i.severity,
        i.classes.join(", "),
        i.kinds.join(", "),
        i.confidence,
        i.techniques.join(", ")
    );
    for e in &i.evidence {
        let bound = if e.at_least { "at or above" } else { "at or below" };
        let _ = writeln!(out, "    {} is {}, {bound} {}", e.metric, number(e.observed), number(e.threshold));
    }
    out
}

/// `status`.
///
/// # Errors
/// No agent.
pub fn status(args: &ClientArgs) -> anyhow::Result<Exit> {
    let data = ask(args, &Request::Status)?;
    show(args, data, report)
}

fn report(s: &Status) -> String {
    let mut out = format!(
        "autoinmune {} (process {}), up {}, {} mode{}\n",
        s.version,
        s.pid,
        span(s.uptime_seconds),
        s.mode.name(),
        if s.simulated { ", SIMULATED traffic" } else { "" }
    );
    for i in &s.interfaces {
        let _ = writeln!(
            out,
            "{}: {}{}, {} packets/s, {} bytes/s, {} dropped",
            i.attachment.name,
            i.attachment.mode,
            if i.attachment.egress { "" } else { " (incoming only)" },
            si(i.packets_per_second),
            si(i.bytes_per_second),
            si(i.dropped_packets as f64)
        );
        for f in &i.attachment.fallbacks {
            let _ = writeln!(out, "  fell back: {f}");
        }
    }
    for (index, w) in s.workers.iter().enumerate() {
        let _ = writeln!(
            out,
            "worker {index}: {} packets, {} flows, {} dropped",
            si(w.packets as f64),
            w.flows,
            si(w.dropped_packets as f64)
        );
    }
    let _ = writeln!(
        out,
        "{} flows, {} entities, {} open incidents, {} blocks, {} allowlist entries",
        s.flows, s.entities, s.incidents_open, s.blocks, s.allowlist
    );
    let _ = writeln!(
        out,
        "own load: {:.1} % of a processor, {}B resident",
        s.process.cpu_percent,
        si(s.process.resident_bytes as f64)
    );
    for p in s.programs.iter().filter(|p| p.runs > 0) {
        let _ = writeln!(
            out,
            "  {}: {} runs, {:.0} ns each",
            p.name,
            si(p.runs as f64),
            p.run_seconds / p.runs as f64 * 1e9
        );
    }
    if let (Some(p50), Some(p99)) = (s.reaction.p50_seconds, s.reaction.p99_seconds) {
        let _ = writeln!(
            out,
            "  {} blocks, in force after {:.2} ms (half of them), {:.2} ms (99 of 100)",
            s.reaction.blocks,
            p50 * 1e3,
            p99 * 1e3
        );
    }
    if let Some(totals) = &s.limits {
        let _ = writeln!(out, "{}", limited(totals));
    }
    if let Some(l) = &s.learned {
        let _ = writeln!(
            out,
            "  learned: {} flows judged ({} not normal), {} windows, {} signals, {} sources forgotten early",
            l.flows, l.flows_not_normal, l.windows, l.signals, l.sources_evicted
        );
    }
    if let Some(learner) = &s.learner {
        out.push_str(&crate::feedback::learner(learner));
    }
    let lost: Vec<String> =
        s.losses.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    let _ = writeln!(
        out,
        "losses: {}",
        if lost.is_empty() { format!("none ({} counters)", s.losses.len()) } else { lost.join(", ") }
    );
    if !s.traffic.top_sources.is_empty() {
        let _ = writeln!(out, "busiest sources of the last ten seconds:");
        let rows: Vec<Vec<String>> = s
            .traffic
            .top_sources
            .iter()
            .map(|t| {
                vec![
                    format!("  {}", t.address),
                    format!("{} packets", si(t.packets as f64)),
                    format!("{}B", si(t.bytes as f64)),
                ]
            })
            .collect();
        out.push_str(&table(&rows));
    }
    out
}
