//! Flows that people said something of, as `feedback export` writes them: what the classifier learns beside captures.

use super::collect::Collected;
use crate::exit::{Exit, fail};
use bundle::Data;
use detect::Class;
use detect::learned::calibrate::FlowSample;
use flow::label::BENIGN;
use learn::{Feature, Kind};
use std::path::Path;

/// Column with the class, the last one.
pub const LABEL: &str = "label";
/// Largest table read: above what a state directory can hold.
const MAX_BYTES: u64 = 64 << 20;
/// Windows in which flows of one source are heard together have ten seconds; each flow is taken for one of its own.
const APART_NS: u64 = 10_000_000_000;

/// Adds the flows of a table, as one group.
///
/// # Errors
/// It cannot be read, has other columns than the classifier, or something in it is no value of its column: file, line and
/// column.
pub fn read(path: &Path, features: &[Feature], group: u64, all: &mut Collected) -> anyhow::Result<Data> {
    let name = path.display();
    let wrong = |what: String| fail(Exit::Input, format!("--labelled {name}: {what}"));
    let (sha256, bytes) = bundle::sha256_of_file(path).map_err(|e| wrong(e.to_string()))?;
    if bytes > MAX_BYTES {
        return Err(wrong(format!("{bytes} bytes; at most {MAX_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let mut lines = text.lines();
    // No cell of such a table needs quotes.
    let header = lines.next().unwrap_or_default().split(',');
    if !header.eq(features.iter().map(|f| f.name.as_str()).chain([LABEL])) {
        return Err(wrong("its columns are not those that `autoinmune feedback export` writes".into()));
    }
    for (at, line) in lines.enumerate() {
        let mut cells = line.split(',');
        let mut row = Vec::with_capacity(features.len());
        for (feature, cell) in features.iter().zip(cells.by_ref()) {
            let value = match &feature.kind {
                _ if cell.is_empty() => f32::NAN,
                Kind::Categorical(words) => {
                    words.iter().position(|w| w == cell).map_or(f32::NAN, |place| place as f32)
                }
                Kind::Numeric => cell.parse().map_err(|_| {
                    wrong(format!("line {}, column '{}': '{cell}' is no number", at + 2, feature.name))
                })?,
            };
            row.push(value);
        }
        let class = cells.next().unwrap_or_default();
        if class != BENIGN && !Class::ALL.iter().any(|c| c.name() == class) || cells.next().is_some() {
            return Err(wrong(format!(
                "line {}: '{class}' is no class of threat and not '{BENIGN}'",
                at + 2
            )));
        }
        let place = all.flows.len() as u64;
        all.flows.push(FlowSample { source: place, group, at_ns: place * APART_NS, row });
        all.classes.push(class.to_owned());
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Data { file, sha256, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use detect::learned::row::schema;

    fn check(name: &str, change: impl Fn(&str) -> String) -> Result<Collected, String> {
        let features = schema();
        let header: Vec<&str> = features.iter().map(|f| f.name.as_str()).chain([LABEL]).collect();
        let cell = |f: &Feature| if f.name == "proto" { "tcp" } else { "" }.to_owned();
        let row: Vec<String> = features.iter().map(cell).collect();
        let row = row.join(",");
        let text = change(&format!("{}\n{row},port_scan\n{row},benign\n", header.join(",")));
        let path = std::env::temp_dir().join(format!("aim-labelled-{name}-{}.csv", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut all = Collected::default();
        let read = read(&path, &features, 7, &mut all);
        std::fs::remove_file(path).unwrap();
        read.map(|_| all).map_err(|e| e.to_string())
    }

    #[test]
    fn an_exported_table_is_read_and_another_refused() {
        let all = check("good", str::to_owned).unwrap();
        assert_eq!(all.classes, ["port_scan", "benign"]);
        let proto = schema().iter().position(|f| f.name == "proto").unwrap();
        assert!(all.flows.iter().all(|f| f.group == 7 && f.row[proto] == 0.0 && f.row[0].is_nan()));
        for (name, from, to, says) in [
            ("header", "dur,", "length,", "columns"),
            ("class", "port_scan", "portscan", "'portscan' is no class"),
            ("number", "\n,tcp", "\nlong,tcp", "line 2, column 'dur': 'long' is no number"),
            ("cells", ",port_scan", ",port_scan,1", "is no class"),
        ] {
            let said = check(name, |text| text.replacen(from, to, 1)).map(|_| ()).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }
}
