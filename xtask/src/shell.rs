//! Running other programs, always from the root of the repository.

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// A command that runs in the root of the repository.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this task, so that `cargo +toolchain xtask` stays with its toolchain.
pub(crate) fn cargo(args: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args)
}

/// The program to try: the one given, or else the development build, made now.
pub(crate) fn program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    }
    let built = cargo(&["build", "--quiet", "--package", "autoinmune"]).status();
    anyhow::ensure!(built.context("cannot run cargo")?.success(), "the program does not build");
    Ok(root().join("target/debug/autoinmune"))
}

/// Whether the command starts and succeeds; its output is not shown.
pub(crate) fn succeeds(mut command: Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Standard output of a command that must succeed; standard error is shown.
pub(crate) fn output(mut command: Command) -> anyhow::Result<Vec<u8>> {
    let name = format!("{command:?}");
    let done = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {name}"))?;
    anyhow::ensure!(done.status.success(), "{name} failed: {}", done.status);
    Ok(done.stdout)
}
