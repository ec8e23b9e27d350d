//! The JSON Schema of values: building blocks for the tables in [`keys`](super::keys).
//!
//! The schema is written as data, over the same keys and bounds as the reader. A derive
//! (`schemars`) was rejected: it describes types that `serde` would read, but the reader does not
//! use `serde` (see the parent module), and the resulting types differ from the text. `"10m"`
//! becomes a `Duration`, paths become absolute, defaults are filled in. A second set of types would
//! be needed only for the schema, and nothing would keep the two consistent. A test fails if the
//! schema refuses a valid manifest.
//!
//! A schema applies to the text before `${…}` is expanded. Wherever a string must have a certain
//! form, a string with a variable is therefore also allowed: the schema refuses nothing that the
//! reader accepts. Only `anacostia check` checks what involves several places (edges, names,
//! files).

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::settings;
use crate::base::{ByteSize, TimeSpan};

/// Pattern of a string that contains a variable.
pub(super) const VARIABLE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}";
pub(super) const NAME: &str = "^[a-z][a-z0-9_-]{0,62}$";
pub(super) const VARIABLE_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
pub(super) const SOURCE: &str = "Where the value is.";
pub(super) const ENV: &str = "^env:[A-Za-z_][A-Za-z0-9_]*$";
/// Less strict than the reader, which parses addresses.
pub(super) const HOST: &str = r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?$";
pub(super) const STDIN: &str = "^[a-z][a-z0-9_-]{0,62}(/.+)?$";
pub(super) const DIGEST: &str = "^sha256:[0-9a-fA-F]{64}$";
pub(super) const SIZE: &str = r"^\s*\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*([kKmMgGtT][iI]?)?[bB]$";
pub(super) const SPAN: &str = r"^\s*\+?[0-9]+\s*(ms|s|m|h|d)$";

/// Unlike other lists, this one may contain an argument twice.
pub(super) fn arguments() -> Value {
    json!({"type": "array", "description": "What a command is called with, after its name.", "items": {"type": "string"},
        "maxItems": settings::MAX_ARGS, "default": [], "examples": [["--verbose", "/in/raw/a.csv"]]})
}

/// A key of a section: its name, its common wrong names, and its schema.
pub(super) type Row = (&'static str, &'static [&'static str], Value);

/// Returns the schema of a table with exactly these keys, in this order.
pub(super) fn object(doc: &str, rows: &[Row], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        rows.iter().map(|(key, _, shape)| ((*key).to_owned(), shape.clone())).collect();
    let mut table = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !doc.is_empty() {
        set(&mut table, "description", json!(doc));
    }
    if !required.is_empty() {
        set(&mut table, "required", json!(required));
    }
    table
}

pub(super) fn set(schema: &mut Value, key: &str, value: Value) {
    if let Some(entries) = schema.as_object_mut() {
        entries.insert(key.to_owned(), value);
    }
}

pub(super) fn with_default(mut schema: Value, default: impl Serialize) -> Value {
    set(&mut schema, "default", json!(default));
    schema
}

pub(super) fn without_default(mut schema: Value) -> Value {
    if let Some(entries) = schema.as_object_mut() {
        entries.remove("default");
    }
    schema
}

pub(super) fn text(doc: &str) -> Value {
    json!({"type": "string", "description": doc})
}

/// Returns the schema of a string of this form, or with a variable.
pub(super) fn form(doc: &str, pattern: &str, example: &str) -> Value {
    json!({"type": "string", "description": doc, "pattern": format!("{pattern}|{VARIABLE}"), "examples": [example]})
}

/// Returns the schema of one of a few values, the first of which is the default, or of a string
/// with a variable.
pub(super) fn choice<T>(doc: &str, words: &[(&str, T)]) -> Value {
    let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"type": "string", "description": doc, "default": list.first(), "anyOf": [{"enum": list}, {"pattern": VARIABLE}]})
}

pub(super) fn boolean(doc: &str) -> Value {
    json!({"type": "boolean", "description": doc, "default": false})
}

pub(super) fn integer(doc: &str, bounds: RangeInclusive<u64>, default: Option<u64>) -> Value {
    let (least, most) = bounds.into_inner();
    let mut schema = json!({"type": "integer", "description": doc, "minimum": least, "maximum": most});
    if let Some(default) = default {
        set(&mut schema, "default", json!(default));
    }
    schema
}

/// Returns the schema of a byte size. Its bounds are only in the description, because a schema
/// cannot compare values with units.
pub(super) fn size(doc: &str, bounds: &RangeInclusive<u64>, default: u64) -> Value {
    let shown = |bytes: u64| ByteSize(bytes).to_string().replace(' ', "");
    let doc = format!("{doc} From {} to {}.", shown(*bounds.start()), shown(*bounds.end()));
    with_default(form(&doc, SIZE, "64MiB"), shown(default))
}

/// Returns the schema of a time span. Its bounds are only in the description, as in [`size`].
pub(super) fn span(doc: &str, bounds: &RangeInclusive<Duration>, default: Option<Duration>) -> Value {
    let doc = format!("{doc} From {} to {}.", TimeSpan(*bounds.start()), TimeSpan(*bounds.end()));
    let schema = form(&doc, SPAN, "30s");
    match default {
        Some(default) => with_default(schema, TimeSpan(default).to_string()),
        None => schema,
    }
}

/// Returns the schema of a list of unique strings.
pub(super) fn strings(doc: &str, pattern: Option<&str>, example: &str) -> Value {
    let item = match pattern {
        Some(pattern) => json!({"type": "string", "pattern": format!("{pattern}|{VARIABLE}")}),
        None => json!({"type": "string"}),
    };
    json!({"type": "array", "description": doc, "items": item, "uniqueItems": true, "default": [], "examples": [[example]]})
}

/// Returns the schema of a list of unique words, each one of a few, or a string with a variable.
pub(super) fn words<T>(doc: &str, words: &[(&str, T)]) -> Value {
    let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"type": "array", "description": doc, "uniqueItems": true, "default": [], "examples": [[list.first()]],
        "items": {"type": "string", "anyOf": [{"enum": list}, {"pattern": VARIABLE}]}})
}

pub(super) fn params(doc: &str) -> Value {
    json!({"type": "object", "description": doc, "default": {}, "examples": [{"seed": 7}]})
}

pub(super) fn variables(doc: &str, value: &Value) -> Value {
    json!({"type": "object", "description": doc, "default": {}, "propertyNames": {"pattern": VARIABLE_NAME},
        "additionalProperties": value})
}

#[cfg(test)]
mod tests {
    use crate::base::{ByteSize, TimeSpan};

    #[test]
    fn schema_patterns_accept_what_the_reader_accepts() {
        let [size, span] = [super::SIZE, super::SPAN].map(|form| regex_lite::Regex::new(form).unwrap());
        for text in ["0B", "512 B", "64KiB", "1.5 GiB", "10MB", "1gib", " 7 tib", ".5MiB", "1e3kB", "5.MB", "+5B"] {
            assert!(text.parse::<ByteSize>().is_ok() && size.is_match(text), "{text}");
        }
        for text in ["", "12", "MiB", "-1MiB", "1 XB", "nanMiB", "1KiBs"] {
            assert!(text.parse::<ByteSize>().is_err() && !size.is_match(text), "{text}");
        }
        for text in ["500ms", "60s", "90 s", "2h", "0s", "30d", " 5m"] {
            assert!(text.parse::<TimeSpan>().is_ok() && span.is_match(text), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1w"] {
            assert!(text.parse::<TimeSpan>().is_err() && !span.is_match(text), "{text}");
        }
    }
}
