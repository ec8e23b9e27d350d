//! The keys of every component: its file, its digest, and how it is built.

use super::super::action::Build;
use super::super::keys;
use super::super::problem::{Problem, quoted};
use super::super::tree::{At, Reader, Table};
use super::path::checked_path;
use super::{inner, refuse_twice};
use crate::base::{Digest, escape};

/// Returns the file of a component as written under `key`, unless it is invalid.
pub(super) fn component_file(reader: &mut Reader<'_>, text: Option<At<String>>, key: &str) -> Option<At<String>> {
    let text = checked_path(reader, text)?;
    if let Some((scheme, _)) = text.value.split_once("://") {
        reader.complain(
            Problem::new(format!(
                "a component from {} is not available in this version",
                quoted(&format!("{scheme}://"))
            ))
            .at(&text.span, "comes later")
            .help(format!("name a file, such as `{key} = \"train.wasm\"`")),
        );
        return None;
    }
    Some(text)
}

pub(super) fn digest(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<At<Digest>> {
    let text = reader.string(table, "digest", "\"sha256:…\"")?;
    match text.value.parse() {
        Ok(value) => Some(At { value, span: text.span }),
        Err(error) => {
            let error: crate::base::DigestError = error;
            reader.complain(
                Problem::new(escape(error.to_string().as_bytes()))
                    .at(&text.span, "here")
                    .help("`anacostia component inspect FILE` shows the digest of a component"),
            );
            None
        }
    }
}

pub(super) fn build(reader: &mut Reader<'_>, table: &Table<'_>) -> (Option<Build>, Vec<At<String>>) {
    let Some(table) = inner(reader, table, "build", &keys::BUILD, "{ command = \"./build.sh\" }") else {
        return (None, Vec::new());
    };
    let command = reader.required_string(&table, "command", "\"./build.sh\"");
    if let Some(command) = command.as_ref().filter(|command| command.value.trim().is_empty()) {
        reader.complain(Problem::new("this command is empty").at(&command.span, "here"));
    }
    let items = reader.strings(&table, "watch", "[\"src\"]");
    refuse_twice(reader, "watch", &items);
    let sources = items.into_iter().filter_map(|item| checked_path(reader, Some(item))).collect();
    (command.map(|command| Build { command: command.value, watch: Vec::new() }), sources)
}
