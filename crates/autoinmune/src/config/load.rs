//! Reading configuration files, with errors a person can act on.

use super::{Config, RawConfig};
use crate::exit::{Exit, fail};
use std::path::Path;

/// Largest configuration file read: far above any real one, far below what would hurt.
const MAX_BYTES: u64 = 4 << 20;

/// Loads and checks a file; `.json` is JSON, everything else TOML.
///
/// # Errors
/// File, line, column, what is wrong and what may have been meant.
pub fn load(path: &Path) -> anyhow::Result<Config> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path)
        .map_err(|e| fail(Exit::Config, format!("cannot read configuration {name}: {e}")))?
        .len();
    if size > MAX_BYTES {
        return Err(fail(
            Exit::Config,
            format!("{name} has {size} bytes; a configuration has at most {MAX_BYTES}"),
        ));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| fail(Exit::Config, format!("cannot read configuration {name}: {e}")))?;
    let raw = parse(&text, &name)?;
    Config::check(raw, Some(path))
}

/// Parses a text; `name` decides the syntax and appears in errors.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, name: &str) -> anyhow::Result<RawConfig> {
    let is_json = Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let (line, column, message) = if is_json {
        match serde_json::from_str(text) {
            Ok(raw) => return Ok(raw),
            Err(e) => {
                let said = e.to_string();
                let cut = said.rfind(" at line ").map_or(said.as_str(), |i| &said[..i]).to_owned();
                (e.line(), e.column(), cut)
            }
        }
    } else {
        match toml::from_str(text) {
            Ok(raw) => return Ok(raw),
            Err(e) => {
                let (line, column) = e.span().map_or((1, 1), |s| position(text, s.start));
                (line, column, e.message().to_owned())
            }
        }
    };
    let mut said = format!("{name}:{line}:{column}: {}", message.replace('\n', "; "));
    if let Some(meant) = suggestion(&message) {
        said.push_str(&format!("; did you mean `{meant}`?"));
    }
    Err(fail(Exit::Config, said))
}

/// One-based line and column of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The nearest accepted name in a serde message "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let typed = names.next()?;
    names
        .map(|n| (strsim::damerau_levenshtein(typed, n), n))
        .filter(|(d, n)| *d <= 3.max(n.len() / 3))
        .min()
        .map(|(_, n)| n.to_owned())
}

/// The JSON Schema of [`RawConfig`], pretty-printed.
pub fn schema() -> String {
    let schema = schemars::schema_for!(RawConfig);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The default configuration as TOML, each key preceded by its explanation from the schema.
pub fn describe_default() -> String {
    let schema = serde_json::to_value(schemars::schema_for!(RawConfig)).unwrap_or_default();
    let value = serde_json::to_value(RawConfig::default()).unwrap_or_default();
    let mut out = String::from(
        "# Autoinmune configuration. Every key is shown with its default; delete what you do not change.\n",
    );
    describe(&mut out, &schema, &schema, &value, "");
    out
}

fn describe(
    out: &mut String,
    root: &serde_json::Value,
    schema: &serde_json::Value,
    value: &serde_json::Value,
    path: &str,
) {
    let Some(properties) = target(root, schema)["properties"].as_object() else { return };
    // Plain keys must precede tables in TOML.
    let is_table =
        |key: &str| target(root, &properties[key])["properties"].is_object() || value[key].is_object();
    for key in properties.keys().filter(|k| !is_table(k)) {
        comment(out, root, &properties[key]);
        match &value[key.as_str()] {
            serde_json::Value::Null => out.push_str(&format!("# {key} = …\n")),
            v => out.push_str(&format!("{key} = {v}\n")),
        }
    }
    for key in properties.keys().filter(|k| is_table(k)) {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        out.push('\n');
        comment(out, root, &properties[key]);
        if target(root, &properties[key])["properties"].is_object() {
            out.push_str(&format!("[{full}]\n"));
            describe(out, root, &properties[key], &value[key.as_str()], &full);
        } else {
            out.push_str(&format!("# [{full}.NAME]\n"));
        }
    }
}

fn comment(out: &mut String, root: &serde_json::Value, schema: &serde_json::Value) {
    let text = schema["description"].as_str().or_else(|| target(root, schema)["description"].as_str());
    for line in text.unwrap_or_default().lines() {
        out.push_str("# ");
        out.push_str(line);
        out.push('\n');
    }
}

/// Follows `$ref` into `$defs`.
fn target<'a>(root: &'a serde_json::Value, schema: &'a serde_json::Value) -> &'a serde_json::Value {
    schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')).and_then(|p| root.pointer(p)).unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, name: &str) -> String {
        parse(text, name).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let raw = parse("", "c.toml").unwrap();
        assert_eq!(serde_json::to_value(raw).unwrap(), serde_json::to_value(RawConfig::default()).unwrap());
    }

    #[test]
    fn unknown_keys_name_line_and_suggestion() {
        let said = error("[sensor]\nflow_capacity = 4096\nring_byte = 65536\n", "c.toml");
        assert!(said.starts_with("c.toml:3:1: unknown field `ring_byte`"), "{said}");
        assert!(said.ends_with("did you mean `ring_bytes`?"), "{said}");
        let said = error("{\"sensor\":\n {\"flow_capcity\": 1}}", "c.json");
        assert!(said.starts_with("c.json:2:"), "{said}");
        assert!(said.contains("did you mean `flow_capacity`?"), "{said}");
    }

    #[test]
    fn wrong_types_and_syntax_are_located() {
        assert!(error("[sensor]\nring_bytes = \"x\"\n", "c.toml").starts_with("c.toml:2:14: "));
        assert!(error("[sensor\n", "c.toml").starts_with("c.toml:1:"));
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let check = |text: &str| {
            Config::check(parse(text, "c.toml").unwrap(), None).map(|_| ()).unwrap_err().to_string()
        };
        assert!(check("[sensor]\nring_bytes = 70000\n").contains("sensor.ring_bytes"));
        assert!(check("[http]\naddress = \"0.0.0.0:8800\"\n").contains("loopback"));
        assert!(check("[sensor]\ninterfaces = []\n").contains("sensor.interfaces"));
    }

    #[test]
    fn the_printed_default_is_the_default() {
        let raw = parse(&describe_default(), "default.toml").unwrap();
        assert_eq!(serde_json::to_value(raw).unwrap(), serde_json::to_value(RawConfig::default()).unwrap());
    }
}
