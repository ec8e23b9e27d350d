//! The language and tool that a component was made with, as far as its bytes say.
//!
//! Tools write their names to `producers` sections, one in each module that they made, and a
//! component has many modules: the adapter of a Go program is written in Rust, and the engine
//! inside a JavaScript action in C++. The relevant module is the one with the author's work: the
//! first one, because the tools of the component model put it there. Two runtimes are recognised in
//! another way: `ComponentizeJS` writes its name at the top level, and componentize-py, which
//! writes no name, is recognised by the CPython library inside.

use std::collections::BTreeMap;

use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::base::{bounds, escape};

/// Longest name or version that is displayed, in bytes.
const MAX_WORD: usize = 100;
/// Maximum number of names that are read from a section.
const MAX_VALUES: usize = 100;

/// How a component was made, as far as it says. The texts are safe to display.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The language, with its version if known: `Python 3.14`.
    pub language: Option<String>,
    /// The tool that made the component: `ComponentizeJS 0.23.0`.
    pub tool: Option<String>,
}

/// Reads the origin from the bytes of a component. Ignores malformed parts, because nothing depends
/// on them.
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

/// The collected data.
#[derive(Debug, Default)]
struct Said {
    /// Producers of the component itself.
    top: Makers,
    /// Producers of the module with the author's work.
    work: Makers,
    /// The version of CPython inside, if there is one.
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

    /// Returns the tool whose name begins with `name`, with its version.
    fn tool(&self, name: &str) -> Option<String> {
        let (name, version) = self.tools.iter().find(|(tool, _)| tool.starts_with(name))?;
        // rustc and clang add their commit.
        let version = version.split([' ', '(']).next().unwrap_or_default();
        Some(format!("{name} {version}").trim_end().to_owned())
    }

    fn language(&self, name: &str) -> Option<&String> {
        self.languages.iter().find(|(language, _)| language.starts_with(name)).map(|(_, version)| version)
    }
}

impl Said {
    /// Records the version of CPython, if the module's name is that of the CPython library.
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
        // C compilers leave no name once debugging information is stripped, but the generator of
        // the bindings does.
        match work.tool("wit-bindgen-c").or(work.tool("clang")) {
            Some(tool) => origin("C", "", Some(tool)),
            None => Origin { language: None, tool: top.tool("wit-component").or(work.tool("wit-component")) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, origin};

    /// Returns the origin of a component with these modules; `top` is its top level.
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
    fn each_language_is_recognised_by_its_toolchain() {
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
    fn a_component_without_hints_has_an_unknown_origin() {
        assert_eq!(of(&format!("(core module) {ADAPTER}"), ""), said("", ""));
        assert_eq!(origin(b"no component"), Origin::default());
    }
}
