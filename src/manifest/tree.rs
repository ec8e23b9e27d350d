//! Typed access to the tree of a TOML text. Each invalid value becomes a problem with a place.
//!
//! This is written by hand, because `serde` stops at the first error and has no place for a missing
//! key. Every getter returns `None` both for an absent key and for an invalid value that it has
//! reported. The caller can continue with a default, because a pipeline is returned only if there
//! are no problems.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::{self, Env, ExpandError};
use super::keys::{Keys, nearest};
use super::problem::{Problem, listed, quoted};
use super::schema::{self, Measure, Shape};
use crate::base::{ByteSize, SizeError, SpanError, TimeSpan, escape};

/// Maximum number of recorded problems, of which the first in the text are displayed.
const MAX_KEPT: usize = 1_000;

/// A value and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table whose keys have been read.
#[derive(Debug, Clone)]
pub(super) struct Table<'t> {
    /// Its name in messages: `[actions.train]`, or `trigger` of …
    pub(super) name: String,
    /// The place of its key.
    pub(super) at: Range<usize>,
    entries: &'t DeTable<'t>,
    /// Its keys; `None` if they are names of the user's choice.
    section: Option<&'static Keys>,
}

impl<'t> Table<'t> {
    /// Creates the top-level table of a text.
    pub(super) fn root(entries: &'t DeTable<'t>) -> Self {
        Self { name: "the manifest".to_owned(), at: 0..0, entries, section: None }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.entries.get(key)
    }

    /// Returns what the key may hold.
    fn shape(&self, key: &str) -> Option<&'static Shape> {
        let shape = self.section.and_then(|keys| keys.shape(key));
        debug_assert!(shape.is_some(), "`{key}` of {} is in no table of keys", self.name);
        shape
    }

    /// Returns the place of the key.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.entries.get_key_value(key).map_or_else(|| self.at.clone(), |(key, _)| key.span())
    }

    /// Returns whether an unknown key may mean `key`: it is similar to `key`, or to no known key.
    pub(super) fn may_mean(&self, keys: &Keys, key: &str) -> bool {
        let strange = |found: &&str| !keys.knows(found) && !keys.promises(found);
        let mut strangers = self.entries.keys().map(|found| found.get_ref().as_ref()).filter(strange);
        strangers.any(|found| keys.meant_by(found).is_none_or(|meant| meant == key))
    }

    /// Returns the entries in the order of the text.
    pub(super) fn in_order(&self) -> Vec<(At<&'t str>, &'t Spanned<DeValue<'t>>)> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| (At { value: key.get_ref().as_ref(), span: key.span() }, value))
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }
}

