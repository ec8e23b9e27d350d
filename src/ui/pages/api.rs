//! `/api`: the HTTP API for people, from the same document as `/openapi.json`.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::model::quoted;
use crate::ui::page::{self, Head, Section};
use crate::ui::{Pages, text};

/// Where examples send their requests if the reader's address is not known.
const SOMEWHERE: &str = "127.0.0.1:8000";

#[derive(Debug, Serialize)]
struct Content {
    about: Vec<String>,
    groups: Vec<Group>,
    types: Vec<Type>,
}

/// Operations about one subject.
#[derive(Debug, Serialize)]
struct Group {
    id: String,
    name: String,
    about: String,
    operations: Vec<Operation>,
}

#[derive(Debug, Serialize)]
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    curl: String,
    parameters: Vec<Row>,
    body: Option<Body>,
    answers: Vec<Answer>,
    example: Option<String>,
}

/// A parameter, or a member of a type.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Where a parameter is.
    place: &'static str,
    required: bool,
    kind: Kind,
    about: About,
}

#[derive(Debug, Serialize)]
struct Body {
    media_type: String,
    kind: Kind,
    example: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    status: String,
    about: String,
    media_type: String,
    kind: Kind,
}

/// A type that answers or bodies have.
#[derive(Debug, Serialize)]
struct Type {
    name: String,
    kind: Kind,
    /// The first paragraph of what is said about it, and the rest.
    summary: String,
    about: About,
    /// The types whose members it has, too.
    with: Vec<String>,
    members: Vec<Row>,
}

/// What a value is: some words, the name of a type, and more words.
#[derive(Debug, Default, Serialize)]
struct Kind {
    before: String,
    name: Option<String>,
    after: String,
}

/// What is said about something: paragraphs, then one line for each of its words.
#[derive(Debug, Default, Serialize)]
struct About {
    text: Vec<String>,
    words: Vec<String>,
}

/// `GET /api`
pub(in crate::ui) async fn show(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(SOMEWHERE);
    let pipeline = pages.view.pipeline();
    let scheme = if pipeline.tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{host}{}", pipeline.base_path);
    let content = content(pages.api, &Caller { address: &address, has_token: pipeline.token.is_some() });
    let head = Head::of(Section::Api, "api.html", "API");
    page::answer(&pages, Ok((head, content))).await
}

/// Who sends the requests of the examples.
struct Caller<'a> {
    /// The address of the server, which the path of a route follows.
    address: &'a str,
    has_token: bool,
}

fn content(document: &Value, caller: &Caller) -> Content {
    let groups = items(document, "tags").map(|tag| {
        let name = word(tag, "name");
        let operations = members(document, "paths").flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            let own = methods.filter(|(_, it)| items(it, "tags").any(|tag| tag == name));
            own.map(|(method, it)| operation(&method.to_uppercase(), path, it, caller)).collect::<Vec<_>>()
        });
        let id = name.to_lowercase();
        Group {
            id,
            name: name.to_owned(),
            about: word(tag, "description").to_owned(),
            operations: operations.collect(),
        }
    });
    let schemas = document.get("components").unwrap_or(&Value::Null);
    let about = document.get("info").map(|info| word(info, "description")).unwrap_or_default();
    Content {
        about: about.split("\n\n").map(str::to_owned).collect(),
        groups: groups.collect(),
        types: members(schemas, "schemas").map(|(name, schema)| of_type(name, schema)).collect(),
    }
}

fn operation(method: &str, path: &str, it: &Value, caller: &Caller) -> Operation {
    let parameters = items(it, "parameters").map(|parameter| Row {
        name: word(parameter, "name").to_owned(),
        place: match word(parameter, "in") {
            "path" => "path",
            "header" => "header",
            _ => "query",
        },
        required: parameter.get("required").is_some_and(|it| it == true),
        kind: parameter.get("schema").map(kind).unwrap_or_default(),
        about: about(parameter),
    });
    let body = it.get("requestBody").and_then(|body| members(body, "content").next());
    let answers = members(it, "responses").map(|(status, answer)| {
        let (media_type, media) = members(answer, "content").next().unzip();
        Answer {
            status: if status == "default" { "other".to_owned() } else { status.clone() },
            about: word(answer, "description").to_owned(),
            media_type: media_type.cloned().unwrap_or_default(),
            kind: media.and_then(|media| media.get("schema")).map(kind).unwrap_or_default(),
        }
    });
    let success = members(it, "responses").next().and_then(|(_, answer)| members(answer, "content").next());
    Operation {
        id: word(it, "operationId").to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        summary: word(it, "summary").to_owned(),
        curl: curl(method, path, it, caller),
        parameters: parameters.collect(),
        body: body.map(|(media_type, media)| Body {
            media_type: media_type.clone(),
            kind: media.get("schema").map(kind).unwrap_or_default(),
            example: example(media),
        }),
        answers: answers.collect(),
        example: success.and_then(|(_, media)| example(media)),
    }
}

