//! Requests of the control socket, answered by the thread that owns the line.

use super::{Agent, wall_ns};
use crate::line::{Line, Tap as _};
use crossbeam_channel::{Receiver, Sender};
use flow::{Role, Span};
use respond::{Block, Mode, Prefix};
use serde_json::{Value, json};
use server::control::{AgentError, Code, Request};
use server::view::{AllowedView, BlockView, ExplainView, IncidentView, Standing, WindowView};
use std::time::Duration;
use wire::Addr;

/// Requests waiting at once; the control socket serves no more connections than this anyway.
const WAITING: usize = 32;
/// How long a request may wait for the agent's thread.
const PATIENCE: Duration = Duration::from_secs(5);

type Answer = Result<Value, AgentError>;

/// The agent's end: takes requests.
pub struct Desk {
    requests: Receiver<(Request, Sender<Answer>)>,
}

/// The control socket's end: hands requests over and waits.
pub struct Counter {
    requests: Sender<(Request, Sender<Answer>)>,
}

impl Desk {
    /// Both ends.
    pub fn open() -> (Self, Counter) {
        let (sender, receiver) = crossbeam_channel::bounded(WAITING);
        (Self { requests: receiver }, Counter { requests: sender })
    }

    /// The next request, if one waits.
    pub fn next(&self) -> Option<(Request, Sender<Answer>)> {
        self.requests.try_recv().ok()
    }
}

impl server::control::Agent for Counter {
    fn handle(&self, request: Request) -> Answer {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.requests
            .send_timeout((request, sender), PATIENCE)
            .map_err(|_| AgentError::new(Code::Busy, "the agent is busy or stopping; try again"))?;
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(AgentError::new(Code::Busy, "the agent did not answer in time; try again"))
        })
    }
}

/// Answers one request.
pub fn answer(agent: &mut Agent, request: Request) -> Answer {
    let Agent { learning, line, tap, .. } = &mut *agent;
    if let Some(answer) = learning.answer(&request, line, tap) {
        return answer;
    }
    match request {
        Request::Ping => Ok(json!({"pid": std::process::id(), "version": env!("CARGO_PKG_VERSION")})),
        Request::Status => {
            agent.publish();
            to_value(&agent.board.status())
        }
        Request::Bans => {
            let drops = agent.source.drops();
            let views: Vec<BlockView> = blocks(&agent.line, agent.config.policy.mode)
                .map(|b| view(b, agent.config.policy.mode, drops.get(&b.prefix).copied()))
                .collect();
            to_value(&views)
        }
        Request::Limits => to_value(&agent.source.limits()?),
        Request::ClearLimits { address } => to_value(&agent.source.clear_limits(address)?),
        Request::Incidents => to_value(&agent.line.book().open().map(incident).collect::<Vec<_>>()),
        Request::Intel => to_value(&agent.intel.figures()),
        Request::Explain { address } => to_value(&explain(agent, address)),
        Request::Ban { prefix, for_seconds, why } => {
            let prefix = parse(&prefix)?;
            let now = wall_ns();
            let ttl = for_seconds.saturating_mul(1_000_000_000);
            let decision = agent.line.responder_mut().ban(prefix, ttl, &why, now).map_err(|refusal| {
                agent.tap.decision(&refusal.decision(prefix, now));
                AgentError::new(Code::Refused, refusal.to_string())
            })?;
            agent.tap.decision(&decision);
            to_value(&decision)
        }
        Request::Unban { prefix } => {
            let prefix = parse(&prefix)?;
            let now = wall_ns();
            let decision = agent.line.responder_mut().unban(prefix, now).map_err(|refusal| {
                agent.tap.decision(&refusal.decision(prefix, now));
                AgentError::new(Code::Refused, refusal.to_string())
            })?;
            agent.tap.decision(&decision);
            to_value(&decision)
        }
        // Handled before: it replaces what this function borrows.
        Request::Reload => Err(AgentError::new(Code::Internal, "reload is answered elsewhere")),
        // Answered above.
        Request::Confirm { .. }
        | Request::Dismiss { .. }
        | Request::Feedback
        | Request::Retract { .. }
        | Request::Labelled
        | Request::Learner => Err(AgentError::new(Code::Internal, "learning does not answer")),
    }
}

