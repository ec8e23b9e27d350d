//! `anacostia component inspect`: what a `.wasm` file is, what it asks for and what it offers.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use wasmparser::{Chunk, Encoding, Parser, Payload};

use super::show::{Align, Cell, Table, styles};
use super::{End, Failure, out};
use crate::base::bounds::MAX_COMPONENT_BYTES;
use crate::base::{ByteSize, Digest};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Show what a component is, what it imports and what it exports
    Inspect(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A `.wasm` file
    file: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn component(verb: Verb) -> Result<End, Failure> {
    let Verb::Inspect(args) = verb;
    let about = inspect(&read(&args.file)?).map_err(|why| Failure::usage(format!("{}: {why}", args.file.display())))?;
    if args.json {
        out::json(&about)?;
    } else {
        out::result(&about.render())?;
    }
    Ok(End::Well)
}

/// The file's bytes; refused before they are read if they are too many.
fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    let failed = || format!("failed to read {}", file.display());
    let length = fs::metadata(file).with_context(failed).map_err(Failure::Usage)?.len();
    if length > MAX_COMPONENT_BYTES {
        let (size, most) = (ByteSize(length), ByteSize(MAX_COMPONENT_BYTES));
        return Err(Failure::usage(format!("{} has {size}: a component has at most {most}", file.display())));
    }
    let mut bytes = Vec::new();
    let reader = File::open(file).with_context(failed).map_err(Failure::Usage)?;
    reader.take(MAX_COMPONENT_BYTES).read_to_end(&mut bytes).with_context(failed)?;
    Ok(bytes)
}

/// What a component is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct About {
    digest: Digest,
    size: u64,
    /// Whether it is an action: it exports `anacostia:pipeline/action`.
    action: bool,
    imports: Vec<String>,
    exports: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// What it was made with, such as `Rust 1.95.0`.
    made_with: Vec<String>,
}

/// Reads names only; nothing is compiled, and nested modules are jumped over.
fn inspect(bytes: &[u8]) -> Result<About, String> {
    let mut about = About {
        digest: Digest::of(bytes),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        action: false,
        imports: Vec::new(),
        exports: Vec::new(),
        version: None,
        description: None,
        made_with: Vec::new(),
    };
    names(bytes, &mut about)?;
    about.action = about.exports.iter().any(|name| name.starts_with("anacostia:pipeline/action@"));
    Ok(about)
}

/// What stands in a custom section. That is a courtesy of whoever built the component: a broken one is passed over.
fn custom(name: &str, data: &[u8], about: &mut About) {
    let text = || std::str::from_utf8(data).ok().map(str::to_owned);
    match name {
        "version" => about.version = text(),
        "description" => about.description = text(),
        "producers" => {
            let Ok(producers) = wasm_metadata::Producers::from_bytes(data, 0) else { return };
            for (_, field) in producers.iter() {
                about
                    .made_with
                    .extend(field.iter().map(|(tool, version)| format!("{tool} {version}").trim().to_owned()));
            }
        }
        _ => {}
    }
}

fn names(mut bytes: &[u8], about: &mut About) -> Result<(), String> {
    let broken = |error: &dyn std::fmt::Display| format!("this is no component, or a broken one: {error}");
    let mut parser = Parser::new(0);
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(bytes, true).map_err(|error| broken(&error))? else {
            return Err("this is no component: it ends too early".to_owned());
        };
        bytes = bytes.get(consumed..).unwrap_or_default();
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => {
                return Err(
                    "this is a core module, not a component; wrap it with `wasm-component-ld` or `jco new`".to_owned()
                );
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    about.imports.push(import.map_err(|error| broken(&error))?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    about.exports.push(export.map_err(|error| broken(&error))?.name.name.to_owned());
                }
            }
            Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                let length = unchecked_range.end - unchecked_range.start;
                parser.skip_section();
                bytes = bytes.get(length..).ok_or("this is no component: it ends too early")?;
            }
            Payload::CustomSection(section) => custom(section.name(), section.data(), about),
            Payload::End(_) => return Ok(()),
            _ => {}
        }
    }
}

impl About {
    fn render(&self) -> String {
        let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
        let mut fact = |name: &str, value: &str| {
            table.row(vec![Cell::new(name).style(styles::FAINT), Cell::new(value)]);
        };
        let kind = if self.action { "an action" } else { "no action: it does not export anacostia:pipeline/action" };
        fact("kind", kind);
        for (name, value) in [("version", &self.version), ("description", &self.description)] {
            if let Some(value) = value {
                fact(name, value);
            }
        }
        fact("digest", &self.digest.to_string());
        fact("size", &ByteSize(self.size).to_string());
        for (heading, list) in [("imports", &self.imports), ("exports", &self.exports), ("made with", &self.made_with)]
        {
            for (place, value) in list.iter().enumerate() {
                fact(if place == 0 { heading } else { "" }, value);
            }
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::{About, inspect};

    /// `(component)`, and one that imports and exports an empty instance, assembled by hand.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn sample() -> Vec<u8> {
        let section = |id: u8, body: &[u8]| [&[id, u8::try_from(body.len()).unwrap()], body].concat();
        let name = |text: &str| [&[0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        // A type section with one empty instance type; an import of it; an export of what was imported.
        let import = [&[1][..], &name("anacostia:pipeline/log@0.1.0"), &[5, 0]].concat();
        let export = [&[1][..], &name("anacostia:pipeline/action@0.1.0"), &[5, 0, 0]].concat();
        [EMPTY, &section(7, &[1, 0x42, 0]), &section(10, &import), &section(11, &export)].concat()
    }

    #[test]
    fn imports_and_exports_are_named() {
        let about: About = inspect(&sample()).unwrap();
        assert!(about.action);
        assert_eq!(about.imports, ["anacostia:pipeline/log@0.1.0"]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&about.render()));
        assert!(!inspect(EMPTY).unwrap().action);
    }

    #[test]
    fn what_is_no_component_is_refused_with_the_reason() {
        assert!(inspect(b"\0asm\x01\0\0\0").unwrap_err().contains("a core module"));
        for bad in [&b""[..], b"hello", &sample()[..20]] {
            assert!(inspect(bad).unwrap_err().contains("no component"), "{bad:?}");
        }
    }
}
