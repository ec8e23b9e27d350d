//! Inspects a component file without compiling or running it: its type, imports, exports and
//! producers.

use std::io::Read as _;
use std::path::Path;

use wasmparser::{Encoding, KnownCustom, Parser, Payload};

use super::component::ComponentInfo;
use crate::base::{ByteSize, Digest, bounds, escape};

/// Maximum number of imports, and of exports, of a component that is inspected.
const MAX_NAMES: usize = 10_000;
/// Maximum number of recorded entries about a component's producers.
const MAX_MAKERS: usize = 100;
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

#[cfg(test)]
mod tests {
    use super::{ComponentError, inspect};

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
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
}
