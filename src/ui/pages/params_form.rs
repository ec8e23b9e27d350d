//! The form of the params of a run, made from `[pipeline.params_schema]`.
//!
//! A field that is left empty is not sent: the run takes the pipeline's value. The schema itself is
//! checked where the run is started, so a field checks no more than that its text is a value.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::bounds::cut;
use crate::base::{escape, first_beyond_64_bits};
use crate::manifest::Pipeline;

/// What the name of each field begins with.
const PREFIX: &str = "p.";
/// The field for all params together, as JSON, where there is no schema with properties.
const WHOLE: &str = "params";
/// Most fields of a form.
const MAX_FIELDS: usize = 100;
/// Longest text of a default in a form, in bytes.
const MAX_SHOWN: usize = 200;

/// The fields of a form.
#[derive(Debug, Default, Serialize)]
pub(super) struct ParamsForm {
    fields: Vec<Field>,
    /// The field for params as JSON, if there are no other fields: its text.
    whole: Option<String>,
}

#[derive(Debug, Serialize)]
struct Field {
    name: String,
    label: String,
    about: Option<String>,
    /// What the field is: `select`, `number`, `text` or `json`.
    input: &'static str,
    /// The value that applies if nothing is chosen.
    default: Option<String>,
    required: bool,
    /// Of a `select`: the value as JSON, its text, and whether it is chosen.
    options: Vec<(String, String, bool)>,
    min: Option<String>,
    max: Option<String>,
    step: &'static str,
    /// What the reader has sent.
    value: String,
}

/// The kind of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Choice,
    Integer,
    Number,
    Text,
    Json,
}

impl ParamsForm {
    /// Returns the form of a pipeline. `sent` is what the reader has sent before.
    pub(super) fn of(pipeline: &Pipeline, sent: &BTreeMap<String, String>) -> Self {
        let Some(properties) = properties(pipeline) else {
            return Self { fields: Vec::new(), whole: Some(sent.get(WHOLE).cloned().unwrap_or_default()) };
        };
        let schema = pipeline.params_schema.iter();
        let required = schema.filter_map(|schema| schema.as_json().get("required")?.as_array()).flatten();
        let required: Vec<&str> = required.filter_map(Value::as_str).collect();
        let fields = properties.iter().take(MAX_FIELDS).map(|(name, schema)| {
            let default = pipeline.params.get(name).or_else(|| schema.get("default"));
            let value = sent.get(&format!("{PREFIX}{name}")).cloned().unwrap_or_default();
            field(name, schema, default, required.contains(&name.as_str()), value)
        });
        Self { fields: fields.collect(), whole: None }
    }
}

fn properties(pipeline: &Pipeline) -> Option<&Map<String, Value>> {
    let schema = pipeline.params_schema.as_ref()?.as_json();
    schema.get("properties")?.as_object().filter(|properties| !properties.is_empty())
}

fn kind(schema: &Value) -> Kind {
    if schema.get("enum").is_some_and(Value::is_array) {
        return Kind::Choice;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => Kind::Choice,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("string") => Kind::Text,
        _ => Kind::Json,
    }
}

fn field(name: &str, schema: &Value, default: Option<&Value>, required: bool, value: String) -> Field {
    let kind = kind(schema);
    let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| schema.get(key).filter(|value| value.is_number()).map(Value::to_string);
    let choices = match schema.get("enum").and_then(Value::as_array) {
        Some(choices) => choices.clone(),
        None if kind == Kind::Choice => vec![Value::Bool(true), Value::Bool(false)],
        None => Vec::new(),
    };
    let option = |choice: &Value| {
        let json = choice.to_string();
        let is_chosen = json == value;
        (json, shown(choice), is_chosen)
    };
    Field {
        name: format!("{PREFIX}{name}"),
        label: text("title").unwrap_or_else(|| name.to_owned()),
        about: text("description"),
        input: match kind {
            Kind::Choice => "select",
            Kind::Integer | Kind::Number => "number",
            Kind::Text => "text",
            Kind::Json => "json",
        },
        default: default.map(shown),
        required: required && default.is_none(),
        options: choices.iter().take(MAX_FIELDS).map(option).collect(),
        min: number("minimum"),
        max: number("maximum"),
        step: if kind == Kind::Integer { "1" } else { "any" },
        value,
    }
}

/// Returns a value as people write it: a text without quotes.
fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    cut(&text, MAX_SHOWN).into_owned()
}

