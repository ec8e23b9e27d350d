//! Statements that actions send to a database, the values in them, and what they may do.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Result, Writer};
use crate::base::{ArtifactId, AttemptId};

/// A value of a column or of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlValue {
    /// SQL's `null`.
    Null,
    /// A truth value.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A number in double precision.
    Real(Double),
    /// Text, or a value of a type that has no variant of its own.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
}

impl SqlValue {
    /// Returns its size in bytes, approximately.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => 8 + text.len(),
            Self::Bytes(Bytes(bytes)) => 8 + bytes.len(),
            _ => 8,
        }
    }
}

/// A double. In JSON it is text, because JSON has no NaN and no infinities.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Double(pub f64);

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Double> for String {
    fn from(Double(value): Double) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Double {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// Bytes. In JSON they are hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub Vec<u8>);

impl From<Bytes> for String {
    fn from(Bytes(bytes): Bytes) -> Self {
        let digit = |bits: u8| char::from_digit(bits.into(), 16).unwrap_or('0');
        bytes.into_iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

impl TryFrom<String> for Bytes {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().map(Self).ok_or("bytes are pairs of digits")
    }
}

/// One statement with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SqlStatement {
    /// The text.
    pub text: String,
    /// The parameters, in the order of their numbers.
    pub parameters: Vec<SqlValue>,
}

/// The tables that a grant names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlTables {
    /// None.
    #[default]
    None,
    /// Those with these names.
    Named(Vec<String>),
    /// All that the user of the database may use.
    All,
}

impl SqlTables {
    /// Returns whether a table is among them. Databases whose grants can name tables ignore the
    /// case of the names.
    #[must_use]
    pub fn contains(&self, table: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.iter().any(|name| name.eq_ignore_ascii_case(table)),
            Self::All => true,
        }
    }
}

/// What the statements of an action may do with a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlGrant {
    /// The tables to read.
    pub read: SqlTables,
    /// The tables to change. A statement that changes a table may read it too.
    pub write: SqlTables,
}

/// A resource that is a database: what actions do with it, besides reading artifacts.
#[async_trait]
pub trait Database: Send + Sync {
    /// Starts a query. Dropping the rows, or the future of this call, ends the query.
    ///
    /// # Errors
    /// [`Statement`](super::ResourceError::Statement) and
    /// [`Table`](super::ResourceError::Table) if the database refuses it.
    async fn query(&self, grant: &SqlGrant, statement: SqlStatement) -> Result<Box<dyn SqlRows>>;

    /// Lets the database check a statement that is to be executed when the attempt is published.
    ///
    /// # Errors
    /// As [`Self::query`].
    async fn check(&self, grant: &SqlGrant, statement: SqlStatement) -> Result<()>;

    /// Begins the journal of the statements of an attempt, which becomes an artifact at `path`.
    /// [`Resource::publish`](super::Resource::publish) executes them.
    async fn journal(&self, attempt: AttemptId, artifact: ArtifactId, path: &str) -> Result<Box<dyn Writer>>;
}

/// The rows of a query.
#[async_trait]
pub trait SqlRows: Send + fmt::Debug {
    /// Returns the names of the columns.
    fn columns(&self) -> &[String];

    /// Returns the next rows, at most `limit`; none at the end.
    ///
    /// # Errors
    /// If the database does not answer, or refuses to continue.
    async fn next(&mut self, limit: usize) -> Result<Vec<Vec<SqlValue>>>;
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Double, SqlStatement, SqlTables, SqlValue};

    #[test]
    fn a_statement_round_trips_as_one_line_of_json() {
        let values = [0.1, f64::MAX, f64::MIN_POSITIVE, -0.0, f64::INFINITY, f64::NEG_INFINITY];
        let reals = values.map(|value| SqlValue::Real(Double(value)));
        let mut parameters = vec![
            SqlValue::Null,
            SqlValue::Boolean(true),
            SqlValue::Integer(i64::MIN),
            SqlValue::Text("it's \"a\"\nline".to_owned()),
            SqlValue::Bytes(Bytes(vec![0, 15, 255])),
        ];
        parameters.extend(reals);
        let statement = SqlStatement { text: "insert\ninto t".to_owned(), parameters };
        let line = serde_json::to_string(&statement).unwrap();
        assert!(!line.contains('\n') && line.contains("{\"bytes\":\"000fff\"}"), "{line}");
        assert_eq!(serde_json::from_str::<SqlStatement>(&line).unwrap(), statement);
        let nan = serde_json::to_string(&SqlValue::Real(Double(f64::NAN))).unwrap();
        let back = serde_json::from_str::<SqlValue>(&nan).unwrap();
        assert!(matches!(back, SqlValue::Real(Double(value)) if value.is_nan()), "{nan}");
        for text in ["0", "0g", "ä"] {
            assert!(Bytes::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn named_tables_are_found_in_any_case() {
        let named = SqlTables::Named(vec!["Readings".to_owned()]);
        assert!(named.contains("readings") && !named.contains("reading"));
        assert!(SqlTables::All.contains("x") && !SqlTables::None.contains("x"));
    }
}
