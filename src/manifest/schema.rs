//! The JSON Schema of a manifest: what an editor completes and underlines by.
//!
//! It is written as data, over the same lists as the reader: which keys a table has is [`keys`](super::keys), bounds, choices and defaults
//! are [`settings`](super::settings) and the `Default`s of what a manifest means. A derive (`schemars`) was rejected: it describes
//! types that `serde` would read, and the reader is not `serde` (the module above says why), nor are the types that come out of it
//! what stands in the text: `"10m"` is a `Duration` by then, a path is absolute, defaults are filled in. A second set of types would be needed
//! for the schema alone, and nothing would hold the two together. Here a key without an entry, or an entry without a key, fails a
//! test, and so does a good manifest that the schema refuses.
//!
//! A schema sees the text before `${…}` is expanded. So wherever a string is held to a form, one with a variable in it passes too: the schema refuses
//! nothing that the reader takes. What needs two places to be seen (edges, names, files) is left to `anacostia check`.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::keys::{self, Keys};
use super::pipeline::{Backoff, Limits, Retry, Trigger};
use super::settings;
use crate::base::{ByteSize, TimeSpan};

/// A string with a variable in it.
const VARIABLE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}";
const NAME: &str = "^[a-z][a-z0-9_-]{0,62}$";
const VARIABLE_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const SOURCE: &str = "Where the value is.";
const ENV: &str = "^env:[A-Za-z_][A-Za-z0-9_]*$";
/// Looser than the reader, which knows more of addresses.
const HOST: &str = r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?$";
const STDIN: &str = "^[a-z][a-z0-9_-]{0,62}(/.+)?$";
const DIGEST: &str = "^sha256:[0-9a-fA-F]{64}$";
const SIZE: &str = r"^\s*\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*([kKmMgGtT][iI]?)?[bB]$";
const SPAN: &str = r"^\s*\+?[0-9]+\s*(ms|s|m|h|d)$";

/// The properties of one table.
type Fields = Vec<(&'static str, Value)>;

/// The JSON Schema (draft 2020-12) of `anacostia.toml`.
#[must_use]
pub fn schema() -> Value {
    let mut root = object("", &keys::ROOT, &["manifest_version", "pipeline"], root());
    let about = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "anacostia.toml"),
        ("description", "The manifest of an Anacostia pipeline."),
    ];
    for (key, text) in about {
        set(&mut root, key, json!(text));
    }
    root
}

fn root() -> Fields {
    let version: Value = settings::MANIFEST_VERSION.parse::<u64>().map_or(Value::Null, Value::from);
    let nodes = |doc: &str, table: Value| {
        json!({"type": "object", "description": doc, "propertyNames": {"pattern": NAME},
            "maxProperties": settings::MAX_NODES, "additionalProperties": table})
    };
    let resource = object("An input or an output: where data lies.", &keys::FOLDER, &["kind", "path"], folder());
    let action = object("A job: one WASI component.", &keys::ACTION, &["component"], action());
    vec![
        ("manifest_version", json!({"type": "integer", "const": version, "description": "The version of the format."})),
        ("pipeline", object("The pipeline as a whole.", &keys::PIPELINE, &["name"], pipeline())),
        ("server", object("The HTTP interface.", &keys::SERVER, &[], server())),
        ("metadata_store", object("Where every run is put on record.", &keys::STORE, &[], store())),
        ("resources", nodes("Inputs and outputs, by name.", resource)),
        ("actions", nodes("Jobs, by name.", action)),
    ]
}

fn pipeline() -> Fields {
    vec![
        ("name", form("The name of the pipeline: a letter a-z, then a-z, 0-9, `_` or `-`.", NAME, "penguins")),
        (
            "join",
            choice("A run starts when `all` watched resources have what they need, or `any` of them.", &settings::JOIN),
        ),
        ("max_concurrent_runs", integer("How many runs are at work at once.", settings::CONCURRENT_RUNS, Some(1))),
        (
            "state",
            text(
                "The folder in which the host keeps logs and components. If not given: the folder of the metadata store's file, or `state` if the store is on another machine.",
            ),
        ),
        (
            "logs",
            size(
                "Log lines that are kept. Beyond that, those of runs that have ended are removed, oldest first.",
                &settings::LOGS,
                settings::DEFAULT_LOGS,
            ),
        ),
        (
            "params",
            params("For every action. An action's own and a run's own come over them; `${…}` is not expanded here."),
        ),
    ]
}

