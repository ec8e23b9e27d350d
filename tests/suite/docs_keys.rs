//! The tables of keys in `docs` name the keys of `anacostia schema`: no key is missing, and none is
//! there that a manifest may not have. `docs/MANIFEST.md` shows the schema's defaults.

use std::collections::{BTreeMap, BTreeSet};

use anacostia::base::TimeSpan;
use anacostia::manifest::schema;
use serde_json::Value;

use crate::support;

const MANIFEST: &str = include_str!("../../docs/MANIFEST.md");
const RESOURCES: &str = include_str!("../../docs/RESOURCES.md");
const SANDBOX: &str = include_str!("../../docs/SANDBOX.md");
const TRIGGERS: &str = include_str!("../../docs/TRIGGERS.md");

type Keys = BTreeSet<String>;

/// Returns the cells of a row of a table; `None` for any other line.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// Returns the rows of the table whose first heading is `heading`.
pub(crate) fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let is_heading = |line: &&str| cells(line).is_some_and(|cells| cells[0] == heading);
    let rows = text.lines().skip_while(|line| !is_heading(line)).skip(2);
    let rows: Vec<_> = rows.map_while(cells).collect();
    assert!(!rows.is_empty(), "no table `{heading}`");
    rows
}

/// Returns the texts in backticks.
pub(crate) fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Returns the keys that a first cell names: `every = "1h"` names `every`.
fn named(cell: &str) -> impl Iterator<Item = String> {
    quoted(cell).into_iter().map(|text| text.split([' ', '=']).next().unwrap().to_owned())
}

fn of_column(rows: &[Vec<&str>]) -> Keys {
    rows.iter().flat_map(|row| named(row[0])).collect()
}

