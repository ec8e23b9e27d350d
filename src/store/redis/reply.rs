//! What the scripts answer, and what their errors mean.
//!
//! An answer is a text or a list. A record is a list of names and values, and has no name whose
//! value is absent.

use std::collections::HashMap;
use std::str::FromStr;

use redis::{RedisError, Value};
use serde::de::DeserializeOwned;

use crate::base::Timestamp;
use crate::base::tls::explained;
use crate::model::LogPosition;
use crate::store::StoreError;

/// Why the work of a method failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fail {
    /// A rule of the store was broken; the error can be shown as it is.
    #[error(transparent)]
    Rule(#[from] StoreError),
    /// The server refused the work, or the connection was lost.
    #[error("{0}")]
    Server(String),
    /// A record is not one that we wrote.
    #[error("{0}")]
    Record(String),
    /// A value cannot be read from, or written as, JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The result of the work of a method.
pub(super) type Work<T> = Result<T, Fail>;

impl From<RedisError> for Fail {
    fn from(error: RedisError) -> Self {
        // A key of another kind, or a record that a script cannot work with.
        let is_record = matches!(error.code(), Some("WRONGTYPE" | "BROKEN"));
        if is_record { Self::Record(reason(&error)) } else { Self::Server(reason(&error)) }
    }
}

impl Fail {
    /// Returns the error for the caller that wanted to do `doing`.
    pub(super) fn into_store(self, doing: &str) -> StoreError {
        match self {
            Self::Rule(error) => error,
            Self::Json(error) => StoreError::Corrupt(format!("failed to {doing}: {error}")),
            Self::Record(why) => StoreError::Corrupt(format!("failed to {doing}: {why}")),
            // Nothing was written, or that is not known: it may be tried again.
            Self::Server(why) => StoreError::Unavailable { doing: doing.to_owned(), why },
        }
    }
}

/// Says why a request failed: what the server said, or what happened to the connection.
pub(super) fn reason(error: &RedisError) -> String {
    if let Some((node, _)) = error.redirect_node() {
        return format!(
            "the server is part of a cluster, and the records are on {node}: name that one, because Anacostia does not follow \
             a cluster"
        );
    }
    match (error.code(), error.detail()) {
        (Some("ERR"), Some(detail)) => detail.to_owned(),
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => explained(&error.to_string()),
    }
}

/// An answer, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing.
    Nothing,
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Reply>),
}

impl Reply {
    /// Reads what the server sent.
    pub(super) fn of(value: Value) -> Work<Self> {
        Ok(match value {
            Value::Nil => Self::Nothing,
            Value::Int(number) => Self::Text(number.to_string()),
            Value::BulkString(bytes) => {
                Self::Text(String::from_utf8(bytes).map_err(|_| Fail::Record("a text is not UTF-8".to_owned()))?)
            }
            Value::SimpleString(text) => Self::Text(text),
            Value::Okay => Self::Text("OK".to_owned()),
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect::<Work<_>>()?),
            Value::ServerError(error) => return Err(Fail::Server(reason(&error.into()))),
            other => return Err(Fail::Record(format!("the server answered {other:?}"))),
        })
    }

    /// Returns the items of a list.
    pub(super) fn list(self) -> Work<Vec<Self>> {
        match self {
            Self::List(items) => Ok(items),
            other => Err(Fail::Record(format!("the answer is {other:?}, not a list"))),
        }
    }

    /// Returns the items of a list that has a known number of them.
    pub(super) fn parts<const N: usize>(self) -> Work<[Self; N]> {
        let items = self.list()?;
        items
            .try_into()
            .map_err(|items: Vec<Self>| Fail::Record(format!("the answer has {} parts, not {N}", items.len())))
    }

    /// Returns the first item of a list; `None` if it is empty.
    pub(super) fn first(self) -> Work<Option<Self>> {
        Ok(self.list()?.into_iter().next())
    }

    /// Returns the text.
    pub(super) fn text(self) -> Work<String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(Fail::Record(format!("the answer is {other:?}, not a text"))),
        }
    }

    /// Returns the value of the text.
    pub(super) fn value<T: FromStr>(self) -> Work<T> {
        parse(&self.text()?)
    }

    /// Returns the fields of a record.
    pub(super) fn row(self) -> Work<Row> {
        let mut fields = HashMap::new();
        let mut items = self.list()?.into_iter();
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            fields.insert(name.text()?, value.text()?);
        }
        Ok(Row(fields))
    }

    /// Returns what `item` reads from each item of a list.
    pub(super) fn each<T>(self, item: impl FnMut(Self) -> Work<T>) -> Work<Vec<T>> {
        self.list()?.into_iter().map(item).collect()
    }
}

/// Reads a value.
fn parse<T: FromStr>(text: &str) -> Work<T> {
    text.parse().map_err(|_| Fail::Record(format!("`{}` has another form", crate::base::bounds::cut(text, 100))))
}

/// Reads a time, in microseconds.
fn time(text: &str) -> Work<Timestamp> {
    Ok(Timestamp::from_micros(parse(text)?))
}

/// The fields of a record.
#[derive(Debug)]
pub(super) struct Row(HashMap<String, String>);

impl Row {
    /// Returns whether it has no fields: there is no such record.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether it has a field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the text of a field that may be absent.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn required(&self, name: &str) -> Work<&str> {
        self.0.get(name).map(String::as_str).ok_or_else(|| Fail::Record(format!("a record has no `{name}`")))
    }

    /// Returns the value of a field.
    pub(super) fn get<T: FromStr>(&self, name: &str) -> Work<T> {
        parse(self.required(name)?)
    }

    /// Returns the value of a field that may be absent.
    pub(super) fn opt<T: FromStr>(&self, name: &str) -> Work<Option<T>> {
        self.0.get(name).map(|text| parse(text)).transpose()
    }

    /// Returns the time in a field.
    pub(super) fn time(&self, name: &str) -> Work<Timestamp> {
        time(self.required(name)?)
    }

    /// Returns the time in a field that may be absent.
    pub(super) fn opt_time(&self, name: &str) -> Work<Option<Timestamp>> {
        self.0.get(name).map(|text| time(text)).transpose()
    }

    /// Returns what a field has as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Work<T> {
        Ok(serde_json::from_str(self.required(name)?)?)
    }

    /// Returns what a field that may be absent has as JSON.
    pub(super) fn opt_json<T: DeserializeOwned>(&self, name: &str) -> Work<Option<T>> {
        Ok(self.0.get(name).map(|text| serde_json::from_str(text)).transpose()?)
    }

    /// Returns the position of a log in two fields, if they are there.
    pub(super) fn position(&self, segment: &str, offset: &str) -> Work<Option<LogPosition>> {
        Ok(self.opt(segment)?.zip(self.opt(offset)?).map(LogPosition::from_parts))
    }
}
