//! `params`: converts TOML to JSON. Variables are not expanded, because params are recorded as
//! written.

use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::params_schema::{ParamError, ParamsSchema};
use super::super::problem::Problem;
use super::super::tree::{Reader, Table};
use crate::base::is_beyond_64_bits;

/// Reads the object under `key`: `params`, or their schema.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, example: &str) -> Map<String, Value> {
    let Some(value) = table.get(key) else { return Map::new() };
    let name = format!("`{key}` of {}", table.name);
    match (value.get_ref(), reader.open_table(name, table.key_span(key), value, &format!("`{key} = {example}`"))) {
        (DeValue::Table(entries), Some(_)) => object(reader, entries),
        _ => Map::new(),
    }
}

/// Reads `params_schema`, and checks that it is a JSON Schema.
pub(super) fn schema(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<ParamsSchema> {
    let value = table.get("params_schema").filter(|value| value.get_ref().is_table());
    let schema = read(reader, table, "params_schema", "{ properties = { seed = { type = \"integer\" } } }");
    let value = value?;
    match ParamsSchema::new(Value::Object(schema)) {
        Ok(schema) => Some(schema),
        Err(error) => {
            let problem = Problem::new(format!("`params_schema` is not a JSON Schema: {}", error.why));
            let span = place(value, &error.path).unwrap_or_else(|| table.key_span("params_schema"));
            reader.complain(problem.at(&span, "here"));
            None
        }
    }
}

/// Reports the params of the pipeline that do not fit its schema.
pub(super) fn report(reader: &mut Reader<'_>, table: &Table<'_>, errors: &[ParamError]) {
    for error in errors {
        let params = table.get("params");
        let value = params.filter(|_| !error.path.is_empty()).and_then(|params| place(params, &error.path));
        let key = error.stranger.as_ref().zip(params).and_then(|(name, params)| match params.get_ref() {
            DeValue::Table(entries) => entries.get_key_value(name.as_str()).map(|(key, _)| key.span()),
            _ => None,
        });
        let (span, label) = match value.or(key) {
            Some(span) => (span, "does not fit `params_schema`"),
            None if params.is_some() => (table.key_span("params"), "do not fit `params_schema`"),
            None => (table.key_span("params_schema"), "asked for here"),
        };
        let problem = Problem::new(error.to_string()).at(&span, label);
        let help = error.is_missing.then(|| "a run that a trigger starts has only these params: add it".to_owned());
        reader.complain(problem.maybe_help(help));
    }
}

/// Returns the place of the value to which a path leads, or of the last that exists on the way.
fn place(value: &Spanned<DeValue<'_>>, path: &[String]) -> Option<Range<usize>> {
    let Some((key, rest)) = path.split_first() else { return Some(value.span()) };
    let next = match value.get_ref() {
        DeValue::Table(entries) => entries.get(key.as_str()),
        DeValue::Array(items) => key.parse::<usize>().ok().and_then(|at| items.get(at)),
        _ => None,
    };
    next.and_then(|next| place(next, rest)).or_else(|| Some(value.span()))
}

fn object(reader: &mut Reader<'_>, entries: &DeTable<'_>) -> Map<String, Value> {
    entries.iter().map(|(key, value)| (key.get_ref().to_string(), json(reader, value))).collect()
}

/// Converts one value. The recursion is bounded, because the parser accepts at most 80 levels.
fn json(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        // JSON has no dates, so they become strings with the text of the manifest.
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| json(reader, item)).collect()),
        DeValue::Table(entries) => Value::Object(object(reader, entries)),
        DeValue::Integer(number) => {
            let (digits, radix) = (number.as_str(), number.radix());
            let whole = i64::from_str_radix(digits, radix)
                .map(Value::from)
                .or_else(|_| u64::from_str_radix(digits, radix).map(Value::from));
            whole.unwrap_or_else(|_| refuse(reader, value, "this number does not fit into 64 bits"))
        }
        DeValue::Float(number) => {
            if is_beyond_64_bits(number.as_str().trim_start_matches('+')) {
                return refuse(reader, value, "this number does not fit into 64 bits");
            }
            let finite = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            finite.map_or_else(|| refuse(reader, value, "JSON has no such number"), Value::Number)
        }
    }
}

fn refuse(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, why: &str) -> Value {
    reader.complain(Problem::new(why).at(&value.span(), "here").help("write it as a string"));
    Value::Null
}
