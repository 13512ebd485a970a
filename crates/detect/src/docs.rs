//! docs/rules.md, from the rules and the tables of metrics and fields.

use crate::field::Field;
use crate::metric::Metric;
use crate::profile::Subject;
use crate::rule::Rule;
use crate::{Class, RuleSet};
use std::fmt::Write;

/// The whole page for the shipped rules.
#[must_use]
pub fn rules_markdown() -> String {
    let set = RuleSet::builtin();
    let mut page = String::from(INTRODUCTION);
    let mut class: Option<Class> = None;
    for rule in set.rules() {
        if class != Some(rule.class) {
            class = Some(rule.class);
            line(&mut page, &format!("\n## {}", rule.class.name()));
        }
        describe(&mut page, rule);
    }
    tables(&mut page);
    page
}

const INTRODUCTION: &str = "\
# Rules

Generated from `rules/*.toml` and from the metric tables in `crates/detect`; to change it, change those and run
`UPDATE_GOLDEN=1 cargo test -p detect`.

A rule judges one entity: what a source did (`source`), or what was done to a target (`target`), in a window of 1, 10 or
60 s. All its conditions must hold. A quantity that cannot be computed satisfies no condition. Windows open with an
entity's first activity and are judged while they run, so an alarm comes when a threshold is crossed, not when the window
is over. A flow-count rule instead counts finished connections of one source to one service within a sliding span. Other rules
are about what a profile observed: a bounded memory of what hosts make of a protocol, described with its metrics at the
end of this page.

The confidence of a signal is 1 − (1 − c) / √x, at most 0.99, where c is the rule's confidence and x the smallest ratio of
observed to threshold over its `at least` conditions. A rule speaks about the same entity at most once in its span (30 s
for the 60-s span).

Every threshold can be changed in the configuration, and rules can be switched off or kept from blocking:

```toml
[rules.scan-vertical]
may_block = false
when.failed_ports.at_least = 50
```

Rules of your own have the same form as the files in `rules/`; use a `sid` from 9000000. `autoinmune rules check FILE` reads
them and runs their test vectors.
";

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn describe(page: &mut String, rule: &Rule) {
    line(page, &format!("\n### {}: {}\n", rule.id, rule.name));
    line(
        page,
        "| sid | revision | kind | severity | technique | tactic | about | span | confidence | may block |",
    );
    line(page, "|---|---|---|---|---|---|---|---|---|---|");
    let technique = rule.technique.replace('.', "/");
    line(
        page,
        &format!(
            "| {} | {} | {} | {} | [{}](https://attack.mitre.org/techniques/{technique}/) | {} | {} | {} s | {} | {} |",
            rule.sid,
            rule.rev,
            rule.kind,
            format!("{:?}", rule.severity).to_lowercase(),
            rule.technique,
            rule.tactic,
            about(rule),
            rule.span.seconds(),
            rule.confidence,
            if rule.may_block { "yes" } else { "no, alert only" },
        ),
    );
    line(page, "\nAll of:\n");
    for (metric, bound) in &rule.when {
        line(page, &format!("- `{metric}` {bound} {}", metric.unit()));
    }
    if let Some(filter) = &rule.flows {
        let app = filter.app.name();
        let ports: Vec<String> = filter.ports.iter().map(u16::to_string).collect();
        line(
            page,
            &format!(
                "\ncounting finished connections whose content is {app} on any port (port {} where no content was seen), \
                 with:\n",
                ports.join(" or ")
            ),
        );
        for (field, bound) in &filter.r#where {
            line(page, &format!("- `{field}` {bound} {}", field.unit()));
        }
    }
    for (title, text) in [
        ("Sees", &rule.doc.sees),
        ("Why it is hostile", &rule.doc.hostile),
        ("Benign look-alikes", &rule.doc.benign),
        ("Blind spot", &rule.doc.blind),
    ] {
        line(page, &format!("\n**{title}.** {}", text.trim()));
    }
    for reference in &rule.references {
        line(page, &format!("\nSee <{reference}>."));
    }
    line(page, "\nTested with:\n");
    for vector in &rule.vectors {
        let outcome = match vector.expect {
            crate::vector::Expect::Fires => "fires",
            crate::vector::Expect::Silent => "does not fire",
            crate::vector::Expect::Nothing => "no rule fires",
        };
        line(page, &format!("- {}: {outcome}", vector.name));
    }
}

