//! The files of a new project.
//!
//! Files that a project shares with this repository (the WIT, the build scripts, the helpers of
//! each language) are taken from there, so that they stay up to date. Only the project's own files
//! are in `templates/`. Placeholders such as `@NAME@` are filled in.

/// The languages in which a project can be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Lang {
    #[value(alias = "rs")]
    Rust,
    #[value(alias = "py")]
    Python,
    #[value(alias = "js")]
    Javascript,
    #[value(alias = "ts")]
    Typescript,
    C,
    #[value(alias = "golang")]
    Go,
}

/// A file of a project.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Its path in the project.
    pub(super) path: &'static str,
    /// Its text.
    pub(super) text: &'static str,
    /// Replacements, as pairs of old and new text.
    pub(super) replace: &'static [(&'static str, &'static str)],
}

/// What differs from language to language.
#[derive(Debug)]
pub(super) struct Kit {
    /// Its name, for people.
    pub(super) language: &'static str,
    /// The script that builds an action, in `scripts`.
    pub(super) script: &'static str,
    /// The source of the action.
    pub(super) source: &'static str,
    /// The helpers, in `actions`, from which the action is built too.
    pub(super) helpers: &'static [&'static str],
    /// What the script needs on this machine.
    pub(super) needs: &'static str,
    /// The files, besides those of every project.
    pub(super) files: &'static [File],
}

/// A text of this repository, by its path from there.
macro_rules! ours {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path))
    };
}

/// A text of `templates/`.
macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("templates/", $path))
    };
}

const fn file(path: &'static str, text: &'static str) -> File {
    File { path, text, replace: &[] }
}

const GUEST_COMMON: File = file("scripts/guest-common.sh", ours!("scripts/guest-common.sh"));
const BUILD_JS: File = file("scripts/build-js-guest", ours!("scripts/build-js-guest"));

/// The files of every project.
pub(super) const COMMON: &[File] = &[
    file("anacostia.toml", template!("common/anacostia.toml")),
    file("README.md", template!("common/README.md")),
    file(".gitignore", template!("common/gitignore")),
    file("data/readings/monday.csv", template!("common/monday.csv")),
    file("data/readings/tuesday.csv", template!("common/tuesday.csv")),
    file("samples/wednesday.csv", template!("common/wednesday.csv")),
    file("wit/pipeline.wit", ours!("wit/pipeline.wit")),
    file("wit/trigger.wit", ours!("wit/trigger.wit")),
];

const RUST: Kit = Kit {
    language: "Rust",
    script: "build-rust-guest",
    source: "actions/summary/src/lib.rs",
    helpers: &["actions/support"],
    needs: "It needs Rust with the target `wasm32-wasip2`, or Debian 12, whose compiler it fetches.",
    files: &[
        file("actions/summary/Cargo.toml", template!("rust/Cargo.toml.in")),
        file("actions/summary/Cargo.lock", template!("rust/Cargo.lock")),
        file("actions/summary/src/lib.rs", template!("rust/lib.rs")),
        file("actions/support/Cargo.toml", ours!("guest-examples/rust/support/Cargo.toml")),
        // In a project the WIT is one folder nearer.
        File {
            path: "actions/support/src/lib.rs",
            text: ours!("guest-examples/rust/support/src/lib.rs"),
            replace: &[("path: \"../../../wit\"", "path: \"../../wit\"")],
        },
        file("actions/support/src/data.rs", ours!("guest-examples/rust/support/src/data.rs")),
        file("actions/support/src/hooks.rs", ours!("guest-examples/rust/support/src/hooks.rs")),
        file("actions/support/src/log.rs", ours!("guest-examples/rust/support/src/log.rs")),
        file("actions/support/src/trigger.rs", ours!("guest-examples/rust/support/src/trigger.rs")),
        file("scripts/build-rust-guest", ours!("scripts/build-rust-guest")),
        GUEST_COMMON,
    ],
};

const PYTHON: Kit = Kit {
    language: "Python",
    script: "build-python-guest",
    source: "actions/summary/app.py",
    helpers: &["actions/anacostia_guest.py"],
    needs: "It needs Python 3.10 or newer; on Debian 12 or newer, it fetches Python itself.",
    files: &[
        file("actions/summary/app.py", template!("python/app.py")),
        file("actions/anacostia_guest.py", ours!("guest-examples/python/anacostia_guest.py")),
        file("scripts/build-python-guest", ours!("scripts/build-python-guest")),
        GUEST_COMMON,
    ],
};

