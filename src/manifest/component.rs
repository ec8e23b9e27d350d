//! Inspects a component file without compiling or running it: its type, imports, exports and
//! producers.
//!
//! Imports are checked by name here, long before a component is linked. A manifest that grants too
//! little is therefore refused with the missing lines, instead of a linker error in the middle of a
//! run.

use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use wasmparser::{Encoding, KnownCustom, Parser, Payload};

use super::keys::nearest;
use super::problem::quoted;
use crate::base::{ByteSize, Digest, bounds, escape};

/// Maximum number of imports, and of exports, of a component that is inspected.
const MAX_NAMES: usize = 10_000;
/// Maximum number of recorded entries about a component's producers.
const MAX_MAKERS: usize = 100;
/// The package of the guest interface.
const CONTRACT: &str = "anacostia:pipeline/";
/// Its minor version that the host supports; patch versions are compatible.
const CONTRACT_VERSION: &str = "0.1.";
/// Its interfaces that every action may import without a grant.
const FREE: [&str; 4] = ["types", "run-context", "log", "metadata"];
/// The interfaces that need a granted resource.
const RESOURCES: [&str; 2] = ["resources", "database"];
/// The interface that makes a component an action.
const ACTION: &str = "action";
/// The optional interface of an action.
const HOOKS: &str = "hooks";
/// The supported minor version of WASI; patch versions are compatible.
const WASI_VERSION: &str = "0.2.";
/// The interface that makes a component a command, which is an action too.
const RUN: &str = "wasi:cli/run";
/// The packages of WASI 0.2 that the host links. They grant nothing by themselves.
const WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// Drafts of WASI that the host links for convenience. Drafts have no compatible versions, so each
/// name is listed.
const DRAFTS: [&str; 3] =
    ["wasi:logging/logging@0.1.0-draft", "wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-draft"];

/// The result of inspecting a component file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentInfo {
    /// Digest of the whole file.
    pub digest: Digest,
    /// Size of the file, in bytes.
    pub size: u64,
    /// Names of its imports with versions, such as `anacostia:pipeline/log@0.1.0`, in the order of
    /// the file.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// The languages that its producers sections name, such as `Rust`.
    pub languages: Vec<String>,
    /// The tools that its producers sections name, such as `wit-component 0.254.0`.
    pub tools: Vec<String>,
}

/// The world that a component was made for, as far as its exports show.
/// [`ComponentInfo::not_an_action`] checks whether this host supports that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum World {
    /// The `action` world of the guest interface.
    Action,
    /// The same world with hooks.
    ActionWithHooks,
    /// A program: `wasi:cli/command`.
    Command,
    /// Another world.
    Unknown,
}

/// What an import requires of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Nothing: every action may have the import.
    Nothing,
    /// A grant.
    Grant(Grant),
    /// The host does not provide the import, for the given reason.
    Refused(String),
}

/// A capability that the manifest grants to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Reading or writing resources: `reads` or `writes` names one.
    Resources,
    /// Sending requests over the network: `http` names a host.
    Http,
}

impl Grant {
    /// Returns the manifest lines that grant it to `action`, with `resource` as the example.
    #[must_use]
    pub fn lines(self, action: &str, resource: &str) -> String {
        match self {
            Self::Resources => {
                format!("[actions.{action}]\nreads = [\"{resource}\"]     # or writes = [\"{resource}\"]")
            }
            Self::Http => format!("[actions.{action}]\nhttp = [\"api.example.com:443\"]     # the hosts that it needs"),
        }
    }
}

