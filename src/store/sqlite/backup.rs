//! A copy of a database in another file, as of one moment.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;

use super::sql::Fail;
use crate::store::{Result, StoreError};

/// Copies all records into a new file, which is on disk when this returns.
pub(super) fn copy(db: &Connection, to: &Path) -> Result<()> {
    let name = to.to_str().ok_or_else(|| StoreError::Invalid(format!("{} is not UTF-8", to.display())))?;
    let copied = db.execute("VACUUM INTO ?1", [name]).map(drop).map_err(Fail::from);
    copied.map_err(|fail| fail.into_store("copy the records"))?;
    File::open(to)
        .and_then(|copy| copy.sync_all())
        .map_err(|error| StoreError::Unavailable { doing: format!("sync {}", to.display()), why: error.to_string() })
}
