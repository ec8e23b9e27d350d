//! Rows as CSV, for actions that read tables: RFC 4180, with a header. Lines end with `\n`.
//!
//! The watch tells rows apart by their JSON. So a batch always holds JSON lines, and its CSV is
//! made from them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// Returns rows, each a JSON object in a line of its own, as CSV. The columns are those of the
/// first row, and all rows of a batch have the same.
///
/// `null` is an empty field, and an empty text is `""`, as PostgreSQL writes them.
pub(super) fn from_lines(lines: &str) -> Result<String, serde_json::Error> {
    let mut table = String::with_capacity(lines.len() / 2);
    for (number, line) in lines.lines().enumerate() {
        let Members(members) = serde_json::from_str(line)?;
        if number == 0 {
            push_line(&mut table, members.iter().map(|(name, _)| Ok(Some(Cow::Borrowed(&**name)))))?;
        }
        push_line(&mut table, members.iter().map(|(_, value)| field(value)))?;
    }
    Ok(table)
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// A name, which is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns a value as a field; nothing if it is `null`.
fn field(value: &RawValue) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    match value.get() {
        "null" => Ok(None),
        text if text.starts_with('"') => serde_json::from_str(text).map(|Name(text)| Some(text)),
        // Numbers keep all their digits, and objects and arrays remain JSON.
        text => Ok(Some(Cow::Borrowed(text))),
    }
}

fn push_line<'a>(
    table: &mut String,
    fields: impl ExactSizeIterator<Item = Result<Option<Cow<'a, str>>, serde_json::Error>>,
) -> Result<(), serde_json::Error> {
    let is_alone = fields.len() == 1;
    for (place, field) in fields.enumerate() {
        if place > 0 {
            table.push(',');
        }
        match field? {
            // Readers skip lines that are empty.
            None if is_alone => table.push_str("\"\""),
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                table.push('"');
                table.push_str(&text.replace('"', "\"\""));
                table.push('"');
            }
            Some(text) => table.push_str(&text),
        }
    }
    table.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::from_lines;

    #[test]
    fn values_keep_their_digits_and_columns_their_order() {
        let lines = "{\"z\":1e400,\"a\":12345678901234567890.10,\"ok\":true,\"tags\":[1, 2]}\n\
                     {\"z\":-0.0,\"a\":null,\"ok\":false,\"tags\":{\"k\":\"v\"}}\n";
        let expected =
            "z,a,ok,tags\n1e400,12345678901234567890.10,true,\"[1, 2]\"\n-0.0,,false,\"{\"\"k\"\":\"\"v\"\"}\"\n";
        assert_eq!(from_lines(lines).unwrap(), expected);
    }

    #[test]
    fn text_is_quoted_where_a_reader_would_split_it() {
        let lines = r#"{"Culmen Length (mm)":"a,b","say \"hi\"":"two\nlines","e":"","n":null,"ä":"ö\t"}"#;
        let expected = "Culmen Length (mm),\"say \"\"hi\"\"\",e,n,ä\n\"a,b\",\"two\nlines\",\"\",,ö\t\n";
        assert_eq!(from_lines(lines).unwrap(), expected);
    }

    #[test]
    fn a_table_of_one_column_has_a_line_for_each_row() {
        assert_eq!(from_lines("{\"x\":null}\n{\"x\":1}\n").unwrap(), "x\n\"\"\n1\n");
        assert_eq!(from_lines("").unwrap(), "");
    }
}