/// Returns the params that a form says, or what is wrong with it.
pub(super) fn params(pipeline: &Pipeline, sent: &BTreeMap<String, String>) -> Result<Map<String, Value>, String> {
    let Some(properties) = properties(pipeline) else {
        let text = sent.get(WHOLE).map_or("", |text| text.trim());
        if text.is_empty() {
            return Ok(Map::new());
        }
        return match json("the params", text)? {
            Value::Object(params) => Ok(params),
            _ => Err("the params must be a JSON object, such as `{\"seed\": 7}`".to_owned()),
        };
    };
    let mut params = Map::new();
    for (name, schema) in properties.iter().take(MAX_FIELDS) {
        let Some(text) = sent.get(&format!("{PREFIX}{name}")).filter(|text| !text.is_empty()) else { continue };
        let label = || format!("the param `{}`", escape(cut(name, 60).as_bytes()));
        let value = match kind(schema) {
            Kind::Text => Value::String(text.clone()),
            Kind::Integer | Kind::Number => {
                let number = json(&label(), text.trim()).ok().filter(Value::is_number);
                let text = escape(cut(text, 60).as_bytes());
                number.ok_or_else(|| format!("{} is not a number: `{text}`", label()))?
            }
            Kind::Choice | Kind::Json => json(&label(), text)?,
        };
        params.insert(name.clone(), value);
    }
    Ok(params)
}

fn json(what: &str, text: &str) -> Result<Value, String> {
    match first_beyond_64_bits(text) {
        None => serde_json::from_str(text).map_err(|why| format!("{what} cannot be read as JSON: {why}")),
        Some(number) => Err(format!("{what}: {number} does not fit into 64 bits: write it as a string")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::parse_pinned;

    const SCHEMA: &str = r#"
[pipeline.params_schema]
type = "object"
required = ["seed", "model"]
[pipeline.params_schema.properties.seed]
type = "integer"
minimum = 0
maximum = 99
[pipeline.params_schema.properties.rate]
type = "number"
title = "Learning rate"
description = "How <fast> it learns"
[pipeline.params_schema.properties.model]
enum = ["forest", "tree"]
[pipeline.params_schema.properties.dry]
type = "boolean"
[pipeline.params_schema.properties.name]
type = "string"
[pipeline.params_schema.properties.layers]
type = "array"
"#;

    fn pipeline(schema: &str) -> Pipeline {
        let text = format!(
            "manifest_version = 1\n[pipeline]\nname = \"p\"\nparams = {{ seed = 7, model = \"tree\" }}\n{schema}\n[actions.train]\ncomponent = \"train.wasm\""
        );
        let folder = Path::new("/nowhere");
        parse_pinned(&text, folder, &folder.join("anacostia.toml"), &|_| None).unwrap()
    }

    fn sent(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_property_has_a_field_for_its_kind() {
        let form = ParamsForm::of(&pipeline(SCHEMA), &sent(&[("p.seed", "8"), ("p.model", "\"forest\"")]));
        let field = |label: &str| form.fields.iter().find(|field| field.label == label).unwrap();
        let seed = field("seed");
        assert_eq!((seed.input, seed.step, seed.value.as_str(), seed.required), ("number", "1", "8", false));
        assert_eq!(
            (seed.default.as_deref(), seed.min.as_deref(), seed.max.as_deref()),
            (Some("7"), Some("0"), Some("99"))
        );
        assert_eq!(field("Learning rate").about.as_deref(), Some("How <fast> it learns"));
        let options = [("\"forest\"", "forest", true), ("\"tree\"", "tree", false)];
        assert_eq!(field("model").options, options.map(|(json, text, is)| (json.to_owned(), text.to_owned(), is)));
        assert_eq!(field("dry").options.len(), 2);
        assert_eq!((field("name").input, field("layers").input), ("text", "json"));
        assert!(ParamsForm::of(&pipeline(""), &sent(&[])).whole.is_some());
    }

    #[test]
    fn what_is_sent_becomes_params() {
        let all = sent(&[
            ("p.seed", " 8 "),
            ("p.rate", "0.5"),
            ("p.model", "\"forest\""),
            ("p.dry", "true"),
            ("p.name", "7"),
            ("p.layers", "[1, 2]"),
            ("p.other", "x"),
        ]);
        assert_eq!(
            Value::Object(params(&pipeline(SCHEMA), &all).unwrap()),
            serde_json::json!({
                "seed": 8, "rate": 0.5, "model": "forest", "dry": true, "name": "7", "layers": [1, 2]
            })
        );
        assert_eq!(params(&pipeline(SCHEMA), &sent(&[("p.seed", "")])), Ok(Map::new()));
        assert_eq!(params(&pipeline(""), &sent(&[])), Ok(Map::new()));
        assert_eq!(params(&pipeline(""), &sent(&[("params", "{\"a\": 1}")])).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_value_is_named() {
        let wrong = |pairs: &[(&str, &str)]| params(&pipeline(SCHEMA), &sent(pairs)).unwrap_err();
        assert_eq!(wrong(&[("p.seed", "seven")]), "the param `seed` is not a number: `seven`");
        assert!(wrong(&[("p.layers", "[1,")]).starts_with("the param `layers` cannot be read as JSON: "));
        assert_eq!(
            params(&pipeline(""), &sent(&[("params", "[]")])),
            Err("the params must be a JSON object, such as `{\"seed\": 7}`".to_owned())
        );
    }
}
