//! Project tasks: `cargo xtask <task>`.
//!
//! A task is a function in a module of its own; this file only finds it by name.

mod bench;
mod bpf;
mod contract;
mod docs;
mod e2e;
mod exactness;
mod scoreboard;
mod sections;
mod shell;
mod soak;
mod test;
mod text;

use std::process::ExitCode;

/// Name, arguments and purpose of each task, in the order of the help text.
const TASKS: [(&str, &str, &str); 10] = [
    (
        "test",
        "[-v] [--no-e2e] [--no-soak] [-p NAME]…",
        "run every test and check that can run here, list those that cannot",
    ),
    ("docs", "[--check]", "write the generated documents, or fail if one differs from its source"),
    ("bench", "[--quick] [--section NAME]…", "measure, print, and write docs/benchmarks.md"),
    (
        "exactness",
        "[--check] [--program PATH] [--section NAME]…",
        "compare verdicts on shared captures with what others say of them, and write docs/exactness.md",
    ),
    (
        "e2e",
        "[--check] [--jobs N] [--program PATH] [SCENARIO]…",
        "play the lab's scenarios against the agent, and write docs/lab-scoreboard.md",
    ),
    (
        "scoreboard",
        "[--program PATH] [--section NAME]…",
        "train and test classifiers on shared data, and write docs/SCOREBOARD.md",
    ),
    (
        "text",
        "[--check] [usernames] [domains]",
        "train the classifiers of names and domains anew, and write their figures, or compare",
    ),
    (
        "soak",
        "[--minutes N] [--rate N] [--program PATH] [--write]",
        "keep detector and agent under load, and fail if their memory grows",
    ),
    ("contract", "", "let Schemathesis test a detector against docs/openapi.json"),
    ("bpf", "[--check]", "compile the kernel programs, or fail if they differ from their sources"),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next();
    let rest: Vec<String> = args.collect();
    let done = match task.as_deref() {
        Some("test") => test::run(&rest),
        Some("docs") => docs::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("exactness") => exactness::run(&rest),
        Some("e2e") => e2e::run(&rest),
        Some("scoreboard") => scoreboard::run(&rest),
        Some("text") => text::run(&rest),
        Some("soak") => soak::run(&rest),
        Some("contract") => contract::run(&rest),
        Some("bpf") => bpf::run(&rest).map(|()| true),
        Some("help" | "--help" | "-h") => {
            print!("{}", help());
            Ok(true)
        }
        _ => {
            eprint!("{}", help());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut text = String::from("Usage: cargo xtask <task>\n\n");
    for (name, args, purpose) in TASKS {
        text.push_str(&format!("  {:22} {purpose}\n", format!("{name} {args}")));
    }
    text
}
