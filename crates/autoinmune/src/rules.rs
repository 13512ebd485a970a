//! `rules list` and `rules check`.

use crate::cli::Format;
use crate::config;
use crate::exit::{Exit, fail};
use crate::text::{number, table};
use detect::RuleSet;
use std::path::{Path, PathBuf};

/// Lists the rules in force.
///
/// # Errors
/// If the configuration is wrong.
pub fn list(file: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let config = config::resolve(file)?;
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(config.rules.rules())?),
        Format::Human => {
            let mut rows = vec![
                ["SID", "RULE", "CLASS", "SEVERITY", "TECHNIQUE", "MAY BLOCK", "WHEN"]
                    .map(str::to_owned)
                    .to_vec(),
            ];
            for r in config.rules.rules() {
                rows.push(vec![
                    r.sid.to_string(),
                    if r.enabled { r.id.to_string() } else { format!("{} (off)", r.id) },
                    r.class.name().to_owned(),
                    format!("{:?}", r.severity).to_lowercase(),
                    r.technique.to_string(),
                    if r.may_block { "yes" } else { "alert only" }.to_owned(),
                    r.condition(),
                ]);
            }
            print!("{}", table(&rows));
        }
    }
    Ok(Exit::Ok)
}

/// Checks rule files, or the built-in rules, and runs their test vectors.
///
/// # Errors
/// Syntax, unknown names, or a vector that does not come out as stated; exit code 3.
pub fn check(files: &[PathBuf], format: Format) -> anyhow::Result<Exit> {
    let rules = if files.is_empty() {
        RuleSet::builtin()
    } else {
        let mut texts = Vec::new();
        for path in files {
            let text = std::fs::read_to_string(path)
                .map_err(|e| fail(Exit::Config, format!("cannot read {}: {e}", path.display())))?;
            texts.push((path.display().to_string(), text));
        }
        let texts: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        RuleSet::load(&texts).map_err(|e| fail(Exit::Config, e.to_string()))?
    };
    let report = rules.check();
    let failed = report.iter().filter(|v| v.failure.is_some()).count();
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Format::Human => {
            for v in report.iter().filter(|v| v.failure.is_some()) {
                println!("{}: vector '{}': {}", v.rule, v.vector, v.failure.as_deref().unwrap_or_default());
            }
            println!(
                "{} rules, {} vectors, {} failed",
                number(rules.rules().len() as f64),
                number(report.len() as f64),
                failed
            );
        }
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Config })
}
