//! Checks the structure of the source: floors (layers), file sizes, and text that source files must
//! not contain.
//!
//! Floors are checked in the source text, not by the compiler: a path `crate::…` anywhere outside
//! of comments counts, whether in a `use`, nested in braces, in a macro or in the middle of an
//! expression.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::cycles::{cycles, named_paths};
use crate::support::source::{imports, words};

/// The floor of each module, as ARCHITECTURE.md describes them. A module imports only from floors
/// below its own.
const FLOORS: &[(u32, &str)] = &[
    (0, "base"),
    (1, "model"),
    (2, "manifest"),
    (3, "graph"),
    (4, "store"),
    (4, "resource"),
    (5, "sandbox"),
    (6, "scheduler"),
    (7, "http"),
    (7, "notify"),
    (7, "ui"),
    (8, "cli"),
];

/// Files that may import each other in a circle. The generated bindings name the types of the host
/// that stand for descriptors and errors of WASI, and these types hold flags and error codes that
/// the same bindings define.
const CIRCULAR: [&str; 2] = ["sandbox/bindings", "sandbox/host/files/entries"];

const MAX_LINES: usize = 600;
/// The maximum width of a comment line. Code may be as wide as rustfmt.toml allows.
const MAX_COMMENT: usize = 100;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn floor(module: &str) -> Option<u32> {
    FLOORS.iter().find(|(_, name)| *name == module).map(|(floor, _)| *floor)
}

/// Returns every file below `folder` for which `wanted` is true, except in folders that are built
/// or generated.
pub(crate) fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type().unwrap().is_dir() {
                if !matches!(name.to_str(), Some("target" | ".git" | "state" | "node_modules")) {
                    todo.push(path);
                }
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Returns the top-level module of a file below `src/`, and how many modules deep the file is.
fn place(path: &Path) -> (String, usize) {
    let inside = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<String> =
        inside.components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    (parts[0].clone(), parts.len())
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    let src = root().join("src");
    let mut found = cycles(&src, &files(&src, &is_rust));
    found.retain(|group| !group.keys().all(|module| CIRCULAR.contains(&module.join("/").as_str())));
    let told: Vec<String> = found
        .iter()
        .flatten()
        .map(|(module, imports)| {
            let imports: Vec<String> = imports.iter().map(|module| module.join("/")).collect();
            format!("{} imports {}", module.join("/"), imports.join(", "))
        })
        .collect();
    assert!(told.is_empty(), "import cycles:\n{}", told.join("\n"));
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    let mut wrong = Vec::new();
    for path in files(&root().join("src"), &is_rust) {
        let (module, depth) = place(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let own = floor(&module).unwrap_or_else(|| panic!("{} has no floor: give `{module}` one", path.display()));
        for import in imports(&fs::read_to_string(&path).unwrap(), depth) {
            let allowed = import.module == module || floor(&import.module).is_some_and(|other| other < own);
            if !allowed {
                wrong.push(format!("{}:{}: floor {own} reaches for `{}`", path.display(), import.line, import.module));
            }
        }
    }
    assert!(wrong.is_empty(), "a module imports only from lower floors:\n{}", wrong.join("\n"));
}

#[test]
fn the_crate_docs_show_the_same_floors() {
    let docs = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let shown: BTreeSet<(u32, String)> = docs
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
            let floor = cells.next()?.parse().ok()?;
            let module = cells.next()?.strip_prefix("[`")?.strip_suffix("`]")?;
            Some((floor, module.to_owned()))
        })
        .collect();
    let held: BTreeSet<(u32, String)> = FLOORS.iter().map(|(floor, name)| (*floor, (*name).to_owned())).collect();
    assert_eq!(shown, held);
}

#[test]
fn the_binary_only_calls_the_command_line() {
    let text = fs::read_to_string(root().join("src/main.rs")).unwrap();
    let used: BTreeSet<String> = words(&text)
        .windows(4)
        .filter(|four| four[0].text == "anacostia" && four[1].text == ":" && four[2].text == ":")
        .map(|four| four[3].text.clone())
        .collect();
    assert_eq!(used, BTreeSet::from(["cli".to_owned()]));
    assert!(text.lines().count() <= 20, "src/main.rs does more than call the command line");
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), &is_rust))
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            (lines > MAX_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "files over {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn no_comment_is_too_wide() {
    let source = |path: &Path| {
        path.extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| ["rs", "wit", "c", "h", "go", "js", "mjs", "ts"].contains(&extension))
    };
    let mut wide = Vec::new();
    for path in files(&root(), &source) {
        let text = fs::read_to_string(&path).unwrap();
        let comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
        wide.extend(
            comments
                .filter(|(_, line)| line.chars().count() > MAX_COMMENT)
                .map(|(at, _)| format!("{}:{}", path.display(), at + 1)),
        );
    }
    assert!(wide.is_empty(), "comments over {MAX_COMMENT} columns:\n{}", wide.join("\n"));
}

