//! A process-wide cache of inspected component files.
//!
//! The cache is process-wide on purpose. Several steps of a start inspect the same components, and
//! without the cache each step would read and hash each file again. A component that contains an
//! interpreter has about 20 MB, and a pipeline may have a dozen of them.
//!
//! The cache is in memory only, and bounded: when it has [`MAX_KNOWN`] entries, it is emptied. An
//! entry is valid while the [`FileStamp`] of its file is unchanged; resources identify their files
//! in the same way. A file that changed a moment ago is not cached, because a second change within
//! one tick of the file system's clock may leave the stamp as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::component::ComponentInfo;
use super::component_file::{ComponentError, inspect_file};
use crate::base::filestamp::{FileStamp, now_ns};

/// Maximum number of cached files. When it is reached, the cache is emptied.
const MAX_KNOWN: usize = 1_000;
/// Minimum age of a file's last change for the file to be cached.
const SETTLED: Duration = Duration::from_secs(2);

static KNOWN: Mutex<BTreeMap<PathBuf, (FileStamp, ComponentInfo)>> = Mutex::new(BTreeMap::new());

/// Returns whether the last change of a file is old enough for the file to be cached.
fn is_settled(file: FileStamp) -> bool {
    let age_ns = now_ns().saturating_sub(file.ctime_ns);
    u64::try_from(age_ns).is_ok_and(|age| Duration::from_nanos(age) >= SETTLED)
}

fn stamp_of(path: &Path) -> std::io::Result<FileStamp> {
    Ok(FileStamp::of_metadata(&std::fs::metadata(path)?))
}

/// Inspects the component in a file, or returns the cached result.
///
/// # Errors
/// Same as [`inspect_file`].
pub fn inspect_known(path: &Path) -> Result<ComponentInfo, ComponentError> {
    let before = stamp_of(path)?;
    if let Some((_, info)) = known().get(path).filter(|(stamp, _)| *stamp == before) {
        return Ok(info.clone());
    }
    let info = inspect_file(path)?;
    if is_settled(before) && stamp_of(path)? == before {
        let mut known = known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(path.to_owned(), (before, info.clone()));
    }
    Ok(info)
}

/// Inspects several files, on as many threads as there are cores.
pub(super) fn inspect_all<'p>(paths: &BTreeSet<&'p Path>) -> BTreeMap<&'p Path, Result<ComponentInfo, ComponentError>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let left = Mutex::new(paths.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let seen = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(paths.len()) {
            scope.spawn(|| {
                while let Some(path) = next() {
                    let found = inspect_known(path);
                    seen.lock().unwrap_or_else(PoisonError::into_inner).insert(*path, found);
                }
            });
        }
    });
    seen.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn known() -> MutexGuard<'static, BTreeMap<PathBuf, (FileStamp, ComponentInfo)>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_changed_file_is_inspected_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        let long_ago = SystemTime::now() - Duration::from_hours(1);
        let settle = |path: &Path| {
            File::open(path).unwrap().set_times(FileTimes::new().set_modified(long_ago)).unwrap();
        };
        let [one, other] = ["(component)", "(component (component))"].map(|text| wat::parse_str(text).unwrap());
        fs::write(&path, &one).unwrap();
        settle(&path);
        let first = inspect_known(&path).unwrap();
        // The modification time is old, but the change time is not.
        assert!(!known().contains_key(&path));
        fs::write(&path, &other).unwrap();
        settle(&path);
        let second = inspect_known(&path).unwrap();
        assert_ne!(first.digest, second.digest);

        // A file that did not change recently is cached until its stamp changes.
        known().insert(path.clone(), (stamp_of(&path).unwrap(), first.clone()));
        assert_eq!(inspect_known(&path).unwrap(), first);
        fs::write(folder.path().join("b.wasm"), &other).unwrap();
        fs::rename(folder.path().join("b.wasm"), &path).unwrap();
        assert_eq!(inspect_known(&path).unwrap(), second);
        fs::remove_file(&path).unwrap();
        assert!(matches!(inspect_known(&path), Err(ComponentError::Unreadable(_))));
    }

    #[test]
    fn several_files_are_inspected_each_with_its_own_result() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c", "d"].map(|name| folder.path().join(name));
        fs::write(&paths[0], wat::parse_str("(component)").unwrap()).unwrap();
        fs::write(&paths[1], b"no").unwrap();
        fs::create_dir(&paths[2]).unwrap();
        let found = inspect_all(&paths.iter().map(PathBuf::as_path).collect());
        assert_eq!(found.len(), 4);
        assert!(found[paths[0].as_path()].is_ok());
        assert!(matches!(found[paths[1].as_path()], Err(ComponentError::Other)));
        assert!(matches!(found[paths[2].as_path()], Err(ComponentError::Folder)));
        assert!(matches!(found[paths[3].as_path()], Err(ComponentError::Unreadable(_))));
    }
}
