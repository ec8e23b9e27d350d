//! The form that the records of a copy have here: the names of their fields, and the documents that
//! the other scripts read.
//!
//! A script gets a record as a JSON object, and answers with names and values. A field that is
//! absent is left out. A document is written as the modules write it that make the arguments of the
//! other scripts, except that JSON in it stays as it is, letter for letter.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::arguments::is_short;
use super::reply::{Fail, Row, Work};
use crate::base::{Digest, RunId, Timestamp};
use crate::store::copy::{Field, FieldKind, Record, RecordKind};

/// How a field is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// Under this name.
    As(&'static str),
    /// As `1` under this name, and not at all if it is false.
    Flag(&'static str),
    /// Under this name, as the event by which an output is visible, or `pending`.
    Visible(&'static str),
    /// In the document of the record.
    InText,
}

macro_rules! stored {
    (@one $field:ident) => { Stored::As(stringify!($field)) };
    (@one $field:ident as $name:literal) => { Stored::As($name) };
    (@one $field:ident flag) => { Stored::Flag(stringify!($field)) };
    (@one $field:ident visible) => { Stored::Visible(stringify!($field)) };
    (@one $field:ident in text) => { Stored::InText };
    ($($kind:ident { $([$field:ident $($how:tt)*])+ })+) => {
        /// How each field of each kind is stored.
        const STORED: &[(&str, &[(&str, Stored)])] =
            &[$((stringify!($kind), &[$((stringify!($field), stored!(@one $field $($how)*))),+])),+];
    };
}

// A new field needs a name here, and what `copy_read.lua` and `copy_write.lua` do with it, unless
// it is one more field of a hash.
stored! {
    meta { [epoch] [seq] [event] [run] [paused flag] [notified] [stopping] }
    revisions { [digest] [manifest] [components] [registered_at as "registered"] }
    artifacts {
        [seq] [id] [resource] [path] [version] [digest] [size] [state] [reason] [run_id as "run"] [produced_by as "by"]
        [created_at as "created"] [placed] [ended] [stamp] [visible visible]
    }
    old_places { [resource] [ended] [path] [version] [placed] [artifact] }
    waiting { [resource] [count] [bytes] [batch] [batch_new] }
    artifact_tags { [tag] [artifact] [resource] }
    models { [name] [card] [created_at as "created"] }
    model_versions { [model] [version] [artifact] [resource] [who as "by"] [note] [registered_at as "at"] }
    alias_moves {
        [seq] [model] [alias] [version] [was as "before"] [back] [rolled_back flag] [who as "by"] [note] [run_id] [run]
        [action] [write] [moved_at as "at"]
    }
    model_aliases { [model] [alias] [move] }
    runs {
        [number] [id] [state] [cause] [params] [revision] [snapshot] [created_at as "created"] [started_at as "started"]
        [ended_at as "ended"] [reason] [rerun_of] [fired_by] [run_partition as "partition"] [ended_seq] [duration] [step]
        [retry] [trimmed_at as "trimmed"]
    }
    run_triggers { [name] [run] }
    run_params { [name] [value] [run] }
    claims { [artifact_id as "artifact"] [run] }
    given { [run] [artifact] }
    run_actions {
        [run] [name] [position] [state] [reason] [attempts] [tries] [crashes] [retry_at] [skipped_rest]
    }
    attempts {
        [seq] [id] [run] [action] [number] [state] [started_at as "started"] [ended_at as "ended"] [component] [grants]
        [error] [message] [skip flag] [usage] [log_from_segment as "from_segment"] [log_from_offset as "from_offset"]
        [log_to_segment as "to_segment"] [log_to_offset as "to_offset"] [epoch] [token] [facts] [stopped flag] [cache]
        [cached_from] [recording]
    }
    memories { [attempt] [action] [fingerprint] [inputs] [memory] }
    intents { [attempt] [position] [file] [became] [retrigger] }
    outputs { [run] [resource] [path] [artifact] [action] }
    accesses { [seq] [run] [attempt] [artifact] [kind] [bytes] [calls] }
    denials { [seq] [attempt] [call] [target] [message] }
    requests {
        [seq] [attempt] [method in text] [scheme in text] [authority in text] [path in text] [outcome in text]
        [status in text] [bytes_sent in text] [bytes_received in text] [duration_us in text] [error in text]
    }
    metrics { [seq] [run] [attempt] [name] [value] [step] [recorded_at as "at"] }
    params { [seq] [run] [attempt] [name] [value] [recorded_at as "at"] }
    tags { [seq] [run] [name] [value] [recorded_at as "at"] }
    ticks {
        [seq] [trigger_name as "trigger"] [resource in text] [time in text] [outcome in text] [reason in text]
        [run_id in text] [conditions in text]
    }
    trigger_marks { [trigger_name as "trigger"] [condition] [at in text] [seq in text] [value in text] }
    events {
        [seq] [epoch as "e"] [time as "t"] [kind as "k"] [v in text] [run_id as "r"] [action as "a"] [attempt as "m"]
        [artifact_id as "f"] [data as "d"]
    }
    cursors { [resource] [cursor] [updated_at as "updated"] }
    notifications {
        [seq] [id] [name] [channel in text] [cause] [event in text] [run_id in text] [run_number in text] [resource]
        [title in text] [text in text] [state] [attempts] [error] [created_at in text] [ended_at as "ended"]
    }
    told_outages { [resource] [name] }
    paused_nodes { [kind] [name] [since] [reason] }
    approvals {
        [seq] [run] [action] [who] [since] [until] [open flag] [verdict] [decided_by as "by"] [note]
        [decided_at as "at"] [write]
    }
}

/// The event by which an output is visible while it is not.
const NOT_VISIBLE: i64 = i64::MAX;
/// The version of events, of which there is one.
const EVENT_VERSION: i64 = 1;
/// The fields of documents that are times.
const TIMES: [&str; 2] = ["time", "created_at"];

/// The fields of a kind, each with what it can have and how it is stored.
fn fields(kind: &RecordKind) -> impl Iterator<Item = (&'static str, FieldKind, Stored)> {
    let stored = STORED.iter().find(|(name, _)| *name == kind.name).map_or(&[][..], |(_, fields)| fields);
    kind.fields.iter().zip(stored).map(|((name, kind), (_, stored))| (*name, *kind, *stored))
}

fn damaged(what: &str, text: &str) -> Fail {
    Fail::Record(format!("`{}` is no {what}", crate::base::bounds::cut(text, 100)))
}

/// Writes an id or a digest.
fn written_bytes(bytes: &[u8]) -> Work<String> {
    if let Ok(id) = bytes.try_into() {
        return Ok(uuid::Uuid::from_bytes(id).to_string());
    }
    let digest = bytes.try_into().map(Digest::from_bytes);
    digest.map(|digest| digest.to_string()).map_err(|_| Fail::Record("an id has another length".to_owned()))
}

/// Reads an id or a digest.
fn read_bytes(text: &str) -> Work<Vec<u8>> {
    if let Ok(digest) = text.parse::<Digest>() {
        return Ok(digest.as_bytes().to_vec());
    }
    let id = uuid::Uuid::try_parse(text).map_err(|_| damaged("id or digest", text))?;
    Ok(id.as_bytes().to_vec())
}

/// Writes a value; `None` if it is absent.
fn written(field: &Field) -> Work<Option<Value>> {
    Ok(Some(match field {
        Field::None => return Ok(None),
        Field::Bool(value) => Value::from(if *value { "1" } else { "0" }),
        Field::Int(value) => Value::from(*value),
        // Not as a number: a script would round it.
        Field::Real(value) => Value::from(format!("{value:?}")),
        Field::Text(text) => Value::from(text.clone()),
        Field::Bytes(bytes) => Value::from(written_bytes(bytes)?),
    }))
}

/// Reads a value.
fn read(kind: FieldKind, text: &str) -> Work<Field> {
    let number = || text.parse().map_err(|_| damaged("number", text));
    Ok(match kind {
        FieldKind::Bool => Field::Bool(text == "1"),
        FieldKind::Int => Field::Int(number()?),
        FieldKind::Real | FieldKind::Measure => Field::real(text.parse().map_err(|_| damaged("number", text))?),
        FieldKind::Text => Field::Text(text.to_owned()),
        FieldKind::Bytes => Field::Bytes(read_bytes(text)?),
    })
}

/// Returns the arguments of a script that puts a record on record.
pub(super) fn arguments(kind: &RecordKind, record: &Record) -> Work<Value> {
    let mut found = Map::new();
    for ((_, _, stored), field) in fields(kind).zip(record) {
        let (name, value) = match (stored, field) {
            (Stored::Flag(_), Field::Bool(false)) | (Stored::InText, _) => continue,
            (Stored::Visible(name), Field::Int(NOT_VISIBLE)) => (name, Some(Value::from("pending"))),
            (Stored::As(name) | Stored::Flag(name) | Stored::Visible(name), field) => (name, written(field)?),
        };
        found.extend(value.map(|value| (name.to_owned(), value)));
    }
    let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let more = match kind.name {
        "params" | "tags" => vec![("is_short", Value::from(is_short(&text("value"))))],
        "ticks" => tick(kind, record)?,
        "trigger_marks" => vec![("text", mark(kind, record)?)],
        "requests" | "notifications" => vec![("text", Value::from(document(kind, record)?.to_string()))],
        _ => Vec::new(),
    };
    found.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(Value::Object(found))
}

/// Reads the record that a script answered.
pub(super) fn record(of: &RecordKind, row: &Row) -> Work<Record> {
    let document = match (of.name, row.text("text")) {
        ("ticks", Some(text)) => seen_tick(&text)?,
        ("trigger_marks", Some(text)) => seen_mark(&text)?,
        ("requests" | "notifications", Some(text)) => serde_json::from_str(&text)?,
        ("events", _) => Map::from_iter([("v".to_owned(), Value::from(EVENT_VERSION))]),
        _ => Map::new(),
    };
    let field = |(field, kind, stored): (&str, FieldKind, Stored)| match stored {
        Stored::Flag(name) => Ok(Field::Bool(row.has(name))),
        Stored::Visible(name) if row.text(name).is_some_and(|text| text == "pending") => Ok(Field::Int(NOT_VISIBLE)),
        Stored::As(name) | Stored::Visible(name) => {
            row.text(name).map_or_else(|| Ok(absent(of, field)), |text| read(kind, &text))
        }
        Stored::InText => document.get(field).map_or(Ok(Field::None), |value| of_document(field, kind, value)),
    };
    fields(of).map(field).collect()
}

/// The value of a field that is not there. Redis has a counter once it has counted.
fn absent(of: &RecordKind, field: &str) -> Field {
    match (of.name, field) {
        ("meta", "notified") => Field::None,
        ("meta", _) | ("waiting", "batch_new") => Field::Int(0),
        _ => Field::None,
    }
}

/// Returns a record as a JSON object, without the numbers of it and its attempt in the store.
fn document(kind: &RecordKind, record: &Record) -> Work<Value> {
    let mut found = Map::new();
    for ((name, ..), field) in fields(kind).zip(record).filter(|((name, ..), _)| !["seq", "attempt"].contains(name)) {
        let value = match field {
            Field::Int(micros) if TIMES.contains(&name) || name == "ended_at" => {
                Value::from(Timestamp::from_micros(*micros).to_string())
            }
            field => written(field)?.unwrap_or(Value::Null),
        };
        found.insert(name.to_owned(), value);
    }
    Ok(Value::Object(found))
}

/// Reads a field of a document.
fn of_document(name: &str, kind: FieldKind, value: &Value) -> Work<Field> {
    match value {
        Value::Null => Ok(Field::None),
        Value::String(text) if TIMES.contains(&name) => {
            let time: Timestamp = text.parse().map_err(|_| damaged("time", text))?;
            Ok(Field::Int(time.as_micros()))
        }
        Value::String(text) => read(kind, text),
        other => read(kind, &other.to_string()),
    }
}

/// A tick, as its document has it.
#[derive(Serialize, Deserialize)]
struct StoredTick {
    seq: u64,
    trigger: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    time: Timestamp,
    outcome: String,
    reason: String,
    run_id: Option<RunId>,
    conditions: Box<RawValue>,
}

/// Returns the text of a field of a record; empty if it has none.
fn text_of<'r>(kind: &RecordKind, record: &'r Record, wanted: &str) -> &'r str {
    let found = fields(kind).zip(record).find(|((name, ..), _)| *name == wanted);
    if let Some((_, Field::Text(text))) = found { text } else { "" }
}

