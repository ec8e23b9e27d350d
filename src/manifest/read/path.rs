//! Paths as written in the manifest.

use super::super::problem::{Problem, quoted};
use super::super::tree::{At, Reader};

/// Returns a path as written, unless it is invalid.
pub(super) fn checked_path(reader: &mut Reader<'_>, text: Option<At<String>>) -> Option<At<String>> {
    let text = text?;
    if text.value.trim().is_empty() {
        reader.complain(
            Problem::new("this path is empty").at(&text.span, "here").help("paths start at the manifest's folder"),
        );
        return None;
    }
    if text.value == "~" || text.value.starts_with("~/") {
        reader.complain(
            Problem::new("`~` does not stand for your home folder here")
                .at(&text.span, "here")
                .help(format!("write `${{HOME}}{}`", quoted(text.value.trim_start_matches('~')).trim_matches('`'))),
        );
        return None;
    }
    Some(text)
}