/// Text in the repository must be understandable without its origin: no paths of the machine that
/// it was written on, no issue numbers, no notes about work to do.
#[test]
fn text_does_not_depend_on_where_it_was_written() {
    let machine: Vec<String> = machine_paths();
    // Composed here, so that this file passes.
    let notes: Vec<String> =
        [("FIX", "ME"), ("TO", "DO"), ("XX", "X:")].iter().map(|(a, b)| format!("{a}{b}")).collect();
    let text_file = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let inside = path.strip_prefix(root()).unwrap();
        path.extension().is_none_or(|extension| extension != "lock")
            && (!name.starts_with('.') || inside.starts_with(".ci"))
            // Published schemas, which stay as they are.
            && !(inside.starts_with("tests/openlineage") && path.extension().is_some_and(|kind| kind == "json"))
            && fs::metadata(path).unwrap().len() < (1 << 20)
    };
    let mut wrong = Vec::new();
    for path in files(&root(), &text_file) {
        // Files that are not UTF-8 (components, data) are not checked.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (at, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), at + 1);
            wrong.extend(
                machine.iter().filter(|path| names_a_path(line, path)).map(|path| format!("{place}: `{path}`")),
            );
            wrong.extend(notes.iter().filter(|note| line.contains(*note)).map(|note| format!("{place}: `{note}`")));
            wrong.extend(names_an_issue(line).then(|| format!("{place}: the number of an issue")));
        }
    }
    assert!(wrong.is_empty(), "text that depends on where it was written:\n{}", wrong.join("\n"));
}

/// Returns the folder of this checkout, its top-level folder, and this user's home, except for
/// names that every machine has.
fn machine_paths() -> Vec<String> {
    let root = root();
    let top: PathBuf = root.components().take(2).collect();
    let home = std::env::var("HOME").map(PathBuf::from).unwrap_or_default();
    let common = ["", "/", "/home", "/root", "/tmp", "/usr", "/opt", "/var", "/mnt", "/srv", "/src", "/Users"];
    let paths = [root, top, home].map(|path| path.to_str().unwrap().to_owned());
    paths.into_iter().filter(|path| !common.contains(&path.as_str())).map(|path| format!("{path}/")).collect()
}

/// Returns whether `path` is in the line, and not as a part of a longer path.
fn names_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | '-' | '.' | '}' | '/'))
    })
}

fn names_an_issue(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.match_indices("issue").any(|(at, word)| {
        let rest = line[at + word.len()..].trim_start_matches(['s', ' ', '#']);
        rest.starts_with(|next: char| next.is_ascii_digit())
    })
}

/// Whoever adds a kind goes by the recipes there.
#[test]
fn the_architecture_names_only_files_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources = files(&root(), &is_rust);
    let named =
        text.split('`').skip(1).step_by(2).filter(|code| is_rust(Path::new(code)) && !code.contains(['<', ' ', '*']));
    let missing: Vec<&str> = named.filter(|name| !sources.iter().any(|path| path.ends_with(name))).collect();
    assert!(missing.is_empty(), "no such files: {missing:?}");
}

/// The README's first two commands are those that people copy, and that `.ci/run` runs.
#[test]
fn the_readme_starts_with_the_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let commands: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("cargo ")).collect();
    assert_eq!(
        commands[..2],
        ["cargo run -- run --build guest-examples/pipelines/simplest", "cargo test"],
        "the quick start"
    );
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.lines().any(|line| line == format!("step {}", commands[1])), ".ci/run calls the test command");
}