/// Why a file is not a component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The file cannot be read.
    #[error("{}", unreadable(.0))]
    Unreadable(#[from] std::io::Error),
    /// The path is a folder.
    #[error("is a folder, not a file")]
    Folder,
    /// The path is a pipe or a device, for example.
    #[error("is not a regular file")]
    NotAFile,
    /// The file is empty.
    #[error("is empty")]
    Empty,
    /// The file exceeds the size limit.
    #[error("is larger than {}", ByteSize(bounds::MAX_COMPONENT_BYTES))]
    TooLarge,
    /// The file is a core module, not a component.
    #[error("is a core WebAssembly module, not a component")]
    CoreModule,
    /// The file is WebAssembly text.
    #[error("is WebAssembly text, not a component")]
    Text,
    /// The file is native machine code.
    #[error("is native code, not a component")]
    Native,
    /// The file is a placeholder for content that was not downloaded.
    #[error("is a Git LFS pointer, not the component itself")]
    LfsPointer,
    /// The file is something else.
    #[error("is not a WebAssembly component")]
    Other,
    /// The file is a truncated component.
    #[error("is cut off: the part at byte {0} goes on beyond its end")]
    Truncated(u64),
    /// The file begins as a component, but is invalid.
    #[error("is a broken component: {0}")]
    Broken(String),
}

impl ComponentError {
    /// Returns advice on how to fix it.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::CoreModule => {
                "build for a target that makes components (Rust: `--target wasm32-wasip2`), or wrap it: `wasm-tools component new`"
            }
            Self::Text => "make it binary: `wasm-tools parse FILE -o FILE.wasm`",
            Self::Native => {
                "name the component (.wasm) itself: compiled code is cached by anacostia, and never loaded from elsewhere"
            }
            Self::LfsPointer => "fetch it: `git lfs pull`",
            Self::Empty | Self::Broken(_) => "build it again",
            Self::Truncated(_) => "build it again, or copy it again",
            Self::Folder => "name the component (.wasm) in it",
            Self::Unreadable(_) | Self::NotAFile | Self::TooLarge | Self::Other => return None,
        })
    }
}

impl ComponentInfo {
    /// Returns what each import requires of the manifest.
    pub fn needs(&self) -> impl Iterator<Item = (&str, Need)> {
        self.imports.iter().map(|import| (import.as_str(), need(import)))
    }

    /// Returns why it is not an action, or `None` if it is one.
    #[must_use]
    pub fn not_an_action(&self) -> Option<String> {
        // The host would never call hooks of another version, and the user would not notice.
        if let Some(version) =
            [ACTION, HOOKS].iter().filter_map(|name| self.version_of(name)).find(|version| !served(version))
        {
            return Some(format!(
                "is made for version {} of the contract, not for {CONTRACT_VERSION}x",
                escape(version.as_bytes())
            ));
        }
        match (self.world(), self.run_versions().next()) {
            (World::Action | World::ActionWithHooks, _) => None,
            (World::Command, _) if self.is_command() => None,
            (World::Command, Some(version)) => {
                let version = escape(version.as_bytes());
                Some(format!("is a command of WASI {version}; this host serves WASI 0.2: build for wasm32-wasip2"))
            }
            _ => Some(format!("exports neither `{CONTRACT}{ACTION}@{CONTRACT_VERSION}0` nor `{RUN}@0.2.0`")),
        }
    }

    /// Returns the world that it was made for.
    #[must_use]
    pub fn world(&self) -> World {
        if self.version_of(ACTION).is_some() {
            if self.version_of(HOOKS).is_some_and(served) { World::ActionWithHooks } else { World::Action }
        } else if self.run_versions().next().is_some() {
            World::Command
        } else {
            World::Unknown
        }
    }