/// Whose window, or which profile.
fn about(rule: &Rule) -> String {
    if rule.subject.is_window() {
        format!("{:?}", rule.role).to_lowercase()
    } else {
        format!("`{}`", rule.subject.name())
    }
}

fn tables(page: &mut String) {
    for subject in Subject::ALL {
        line(page, &format!("\n## Metrics of `{}`\n\n{}\n", subject.name(), subject.meaning()));
        line(page, "| metric | unit | meaning |\n|---|---|---|");
        for metric in Metric::ALL.iter().filter(|m| m.subject() == *subject) {
            row(page, metric.name(), metric.unit(), metric.meaning());
        }
    }
    line(
        page,
        "\n## Fields of a flow\n\nFor the `flows.where` table of flow-count rules.\n\n| field | unit | meaning |\n|---|---|---|",
    );
    for field in Field::ALL {
        row(page, field.name(), field.unit(), field.meaning());
    }
    line(page, VECTORS);
}

fn row(page: &mut String, name: &str, unit: &str, meaning: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "| `{name}` | {unit} | {meaning} |");
}

const VECTORS: &str = "
## Test vectors

Each rule carries traffic on which it must fire and traffic on which it must not; `autoinmune rules check` and the tests
run all of them through the flow table and the detector. A vector has a `name`, an `expect` (`fires`, `silent`: not this rule,
`nothing`: no rule at all) and `traffic`, a list of activities:

| key | meaning |
|---|---|
| `from`, `sources` | first sender, and how many with consecutive addresses take turns (1) |
| `to`, `hosts` | first receiver, and how many with consecutive addresses (1) |
| `port`, `ports` | first destination port, and how many consecutive ones are visited in turn (1) |
| `send` | `syn`, `fin`, `null`, `xmas`, `udp`, `echo`, `session` for a whole TCP connection; `conflict` (a connection that says `hello` twice in different words), `overlap`, `tiny_fragments` (a datagram in odd fragments), `arp_request`, `arp_reply`; `dns` for a query; `kerberos_as`, `kerberos_tgs` for a request of a first ticket or of the ticket of a service; `slow_head`, `slow_body`, `slow_read` (an HTTP connection whose request, body or answer does not end, a piece each `turn_ms`), `long_poll` |
| `answer` | `none`, `rst`, `half_open` (SYN+ACK, then the sender resets), `abort` (handshake, then the sender resets), `reply` |
| `count`, `every_ms`, `start_ms` | how often (once for each port of each host), ms between two (10), ms before the first (0) |
| `same_port` | one source port for all (false) |
| `local` | the sender's port, instead of one from 32768 up |
| `query`, `qtype`, `rcode` | name a DNS query asks for, with `{n}`, `{word}`, `{hex:8}`, `{letters:8}`, `{base32:8}` or `{spoken:8}` in it; its type (1); response code of the answers (0) |
| `offer`, `etype`, `proof` | encryption types a Kerberos request offers (18, 17, 23), the one of the ticket of a service or of the user's part of a first ticket (18), whether the request proves who asks (false); `query` is the user or the service, `rcode` the error |
| `hold_ms` | ms that a connection is held by `slow_head`, `slow_body`, `slow_read`, `long_poll` |
| `window` | receive window the sender states (64240) |
| `jitter` | share of `every_ms` by which each is early or late at most (0) |
| `more_replies` | answers to each UDP packet or echo request beyond the first (0) |
| `size`, `reply_size` | payload bytes of UDP packets and echo requests (0), and of the answers (the same) |
| `mac` | last byte of the hardware address that an ARP packet claims from |
| `greeting`, `hello` | what receiver and sender say first in a session, or in a datagram and its answer; `hex:` introduces bytes |
| `dialogue` | what sender and receiver say in turn after that |
| `exchange`, `turn_ms` | payload sizes, sender and receiver in turn, 0 skips one; ms between turns (5) |
| `download`, `upload` | full-sized segments from the receiver, from the sender, at the end of a session |";
