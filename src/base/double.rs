//! JSON forms of doubles that are not finite.
//!
//! A loss that diverges becomes NaN, which is worth recording. JSON has no number for it, so NaN
//! and the infinities are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`, as in the JSON
//! mapping of Protocol Buffers, with the names that Python uses.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The word for each double that is not finite.
const WORDS: [(&str, f64); 3] = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

/// A double with its JSON form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Number(#[serde(with = "self")] pub f64);

impl ToSchema for Number {}

impl PartialSchema for Number {
    fn schema() -> RefOr<Schema> {
        let about = "A double. JSON has no number for one that is not finite: it is a word.";
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(WORDS.map(|(word, _)| word)));
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::Number))
            .item(words)
            .description(Some(about))
            .examples([0.75])
            .into()
    }
}

/// Returns the word for a double that is not finite; `None` for a finite one.
#[must_use]
pub fn word(value: f64) -> Option<&'static str> {
    let same = |of: f64| of.is_nan() && value.is_nan() || of.total_cmp(&value).is_eq();
    WORDS.into_iter().find(|(_, of)| same(*of)).map(|(word, _)| word)
}

/// Returns the double that a word means.
#[must_use]
pub fn of_word(word: &str) -> Option<f64> {
    WORDS.into_iter().find(|(text, _)| *text == word).map(|(_, of)| of)
}

/// Returns the double that a program's text for a non-finite one means: the words, and `nan` and
/// `inf` in any case and with any sign, as C and Python print them.
#[must_use]
pub fn of_spelling(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is = |word: &str| unsigned.eq_ignore_ascii_case(word);
    let infinity = || if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
    // The sign of a NaN has no meaning.
    if is("nan") { Some(f64::NAN) } else { (is("inf") || is("infinity")).then(infinity) }
}

/// Formats the number for display: the shortest text that parses to the same number, or the word.
#[must_use]
pub fn text(value: f64) -> String {
    // An exponent is easier to read than many zeros.
    let far = value != 0.0 && !(1e-5..1e16).contains(&value.abs());
    word(value).map_or_else(|| if far { format!("{value:e}") } else { value.to_string() }, str::to_owned)
}

/// Converts JSON as programs print it, with unquoted words as numbers: puts the words in quotes, in
/// any of their spellings (see [`of_spelling`]). Returns `None` if there are no such words. Leaves
/// strings unchanged.
#[must_use]
pub fn quote_words(json: &str) -> Option<String> {
    let (mut quoted, mut rest) = (String::with_capacity(json.len() + 2), json);
    let mut found = false;
    while let Some(next) = rest.chars().next() {
        let (token, after) = rest.split_at(end_of_token(rest, next));
        if let Some(word) = of_spelling(token).and_then(word) {
            found = true;
            quoted.extend(["\"", word, "\""]);
        } else {
            quoted.push_str(token);
        }
        rest = after;
    }
    found.then_some(quoted)
}

/// Returns the end of the token at the start of `json`, which begins with `next`: a string, a word
/// with or without a sign, or one character.
fn end_of_token(json: &str, next: char) -> usize {
    match next {
        '"' => end_of_string(json),
        '-' | '+' | 'A'..='Z' | 'a'..='z' => {
            let letters = json.bytes().skip(1).take_while(u8::is_ascii_alphabetic);
            1 + letters.count()
        }
        _ => next.len_utf8(),
    }
}

/// Returns the end of the string at the start of `json`.
fn end_of_string(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    json.len()
}

/// Serializes a number, or one of the words, for `#[serde(with = "…")]`.
///
/// # Errors
/// Returns the serializer's errors.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match word(*value) {
        Some(word) => serializer.serialize_str(word),
        None => serializer.serialize_f64(*value),
    }
}

/// Deserializes a number, or one of the words, for `#[serde(with = "…")]`.
///
/// # Errors
/// Returns an error if the value is neither.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Double;

    #[expect(clippy::cast_precision_loss, reason = "as serde_json reads an integer into a double")]
    impl Visitor<'_> for Double {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
        }

        fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }

        fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
            of_word(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Double)
}

/// Returns a change in percent with its sign: with one digit after the point, or as many as it
/// takes to tell it from none.
#[must_use]
pub fn percent(change: f64) -> String {
    match change.abs() {
        size if size >= 0.05 || size == 0.0 => format!("{change:+.1} %"),
        size if size >= 0.005 => format!("{change:+.2} %"),
        _ => format!("{change:+.0e} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::{percent, quote_words, text, word};

    #[test]
    fn a_small_change_is_not_none() {
        for (change, shown) in
            [(0.0, "+0.0 %"), (100.0, "+100.0 %"), (-0.06, "-0.1 %"), (0.043_42, "+0.04 %"), (-0.000_12, "-1e-4 %")]
        {
            assert_eq!(percent(change), shown);
        }
    }

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Value {
        #[serde(with = "super")]
        value: f64,
    }

    #[test]
    fn nan_and_infinity_are_strings_in_json() {
        for (value, json) in [
            (f64::NAN, r#"{"value":"NaN"}"#),
            (-f64::NAN, r#"{"value":"NaN"}"#),
            (f64::INFINITY, r#"{"value":"Infinity"}"#),
            (f64::NEG_INFINITY, r#"{"value":"-Infinity"}"#),
            (0.1, r#"{"value":0.1}"#),
            (-0.0, r#"{"value":-0.0}"#),
        ] {
            assert_eq!(serde_json::to_string(&Value { value }).unwrap(), json);
            let read = serde_json::from_str::<Value>(json).unwrap().value;
            assert!(read.to_bits() == value.to_bits() || read.is_nan() && value.is_nan(), "{json}");
        }
        assert!((serde_json::from_str::<Value>(r#"{"value":7}"#).unwrap().value - 7.0).abs() < f64::EPSILON);
        let error = serde_json::from_str::<Value>(r#"{"value":"nan"}"#).unwrap_err().to_string();
        assert!(error.contains("expected a number, \"NaN\", \"Infinity\" or \"-Infinity\""), "{error}");
        assert_eq!([text(1.5), text(f64::NEG_INFINITY)], ["1.5", "-Infinity"]);
        // Not in 300 digits.
        assert_eq!([text(5e-324), text(-1e300), text(1e-4), text(0.0)], ["5e-324", "-1e300", "0.0001", "0"]);
        assert_eq!(word(f64::MAX), None);
    }

    #[test]
    fn nan_and_infinity_are_quoted_outside_of_strings() {
        let quoted = |json| quote_words(json).unwrap_or_default();
        assert_eq!(quoted(r#"{"a":NaN,"b":[-Infinity,Infinity]}"#), r#"{"a":"NaN","b":["-Infinity","Infinity"]}"#);
        assert_eq!(quoted(r#"{"NaN \" NaN\\":NaN}"#), r#"{"NaN \" NaN\\":"NaN"}"#);
        assert_eq!(
            quoted("[nan, -nan, inf,-inf,+INF, -infinity,1e5]"),
            r#"["NaN", "NaN", "Infinity","-Infinity","Infinity", "-Infinity",1e5]"#
        );
        assert_eq!(quote_words(r#"{"a":"NaN","b":1,"c":null,"d":nanometre,"é":-1e-5}"#), None);
        assert_eq!(quote_words("\"NaN"), None);
    }
}
