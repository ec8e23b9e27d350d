//! Journals of uploads. A journal is a file in the spool that says what this machine knows about an
//! upload that is not completed yet.

use std::fs::{self, File};
use std::io::{self, Write as _};
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
    /// Its id.
    pub(super) id: String,
    /// The entity tags of its parts, once all are sent.
    pub(super) parts: Vec<String>,
}

impl Journal {
    /// Writes the journal atomically and syncs it. If a power cut removed it, the upload would stay
    /// in the bucket.
    pub(super) async fn save(&self, place: &Path) -> io::Result<()> {
        let (place, text) = (place.to_owned(), serde_json::to_vec(self)?);
        blocking(move || {
            let draft = place.with_extension("new");
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = File::create(&draft)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(draft, &place)?;
            place.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
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

/// Reads a journal. `None` if there is none, or if it has no id: older versions wrote it before
/// they knew the id.
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

async fn entries(folder: PathBuf) -> Vec<PathBuf> {
    let list = move || Ok(fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect());
    blocking(list).await.unwrap_or_default()
}