    /// Returns whether it is a command: a program with files and an exit code that does not use the
    /// guest interface.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.world() == World::Command && self.run_versions().any(|version| is_patch_of(version, WASI_VERSION))
    }

    fn run_versions(&self) -> impl Iterator<Item = &str> {
        let exports = self.exports.iter().filter_map(|name| split(name));
        exports.filter(|(interface, _)| *interface == RUN).map(|(_, version)| version)
    }

    /// Returns whether it imports its whole world, whether or not it uses all of it, because it
    /// contains an interpreter that may call anything. componentize-py leaves the name of the tool
    /// with which it stores the interpreter's memory, `ComponentizeJS` its own name.
    #[must_use]
    pub fn imports_whole_world(&self) -> bool {
        let mut tools = self.tools.iter().filter_map(|tool| tool.split(' ').next());
        tools.any(|tool| matches!(tool, "component-init-transform" | "ComponentizeJS"))
    }

    /// Returns whether it has hooks: functions that are called before and after each attempt.
    #[must_use]
    pub fn has_hooks(&self) -> bool {
        self.world() == World::ActionWithHooks
    }

    /// Returns the version in which it exports an interface of the package: a supported one, if
    /// there are several.
    fn version_of(&self, interface: &str) -> Option<&str> {
        let exports = self.exports.iter().filter_map(|name| split(name));
        let versions = || {
            exports
                .clone()
                .filter(|(name, _)| name.strip_prefix(CONTRACT) == Some(interface))
                .map(|(_, version)| version)
        };
        versions().find(|version| served(version)).or_else(|| versions().next())
    }
}

/// Returns what an import of this name requires of the manifest.
#[must_use]
pub fn need(import: &str) -> Need {
    let refused = |why: &str| Need::Refused(why.to_owned());
    let Some((interface, version)) = split(import) else {
        return refused("only versioned interfaces are available, such as `anacostia:pipeline/log@0.1.0`");
    };
    if let Some(name) = interface.strip_prefix(CONTRACT) {
        return match name {
            _ if !served(version) => {
                refused("this host serves version 0.1.x of the contract: build against its `wit` folder")
            }
            name if RESOURCES.contains(&name) => Need::Grant(Grant::Resources),
            name if FREE.contains(&name) => Need::Nothing,
            "action" | "hooks" => refused("an action exports it, and the host calls it"),
            name => match nearest(name, FREE.into_iter().chain(RESOURCES)) {
                Some(near) => Need::Refused(format!("there is no such interface: did you mean `{CONTRACT}{near}`?")),
                None => refused("there is no such interface in the contract"),
            },
        };
    }
    let Some((package, name)) = interface.strip_prefix("wasi:").and_then(|interface| interface.split_once('/')) else {
        return refused("only `anacostia:pipeline` and WASI 0.2 are available");
    };
    match package {
        "http" if !is_patch_of(version, WASI_VERSION) => refused("this host serves WASI 0.2: build for wasm32-wasip2"),
        "http" if matches!(name, "types" | "outgoing-handler") => Need::Grant(Grant::Http),
        "http" => {
            refused("an action sends requests, and takes none: only `types` and `outgoing-handler` are available")
        }
        "logging" | "config" if DRAFTS.contains(&import) => Need::Nothing,
        "logging" | "config" => {
            refused("this host serves the drafts `wasi:logging/logging@0.1.0-draft` and `wasi:config/store@0.2.0-rc.1`")
        }
        package if WASI.contains(&package) && is_patch_of(version, WASI_VERSION) => Need::Nothing,
        package if WASI.contains(&package) => refused("this host serves WASI 0.2: build for wasm32-wasip2"),
        _ => refused("it is no part of WASI 0.2"),
    }
}

/// Returns whether this host supports that version of the guest interface.
fn served(version: &str) -> bool {
    is_patch_of(version, CONTRACT_VERSION)
}

/// Splits `interface@version`.
fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once('@')
}

/// Returns whether `version` is `prefix` and a number: not a release candidate, and no other minor
/// version.
fn is_patch_of(version: &str, prefix: &str) -> bool {
    version.strip_prefix(prefix).is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|c| c.is_ascii_digit()))
}

/// Inspects the component in a file.
///
/// # Errors
/// Returns an error if the file cannot be read, is too large, or is not a component.
pub fn inspect_file(path: &Path) -> Result<ComponentInfo, ComponentError> {
    inspect(&read_component(path)?)
}

