//! What differs between two manifests.

use crate::manifest::Manifest;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most differences listed: bundles of other features differ in everything.
const MAX_DIFFERENCES: usize = 1000;

/// One place where two manifests differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where, such as `figures.binary.auc`.
    pub field: String,
    /// What the first has there; null if nothing.
    pub from: Value,
    /// What the second has there; null if nothing.
    pub to: Value,
}

/// Where `b` differs from `a`, in the order of the fields' names. Schemas are told apart by their hash alone.
#[must_use]
pub fn difference(a: &Manifest, b: &Manifest) -> Vec<Difference> {
    let (mut before, after) = (flat(a), flat(b));
    let mut found = Vec::new();
    for (field, to) in after {
        let from = before.remove(&field).unwrap_or(Value::Null);
        if from != to {
            found.push(Difference { field, from, to });
        }
    }
    found.extend(before.into_iter().map(|(field, from)| Difference { field, from, to: Value::Null }));
    found.sort_by(|x, y| x.field.cmp(&y.field));
    found.truncate(MAX_DIFFERENCES);
    found
}

/// Every leaf of the manifest by its path; lists of models and data by name, not by place.
fn flat(manifest: &Manifest) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    // A manifest is made of what JSON has.
    let mut value = serde_json::to_value(manifest).unwrap_or_default();
    if let Some(schemas) = value.get_mut("schemas").and_then(Value::as_object_mut) {
        for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
            schema.remove("features");
        }
    }
    walk(String::new(), &value, &mut out);
    out
}

fn walk(path: String, value: &Value, out: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, v)| walk(below(name), v, out)),
        Value::Array(list) if list.iter().all(Value::is_object) => {
            for (i, v) in list.iter().enumerate() {
                let name = v.get("name").or_else(|| v.get("file")).and_then(Value::as_str);
                walk(below(&name.map_or_else(|| i.to_string(), str::to_owned)), v, out);
            }
        }
        leaf => drop(out.insert(path, leaf.clone())),
    }
}
