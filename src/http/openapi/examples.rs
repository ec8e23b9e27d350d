//! Values for the examples of the document. A member has the same value wherever it has the same
//! meaning, so that the examples tell one story: run 7 trains a model on a new file.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// Values by `Type.member`, by `Type`, by `Problem` and a status, and by the name of a member or a
/// parameter.
static VALUES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default());

/// Members that may be absent or `null`, and that examples have.
const SHOWN: &[&str] = &[
    "Artifact.digest",
    "Artifact.run_id",
    "ComponentDiff.a",
    "ComponentDiff.b",
    "Event.run_id",
    "FileDiff.a",
    "FileDiff.b",
    "FileVersion.digest",
    "MetricDiff.a",
    "MetricDiff.b",
    "Node.resource",
    "ParamDiff.a",
    "ParamDiff.b",
    "Pending.newest_at",
    "Pending.oldest_at",
    "ResourceNode.pending",
    "ResourceNode.trigger",
    "Tick.resource",
    "TimingDiff.a",
    "TimingDiff.b",
    "TriggerPreview.resource",
];

/// Adds an example to each member and parameter that has none, and to each body.
pub(super) fn add(document: &mut Value) {
    let schemas = document.pointer("/components/schemas").cloned().unwrap_or_default();
    let known = Known { schemas: &schemas };
    for (name, schema) in members_mut(document.pointer_mut("/components/schemas")) {
        known.describe(name, schema);
    }
    for (_, methods) in members_mut(document.get_mut("paths")) {
        for (_, operation) in members_mut(Some(methods)) {
            known.of_operation(operation);
        }
    }
}

fn members_mut(value: Option<&mut Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    value.and_then(Value::as_object_mut).into_iter().flat_map(Map::iter_mut)
}

/// The schemas as they come from the types.
struct Known<'s> {
    schemas: &'s Value,
}

impl Known<'_> {
    fn of_operation(&self, operation: &mut Value) {
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if let Some(schema) = parameter.get_mut("schema") {
                give(schema, VALUES.get(&name).cloned());
            }
        }
        let bodies = members_mut(operation.pointer_mut("/requestBody/content")).map(|(_, media)| media);
        bodies.for_each(|media| self.of_media(media));
        for (status, response) in members_mut(operation.get_mut("responses")) {
            for (_, media) in members_mut(response.get_mut("content")) {
                self.of_media(media);
                if let (Some(problem), Some(media)) = (VALUES.get(format!("Problem {status}")), media.as_object_mut()) {
                    media.insert("example".to_owned(), problem.clone());
                }
            }
        }
    }

    fn of_media(&self, media: &mut Value) {
        let example = media.get("schema").and_then(|schema| self.value("", schema, &mut Vec::new()));
        if let (Some(example), Some(media)) = (example, media.as_object_mut()) {
            media.insert("example".to_owned(), example);
        }
    }

    /// Gives the members of a schema examples.
    fn describe(&self, name: &str, schema: &mut Value) {
        for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
            self.describe(name, part);
        }
        for (member, schema) in members_mut(schema.get_mut("properties")) {
            // A reference has the examples of what it refers to.
            if schema.get("type").is_some() {
                let example = self.value(&format!("{name}.{member}"), schema, &mut Vec::new());
                give(schema, example.filter(|example| !example.is_null()));
            }
        }
    }

    /// Returns an example of a schema at a place, such as `Run.state`; `None` if there is none
    /// without end. `above` are the types around it.
    fn value(&self, place: &str, schema: &Value, above: &mut Vec<String>) -> Option<Value> {
        let member = place.rsplit('.').next().unwrap_or_default();
        let chosen = VALUES.get(place).or_else(|| VALUES.get(member)).filter(|value| fits(value, schema, self.schemas));
        let own = schema.get("examples").and_then(|examples| examples.get(0));
        if let Some(value) = chosen.or(own).or_else(|| schema.get("default")) {
            return Some(value.clone());
        }
        if let Some(name) = referred(schema) {
            return self.of_type(name, above);
        }
        if let Some(parts) = schema.get("oneOf").and_then(Value::as_array) {
            let is_null = |part: &&Value| part.get("type").is_some_and(|kind| kind == "null");
            let null = parts.iter().find(is_null).filter(|_| !SHOWN.contains(&place));
            let chosen = null.or_else(|| parts.iter().find(|part| !is_null(part)));
            return chosen.and_then(|part| self.value("", part, above));
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return words.first().cloned();
        }
        match kind(schema) {
            Some("object") | None => self.object(place, schema, above),
            Some("array") => {
                let items = schema.get("items").filter(|items| referred(items).is_some());
                Some(items.and_then(|items| self.value("", items, above)).into_iter().collect())
            }
            Some("string") => Some(json!("")),
            Some("integer" | "number") => Some(schema.get("minimum").cloned().unwrap_or_else(|| json!(0))),
            Some("boolean") => Some(json!(false)),
            Some(_) => Some(Value::Null),
        }
    }

    fn of_type(&self, name: &str, above: &mut Vec<String>) -> Option<Value> {
        if above.iter().any(|other| other == name) {
            return None;
        }
        let schema = self.schemas.get(name)?;
        above.push(name.to_owned());
        let value = self.value(name, schema, above);
        above.pop();
        value
    }

    /// Returns an object with the members that are always there, and those of [`SHOWN`].
    fn object(&self, name: &str, schema: &Value, above: &mut Vec<String>) -> Option<Value> {
        let mut whole = Map::new();
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let name = if referred(part).is_some() { "" } else { name };
            if let Some(Value::Object(members)) = self.value(name, part, above) {
                whole.extend(members);
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for (member, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let place = format!("{name}.{member}");
            let is_required = required.is_some_and(|names| names.iter().any(|name| name == member));
            if is_required || SHOWN.contains(&place.as_str()) {
                whole.insert(member.clone(), self.value(&place, schema, above)?);
            }
        }
        Some(Value::Object(whole))
    }
}

/// Adds an example to a schema that has none.
fn give(schema: &mut Value, example: Option<Value>) {
    if let (Some(example), Some(schema)) = (example, schema.as_object_mut()) {
        schema.entry("examples").or_insert_with(|| json!([example]));
    }
}

/// Returns the name of the type that a schema refers to.
fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")
}

/// Returns the type of a schema; if it may be null, `null`.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::Array(_) => Some("null"),
        one => one.as_str(),
    }
}

/// Returns whether a value is one of a schema, as far as its type goes.
fn fits(value: &Value, schema: &Value, schemas: &Value) -> bool {
    if let Some(name) = referred(schema) {
        return schemas.get(name).is_some_and(|schema| fits(value, schema, schemas));
    }
    if let Some(parts) = schema.get("oneOf").and_then(Value::as_array) {
        return parts.iter().any(|part| fits(value, part, schemas));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.contains(value);
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    };
    match schema.get("type") {
        None => schema.get("allOf").is_none() || value.is_object(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).any(is),
        Some(kind) => kind.as_str().is_some_and(is),
    }
}
