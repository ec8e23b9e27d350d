//! Finds what the files of the library name, and those that import each other in a circle.
//!
//! If a file only re-exports an item, an import of the item does not count as an import of that
//! file: the path is followed to the file that defines the item. Code that only tests use is
//! ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::source::{Word, words};

/// The path of a module, without `crate`.
pub(crate) type Module = Vec<String>;

/// Returns the groups of files below `src` in which each imports every other, directly or through
/// others: files by module, with their imports in the group.
pub(crate) fn cycles(src: &Path, files: &[PathBuf]) -> Vec<BTreeMap<Module, BTreeSet<Module>>> {
    ModuleGraph::of(src, files).groups()
}

/// Returns the paths that each file below `src` names, in full: `use super::{s3::{Bucket}}` in the
/// module `resource::open` names `resource::s3::Bucket`.
pub(crate) fn named_paths(src: &Path, files: &[PathBuf]) -> BTreeMap<Module, BTreeSet<Module>> {
    let graph = ModuleGraph::of(src, files);
    let named = |module: &Module| graph.named.get(module).into_iter().flatten();
    let exported = |module: &Module| graph.exported.get(module).into_iter().flat_map(BTreeMap::values);
    let all = |module: &Module| named(module).chain(exported(module)).cloned().collect();
    graph.files.keys().map(|module| (module.clone(), all(module))).collect()
}

#[derive(Default)]
struct ModuleGraph {
    files: BTreeMap<Module, Vec<String>>,
    only_tests: BTreeSet<Module>,
    /// What each file imports, and what it re-exports, by name.
    named: BTreeMap<Module, Vec<Module>>,
    exported: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl ModuleGraph {
    fn of(src: &Path, files: &[PathBuf]) -> Self {
        let mut graph = Self::default();
        for file in files {
            let inside = file.strip_prefix(src).unwrap().with_extension("");
            let mut module: Module = inside.iter().map(|part| part.to_str().unwrap().into()).collect();
            if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
                module.pop();
            }
            let text = without_tests(&words(&fs::read_to_string(file).unwrap()), &module, &mut graph.only_tests);
            graph.files.insert(module, text);
        }
        graph.read();
        graph
    }

    fn read(&mut self) {
        let only_tests = std::mem::take(&mut self.only_tests);
        self.files.retain(|module, _| !only_tests.iter().any(|test| module.starts_with(test)));
        for (module, text) in &self.files {
            let (mut at, mut exporting) = (0, false);
            while at < text.len() {
                match text[at].as_str() {
                    "pub" => {
                        exporting = true;
                        if text.get(at + 1).is_some_and(|next| next == "(") {
                            at += text[at..].iter().position(|word| word == ")").unwrap_or(0);
                        }
                    }
                    "use" => {
                        let end = text[at..].iter().position(|word| word == ";").map_or(text.len(), |end| at + end);
                        for path in expand(&text[at + 1..end]) {
                            let Some(path) = self.absolute(module, &path) else { continue };
                            if exporting {
                                let name = path.last().cloned().unwrap_or_default();
                                self.exported.entry(module.clone()).or_default().insert(name, path);
                            } else {
                                self.named.entry(module.clone()).or_default().push(path);
                            }
                        }
                        (at, exporting) = (end, false);
                    }
                    "crate" | "super" | "self" if text.get(at + 1).is_some_and(|next| next == ":") => {
                        let mut path = vec![text[at].clone()];
                        while text.get(at + 1..at + 3).is_some_and(|signs| signs == [":", ":"])
                            && text
                                .get(at + 3)
                                .is_some_and(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
                        {
                            path.push(text[at + 3].clone());
                            at += 3;
                        }
                        let path = self.absolute(module, &path);
                        self.named.entry(module.clone()).or_default().extend(path);
                    }
                    _ => exporting = false,
                }
                at += 1;
            }
        }
    }

    /// Returns the path relative to the crate, or `None` if it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let (mut base, rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (module.clone(), &path[1..]),
            "super" => (module[..module.len().checked_sub(ups)?].to_vec(), &path[ups..]),
            first => {
                let child = [module.as_slice(), &[first.to_owned()]].concat();
                self.files.contains_key(&child).then(|| (module.clone(), path))?
            }
        };
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// Returns the file that defines what a path names.
    fn defined_in(&self, path: &[String], depth: usize) -> Module {
        let mut length = path.len();
        while !self.files.contains_key(&path[..length]) {
            length -= 1;
        }
        let (file, rest) = path.split_at(length);
        let exported = rest.first().and_then(|name| self.exported.get(file)?.get(name)).filter(|_| depth < 10);
        match exported {
            Some(target) if target != path => self.defined_in(&[target, &rest[1..]].concat(), depth + 1),
            _ => file.to_vec(),
        }
    }

