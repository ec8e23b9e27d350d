//! The folder tree that a command sees: files with paths, and the folders that the paths imply. It
//! does not access a disk.
//!
//! A tree is one ordered map. A file is stored under its path, and a folder that may be empty under
//! its path with a `/` at the end. All other folders are prefixes of the paths below them. So a
//! lookup, and finding the next name in a folder, cost one search each, whatever the size of the
//! tree.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};

use crate::base::bounds::MAX_PATH_BYTES;

/// Maximum length of a path from a guest, in bytes: a path in a resource with the resource and its
/// prefix, and twice that for parts such as `.`.
const MAX_GUEST_PATH_BYTES: usize = 4 * MAX_PATH_BYTES;

/// Files by path, and the folders above them. Paths do not start or end with `/`; the empty path is
/// the root.
#[derive(Debug)]
pub(super) struct Tree<T> {
    /// A file, or `None` for a folder, whose path ends with `/`.
    nodes: BTreeMap<String, Option<T>>,
}

/// What a path refers to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// A folder.
    Folder,
    /// A file.
    File(T),
    /// Nothing.
    Nothing,
    /// Nothing, because a part above it is a file.
    InFile,
}

/// A name in a folder, and where to search for the next one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) is_folder: bool,
    pub(super) next: String,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new() }
    }
}

impl<T> Tree<T> {
    /// Returns what a path refers to.
    pub(super) fn find(&self, path: &str) -> Found<&T> {
        if path.is_empty() {
            return Found::Folder;
        }
        if let Some(Some(file)) = self.nodes.get(path) {
            return Found::File(file);
        }
        if self.below(path).next().is_some() {
            return Found::Folder;
        }
        let mut above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        if above.any(|above| matches!(self.nodes.get(above), Some(Some(_)))) { Found::InFile } else { Found::Nothing }
    }

    /// Puts a file at a path, and replaces an existing one.
    pub(super) fn put(&mut self, path: &str, file: T) {
        self.nodes.insert(path.to_owned(), Some(file));
    }

    /// Creates a folder that remains when it is empty.
    pub(super) fn make_folder(&mut self, path: &str) {
        self.nodes.insert(format!("{path}/"), None);
    }

    /// Removes a file and returns it. Its folder remains.
    pub(super) fn take(&mut self, path: &str) -> Option<T> {
        let file = self.nodes.remove(path)??;
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.make_folder(folder);
        }
        Some(file)
    }

    /// Removes a folder if it is empty. Returns whether it did.
    pub(super) fn remove_folder(&mut self, path: &str) -> bool {
        let own = format!("{path}/");
        if self.below(path).any(|(key, _)| *key != own) {
            return false;
        }
        let removed = self.nodes.remove(&own).is_some();
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.make_folder(folder);
        }
        removed
    }

    /// Returns the files below a folder, in the order of their paths.
    pub(super) fn files_below<'t>(&'t self, folder: &str) -> impl Iterator<Item = (&'t str, &'t T)> {
        self.below(folder).filter_map(|(path, file)| Some((path.as_str(), file.as_ref()?)))
    }

    /// Returns the number of stored files and folders.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the first or the next name in a folder. `from` is the [`Child::next`] of the
    /// previous name.
    pub(super) fn child(&self, folder: &str, from: Option<&str>) -> Option<Child> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let from = from.unwrap_or(&prefix);
        let mut keys = self.nodes.range::<str, _>((Included(from), Unbounded)).map(|(key, _)| key);
        let key = keys.find(|key| **key != prefix)?;
        let rest = key.strip_prefix(&prefix)?;
        Some(match rest.split_once('/') {
            // Skips everything in the folder: `0` is the character after `/`.
            Some((name, _)) => Child { name: name.to_owned(), is_folder: true, next: format!("{prefix}{name}0") },
            None => Child { name: rest.to_owned(), is_folder: false, next: format!("{key}\0") },
        })
    }

    fn below(&self, folder: &str) -> impl Iterator<Item = (&String, &Option<T>)> {
        let prefix = format!("{folder}/");
        self.nodes.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix))
    }
}

/// Why a path cannot be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ResolveError {
    /// The path is too long.
    TooLong,
    /// The path contains a control character, such as NUL.
    Unreadable,
    /// The path leaves the folder that it starts in, or is absolute.
    Outside,
}

