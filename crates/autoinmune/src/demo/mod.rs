//! `autoinmune demo`: the main job shown in under a minute.

use crate::cli::DemoArgs;
use std::process::ExitCode;

/// Shows a real attack being recognised and blocked, or says why the kernel cannot be used and plays the same story
/// from a generated capture.
///
/// # Errors
/// What kept the demo from running at all.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let _ = args;
    anyhow::bail!("the demo is not built yet")
}
