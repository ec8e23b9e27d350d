//! Makes paths absolute and checks that resources do not overlap. Nested data would be found twice,
//! and outputs inside a watched resource would start run after run.

use std::ffi::OsString;
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::super::condition::Condition;
use super::super::decider::Decider;
use super::super::openlineage::{LineageTarget, OpenLineageSpec};
use super::super::pipeline::LocalData;
use super::super::place::absolute;
use super::super::problem::{Problem, quoted};
use super::super::read::{UncheckedDecider, UncheckedManifest};
use super::super::store::StoreSpec;
use super::super::tree::{At, Reader};

/// Maximum number of links in a row that are followed, as on Linux.
const MAX_LINKS: usize = 40;
/// The first bytes of a SQLite database.
const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";

/// Fills in the absolute paths of a draft.
pub(in super::super) fn fill_in(folder: &Path, draft: &mut UncheckedManifest) {
    for resource in &mut draft.resources {
        if let (Some(spec), Some(path)) = (&mut resource.spec, &resource.path) {
            spec.set_local_path(absolute(folder, &path.value));
        }
    }
    for it in &mut draft.openlineage {
        if let Some(OpenLineageSpec { target: LineageTarget::File { path }, .. }) = &mut it.spec {
            *path = folder.join(&*path).components().collect();
        }
    }
    for resource in &mut draft.resources {
        let when = resource.spec.iter_mut().flat_map(|spec| &mut spec.trigger.when);
        fill_in_deciders(folder, when, &mut resource.deciders);
    }
    for trigger in &mut draft.triggers {
        fill_in_deciders(folder, trigger.spec.when.iter_mut(), &mut trigger.deciders);
    }
    for action in &mut draft.actions {
        if let Some(component) = &action.component {
            action.spec.component = absolute(folder, &component.value);
        }
        if let Some(build) = &mut action.spec.build {
            build.watch = action.sources.iter().map(|source| absolute(folder, &source.value)).collect();
        }
    }
}

fn fill_in_deciders<'c>(
    folder: &Path,
    when: impl Iterator<Item = &'c mut Condition>,
    unchecked: &mut [UncheckedDecider],
) {
    for decider in &mut *unchecked {
        decider.file = absolute(folder, &decider.text.value);
    }
    let mut sources = unchecked.iter().map(|decider| &decider.sources);
    let mut each = |decider: &mut Decider| {
        decider.file = absolute(folder, &decider.written);
        // In the order in which they were read.
        let sources = sources.next();
        if let (Some(build), Some(sources)) = (&mut decider.build, sources) {
            build.watch = sources.iter().map(|source| absolute(folder, &source.value)).collect();
        }
    };
    for condition in when {
        condition.each_decider(&mut each);
    }
}

/// What a resource uses.
struct Claim<'d> {
    name: &'d str,
    span: &'d Range<usize>,
    /// The path with links resolved. For a bucket: service, name and prefix.
    real: PathBuf,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Folder,
    /// One file, of which several resources may use different parts.
    File,
    /// The objects of a bucket below a prefix.
    Objects,
}

/// Checks the locations of the data and of the pipeline's own state.
pub(in super::super) fn check(reader: &mut Reader<'_>, folder: &Path, manifest: &Path, draft: &UncheckedManifest) {
    let mut claims = Vec::new();
    for resource in &draft.resources {
        let Some(text) = &resource.path else { continue };
        let path = absolute(folder, &text.value);
        let is_file = resource.spec.as_ref().is_some_and(|spec| matches!(spec.local_data(), Some(LocalData::File(_))));
        let what = if is_file { What::File } else { What::Folder };
        if is_file {
            check_database(reader, text, &path);
        } else {
            check_folder(reader, text, &path);
        }
        if let Some(real) = real(&path) {
            claims.push(Claim { name: &resource.name.value, span: &text.span, real, what });
        }
    }
    apart(reader, &claims);
    apart(reader, &buckets(draft));
    match draft.top.store_spec(folder) {
        StoreSpec::Sqlite { path } => sqlite_file(reader, &path, manifest, &draft.top.store),
        StoreSpec::Postgres { .. } | StoreSpec::Redis { .. } => {}
    }
    state(reader, folder, draft, &claims);
}

/// Checks that the sources of builds exist. Running the components does not need them.
pub(in super::super) fn check_sources(reader: &mut Reader<'_>, folder: &Path, draft: &UncheckedManifest) {
    let of_actions = draft.actions.iter().map(|action| &action.sources);
    for sources in of_actions.chain(draft.deciders().map(|decider| &decider.sources)) {
        for source in sources {
            if !absolute(folder, &source.value).exists() {
                reader.complain(
                    Problem::new(format!("there is no file or folder {}", quoted(&source.value)))
                        .at(&source.span, "to be watched for a build"),
                );
            }
        }
    }
}