/// Reads a file that may be a component.
///
/// # Errors
/// Returns an error if the file cannot be read or is too large.
pub fn read_component(path: &Path) -> Result<Vec<u8>, ComponentError> {
    // Checked before the file is opened, because opening a pipe would wait for a writer.
    match std::fs::metadata(path)? {
        about if about.is_dir() => return Err(ComponentError::Folder),
        about if !about.is_file() => return Err(ComponentError::NotAFile),
        _ => {}
    }
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length > bounds::MAX_COMPONENT_BYTES {
        return Err(ComponentError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(bounds::MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(why: &std::io::Error) -> String {
    match why.kind() {
        std::io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be read: {why}"),
    }
}

/// Inspects the bytes of a component.
///
/// # Errors
/// Returns an error if the bytes are not a component, or are too many.
pub fn inspect(bytes: &[u8]) -> Result<ComponentInfo, ComponentError> {
    if bytes.len() as u64 > bounds::MAX_COMPONENT_BYTES {
        return Err(ComponentError::TooLarge);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(stranger(bytes));
    }
    let mut info = ComponentInfo {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        imports: Vec::new(),
        exports: Vec::new(),
        languages: Vec::new(),
        tools: Vec::new(),
    };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        look(&mut info, &mut depth, payload.map_err(|error| broken(&error))?)?;
    }
    Ok(info)
}

/// Processes one part of the file.
fn look(info: &mut ComponentInfo, depth: &mut u32, payload: Payload<'_>) -> Result<(), ComponentError> {
    match payload {
        Payload::Version { encoding: Encoding::Module, .. } if *depth == 0 => return Err(ComponentError::CoreModule),
        Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => *depth += 1,
        Payload::End(_) => *depth = depth.saturating_sub(1),
        Payload::ComponentImportSection(imports) if *depth == 0 => {
            for import in imports {
                keep(&mut info.imports, import.map_err(|error| broken(&error))?.name.name)?;
            }
        }
        Payload::ComponentExportSection(exports) if *depth == 0 => {
            for export in exports {
                keep(&mut info.exports, export.map_err(|error| broken(&error))?.name.name)?;
            }
        }
        Payload::UnknownSection { id, range, .. } => {
            return Err(ComponentError::Broken(format!("a section of the unknown kind {id}, at byte {}", range.start)));
        }
        // The language is usually in a module inside, the tool that wrapped it in the outer
        // component.
        Payload::CustomSection(section) => {
            if let KnownCustom::Producers(producers) = section.as_known() {
                note_makers(info, producers);
            }
        }
        _ => {}
    }
    Ok(())
}

fn keep(names: &mut Vec<String>, name: &str) -> Result<(), ComponentError> {
    if names.len() >= MAX_NAMES {
        return Err(ComponentError::Broken(format!("it has more than {MAX_NAMES} imports or exports")));
    }
    names.push(name.to_owned());
    Ok(())
}

/// Records the producers that the file names. Ignores malformed parts, because nothing depends on
/// them.
fn note_makers(info: &mut ComponentInfo, producers: wasmparser::ProducersSectionReader<'_>) {
    for field in producers.into_iter().flatten() {
        let list = match field.name {
            "language" => &mut info.languages,
            "processed-by" | "sdk" => &mut info.tools,
            _ => continue,
        };
        for value in field.values.into_iter().flatten() {
            let text = format!("{} {}", value.name, value.version);
            let text = escape(bounds::cut(text.trim(), 200).as_bytes());
            if list.len() < MAX_MAKERS && !list.contains(&text) {
                list.push(text);
            }
        }
    }
}

fn broken(error: &wasmparser::BinaryReaderError) -> ComponentError {
    if error.message().starts_with("unexpected end") {
        return ComponentError::Truncated(error.offset() as u64);
    }
    ComponentError::Broken(format!("{}, at byte {}", escape(error.message().as_bytes()), error.offset()))
}

/// Returns the error for bytes that do not begin like WebAssembly.
fn stranger(bytes: &[u8]) -> ComponentError {
    let text = bytes.trim_ascii_start();
    if bytes.is_empty() {
        ComponentError::Empty
    } else if bytes.starts_with(b"\x7fELF") {
        ComponentError::Native
    } else if bytes.starts_with(b"version https://git-lfs.github.com/") {
        ComponentError::LfsPointer
    } else if text.starts_with(b"(component") || text.starts_with(b"(module") || text.starts_with(b";;") {
        ComponentError::Text
    } else {
        ComponentError::Other
    }
}

/// Returns the message for an import that the host does not provide.
pub(super) fn refusal(import: &str, why: &str) -> String {
    format!("the component imports {}: {why}", quoted(import))
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::{ComponentError, ComponentInfo, Grant, Need, World, inspect, need};

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    /// Returns the result for a component with these exports.
    fn exporting(names: &[impl Display]) -> ComponentInfo {
        let exports: Vec<_> = names.iter().map(|name| format!("(export \"{name}\" (instance $i))")).collect();
        inspect(&component(&format!("(component (instance $i) {})", exports.concat()))).unwrap()
    }

    #[test]
    fn the_world_is_derived_from_the_exports() {
        let world = |exports: &[&str]| exporting(exports).world();
        assert_eq!(world(&["anacostia:pipeline/action@0.1.0"]), World::Action);
        assert_eq!(
            world(&["anacostia:pipeline/hooks@0.1.0", "anacostia:pipeline/action@0.1.0"]),
            World::ActionWithHooks
        );
        assert_eq!(world(&["anacostia:pipeline/hooks@0.1.0"]), World::Unknown);
        assert_eq!(world(&["anacostia:pipeline/action@0.1.0", "wasi:cli/run@0.2.6"]), World::Action);
        assert_eq!(world(&["wasi:cli/run@0.2.6"]), World::Command);
        assert_eq!(world(&["wasi:http/incoming-handler@0.2.6"]), World::Unknown);
        // Also in a version that this host does not support.
        assert_eq!(world(&["anacostia:pipeline/action@0.9.0"]), World::Action);
        assert_eq!(world(&["wasi:cli/run@0.3.0"]), World::Command);
    }

    #[test]
    fn top_level_imports_exports_and_producers_are_read() {
        let mut bytes = component(
            r#"(component
                (import "anacostia:pipeline/log@0.1.0" (instance))
                (import "wasi:io/poll@0.2.3" (instance))
                (core module (@producers (language "Rust" "2024") (processed-by "rustc" "1.95.0")))
                (component (import "hidden" (instance)))
                (instance $i)
                (export "anacostia:pipeline/action@0.1.0" (instance $i)))"#,
        );
        let info = inspect(&bytes).unwrap();
        assert_eq!(info.imports, ["anacostia:pipeline/log@0.1.0", "wasi:io/poll@0.2.3"]);
        assert_eq!(info.exports, ["anacostia:pipeline/action@0.1.0"]);
        assert_eq!(info.languages, ["Rust 2024"]);
        assert_eq!(info.tools, ["rustc 1.95.0"]);
        assert_eq!(info.size, bytes.len() as u64);
        assert_eq!(info.not_an_action(), None);
        bytes.truncate(bytes.len() - 3);
        assert!(matches!(inspect(&bytes), Err(ComponentError::Truncated(_))));
    }

    #[test]
    fn imports_of_an_interpreter_do_not_show_what_is_used() {
        let made_by = |tool: &str| {
            let text = format!(r#"(component (core module (@producers (processed-by "{tool}" "0.23.0"))))"#);
            inspect(&component(&text)).unwrap()
        };
        assert!(made_by("component-init-transform").imports_whole_world());
        assert!(made_by("ComponentizeJS").imports_whole_world());
        assert!(!made_by("wit-bindgen-c").imports_whole_world());
    }

    #[test]
    fn files_that_are_not_components_are_identified() {
        assert!(matches!(inspect(b""), Err(ComponentError::Empty)));
        assert!(matches!(inspect(&component("(module)")), Err(ComponentError::CoreModule)));
        assert!(matches!(inspect(b"\n(component)"), Err(ComponentError::Text)));
        assert!(matches!(inspect(b"\x7fELF\x02"), Err(ComponentError::Native)));
        assert!(matches!(inspect(b"version https://git-lfs.github.com/spec/v1"), Err(ComponentError::LfsPointer)));
        assert!(matches!(inspect(b"\0asm"), Err(ComponentError::Truncated(_))));
        assert!(matches!(inspect(b"PK\x03\x04"), Err(ComponentError::Other)));
    }

    #[test]
    fn hooks_are_recognised_and_their_version_is_checked() {
        let exporting = |names: &[&str]| {
            exporting(&names.iter().map(|name| format!("anacostia:pipeline/{name}")).collect::<Vec<_>>())
        };
        let info = exporting(&["action@0.1.0"]);
        assert!(!info.has_hooks() && info.not_an_action().is_none());
        let info = exporting(&["action@0.1.0", "hooks@0.1.3"]);
        assert!(info.has_hooks() && info.not_an_action().is_none());
        let info = exporting(&["action@0.1.0", "hooks@0.2.0"]);
        assert!(!info.has_hooks());
        assert_eq!(info.not_an_action().unwrap(), "is made for version 0.2.0 of the contract, not for 0.1.x");
        assert!(exporting(&["hooks@0.1.0"]).not_an_action().unwrap().starts_with("exports neither"));
    }

    #[test]
    fn a_wasi_command_is_recognised_by_its_exports_and_version() {
        let info = exporting(&["wasi:cli/run@0.2.3"]);
        assert!(info.is_command() && info.not_an_action().is_none() && !info.has_hooks());
        let info = exporting(&["wasi:cli/run@0.2.3", "anacostia:pipeline/action@0.1.0"]);
        assert!(!info.is_command() && info.not_an_action().is_none());
        let info = exporting(&["wasi:cli/run@0.3.0"]);
        assert!(!info.is_command());
        assert!(info.not_an_action().unwrap().starts_with("is a command of WASI 0.3.0"));
    }

    #[test]
    fn imports_are_free_granted_or_refused() {
        for free in [
            "anacostia:pipeline/types@0.1.0",
            "anacostia:pipeline/log@0.1.7",
            "wasi:cli/environment@0.2.0",
            super::DRAFTS[0],
        ] {
            assert_eq!(need(free), Need::Nothing, "{free}");
        }
        for granted in ["anacostia:pipeline/resources@0.1.0", "anacostia:pipeline/database@0.1.0"] {
            assert_eq!(need(granted), Need::Grant(Grant::Resources), "{granted}");
        }
        for http in ["wasi:http/types@0.2.0", "wasi:http/outgoing-handler@0.2.4"] {
            assert_eq!(need(http), Need::Grant(Grant::Http), "{http}");
        }
        assert_eq!(need("anacostia:pipeline/database@0.1.0"), need("anacostia:pipeline/resources@0.1.0"));
        for refused in [
            "anacostia:pipeline/log",
            "anacostia:pipeline/log@0.2.0",
            "anacostia:pipeline/log@0.1.0-rc",
            "anacostia:pipeline/logs@0.1.0",
            "anacostia:pipeline/hooks@0.1.0",
            "wasi:http/outgoing-handler@0.3.0",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:logging/logging@0.1.0",
            "wasi:config/store@0.2.0",
            "wasi:cli/environment@0.3.0",
            "wasi:nn/graph@0.2.0",
            "acme:tools/thing@1.0.0",
            "bare-function",
        ] {
            assert!(matches!(need(refused), Need::Refused(_)), "{refused}");
        }
    }
}
