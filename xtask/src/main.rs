//! Project tasks: `cargo xtask <task>`.

mod bpf;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask <task>

tasks:
  bpf [--check]   build the kernel programs, or check that the committed objects are those of their sources";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((task, rest)) => match task.as_str() {
            "bpf" => bpf::run(rest),
            _ => bail!("no task '{task}'\n{USAGE}"),
        },
        None => bail!("{USAGE}"),
    }
}
