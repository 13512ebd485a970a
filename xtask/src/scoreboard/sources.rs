//! From one source to another, by the few features that all have.

use super::runs::{Outcome, eval, train};
use super::{Setup, progress};
use crate::exactness::table;
use crate::shell;
use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Columns that every source has, in this order, after `label`.
const HEADER: &str = "label,proto,duration_s,fwd_packets,bwd_packets,fwd_bytes,bwd_bytes\n";
const MODEL: &str = "hybrid";

/// Where the shared columns of a source are.
struct Source {
    name: &'static str,
    /// Duration, packets and bytes of both directions, by the source's names.
    columns: [&'static str; 5],
    /// Its durations times this are seconds.
    seconds: f64,
}

const SOURCES: [Source; 3] = [
    Source { name: "UNSW-NB15", columns: ["dur", "spkts", "dpkts", "sbytes", "dbytes"], seconds: 1.0 },
    Source {
        name: "CICIDS2017",
        columns: [
            "Flow Duration",
            "Total Fwd Packet",
            "Total Bwd packets",
            "Total Length of Fwd Packet",
            "Total Length of Bwd Packet",
        ],
        seconds: 1e-6,
    },
    Source {
        name: "USTC-TFC2016",
        columns: ["Duration", "Packets A → B", "Packets B → A", "Bytes A → B", "Bytes B → A"],
        seconds: 1.0,
    },
];

/// Trains on each source and tests with each.
pub(crate) fn compare(setup: &Setup) -> anyhow::Result<String> {
    let tables =
        SOURCES.iter().map(|source| shared(setup, source)).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let mut rows = Vec::new();
    for (from, trained) in SOURCES.iter().zip(&tables) {
        for (to, tested) in SOURCES.iter().zip(&tables) {
            let outcome = if from.name == to.name {
                train(setup, std::slice::from_ref(trained), "label", MODEL, "grouped", &[])?
            } else {
                eval(setup, std::slice::from_ref(trained), std::slice::from_ref(tested), "label", MODEL)?
            };
            let own = if from.name == to.name { " (30 % held out)" } else { "" };
            rows.push([vec![from.name.to_owned(), format!("{}{own}", to.name)], cells(&outcome)].concat());
        }
    }
    let head = [
        "learnt from",
        "tested with",
        "rows",
        "AUC",
        "recall at 1 %",
        "recall at 0.1 %",
        "F1",
        "false positives",
    ];
    Ok(format!(
        "The three tables were made by three tools and share six columns: protocol, duration, packets and bytes of each \
         direction (CICIDS2017 counts payload, the others whole packets). Normal or not, {MODEL}. An AUC near 0.5 means \
         that nothing carries over; below it, that what was learnt is wrong elsewhere. This is why no model trained on \
         another tool's features is used live.\n\n{}",
        table(&head, &rows)
    ))
}

fn cells(outcome: &Outcome) -> Vec<String> {
    let cell = |pointer: &str| format!("{:.4}", outcome.figure(pointer));
    vec![
        format!("{:.0}", outcome.figure("/rows")),
        cell("/binary/auc"),
        cell("/binary/recall_at_fpr/0.01"),
        cell("/binary/recall_at_fpr/0.001"),
        cell("/binary/f1"),
        cell("/binary/fpr"),
    ]
}

/// Writes the shared columns of a source as a table of its own.
fn shared(setup: &Setup, source: &Source) -> anyhow::Result<PathBuf> {
    progress(&format!("shared columns of {}", source.name));
    let mut out = HEADER.to_owned();
    match source.name {
        "UNSW-NB15" => {
            let text = unpacked(&setup.data.path("flows/unsw-nb15/train.csv.gz"))?;
            convert(&text, source, &mut out, |field| (field("label") == "1", field("proto")))?;
        }
        "CICIDS2017" => {
            let text = unpacked(&setup.data.path("flows/cicids2017-corrected/train.csv.gz"))?;
            convert(&text, source, &mut out, |field| {
                let proto = match field("Protocol").as_str() {
                    "6" => "tcp",
                    "17" => "udp",
                    _ => "other",
                };
                (field("Label") != "BENIGN", proto.to_owned())
            })?;
        }
        _ => {
            for folder in ["Benign", "Malware"] {
                let dir = setup.data.path("flows/ustc-tfc2016").join(folder);
                let entries =
                    std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
                let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
                files.sort();
                for file in files {
                    let udp = file.to_string_lossy().contains("_UDP");
                    let proto = if udp { "udp" } else { "tcp" };
                    let text = unpacked(&file)?;
                    convert(&text, source, &mut out, |_| (folder == "Malware", proto.to_owned()))?;
                }
            }
        }
    }
    let path = setup.scratch.join(format!("{}.csv", source.name));
    std::fs::write(&path, out).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn unpacked(path: &std::path::Path) -> anyhow::Result<String> {
    let name = path.to_str().context("a path is not UTF-8")?;
    let bytes = shell::output(shell::command("gzip", &["-dc", name]))?;
    String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))
}

/// Adds the rows of a table. No field of these tables holds a comma.
fn convert(
    text: &str,
    source: &Source,
    out: &mut String,
    what: impl Fn(&dyn Fn(&str) -> String) -> (bool, String),
) -> anyhow::Result<()> {
    let plain = |field: &str| field.trim().trim_matches('"').to_owned();
    let mut lines = text.lines();
    let header: Vec<String> =
        lines.next().context("a table without a header")?.split(',').map(plain).collect();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |name: &str| -> String {
            let place = header.iter().position(|h| h == name);
            place.and_then(|p| fields.get(p)).map(|f| plain(f)).unwrap_or_default()
        };
        let (attack, proto) = what(&field);
        let mut values = source.columns.iter().map(|name| field(name).parse::<f64>().unwrap_or(f64::NAN));
        let duration = values.next().unwrap_or(f64::NAN) * source.seconds;
        let _ = write!(out, "{},{proto},{duration}", u8::from(attack));
        for value in values {
            let _ = write!(out, ",{value}");
        }
        out.push('\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_columns_have_one_unit() {
        let text = "\"Flow Duration\",Total Fwd Packet,Total Bwd packets,Total Length of Fwd Packet,\
                    Total Length of Bwd Packet,Label\n2000000,1,2,30,40,BENIGN\n";
        let mut out = String::new();
        convert(text, &SOURCES[1], &mut out, |f| (f("Label") != "BENIGN", "tcp".into())).expect("converted");
        assert_eq!(out, "0,tcp,2,1,2,30,40\n");
    }
}
