//! `concurrency` of the pipeline: how many attempts at once may use something, by name.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::super::keys;
use super::super::problem::{Problem, quoted};
use super::super::settings::{self, MAX_NODES};
use super::super::tree::{At, Reader, Table};
use crate::base::check_name;

const EXAMPLE: &str = "concurrency = { gpu = 1 }";

/// Reads the limits. `None` if there may be names that could not be read.
pub(super) fn read(reader: &mut Reader<'_>, pipeline: &Table<'_>) -> Option<BTreeMap<String, u32>> {
    let Some(value) = pipeline.get("concurrency") else {
        return (!pipeline.may_mean(&keys::PIPELINE, "concurrency")).then(BTreeMap::new);
    };
    if let DeValue::Integer(_) = value.get_ref() {
        reader.complain(
            Problem::new("`concurrency` has a limit for each name, and not one number")
                .at(&value.span(), "a whole number")
                .help(format!("write `{EXAMPLE}`; `max_concurrent_runs` and `max_concurrent_actions` limit all runs and all actions")),
        );
        return None;
    }
    let title = format!("`concurrency` of {}", pipeline.name);
    let table = reader.open_table(title, pipeline.key_span("concurrency"), value, &format!("`{EXAMPLE}`"))?;
    let mut limits = BTreeMap::new();
    let entries = table.in_order();
    if let Some((first, _)) = entries.get(MAX_NODES) {
        let count = entries.len();
        reader.complain(
            Problem::new(format!("there are {count} limits; the maximum is {MAX_NODES}"))
                .at(&first.span, "the first too many"),
        );
        return None;
    }
    for (name, _) in entries {
        if let Err(error) = check_name(name.value) {
            reader.complain(
                Problem::new(format!("{} cannot name a limit", quoted(name.value)))
                    .at(&name.span, "this name")
                    .help(error.to_string()),
            );
            continue;
        }
        let limit = reader.integer_within(&table, name.value, settings::CONCURRENCY, "1");
        // A value out of bounds still declares the name.
        let limit = limit.and_then(|limit| u32::try_from(limit.value).ok()).unwrap_or(1);
        limits.insert(name.value.to_owned(), limit);
    }
    Some(limits)
}

/// Returns the names of the limits, with their places.
pub(super) fn names(pipeline: &Table<'_>) -> Vec<At<String>> {
    let limits = pipeline.get("concurrency").and_then(|value| value.get_ref().as_table());
    let names = limits.into_iter().flat_map(|limits| limits.keys());
    names.map(|name| At { value: name.get_ref().to_string(), span: name.span() }).collect()
}