/// Reads values and collects problems.
pub(super) struct Reader<'a> {
    text: &'a str,
    env: Env<'a>,
    secrets_needed: bool,
    incomplete: bool,
    /// Known keys that unknown ones probably mean, each with the place of its table.
    meant: BTreeSet<(usize, usize, &'static str)>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Creates a reader for this text, with these variables. Unless `secrets_needed`, the variables
    /// of secrets need not be set.
    pub(super) fn new(text: &'a str, env: Env<'a>, secrets_needed: bool) -> Self {
        Self { text, env, secrets_needed, incomplete: false, meant: BTreeSet::new(), problems: Vec::new() }
    }

    /// Records a problem. Drops it if there are [`MAX_KEPT`] already, because a generated manifest
    /// can have a million problems.
    pub(super) fn complain(&mut self, problem: Problem) {
        if !self.is_full() {
            self.problems.push(problem);
        }
    }

    /// Returns whether there are too many problems for further checks to be useful.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MAX_KEPT
    }

    /// Records that names or nodes could not be read, so that checks for missing ones are not
    /// reliable.
    pub(super) fn mark_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Returns whether names or nodes could not be read. Problems about missing ones would then be
    /// noise.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Returns all problems.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Checks that `variable`, the source of a secret, is set if the pipeline is about to run.
    pub(super) fn check_secret(&mut self, variable: &str, span: &Range<usize>) {
        if self.secrets_needed && (self.env)(variable).is_none() {
            self.complain(
                Problem::new(format!("the environment variable `{variable}`, a secret, is not set"))
                    .at(span, "asked for here")
                    .help("set it before you start anacostia"),
            );
        }
    }

    /// Reads a value that is a table with any keys.
    pub(super) fn open_table<'t>(
        &mut self,
        name: impl Into<String>,
        at: Range<usize>,
        value: &'t Spanned<DeValue<'t>>,
        example: &str,
    ) -> Option<Table<'t>> {
        let name = name.into();
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table { name, at, entries, section: None }),
            DeValue::Array(_) if self.text.get(value.span()).is_some_and(|text| text.starts_with("[[")) => {
                self.complain(
                    Problem::new(format!("{name} must be one table, not a list of tables"))
                        .at(&value.span(), "two brackets make a list")
                        .help(format!("write {example}")),
                );
                None
            }
            other => {
                self.wrong_type(&name, "a table", other, &value.span(), example);
                None
            }
        }
    }

    /// Reads the table under `key`, whose keys must be known. `name` is its name in messages.
    pub(super) fn table<'t>(
        &mut self,
        parent: &Table<'t>,
        key: &str,
        name: impl Into<String>,
        keys: &'static Keys,
        example: &str,
    ) -> Option<Table<'t>> {
        let value = parent.get(key)?;
        let table = self.open_table(name, parent.key_span(key), value, example)?;
        Some(self.section(&table, keys))
    }

    /// Returns the table with these keys, by which its values are then read. Refuses unknown keys
    /// and keys of later versions. Call it before the checks for missing keys.
    pub(super) fn section<'t>(&mut self, table: &Table<'t>, keys: &'static Keys) -> Table<'t> {
        for (key, _) in table.in_order() {
            if keys.knows(key.value) {
                continue;
            }
            let problem = if keys.promises(key.value) {
                Problem::new(format!("{} in {} is not available in this version", quoted(key.value), table.name))
                    .at(&key.span, "comes later")
                    .help("remove it for now")
            } else {
                self.meant.extend(keys.meant_by(key.value).map(|meant| (table.at.start, table.at.end, meant)));
                Problem::new(format!("unknown key {} in {}", quoted(key.value), table.name))
                    .at(&key.span, "not known")
                    .help(keys.advice(key.value))
            };
            self.complain(problem);
        }
        Table { section: Some(keys), ..table.clone() }
    }

    /// Returns whether an unknown key of this table probably means `key`. A second problem about
    /// the missing `key` is then not needed.
    pub(super) fn is_meant(&self, table: &Table<'_>, key: &'static str) -> bool {
        self.meant.contains(&(table.at.start, table.at.end, key))
    }

    /// Reports that the mandatory `key` is missing.
    pub(super) fn missing(&mut self, table: &Table<'_>, key: &'static str, example: &str) {
        if self.is_meant(table, key) {
            return;
        }
        self.complain(
            Problem::new(format!("`{key}` is missing in {}", table.name))
                .at(&table.at, "here")
                .help(format!("add {example}")),
        );
    }

    /// Reads a string and expands it.
    pub(super) fn string(&mut self, table: &Table<'_>, key: &str, example: &str) -> Option<At<String>> {
        let value = table.get(key)?;
        self.string_value(&format!("`{key}`"), value, &format!("{key} = {example}"))
    }

    /// Reads a mandatory string.
    pub(super) fn required_string(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        example: &str,
    ) -> Option<At<String>> {
        if table.get(key).is_none() {
            self.missing(table, key, &format!("`{key} = {example}`"));
        }
        self.string(table, key, example)
    }

    pub(super) fn string_value(
        &mut self,
        what: &str,
        value: &Spanned<DeValue<'_>>,
        example: &str,
    ) -> Option<At<String>> {
        let span = value.span();
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(what, "a string", value.get_ref(), &span, &format!("`{example}`"));
            return None;
        };
        let problem = match expand::expand(text, self.env) {
            Ok(value) if value.contains('\0') => {
                Problem::new(format!("{what} holds a zero character")).at(&span, "here")
            }
            Ok(value) => return Some(At { value, span }),
            Err(ExpandError::Missing(name)) => Problem::new(format!("the environment variable `{name}` is not set"))
                .at(&expand::place_of(self.text, &span, &name), "asked for here")
                .help(format!("set it, or write `$${{{name}}}` for the text `${{{name}}}` itself")),
            Err(ExpandError::Unclosed) => Problem::new(format!("{what} has `${{` without `}}`"))
                .at(&span, "here")
                .help("write `${NAME}` for an environment variable, `$${` for the text `${`"),
            Err(ExpandError::BadName(name)) => {
                Problem::new(format!("{} is not a valid name of an environment variable", quoted(&name)))
                    .at(&span, "here")
                    .help("names are made of letters, digits and `_`; write `$${` for the text `${`")
            }
            Err(ExpandError::TooLong) => {
                let most = ByteSize(expand::MAX_EXPANDED_BYTES as u64);
                Problem::new(format!("{what} is longer than {most} with its variables put in")).at(&span, "here")
            }
        };
        self.complain(problem);
        None
    }

    /// Returns the line that sets `key` to this value as a string, if it is a plain value of
    /// another type.
    pub(super) fn as_string(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let plain = matches!(
            value.get_ref(),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
        );
        let text = self.text.get(value.span()).filter(|text| plain && text.len() < 60)?;
        expand::is_variable(key).then(|| format!("{key} = \"{text}\""))
    }

    /// Reads a list of strings and expands them.
    pub(super) fn strings(&mut self, table: &Table<'_>, key: &str, example: &str) -> Vec<At<String>> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let example = match value.get_ref() {
                DeValue::String(text) if text.len() < 60 => format!("`{key} = [\"{}\"]`", text.escape_default()),
                _ => format!("`{key} = {example}`"),
            };
            self.wrong_type(&format!("`{key}`"), "a list of strings", value.get_ref(), &value.span(), &example);
            self.mark_incomplete();
            return Vec::new();
        };
        let what = format!("an item of `{key}`");
        let read: Vec<_> =
            items.iter().filter_map(|item| self.string_value(&what, item, &format!("{key} = {example}"))).collect();
        if read.len() < items.len() {
            self.mark_incomplete();
        }
        read
    }

    pub(super) fn boolean(&mut self, table: &Table<'_>, key: &str) -> Option<At<bool>> {
        let value = table.get(key)?;
        if let DeValue::Boolean(truth) = value.get_ref() {
            return Some(At { value: *truth, span: value.span() });
        }
        let example = format!("`{key} = true` or `{key} = false`");
        self.wrong_type(&format!("`{key}`"), "true or false", value.get_ref(), &value.span(), &example);
        None
    }

    /// Reads an integer within the bounds of its key.
    pub(super) fn integer(&mut self, table: &Table<'_>, key: &str) -> Option<At<u64>> {
        let (shape, range) = whole(table, key)?;
        self.integer_within(table, key, range.bounds.clone(), &shape.example())
    }

    /// Like [`Self::integer`]; the default of the key if there is none.
    pub(super) fn integer_or_default(&mut self, table: &Table<'_>, key: &str) -> u64 {
        let default = whole(table, key).and_then(|(_, range)| range.default);
        self.integer(table, key).map(|found| found.value).or(default).unwrap_or_default()
    }

    /// Reads an integer within bounds, whose key is a name of the user's choice.
    pub(super) fn integer_within(
        &mut self,
        table: &Table<'_>,
        key: &str,
        bounds: RangeInclusive<u64>,
        example: &str,
    ) -> Option<At<u64>> {
        let value = table.get(key)?;
        let span = value.span();
        let DeValue::Integer(number) = value.get_ref() else {
            let example = format!("`{key} = {example}`");
            self.wrong_type(&format!("`{key}`"), "a whole number", value.get_ref(), &span, &example);
            return None;
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if bounds.contains(&value) => Some(At { value, span }),
            _ => {
                let (least, most) = bounds.into_inner();
                self.out_of_bounds(key, &span, &grouped(least), &grouped(most), "out of bounds");
                None
            }
        }
    }

    /// Reads a number, with or without a fraction.
    pub(super) fn number(&mut self, table: &Table<'_>, key: &str, example: &str) -> Option<At<f64>> {
        let value = table.get(key)?;
        let span = value.span();
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(approximate),
            DeValue::Float(number) => number.as_str().parse().ok(),
            other => {
                self.wrong_type(&format!("`{key}`"), "a number", other, &span, &format!("`{key} = {example}`"));
                return None;
            }
        };
        let finite = number.filter(|number: &f64| number.is_finite());
        if finite.is_none() {
            self.complain(Problem::new(format!("`{key}` must be a finite number")).at(&span, "here"));
        }
        finite.map(|value| At { value, span })
    }

    /// Reads a list of tables, at least one. Their keys are not checked.
    pub(super) fn tables<'t>(&mut self, table: &Table<'t>, key: &str, example: &str) -> Vec<Table<'t>> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let example = format!("`{key} = {example}`");
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(&format!("`{key}`"), "a list of tables", value.get_ref(), &value.span(), &example);
            return Vec::new();
        };
        if items.is_empty() {
            let problem = Problem::new(format!("`{key}` of {} is empty", table.name));
            self.complain(problem.at(&value.span(), "here").help(format!("write {example}, or remove it")));
        }
        let name = |at: usize| format!("item {} of `{key}` of {}", at + 1, table.name);
        let each = items.iter().enumerate();
        each.filter_map(|(at, item)| self.open_table(name(at), item.span(), item, &example)).collect()
    }

    /// Reads a byte size within the bounds of its key.
    pub(super) fn size(&mut self, table: &Table<'_>, key: &str) -> Option<At<u64>> {
        let (shape, range) = bytes(table, key)?;
        let beyond = |error: &SizeError| matches!(error, SizeError::TooLarge(_));
        let bounds = (ByteSize(*range.bounds.start()), ByteSize(*range.bounds.end()));
        let words = ("too small", "too large");
        let found: At<ByteSize> = self.measured(table, key, &shape.example(), bounds, words, beyond)?;
        Some(At { value: found.value.0, span: found.span })
    }

    /// Like [`Self::size`]; the default of the key if there is none.
    pub(super) fn size_or_default(&mut self, table: &Table<'_>, key: &str) -> u64 {
        let default = bytes(table, key).and_then(|(_, range)| range.default);
        self.size(table, key).map(|found| found.value).or(default).unwrap_or_default()
    }

    /// Reads a time span within the bounds of its key.
    pub(super) fn duration(&mut self, table: &Table<'_>, key: &str) -> Option<At<Duration>> {
        let (shape, range) = time(table, key)?;
        let beyond = |error: &SpanError| matches!(error, SpanError::TooLong(_));
        let bounds = (TimeSpan(*range.bounds.start()), TimeSpan(*range.bounds.end()));
        let words = ("too short", "too long");
        let found: At<TimeSpan> = self.measured(table, key, &shape.example(), bounds, words, beyond)?;
        Some(At { value: found.value.0, span: found.span })
    }

    /// Like [`Self::duration`]; the default of the key if there is none.
    pub(super) fn duration_or_default(&mut self, table: &Table<'_>, key: &str) -> Duration {
        let default = time(table, key).and_then(|(_, range)| range.default);
        self.duration(table, key).map(|found| found.value).or(default).unwrap_or_default()
    }

    /// Reads a number with a unit, in a string, within bounds. `words` are the words for below and
    /// above the bounds; `beyond` returns whether a text does not parse because its amount is too
    /// large.
    fn measured<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        example: &str,
        bounds: (T, T),
        words: (&str, &str),
        beyond: impl Fn(&T::Err) -> bool,
    ) -> Option<At<T>>
    where
        T: FromStr<Err: std::fmt::Display> + PartialOrd + std::fmt::Display,
    {
        let text = self.string(table, key, example)?;
        let (least, most) = bounds;
        let wrong = match text.value.parse::<T>() {
            Ok(value) if value < least => words.0,
            Ok(value) if value <= most => return Some(At { value, span: text.span }),
            Err(error) if !beyond(&error) => {
                let message = escape(error.to_string().as_bytes());
                self.complain(Problem::new(message).at(&text.span, "here").help(format!("write `{key} = {example}`")));
                return None;
            }
            Ok(_) | Err(_) => words.1,
        };
        // In the form in which it is written in a manifest.
        let [least, most] = [least, most].map(|bound| format!("\"{}\"", bound.to_string().replace(' ', "")));
        self.out_of_bounds(key, &text.span, &least, &most, wrong);
        None
    }

    /// Reads one of a few values.
    pub(super) fn choice<T: Copy>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        words: &[(&str, T)],
        later: &[&str],
    ) -> Option<At<T>> {
        let example = words.first().map_or("", |(word, _)| word);
        let text = self.string(table, key, &format!("\"{example}\""))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At { value: *value, span: text.span });
        }
        let names = || words.iter().map(|(word, _)| *word);
        let problem = if later.contains(&text.value.as_str()) {
            Problem::new(format!("{key} {} is not available in this version", quoted(&text.value)))
                .at(&text.span, "comes later")
                .help(format!("use {}", listed(names(), "or")))
        } else {
            let help = match nearest(&text.value, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it can be {}", listed(names(), "or")),
            };
            Problem::new(format!("unknown {key} {}", quoted(&text.value))).at(&text.span, "not known").help(help)
        };
        self.complain(problem);
        None
    }

    fn out_of_bounds(&mut self, key: &str, span: &Range<usize>, least: &str, most: &str, wrong: &str) {
        self.complain(Problem::new(format!("`{key}` must be from {least} to {most}")).at(span, wrong));
    }

    fn wrong_type(&mut self, what: &str, wanted: &str, found: &DeValue<'_>, span: &Range<usize>, example: &str) {
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.complain(
            Problem::new(format!("{what} must be {wanted}, not {found}"))
                .at(span, found)
                .help(format!("write {example}")),
        );
    }
}

/// Returns the shape of a key that holds a whole number.
fn whole(table: &Table<'_>, key: &str) -> Option<(&'static Shape, &'static schema::Range<u64>)> {
    match table.shape(key)? {
        shape @ Shape { measure: Some(Measure::Whole(range)), .. } => Some((shape, range)),
        _ => None,
    }
}

/// Returns the shape of a key that holds a size.
fn bytes(table: &Table<'_>, key: &str) -> Option<(&'static Shape, &'static schema::Range<u64>)> {
    match table.shape(key)? {
        shape @ Shape { measure: Some(Measure::Size(range)), .. } => Some((shape, range)),
        _ => None,
    }
}

/// Returns the shape of a key that holds a time span.
fn time(table: &Table<'_>, key: &str) -> Option<(&'static Shape, &'static schema::Range<Duration>)> {
    match table.shape(key)? {
        shape @ Shape { measure: Some(Measure::Span(range)), .. } => Some((shape, range)),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "the value is used as a double")]
fn approximate(number: i64) -> f64 {
    number as f64
}

/// Formats a number with separators: `1,000,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1_000, 10_000, 1_000_000_000].map(grouped),
            ["0", "999", "1,000", "10,000", "1,000,000,000"]
        );
    }
}
