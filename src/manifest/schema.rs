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

use serde::{Serialize, Serializer};
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
pub(super) const BASE_PATH: &str = "^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?)?$";
pub(super) const DIGEST: &str = "^sha256:[0-9a-fA-F]{64}$";
pub(super) const SIZE: &str = r"^\s*\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*([kKmMgGtT][iI]?)?[bB]$";
pub(super) const SPAN: &str = r"^\s*\+?[0-9]+\s*(ms|s|m|h|d)$";

/// What a key may hold: its JSON Schema, and the bounds and the default that the reader needs too.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) schema: Value,
    pub(super) measure: Option<Measure>,
}

/// The bounds and the default of a number, with or without a unit.
#[derive(Debug, Clone)]
pub(super) enum Measure {
    /// A whole number.
    Whole(Range<u64>),
    /// A number of bytes.
    Size(Range<u64>),
    /// A time span.
    Span(Range<Duration>),
}

/// Bounds and a default.
#[derive(Debug, Clone)]
pub(super) struct Range<T> {
    pub(super) bounds: RangeInclusive<T>,
    pub(super) default: Option<T>,
}

impl From<Value> for Shape {
    fn from(schema: Value) -> Self {
        Self { schema, measure: None }
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.schema.serialize(serializer)
    }
}

impl Shape {
    /// Returns a value to propose, in the form in which it is written in a manifest: the first
    /// example, or the default.
    pub(super) fn example(&self) -> String {
        let example = self.schema.get("examples").and_then(|examples| examples.get(0));
        example.or_else(|| self.schema.get("default")).map(Value::to_string).unwrap_or_default()
    }
}

/// Unlike other lists, this one may contain an argument twice.
pub(super) fn arguments() -> Shape {
    let doc = "What a command is called with, after its name.";
    Shape::from(json!({"type": "array", "description": doc, "items": {"type": "string"},
        "maxItems": settings::MAX_ARGS, "default": [], "examples": [["--verbose", "/in/raw/a.csv"]]}))
}

/// A key of a section: its name, its common wrong names, and what it may hold.
pub(super) type Row = (&'static str, &'static [&'static str], Shape);

/// Returns the schema of a table with exactly these keys, in this order.
pub(super) fn object(doc: &str, rows: &[Row], required: &[&str]) -> Shape {
    let properties: Map<String, Value> =
        rows.iter().map(|(key, _, shape)| ((*key).to_owned(), shape.schema.clone())).collect();
    let mut table = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !doc.is_empty() {
        set(&mut table, "description", json!(doc));
    }
    if !required.is_empty() {
        set(&mut table, "required", json!(required));
    }
    table.into()
}

pub(super) fn set(schema: &mut Value, key: &str, value: Value) {
    if let Some(entries) = schema.as_object_mut() {
        entries.insert(key.to_owned(), value);
    }
}

pub(super) fn with_default(mut shape: Shape, default: impl Serialize) -> Shape {
    set(&mut shape.schema, "default", json!(default));
    shape
}

pub(super) fn without_default(mut shape: Shape) -> Shape {
    if let Some(entries) = shape.schema.as_object_mut() {
        entries.remove("default");
    }
    match &mut shape.measure {
        Some(Measure::Whole(range) | Measure::Size(range)) => range.default = None,
        Some(Measure::Span(range)) => range.default = None,
        None => {}
    }
    shape
}

/// Proposes this value.
pub(super) fn with_example(mut shape: Shape, example: impl Serialize) -> Shape {
    set(&mut shape.schema, "examples", json!([example]));
    shape
}

pub(super) fn text(doc: &str) -> Shape {
    json!({"type": "string", "description": doc}).into()
}

/// Returns the shape of a string of this form, or with a variable.
pub(super) fn form(doc: &str, pattern: &str, example: &str) -> Shape {
    let pattern = format!("{pattern}|{VARIABLE}");
    json!({"type": "string", "description": doc, "pattern": pattern, "examples": [example]}).into()
}

/// Returns the shape of one of a few values, the first of which is the default, or of a string with
/// a variable.
pub(super) fn choice<T>(doc: &str, words: &[(&str, T)]) -> Shape {
    let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let forms = json!([{"enum": list}, {"pattern": VARIABLE}]);
    json!({"type": "string", "description": doc, "default": list.first(), "anyOf": forms}).into()
}

pub(super) fn boolean(doc: &str) -> Shape {
    json!({"type": "boolean", "description": doc, "default": false}).into()
}

pub(super) fn integer(doc: &str, bounds: RangeInclusive<u64>, default: Option<u64>) -> Shape {
    let (least, most) = (bounds.start(), bounds.end());
    let mut schema = json!({"type": "integer", "description": doc, "minimum": least, "maximum": most});
    if let Some(default) = default {
        set(&mut schema, "default", json!(default));
    }
    Shape { schema, measure: Some(Measure::Whole(Range { bounds, default })) }
}

/// Returns the shape of a byte size. Its bounds are only in the description of the schema, because
/// a schema cannot compare values with units.
pub(super) fn size(doc: &str, bounds: &RangeInclusive<u64>, default: u64) -> Shape {
    let shown = |bytes: u64| ByteSize(bytes).to_string().replace(' ', "");
    let doc = format!("{doc} From {} to {}.", shown(*bounds.start()), shown(*bounds.end()));
    let example = if default == 0 { 64 << 20 } else { default };
    let shape = with_default(form(&doc, SIZE, &shown(example)), shown(default));
    Shape { measure: Some(Measure::Size(Range { bounds: bounds.clone(), default: Some(default) })), ..shape }
}

/// Returns the shape of a time span. Its bounds are only in the description of the schema, as in
/// [`size`].
pub(super) fn span(doc: &str, bounds: &RangeInclusive<Duration>, default: Option<Duration>) -> Shape {
    let doc = format!("{doc} From {} to {}.", TimeSpan(*bounds.start()), TimeSpan(*bounds.end()));
    let example = default.filter(|span| !span.is_zero()).unwrap_or(Duration::from_secs(30));
    let mut shape = form(&doc, SPAN, &TimeSpan(example).to_string());
    if let Some(default) = default {
        shape = with_default(shape, TimeSpan(default).to_string());
    }
    Shape { measure: Some(Measure::Span(Range { bounds: bounds.clone(), default })), ..shape }
}

/// Returns the shape of a list of unique strings.
pub(super) fn strings(doc: &str, pattern: Option<&str>, example: &str) -> Shape {
    let item = match pattern {
        Some(pattern) => json!({"type": "string", "pattern": format!("{pattern}|{VARIABLE}")}),
        None => json!({"type": "string"}),
    };
    let list = json!({"type": "array", "description": doc, "items": item, "uniqueItems": true, "default": []});
    with_example(list.into(), [example])
}

/// Returns the shape of a list of unique words, each one of a few, or a string with a variable.
pub(super) fn words<T>(doc: &str, words: &[(&str, T)]) -> Shape {
    let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"type": "array", "description": doc, "uniqueItems": true, "default": [], "examples": [[list.first()]],
        "items": {"type": "string", "anyOf": [{"enum": list}, {"pattern": VARIABLE}]}})
    .into()
}

pub(super) fn params(doc: &str) -> Shape {
    json!({"type": "object", "description": doc, "default": {}, "examples": [{"seed": 7}]}).into()
}

pub(super) fn variables(doc: &str, value: &Value) -> Shape {
    json!({"type": "object", "description": doc, "default": {}, "propertyNames": {"pattern": VARIABLE_NAME},
        "additionalProperties": value})
    .into()
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
