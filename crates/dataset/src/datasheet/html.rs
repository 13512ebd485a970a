//! The datasheet as one HTML file: style and plots within, no scripts, nothing loaded from elsewhere.

use super::plot::escape;
use super::{Block, Facts, blocks};
use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1a2430; --soft: #5b6b7b; --line: #d5dce3; --bar: #2f6f9f; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dfe6ec; --soft: #93a1ae; --line: #34414d; --bar: #6aaedb; --page: #12181e; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
td { overflow-wrap: anywhere; max-width: 24rem; }
figure { margin: 1rem 0; }
figcaption { color: var(--soft); font-size: .85rem; margin-bottom: .2rem; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg rect { fill: var(--bar); }
svg line { stroke: var(--line); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0 1.5rem; }
";

/// A page with a title, which may hold anything, around a body of HTML; `style` is added to that of all pages.
#[must_use]
pub fn page(title: &str, style: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

/// The whole datasheet.
#[must_use]
pub fn html(facts: &Facts<'_>) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    for block in blocks(facts) {
        let _ = match block {
            Block::Heading(text) => writeln!(out, "<h2>{}</h2>", escape(&text)),
            Block::Text(text) => writeln!(out, "<p>{}</p>", escape(&text).replace('`', "")),
            Block::Table(header, rows) => writeln!(out, "{}", table(&header, &rows)),
            Block::Plot(bars) => writeln!(out, "{}", bars.figure()),
            Block::Plots(all) => {
                let figures: String = all.iter().map(super::plot::Bars::figure).collect();
                writeln!(out, "<div class=\"plots\">{figures}</div>")
            }
        };
    }
    page(&format!("Datasheet of {}", facts.dataset.path().display()), "", &out)
}

/// A table of cells that may hold anything.
#[must_use]
pub fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect()
    };
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", line(row, "td"))).collect();
    let head = line(header, "th");
    format!(
        "<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
    )
}