/// Returns a field of a record.
fn field_of<'r>(kind: &RecordKind, record: &'r Record, wanted: &str) -> &'r Field {
    let found = fields(kind).zip(record).find(|((name, ..), _)| *name == wanted);
    found.map_or(&Field::None, |(_, field)| field)
}

/// Returns the document of a tick, and what it says, by which the next one is compared with it.
fn tick(kind: &RecordKind, record: &Record) -> Work<Vec<(&'static str, Value)>> {
    let text = |name: &str| text_of(kind, record, name).to_owned();
    let run_id = match field_of(kind, record, "run_id") {
        Field::Bytes(bytes) => Some(written_bytes(bytes)?.parse().map_err(|_| damaged("id", "run_id"))?),
        _ => None,
    };
    let time = if let Field::Int(micros) = field_of(kind, record, "time") { *micros } else { 0 };
    let tick = StoredTick {
        seq: 0,
        trigger: text("trigger_name"),
        resource: Some(text("resource")).filter(|name| !name.is_empty()),
        time: Timestamp::from_micros(time),
        outcome: text("outcome"),
        reason: text("reason"),
        run_id,
        conditions: RawValue::from_string(text("conditions"))?,
    };
    let says = serde_json::to_string(&(&tick.outcome, &tick.reason, &tick.conditions))?;
    Ok(vec![("text", Value::from(serde_json::to_string(&tick)?)), ("says", Value::from(says))])
}

