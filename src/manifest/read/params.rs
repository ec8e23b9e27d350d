//! `params`: converts TOML to JSON. Variables are not expanded, because params are recorded as
//! written.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::problem::Problem;
use super::super::tree::{Reader, Table};

/// Reads the object under `params`.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> Map<String, Value> {
    let Some(value) = table.get("params") else { return Map::new() };
    let name = format!("`params` of {}", table.name);
    match (value.get_ref(), reader.open_table(name, table.key_span("params"), value, "`params = { seed = 7 }`")) {
        (DeValue::Table(entries), Some(_)) => object(reader, entries),
        _ => Map::new(),
    }
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
            let finite = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            finite.map_or_else(|| refuse(reader, value, "JSON has no such number"), Value::Number)
        }
    }
}

fn refuse(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, why: &str) -> Value {
    reader.complain(Problem::new(why).at(&value.span(), "here").help("write it as a string"));
    Value::Null
}
