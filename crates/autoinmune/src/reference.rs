//! Man pages and the Markdown reference, both from the command-line definition.

use crate::cli::Cli;
use crate::exit::Exit;
use anyhow::Context as _;
use clap::CommandFactory;
use std::path::Path;

/// Writes one man page per command into `dir`.
///
/// # Errors
/// If the directory or a page cannot be written.
pub fn man_pages(dir: &Path) -> anyhow::Result<Exit> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir)
        .with_context(|| format!("cannot write man pages to {}", dir.display()))?;
    Ok(Exit::Ok)
}

/// Every command with its help text, as docs/cli.md.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Command line\n\n\
         Generated from the command definitions by `cargo xtask docs`; do not edit.\n",
    );
    let mut root = Cli::command().disable_help_subcommand(true).term_width(100);
    root.build();
    section(&mut out, &mut root, "autoinmune");
    out
}

fn section(out: &mut String, command: &mut clap::Command, path: &str) {
    out.push_str(&format!(
        "\n## `{path}`\n\n```text\n{}\n```\n",
        command.render_help().to_string().trim_end()
    ));
    let names: Vec<String> =
        command.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned()).collect();
    for name in names {
        if let Some(sub) = command.find_subcommand_mut(&name) {
            section(out, sub, &format!("{path} {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_described() {
        let text = markdown();
        for name in [
            "demo",
            "run",
            "replay",
            "ban",
            "unban",
            "bans",
            "limits",
            "limits clear",
            "explain",
            "status",
            "doctor",
            "rules check",
            "config schema",
        ] {
            assert!(text.contains(&format!("## `autoinmune {name}`")), "{name} is missing");
        }
    }
}
