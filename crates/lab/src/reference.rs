//! The reference of servers and acts, from their tables: docs/lab-reference.md.

use crate::arguments::Parameter;
use crate::serve;
use crate::traffic::act;
use std::fmt::Write;

const INTRODUCTION: &str = "\
# The lab's servers and acts

Generated from the tables of `crates/lab/src/serve` and `crates/lab/src/traffic/act` by `cargo xtask docs`; do not edit.
How scenarios use them is in [lab.md](lab.md).

Arguments are words `key=value`. Each has bounds, and no act runs longer than 120 s. Addresses must be loopback or lie in
the range that the command runs in; everything else is refused before a socket is opened. Most servers take port 0 for any
free port.

An act ends with one line of JSON: what it tried, what was done in full and what failed, the payload bytes of both
directions, and `flows`, one row for each kind of flow with protocol, addresses, ports and time span, from which labels are
written. A row without a port stands for more than one. Equal seeds give equal content, order and pauses; when exactly
packets leave, and from which ports, is the kernel's matter.

Hostile acts have the class of threat they are an example of. The others mean no harm and resemble an attack: what an agent
must leave alone.
";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n## Servers\n");
    for service in serve::all() {
        section(&mut out, service.name, service.about, None, service.parameters);
    }
    out.push_str("\n## Acts\n");
    for act in act::all() {
        section(&mut out, act.name, act.about, Some(act.class.unwrap_or("benign")), act.parameters);
    }
    out
}

fn section(out: &mut String, name: &str, about: &str, class: Option<&str>, parameters: &[Parameter]) {
    let class = class.map_or_else(String::new, |class| format!(" Class: `{class}`."));
    // Writing to a text does not fail.
    let _ = write!(
        out,
        "\n### `{name}`\n\n{about}{class}\n\n| Argument | May be | Default | Meaning |\n|---|---|---|---|\n"
    );
    for p in parameters {
        let default = p.default.map_or_else(|| "must be given".to_owned(), |d| format!("`{d}`"));
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", p.name, p.kind, p.about);
    }
}