/// Resolves a path that is relative to a folder. `.`, `..` and repeated `/` are resolved lexically,
/// because there are no links. The flag says whether the path must be a folder, because it ends
/// with `/`.
pub(super) fn resolve(folder: &str, path: &str) -> Result<(String, bool), ResolveError> {
    if path.len() > MAX_GUEST_PATH_BYTES {
        return Err(ResolveError::TooLong);
    }
    if path.chars().any(char::is_control) {
        return Err(ResolveError::Unreadable);
    }
    if path.starts_with('/') {
        return Err(ResolveError::Outside);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or(ResolveError::Outside)?),
            part => parts.push(part),
        }
    }
    let must_be_folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("..");
    let inside = parts.join("/");
    let whole = match (folder, inside.as_str()) {
        ("", _) => inside,
        (folder, "") => folder.to_owned(),
        (folder, inside) => format!("{folder}/{inside}"),
    };
    Ok((whole, must_be_folder))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(paths: &[&str]) -> Tree<usize> {
        let mut tree = Tree::default();
        for (place, path) in paths.iter().enumerate() {
            match path.strip_suffix('/') {
                Some(folder) => tree.make_folder(folder),
                None => tree.put(path, place),
            }
        }
        tree
    }

    /// The names in a folder, folders with a `/`.
    fn names(tree: &Tree<usize>, folder: &str) -> Vec<String> {
        let (mut found, mut from) = (Vec::new(), None);
        while let Some(child) = tree.child(folder, from.as_deref()) {
            found.push(if child.is_folder { child.name + "/" } else { child.name });
            from = Some(child.next);
        }
        found
    }

    #[test]
    fn folders_are_implied_by_paths() {
        let tree = tree(&["raw/", "clean/b/c.csv", "clean/b.csv", "clean/b/d/e.csv", "clean/b0"]);
        assert_eq!(names(&tree, ""), ["clean/", "raw/"]);
        assert_eq!(names(&tree, "clean"), ["b.csv", "b/", "b0"]);
        assert_eq!(names(&tree, "clean/b"), ["c.csv", "d/"]);
        assert!(names(&tree, "raw").is_empty() && names(&tree, "nowhere").is_empty());
        assert_eq!(tree.find(""), Found::Folder);
        assert_eq!(tree.find("raw"), Found::Folder);
        assert_eq!(tree.find("clean/b"), Found::Folder);
        assert_eq!(tree.find("clean/b.csv"), Found::File(&2));
        assert_eq!(tree.find("clean/b.csv/c"), Found::InFile);
        assert_eq!(tree.find("clean/x/y"), Found::Nothing);
        assert_eq!(tree.find("cle"), Found::Nothing);
        let below: Vec<&str> = tree.files_below("clean/b").map(|(path, _)| path).collect();
        assert_eq!(below, ["clean/b/c.csv", "clean/b/d/e.csv"]);
    }

    #[test]
    fn a_folder_remains_when_its_last_file_is_removed() {
        let mut tree = tree(&["out/", "out/a/b"]);
        assert_eq!(tree.take("out/a/b"), Some(1));
        assert_eq!(tree.find("out/a"), Found::Folder);
        assert!(!tree.remove_folder("out"), "the folder is not empty");
        assert!(tree.remove_folder("out/a"));
        assert_eq!(tree.find("out/a"), Found::Nothing);
        assert_eq!(tree.find("out"), Found::Folder);
        assert_eq!(tree.take("out/a/b"), None);
    }

    #[test]
    fn paths_are_resolved_and_never_leave() {
        let ok = |folder: &str, path: &str| resolve(folder, path).unwrap();
        assert_eq!(ok("", "in/raw/a.csv"), ("in/raw/a.csv".to_owned(), false));
        assert_eq!(ok("", "."), (String::new(), false));
        assert_eq!(ok("in", "raw//./b/../a.csv"), ("in/raw/a.csv".to_owned(), false));
        assert_eq!(ok("out/models", "x/"), ("out/models/x".to_owned(), true));
        for path in ["..", "../x", "a/../../x", "/etc/passwd", "/", "a/../.."] {
            assert_eq!(resolve("in/raw", path), Err(ResolveError::Outside), "{path}");
        }
        assert_eq!(resolve("", "a\0b"), Err(ResolveError::Unreadable));
        assert_eq!(resolve("", &"a/".repeat(MAX_GUEST_PATH_BYTES)), Err(ResolveError::TooLong));
    }

    proptest! {
        /// A walk through the folders visits every file once, and nothing else.
        #[test]
        fn a_walk_visits_each_file_once(paths in proptest::collection::btree_set("[ab.0]{1,2}(/[ab.0]{1,2}){0,3}", 0..30)) {
            let mut tree = Tree::default();
            let mut put = Vec::new();
            for path in &paths {
                if tree.find(path) == Found::Nothing {
                    tree.put(path, 0);
                    put.push(path.clone());
                }
            }
            let (mut met, mut folders) = (Vec::new(), vec![String::new()]);
            while let Some(folder) = folders.pop() {
                for name in names(&tree, &folder) {
                    let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                    match path.strip_suffix('/') {
                        Some(inner) => folders.push(inner.to_owned()),
                        None => met.push(path),
                    }
                }
            }
            met.sort();
            prop_assert_eq!(met, put);
        }

        #[test]
        fn resolved_paths_have_no_dot_or_empty_parts(path in "[ab./]{0,12}") {
            if let Ok((whole, _)) = resolve("base", &path) {
                prop_assert!(whole == "base" || whole.starts_with("base/"));
                prop_assert!(whole.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
