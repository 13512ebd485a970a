//! Tables with pseudonyms for addresses.

use super::CryptoPan;
use crate::cell::put_text;
use crate::parts::{Format, PartLimits, Parts};
use crate::schema::Role;
use crate::transform::dataset_schema;
use crate::{Dataset, Error, Result};
use serde::Serialize;
use std::path::Path;
use wire::Addr;

/// Columns whose values are made from addresses: hashes that can be tried out, or the addresses in another spelling. They
/// become absent. `actor` may be an address.
const DERIVED: [&str; 5] = ["community_id", "flow_id", "flow id", "uid", "actor"];

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Rows.
    pub rows: u64,
    /// Addresses replaced.
    pub addresses: u64,
    /// Values in columns of addresses that are none; they became absent.
    pub not_addresses: u64,
    /// Columns of addresses.
    pub columns: Vec<String>,
    /// Columns that became absent.
    pub emptied: Vec<String>,
}

/// Copies a dataset with pseudonyms in the columns known to hold addresses and in those of `more`. Places, ports and times
/// stay.
///
/// # Errors
/// Of reading or writing; if there is no column of addresses.
pub fn table(
    dataset: &Dataset,
    pan: &CryptoPan,
    more: &[String],
    to: &Path,
    format: Format,
) -> Result<TableReport> {
    let schema = dataset_schema(dataset, format)?;
    for name in more {
        schema.place(name).ok_or_else(|| schema.no_column(name))?;
    }
    let mut report = TableReport::default();
    let (mut addresses, mut derived) = (Vec::new(), Vec::new());
    for (place, column) in schema.columns().iter().enumerate() {
        if matches!(Role::of(&column.name), Role::Source | Role::Target) || more.contains(&column.name) {
            addresses.push(place);
            report.columns.push(column.name.clone());
        } else if DERIVED.contains(&column.name.to_ascii_lowercase().as_str()) {
            derived.push(place);
            report.emptied.push(column.name.clone());
        }
    }
    if addresses.is_empty() {
        return Err(Error::Request(
            "no column is known to hold addresses (src_ip, dst_ip, srcip, Src IP, …); name it with --column"
                .into(),
        ));
    }
    let mut parts = Parts::create(to, schema, format, PartLimits::default())?;
    dataset.rows(|row| {
        report.rows += 1;
        for place in &addresses {
            let Some(cell) = row.get_mut(*place) else { continue };
            let Some(text) = cell.as_ref().map(crate::Cell::to_text) else { continue };
            if let Ok(addr) = text.parse::<Addr>() {
                report.addresses += 1;
                put_text(cell, &pan.address(addr).to_string());
            } else {
                report.not_addresses += 1;
                *cell = None;
            }
        }
        for place in &derived {
            if let Some(cell) = row.get_mut(*place) {
                *cell = None;
            }
        }
        parts.row(row, 0)
    })?;
    parts.finish()?;
    Ok(report)
}