/// Checks that a resource's path is a folder or does not exist.
fn check_folder(reader: &mut Reader<'_>, text: &At<String>, path: &Path) {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => reader.complain(
            Problem::new(format!("{} is not a folder", quoted(&text.value)))
                .at(&text.span, "something else")
                .help("a resource of this kind is a folder of files"),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if path.symlink_metadata().is_ok() {
                reader.complain(
                    Problem::new(format!("{} is a link that leads nowhere", quoted(&text.value)))
                        .at(&text.span, "here"),
                );
            }
        }
        Err(error) => reader.complain(
            Problem::new(format!("the folder {} cannot be used: {error}", quoted(&text.value))).at(&text.span, "here"),
        ),
    }
}

/// Checks that a database is a file of SQLite or does not exist yet.
fn check_database(reader: &mut Reader<'_>, text: &At<String>, path: &Path) {
    let wrong = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => "is a folder, not a database".to_owned(),
        Ok(found) if !found.is_file() => "is not a file".to_owned(),
        Ok(_) => match starts_like_a_database(path) {
            Ok(true) => return,
            Ok(false) => "is a file, but not an SQLite database".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        },
        // If it does not come, the watch of the resource says so.
        Err(_) => return,
    };
    reader.complain(Problem::new(format!("{} {wrong}", quoted(&text.value))).at(&text.span, "here"));
}

/// Returns what the resources in buckets use.
fn buckets(draft: &UncheckedManifest) -> Vec<Claim<'_>> {
    let all = draft.resources.iter().filter_map(|resource| {
        let s3 = resource.spec.as_ref()?.bucket()?;
        let real = PathBuf::from(format!("{}/{}/{}", s3.service(), s3.bucket, s3.prefix));
        // Without a name it was reported already.
        let claim = Claim { name: &resource.name.value, span: &resource.place, real, what: What::Objects };
        (!s3.bucket.is_empty()).then_some(claim)
    });
    all.collect()
}

/// Checks that no resource is inside another.
fn apart(reader: &mut Reader<'_>, claims: &[Claim<'_>]) {
    // Sorted by path, the content of a folder follows it directly, so the enclosing folder is among
    // those that are still open.
    let mut sorted: Vec<&Claim<'_>> = claims.iter().collect();
    sorted.sort_by(|a, b| (&a.real, a.span.start).cmp(&(&b.real, b.span.start)));
    let mut open: Vec<&Claim<'_>> = Vec::new();
    for claim in sorted {
        while open.last().is_some_and(|outer| !claim.real.starts_with(&outer.real)) {
            open.pop();
        }
        if let Some(outer) = open.last().filter(|outer| !(outer.what == What::File && claim.what == What::File)) {
            let (same, help) = match claim.what {
                What::Folder | What::File => {
                    ("the same folder", "give each resource a folder of its own; a link counts as its target")
                }
                What::Objects => (
                    "the same objects",
                    "give each resource a prefix of its own, such as `prefix = \"raw/\"` and `prefix = \"out/\"`",
                ),
            };
            let message = if outer.real == claim.real {
                format!("the resources `{}` and `{}` are {same}", outer.name, claim.name)
            } else {
                format!("the resource `{}` lies inside the resource `{}`", claim.name, outer.name)
            };
            reader.complain(
                Problem::new(message)
                    .at(claim.span, format!("`{}`", claim.name))
                    .at(outer.span, format!("`{}`", outer.name))
                    .help(help),
            );
        }
        open.push(claim);
    }
}

/// Checks that the file of a SQLite store is a database or does not exist.
fn sqlite_file(reader: &mut Reader<'_>, path: &Path, manifest: &Path, text: &At<String>) {
    let wrong = match std::fs::metadata(path) {
        _ if text.value.ends_with('/') => "is a folder, not a file".to_owned(),
        Ok(found) if found.is_dir() => "is a folder, not a file".to_owned(),
        Ok(_) if real(path) == real(manifest) => "is this manifest".to_owned(),
        // Checked without opening the file, because opening a pipe would wait for a writer.
        Ok(found) if !found.is_file() => "is not a file".to_owned(),
        Ok(_) => match starts_like_a_database(path) {
            Ok(true) => return,
            Ok(false) => "is a file, but not an SQLite database".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        },
        // The file does not exist, or its folder cannot be used; opening the store reports that
        // better.
        Err(_) => return,
    };
    reader.complain(
        Problem::new(format!("the metadata store {} {wrong}", quoted(&text.value)))
            .at(&text.span, "here")
            .help("name a file that is not there yet, such as `path = \"state/metadata.db\"`"),
    );
}