/// The types of each kind of store, resource, log and component store, and the files below `src/`
/// that may name them: the kind itself, the code that reads it from a manifest, and the factory.
/// All other code must work with every kind. [`KIND_MODULES`] has the types whose names are not
/// unique.
const KINDS: &[(&str, &[&str])] = &[
    (
        "StoreSpec",
        &[
            "manifest/mod.rs",
            "manifest/pipeline.rs",
            "manifest/store.rs",
            "manifest/read/top.rs",
            "manifest/read/store.rs",
            "manifest/read/redis.rs",
            "manifest/check/paths.rs",
            "store/open.rs",
        ],
    ),
    ("SqliteStore", &["store/sqlite/", "store/open.rs"]),
    ("PostgresStore", &["store/postgres/", "store/open.rs"]),
    ("RedisStore", &["store/redis/", "store/open.rs"]),
    (
        "ResourceKind",
        &[
            "manifest/mod.rs",
            "manifest/pipeline.rs",
            "manifest/dataset.rs",
            "manifest/read/resource/",
            "resource/open.rs",
        ],
    ),
    ("FolderSpec", &["manifest/mod.rs", "manifest/pipeline.rs", "manifest/read/resource/", "resource/folder/"]),
    ("S3Spec", &["manifest/", "resource/s3/"]),
    ("HttpSpec", &["manifest/", "resource/http/"]),
    ("SqlSpec", &["manifest/", "resource/sql/"]),
    // The store reads the URL of its server as that kind does.
    ("SqlDatabase", &["manifest/", "resource/sql/", "store/postgres/connect.rs"]),
    ("SegmentLog", &["store/logs/"]),
    ("ComponentFolder", &["store/components.rs"]),
];

/// The modules of the kinds, and the modules that may name anything in them.
const KIND_MODULES: &[(&str, &[&str])] = &[
    ("store/sqlite", &["store/open"]),
    ("store/postgres", &["store/open"]),
    ("store/redis", &["store/open"]),
    // The other kinds stage their outputs in a folder.
    ("resource/folder", &["resource/open", "resource/http", "resource/s3", "resource/sql"]),
    ("resource/http", &["resource/open"]),
    ("resource/s3", &["resource/open"]),
    ("resource/sql", &["resource/open"]),
];

/// Returns whether `path` is `module`, or is in it.
fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[test]
fn only_factories_name_the_module_of_a_kind() {
    let src = root().join("src");
    let mut wrong = Vec::new();
    for (module, named) in named_paths(&src, &files(&src, &is_rust)) {
        let module = module.join("/");
        for path in named.iter().map(|path| path.join("/")) {
            let kinds = KIND_MODULES.iter().filter(|(kind, _)| is_in(&path, kind) && !is_in(&module, kind));
            let refused = kinds.filter(|(_, allowed)| !allowed.iter().any(|allowed| is_in(&module, allowed)));
            wrong.extend(refused.map(|(kind, _)| format!("src/{module}: `{path}` of the kind `{kind}`")));
        }
    }
    assert!(wrong.is_empty(), "a kind is named outside of its module and factory:\n{}", wrong.join("\n"));
}

#[test]
fn only_factories_name_a_kind_of_store_or_resource() {
    let mut wrong = Vec::new();
    for path in files(&root().join("src"), &is_rust) {
        let inside = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        // Tests may create any kind.
        let text = text.split("#[cfg(test)]").next().unwrap();
        if inside.ends_with("/tests.rs") {
            continue;
        }
        let words = words(text);
        for (kind, allowed) in KINDS {
            if allowed.iter().any(|allowed| inside.starts_with(allowed)) {
                continue;
            }
            let named = words.iter().find(|word| word.text == *kind);
            wrong.extend(named.map(|word| format!("src/{inside}:{}: `{kind}`", word.line)));
        }
    }
    assert!(wrong.is_empty(), "a kind is named outside of its module and factory:\n{}", wrong.join("\n"));
}

/// The names of kinds that are not words for something else too. Code that is not of the kind asks
/// the spec instead, so that a new kind has to answer.
const KIND_TEXTS: &[&str] =
    &["\"s3\"", "\"sql\"", "\"sqlite\"", "\"postgres\"", "\"redis\"", "\"slack\"", "\"webhook\""];

#[test]
fn only_the_manifest_and_the_kind_itself_have_its_name_as_a_text() {
    let mut wrong = Vec::new();
    for path in files(&root().join("src"), &is_rust) {
        let inside = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let is_of_kind = KIND_MODULES.iter().any(|(module, _)| inside.starts_with(&format!("{module}/")));
        let is_test = inside.ends_with("/tests.rs") || inside.starts_with("store/conformance/");
        if is_of_kind || is_test || inside.starts_with("manifest/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for (line, code) in text.lines().enumerate().filter(|(_, code)| !code.trim_start().starts_with("//")) {
            let named = KIND_TEXTS.iter().find(|kind| code.contains(**kind));
            wrong.extend(named.map(|kind| format!("src/{inside}:{}: {kind}", line + 1)));
        }
    }
    assert!(
        wrong.is_empty(),
        "the name of a kind is a text outside of its module and the manifest:\n{}",
        wrong.join("\n")
    );
}
