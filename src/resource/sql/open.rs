//! Opens a database of either kind.

use super::postgres::Postgres;
use super::source::{Answer, Source};
use super::sqlite::Sqlite;
use crate::manifest::{SqlDatabase, SqlRows, SqlSpec};

/// Opens the database.
pub(super) async fn open(spec: &SqlSpec, rows: &SqlRows) -> Answer<Box<dyn Source>> {
    match &spec.database {
        SqlDatabase::Sqlite { path } => Ok(Box::new(Sqlite::open(path, rows)?)),
        SqlDatabase::Postgres { url } => Ok(Box::new(Postgres::open(url, spec.password.as_ref(), rows).await?)),
    }
}