/// Returns the keys of the main table, by its subheadings, such as `[pipeline]`.
fn sections() -> BTreeMap<String, Keys> {
    let (mut sections, mut current) = (BTreeMap::<String, Keys>::new(), String::new());
    for row in rows(MANIFEST, "key") {
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

/// Returns the schema of each kind of a table that has a `kind`.
fn forms(table: &Value) -> BTreeMap<String, &Value> {
    let kinds = support::schema::kinds(table).into_iter();
    kinds.map(|(kind, place)| (kind, table.pointer(&place).unwrap())).collect()
}

/// Returns the keys of each kind of a table that has a `kind`.
fn kinds(table: &Value) -> BTreeMap<String, Keys> {
    forms(table).into_iter().map(|(kind, form)| (kind, flat(form))).collect()
}

/// Returns the one form of a value that is a table, if there is one.
fn table<'a>(schema: &'a Value, value: &'a Value) -> Option<&'a Value> {
    let forms = value["anyOf"].as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let definition = |form: &'a Value| form["$ref"].as_str().map_or(form, |to| schema.pointer(&to[1..]).unwrap());
    forms.iter().map(definition).find(|form| form["properties"].is_object())
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
fn the_manifest_page_names_the_keys_of_every_table() {
    let (schema, sections) = (schema(), sections());
    let mut top: Keys = sections.keys().filter_map(|name| name.strip_prefix('[')).map(str::to_owned).collect();
    top = top.iter().map(|name| name.trim_end_matches(']').trim_end_matches(".NAME").to_owned()).collect();
    top.extend(sections[""].clone());
    assert_eq!(top, flat(&schema), "tables");
    let of = |name: &str| &schema["properties"][name];
    for name in ["pipeline", "server"] {
        assert_eq!(sections[&format!("[{name}]")], flat(of(name)), "[{name}]");
    }
    let of_stores: Keys = kinds(of("metadata_store")).into_values().flatten().collect();
    assert_eq!(sections["[metadata_store]"], of_stores, "[metadata_store]");
    assert_eq!(sections["[triggers.NAME]"], flat(&of("triggers")["additionalProperties"]), "[triggers.NAME]");
    let mut actions = keys(&of("actions")["additionalProperties"]);
    actions.retain(|key| !key.starts_with("limits."));
    actions.insert("limits".to_owned());
    assert_eq!(sections["[actions.NAME]"], actions, "[actions.NAME]");
}

#[test]
fn the_pages_name_the_keys_of_each_kind_of_resource() {
    let (schema, sections) = (schema(), sections());
    let kinds = kinds(&schema["properties"]["resources"]["additionalProperties"]);
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
            None => &of_column(&rows(MANIFEST, &format!("key of `kind = \"{kind}\"`"))) | &set(&["kind"]),
        };
        named.insert("trigger".to_owned());
        assert_eq!(named, keys, "{kind}");
    }
}

#[test]
fn the_manifest_page_names_the_keys_of_each_kind_of_notification() {
    let rows = rows(MANIFEST, "key");
    let rows = rows.iter().skip_while(|row| !row[0].contains("[notify.NAME]")).skip(1);
    let rows: Vec<_> = rows.take_while(|row| !row[0].starts_with("**")).collect();
    for (kind, keys) in kinds(&schema()["properties"]["notify"]["additionalProperties"]) {
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
fn the_pages_name_the_keys_of_triggers_and_conditions() {
    let (schema, sections) = (schema(), sections());
    let trigger = &schema["properties"]["resources"]["additionalProperties"];
    let folder = std::iter::successors(Some(trigger), |form| form.get("else")).last().unwrap();
    let without_prefix = |key: &String| key.trim_start_matches("trigger").trim_start_matches('.').to_owned();
    let keys: Keys = sections["trigger"].iter().map(without_prefix).collect();
    assert_eq!(keys, flat(&folder["properties"]["trigger"]), "trigger");

    let condition = &schema["$defs"]["condition"];
    let rows = rows(TRIGGERS, "condition");
    let row = |key: &str| rows.iter().find(|row| named_first(row[0]) == key).unwrap_or_else(|| panic!("no row {key}"));
    let mut listed = of_column(&rows);
    listed.retain(|key| !key.starts_with('"'));
    for (key, value) in condition["properties"].as_object().unwrap() {
        let Some(keys) = table(&schema, value).map(flat) else { continue };
        // The cell of `metric` names one key between braces, and the others after that.
        let cell = row(key)[0];
        let named: Keys = named(cell).filter(|name| keys.contains(name)).chain(in_braces(cell)).collect();
        assert_eq!(named, keys, "{key}");
        listed.retain(|name| name == key || !keys.contains(name));
    }
    assert_eq!(listed, flat(condition), "conditions");
}

fn named_first(cell: &str) -> String {
    named(cell).next().unwrap_or_default()
}

#[test]
fn the_pages_name_the_keys_of_limits_secrets_and_pages() {
    let schema = schema();
    let actions = &schema["properties"]["actions"]["additionalProperties"]["properties"];
    let limits = flat(&actions["limits"]);
    assert_eq!(of_column(&rows(MANIFEST, "key in `limits`")), limits, "docs/MANIFEST.md");
    assert_eq!(of_column(&rows(SANDBOX, "limit")), limits, "docs/SANDBOX.md");
    let rows = rows(MANIFEST, "key");
    let meaning = |key: &str| rows.iter().find(|row| named_first(row[0]) == key).expect("a row")[1];
    let secret = table(&schema, &actions["secrets"]["additionalProperties"]).unwrap();
    assert_eq!(in_braces(meaning("secrets")), flat(secret), "secrets");
    let resource = &schema["properties"]["resources"]["additionalProperties"];
    let mut kinds = forms(resource).into_values().map(|form| &form["properties"]["paging"]);
    let paging = kinds.find_map(|paging| table(&schema, paging)).unwrap();
    assert_eq!(in_braces(meaning("paging")), flat(paging), "paging");
}

/// Returns the schemas of the tables under a subheading of the main table. Those of
/// several kinds have keys of other kinds in common, so a key may be missing in some.
fn under<'a>(schema: &'a Value, heading: &str) -> Vec<&'a Value> {
    let of = |name: &str| &schema["properties"][name];
    let all = |table: &'a Value| forms(table).into_values().collect();
    let resource = &of("resources")["additionalProperties"];
    match heading {
        "" => vec![schema],
        "[resources.NAME]" => all(resource),
        "[metadata_store]" => all(of("metadata_store")),
        "[notify.NAME]" => all(&of("notify")["additionalProperties"]),
        "trigger" => forms(resource).into_values().map(|form| &form["properties"]["trigger"]).collect(),
        _ if heading.starts_with("kind = ") => {
            let kind = heading.trim_start_matches("kind = ").trim_matches('"');
            vec![forms(resource)[kind]]
        }
        _ => {
            let name = heading.trim_matches(['[', ']']);
            let table = |name: &str| &of(name)["additionalProperties"];
            vec![name.strip_suffix(".NAME").map_or_else(|| of(name), table)]
        }
    }
}

/// Returns whether a cell shows a default, alone or with a condition after it. A cell that begins
/// with `the` says in words where the value comes from.
fn shows(cell: &str, default: &Value) -> bool {
    let span = |text: &str| text.parse::<TimeSpan>().ok();
    if let (Some(default), Some(shown)) = (default.as_str().and_then(span), quoted(cell).first()) {
        return span(shown.trim_matches('"')) == Some(default);
    }
    let shown = match default {
        Value::Number(number) => {
            let digits = number.to_string();
            let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|it| str::from_utf8(it).unwrap()).collect();
            groups.join(",")
        }
        other => format!("`{other}`"),
    };
    let is_nothing = ["[]", "{}", "false", "\"0B\"", "\"0ms\"", "\"\""].contains(&default.to_string().as_str());
    let rest = cell.strip_prefix(&shown);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',', ';']))
        || is_nothing && ["none", "all", "all columns", "0"].contains(&cell)
        || cell.starts_with("the ")
}

/// Checks the default of each key that a row names. Returns how many the schema has.
fn check_defaults(schemas: &[&Value], row: &[&str]) -> usize {
    let names: Vec<String> = named(row[0]).collect();
    let cells: Vec<&str> = row[2].split(", ").collect();
    let mut count = 0;
    for (at, name) in names.iter().enumerate() {
        let cell = if cells.len() == names.len() { cells[at] } else { row[2] };
        let name = name.trim_start_matches("trigger").trim_start_matches('.');
        let place = format!("/properties/{}/default", name.replace('.', "/properties/"));
        for default in schemas.iter().filter_map(|schema| schema.pointer(&place)) {
            assert!(shows(cell, default), "`{name}`: docs/MANIFEST.md says {cell}, and the schema {default}");
            count += 1;
        }
    }
    count
}

#[test]
fn the_manifest_page_shows_the_defaults_of_the_schema() {
    let schema = schema();
    let (mut count, mut heading) = (0, String::new());
    for row in rows(MANIFEST, "key") {
        match row[0].strip_prefix("**") {
            Some(_) => quoted(row[0])[0].clone_into(&mut heading),
            None => count += check_defaults(&under(&schema, &heading), &row),
        }
    }
    for row in rows(MANIFEST, "key of `kind = \"sql\"`") {
        count += check_defaults(&under(&schema, "kind = \"sql\""), &row);
    }
    for row in rows(MANIFEST, "key in `limits`") {
        count += check_defaults(&[&under(&schema, "[actions.NAME]")[0]["properties"]["limits"]], &row);
    }
    assert!(count > 60, "{count}");
}
