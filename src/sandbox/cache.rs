//! The cache of compiled code on disk, so that each machine compiles a component once.
//!
//! Compiled code runs outside the sandbox, so the sandbox must load only code that it wrote itself.
//! The folder belongs to the user and is closed to others. A file next to the code holds the code's
//! digest, which is checked before the code is mapped. The file name contains the component's
//! digest and a digest of the engine's settings. If anything does not match, the component is
//! compiled again. Compiled code from users is never loaded: users provide components, which are
//! compiled here.

use std::fs::{self, DirBuilder, File};
use std::hash::Hash;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::base::{ArtifactId, Digest, Freed, Hasher};

use super::SandboxError;

/// Age at which a file without its final name is considered a leftover of an interrupted
/// compilation.
const STALE_AFTER: Duration = Duration::from_hours(1);

/// The cache folder.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    folder: PathBuf,
    /// A digest of all settings that decide whether code is compatible with the engine.
    settings: String,
}

/// Passes data to a digest through the standard library's `Hasher` trait. The 64 bits of a standard
/// hash would be too few for a name by which code is trusted.
struct Digester(Hasher);

impl std::hash::Hasher for Digester {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Cache {
    /// Opens the cache in `folder`, and creates the folder if needed.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self, SandboxError> {
        let unusable = |why: String| SandboxError::Cache { folder: folder.to_owned(), why };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|why| unusable(why.to_string()))?;
        let found = fs::metadata(folder).map_err(|why| unusable(why.to_string()))?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(unusable("it belongs to someone else".to_owned()));
        }
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(|why| unusable(why.to_string()))?;
        if found.mode() & 0o077 != 0 {
            rustix::fs::chmod(folder, rustix::fs::Mode::RWXU).map_err(|why| unusable(why.to_string()))?;
        }
        let mut digester = Digester(Hasher::default());
        engine.precompile_compatibility_hash().hash(&mut digester);
        let settings = digester.0.finish().hex().chars().take(16).collect();
        Ok(Self { folder: folder.to_owned(), settings })
    }

    /// Returns the code of a component if the cache has it and it is intact.
    pub(super) fn load(&self, component: Digest, engine: &Engine) -> Option<Component> {
        let file = self.file(component);
        match try_load(&file, engine) {
            Ok(found) => {
                // The time of the last use decides which code is kept. If it cannot be updated, the
                // code is removed sooner.
                let _ = File::options().append(true).open(&file).and_then(|file| file.set_modified(SystemTime::now()));
                Some(found)
            }
            Err(why) => {
                if why.kind() != io::ErrorKind::NotFound {
                    tracing::warn!("{} cannot be used, so the component is compiled again: {why}", file.display());
                }
                None
            }
        }
    }

    /// Returns a new file name in the folder for code that is being written.
    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.join(format!("{}.tmp", ArtifactId::new()))
    }

    /// Moves code from a [scratch](Self::scratch) file into the cache. The scratch file is removed
    /// in any case.
    pub(super) fn keep(&self, scratch: &Path, component: Digest, engine: &Engine) -> io::Result<Component> {
        let file = self.file(component);
        let kept = self.put(scratch, &file).and_then(|()| try_load(&file, engine));
        let _ = fs::remove_file(scratch);
        kept
    }

    fn put(&self, scratch: &Path, file: &Path) -> io::Result<()> {
        let digest = digest_of(&mut File::open(scratch)?)?;
        let sum = self.scratch();
        let mut written = File::options().write(true).create_new(true).mode(0o600).open(&sum)?;
        io::Write::write_all(&mut written, digest.to_string().as_bytes())?;
        // The digest is renamed first. Code with a mismatched digest is compiled again, never run.
        fs::rename(&sum, sum_of(file))?;
        fs::rename(scratch, file)
    }

    fn file(&self, component: Digest) -> PathBuf {
        self.folder.join(format!("{}-{}.cwasm", component.hex(), self.settings))
    }
}

