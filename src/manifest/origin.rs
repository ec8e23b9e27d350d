//! What a component was written in, as far as it says so.
//!
//! Tools leave their names in `producers` sections, each in the module that it made, and a
//! component has many modules: the adapter of a Go program is written in Rust, and the engine
//! inside a JavaScript action in C++. What counts is the module that holds the author's work: the
//! first one, because the tools of the component model put it there. Two runtimes are known by what
//! is inside instead: `ComponentizeJS` names itself at the top, and componentize-py, which leaves
//! no name, by the library of CPython.

use std::collections::BTreeMap;

use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::base::{bounds, escape};

/// Most bytes of a name or version that are shown.
const MAX_WORD: usize = 100;
/// Most names of a section that are looked at.
const MAX_VALUES: usize = 100;

/// What a component says about how it came to be. Words are safe to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The language, with its version where that is known: `Python 3.14`.
    pub language: Option<String>,
    /// What made the component of it: `ComponentizeJS 0.23.0`.
    pub tool: Option<String>,
}

/// What the bytes of a component say about how it came to be. What is malformed is left out:
/// nothing depends on it.
#[must_use]
pub fn origin(bytes: &[u8]) -> Origin {
    let mut said = Said::default();
    let mut depth = 0_u32;
    let mut modules = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ModuleSection { .. }) => {
                depth += 1;
                modules += 1;
            }
            Ok(Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::CustomSection(section)) => match section.as_known() {
                KnownCustom::Producers(producers) if depth == 0 => said.top.note(producers),
                KnownCustom::Producers(producers) if modules == 1 => said.work.note(producers),
                KnownCustom::Name(names) => said.note_library(names),
                _ => {}
            },
            Ok(_) => {}
            Err(_) => break,
        }
    }
    said.origin()
}

/// What was found.
#[derive(Debug, Default)]
struct Said {
    /// Of the component itself.
    top: Makers,
    /// Of the module that holds the author's work.
    work: Makers,
    /// The version of CPython inside.
    python: Option<String>,
}

/// Languages and tools, each with its version.
#[derive(Debug, Default)]
struct Makers {
    languages: BTreeMap<String, String>,
    tools: BTreeMap<String, String>,
}

impl Makers {
    fn note(&mut self, producers: wasmparser::ProducersSectionReader<'_>) {
        let word = |text: &str| escape(bounds::cut(text, MAX_WORD).as_bytes());
        for field in producers.into_iter().flatten() {
            let list = match field.name {
                "language" => &mut self.languages,
                "processed-by" | "sdk" => &mut self.tools,
                _ => continue,
            };
            for value in field.values.into_iter().flatten().take(MAX_VALUES) {
                list.insert(word(value.name), word(value.version));
            }
        }
    }

    /// A tool whose name begins so, with its version.
    fn tool(&self, name: &str) -> Option<String> {
        let (name, version) = self.tools.iter().find(|(tool, _)| tool.starts_with(name))?;
        // rustc and clang tell their commit, too.
        let version = version.split([' ', '(']).next().unwrap_or_default();
        Some(format!("{name} {version}").trim_end().to_owned())
    }

    fn language(&self, name: &str) -> Option<&String> {
        self.languages.iter().find(|(language, _)| language.starts_with(name)).map(|(_, version)| version)
    }
}

impl Said {
    /// Whether a module calls itself the library of CPython.
    fn note_library(&mut self, names: wasmparser::NameSectionReader<'_>) {
        let Some(Ok(Name::Module { name, .. })) = names.into_iter().next() else { return };
        if let Some(version) = name.strip_prefix("libpython").and_then(|rest| rest.strip_suffix(".so")) {
            self.python = Some(escape(bounds::cut(version, MAX_WORD).as_bytes()));
        }
    }

