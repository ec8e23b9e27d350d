//! Journals of uploads: what this machine knows about an upload that is not completed yet, a file
//! in the spool for each.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Bucket;
use crate::base::AttemptId;
use crate::model::StagedFile;
use crate::resource::kept::blocking;

/// The folder of journals in the spool, with a folder for each attempt.
const JOURNALS: &str = "uploads";

/// What is known about an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) key: String,
    /// Uploads to the key that were there before, and belong to someone else.
    pub(super) others: Vec<String>,
    /// Its id, once the service has told it.
    pub(super) id: Option<String>,
    /// The entity tags of its parts, once all are sent.
    pub(super) parts: Vec<String>,
}

impl Journal {
    /// Writes the journal, whole or not at all.
    pub(super) async fn save(&self, place: &Path) -> io::Result<()> {
        let (place, text) = (place.to_owned(), serde_json::to_vec(self)?);
        blocking(move || {
            let draft = place.with_extension("new");
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&draft, text)?;
            fs::rename(draft, place)
        })
        .await
    }
}

/// Returns where the journal of a file is. Its folder is that of its attempt, as in the staging
/// folder.
pub(super) fn place(bucket: &Bucket, file: &StagedFile) -> PathBuf {
    let staged = Path::new(&file.staged);
    let attempt = staged.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
    all(bucket).join(attempt).join(file.artifact_id.to_string())
}

fn all(bucket: &Bucket) -> PathBuf {
    bucket.spool.path().join(JOURNALS)
}

/// Reads a journal. `None` if there is none.
pub(super) async fn load(place: &Path) -> Option<Journal> {
    let place = place.to_owned();
    blocking(move || Ok(read(&place))).await.ok().flatten()
}

fn read(place: &Path) -> Option<Journal> {
    serde_json::from_slice(&fs::read(place).ok()?).ok()
}

/// Removes a journal. If it stays, the next start finds no upload for it.
pub(super) async fn remove(place: &Path) {
    let place = place.to_owned();
    let _ = blocking(move || fs::remove_file(place)).await;
}

/// Returns the attempts that have journals.
pub(super) async fn attempts(bucket: &Bucket) -> Vec<AttemptId> {
    let names = entries(all(bucket)).await.into_iter();
    names.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

/// Returns the journals of an attempt.
pub(super) async fn of(bucket: &Bucket, attempt: AttemptId) -> Vec<PathBuf> {
    entries(all(bucket).join(attempt.to_string())).await
}

/// Removes the folder of an attempt, unless a journal is left in it.
pub(super) async fn forget(bucket: &Bucket, attempt: AttemptId) {
    let folder = all(bucket).join(attempt.to_string());
    let _ = blocking(move || fs::remove_dir(folder)).await;
}

/// Returns the ids of all uploads that have a journal.
pub(super) async fn known_ids(bucket: &Bucket) -> HashSet<String> {
    let mut ids = HashSet::new();
    for attempt in attempts(bucket).await {
        for place in of(bucket, attempt).await {
            ids.extend(load(&place).await.and_then(|journal| journal.id));
        }
    }
    ids
}

async fn entries(folder: PathBuf) -> Vec<PathBuf> {
    let list = move || Ok(fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect());
    blocking(list).await.unwrap_or_default()
}
