//! How our values are stored in columns, and what errors of the server mean.
//!
//! PostgreSQL refuses the character U+0000 in a text, but texts from outside may have it. So texts
//! are stored in a form without it: U+0000 becomes U+0001 U+0001, and U+0001 becomes U+0001 U+0002.
//! The form keeps the order of texts by their bytes, so lists by path, ranges and cursors do not
//! notice it. Texts without these two characters are stored as they are.

use std::borrow::Cow;
use std::error::Error as StdError;

use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_util::bytes::BytesMut;

use crate::base::postgres::reason;
use crate::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId, panicked};
use crate::model::{
    AccessKind, ActionState, ArtifactState, AttemptState, EventKind, NodeKind, NotificationState, NotifyCause,
    RequestOutcome, RunState, TickOutcome, Verdict,
};
use crate::store::StoreError;

/// Why the work of a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fail {
    /// A rule of the store was broken; the error can be shown as it is.
    #[error(transparent)]
    Rule(#[from] StoreError),
    /// The server refused a statement, or the connection was lost.
    #[error(transparent)]
    Sql(#[from] tokio_postgres::Error),
    /// There is no connection.
    #[error("{0}")]
    Connection(String),
    /// A value in a column is not one that we wrote.
    #[error("{0}")]
    Column(String),
    /// A value cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The work panicked; the text says so.
    #[error("{0}")]
    Panicked(String),
}

/// The result of work inside a transaction.
pub(super) type Work<T> = Result<T, Fail>;

impl Fail {
    /// What is on record does not allow it.
    pub(super) fn conflict(why: impl Into<String>) -> Self {
        Self::Rule(StoreError::Conflict(why.into()))
    }

    /// An argument is invalid.
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Rule(StoreError::Invalid(why.into()))
    }

    /// The work panicked with this payload.
    pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        Self::Panicked(panicked(payload))
    }

    /// Returns the error for the caller that wanted to do `doing`.
    pub(super) fn into_store(self, doing: &'static str) -> StoreError {
        match self {
            Self::Rule(error) => error,
            Self::Json(error) => StoreError::Corrupt(format!("failed to {doing}: {error}")),
            Self::Column(why) => StoreError::Corrupt(format!("failed to {doing}: {why}")),
            Self::Sql(error) => from_postgres(&error, doing),
            // Nothing was committed, or that is not known: it may be tried again.
            Self::Connection(why) | Self::Panicked(why) => StoreError::Unavailable { doing: doing.to_owned(), why },
        }
    }
}

/// Returns the error that an error of the server means for a caller that wanted to do `doing`.
pub(super) fn from_postgres(error: &tokio_postgres::Error, doing: &str) -> StoreError {
    let why = reason(error);
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some(code) if code.starts_with("23") => {
            StoreError::Conflict(format!("failed to {doing}: it conflicts with the record ({why})"))
        }
        // A value that no column takes, or a text that no index takes.
        Some(code) if code.starts_with("22") || code.starts_with("54") => {
            StoreError::Invalid(format!("failed to {doing}: {why}"))
        }
        // A table is missing or has other columns, or the server finds its files damaged.
        Some(code) if code.starts_with("42P") || code == "42703" || code.starts_with("XX00") => {
            StoreError::Corrupt(format!("failed to {doing}: {why}"))
        }
        _ => StoreError::Unavailable { doing: doing.to_owned(), why },
    }
}

/// Writes a text in the form in which it is stored.
fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', '\u{1}']) {
        return Cow::Borrowed(text);
    }
    let mut form = String::with_capacity(text.len() + 2);
    for character in text.chars() {
        match character {
            '\0' => form.push_str("\u{1}\u{1}"),
            '\u{1}' => form.push_str("\u{1}\u{2}"),
            other => form.push(other),
        }
    }
    Cow::Owned(form)
}

/// Reads a text from the form in which it is stored.
fn loaded(form: &str) -> String {
    if !form.contains('\u{1}') {
        return form.to_owned();
    }
    let mut text = String::with_capacity(form.len());
    let mut characters = form.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\u{1}' if characters.next() == Some('\u{1}') => '\0',
            other => other,
        });
    }
    text
}

