//! The scenarios that come with the program: the files of `crates/lab/scenarios`.

use super::{Scenario, ScenarioError};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// Name and text of each, in order of names.
pub const SHIPPED: &[(&str, &str)] = files!["scan-syn"];

/// A scenario that comes with the program.
///
/// # Errors
/// There is none of that name; or its file is wrong, which a test excludes.
pub fn shipped(name: &str) -> Result<Scenario, ScenarioError> {
    let (_, text) = SHIPPED.iter().find(|(n, _)| *n == name).ok_or_else(|| {
        let names: Vec<&str> = SHIPPED.iter().map(|(n, _)| *n).collect();
        ScenarioError(format!("there is no scenario '{name}'; there are {}", names.join(", ")))
    })?;
    Scenario::parse(text)
}
