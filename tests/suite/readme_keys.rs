//! The tables of keys in the README and in docs name the keys of `anacostia schema`: no key is
//! missing, and none is there that a manifest may not have.

use std::collections::{BTreeMap, BTreeSet};

use anacostia::manifest::schema;
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const RESOURCES: &str = include_str!("../../docs/RESOURCES.md");
const SANDBOX: &str = include_str!("../../docs/SANDBOX.md");

type Keys = BTreeSet<String>;

/// Returns the cells of a row of a table; `None` for any other line.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// Returns the rows of the table whose first heading is `heading`.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let is_heading = |line: &&str| cells(line).is_some_and(|cells| cells[0] == heading);
    let rows = text.lines().skip_while(|line| !is_heading(line)).skip(2);
    let rows: Vec<_> = rows.map_while(cells).collect();
    assert!(!rows.is_empty(), "no table `{heading}`");
    rows
}

/// Returns the texts in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Returns the keys that a first cell names: `every = "1h"` names `every`.
fn named(cell: &str) -> impl Iterator<Item = String> {
    quoted(cell).into_iter().map(|text| text.split([' ', '=']).next().unwrap().to_owned())
}

fn of_column(rows: &[Vec<&str>]) -> Keys {
    rows.iter().flat_map(|row| named(row[0])).collect()
}

/// Returns the keys of the README's main table, by its subheadings, such as `[pipeline]`.
fn sections() -> BTreeMap<String, Keys> {
    let (mut sections, mut current) = (BTreeMap::<String, Keys>::new(), String::new());
    for row in rows(README, "key") {
        if row[0].starts_with("**") {
            quoted(row[0])[0].clone_into(&mut current);
            continue;
        }
        sections.entry(current.clone()).or_default().extend(named(row[0]));
    }
    sections
}

/// Returns the keys of a table in the schema. Those of tables in it have a dot: `retry.backoff`.
fn keys(schema: &Value) -> Keys {
    let mut keys = Keys::new();
    for (key, value) in schema["properties"].as_object().expect("a table with keys") {
        match value["properties"].as_object() {
            Some(inner) => keys.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
            None => _ = keys.insert(key.clone()),
        }
    }
    keys
}

/// Returns the keys of a table whose tables count as one key each.
fn flat(schema: &Value) -> Keys {
    schema["properties"].as_object().expect("a table with keys").keys().cloned().collect()
}

/// Returns the keys of each kind of a table that has a `kind`; `last` is the one that the schema
/// does not name.
fn kinds(schema: &Value, last: &str) -> BTreeMap<String, Keys> {
    // The first form is that of a kind from the environment, which may be any.
    let (mut kinds, mut form) = (BTreeMap::new(), &schema["else"]);
    while let Some(kind) = form["if"]["properties"]["kind"]["const"].as_str() {
        kinds.insert(kind.to_owned(), flat(&form["then"]));
        form = &form["else"];
    }
    kinds.insert(last.to_owned(), flat(form));
    kinds
}

/// Returns the one form of a value that is a table.
fn table(value: &Value) -> &Value {
    let forms = value["anyOf"].as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    forms.iter().find(|form| form["properties"].is_object()).unwrap_or_else(|| panic!("no table: {value}"))
}

/// Returns the keys between braces, as in `{ param, field }`.
fn in_braces(cell: &str) -> Keys {
    let inner = cell.split('{').nth(1).and_then(|rest| rest.split('}').next()).expect("a table in braces");
    inner.split(',').map(|key| key.trim().to_owned()).collect()
}