    fn groups(&self) -> Vec<BTreeMap<Module, BTreeSet<Module>>> {
        let edges: BTreeMap<&Module, BTreeSet<Module>> = self
            .files
            .keys()
            .map(|module| {
                let named = self.named.get(module).into_iter().flatten().map(|path| self.defined_in(path, 0));
                (module, named.filter(|other| other != module).collect())
            })
            .collect();
        let reach = |from: &Module| {
            let (mut seen, mut todo) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(next) = todo.pop() {
                for other in edges.get(&next).into_iter().flatten() {
                    if seen.insert(other.clone()) {
                        todo.push(other.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            edges.keys().map(|module| (*module, reach(module))).collect();
        let mut groups: BTreeSet<BTreeSet<&Module>> = BTreeSet::new();
        for (module, reaches) in reached.iter().filter(|(module, reaches)| reaches.contains(**module)) {
            let back = |other: &&&Module| reaches.contains(**other) && reached[**other].contains(*module);
            groups.insert(reached.keys().filter(back).copied().collect());
        }
        let inside = |group: BTreeSet<&Module>| {
            let of_group = |module: &Module| edges[module].iter().filter(|it| group.contains(it)).cloned().collect();
            group.iter().map(|module| ((*module).clone(), of_group(module))).collect()
        };
        groups.into_iter().map(inside).collect()
    }
}

/// Returns the paths in the tree of a `use`.
fn expand(tree: &[String]) -> Vec<Module> {
    let Some(open) = tree.iter().position(|word| word == "{") else {
        let end = tree.iter().position(|word| word == "as").unwrap_or(tree.len());
        return vec![tree[..end].iter().filter(|word| *word != ":").cloned().collect()];
    };
    let prefix: Module = tree[..open].iter().filter(|word| *word != ":").cloned().collect();
    let close = tree.iter().rposition(|word| word == "}").unwrap_or(tree.len());
    let (mut depth, mut parts) = (0, vec![Vec::new()]);
    for word in &tree[open + 1..close] {
        depth += i32::from(word == "{") - i32::from(word == "}");
        if word == "," && depth == 0 {
            parts.push(Vec::new());
        } else {
            parts.last_mut().unwrap().push(word.clone());
        }
    }
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(part)).map(|path| [prefix.clone(), path].concat()).collect()
}

/// Returns the words of a file, without items after `#[cfg(test)]`. Notes such items that are
/// modules in files of their own.
fn without_tests(words: &[Word], module: &Module, only_tests: &mut BTreeSet<Module>) -> Vec<String> {
    let text: Vec<String> = words.iter().map(|word| word.text.clone()).collect();
    let cfg = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < text.len() {
        if !text[at..].iter().take(cfg.len()).eq(cfg.iter()) {
            kept.push(text[at].clone());
            at += 1;
            continue;
        }
        at += cfg.len();
        if let Some(name) =
            text[at..].iter().take(6).position(|word| word == "mod").and_then(|mods| text.get(at + mods + 1))
        {
            only_tests.insert([module.as_slice(), std::slice::from_ref(name)].concat());
        }
        let mut depth = 0;
        while let Some(word) = text.get(at) {
            depth += i32::from(matches!(word.as_str(), "{" | "(" | "["))
                - i32::from(matches!(word.as_str(), "}" | ")" | "]"));
            at += 1;
            if depth == 0 && matches!(word.as_str(), ";" | "}" | ",") {
                break;
            }
        }
    }
    kept
}

mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{cycles, named_paths};

    /// Writes files of a library. Returns its folder, and their paths.
    fn library(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let src = tempfile::tempdir().unwrap();
        let write = |(name, text): &(&str, &str)| {
            let path = src.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let paths = files.iter().map(write).collect();
        (src, paths)
    }

    /// Returns the modules of each circle.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let (src, paths) = library(files);
        let found = cycles(src.path(), &paths);
        found.iter().map(|group| group.keys().map(|module| module.join("/")).collect()).collect()
    }

    #[test]
    fn a_circle_is_found_and_what_only_leads_into_it_is_not_in_it() {
        let circle = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::{c::{C}, base};"),
            ("c.rs", "fn c() { super::a::a() }"),
            ("base.rs", ""),
            ("user.rs", "use crate::a;"),
        ];
        assert_eq!(circles(&circle), [["a", "b", "c"]]);
        let chain = circle.map(|(file, text)| (file, if file == "c.rs" { "" } else { text }));
        assert_eq!(circles(&chain), [[""; 0]; 0]);
    }

    #[test]
    fn a_path_is_followed_through_a_file_that_only_exports_it() {
        let through = |exports| {
            [
                ("part/mod.rs", exports),
                ("part/inner.rs", "use crate::user::User;"),
                ("user.rs", "use crate::part::Inner;"),
            ]
        };
        assert_eq!(circles(&through("mod inner; pub use inner::Inner;")), [["part/inner", "user"]]);
        assert_eq!(circles(&through("mod inner; pub struct Inner;")), [[""; 0]; 0]);
    }

    #[test]
    fn imports_of_tests_do_not_close_a_circle() {
        let with = |text| [("a.rs", "use crate::b::B;"), ("b.rs", text), ("b/tests.rs", "use crate::a::A;")];
        assert_eq!(circles(&with("mod tests;")), [[""; 0]; 0], "nothing imports the tests");
        assert_eq!(circles(&with("#[cfg(test)] mod more { use crate::a::A; }")), [[""; 0]; 0]);
        assert_eq!(circles(&with("mod more { use crate::a::A; }")), [["a", "b"]]);
    }

    #[test]
    fn a_path_is_named_in_every_form_of_import() {
        let source =
            "use super::{s3::{self, Bucket as Other}, *};\npub use crate::sql::*;\nfn f() { super::http::new() }";
        let (src, paths) = library(&[("resource/open.rs", source), ("resource/s3.rs", ""), ("resource/http.rs", "")]);
        let named = named_paths(src.path(), &paths);
        let open = &named[&["resource".to_owned(), "open".to_owned()][..]];
        let open: Vec<String> = open.iter().map(|path| path.join("::")).collect();
        let wanted = ["resource::*", "resource::http::new", "resource::s3::Bucket", "resource::s3::self", "sql::*"];
        assert_eq!(open, wanted);
    }
}
