//! Publishes the statements of an attempt exactly once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::access::Access;
use super::outcome::{Changes, Refusal};
use crate::base::{AttemptId, fault};
use crate::manifest::SqlSpec;
use crate::model::StagedFile;
use crate::resource::folder::Folder;
use crate::resource::kept::Kept;
use crate::resource::{NotTaken, Prepared, ResourceError, Result};

/// The open transactions of attempts that are about to be committed.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<AttemptId, Box<dyn Changes>>>>);

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

impl Open {
    fn put(&self, attempt: AttemptId, changes: Box<dyn Changes>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt, changes);
    }

    fn take(&self, attempt: AttemptId) -> Option<Box<dyn Changes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&attempt)
    }
}

/// When dropped, rolls back the transaction of an attempt that was not published.
struct Held {
    open: Open,
    attempt: AttemptId,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.open.take(self.attempt));
    }
}

/// What the changes of a database need.
#[derive(Debug)]
pub(super) struct Changing {
    name: String,
    pub(super) access: Access,
    /// Where the statements of attempts are kept until they are published.
    pub(super) spool: Folder,
    kept: Arc<Kept>,
    open: Open,
}

impl Changing {
    pub(super) fn new(name: &str, spec: &SqlSpec, state: &Path, kept: Arc<Kept>) -> Result<Self> {
        let (name, access, spool) = (name.to_owned(), Access::new(spec), Folder::spool(name, state)?);
        Ok(Self { name, access, spool, kept, open: Open::default() })
    }
}

/// See [`crate::resource::Resource::prepare`]. The database executes the statements, and may refuse
/// them, while nothing of the attempt is committed.
pub(super) async fn prepare(sql: &Changing, attempt: AttemptId, files: &[StagedFile]) -> Result<Option<Prepared>> {
    let Some(file) = only(files)? else { return Ok(None) };
    let changed = sql.access.change(attempt, &staged(sql, file)).await;
    let Some(changes) = changed.map_err(|refusal| refusal.about(&sql.name, "execute the statements"))? else {
        return Ok(None);
    };
    fault::point("sql.prepared");
    sql.open.put(attempt, changes);
    Ok(Some(Box::new(Held { open: sql.open.clone(), attempt })))
}

/// See [`crate::resource::Resource::publish`].
pub(super) async fn publish(sql: &Changing, attempt: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>> {
    let Some(file) = only(files)? else { return Ok(Vec::new()) };
    fault::point("sql.before_commit");
    let committed = match sql.open.take(attempt) {
        Some(changes) => changes.commit().await,
        None => again(sql, attempt, file).await,
    };
    // The answer to a commit may be lost, so only the marker says whether it was done.
    let committed = match committed {
        Ok(()) if !fault::loses_answer("sql_commit") => Ok(()),
        _ => again(sql, attempt, file).await,
    };
    fault::point("sql.committed");
    sql.kept.link(staged(sql, file), file.digest).await?;
    match committed {
        Ok(()) => {
            fault::point("sql.published");
            Ok(vec![None])
        }
        Err(refusal) => Err(refused(sql, file, refusal)),
    }
}

/// Executes the statements, unless that was done before.
async fn again(sql: &Changing, attempt: AttemptId, file: &StagedFile) -> std::result::Result<(), Refusal> {
    match sql.access.change(attempt, &staged(sql, file)).await? {
        Some(changes) => changes.commit().await,
        None => Ok(()),
    }
}

/// Returns the error for committed statements that the database refuses.
fn refused(sql: &Changing, file: &StagedFile, refusal: Refusal) -> ResourceError {
    let why = match refusal.about(&sql.name, "execute the statements") {
        ResourceError::Statement { why, .. } => why,
        error @ ResourceError::Table { .. } => error.to_string(),
        other => return other,
    };
    let file = NotTaken { place: 0, path: file.path.clone(), why, given_up: false };
    ResourceError::Refused { resource: sql.name.clone(), files: vec![file] }
}

/// Returns the journal of an attempt. There is at most one.
fn only(files: &[StagedFile]) -> Result<Option<&StagedFile>> {
    match files {
        [] => Ok(None),
        [file] => Ok(Some(file)),
        [file, ..] => {
            let why = "the attempt has more than one journal of statements".to_owned();
            Err(ResourceError::Unusable { resource: file.resource.clone(), why })
        }
    }
}

fn staged(sql: &Changing, file: &StagedFile) -> PathBuf {
    sql.spool.path().join(&file.staged)
}
