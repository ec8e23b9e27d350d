//! `[pipeline.params_schema]`: the JSON Schema that the params of a run must fit.

use std::fmt;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use crate::base::bounds::cut;
use crate::base::escape;

/// Most errors that a message has.
const MAX_ERRORS: usize = 10;
/// Longest text of one error, in bytes: it contains the value.
const MAX_TEXT: usize = 300;

/// A JSON Schema for the params of a run: those of the pipeline, overridden by those of the run.
#[derive(Clone)]
pub struct ParamsSchema {
    schema: Value,
    validator: Arc<Validator>,
}

/// One thing that is wrong with params, or with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamError {
    /// The keys and indices that lead to it; empty for all params together.
    pub path: Vec<String>,
    /// The param that should not be there.
    pub stranger: Option<String>,
    /// What is wrong, and what is allowed.
    pub why: String,
    /// Whether a param is missing, so that a run that has it may still fit.
    pub is_missing: bool,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_slice() {
            [] => f.write_str(&self.why),
            path => write!(f, "the param `{}` does not fit: {}", escape(path.join(".").as_bytes()), self.why),
        }
    }
}

impl ParamsSchema {
    /// Compiles a schema. Nothing is fetched: it may only refer to itself.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub fn new(schema: Value) -> Result<Self, ParamError> {
        jsonschema::meta::validate(&schema).map_err(|error| wrong(&error, &schema))?;
        let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
        // Expressions that backtrack could take a minute for one param.
        let options = options.with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| wrong(&error, &schema))?;
        Ok(Self { schema, validator: Arc::new(validator) })
    }

    /// Returns the schema as JSON.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.schema
    }

    /// Returns what is wrong with params; empty if they fit.
    #[must_use]
    pub fn errors(&self, params: &Map<String, Value>) -> Vec<ParamError> {
        let params = Value::Object(params.clone());
        self.validator.iter_errors(&params).take(MAX_ERRORS).map(|error| wrong(&error, &self.schema)).collect()
    }

    /// Checks the params of a run, `own` over those of the pipeline.
    ///
    /// # Errors
    /// A message that names each param that does not fit, and what is allowed.
    pub fn check(&self, of_pipeline: &Map<String, Value>, own: &Value) -> Result<(), String> {
        let mut params = of_pipeline.clone();
        if let Value::Object(own) = own {
            params.extend(own.clone());
        }
        let errors = self.errors(&params);
        if errors.is_empty() {
            return Ok(());
        }
        Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }
}

impl PartialEq for ParamsSchema {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

impl fmt::Debug for ParamsSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParamsSchema").field(&self.schema).finish()
    }
}

fn wrong(error: &ValidationError<'_>, schema: &Value) -> ParamError {
    let path = error.instance_path().as_str().split('/').skip(1);
    let path = path.map(|part| part.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>();
    let known = || {
        let names = schema.get("properties").and_then(Value::as_object).filter(|_| path.is_empty());
        let names: Vec<String> = names.into_iter().flat_map(Map::keys).map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let mut stranger = None;
    let (why, is_missing) = match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } if path.is_empty() => {
            (format!("the param `{name}` is missing"), true)
        }
        ValidationErrorKind::AdditionalProperties { unexpected } if path.is_empty() => {
            stranger = unexpected.first().cloned();
            let unexpected: Vec<String> = unexpected.iter().map(|name| format!("`{name}`")).collect();
            let none = if unexpected.len() == 1 { "is not a param" } else { "are not params" };
            (format!("{} {none} of this pipeline; it has {}", unexpected.join(", "), known()), false)
        }
        ValidationErrorKind::Referencing(why) => {
            (format!("a schema may only refer to itself, such as to `#/$defs/NAME`: {why}"), false)
        }
        ValidationErrorKind::AnyOf { .. } if path.last().is_some_and(|key| key == "type") => {
            let types = "array, boolean, integer, null, number, object, string";
            (format!("{} is not a type; the types are {types}", error.instance()), false)
        }
        _ => (error.to_string(), false),
    };
    let why = escape(cut(&why, MAX_TEXT).as_bytes());
    ParamError { path, stranger, why, is_missing }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::ParamsSchema;

    fn schema() -> ParamsSchema {
        ParamsSchema::new(json!({
            "type": "object",
            "required": ["seed"],
            "additionalProperties": false,
            "properties": {
                "seed": {"type": "integer"},
                "rate": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                "mode": {"enum": ["fast", "exact"]},
                "layers": {"type": "array", "items": {"type": "integer"}},
            },
        }))
        .unwrap()
    }

    fn refused(of_pipeline: &Value, own: &Value) -> String {
        schema().check(of_pipeline.as_object().unwrap(), own).unwrap_err()
    }

    #[test]
    fn params_of_a_run_are_checked_over_those_of_the_pipeline() {
        let pipeline = json!({ "seed": 7, "rate": 2 });
        let pipeline = pipeline.as_object().unwrap();
        assert!(schema().check(pipeline, &json!({})).is_err());
        assert_eq!(schema().check(pipeline, &json!({ "rate": 0.5, "layers": [1] })), Ok(()));
    }

    #[test]
    fn a_message_names_the_param_and_what_is_allowed() {
        let pipeline = json!({ "seed": 7 });
        for (own, message) in [
            (json!({ "rate": 2 }), "the param `rate` does not fit: 2 is greater than the maximum of 1"),
            (json!({ "seed": "7" }), "the param `seed` does not fit: \"7\" is not of type \"integer\""),
            (json!({ "mode": "slow" }), "the param `mode` does not fit: \"slow\" is not one of \"fast\" or \"exact\""),
            (json!({ "layers": [1, "x"] }), "the param `layers.1` does not fit: \"x\" is not of type \"integer\""),
            (json!({ "sed": 1 }), "`sed` is not a param of this pipeline; it has `layers`, `mode`, `rate`, `seed`"),
        ] {
            assert_eq!(refused(&pipeline, &own), message);
        }
        assert_eq!(refused(&json!({}), &json!({})), "the param `seed` is missing");
        let both = refused(&pipeline, &json!({ "rate": 0, "seed": 1.5 }));
        assert!(both.contains("`rate`") && both.contains("; the param `seed`"), "{both}");
        let long = refused(&pipeline, &json!({ "mode": "x".repeat(10_000) }));
        assert!(long.len() < 400, "{long}");
    }

    #[test]
    fn what_is_no_schema_is_refused_and_nothing_is_fetched() {
        let wrong = |schema| ParamsSchema::new(schema).unwrap_err();
        let kind = wrong(json!({ "properties": { "seed": { "type": "intger" } } }));
        assert_eq!(kind.path, ["properties", "seed", "type"]);
        assert!(kind.why.contains("intger"), "{}", kind.why);
        let remote = wrong(json!({ "$ref": "https://example.com/schema.json" }));
        assert!(remote.why.contains("example.com"), "{}", remote.why);
        let file = wrong(json!({ "$ref": "file:///etc/passwd" }));
        assert!(file.why.contains("passwd"), "{}", file.why);
        assert!(!wrong(json!({ "properties": { "a": { "pattern": "(" } } })).why.is_empty());
        assert!(!wrong(json!({ "properties": { "a": { "pattern": "(a+)+\\1" } } })).why.is_empty(), "backtracks");
        assert!(ParamsSchema::new(json!({ "$defs": { "a": {} }, "$ref": "#/$defs/a" })).is_ok());
    }
}