fn server() -> Fields {
    vec![
        (
            "listen",
            with_default(
                text("The address for HTTP: an IP address or `localhost`, and a port. Off loopback a token is needed."),
                settings::DEFAULT_LISTEN,
            ),
        ),
        (
            "hosts",
            strings(
                "Names by which the server is reached besides its address, such as that of a proxy in front: for any port, or with one.",
                None,
                "ml.example.com",
            ),
        ),
        ("insecure", boolean("Whether plain HTTP off loopback is allowed, for a proxy in front that speaks TLS.")),
        (
            "token_sha256",
            form(
                "The digest of the bearer token that is asked for: `sha256:` and the output of `printf %s \"$TOKEN\" | sha256sum`.",
                DIGEST,
                "sha256:${TOKEN_SHA256}",
            ),
        ),
    ]
}

fn store() -> Fields {
    vec![
        ("kind", choice("What the store is.", &settings::STORE_KINDS)),
        ("path", with_default(text("The file of the database."), settings::DEFAULT_STORE)),
        (
            "durability",
            choice(
                "`normal`: after a power cut the last moments may be forgotten, and run again. `full`: every commit is synced.",
                &settings::DURABILITY,
            ),
        ),
    ]
}

fn folder() -> Fields {
    // No default, although there is but one: it has to be said.
    let kind = without_default(choice("What the resource is.", &settings::RESOURCE_KINDS));
    let trigger = object("When a watched resource starts a run. Needs `watch = true`.", &keys::TRIGGER, &[], trigger());
    vec![
        ("kind", kind),
        ("path", text("The folder, from the manifest's folder on.")),
        ("watch", boolean("Whether it is watched, and starts runs.")),
        ("include", strings("Globs of the paths that count; all if there are none.", None, "*.csv")),
        ("exclude", strings("Globs of paths that do not count, besides the names to `ignore`.", None, "draft-*")),
        (
            "ignore",
            with_default(
                strings(
                    "Globs of names of files and folders that are not looked at, in any case of letters. They replace the default.",
                    None,
                    "*.tmp",
                ),
                settings::DEFAULT_IGNORE,
            ),
        ),
        (
            "settle",
            span(
                "How long size and time must stand still where the system can not tell whether a file is open for writing.",
                &settings::SETTLE,
                Some(settings::DEFAULT_SETTLE),
            ),
        ),
        (
            "rescan",
            span(
                "How often the whole folder is looked through, in case something was missed.",
                &settings::RESCAN,
                Some(settings::DEFAULT_RESCAN),
            ),
        ),
        ("trigger", trigger),
    ]
}

fn trigger() -> Fields {
    let usual = Trigger::default();
    vec![
        ("min_artifacts", integer("New artifacts that are needed.", settings::ARTIFACTS, Some(usual.min_artifacts))),
        ("max_artifacts", integer("Most that one run takes, oldest first.", settings::ARTIFACTS, usual.max_artifacts)),
        ("min_bytes", size("Bytes that are needed, besides.", &settings::MIN_BYTES, usual.min_bytes)),
        ("quiet_for", span("And nothing new for this long.", &settings::QUIET_FOR, Some(usual.quiet_for))),
        (
            "max_wait",
            span("Start all the same when the oldest artifact has waited for this long.", &settings::MAX_WAIT, None),
        ),
    ]
}

fn action() -> Fields {
    let build = object("How the component is built.", &keys::BUILD, &["command"], build());
    let limits = object("What an attempt may use. Going beyond ends it.", &keys::LIMITS, &[], limits());
    let retry = object("When a failed attempt is followed by another.", &keys::RETRY, &[], retry());
    vec![
        ("component", text("The `.wasm` file, from the manifest's folder on.")),
        ("digest", form("What the digest of the component must be.", DIGEST, &format!("sha256:{}", "0".repeat(64)))),
        ("build", build),
        ("after", strings("The nodes before it, resources and actions: the edges of the graph.", Some(NAME), "raw")),
        ("reads", strings("The resources that it may read.", Some(NAME), "raw")),
        ("writes", strings("The resources that it may write.", Some(NAME), "models")),
        ("retrigger", boolean("Whether its outputs are new in watched resources, and start runs there.")),
        ("params", params("Its params, over those of the pipeline; `${…}` is not expanded here.")),
        ("args", arguments()),
        (
            "stdin",
            form(
                "The input that a command's standard input reads: `RESOURCE`, or `RESOURCE/GLOB`; exactly one must match.",
                STDIN,
                "raw/*.csv",
            ),
        ),
        ("env", variables("Its environment.", &json!({"type": "string"}))),
        (
            "secrets",
            variables(
                "Its secrets, by the name that it sees. Each is a variable of the host's environment.",
                &json!({"anyOf": [form(SOURCE, ENV, "env:API_TOKEN"),
                    object("A secret that the host puts into a header of requests to one host.", &keys::SECRET,
                        &["from", "header", "host"], secret())]}),
            ),
        ),
        (
            "http",
            strings(
                "Hosts that it may send requests to, by name or by address, with a port unless it is 443.",
                Some(HOST),
                "api.example.com:443",
            ),
        ),
        ("limits", limits),
        ("retry", retry),
        ("run_when", choice("When it runs, given how those before it ended.", &settings::RUN_WHEN)),
    ]
}

