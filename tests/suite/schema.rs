//! Compares `anacostia schema` with the reader: the schema accepts what the reader accepts, and the
//! reader refuses what the schema refuses.
//!
//! The check of a value against the schema is our own small implementation, because the crates for
//! it have thirty dependencies. It supports the keywords that the schema uses, and panics at any
//! other, so that nothing in the schema is left unchecked.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anacostia::manifest::{parse_pinned, schema};
use serde_json::{Value, json};

use crate::support::app::anacostia;
use crate::support::schema::kinds;

/// Keywords that do not affect whether a value is valid.
const NOTES: [&str; 6] = ["$schema", "$defs", "title", "description", "default", "examples"];

/// Returns the whole schema, to which references in it lead.
fn whole() -> &'static Value {
    static WHOLE: LazyLock<Value> = LazyLock::new(schema);
    &WHOLE
}

/// Returns the errors in `value`, each with its path.
fn problems(schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if *schema == json!(false) {
        return found.push(format!("{place}: not known"));
    }
    for (word, rule) in schema.as_object().expect("a schema is an object") {
        if NOTES.contains(&word.as_str()) {
            continue;
        }
        if let Some(wrong) = check_rule(word, rule, schema, value, place, found) {
            found.push(format!("{place}: {wrong}"));
        }
    }
}

/// Returns the errors in `value` by one rule, including those in its parts.
fn check_rule(
    word: &str,
    rule: &Value,
    schema: &Value,
    value: &Value,
    place: &str,
    found: &mut Vec<String>,
) -> Option<String> {
    let refuse = |wrong: bool| wrong.then(|| format!("{word} {rule}"));
    match word {
        "type" => refuse(match rule.as_str().unwrap() {
            "object" => !value.is_object(),
            "array" => !value.is_array(),
            "string" => !value.is_string(),
            "boolean" => !value.is_boolean(),
            "integer" => !value.is_i64() && !value.is_u64(),
            "number" => !value.is_number(),
            other => panic!("the type {other} is not checked here"),
        }),
        "const" => refuse(value != rule),
        "enum" => refuse(!rule.as_array().unwrap().contains(value)),
        "minimum" => refuse(value.as_i64().is_some_and(|number| number < rule.as_i64().unwrap())),
        "maximum" => refuse(value.as_i64().is_some_and(|number| number > rule.as_i64().unwrap())),
        "pattern" => {
            let form = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().filter(|text| !form.is_match(text)).map(|_| "pattern".to_owned())
        }
        "anyOf" => {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                problems(choice, value, place, &mut found);
                found.is_empty()
            };
            // The errors of all alternatives would be too long to display.
            let fits_none = !rule.as_array().unwrap().iter().any(fits);
            let shown = rule.to_string();
            if shown.len() > 200 || shown.contains("$ref") {
                fits_none.then(|| "none of the forms".to_owned())
            } else {
                refuse(fits_none)
            }
        }
        "if" => {
            let mut unmet = Vec::new();
            problems(rule, value, place, &mut unmet);
            problems(&schema[if unmet.is_empty() { "then" } else { "else" }], value, place, found);
            None
        }
        // Checked with `if`.
        "then" | "else" => None,
        "required" => {
            let has = |key: &Value| value.as_object().is_none_or(|entries| entries.contains_key(key.as_str().unwrap()));
            let missing = rule.as_array().unwrap().iter().find(|key| !has(key));
            missing.map(|key| format!("{key} is missing"))
        }
        "properties" | "additionalProperties" | "propertyNames" | "items" => {
            check_parts(word, rule, schema, value, place, found);
            None
        }
        "$ref" => {
            let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
            problems(whole().pointer(pointer).unwrap(), value, place, found);
            None
        }
        "minItems" => refuse(value.as_array().is_some_and(|items| (items.len() as u64) < rule.as_u64().unwrap())),
        "maxProperties" => refuse(value.as_object().is_some_and(|it| it.len() as u64 > rule.as_u64().unwrap())),
        "maxItems" => refuse(value.as_array().is_some_and(|items| items.len() as u64 > rule.as_u64().unwrap())),
        "uniqueItems" => refuse(
            value.as_array().is_some_and(|items| items.iter().enumerate().any(|(at, item)| items[..at].contains(item))),
        ),
        other => panic!("the keyword {other} is not checked here"),
    }
}

