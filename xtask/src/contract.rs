//! `cargo xtask contract`: Schemathesis against a detector and docs/openapi.json.
//!
//! It makes requests from the document, good and bad ones, and fails where an answer is not what the document says. It comes
//! from PyPI: from the Python that `AUTOINMUNE_PYTHON` names, from the path, or installed with pip into a folder under target/.
//! Where none of these is possible the check is skipped.

use crate::shell;
use crate::soak::programs;
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the check is called, also where it is skipped.
pub(crate) const NAME: &str = "contract";
/// The version that is installed where there is none.
const VERSION: &str = "4.32.0";
/// Runs it from a Python that has it.
const RUN: &str = "from schemathesis.cli import schemathesis; schemathesis()";
/// Longest run, s: what has not been tried by then is left out.
const SECONDS: &str = "60";
/// Requests made at random for each operation, beside those that cover the document systematically.
const EXAMPLES: &str = "30";
/// The same requests each time.
const SEED: &str = "1";
/// Longest time for an answer, s. The machine may be busy.
const PATIENCE: &str = "30";

/// Runs it; whether nothing was found.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    anyhow::ensure!(args.is_empty(), "unknown argument '{}'; usage: cargo xtask contract", args[0]);
    let Some(mut command) = schemathesis() else {
        println!(
            "skipped: {NAME}: Schemathesis is not installed and pip cannot install it; set AUTOINMUNE_PYTHON to a Python that \
             has it"
        );
        return Ok(true);
    };
    let built = shell::cargo(&["build", "--quiet", "--package", "autoinmune"]).status();
    anyhow::ensure!(built.context("cannot run cargo")?.success(), "the program does not build");
    let target = shell::root().join("target");
    let folder = target.join("contract");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (detector, address) = programs::detector(None, &target.join("debug/autoinmune"), &folder)?;
    command.arg("run").arg(shell::root().join("docs/openapi.json"));
    command.args(["--url", &format!("http://{address}"), "--seed", SEED, "--max-examples", EXAMPLES]);
    command.args(["--max-time", SECONDS, "--request-timeout", PATIENCE]);
    // What it found in earlier runs is no part of this one.
    command.args(["--generation-database", "none", "--no-color"]).current_dir(&folder);
    let good = command.stdin(Stdio::null()).status().context("cannot run Schemathesis")?.success();
    // It must have survived, too.
    detector.stop()?;
    Ok(good)
}

/// A command that runs it, if there is one or one can be had.
fn schemathesis() -> Option<Command> {
    let of = |python: &str, folder: Option<&Path>| {
        let mut command = Command::new(python);
        command.args(["-c", RUN]);
        if let Some(folder) = folder {
            command.env("PYTHONPATH", folder);
        }
        command
    };
    let works = |make: &dyn Fn() -> Command| {
        let mut asked = make();
        asked.arg("--version");
        shell::succeeds(asked).then(make)
    };
    let named = std::env::var("AUTOINMUNE_PYTHON").ok();
    let folder: PathBuf = shell::root().join("target/python").join(format!("schemathesis-{VERSION}"));
    let own = || of("python3", Some(&folder));
    named
        .and_then(|python| works(&|| of(&python, None)))
        .or_else(|| works(&|| Command::new("schemathesis")))
        .or_else(|| works(&own))
        .or_else(|| {
            install(&folder)?;
            works(&own)
        })
}

/// Installs it into a folder of its own, which `cargo clean` removes.
fn install(folder: &Path) -> Option<()> {
    let package = format!("schemathesis=={VERSION}");
    let mut pip =
        shell::command("python3", &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--target"]).arg(folder).arg(package);
    shell::succeeds(pip).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_arguments() {
        assert!(run(&["--quick".to_owned()]).is_err());
    }
}