fn of_type(name: &str, schema: &Value) -> Type {
    let parts: Vec<&Value> = items(schema, "allOf").chain(schema.get("properties").map(|_| schema)).collect();
    let own = parts.iter().flat_map(|part| {
        let is_required = move |name: &str| items(part, "required").any(|it| it == name);
        members(part, "properties").map(move |(name, schema)| Row {
            name: name.clone(),
            place: "",
            required: is_required(name),
            kind: kind(schema),
            about: about(schema),
        })
    });
    let mut own: Vec<Row> = own.collect();
    own.sort_by_key(|row| !row.required);
    let mut about = about(schema);
    let summary = if about.text.is_empty() { String::new() } else { about.text.remove(0) };
    Type {
        name: name.to_owned(),
        kind: if own.is_empty() { kind(schema) } else { Kind::default() },
        summary,
        about,
        with: parts.iter().filter_map(|part| referred(part)).map(str::to_owned).collect(),
        members: own,
    }
}

/// Says in words what a value is.
fn kind(schema: &Value) -> Kind {
    if let Some(name) = referred(schema) {
        return Kind { name: Some(name.to_owned()), ..Kind::default() };
    }
    if let Some(parts) = schema.get("oneOf").and_then(Value::as_array) {
        let mut all = parts.iter().map(kind);
        let first = all.next().unwrap_or_default();
        let after = all.fold(first.after, |mut after, kind| {
            let _ = write!(after, " or {}{}", kind.before, kind.name.unwrap_or_default());
            after
        });
        return Kind { after, before: first.before, name: first.name };
    }
    if schema.get("allOf").is_some() {
        return Kind { before: "object".to_owned(), ..Kind::default() };
    }
    if schema.get("properties").and_then(|it| it.get("next_cursor")).is_some() {
        let items = schema.pointer("/properties/items/items").map(kind).unwrap_or_default();
        return Kind { before: format!("page of {}", items.before), ..items };
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        one => one.and_then(Value::as_str).into_iter().collect(),
    };
    if types.first() == Some(&"array") {
        let items = schema.get("items").map(kind).unwrap_or_default();
        return Kind { before: format!("list of {}", items.before), ..items };
    }
    if let Some(values) =
        schema.get("additionalProperties").filter(|it| it.as_object().is_some_and(|it| !it.is_empty()))
    {
        let values = kind(values);
        return Kind { before: format!("object of {}", values.before), ..values };
    }
    Kind { before: scalar(schema, &types), ..Kind::default() }
}

/// Says in words what a value without parts is: `integer from 1 to 1000, default 50`.
fn scalar(schema: &Value, types: &[&str]) -> String {
    let words: Vec<&str> = items(schema, "enum").filter_map(Value::as_str).collect();
    let mut said = match (words.is_empty(), types) {
        (false, _) => words.join(", "),
        (true, []) => "any value".to_owned(),
        (true, types) => types.join(" or "),
    };
    if let Some(format) = schema.get("format").and_then(Value::as_str).filter(|it| matches!(*it, "uuid" | "date-time"))
    {
        let _ = write!(said, ", {format}");
    }
    // From 0 says nothing.
    let least = schema.get("minimum").filter(|least| **least != 0);
    for (key, words) in [(least, "from"), (schema.get("maximum"), "to"), (schema.get("maxLength"), "of at most")] {
        if let Some(bound) = key {
            let _ = write!(said, " {words} {bound}");
        }
    }
    if schema.get("maxLength").is_some() {
        said.push_str(" characters");
    }
    if let Some(default) = schema.get("default") {
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        let _ = write!(said, ", default {default}");
    }
    said
}