/// Returns the errors in the parts of `value`.
fn check_parts(word: &str, rule: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        if word == "items" {
            problems(rule, item, &format!("{place}/{at}"), found);
        }
    }
    for (key, part) in value.as_object().into_iter().flatten() {
        let place = format!("{place}/{key}");
        let known = schema["properties"].get(key);
        match (word, known) {
            ("properties", Some(known)) => problems(known, part, &place, found),
            ("additionalProperties", None) => problems(rule, part, &place, found),
            ("propertyNames", _) => problems(rule, &json!(key), &format!("{place} (name)"), found),
            _ => {}
        }
    }
}

/// Returns all errors that the schema finds in a manifest; `None` if it is not TOML.
fn schema_problems(text: &str) -> Option<Vec<String>> {
    let manifest: toml::Table = toml::from_str(text).ok()?;
    let mut found = Vec::new();
    problems(&schema(), &serde_json::to_value(manifest).unwrap(), "", &mut found);
    Some(found)
}

fn manifests(kind: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(kind);
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let text = fs::read(&path).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), String::from_utf8_lossy(&text).into_owned())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn manifests_that_the_reader_accepts_fit_the_schema() {
    let variables = "manifest_version = 1\n[pipeline]\nname = \"${NAME}\"\njoin = \"${JOIN}\"\n[metadata_store]\nkind = \"${KIND}\"\n\
        [actions.a]\ncomponent = \"${FILE}\"\ndigest = \"sha256:${DIGEST}\"\nafter = [\"${NODE}\"]\nlimits = { cpu = \"${CPU}\" }\n\
        secrets = { A = \"${WHERE}\" }\nretry = { backoff = \"${N}s\" }\n";
    for (name, text) in manifests("valid").into_iter().chain([("variables".to_owned(), variables.to_owned())]) {
        assert_eq!(schema_problems(&text), Some(Vec::new()), "{name}");
    }
}

#[test]
fn the_pipelines_of_the_repository_fit_the_schema() {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/pipelines");
    let mut seen_any = false;
    for entry in fs::read_dir(pipelines).unwrap() {
        for file in fs::read_dir(entry.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            if path.extension().is_some_and(|it| it == "toml") && text.contains("\nmanifest_version =") {
                seen_any = true;
                assert_eq!(schema_problems(&text), Some(Vec::new()), "{text}");
            }
        }
    }
    assert!(seen_any);
}

/// Every fixture of an invalid manifest, with the errors that the schema finds: wrong types, keys,
/// formats and numbers. Manifests in which it finds none are listed, too, so that a change of the
/// schema shows.
#[test]
fn problems_that_the_schema_finds_in_invalid_manifests() {
    let mut all = String::new();
    for (name, text) in manifests("invalid") {
        let found = schema_problems(&text);
        let what = match &found {
            None => "no TOML".to_owned(),
            Some(found) if found.is_empty() => "nothing".to_owned(),
            Some(found) => found.join("\n    "),
        };
        let _ = writeln!(all, "{name}:\n    {what}");
    }
    insta::assert_snapshot!(all);
}

/// Returns a manifest with `key = value` in the table that `table` opens.
fn with(table: &str, key: &str, value: &str) -> String {
    let version = if key == "manifest_version" { "" } else { "manifest_version = 1\n" };
    // The lines that open the table may already have the key.
    let table: Vec<&str> = table.lines().filter(|line| key != "kind" || !line.starts_with("kind = ")).collect();
    format!("{version}{}\n{key} = {value}\n", table.join("\n"))
}

/// The tables of a manifest: the lines that open each, and its location in the schema.
const TABLES: [(&str, &str); 18] = [
    ("", ""),
    ("[pipeline]", "/properties/pipeline"),
    ("[server]", "/properties/server"),
    ("[retention]", "/properties/retention"),
    ("[retention.runs]", "/properties/retention/properties/runs"),
    ("[retention.logs]", "/properties/retention/properties/logs"),
    ("[triggers.t]", "/properties/triggers/additionalProperties"),
    ("[triggers.t.cron]", "/properties/triggers/additionalProperties/properties/cron/anyOf/1"),
    ("[triggers.t.component]", "/$defs/trigger_component"),
    ("[triggers.t.component.limits]", "/$defs/trigger_component/properties/limits"),
    ("[triggers.t.metric]", "/properties/triggers/additionalProperties/properties/metric"),
    ("[[triggers.t.any]]", "/$defs/pipeline_condition"),
    ("[resources.r]\nkind = \"folder\"\n[[resources.r.trigger.all]]", "/$defs/condition"),
    ("[actions.a]", "/properties/actions/additionalProperties"),
    ("[actions.a.build]", "/properties/actions/additionalProperties/properties/build"),
    ("[actions.a.limits]", "/properties/actions/additionalProperties/properties/limits"),
    ("[openlineage.n]", "/properties/openlineage/additionalProperties"),
    ("[actions.a.retry]", "/properties/actions/additionalProperties/properties/retry"),
];