/// A value to store or to compare.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// A number that fits into no column.
    TooLarge(u64),
    Real(f64),
    Bytes(Vec<u8>),
    Text(String),
    /// An array of texts.
    Texts(Vec<String>),
    /// An array of ids.
    Ids(Vec<[u8; 16]>),
}

#[derive(Debug)]
struct Id([u8; 16]);

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Bool(value) => return value.to_sql(kind, out),
            Self::Int(value) if *kind == Type::INT4 => return i32::try_from(*value)?.to_sql(kind, out),
            Self::Int(value) => return value.to_sql(kind, out),
            Self::TooLarge(value) => return Err(format!("{value} is too large").into()),
            Self::Real(value) => return value.to_sql(kind, out),
            Self::Bytes(value) => out.extend_from_slice(value),
            Self::Text(value) => out.extend_from_slice(stored(value).as_bytes()),
            Self::Texts(values) => {
                return values.iter().map(|value| stored(value).into_owned()).collect::<Vec<_>>().to_sql(kind, out);
            }
            Self::Ids(values) => return values.iter().copied().map(Id).collect::<Vec<_>>().to_sql(kind, out),
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        // A mistake in a statement would otherwise store bytes of another type.
        let member = if let Kind::Array(member) = kind.kind() { member } else { kind };
        [Type::BOOL, Type::INT4, Type::INT8, Type::FLOAT8, Type::BYTEA, Type::UUID, Type::TEXT].contains(member)
    }

    to_sql_checked!();
}

/// Values that can be stored.
pub(super) trait Bind {
    fn bind(&self) -> Value;
}

impl<T: Bind + ?Sized> Bind for &T {
    fn bind(&self) -> Value {
        (**self).bind()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&self) -> Value {
        self.as_ref().map_or(Value::Null, Bind::bind)
    }
}

/// Values of these types as a variant.
macro_rules! bind {
    ($($type:ty => |$value:ident| $bound:expr;)+) => {$(
        impl Bind for $type {
            fn bind(&self) -> Value {
                let $value = self;
                $bound
            }
        }
    )+};
}
bind! {
    bool => |value| Value::Bool(*value);
    i64 => |value| Value::Int(*value);
    u32 => |value| Value::Int(i64::from(*value));
    u16 => |value| Value::Int(i64::from(*value));
    u64 => |value| i64::try_from(*value).map_or(Value::TooLarge(*value), Value::Int);
    usize => |value| (*value as u64).bind();
    f64 => |value| Value::Real(*value);
    str => |value| Value::Text(value.to_owned());
    String => |value| Value::Text(value.clone());
    Vec<String> => |value| Value::Texts(value.clone());
    Timestamp => |value| Value::Int(value.as_micros());
    Value => |value| value.clone();
}

/// The values of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::store::postgres::sql::Bind::bind(&$value)),*] };
}
pub(super) use params;

/// Values that are read from a column.
pub(super) trait Column: Sized {
    /// Reads the bytes of a column, `None` if it is null.
    fn read(bytes: Option<&[u8]>) -> Result<Self, String>;
}

impl<T: Column> Column for Option<T> {
    fn read(bytes: Option<&[u8]>) -> Result<Self, String> {
        bytes.map(|bytes| T::read(Some(bytes))).transpose()
    }
}

fn present(bytes: Option<&[u8]>) -> Result<&[u8], String> {
    bytes.ok_or_else(|| "a column without a value that needs one".to_owned())
}

fn fixed<const N: usize>(bytes: Option<&[u8]>) -> Result<[u8; N], String> {
    let bytes = present(bytes)?;
    bytes.try_into().map_err(|_| format!("a column of {} bytes that needs {N}", bytes.len()))
}

fn text(bytes: Option<&[u8]>) -> Result<String, String> {
    std::str::from_utf8(present(bytes)?).map(loaded).map_err(|error| error.to_string())
}

/// Values of these types, read from the bytes of a column.
macro_rules! column {
    ($($type:ty => |$bytes:ident| $read:expr;)+) => {$(
        impl Column for $type {
            fn read($bytes: Option<&[u8]>) -> Result<Self, String> {
                $read
            }
        }
    )+};
}

fn integer<T: TryFrom<i64>>(bytes: Option<&[u8]>) -> Result<T, String> {
    let number = i64::from_be_bytes(fixed(bytes)?);
    T::try_from(number).map_err(|_| format!("the number {number} in a column that has no such numbers"))
}