/// Returns whether a file begins as SQLite databases do. An empty file is a database without
/// tables.
///
/// A file that this process has open is not read: it is the host's store, and the host has checked
/// it. Opening and closing it here would release all locks of the process on it (POSIX), and
/// another program might then remove the write-ahead log.
fn starts_like_a_database(path: &Path) -> std::io::Result<bool> {
    if is_open_here(path)? {
        return Ok(true);
    }
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(SQLITE_HEADER.len() as u64).read_to_end(&mut start)?;
    Ok(start.is_empty() || start == SQLITE_HEADER)
}

/// Returns whether this process has a file open; always `true` if the system does not provide this.
fn is_open_here(path: &Path) -> std::io::Result<bool> {
    let wanted = std::fs::metadata(path)?;
    let Ok(open) = std::fs::read_dir("/dev/fd") else { return Ok(true) };
    let mut open = open.filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok());
    Ok(open.any(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino())))
}

/// A folder in which the pipeline stores its own files.
struct Own<'d> {
    path: PathBuf,
    text: &'d At<String>,
    /// Describes these files.
    what: &'static str,
}

/// Checks that the pipeline's own state is outside of its data, and its data outside of its state.
fn state(reader: &mut Reader<'_>, folder: &Path, draft: &UncheckedManifest, claims: &[Claim<'_>]) {
    let text = &draft.top.store;
    let store = absolute(folder, &text.value);
    if draft.top.server_store.is_none()
        && !store.is_dir()
        && !text.value.ends_with('/')
        && let Some(path) = store.parent().map(Path::to_owned)
    {
        if path.exists() && !path.is_dir() {
            let message = format!("the folder of the metadata store {} is a file", quoted(&text.value));
            reader.complain(Problem::new(message).at(&text.span, "here"));
        }
        state_apart(reader, folder, &Own { path, text, what: "the metadata store" }, claims);
    }
    if let Some(text) = &draft.top.state {
        let path = absolute(folder, &text.value);
        if path.exists() && !path.is_dir() {
            let message = format!("the state folder {} is a file", quoted(&text.value));
            reader.complain(Problem::new(message).at(&text.span, "here"));
        }
        state_apart(reader, folder, &Own { path, text, what: "the state folder" }, claims);
    }
}

fn state_apart(reader: &mut Reader<'_>, folder: &Path, own: &Own<'_>, claims: &[Claim<'_>]) {
    let Some(state) = real(&own.path) else { return };
    // If the state folder contains the manifest, it may contain data too.
    let shared = real(folder).is_some_and(|folder| folder.starts_with(&state));
    for claim in claims {
        let inside = state.starts_with(&claim.real);
        if !inside && (shared || !claim.real.starts_with(&state)) {
            continue;
        }
        let message = if inside {
            format!("the pipeline's own state would lie inside the resource `{}`", claim.name)
        } else {
            format!("the resource `{}` lies inside the folder of the pipeline's own state", claim.name)
        };
        let mut problem = Problem::new(message).at(claim.span, format!("`{}`", claim.name));
        if !own.text.span.is_empty() {
            problem = problem.at(&own.text.span, own.what);
        }
        reader.complain(problem.help("keep them apart, such as the state in `state/` and the data in `data/`"));
    }
}

/// Resolves the links of an absolute path, also if the target does not exist. Returns `None` if the
/// links form a cycle.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    let mut todo: Vec<OsString> = Vec::new();
    let mut real = PathBuf::from("/");
    push_parts(&mut todo, path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&part);
        let Ok(target) = std::fs::read_link(&next) else {
            real = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        push_parts(&mut todo, &target);
    }
    Some(real)
}

/// Pushes the parts of a path on a stack, with the first part on top.
fn push_parts(todo: &mut Vec<OsString>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => todo.push(name.to_owned()),
            Component::ParentDir => todo.push("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{real, starts_like_a_database};

    #[test]
    fn a_database_is_recognised_by_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(starts_like_a_database(&file).unwrap());
        let _open = std::fs::File::open(&file).unwrap();
        std::fs::write(&file, "no database").unwrap();
        assert!(starts_like_a_database(&file).unwrap(), "a database that this process has open is not opened again");
        let file = folder.path().join("other");
        for (bytes, expected) in [("", true), ("SQLite", false), ("manifest_version = 1", false)] {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(starts_like_a_database(&file).unwrap(), expected, "{bytes}");
        }
    }

    #[test]
    fn symlinks_to_missing_targets_are_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir(base.join("data")).unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, base.join(name)).unwrap();
        link("data", "short");
        link("nowhere/yet", "dangling");
        link("data/../data/./", "winding");
        link("circle", "circle");
        assert_eq!(real(&base.join("short/raw")), Some(base.join("data/raw")));
        assert_eq!(real(&base.join("dangling/raw")), Some(base.join("nowhere/yet/raw")));
        assert_eq!(real(&base.join("winding")), Some(base.join("data")));
        assert_eq!(real(&base.join("short/../other")), Some(base.join("other")));
        assert_eq!(real(&base.join("circle/raw")), None);
    }
}