    fn origin(self) -> Origin {
        let Self { top, work, python } = self;
        let origin = |language: &str, version: &str, tool: Option<String>| Origin {
            language: Some(format!("{language} {version}").trim_end().to_owned()),
            tool,
        };
        if let Some(version) = python {
            return origin("Python", &version, top.tool("componentize-py").or(Some("componentize-py".to_owned())));
        }
        if top.language("JavaScript").is_some() || top.tool("ComponentizeJS").is_some() {
            return origin("JavaScript", "", top.tool("ComponentizeJS"));
        }
        if let Some(version) = work.language("Go") {
            return origin("Go", version.trim_start_matches("go"), work.tool("TinyGo").or(work.tool("Go")));
        }
        if work.language("Rust").is_some() {
            return origin("Rust", "", work.tool("rustc"));
        }
        if let Some((name, _)) = work.languages.first_key_value() {
            let is_cpp = work.language("C_plus_plus").is_some();
            let known = if is_cpp || name.starts_with('C') { if is_cpp { "C++" } else { "C" } } else { name };
            return origin(known, "", work.tool("clang").or(work.tool("wit-bindgen-c")));
        }
        // Compilers of C leave no name when their debugging information goes; what made their
        // bindings does.
        match work.tool("wit-bindgen-c").or(work.tool("clang")) {
            Some(tool) => origin("C", "", Some(tool)),
            None => Origin { language: None, tool: top.tool("wit-component").or(work.tool("wit-component")) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, origin};

    /// What a component of these modules says; `top` stands at its top.
    fn of(modules: &str, top: &str) -> (String, String) {
        let Origin { language, tool } = origin(&wat::parse_str(format!("(component {modules} {top})")).unwrap());
        (language.unwrap_or_default(), tool.unwrap_or_default())
    }

    fn said(language: &str, tool: &str) -> (String, String) {
        (language.to_owned(), tool.to_owned())
    }

    const ADAPTER: &str =
        r#"(core module (@producers (language "Rust" "") (processed-by "rustc" "1.97.0 (2d8 2026)")))"#;

    #[test]
    fn each_language_is_known_by_what_its_tools_leave() {
        let rust = r#"(core module (@producers (language "Rust" "") (language "C11" "") (processed-by "rustc" "1.95.0 (596 2026)") (processed-by "clang" "21.1")))"#;
        assert_eq!(of(rust, ""), said("Rust", "rustc 1.95.0"));
        let go = r#"(core module (@producers (language "Go" "go1.27.3") (processed-by "Go cmd/compile" "go1.27.3")))"#;
        assert_eq!(of(&format!("{go}{ADAPTER}"), ""), said("Go 1.27.3", "Go cmd/compile go1.27.3"));
        let c = r#"(core module (@producers (processed-by "wit-bindgen-c" "0.63.0")))"#;
        assert_eq!(of(&format!("{c}{ADAPTER}"), ""), said("C", "wit-bindgen-c 0.63.0"));
        let cpp = r#"(core module (@producers (language "C_plus_plus_17" "") (processed-by "clang" "21.1.4")))"#;
        assert_eq!(of(cpp, ""), said("C++", "clang 21.1.4"));
        let js = r#"(@producers (language "JavaScript" "") (processed-by "ComponentizeJS" "0.23.0"))"#;
        assert_eq!(of(&format!("{cpp}{ADAPTER}"), js), said("JavaScript", "ComponentizeJS 0.23.0"));
        let python = format!("(core module) {ADAPTER} (core module $libpython3.14.so)");
        assert_eq!(of(&python, ""), said("Python 3.14", "componentize-py"));
        let zig = r#"(core module (@producers (language "Zig" "0.15")))"#;
        assert_eq!(of(zig, ""), said("Zig", ""));
    }

    #[test]
    fn what_says_nothing_is_said_to_say_nothing() {
        assert_eq!(of(&format!("(core module) {ADAPTER}"), ""), said("", ""));
        assert_eq!(origin(b"no component"), Origin::default());
    }
}
