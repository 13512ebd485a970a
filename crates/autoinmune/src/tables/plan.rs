//! What of a table is learnt from, and why the rest is not.

use super::label::{Labels, column, guess_normal};
use super::survey::{Nature, Survey};
use super::{ColumnArgs, MAX_VALUES};
use crate::exit::{Exit, fail};
use dataset::{Role, Schema};
use learn::hybrid::Hybrid;
use learn::{Feature, Kind};
use std::collections::BTreeMap;

/// How to make rows of models out of rows of a table.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the label is.
    pub labels: Labels,
    /// Whether rows without a label are a class of their own, with an empty name.
    pub empty_label: bool,
    /// Columns to learn from, in their order. Categories are known after the first reading of rows.
    pub schema: Vec<Feature>,
    /// Classes, in the order of the alphabet.
    pub names: Vec<String>,
    /// The normal class: its place in `names`.
    pub normal: u32,
    /// Columns not learnt from, and why.
    pub dropped: BTreeMap<String, String>,
    /// The column that says when a row was, if there is one.
    pub time: Option<String>,
    /// The first column of addresses, if there is one: who began a flow.
    pub source: Option<String>,
    /// Most rows to hold.
    pub max_rows: u64,
    /// Seed of drawing rows.
    pub seed: u64,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Plan {
    /// A plan for a table of these columns.
    ///
    /// # Errors
    /// A column that was asked for is not there, all rows have one label, or nothing is left to learn from.
    pub fn new(
        option: &str,
        schema: &Schema,
        survey: &Survey,
        labels: Labels,
        args: &ColumnArgs,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let names: Vec<String> = survey.classes.keys().cloned().collect();
        if let [one] = &names[..] {
            return Err(fail(
                Exit::Input,
                format!("{option}: all rows are labelled '{one}'; learning needs at least two classes"),
            ));
        }
        let mut plan = Self {
            normal: guess_normal(&names, args.normal.as_deref())?,
            empty_label: args.normal.as_deref() == Some(""),
            labels,
            schema: Vec::new(),
            names,
            dropped: BTreeMap::new(),
            time: None,
            source: None,
            max_rows: 0,
            seed,
            notes: Vec::new(),
        };
        plan.choose(schema, survey, args)?;
        if plan.schema.is_empty() {
            return Err(fail(Exit::Input, format!("{option}: no column is left to learn from")));
        }
        let room = MAX_VALUES / plan.schema.len() as u64;
        plan.max_rows = args.max_rows.unwrap_or(room);
        if survey.unlabelled > 0 && !plan.empty_label {
            plan.notes.push(format!("{} rows without a label are left out", survey.unlabelled));
        }
        Ok(plan)
    }

    fn choose(&mut self, schema: &Schema, survey: &Survey, args: &ColumnArgs) -> anyhow::Result<()> {
        let find = |option: &str, names: &[String], notes: &mut Vec<String>| -> Vec<String> {
            let mut found = Vec::new();
            for name in names.iter().filter(|n| !n.trim().is_empty()) {
                match column(name, schema) {
                    Some(own) => found.push(own.to_owned()),
                    None => notes.push(format!("{option}: there is no column '{}'", name.trim())),
                }
            }
            found
        };
        // A list of columns made for several tables is no fault.
        let drop = find("--drop", &args.drop, &mut self.notes);
        let keep = find("--keep", &args.keep, &mut self.notes);
        if let Some(label) = self.labels.column()
            && drop.iter().any(|d| d == label)
        {
            return Err(fail(Exit::Input, format!("--drop {label}: it is the label")));
        }
        for (column, contents) in schema.columns().iter().zip(&survey.columns) {
            let name = &column.name;
            if self.labels.column() == Some(name) {
                continue;
            }
            let (role, nature) = (Role::of(name), contents.nature());
            if self.time.is_none() && (role == Role::Time || nature == Nature::Time) {
                self.time = Some(name.clone());
            }
            if self.source.is_none() && nature == Nature::Address {
                self.source = Some(name.clone());
            }
            let why = match (role, nature) {
                _ if drop.contains(name) => Some("asked by --drop"),
                (_, Nature::Empty) => Some("has no values"),
                (_, Nature::Address) => Some("holds addresses"),
                (_, Nature::Time) => Some("holds times"),
                _ if keep.contains(name) => None,
                (_, Nature::Counter) => Some("only ever grows from row to row"),
                (Role::Class, _) => Some("is a label by its name"),
                (Role::Identity, _) => Some("says which row or what it was, by its name"),
                (r, _) if !r.is_feature() => Some("says who, where or when, by its name"),
                _ if args.features.as_ref().is_some_and(|f| !f.contains(name)) => {
                    Some("is no feature of flows")
                }
                _ => None,
            };
            if let Some(why) = why {
                self.dropped.insert(name.clone(), why.to_owned());
                continue;
            }
            let kind = if matches!(nature, Nature::Numeric | Nature::Counter) {
                if contents.strays() > 0 {
                    let strays = contents.strays();
                    self.notes
                        .push(format!("column '{name}': {strays} values are no numbers and count as absent"));
                }
                Kind::Numeric
            } else {
                Kind::Categorical(Vec::new())
            };
            self.schema.push(Feature { name: name.clone(), kind });
        }
        // What holds addresses or times is not kept, whoever asks.
        let keepable =
            |why: &str| !why.starts_with("asked") && !why.starts_with("holds") && !why.starts_with("has no");
        let list: Vec<&str> =
            self.dropped.iter().filter(|(_, why)| keepable(why)).map(|(name, _)| name.as_str()).collect();
        if !list.is_empty() {
            self.notes.push(format!(
                "not learnt from, as they say who, when or what ({}); --keep them if they do not",
                list.join(", ")
            ));
        }
        Ok(())
    }

    /// A plan by which a table is read for a model that is there.
    pub fn of_model(model: &Hybrid, labels: Labels, args: &ColumnArgs, seed: u64) -> Self {
        let schema = model.schema().to_vec();
        Self {
            labels,
            empty_label: args.normal.as_deref() == Some(""),
            max_rows: args.max_rows.unwrap_or(MAX_VALUES / schema.len().max(1) as u64),
            schema,
            names: model.names().to_vec(),
            normal: model.normal(),
            dropped: BTreeMap::new(),
            time: None,
            source: None,
            seed,
            notes: Vec::new(),
        }
    }
}