column! {
    bool => |bytes| fixed::<1>(bytes).map(|[byte]| byte != 0);
    i64 => |bytes| integer(bytes);
    u64 => |bytes| integer(bytes);
    u32 => |bytes| integer(bytes);
    u16 => |bytes| integer(bytes);
    f64 => |bytes| fixed(bytes).map(f64::from_be_bytes);
    Vec<u8> => |bytes| present(bytes).map(<[u8]>::to_vec);
    String => |bytes| text(bytes);
    Timestamp => |bytes| integer(bytes).map(Self::from_micros);
}

/// Values that are stored as bytes: ids in columns of type `uuid`, digests in columns of `bytea`.
macro_rules! blob {
    ($($name:ident),+) => {$(
        impl Bind for $name {
            fn bind(&self) -> Value {
                Value::Bytes(self.as_bytes().to_vec())
            }
        }

        impl Column for $name {
            fn read(bytes: Option<&[u8]>) -> Result<Self, String> {
                fixed(bytes).map(Self::from_bytes)
            }
        }
    )+};
}
blob!(RunId, AttemptId, ArtifactId, NotificationId, WriteId, Digest);

impl Bind for [ArtifactId] {
    fn bind(&self) -> Value {
        Value::Ids(self.iter().map(|id| *id.as_bytes()).collect())
    }
}

/// Values that are stored as their public word.
macro_rules! word {
    ($($name:ident),+) => {$(
        impl Bind for $name {
            fn bind(&self) -> Value {
                Value::Text(self.as_str().to_owned())
            }
        }

        impl Column for $name {
            fn read(bytes: Option<&[u8]>) -> Result<Self, String> {
                text(bytes)?.parse().map_err(|error: <Self as std::str::FromStr>::Err| error.to_string())
            }
        }
    )+};
}
word!(
    AccessKind,
    ActionState,
    ArtifactState,
    AttemptState,
    EventKind,
    NodeKind,
    NotificationState,
    NotifyCause,
    RequestOutcome,
    RunState,
    TickOutcome,
    Verdict
);

/// A value that is stored as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned> Column for Json<T> {
    fn read(bytes: Option<&[u8]>) -> Result<Self, String> {
        serde_json::from_str(&text(bytes)?).map(Self).map_err(|error| error.to_string())
    }
}

/// The bytes of a column, whatever its type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A row that the server returned.
#[derive(Debug)]
pub(super) struct Row(tokio_postgres::Row);

impl Row {
    pub(super) fn new(row: tokio_postgres::Row) -> Self {
        Self(row)
    }

    /// Reads a column.
    pub(super) fn get<T: Column>(&self, at: usize) -> Work<T> {
        let failed = |why: String| {
            let name = self.0.columns().get(at).map_or("?", |column| column.name());
            Fail::Column(format!("column `{name}`: {why}"))
        };
        let raw: Option<Raw<'_>> = self.0.try_get(at).map_err(|error| failed(error.to_string()))?;
        T::read(raw.map(|raw| raw.0)).map_err(failed)
    }

    /// Reads a column that is an array of texts.
    pub(super) fn texts(&self, at: usize) -> Work<Vec<String>> {
        let texts: Vec<String> = self.0.try_get(at).map_err(|error| Fail::Column(error.to_string()))?;
        Ok(texts.iter().map(|text| loaded(text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{loaded, stored};

    #[test]
    fn the_stored_form_of_a_text_has_no_nul_and_keeps_the_order() {
        let parts = ["", "\0", "\u{1}", "\u{2}", "a", "ä", "\u{10ffff}"];
        let mut texts: Vec<String> = Vec::new();
        for first in parts {
            for second in parts {
                for third in parts {
                    texts.push(format!("{first}{second}{third}"));
                }
            }
        }
        texts.sort();
        texts.dedup();
        let forms: Vec<String> = texts.iter().map(|text| stored(text).into_owned()).collect();
        assert!(forms.is_sorted_by(|one, next| one < next), "{forms:?}");
        for (text, form) in texts.iter().zip(&forms) {
            assert!(!form.contains('\0'));
            assert_eq!(loaded(form), *text);
        }
    }
}
