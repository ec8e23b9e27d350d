//! Aligned columns.

use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::{plain, styles};

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// One field: text that is safe to show, and its look.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// `text`, made safe.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), style: styles::PLAIN }
    }

    /// In this look.
    pub(crate) fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// How many columns of the terminal it takes.
    fn width(&self) -> usize {
        self.text.width()
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.text.is_empty() || self.style == styles::PLAIN {
            return f.write_str(&self.text);
        }
        write!(f, "{}{}{}", self.style, self.text, self.style.render_reset())
    }
}

/// Rows of fields under headings. Columns are as wide as their widest field, two blanks stand between them, and no line ends in blanks.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// A table with headings.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), indent: 0 }
    }

    /// Each line starts with this many blanks.
    pub(crate) fn indent(mut self, blanks: usize) -> Self {
        self.indent = blanks;
        self
    }

    /// Adds a row; missing fields are empty, those without a column are left out.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines. A column in which nothing stands is left out, and so is its heading; headings are left out where all are empty.
    pub(crate) fn render(&self) -> String {
        let filled: Vec<usize> = (0..self.columns.len()).filter(|at| self.cells(*at).any(|c| c.width() > 0)).collect();
        let headings: Vec<Cell> = self.columns.iter().map(|(name, _)| Cell::new(name).style(styles::FAINT)).collect();
        let mut text = String::new();
        if headings.iter().any(|heading| heading.width() > 0) {
            self.line(&headings, &filled, &mut text);
        }
        for row in &self.rows {
            self.line(row, &filled, &mut text);
        }
        text
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter_map(move |row| row.get(column))
    }

    fn line(&self, cells: &[Cell], columns: &[usize], text: &mut String) {
        let empty = Cell::new("");
        let mut owed = self.indent;
        for column in columns {
            let Some((name, align)) = self.columns.get(*column) else { continue };
            let cell = cells.get(*column).unwrap_or(&empty);
            let width = self.cells(*column).map(Cell::width).max().unwrap_or(0).max(name.width());
            let blanks = width.saturating_sub(cell.width());
            let (before, after) = if *align == Align::Right { (blanks, 0) } else { (0, blanks) };
            // Blanks are owed until something stands after them, so that no line ends in them.
            owed += before;
            if cell.width() > 0 {
                let _ = write!(text, "{:owed$}{cell}", "");
                owed = 0;
            } else {
                owed += cell.width();
            }
            owed += after + 2;
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::{Align, Cell, Table};

    #[test]
    fn columns_are_aligned_whatever_the_width_of_a_character() {
        let mut table =
            Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("EMPTY", Align::Left), ("LAST", Align::Left)]);
        table.row(["日本", "5", "", "x"].map(Cell::new).to_vec());
        table.row(["a", "12345", ""].map(Cell::new).to_vec());
        assert_eq!(
            anstream::adapter::strip_str(&table.render()).to_string(),
            "NAME   SIZE  LAST\n日本      5  x\na     12345\n"
        );
    }
}
