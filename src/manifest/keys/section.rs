//! One section of a manifest: its keys, and what people call them.

use serde_json::{Value, json};

pub(super) use crate::manifest::schema::Row;
use crate::manifest::schema::{self, Shape, VARIABLE};

/// The keys of one section.
#[derive(Debug)]
pub(in crate::manifest) struct Keys {
    /// The location of such a section, for messages with "belongs to".
    pub(super) home: &'static str,
    /// Keys that are announced but not available in this version.
    pub(super) later: &'static [&'static str],
    /// Each key.
    pub(super) rows: Vec<Row>,
}

impl Keys {
    pub(super) fn known(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().map(|(key, ..)| *key)
    }

    /// Returns whether this section has the key.
    pub(in crate::manifest) fn knows(&self, key: &str) -> bool {
        self.known().any(|known| known == key)
    }

    /// Returns what the key may hold.
    pub(in crate::manifest) fn shape(&self, key: &str) -> Option<&Shape> {
        self.rows.iter().find(|(known, ..)| *known == key).map(|(_, _, shape)| shape)
    }

    /// Returns whether a later version will have the key.
    pub(in crate::manifest) fn promises(&self, key: &str) -> bool {
        self.later.contains(&key)
    }

    /// Returns the known key that `key` probably means.
    pub(in crate::manifest) fn meant_by(&self, key: &str) -> Option<&'static str> {
        let known = self.rows.iter().find(|(_, theirs, _)| theirs.contains(&key)).map(|(ours, ..)| *ours);
        known.or_else(|| nearest(key, self.known()))
    }

    /// Returns whether `key` is no known name of the key that it was taken for, and more than one
    /// letter away from it.
    pub(super) fn is_only_similar(&self, key: &str, meant: &str) -> bool {
        let is_name = self.rows.iter().any(|(_, theirs, _)| theirs.contains(&key));
        !is_name && strsim::damerau_levenshtein(&key.to_lowercase(), meant) > 1
    }
}

/// Returns the schema of a table with exactly these keys, in this order.
pub(super) fn object(doc: &str, keys: &Keys, required: &[&str]) -> Shape {
    schema::object(doc, &keys.rows, required)
}

/// Returns the schema of a table whose keys depend on its `kind`: for each kind its schema, of
/// which the first is also that of a table without a kind. It asks for the kind first, so that an
/// editor reports the one key that is wrong, and not that the table fits no kind.
pub(super) fn by_kind(doc: &str, kinds: Vec<(&str, Shape)>) -> Shape {
    let is = |kind: Value| json!({"properties": {"kind": kind}, "required": ["kind"]});
    let mut kinds = kinds.into_iter();
    let fallback = kinds.next().map_or(Value::Null, |(_, table)| table.schema);
    let chosen = kinds
        .rev()
        .fold(fallback, |other, (word, table)| json!({"if": is(json!({"const": word})), "then": table, "else": other}));
    let known = is(json!({"pattern": VARIABLE}));
    json!({"description": doc, "type": "object", "if": known, "then": {}, "else": chosen}).into()
}

/// Returns the candidate that `word` most likely means, if one is similar enough for a typing
/// error.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short. A long text is not a typing error, and comparing it would be slow.
    if word.chars().count() > 100 {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| {
            let longer = word.chars().count().max(candidate.len());
            *distance <= (longer / 3).max(1) && *distance < longer
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
