//! Finds the sources of a component: the files that `build.watch` names, without those that builds,
//! editors and the host write there.
//!
//! `build` and `dev` share this, so that both agree on what is up to date.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::{LocalData, Pipeline, ResourceSpec};

/// Most files and folders that a path of `build.watch` may hold.
const MAX_SOURCES: usize = 100_000;
/// Folders that tools write, not people.
const PRODUCTS: [&str; 6] = ["target", ".git", "node_modules", "__pycache__", ".venv", ".zig-cache"];

/// Paths that are not sources, although they may be among sources.
#[derive(Debug, Clone, Default)]
pub(crate) struct Products {
    /// Components that are built.
    components: Vec<PathBuf>,
    /// The files of databases: of the store, and of resources. Files beside one whose names begin
    /// with its name belong to it too.
    databases: Vec<PathBuf>,
    /// Folders of the host and of resources.
    folders: Vec<PathBuf>,
}

impl Products {
    /// What the builds and runs of a pipeline write.
    pub(crate) fn of(pipeline: &Pipeline) -> Self {
        let built = pipeline.components().filter(|used| used.build.is_some());
        let state = ["components", "logs", "resources", "spool"].map(|folder| pipeline.state.join(folder));
        let mut products = Self {
            components: built.map(|used| used.file.to_owned()).collect(),
            databases: pipeline.store.local_paths().into_iter().map(Path::to_owned).collect(),
            folders: state.into(),
        };
        for data in pipeline.resources.iter().filter_map(ResourceSpec::local_data) {
            match data {
                LocalData::Folder(path) => products.folders.push(path.to_owned()),
                LocalData::File(path) => products.databases.push(path.to_owned()),
            }
        }
        products
    }

    /// Whether `path`, which lies at or below the watched `root`, is not a source. A folder that
    /// contains `root` does not exclude it, because the manifest names `root`.
    pub(crate) fn contains(&self, root: &Path, path: &Path) -> bool {
        let below = path.strip_prefix(root).unwrap_or(path);
        let by_name = below.iter().any(|part| PRODUCTS.iter().any(|product| part == *product));
        let in_folder = |folder: &PathBuf| path.starts_with(folder) && !root.starts_with(folder);
        by_name
            || path.file_name().is_some_and(is_draft)
            || self.components.iter().any(|component| component == path && component != root)
            || self.is_of_database(path)
            || self.folders.iter().any(in_folder)
    }

    fn is_of_database(&self, path: &Path) -> bool {
        self.databases.iter().any(|store| {
            let begins = |file: &std::ffi::OsStr| {
                store.file_name().is_some_and(|store| file.as_encoded_bytes().starts_with(store.as_encoded_bytes()))
            };
            path.parent() == store.parent() && path.file_name().is_some_and(begins)
        })
    }
}

/// Whether editors and scripts use this name for unfinished files.
fn is_draft(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    [".tmp", ".part", ".swp", ".swx", "~"].iter().any(|end| name.ends_with(end.as_bytes()))
        || name.starts_with(b".#")
        || name == b"4913" // vim asks whether it may write here
}

/// Something at or below a watched path.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// Where it is.
    pub(crate) path: &'a Path,
    /// Metadata of the entry itself; links are not followed.
    pub(crate) about: &'a Metadata,
    /// Whether the folder also contains products, so that its own modification time is meaningless.
    pub(crate) has_products: bool,
}

/// Calls `visit` for each source at and below `root`, folders included, until it returns `false`.
/// `enter` is called for each folder before it is read.
pub(crate) fn walk(
    root: &Path,
    products: &Products,
    enter: &mut dyn FnMut(&Path),
    visit: &mut dyn FnMut(&Found<'_>) -> io::Result<bool>,
) -> io::Result<()> {
    let mut todo = vec![root.to_path_buf()];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        seen += 1;
        if seen > MAX_SOURCES {
            let why = format!("it holds more than {MAX_SOURCES} files: name the folders of the sources");
            return Err(io::Error::other(why));
        }
        let about = match fs::symlink_metadata(&path) {
            // Removed since the listing; only a missing `root` is an error.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path != root => continue,
            about => about?,
        };
        let mut has_products = false;
        if about.is_dir() {
            enter(&path);
            for entry in fs::read_dir(&path)? {
                let entry = entry?.path();
                if products.contains(root, &entry) {
                    has_products = true;
                } else {
                    todo.push(entry);
                }
            }
        }
        if !visit(&Found { path: &path, about: &about, has_products })? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{Products, walk};

    #[test]
    fn files_written_by_tools_and_hosts_are_not_sources() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let sources = ["a/src/lib.rs", "a/Cargo.toml", "a/metadata.db.rs"];
        let others =
            ["a/target/x", "a/b/node_modules/y", "a/a.wasm", "a/lib.rs~", "a/.#lib.rs", "a/raw/1.csv", "db", "db-wal"];
        for path in sources.iter().chain(&others) {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), "").unwrap();
        }
        let products = Products {
            components: vec![at("a/a.wasm")],
            databases: vec![at("db")],
            folders: vec![at("a/raw"), at("elsewhere")],
        };
        let found = |root: &Path| {
            let mut files = BTreeSet::new();
            let mut visit = |found: &super::Found<'_>| {
                files.extend(found.about.is_file().then(|| found.path.to_owned()));
                Ok(true)
            };
            walk(root, &products, &mut |_| {}, &mut visit).unwrap();
            files
        };
        let all: BTreeSet<PathBuf> = sources.iter().map(|path| at(path)).collect();
        assert_eq!(found(folder.path()), all);
        assert_eq!(found(&at("a/raw")), BTreeSet::from([at("a/raw/1.csv")]), "a file that is named explicitly counts");
        assert!(walk(&at("absent"), &products, &mut |_| {}, &mut |_| Ok(true)).is_err());
    }
}
