//! Finds files of the library that import each other in a circle.
//!
//! If a file only re-exports an item, an import of the item does not count as an import of that
//! file: the path is followed to the file that defines the item. Code that only tests use is
//! ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::source::{Word, words};

/// The path of a module, without `crate`.
pub(crate) type Module = Vec<String>;

/// Returns the groups of files below `src` in which each imports every other, directly or through
/// others: files by module, with their imports in the group.
pub(crate) fn cycles(src: &Path, files: &[std::path::PathBuf]) -> Vec<BTreeMap<Module, BTreeSet<Module>>> {
    let mut graph = ModuleGraph::default();
    for file in files {
        let mut module: Module = file
            .strip_prefix(src)
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().into())
            .collect();
        if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
            module.pop();
        }
        let text = without_tests(&words(&fs::read_to_string(file).unwrap()), &module, &mut graph.only_tests);
        graph.files.insert(module, text);
    }
    graph.read();
    graph.groups()
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
