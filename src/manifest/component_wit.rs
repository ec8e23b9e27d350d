//! The world of a component as WIT: the functions that it imports and exports, with their types.
//!
//! The text is decoded from the types in the component, so it has what the component uses, and not
//! all that its author's WIT files define. It is for readers only; what an import requires of the
//! manifest is decided by its name (`component`).
//!
//! A small component may describe a type that is huge when it is written out: a tuple of two tuples
//! of two tuples, and so on. The printer cannot be told to stop, so the output unwinds out of it
//! when the text is long enough. And the decoder descends into types of components that are in each
//! other, without a bound of its own, so a file where they might be deep is refused: it would end
//! the process.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use wasmparser::{Parser, Payload};
use wit_component::{DecodedWasm, Output, OutputToString, WitPrinter, decode};

use super::component_file::{ComponentError, read_component};
use crate::base::{Digest, bounds, escape};

/// Longest text, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// The last line of a text that is cut.
const MORE: &str = "// There is more, which is left out here.\n";
/// The bytes with which the type of a component and that of an instance begin.
const BODY: [u8; 2] = [0x41, 0x42];
/// How many of these bytes a section may have. Components for this host have three at most.
const MAX_BODIES: usize = 200;
/// Longest reason why there is no text, in bytes.
const MAX_REASON: usize = 300;
/// Maximum number of worlds that are cached. When it is reached, the cache is emptied.
const MAX_KNOWN: usize = 100;

/// By digest, because the world depends on nothing else.
static KNOWN: Mutex<BTreeMap<Digest, Result<Arc<str>, WitError>>> = Mutex::new(BTreeMap::new());

/// Why the world of a component cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitError {
    /// The component cannot be read.
    #[error("the component {0}")]
    Unreadable(String),
    /// WIT has no words for it, or it is invalid.
    #[error("its types cannot be written as WIT: {0}")]
    NotWit(String),
}

impl From<ComponentError> for WitError {
    fn from(error: ComponentError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Returns the world of the component with this digest, which is in the file that `path` returns.
/// The file is read at the first call only. Takes some milliseconds then, for each 10 MB.
///
/// # Errors
/// When the component cannot be read, or its types cannot be written as WIT.
pub fn wit_known(digest: Digest, path: impl FnOnce() -> io::Result<PathBuf>) -> Result<Arc<str>, WitError> {
    // Held while the component is read, so that many readers of one page read it once.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(wit) = known.get(&digest) {
        return wit.clone();
    }
    let bytes = path().map_err(ComponentError::from).and_then(|path| read_component(&path))?;
    let wit = wit(&bytes).map(Arc::from);
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(digest, wit.clone());
    wit
}

/// Returns the world of a component: the world `root`, then the packages that it uses.
///
/// # Errors
/// When its types cannot be written as WIT.
pub fn wit(bytes: &[u8]) -> Result<String, WitError> {
    let refused = |why: &str| WitError::NotWit(escape(bounds::cut(why, MAX_REASON).as_bytes()));
    let mut output = Bounded::default();
    // Also a fault of the decoder is no reason to end the host.
    let printed = catch_unwind(AssertUnwindSafe(|| print(bytes, &mut output)));
    match printed {
        Ok(Ok(())) => Ok(output.text.into()),
        Ok(Err(why)) => Err(refused(&why)),
        Err(payload) if payload.is::<Full>() => {
            let mut text = String::from(output.text);
            // The last line is incomplete.
            text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
            Ok(text + MORE)
        }
        Err(_) => Err(refused("the decoder failed")),
    }
}

fn print(bytes: &[u8], output: &mut Bounded) -> Result<(), String> {
    if bodies(bytes) > MAX_BODIES {
        return Err(format!("it has more than {MAX_BODIES} types of instances or components in one section"));
    }
    let decoded = decode(bytes).map_err(|error| format!("{error:#}"))?;
    if matches!(decoded, DecodedWasm::WitPackage(..)) {
        return Err("it is a package of WIT, not a component".to_owned());
    }
    let (resolve, main) = (decoded.resolve(), decoded.package());
    let mut printer = WitPrinter::new(Through(output));
    let failed = |error| format!("{error:#}");
    printer.print_package(resolve, main, true).map_err(failed)?;
    for (id, _) in resolve.packages.iter().filter(|(id, _)| *id != main) {
        printer.output.newline();
        printer.print_package(resolve, id, false).map_err(failed)?;
    }
    Ok(())
}

/// Returns a bound of how deep types of components and instances are in each other: how often a
/// section has the bytes with which such types begin, whatever they mean there.
fn bodies(bytes: &[u8]) -> usize {
    let sections = Parser::new(0).parse_all(bytes).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::ComponentTypeSection(types) => bytes.get(types.range()),
        _ => None,
    });
    sections.map(|types| types.iter().filter(|byte| BODY.contains(byte)).count()).max().unwrap_or_default()
}

/// The payload with which the output unwinds.
struct Full;

