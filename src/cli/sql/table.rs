//! Rows as a table for people.

use super::{Rows, ask};
use crate::base::double;
use crate::cli::show::{Cell, Column, Table, plural, styles};
use crate::cli::{Failure, out};
use crate::store::{Value, Views};

/// The most rows that are shown: nobody reads more, and a table is drawn when all of it is known.
const MOST_ROWS: usize = 1_000;

/// Prints the rows of a query.
pub(super) fn table(views: &mut dyn Views, query: &str) -> Result<(), Failure> {
    let mut seen = Seen::default();
    ask(views, query, &mut seen)?;
    if seen.rows.is_empty() {
        out::error("The query has no rows.\n");
        return Ok(());
    }
    out::result(&seen.draw(out::result_width()))?;
    if seen.has_more {
        let most = plural(MOST_ROWS as u64, "row");
        out::error(&format!(
            "Only the first {most} are shown: add `LIMIT`, or print all with `--json`, `--csv` or `--parquet`.\n"
        ));
    }
    Ok(())
}

/// The rows that were received.
#[derive(Debug, Default)]
struct Seen {
    columns: Vec<(String, Column)>,
    rows: Vec<Vec<Cell>>,
    has_more: bool,
}

impl Seen {
    fn draw(&self, width: usize) -> String {
        let mut table = Table::with_names(self.columns.clone());
        table.rows(self.rows.iter().cloned());
        table.render(width)
    }
}

impl Rows for Seen {
    fn columns(&mut self, names: &[&str]) -> Result<(), Failure> {
        self.columns = names.iter().map(|name| ((*name).to_owned(), Column::Number)).collect();
        Ok(())
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<bool, Failure> {
        self.has_more = self.rows.len() == MOST_ROWS;
        if self.has_more {
            return Ok(false);
        }
        for ((_, column), value) in self.columns.iter_mut().zip(values) {
            if matches!(value, Value::Text(_)) {
                *column = Column::Text;
            }
        }
        self.rows.push(values.iter().map(cell).collect());
        Ok(true)
    }
}

fn cell(value: &Value<'_>) -> Cell {
    match value {
        // An empty field would be an empty text.
        Value::Null => Cell::new("NULL").style(styles::FAINT),
        Value::Integer(value) => Cell::new(value.to_string()),
        Value::Real(value) => Cell::new(double::text(*value)),
        Value::Text(value) => Cell::new(value),
    }
}

#[cfg(test)]
mod tests {
    use super::{Rows as _, Seen};
    use crate::store::Value;

    #[test]
    fn numbers_are_aligned_and_null_differs_from_an_empty_text() {
        let mut seen = Seen::default();
        seen.columns(&["run", "seconds", "why"]).unwrap();
        seen.row(&[Value::Integer(9), Value::Real(0.25), Value::Text("a\u{1b}[31mb")]).unwrap();
        seen.row(&[Value::Integer(10), Value::Null, Value::Text("")]).unwrap();
        let text = anstream::adapter::strip_str(&seen.draw(usize::MAX)).to_string();
        assert_eq!(text, "run  seconds  why\n  9     0.25  a\\u{1b}[31mb\n 10     NULL\n");
    }
}