fn about(it: &Value) -> About {
    let lines = word(it, "description").lines().filter(|line| !line.is_empty());
    let (words, text): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("- "));
    let words = words.into_iter().map(|line| line.trim_start_matches("- ").to_owned());
    About { text: text.into_iter().map(str::to_owned).collect(), words: words.collect() }
}

/// Returns a command that sends the request.
fn curl(method: &str, path: &str, it: &Value, caller: &Caller) -> String {
    let (mut path, mut query) = (path.to_owned(), String::new());
    for parameter in items(it, "parameters").filter(|it| it.get("required").is_some_and(|it| it == true)) {
        let name = word(parameter, "name");
        let value = parameter.pointer("/schema/examples/0").and_then(Value::as_str).unwrap_or_default();
        if word(parameter, "in") == "path" {
            path = path.replace(&format!("{{{name}}}"), &text::encoded(value));
        } else {
            let _ = write!(query, "{}{name}={}", if query.is_empty() { '?' } else { '&' }, text::encoded(value));
        }
    }
    let mut line = "curl".to_owned();
    if path.ends_with("/content") {
        line.push_str(" -OJ");
    }
    if members(it, "responses").any(|(_, it)| it.pointer("/content/text~1event-stream").is_some()) {
        line.push_str(" -N");
    }
    if caller.has_token {
        line.push_str(" -H \"Authorization: Bearer $TOKEN\"");
    }
    let body = it.get("requestBody").and_then(|body| members(body, "content").next());
    if method == "PUT" || (method == "POST" && body.is_none()) {
        let _ = write!(line, " -X {method}");
    }
    if let Some((media_type, media)) = body {
        let _ = match media.get("example") {
            Some(example) => write!(line, " -H 'Content-Type: {media_type}' -d {}", quoted(&example.to_string())),
            None => write!(line, " --data-binary @2026-03-01.csv"),
        };
    }
    let _ = write!(line, " {}", quoted(&format!("{}{path}{query}", caller.address)));
    line
}

fn example(media: &Value) -> Option<String> {
    media.get("example").and_then(|example| serde_json::to_string_pretty(example).ok())
}

fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn members<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Caller, curl, kind};

    #[test]
    fn what_a_value_is_in_words() {
        let said = |schema| {
            let kind = kind(&schema);
            format!("{}{}{}", kind.before, kind.name.unwrap_or_default(), kind.after)
        };
        let run = json!({ "$ref": "#/components/schemas/Run" });
        assert_eq!(said(run.clone()), "Run");
        assert_eq!(said(json!({ "oneOf": [run, { "type": "null" }] })), "Run or null");
        assert_eq!(said(json!({ "type": "array", "items": run })), "list of Run");
        assert_eq!(said(json!({ "type": "object", "additionalProperties": run })), "object of Run");
        assert_eq!(said(json!({ "properties": { "items": { "items": run }, "next_cursor": {} } })), "page of Run");
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 50 });
        assert_eq!(said(limit), "integer from 1 to 1000, default 50");
        assert_eq!(
            said(json!({ "type": ["string", "null"], "maxLength": 9 })),
            "string or null of at most 9 characters"
        );
        assert_eq!(said(json!({ "type": "string", "enum": ["a", "b"] })), "a, b");
        assert_eq!(said(json!({})), "any value");
    }

    #[test]
    fn a_command_has_what_the_request_needs() {
        let it = json!({
            "parameters": [
                { "name": "id", "in": "path", "required": true, "schema": { "examples": ["7"] } },
                { "name": "wait", "in": "query", "schema": { "examples": ["30s"] } },
                { "name": "path", "in": "query", "required": true, "schema": { "examples": ["a b.csv"] } },
            ],
            "requestBody": { "content": { "application/json": { "example": { "note": "it's right" } } } },
        });
        let caller = Caller { address: "http://localhost:1", has_token: true };
        assert_eq!(
            curl("POST", "/runs/{id}", &it, &caller),
            r#"curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"note":"it'\''s right"}' 'http://localhost:1/runs/7?path=a%20b.csv'"#
        );
        let caller = Caller { address: "http://localhost:1", has_token: false };
        assert_eq!(curl("POST", "/x", &json!({}), &caller), "curl -X POST 'http://localhost:1/x'");
    }
}
