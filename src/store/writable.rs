//! Says what keeps this user from writing the files of a store, and what to do about it.
//!
//! The files are checked before any is opened. Otherwise the first error would come from the lock
//! or from SQLite, which opens a file that may not be written for reading, and fails later.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::{Result, StoreError};

/// Checks that this user may write each of these files and folders. Skips those that do not exist:
/// creating them reports its own error.
///
/// # Errors
/// [`StoreError::ReadOnly`], which names the first that may not be written.
pub(super) fn check<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    for path in paths {
        let wanted = if path.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
        let access = rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS);
        if let Err(error @ (Errno::ACCESS | Errno::ROFS | Errno::PERM)) = access {
            return Err(refused(path, &error.into()));
        }
    }
    Ok(())
}

/// Makes a folder with those above it.
///
/// # Errors
/// [`StoreError::ReadOnly`] if this user may not, which names the folder above that is read-only.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let there = folder.ancestors().skip(1).find(|above| above.is_dir());
            refused(there.unwrap_or(folder), &error)
        }
        _ => StoreError::Unavailable { doing: format!("make the folder {}", folder.display()), why: error.to_string() },
    })
}

fn refused(path: &Path, error: &io::Error) -> StoreError {
    let user = rustix::process::geteuid().as_raw();
    let why = match (error.kind(), std::fs::metadata(path)) {
        (io::ErrorKind::ReadOnlyFilesystem, _) => "its file system is mounted read-only".to_owned(),
        (_, Ok(about)) if about.uid() == user => "this user owns it, without the permission to write".to_owned(),
        (_, Ok(about)) => format!("it belongs to user id {}, and this process runs as user id {user}", about.uid()),
        (_, Err(_)) => error.to_string(),
    };
    let what_next = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it for writing, or choose another folder with `state` in `[pipeline]`"
        }
        _ => "give this user the permission to write it (`chmod`, `chown`), or run the command as its owner",
    };
    StoreError::ReadOnly { path: path.display().to_string(), why, what_next }
}