/// A text of at most [`MAX_TEXT`] bytes.
#[derive(Default)]
struct Bounded {
    text: OutputToString,
    length: usize,
}

/// Lets the printer, which owns its output, write into a text that outlives it.
struct Through<'t>(&'t mut Bounded);

impl Through<'_> {
    /// Counts what is about to be written. Unwinds if it does not fit: without the panic hook,
    /// which would report a fault.
    fn count(&mut self, bytes: usize) {
        self.0.length += bytes;
        if self.0.length > MAX_TEXT {
            resume_unwind(Box::new(Full));
        }
    }
}

impl Output for Through<'_> {
    fn push_str(&mut self, src: &str) {
        self.count(src.len());
        self.0.text.push_str(src);
    }

    fn indent_if_needed(&mut self) -> bool {
        // More than any line is indented.
        self.count(8);
        self.0.text.indent_if_needed()
    }

    fn indent_start(&mut self) {
        self.count(3);
        self.0.text.indent_start();
    }

    fn indent_end(&mut self) {
        self.count(10);
        self.0.text.indent_end();
    }

    fn newline(&mut self) {
        self.count(1);
        self.0.text.newline();
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn of(text: &str) -> Result<String, WitError> {
        wit(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn imports_and_exports_are_written_with_their_types() {
        let wit = of(r#"(component
            (import "acme:tools/clock@1.2.0" (instance
                (type $now (record (field "seconds" u64) (field "zone" (option string))))
                (export "now" (type $named (eq $now)))
                (export "get-now" (func (result $named)))))
            (import "acme:tools/clock@1.2.0-rc.1" (instance))
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $run (export "run" (func $f)))
            (export "acme:tools/runner@1.2.0" (instance $run)))"#)
        .unwrap();
        insta::assert_snapshot!(wit);
    }

    #[test]
    fn what_wit_cannot_say_is_explained() {
        let why = |text: &str| of(text).unwrap_err().to_string();
        assert_eq!(
            why(r#"(component (import "url=<https://example.com/a>" (instance)))"#),
            "its types cannot be written as WIT: failed to decode WIT from import `url=<https://example.com/a>`: cannot extract item name from: url=<https://example.com/a>"
        );
        let cut = wit(b"\0asm\x0d\0\x01\0\x07").unwrap_err().to_string();
        assert_eq!(cut, "its types cannot be written as WIT: unexpected end-of-file (at offset 0x9)");
    }

    #[test]
    fn a_type_that_is_huge_when_it_is_written_out_is_cut() {
        let mut text = "(component (import \"acme:tools/huge@1.0.0\" (instance\n".to_owned();
        text.push_str("(type $t0 (tuple u8 u8))\n");
        for number in 1..13 {
            let _ = writeln!(text, "(type $t{number} (tuple $t{0} $t{0}))", number - 1);
        }
        for number in 0..50 {
            let _ = writeln!(text, "(export \"f{number}\" (func (param \"p\" $t12)))");
        }
        text.push_str(")))");
        let wit = of(&text).unwrap();
        assert!(wit.len() <= MAX_TEXT + MORE.len() && wit.starts_with("package root:component;\n"), "{wit}");
        assert!(wit.ends_with(&format!("\n{MORE}")), "{wit}");
    }

    #[test]
    fn types_that_are_deep_are_refused() {
        let mut text = "(component (import \"acme:tools/deep@1.0.0\" (instance\n(type $t0 (option u8))\n".to_owned();
        for number in 1..2_000 {
            let _ = writeln!(text, "(type $t{number} (option $t{}))", number - 1);
        }
        text.push_str("(export \"f\" (func (param \"p\" $t1999))))))");
        let too_deep = "its types cannot be written as WIT: type nesting is too deep (at offset 0xc)";
        assert_eq!(of(&text).unwrap_err().to_string(), too_deep);
        // Types of components in each other.
        let nested = [&[1][..], &[0x41, 1, 1].repeat(5_000), &[0x41, 0]].concat();
        let size = [u8::try_from(nested.len() & 0x7f).unwrap() | 0x80, u8::try_from(nested.len() >> 7).unwrap()];
        let bytes = [&b"\0asm\x0d\0\x01\0\x07"[..], &size, &nested].concat();
        assert_eq!(
            wit(&bytes).unwrap_err().to_string(),
            "its types cannot be written as WIT: it has more than 200 types of instances or components in one section"
        );
    }

    #[test]
    fn a_component_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        let bytes = wat::parse_str(r#"(component (import "acme:tools/once@1.0.0" (instance)))"#).unwrap();
        std::fs::write(&file, &bytes).unwrap();
        let digest = Digest::of(&bytes);
        let missing = wit_known(digest, || Ok(folder.path().join("b.wasm"))).unwrap_err();
        assert_eq!(missing.to_string(), "the component is not there");
        let first = wit_known(digest, || Ok(file)).unwrap();
        let second = wit_known(digest, || panic!("it is read again")).unwrap();
        assert!(Arc::ptr_eq(&first, &second) && first.contains("import acme:tools/once@1.0.0;"), "{}", first);
    }
}
