//! Which kept components are still needed, and the end of those that are not.
//!
//! A run is bound to the components that it began with, which are kept for it in the state folder. A run that succeeded never
//! runs again. Every other run may go on or be retried, for as long as it is on record.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::base::Digest;
use crate::base::bounds::MAX_PAGE;
use crate::model::RunState;
use crate::sandbox::Trimmed;
use crate::store::{MetadataStore, PageRequest, Result, RunQuery, StoreError};

/// The states of runs that may go on or be retried.
const MAY_RUN_AGAIN: [RunState; 5] =
    [RunState::Queued, RunState::Running, RunState::Cancelling, RunState::Failed, RunState::Cancelled];
/// Copies that are older than this and have no final name are what a death left behind.
const STALE_AFTER: Duration = Duration::from_hours(1);

/// Removes the components in `folder` that neither `in_force` nor a run that may run again needs, and what interrupted copies
/// have left behind. No host may be at work on the store, except for the caller before its work begins. With `dry_run`, only says
/// what it would remove. A folder that is not there is empty.
///
/// # Errors
/// When the store or the folder can not be read. A file that can not be removed stays.
pub async fn remove_unneeded_components(
    store: &dyn MetadataStore,
    folder: &Path,
    in_force: &BTreeSet<Digest>,
    dry_run: bool,
) -> Result<Trimmed> {
    let unreadable = |why: std::io::Error| StoreError::Unavailable {
        doing: format!("look at the kept components in {}", folder.display()),
        why: why.to_string(),
    };
    let in_force: BTreeSet<String> = in_force.iter().map(Digest::hex).collect();
    let mut candidates = candidates(folder).map_err(unreadable)?;
    candidates.retain(|file| !in_force.contains(&file.name));
    let mut trimmed = Trimmed::default();
    if candidates.is_empty() {
        return Ok(trimmed);
    }
    let needed = needed_by_runs(store).await?;
    candidates.retain(|file| !needed.contains(&file.name));
    for file in candidates {
        if dry_run || std::fs::remove_file(&file.path).is_ok() {
            trimmed.files += 1;
            trimmed.bytes += file.bytes;
        }
    }
    Ok(trimmed)
}

struct Kept {
    path: PathBuf,
    /// The digest in hex; of an interrupted copy something else.
    name: String,
    bytes: u64,
}

fn candidates(folder: &Path) -> std::io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(why),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
        let age = about.modified().ok().and_then(|then| SystemTime::now().duration_since(then).ok());
        let counts = match path.extension().and_then(|extension| extension.to_str()) {
            Some("wasm") => true,
            Some("tmp") => age.is_some_and(|age| age > STALE_AFTER),
            _ => false,
        };
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|_| counts) {
            found.push(Kept { name: name.to_owned(), bytes: about.len(), path: path.clone() });
        }
    }
    Ok(found)
}

/// The digests, in hex, of the components of all runs that may run again.
async fn needed_by_runs(store: &dyn MetadataStore) -> Result<BTreeSet<String>> {
    let mut revisions = BTreeSet::new();
    let query = RunQuery { states: MAY_RUN_AGAIN.to_vec(), ..RunQuery::default() };
    let mut cursor = None;
    loop {
        let page = store.runs(query.clone(), PageRequest { cursor, limit: MAX_PAGE }).await?;
        revisions.extend(page.items.iter().map(|run| run.revision));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut needed = BTreeSet::new();
    for revision in revisions {
        let record = store.revision(revision).await?;
        needed.extend(record.into_iter().flat_map(|it| it.components).map(|(_, digest)| digest.hex()));
    }
    Ok(needed)
}