fn to_value(v: &impl serde::Serialize) -> Answer {
    serde_json::to_value(v)
        .map_err(|e| AgentError::new(Code::Internal, format!("cannot write the answer: {e}")))
}

fn parse(prefix: &str) -> Result<Prefix, AgentError> {
    prefix.parse().map_err(|e: respond::PrefixError| AgentError::new(Code::BadRequest, e.to_string()))
}

fn blocks(line: &Line, mode: Mode) -> Box<dyn Iterator<Item = &Block> + '_> {
    match mode {
        Mode::Enforce => Box::new(line.responder().blocks()),
        Mode::Shadow => Box::new(line.responder().would_be_blocks()),
    }
}

fn view(block: &Block, mode: Mode, dropped: Option<u64>) -> BlockView {
    BlockView {
        prefix: block.prefix.to_string(),
        since_ns: block.since_ns,
        until_ns: block.until_ns,
        remaining_seconds: block.until_ns.saturating_sub(wall_ns()) as f64 / 1e9,
        owner: match block.owner {
            respond::Owner::Policy => "policy".into(),
            respond::Owner::Operator => "operator".into(),
        },
        reason: block.reason.clone(),
        incident: block.incident,
        offence: block.offence,
        enforced: mode == Mode::Enforce,
        dropped_packets: dropped,
    }
}

/// The view reads the incident's own JSON form.
fn incident(i: &detect::Incident) -> IncidentView {
    serde_json::to_value(i).and_then(serde_json::from_value).unwrap_or_default()
}

fn explain(agent: &Agent, address: Addr) -> ExplainView {
    let mode = agent.config.policy.mode;
    let known = agent.line.responder().explain(address, wall_ns());
    let mut notes = Vec::new();
    let block = known.blocks.first().or(known.would_block.as_ref());
    let standing = if known.allowed.is_some() {
        notes.push("nothing can block it while it is on the allowlist".to_owned());
        Standing::Allowed
    } else if !known.blocks.is_empty() {
        notes.push(format!("lift it with: autoinmune unban {}", known.blocks[0].prefix));
        Standing::Blocked
    } else if known.would_block.is_some() {
        notes.push("with --enforce it would be blocked now".to_owned());
        Standing::WouldBlock
    } else {
        Standing::Free
    };
    if known.pardoned_until_ns.is_some() {
        notes.push("an operator lifted its block; policy leaves it alone for a while".to_owned());
    }
    let census = agent.line.census();
    let mut windows = Vec::new();
    for role in [Role::Source, Role::Target] {
        let Some(entity) = census.entity_at(address, role) else { continue };
        for span in Span::ALL {
            let w = entity.current(span);
            // A window that ran out describes the past; the wall clock may also be behind a replayed time.
            if w.packets + w.reply_packets == 0
                || agent.line.now_ns().saturating_sub(w.start_ns) > span.nanos()
            {
                continue;
            }
            windows.push(WindowView {
                role: match role {
                    Role::Source => "source".into(),
                    Role::Target => "target".into(),
                },
                span_seconds: span.nanos() / 1_000_000_000,
                packets: w.packets.into(),
                bytes: w.bytes,
                reply_packets: w.reply_packets.into(),
                flows: w.flows.into(),
                failed_flows: w.failed_flows.into(),
                syn_packets: w.syn_packets.into(),
            });
        }
    }
    ExplainView {
        address,
        standing,
        allowed: known.allowed.map(|a| AllowedView { prefix: a.prefix.to_string(), why: a.why }),
        block: block.map(|b| view(b, mode, agent.source.drops().get(&b.prefix).copied())),
        known: agent.intel.about(address),
        offences: known.offences,
        incidents: agent.line.incidents_about(address).into_iter().map(incident).collect(),
        windows,
        notes,
    }
}