fn set(keys: &[&str]) -> Keys {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn the_readme_names_the_keys_of_every_table() {
    let (schema, sections) = (schema(), sections());
    let mut top: Keys = sections.keys().filter_map(|name| name.strip_prefix('[')).map(str::to_owned).collect();
    top = top.iter().map(|name| name.trim_end_matches(']').trim_end_matches(".NAME").to_owned()).collect();
    top.extend(sections[""].clone());
    assert_eq!(top, flat(&schema), "tables");
    let of = |name: &str| &schema["properties"][name];
    for name in ["pipeline", "server", "metadata_store"] {
        assert_eq!(sections[&format!("[{name}]")], flat(of(name)), "[{name}]");
    }
    assert_eq!(sections["[triggers.NAME]"], flat(&of("triggers")["additionalProperties"]), "[triggers.NAME]");
    let mut actions = keys(&of("actions")["additionalProperties"]);
    actions.retain(|key| !key.starts_with("limits."));
    actions.insert("limits".to_owned());
    assert_eq!(sections["[actions.NAME]"], actions, "[actions.NAME]");
}

#[test]
fn the_readme_names_the_keys_of_each_kind_of_resource() {
    let (schema, sections) = (schema(), sections());
    let kinds = kinds(&schema["properties"]["resources"]["additionalProperties"], "folder");
    let headings: Keys = cells(RESOURCES.lines().find(|line| line.starts_with('|')).unwrap())
        .unwrap()
        .into_iter()
        .flat_map(quoted)
        .map(str::to_owned)
        .collect();
    assert_eq!(headings, kinds.keys().cloned().collect(), "docs/RESOURCES.md");
    for (kind, keys) in kinds {
        let mut named = match sections.get(&format!("kind = \"{kind}\"")) {
            Some(own) => own | &sections["[resources.NAME]"],
            // The keys of databases have a table of their own.
            None => &of_column(&rows(README, &format!("key of `kind = \"{kind}\"`"))) | &set(&["kind"]),
        };
        named.insert("trigger".to_owned());
        assert_eq!(named, keys, "{kind}");
    }
}

#[test]
fn the_readme_names_the_keys_of_each_kind_of_notification() {
    let rows = rows(README, "key");
    let rows = rows.iter().skip_while(|row| !row[0].contains("[notify.NAME]")).skip(1);
    let rows: Vec<_> = rows.take_while(|row| !row[0].starts_with("**")).collect();
    for (kind, keys) in kinds(&schema()["properties"]["notify"]["additionalProperties"], "webhook") {
        // A meaning such as `webhook, slack: …` is of these kinds only.
        let of_kind = |meaning: &str| {
            let (before, _) = meaning.split_once(':').unwrap_or(("", ""));
            let only = before.split(", ").all(|word| ["webhook", "slack", "email"].contains(&word));
            !only || before.split(", ").any(|word| word == kind)
        };
        let rows = rows.iter().filter(|row| of_kind(row[1]));
        assert_eq!(rows.flat_map(|row| named(row[0])).collect::<Keys>(), keys, "{kind}");
    }
}

#[test]
fn the_readme_names_the_keys_of_triggers_and_conditions() {
    let (schema, sections) = (schema(), sections());
    let trigger = &schema["properties"]["resources"]["additionalProperties"];
    let folder = std::iter::successors(Some(trigger), |form| form.get("else")).last().unwrap();
    let without_prefix = |key: &String| key.trim_start_matches("trigger").trim_start_matches('.').to_owned();
    let keys: Keys = sections["trigger"].iter().map(without_prefix).collect();
    assert_eq!(keys, flat(&folder["properties"]["trigger"]), "trigger");

    let condition = &schema["$defs"]["condition"];
    let rows = rows(README, "condition");
    let row = |key: &str| rows.iter().find(|row| named_first(row[0]) == key).unwrap_or_else(|| panic!("no row {key}"));
    // Keys of `metric`, in the words after its first form.
    let others = set(&["above", "changed_by", "no_update_for"]);
    let listed = of_column(&rows).into_iter().filter(|key| !key.starts_with('"') && !others.contains(key));
    assert_eq!(listed.collect::<Keys>(), flat(condition), "conditions");
    let metric = in_braces(row("metric")[0]).into_iter().chain(named(row("metric")[0]).skip(1)).collect::<Keys>();
    assert_eq!(metric, flat(&condition["properties"]["metric"]), "metric");
    assert_eq!(in_braces(row("cron")[0]), flat(table(&condition["properties"]["cron"])), "cron");
    assert_eq!(in_braces(row("component")[0]), flat(&schema["$defs"]["trigger_component"]), "component");
}

fn named_first(cell: &str) -> String {
    named(cell).next().unwrap_or_default()
}

#[test]
fn the_readme_names_the_keys_of_limits_secrets_and_pages() {
    let schema = schema();
    let actions = &schema["properties"]["actions"]["additionalProperties"]["properties"];
    let limits = flat(&actions["limits"]);
    assert_eq!(of_column(&rows(README, "key in `limits`")), limits, "README.md");
    assert_eq!(of_column(&rows(SANDBOX, "limit")), limits, "docs/SANDBOX.md");
    let rows = rows(README, "key");
    let meaning = |key: &str| rows.iter().find(|row| named_first(row[0]) == key).expect("a row")[1];
    assert_eq!(in_braces(meaning("secrets")), flat(table(&actions["secrets"]["additionalProperties"])), "secrets");
    let mut form = &schema["properties"]["resources"]["additionalProperties"];
    while form["then"]["properties"]["paging"].is_null() {
        form = &form["else"];
    }
    assert_eq!(in_braces(meaning("paging")), flat(table(&form["then"]["properties"]["paging"])), "paging");
}
