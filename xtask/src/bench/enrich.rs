//! What is known of addresses: the cost of an answer, and whether reloads are felt.

use super::figure::{Aim, Figure, Section};
use super::{Setup, progress};
use crate::shell;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Bytes that a million prefixes may take.
const MEMORY: f64 = 64.0;

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(_: &Setup) -> anyhow::Result<Section> {
    let database = std::env::var_os("AUTOINMUNE_DATA")
        .map_or_else(|| shell::root().join("../shared/data"), PathBuf::from)
        .join("geoip/dbip-country/dbip-country.mmdb");
    progress("enrich: building the example lookup_rate");
    let mut command =
        shell::cargo(&["run", "--quiet", "--release", "--package", "enrich", "--example", "lookup_rate"]);
    if database.exists() {
        command.arg("--").arg(&database);
    }
    let output = command.output().context("cannot run cargo")?;
    anyhow::ensure!(
        output.status.success(),
        "lookup_rate failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let found: BTreeMap<&str, f64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let value = |name: &str| found.get(name).copied().with_context(|| format!("no figure for {name}"));

    let mut section = Section::new(
        "The example `lookup_rate` of the crate `enrich`. Costs are processor time of one thread per answer over a million \
         questions, medians of seven rounds; half of the questions to the tables are about listed addresses, in no order. \
         \"Spread\" tables hold addresses drawn evenly, half of them networks; \"crowded\" ones mostly those of few networks, as \
         lists do. Questions follow each other at once, so that a processor reads memory for several at a time; \"each after the \
         answer before\" keeps it from that. Beside the first stands one sorted vector of the same prefixes, searched by halves, \
         beside the second the standard library's hash map of the listed addresses, which knows no networks. Times of the clock \
         on the wall have in them what else runs on the machine.",
    );
    section.push(Figure::new("one read of memory at random, for scale", value("memory_ns")?, "ns"));
    for (key, name) in [
        ("v4", "IPv4, spread"),
        ("v4_crowded", "IPv4, crowded"),
        ("v6", "IPv6, spread"),
        ("v6_crowded", "IPv6, crowded"),
    ] {
        section.push(
            Figure::new(
                format!("1,000,000 reputation prefixes, {name}: look up"),
                value(&format!("{key}_ns"))?,
                "ns",
            )
            .aim(Aim::AtMost(200.0))
            .baseline(value(&format!("{key}_sorted_ns"))?, "sorted vector"),
        );
        section.push(
            Figure::new("the same, each after the answer before", value(&format!("{key}_chained_ns"))?, "ns")
                .baseline(value(&format!("{key}_hash_ns"))?, "hash map, not chained"),
        );
        section.push(
            Figure::new(
                "its memory, with what the next merge needs",
                value(&format!("{key}_bytes"))? / 1e6,
                "MB",
            )
            .aim(Aim::AtMost(MEMORY)),
        );
    }
    section.push(
        Figure::new("all that is known of an address, from the cache", value("cached_ns")?, "ns")
            .aim(Aim::AtMost(1000.0)),
    );
    section.push(
        Figure::new(
            "the same, from a database of countries and a list of a million",
            value("uncached_ns")?,
            "ns",
        )
        .aim(Aim::AtMost(5000.0)),
    );
    section.push(Figure::new("reading both anew", value("reload_ms")?, "ms"));
    for (clock, of) in [("cpu", "processor time"), ("wall", "clock on the wall")] {
        for (key, what) in [("p50", "half"), ("p9999", "9,999 of 10,000"), ("longest", "all")] {
            section.push(
                Figure::new(
                    format!("answers while another thread reads both anew, {of}: {what} within"),
                    value(&format!("reloading_{clock}_{key}_ns"))? / 1e3,
                    "µs",
                )
                .baseline(value(&format!("quiet_{clock}_{key}_ns"))? / 1e3, "nobody reads"),
            );
        }
    }
    if value("database")? == 0.0 {
        section.note("There is no shared data (AUTOINMUNE_DATA): no database was asked.");
    }
    section.note(
        "No answer waits for a reload: readers use one of two places and are sent to the other when it is ready, and take no lock \
         that a reload holds. Where a thread waits for a processor, the clock on the wall shows it, with and without reloads.",
    );
    section.explain_missed(
        "a search of a table of a million reads memory that is in no cache about twice; what that costs, other programs on \
         the machine decide too.",
    );
    Ok(section)
}
