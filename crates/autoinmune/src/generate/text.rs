//! The words of `generate`: progress in one line, the state in a few, the report at the end.

use crate::text::{si, span, table};
use lab::visit::Report;
use lab::visit::plan::Mode;
use lab::visit::sites::Category;
use lab::visit::statistics::{Count, Failure, Kind, Statistics};
use std::fmt::Write as _;

/// Countries listed in the report; the JSON has them all.
const MAX_COUNTRIES: usize = 20;
/// Countries in the live view.
const LIVE_COUNTRIES: usize = 10;
/// Characters of the bar.
const BAR: usize = 30;

/// How far the run is, 0 to 1: by the plan where it has an end, or by time, whichever is further.
pub fn share(report: &Report, seconds: f64) -> f64 {
    let by_plan = report.planned.map_or(0.0, |n| report.statistics.visits as f64 / n.max(1) as f64);
    by_plan.max(report.elapsed_s / seconds.max(1.0)).min(1.0)
}

/// The bar of the live view.
pub fn bar(share: f64) -> String {
    let full = ((share * BAR as f64) as usize).min(BAR);
    format!("[{}{}] {:3.0} %", "#".repeat(full), "-".repeat(BAR - full), share * 100.0)
}

/// Totals in one line; `rate` is requests answered per second lately.
pub fn totals(report: &Report, rate: f64) -> String {
    let total = report.statistics.total;
    format!(
        "{} visits, {} requests answered ({}/s), {} failed, {} under way, {}B",
        si(report.statistics.visits as f64),
        si(total.completed as f64),
        si(rate.round()),
        si(total.failed as f64),
        total.open(),
        si(total.bytes as f64)
    )
}

/// Answers by kind.
pub fn kinds(statistics: &Statistics) -> String {
    let counts = Kind::ALL.map(|k| (k.name().to_owned(), statistics.kind(k).completed));
    format!("answered: {}", listed(counts))
}

/// Answers by category.
pub fn categories(statistics: &Statistics) -> String {
    let counts = Category::ALL.map(|c| (c.name().to_owned(), statistics.categories[c as usize].completed));
    format!("categories: {}", listed(counts))
}

/// Answers by country, those with the most.
pub fn countries(statistics: &Statistics) -> String {
    let mut counts: Vec<_> =
        statistics.countries.iter().map(|(c, count)| (c.to_string(), count.completed)).collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let number = counts.iter().filter(|(_, n)| *n > 0).count();
    counts.truncate(LIVE_COUNTRIES);
    format!("{number} countries: {}", listed(counts))
}

/// Failures and what was not requested.
pub fn failures(statistics: &Statistics) -> String {
    let counts = Failure::ALL.map(|f| (f.to_string(), statistics.failures(f)));
    let skipped = statistics.skipped;
    format!(
        "failed: {}; not asked: {} by robots.txt, {} for a turn too late",
        listed(counts),
        skipped.robots,
        skipped.busy
    )
}

/// Names with their counts, without those that are zero.
fn listed(counts: impl IntoIterator<Item = (String, u64)>) -> String {
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{name} {}", si(n as f64)))
        .collect();
    if counts.is_empty() { "none".into() } else { counts.join(", ") }
}

/// The report at the end.
pub fn report(report: &Report, interrupted: bool) -> String {
    let statistics = &report.statistics;
    let about = &report.about;
    let mode = match about.mode {
        Mode::Continuous => "continuous",
        Mode::Turbo => "turbo",
        Mode::SingleBatch => "single-batch",
    };
    let target = match (about.lab, about.unlimited) {
        (true, true) => "the lab's servers, without limits per site",
        (true, false) => "the lab's servers",
        (false, _) => "real sites",
    };
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}{} visits to {target} in {} (mode {mode}, {} threads, seed {}, {} sites, {} services).",
        if interrupted { "Interrupted after " } else { "" },
        statistics.visits,
        span(report.elapsed_s),
        about.threads,
        about.seed,
        about.sites,
        about.services
    );
    let _ = writeln!(
        out,
        "{} requests: {} answered ({:.1}/s), {} failed, {} given up at the end; {}B received; {} answers cut.",
        statistics.total.started,
        statistics.total.completed,
        report.requests_per_s,
        statistics.total.failed,
        report.open,
        si(statistics.total.bytes as f64),
        statistics.cut
    );
    let quantile = |q: f64| statistics.latency.quantile(q).map_or(0.0, |d| d.as_secs_f64() * 1000.0);
    let _ = writeln!(
        out,
        "Time to the end of an answer: half within {:.1} ms, 95 % within {:.1} ms.",
        quantile(0.5),
        quantile(0.95)
    );
    let _ = writeln!(
        out,
        "Not asked for: {} that a robots.txt disallows, {} whose turn would have come too late.\n",
        statistics.skipped.robots, statistics.skipped.busy
    );
    let kinds = Kind::ALL.map(|k| (k.name().to_owned(), statistics.kind(k)));
    out += &counts("KIND", kinds);
    let categories = Category::ALL.map(|c| (c.name().to_owned(), statistics.categories[c as usize]));
    out.push('\n');
    out += &counts("CATEGORY", categories);
    let mut countries: Vec<(String, Count)> =
        statistics.countries.iter().map(|(c, n)| (c.to_string(), *n)).collect();
    countries.sort_by_key(|(_, n)| std::cmp::Reverse(n.started));
    let more = countries.len().saturating_sub(MAX_COUNTRIES);
    countries.truncate(MAX_COUNTRIES);
    out.push('\n');
    out += &counts("COUNTRY", countries);
    if more > 0 {
        let _ = writeln!(out, "and {more} more countries; -o json lists them all");
    }
    let failed: Vec<Vec<String>> = Failure::ALL
        .into_iter()
        .filter(|f| statistics.failures(*f) > 0)
        .map(|f| vec![f.to_string(), statistics.failures(f).to_string()])
        .collect();
    if !failed.is_empty() {
        out.push('\n');
        out += &table(&[vec![vec!["FAILURE".into(), "REQUESTS".into()]], failed].concat());
    }
    out
}

/// A table of counts; rows without a request are left out.
fn counts(title: &str, rows: impl IntoIterator<Item = (String, Count)>) -> String {
    let mut cells = vec![[title, "REQUESTS", "ANSWERED", "FAILED", "BYTES"].map(str::to_owned).to_vec()];
    for (name, count) in rows {
        if count.started > 0 {
            let figures = [count.started, count.completed, count.failed].map(|n| n.to_string());
            cells.push([vec![name], figures.to_vec(), vec![si(count.bytes as f64)]].concat());
        }
    }
    table(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        for (share, full) in [(0.0, 0), (0.5, BAR / 2), (1.0, BAR)] {
            let expected =
                format!("[{}{}] {:3.0} %", "#".repeat(full), "-".repeat(BAR - full), share * 100.0);
            assert_eq!(bar(share), expected);
        }
    }

    #[test]
    fn counts_without_requests_are_not_listed() {
        let some = Count { started: 3, completed: 2, failed: 1, bytes: 2000 };
        let text = counts("KIND", [("page".into(), some), ("ntp".into(), Count::default())]);
        assert_eq!(text, "KIND  REQUESTS  ANSWERED  FAILED  BYTES\npage  3         2         1       2k\n");
        assert_eq!(listed([("a".into(), 0), ("b".into(), 2)]), "b 2");
        assert_eq!(listed([]), "none");
    }
}