fn secret() -> Fields {
    vec![
        ("from", form(SOURCE, ENV, "env:API_TOKEN")),
        ("header", text("The header.")),
        ("host", form("The host, which `http` names too.", HOST, "api.example.com:443")),
        ("prefix", with_default(text("What stands before the value, such as `Bearer `."), "")),
    ]
}

/// Unlike other lists: an argument may stand twice.
fn arguments() -> Value {
    json!({"type": "array", "description": "What a command is called with, after its name.", "items": {"type": "string"},
        "maxItems": settings::MAX_ARGS, "default": [], "examples": [["--verbose", "/in/raw/a.csv"]]})
}

fn build() -> Fields {
    vec![
        ("command", text("For `sh -c`, in the manifest's folder.")),
        ("watch", strings("Sources whose change asks for a build.", None, "src")),
    ]
}

fn limits() -> Fields {
    let usual = Limits::default();
    vec![
        ("memory", size("All linear memories and tables together.", &settings::MEMORY, usual.memory_bytes)),
        ("cpu", span("Time on a CPU inside the component.", &settings::TIME, Some(usual.cpu))),
        ("wall", span("Time from start to end.", &settings::TIME, Some(usual.wall))),
        ("output", size("Bytes written to resources.", &settings::OUTPUT, usual.output_bytes)),
        ("log", size("Bytes of log lines.", &settings::LOG, usual.log_bytes)),
        ("handles", integer("Readers and writers open at once.", settings::HANDLES, Some(usual.handles.into()))),
        (
            "metric_names",
            integer("Distinct names of metrics.", settings::METRIC_NAMES, Some(usual.metric_names.into())),
        ),
        ("http_body", size("The body of one request, and of one answer.", &settings::HTTP_BODY, usual.http_body_bytes)),
        (
            "http_requests",
            integer("Requests over the network.", settings::HTTP_REQUESTS, Some(usual.http_requests.into())),
        ),
        (
            "http_wait",
            span(
                "The longest wait of a request: for the connection, for the answer, between two parts of its body.",
                &settings::HTTP_WAIT,
                Some(usual.http_wait),
            ),
        ),
    ]
}

fn retry() -> Fields {
    let usual = Retry::default();
    let Backoff { first, max } = usual.backoff;
    let tries = "Tries in all. Only errors that say that trying again may help are tried again.";
    vec![
        ("max_attempts", integer(tries, settings::ATTEMPTS, Some(usual.max_attempts.into()))),
        ("backoff", span("The first wait; doubled each time.", &settings::BACKOFF, Some(first))),
        ("max_backoff", span("The longest wait.", &settings::BACKOFF, Some(max))),
    ]
}

/// A table whose keys are these and no others. The order is that of `keys`.
fn object(doc: &str, keys: &Keys, required: &[&str], fields: Fields) -> Value {
    let mut fields: Map<String, Value> = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let properties: Map<String, Value> = keys.known.iter().filter_map(|key| fields.remove_entry(*key)).collect();
    let mut table = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !doc.is_empty() {
        set(&mut table, "description", json!(doc));
    }
    if !required.is_empty() {
        set(&mut table, "required", json!(required));
    }
    table
}

fn set(schema: &mut Value, key: &str, value: Value) {
    if let Some(entries) = schema.as_object_mut() {
        entries.insert(key.to_owned(), value);
    }
}