fn seen_tick(text: &str) -> Work<Map<String, Value>> {
    let StoredTick { resource, time, outcome, reason, run_id, conditions, .. } = serde_json::from_str(text)?;
    let fields = [
        ("resource", resource.map_or(Value::Null, Value::from)),
        ("time", Value::from(time.to_string())),
        ("outcome", Value::from(outcome)),
        ("reason", Value::from(reason)),
        ("run_id", run_id.map_or(Value::Null, |id| Value::from(id.to_string()))),
        ("conditions", Value::from(conditions.get())),
    ];
    Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What the document of a mark has: trigger, condition, time, event and value.
type StoredMark = (String, String, i64, u64, Option<String>);

fn mark(kind: &RecordKind, record: &Record) -> Work<Value> {
    let number = |name: &str| if let Field::Int(number) = field_of(kind, record, name) { *number } else { 0 };
    let value = match field_of(kind, record, "value") {
        Field::Real(value) => Some(format!("{value:?}")),
        _ => None,
    };
    let text = |name: &str| text_of(kind, record, name).to_owned();
    let seq = number("seq").cast_unsigned();
    let mark: StoredMark = (text("trigger_name"), text("condition"), number("at"), seq, value);
    Ok(Value::from(serde_json::to_string(&mark)?))
}

fn seen_mark(text: &str) -> Work<Map<String, Value>> {
    let (_, _, at, seq, value): StoredMark = serde_json::from_str(text)?;
    let fields =
        [("at", Value::from(at)), ("seq", Value::from(seq)), ("value", value.map_or(Value::Null, Value::from))];
    Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::STORED;
    use crate::store::copy::KINDS;

    #[test]
    fn every_field_of_every_kind_is_stored() {
        let stored = STORED.iter().map(|(kind, fields)| (*kind, fields.iter().map(|(field, _)| *field).collect()));
        let stored: Vec<(&str, Vec<&str>)> = stored.collect();
        let kinds = KINDS.iter().map(|kind| (kind.name, kind.fields.iter().map(|(field, _)| *field).collect()));
        let kinds: Vec<(&str, Vec<&str>)> = kinds.collect();
        let advice = "`stored!` in src/store/redis/copied.rs says under which name Redis has each field of \
                      src/store/copy/kinds.rs, in the same order; see there what else a new one needs";
        assert_eq!(stored, kinds, "{advice}");
    }
}
