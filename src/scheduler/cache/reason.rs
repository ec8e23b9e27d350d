//! Parts of the sentences that say why an attempt ran.

use crate::base::bounds::cut;
use crate::base::escape;
use crate::model::Influence;

/// The longest value in a reason, in bytes.
const MAX_VALUE_BYTES: usize = 60;

/// Returns what an attempt has used that is not on record, as a list.
pub(super) fn used(all: &[Influence]) -> String {
    let mut words: Vec<&str> = all.iter().map(|it| it.describe()).collect();
    match words.pop() {
        Some(last) if words.is_empty() => last.to_owned(),
        Some(last) => format!("{} and {last}", words.join(", ")),
        None => String::new(),
    }
}

/// Returns a place in a resource.
pub(super) fn place(resource: &str, path: &str) -> String {
    format!("`{resource}/{}`", escape(path.as_bytes()))
}

/// Returns a text of limited length.
pub(super) fn short(text: &str) -> String {
    match cut(text, MAX_VALUE_BYTES) {
        whole if whole.len() == text.len() => text.to_owned(),
        part => format!("{part}…"),
    }
}
