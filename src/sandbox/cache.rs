//! Compiled code on disk, so that a component is compiled once on a machine.
//!
//! Compiled code runs outside of the sandbox: what is loaded from here must be what was put here. The folder is the user's own and closed to others; a file's
//! digest stands beside it and is checked before the file is mapped; the name holds the component's digest and the settings of the engine. Whatever does not
//! fit is compiled again. Code that a user brings along is never loaded: only components are, and they are compiled here.

use std::fs::{self, DirBuilder, File};
use std::hash::Hash;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::base::{ArtifactId, Digest, Hasher};

use super::SandboxError;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    folder: PathBuf,
    /// Of everything that decides whether code fits the engine.
    settings: String,
}

/// Feeds a digest where the standard library wants a hasher: 64 bits would be few for a name that code is trusted by.
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
    /// The cache in `folder`, which is made if need be.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self, SandboxError> {
        let unusable = |why: String| SandboxError::Cache { folder: folder.to_owned(), why };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|why| unusable(why.to_string()))?;
        let found = fs::metadata(folder).map_err(|why| unusable(why.to_string()))?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(unusable("it belongs to someone else".to_owned()));
        }
        if found.mode() & 0o077 != 0 {
            rustix::fs::chmod(folder, rustix::fs::Mode::RWXU).map_err(|why| unusable(why.to_string()))?;
        }
        let mut digester = Digester(Hasher::default());
        engine.precompile_compatibility_hash().hash(&mut digester);
        let settings = digester.0.finish().hex().chars().take(16).collect();
        Ok(Self { folder: folder.to_owned(), settings })
    }

    /// The code of a component, if it is here and whole.
    pub(super) fn load(&self, component: Digest, engine: &Engine) -> Option<Component> {
        let file = self.file(component);
        match try_load(&file, engine) {
            Ok(found) => Some(found),
            Err(why) => {
                if why.kind() != io::ErrorKind::NotFound {
                    tracing::warn!("{} is not used, and compiled again: {why}", file.display());
                }
                None
            }
        }
    }

    /// A new name in the folder for code that is being written.
    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.join(format!("{}.tmp", ArtifactId::new()))
    }

    /// Takes code over that was written to a [scratch](Self::scratch) file. The scratch file is gone afterwards, whatever happens.
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
        // The digest first: code whose digest is another's is compiled again, never run.
        fs::rename(&sum, sum_of(file))?;
        fs::rename(scratch, file)
    }

    fn file(&self, component: Digest) -> PathBuf {
        self.folder.join(format!("{}-{}.cwasm", component.hex(), self.settings))
    }
}

/// Checks and maps one file of the cache.
fn try_load(file: &Path, engine: &Engine) -> io::Result<Component> {
    let mut code =
        File::options().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(file)?;
    let found = code.metadata()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is not a file of this user alone"));
    }
    let mut wanted = String::new();
    File::open(sum_of(file))?.take(200).read_to_string(&mut wanted)?;
    if digest_of(&mut code)?.to_string() != wanted {
        return Err(io::Error::other("it is not what was put there"));
    }
    // SAFETY: the file was made by this engine's own compiler, in a folder that only this user can write to, and is whole.
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
