//! The datasheet as Markdown.

use super::{Block, Facts, blocks};
use std::fmt::Write as _;

/// The whole text.
#[must_use]
pub fn markdown(facts: &Facts<'_>) -> String {
    let mut out = format!("# Datasheet of {}\n", cell(&facts.dataset.path().display().to_string()));
    // Writing to a String does not fail.
    for block in blocks(facts) {
        let _ = match block {
            Block::Heading(text) => writeln!(out, "\n## {}", cell(&text)),
            Block::Text(text) => writeln!(out, "\n{text}"),
            Block::Table(header, rows) => {
                let line = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|c| cell(c)).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                let rule = vec!["---".to_owned(); header.len()];
                let rows: String = rows.iter().map(|r| line(r)).collect();
                write!(out, "\n{}{}{rows}", line(&header), line(&rule))
            }
            Block::Plot(_) | Block::Plots(_) => Ok(()),
        };
    }
    out
}

/// Names of columns and classes come from files: what would end a cell or begin markup is set off.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '<' | '[' | ']' | '*' | '`' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