const JAVASCRIPT: Kit = Kit {
    language: "JavaScript",
    script: "build-js-guest",
    source: "actions/summary/app.js",
    helpers: &["actions/anacostia-guest.js"],
    needs: "It needs Node.js 20 or newer.",
    files: &[
        file("actions/summary/app.js", template!("javascript/app.js")),
        file("actions/anacostia-guest.js", ours!("guest-examples/javascript/anacostia-guest.js")),
        BUILD_JS,
        GUEST_COMMON,
    ],
};

const TYPESCRIPT: Kit = Kit {
    language: "TypeScript",
    script: "build-js-guest",
    source: "actions/summary/app.ts",
    helpers: &["actions/anacostia-guest.ts"],
    needs: "It needs Node.js 20 or newer. `scripts/build-js-guest --types actions/summary` writes the types of the WIT for your editor.",
    files: &[
        file("actions/summary/app.ts", template!("typescript/app.ts")),
        file("actions/anacostia-guest.ts", ours!("guest-examples/typescript/anacostia-guest.ts")),
        BUILD_JS,
        GUEST_COMMON,
    ],
};

const C: Kit = Kit {
    language: "C",
    script: "build-c-guest",
    source: "actions/summary/summary.c",
    helpers: &["actions/anacostia_guest.c", "actions/anacostia_guest.h"],
    needs: "It needs Rust to build the tools for the bindings, and Python 3.10 or newer to fetch a compiler; on Debian 12 or newer, it fetches Python itself.",
    files: &[
        file("actions/summary/summary.c", template!("c/summary.c")),
        file("actions/anacostia_guest.c", ours!("guest-examples/c/anacostia_guest.c")),
        file("actions/anacostia_guest.h", ours!("guest-examples/c/anacostia_guest.h")),
        file("scripts/build-c-guest", ours!("scripts/build-c-guest")),
        GUEST_COMMON,
    ],
};

const GO: Kit = Kit {
    language: "Go",
    script: "build-go-guest",
    source: "actions/summary/summary.go",
    helpers: &["actions/guest"],
    needs: "It needs Rust to build the tools for the bindings, and Python 3.10 or newer to fetch Go; on Debian 12 or newer, it fetches Python itself.",
    files: &[
        file("actions/summary/summary.go", template!("go/summary.go")),
        file("actions/guest/action.go", ours!("guest-examples/go/guest/action.go")),
        file("actions/guest/data.go", ours!("guest-examples/go/guest/data.go")),
        file("actions/guest/guest.go", ours!("guest-examples/go/guest/guest.go")),
        file("actions/guest/trigger.go", ours!("guest-examples/go/guest/trigger.go")),
        file("scripts/build-go-guest", ours!("scripts/build-go-guest")),
        GUEST_COMMON,
    ],
};

/// Returns the files and texts of a project in this language.
pub(super) fn kit(lang: Lang) -> &'static Kit {
    match lang {
        Lang::Rust => &RUST,
        Lang::Python => &PYTHON,
        Lang::Javascript => &JAVASCRIPT,
        Lang::Typescript => &TYPESCRIPT,
        Lang::C => &C,
        Lang::Go => &GO,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use clap::ValueEnum as _;

    use super::{COMMON, Lang, kit};

    /// The paths in git below a folder of this repository.
    fn in_git(folder: &str) -> BTreeSet<String> {
        let output =
            Command::new("git").args(["ls-files", folder]).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn all_wit_and_support_files_are_included() {
        let paths: BTreeSet<String> = COMMON.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(in_git("wit").difference(&paths).collect::<Vec<_>>(), [""; 0]);
        for (lang, helpers) in [(Lang::Rust, "rust/support"), (Lang::C, "c/anacostia_guest*"), (Lang::Go, "go/guest")] {
            let paths: BTreeSet<String> = kit(lang).files.iter().map(|file| file.path.to_owned()).collect();
            let ours = in_git(&format!("guest-examples/{helpers}"));
            assert!(!ours.is_empty());
            for path in ours {
                let there = path.splitn(3, '/').nth(2).unwrap();
                assert!(paths.contains(&format!("actions/{there}")), "{path} is not in a new project");
            }
        }
    }

    #[test]
    fn placeholders_exist_and_paths_are_unique() {
        for lang in Lang::value_variants() {
            let kit = kit(*lang);
            let mut paths = BTreeSet::new();
            for file in COMMON.iter().chain(kit.files) {
                assert!(paths.insert(file.path), "{} is listed twice", file.path);
                for (from, _) in file.replace {
                    assert_eq!(file.text.matches(from).count(), if from.contains("wit") { 3 } else { 1 }, "{from}");
                }
            }
            assert!(paths.contains(kit.source), "{}", kit.source);
            assert!(paths.contains(format!("scripts/{}", kit.script).as_str()), "{}", kit.script);
            for helper in kit.helpers {
                assert!(paths.iter().any(|path| path.starts_with(helper)), "{helper}");
            }
        }
    }
}
