//! Rows as text for programs: lines of JSON, and CSV.

use std::io::{self, BufWriter, Stdout, Write};

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Rows, ask, unique};
use crate::base::double::{self, Number};
use crate::cli::{Failure, out};
use crate::store::{Value, Views};

/// Prints each row of a query as an object in a line of its own.
pub(super) fn json(views: &mut dyn Views, query: &str) -> Result<(), Failure> {
    let mut lines = JsonLines { names: Vec::new(), to: stdout() };
    ask(views, query, &mut lines)?;
    Ok(lines.to.flush().map_err(out::unwritten)?)
}

/// Prints the rows of a query as CSV (RFC 4180, but lines end with `\n`). `NULL` is an empty field.
pub(super) fn csv(views: &mut dyn Views, query: &str) -> Result<(), Failure> {
    let mut table = Csv { to: csv::Writer::from_writer(stdout()) };
    ask(views, query, &mut table)?;
    Ok(table.to.flush().map_err(out::unwritten)?)
}

fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(64 << 10, io::stdout())
}

struct JsonLines<W> {
    names: Vec<String>,
    to: W,
}

impl<W: Write> Rows for JsonLines<W> {
    fn columns(&mut self, names: &[&str]) -> Result<(), Failure> {
        unique(names)?;
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(())
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<bool, Failure> {
        let object = Object { names: &self.names, values };
        serde_json::to_writer(&mut self.to, &object).map_err(|error| out::unwritten(error.into()))?;
        self.to.write_all(b"\n").map_err(out::unwritten)?;
        Ok(true)
    }
}

/// A row as an object, whose members are in the order of the columns.
struct Object<'a> {
    names: &'a [String],
    values: &'a [Value<'a>],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(self.values) {
            match value {
                Value::Null => map.serialize_entry(name, &())?,
                Value::Integer(value) => map.serialize_entry(name, value)?,
                Value::Real(value) => map.serialize_entry(name, &Number(*value))?,
                Value::Text(value) => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

struct Csv<W: Write> {
    to: csv::Writer<W>,
}

impl<W: Write> Rows for Csv<W> {
    fn columns(&mut self, names: &[&str]) -> Result<(), Failure> {
        Ok(self.to.write_record(names).map_err(unwritten)?)
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<bool, Failure> {
        for value in values {
            match value {
                Value::Null => self.to.write_field(""),
                Value::Integer(value) => self.to.write_field(value.to_string()),
                Value::Real(value) => self.to.write_field(double::text(*value)),
                Value::Text(value) => self.to.write_field(value),
            }
            .map_err(unwritten)?;
        }
        self.to.write_record(None::<&[u8]>).map_err(unwritten)?;
        Ok(true)
    }
}

fn unwritten(error: csv::Error) -> io::Error {
    out::unwritten(error.into())
}

#[cfg(test)]
mod tests {
    use super::{Csv, JsonLines};
    use crate::cli::sql::Rows;
    use crate::store::Value;

    const ROW: [Value<'static>; 4] =
        [Value::Integer(1), Value::Real(f64::INFINITY), Value::Text("a,\"b\"\n"), Value::Null];

    fn give(rows: &mut dyn Rows) {
        rows.columns(&["run", "value", "text", "none"]).unwrap();
        assert!(rows.row(&ROW).unwrap());
    }

    #[test]
    fn json_lines_keep_the_order_of_the_columns() {
        let mut lines = JsonLines { names: Vec::new(), to: Vec::new() };
        give(&mut lines);
        let text = String::from_utf8(lines.to).unwrap();
        assert_eq!(text, "{\"run\":1,\"value\":\"Infinity\",\"text\":\"a,\\\"b\\\"\\n\",\"none\":null}\n");
    }

    #[test]
    fn csv_quotes_what_a_reader_would_split() {
        let mut table = Csv { to: csv::Writer::from_writer(Vec::new()) };
        give(&mut table);
        let text = String::from_utf8(table.to.into_inner().unwrap()).unwrap();
        assert_eq!(text, "run,value,text,none\n1,Infinity,\"a,\"\"b\"\"\n\",\n");
    }
}