fn with_default(mut schema: Value, default: impl Serialize) -> Value {
    set(&mut schema, "default", json!(default));
    schema
}

fn without_default(mut schema: Value) -> Value {
    if let Some(entries) = schema.as_object_mut() {
        entries.remove("default");
    }
    schema
}

fn text(doc: &str) -> Value {
    json!({"type": "string", "description": doc})
}

/// A string of this form, or with a variable in it.
fn form(doc: &str, pattern: &str, example: &str) -> Value {
    json!({"type": "string", "description": doc, "pattern": format!("{pattern}|{VARIABLE}"), "examples": [example]})
}

/// One of a few words, the first of which is the default, or a string with a variable in it.
fn choice<T>(doc: &str, words: &[(&str, T)]) -> Value {
    let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"type": "string", "description": doc, "default": list.first(), "anyOf": [{"enum": list}, {"pattern": VARIABLE}]})
}

fn boolean(doc: &str) -> Value {
    json!({"type": "boolean", "description": doc, "default": false})
}

fn integer(doc: &str, bounds: RangeInclusive<u64>, default: Option<u64>) -> Value {
    let (least, most) = bounds.into_inner();
    let mut schema = json!({"type": "integer", "description": doc, "minimum": least, "maximum": most});
    if let Some(default) = default {
        set(&mut schema, "default", json!(default));
    }
    schema
}

/// An amount of bytes. Its bounds are for people: a schema does not count units.
fn size(doc: &str, bounds: &RangeInclusive<u64>, default: u64) -> Value {
    let shown = |bytes: u64| ByteSize(bytes).to_string().replace(' ', "");
    let doc = format!("{doc} From {} to {}.", shown(*bounds.start()), shown(*bounds.end()));
    with_default(form(&doc, SIZE, "64MiB"), shown(default))
}

/// A span of time. Its bounds are for people, as those of [`size`].
fn span(doc: &str, bounds: &RangeInclusive<Duration>, default: Option<Duration>) -> Value {
    let doc = format!("{doc} From {} to {}.", TimeSpan(*bounds.start()), TimeSpan(*bounds.end()));
    let schema = form(&doc, SPAN, "30s");
    match default {
        Some(default) => with_default(schema, TimeSpan(default).to_string()),
        None => schema,
    }
}

/// A list of strings, of which none stands twice.
fn strings(doc: &str, pattern: Option<&str>, example: &str) -> Value {
    let item = match pattern {
        Some(pattern) => json!({"type": "string", "pattern": format!("{pattern}|{VARIABLE}")}),
        None => json!({"type": "string"}),
    };
    json!({"type": "array", "description": doc, "items": item, "uniqueItems": true, "default": [], "examples": [[example]]})
}

fn params(doc: &str) -> Value {
    json!({"type": "object", "description": doc, "default": {}, "examples": [{"seed": 7}]})
}

fn variables(doc: &str, value: &Value) -> Value {
    json!({"type": "object", "description": doc, "default": {}, "propertyNames": {"pattern": VARIABLE_NAME},
        "additionalProperties": value})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::keys::Keys;
    use super::{Fields, keys};
    use crate::base::{ByteSize, TimeSpan};

    #[test]
    fn each_key_of_the_reader_is_described_once_and_nothing_else_is() {
        let tables: [(&Keys, Fields); 11] = [
            (&keys::ROOT, super::root()),
            (&keys::PIPELINE, super::pipeline()),
            (&keys::SERVER, super::server()),
            (&keys::STORE, super::store()),
            (&keys::FOLDER, super::folder()),
            (&keys::TRIGGER, super::trigger()),
            (&keys::ACTION, super::action()),
            (&keys::SECRET, super::secret()),
            (&keys::BUILD, super::build()),
            (&keys::LIMITS, super::limits()),
            (&keys::RETRY, super::retry()),
        ];
        for (keys, fields) in tables {
            let described: Vec<&str> = fields.iter().map(|(key, _)| *key).collect();
            let known: BTreeSet<&str> = keys.known.iter().copied().collect();
            assert_eq!(described.iter().copied().collect::<BTreeSet<_>>(), known, "{}", keys.home);
            assert_eq!(described.len(), known.len(), "{}", keys.home);
            for (key, value) in fields {
                assert!(value["description"].as_str().is_some_and(|doc| !doc.is_empty()), "{key} in {}", keys.home);
            }
        }
    }

    #[test]
    fn forms_take_what_the_reader_takes() {
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