/// Removes the least recently used code until at most `max_bytes` of it remain, and removes
/// leftovers of interrupted compilations.
///
/// Safe while hosts use the folder: loaded code stays loaded, and is compiled again when it is next
/// needed. With `dry_run`, only reports what it would remove. A folder counts as empty if it is
/// missing, or this user may not read it: hosts of this user then keep nothing there.
///
/// # Errors
/// [`SandboxError::Cache`] if the folder cannot be read. A file that cannot be removed stays.
pub fn trim_compiled_code(folder: &Path, max_bytes: u64, dry_run: bool) -> Result<Freed, SandboxError> {
    let unusable = |why: io::Error| SandboxError::Cache { folder: folder.to_owned(), why: why.to_string() };
    trim(folder, max_bytes, SystemTime::now(), dry_run).map_err(unusable)
}

fn trim(folder: &Path, max_bytes: u64, now: SystemTime, dry_run: bool) -> io::Result<Freed> {
    let mut freed = Freed::default();
    let mut remove = |file: &Path, bytes: u64| {
        if dry_run || fs::remove_file(file).is_ok() {
            freed.add(bytes);
        }
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if counts_as_empty(why.kind()) => return Ok(freed),
        Err(why) => return Err(why),
    };
    let mut code = Vec::new();
    for entry in entries {
        let entry = entry?;
        let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
        let used_at = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let is_stale = now.duration_since(used_at).is_ok_and(|age| age > STALE_AFTER);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("cwasm") => code.push((used_at, about.len(), path)),
            Some("tmp") if is_stale => remove(&path, about.len()),
            Some("sum") if is_stale && !path.with_extension("cwasm").exists() => remove(&path, about.len()),
            _ => {}
        }
    }
    code.sort();
    let mut left: u64 = code.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in code {
        if left <= max_bytes {
            break;
        }
        left -= bytes;
        remove(&path, bytes);
        if !dry_run {
            let _ = fs::remove_file(sum_of(&path));
        }
    }
    Ok(freed)
}

fn counts_as_empty(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied)
}

/// Checks and maps one file of the cache.
fn try_load(file: &Path, engine: &Engine) -> io::Result<Component> {
    let mut code =
        File::options().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(file)?;
    let found = code.metadata()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is not a regular file that only this user can write"));
    }
    let mut wanted = String::new();
    File::open(sum_of(file))?.take(200).read_to_string(&mut wanted)?;
    if digest_of(&mut code)?.to_string() != wanted {
        return Err(io::Error::other("its content is not what this host wrote"));
    }
    // SAFETY: this engine's own compiler wrote the file, in a folder that only this user can write
    // to, and the file is intact.
    let component = unsafe { Component::deserialize_file(engine, file) };
    component.map_err(|why| io::Error::other(format!("{why:#}")))
}

fn sum_of(file: &Path) -> PathBuf {
    file.with_extension("sum")
}

fn digest_of(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::{STALE_AFTER, trim};
    use crate::base::Freed;

    #[test]
    fn the_least_recently_used_code_is_removed_first_and_stale_code_always() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let put = |name: &str, age: Duration| {
            fs::write(folder.path().join(name), [0; 10]).unwrap();
            File::options().append(true).open(folder.path().join(name)).unwrap().set_modified(now - age).unwrap();
        };
        let (fresh, old) = (Duration::ZERO, STALE_AFTER * 2);
        for (name, age) in [
            ("a.cwasm", old),
            ("a.sum", old),
            ("b.cwasm", STALE_AFTER * 3),
            ("b.sum", old),
            ("c.cwasm", fresh),
            ("c.sum", old),
            ("being-written.tmp", fresh),
            ("left.tmp", old),
            ("orphan.sum", old),
            ("other", old),
        ] {
            put(name, age);
        }
        let removed = Freed { files: 3, bytes: 30 };
        assert_eq!(trim(folder.path(), 20, now, true).unwrap(), removed);
        assert_eq!(trim(folder.path(), 20, now, false).unwrap(), removed);
        let left = || {
            let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(left(), ["a.cwasm", "a.sum", "being-written.tmp", "c.cwasm", "c.sum", "other"]);
        assert_eq!(trim(folder.path(), 20, now, false).unwrap(), Freed::default());
        trim(folder.path(), 0, now, false).unwrap();
        assert_eq!(left(), ["being-written.tmp", "other"]);
        assert_eq!(trim(&folder.path().join("nowhere"), 0, now, false).unwrap(), Freed::default());
    }
}
