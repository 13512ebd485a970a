//! `doctor`: what this machine offers, each finding with its fix.

use crate::cli::Format;
use crate::exit::Exit;
use kernel::doctor::{Check, Status};

/// Runs the command; exit code 5 if something that `run` needs is missing.
///
/// # Errors
/// If the report cannot be printed.
pub fn run(format: Format) -> anyhow::Result<Exit> {
    let checks = kernel::doctor::checks(&[]);
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&checks)?),
        Format::Human => print!("{}", render(&checks)),
    }
    let failed = checks.iter().any(|c| c.status == Status::Fail);
    Ok(if failed { Exit::Kernel } else { Exit::Ok })
}

fn render(checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let mark = match check.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        out.push_str(&format!("{mark}  {}: {}\n", check.name, check.found));
        if let Some(fix) = &check.fix {
            out.push_str(&format!("      fix: {fix}\n"));
        }
    }
    out
}
