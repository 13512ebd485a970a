//! The reference of servers, acts and programs, from their tables: docs/lab-reference.md.

use crate::arguments::Parameter;
use crate::scenario::tool::Need;
use crate::scenario::{server, tool};
use crate::serve;
use crate::traffic::act;
use std::fmt::Write;

const INTRODUCTION: &str = "\
# The lab's servers, acts and programs

Generated from the tables of `crates/lab/src/serve`, `crates/lab/src/traffic/act` and `crates/lab/src/scenario` by
`cargo xtask docs`; do not edit. How scenarios use them is in [lab.md](lab.md).

Arguments are words `key=value`. Each has bounds, and no act runs longer than 120 s. Addresses must be loopback or lie in
the range that the command runs in; everything else is refused before a socket is opened. Most servers take port 0 for any
free port.

An act ends with one line of JSON: what it tried, what was done in full and what failed, the payload bytes of both
directions, and `flows`, one row for each kind of flow with protocol, addresses, ports and time span, from which labels are
written. A row without a port stands for more than one. Equal seeds give equal content, order and pauses; when exactly
packets leave, and from which ports, is the kernel's matter.

Hostile acts have the class of threat they are an example of. The others mean no harm and resemble an attack: what an agent
must leave alone.

Programs are run by templates: what a scenario may choose is listed below, and nothing else of a file reaches a command
line. Those that are not installed are named with their Debian package, and scenarios that need them are skipped.
";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n## Servers\n");
    for service in serve::all() {
        section(&mut out, service.name, service.about, "", service.parameters);
    }
    out.push_str("\n## Acts\n");
    for act in act::all() {
        let class = format!(" Class: `{}`.", act.class.unwrap_or("benign"));
        section(&mut out, act.name, act.about, &class, act.parameters);
    }
    out.push_str("\n## Programs\n");
    for t in tool::all() {
        let about = format!("{} Needs {}.", t.about, needs(t.needs));
        section(&mut out, t.name, &about, "", t.parameters);
    }
    out.push_str("\n## Real servers\n\n| Server | What it offers | Needs |\n|---|---|---|\n");
    for s in server::all() {
        // Writing to a text does not fail, here and below.
        let _ = writeln!(out, "| `{}` | {} | {} |", s.name, s.about, needs(s.needs));
    }
    out
}

/// Debian packages, each once.
fn needs(needs: &[Need]) -> String {
    if needs.is_empty() {
        return "nothing but this program".to_owned();
    }
    let mut packages: Vec<&str> = needs.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    packages.join(", ")
}

fn section(out: &mut String, name: &str, about: &str, more: &str, parameters: &[Parameter]) {
    let _ = write!(
        out,
        "\n### `{name}`\n\n{about}{more}\n\n| Argument | May be | Default | Meaning |\n|---|---|---|---|\n"
    );
    for p in parameters {
        let default = p.default.map_or_else(|| "must be given".to_owned(), |d| format!("`{d}`"));
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", p.name, p.kind, p.about);
    }
}