/// The tables whose keys depend on their `kind`.
const KINDS: [(&str, &str); 3] = [
    ("[metadata_store]", "/properties/metadata_store"),
    ("[resources.r]", "/properties/resources/additionalProperties"),
    ("[notify.n]", "/properties/notify/additionalProperties"),
];

/// Returns all tables of a manifest; see [`TABLES`].
fn tables(schema: &Value) -> Vec<(String, String)> {
    let mut tables: Vec<_> = TABLES.iter().map(|(table, place)| ((*table).to_owned(), (*place).to_owned())).collect();
    for (table, place) in KINDS {
        for (kind, form) in kinds(schema.pointer(place).unwrap()) {
            let (table, place) = (format!("{table}\nkind = \"{kind}\""), format!("{place}{form}"));
            let trigger = format!("{place}/properties/trigger");
            if schema.pointer(&trigger).is_some() {
                tables.push((format!("{table}\n[resources.r.trigger]"), trigger));
            }
            tables.push((table, place));
        }
    }
    tables
}

fn messages(text: &str) -> Vec<String> {
    match parse_pinned(text, Path::new("/"), Path::new("/anacostia.toml"), &|_| None) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list().iter().map(|problem| problem.message().to_owned()).collect(),
    }
}

/// Checks that the reader knows each key of the schema at `place` with the same type, and refuses
/// an unknown key.
fn check_keys(schema: &Value, table: &str, place: &str) {
    let described = schema.pointer(&format!("{place}/properties")).unwrap().as_object().unwrap();
    // A table that names its kind has that key already.
    for (key, about) in described.iter().filter(|(key, _)| !table.contains(&format!("\n{key} = "))) {
        // For every known key, the reader reports an error for a date, because no key is a
        // date.
        let found = messages(&with(table, key, "2026-01-01"));
        assert!(!found.iter().any(|message| message.contains("unknown key")), "{key} of {table:?}: {found:?}");
        // `cron` and `component` of a trigger are a string or a table, `paging` too.
        let wanted = match about["type"].as_str().unwrap_or(if matches!(key.as_str(), "cron" | "component") {
            "string"
        } else {
            "object"
        }) {
            "object" => "a table",
            "array" => "a list",
            "string" => "a string",
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            other => panic!("{other}"),
        };
        let refused = format!("must be {wanted}");
        assert!(found.iter().any(|message| message.contains(&refused)), "{key} of {table:?}: {found:?}");
    }
    let found = messages(&with(table, "zebra", "1"));
    assert!(found.iter().any(|message| message.contains("unknown key `zebra`")), "{table:?}: {found:?}");
}

/// Starts from the schema: the reader knows each of its keys with the same type, and both refuse an
/// unknown key.
#[test]
fn schema_and_reader_have_the_same_keys() {
    let schema = schema();
    for (table, place) in tables(&schema) {
        check_keys(&schema, &table, &place);
        let found = schema_problems(&with(&table, "zebra", "1")).unwrap();
        let refuses = |wrong: &String| wrong.ends_with("/zebra: not known") || wrong.ends_with("none of the forms");
        assert!(found.iter().any(refuses), "{table:?}: {found:?}");
    }
}

/// Defaults and examples in the schema are valid values.
#[test]
fn every_default_and_example_fits_its_own_schema() {
    fn check_examples(schema: &Value, count: &mut usize) {
        let examples = schema["examples"].as_array().into_iter().flatten();
        for value in examples.chain(schema.get("default")) {
            let mut found = Vec::new();
            problems(schema, value, "", &mut found);
            assert!(found.is_empty(), "{found:?} in {schema}");
            *count += 1;
        }
        let inner = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|it| it.values());
        for schema in inner.chain(schema.get("additionalProperties")).filter(|schema| schema.is_object()) {
            check_examples(schema, count);
        }
    }
    let mut count = 0;
    check_examples(&schema(), &mut count);
    assert!(count > 40, "{count}");
}

#[test]
fn schema_prints_only_the_schema() {
    let output = anacostia().arg("schema").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), schema());
}

#[test]
fn the_schema_has_not_changed() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&schema()).unwrap());
}
