//! Aligned columns, as wide as there is room for.
//!
//! A table is drawn for a number of columns of a terminal. Where its fields need more, those
//! columns shrink that can: prose wraps, texts end in `…`, paths begin with it (their end says
//! more). Secondary columns shrink first, and are left out before any other column becomes too
//! narrow to be useful. Words and numbers are never cut. Without a terminal
//! the width is unlimited, and nothing is cut.

use std::borrow::Cow;
use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::fit::{cut_end, cut_front, wrap};
use super::{plain, styles};

/// The least width to which a column shrinks.
const MIN_WIDTH: usize = 10;
/// Secondary columns are left out before any column becomes narrower than this.
const FAIR_WIDTH: usize = 24;

/// The kind of a column, which determines its alignment and how it shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Left-aligned words, never cut.
    Word,
    /// Right-aligned numbers, never cut.
    Number,
    /// A line of text, cut at the end.
    Text,
    /// A path, cut at the beginning.
    Path,
    /// Text that wraps.
    Prose,
    /// A line of secondary text: the first to shrink, and left out if there is no room.
    Aside,
}

impl Column {
    fn gives_way(self) -> bool {
        matches!(self, Self::Text | Self::Path | Self::Prose)
    }
}

/// One field: text that is safe to display, and its style.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// Has more than one line only if it is a message.
    text: String,
    style: Style,
    whole: bool,
}

impl Cell {
    /// Creates a field of one line, with `text` escaped.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), style: styles::PLAIN, whole: false }
    }

    /// Creates a field that keeps the lines of `text`, which is escaped.
    pub(crate) fn message(text: impl AsRef<str>) -> Self {
        let lines: Vec<String> = text.as_ref().lines().map(plain).collect();
        Self { text: lines.join("\n"), style: styles::PLAIN, whole: false }
    }

    /// Sets the style.
    pub(crate) fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Marks text for copying: it is never cut or wrapped, whatever its column.
    pub(crate) fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Its width in terminal columns.
    fn width(&self) -> usize {
        self.text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
    }

    /// Its lines in a column of this kind and a width of `room`.
    fn lines(&self, column: Column, room: usize) -> Vec<String> {
        match column {
            _ if self.whole => vec![self.text.clone()],
            Column::Prose => wrap(&self.text, room),
            Column::Path => vec![cut_front(&self.text, room)],
            Column::Text | Column::Aside => vec![cut_end(&self.text, room)],
            Column::Word | Column::Number => vec![self.text.clone()],
        }
    }

    fn draw(&self, line: &str, f: &mut impl std::fmt::Write) -> std::fmt::Result {
        if line.is_empty() || self.style == styles::PLAIN {
            return f.write_str(line);
        }
        write!(f, "{}{line}{}", self.style, self.style.render_reset())
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.draw(&self.text, f)
    }
}

/// Rows of fields under headings. Columns are as wide as their widest field, if there is room. Two
/// blanks separate them, and no line ends in blanks.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<(Cow<'static, str>, Column)>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// Creates a table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Column)]) -> Self {
        let columns = columns.iter().map(|(name, column)| (Cow::Borrowed(*name), *column)).collect();
        Self { columns, rows: Vec::new(), indent: 0 }
    }

    /// Creates a table whose columns are named by somebody else.
    pub(crate) fn with_names(columns: impl IntoIterator<Item = (String, Column)>) -> Self {
        let columns = columns.into_iter().map(|(name, column)| (Cow::Owned(plain(&name)), column)).collect();
        Self { columns, rows: Vec::new(), indent: 0 }
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

    /// Adds several rows.
    pub(crate) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<Cell>>) {
        self.rows.extend(rows);
    }

    /// Formats the table for a terminal with `width` columns. An empty column is left out with its
    /// heading. The line of headings is left out if all of them are empty.
    pub(crate) fn render(&self, width: usize) -> String {
        let widths = self.widths(width);
        let headings: Vec<Cell> = self.columns.iter().map(|(name, _)| Cell::new(name).style(styles::FAINT)).collect();
        let mut text = String::new();
        if headings.iter().any(|heading| heading.width() > 0) {
            self.row_lines(&headings, &widths, &mut text);
        }
        for row in &self.rows {
            self.row_lines(row, &widths, &mut text);
        }
        text
    }

    /// The width of each column; 0 if it is left out.
    fn widths(&self, width: usize) -> Vec<usize> {
        let natural = |(at, (name, _)): (usize, &(Cow<'static, str>, Column))| {
            let widest = self.rows.iter().filter_map(|row| row.get(at)).map(Cell::width).max().unwrap_or(0);
            if widest == 0 { 0 } else { widest.max(name.width()) }
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        self.narrow(&mut widths, width, MIN_WIDTH, |column| column == Column::Aside);
        self.narrow(&mut widths, width, FAIR_WIDTH, Column::gives_way);
        while self.excess(&widths, width) > 0 {
            let asides =
                widths.iter_mut().zip(&self.columns).filter(|(width, (_, kind))| **width > 0 && *kind == Column::Aside);
            let Some((last, _)) = asides.last() else { break };
            *last = 0;
        }
        self.narrow(&mut widths, width, MIN_WIDTH, Column::gives_way);
        widths
    }

    /// By how many terminal columns the table is too wide.
    fn excess(&self, widths: &[usize], width: usize) -> usize {
        let shown = widths.iter().filter(|width| **width > 0).count();
        (self.indent + 2 * shown.saturating_sub(1) + widths.iter().sum::<usize>()).saturating_sub(width)
    }

    /// Shrinks columns, the widest first, until the table fits or none of them is wider than
    /// `least`.
    fn narrow(&self, widths: &mut [usize], width: usize, least: usize, which: impl Fn(Column) -> bool) {
        for _ in 0..self.excess(widths, width) {
            let may = widths.iter_mut().zip(&self.columns).filter(|(width, (_, kind))| **width > least && which(*kind));
            let Some((widest, _)) = may.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
        }
    }

    /// Writes one row, with as many lines as its tallest field.
    fn row_lines(&self, cells: &[Cell], widths: &[usize], text: &mut String) {
        let empty = Cell::new("");
        let fields: Vec<(&Cell, Vec<String>, usize, Column)> = widths
            .iter()
            .zip(&self.columns)
            .enumerate()
            .filter(|(_, (width, _))| **width > 0)
            .map(|(at, (width, (_, column)))| {
                let cell = cells.get(at).unwrap_or(&empty);
                (cell, cell.lines(*column, *width), *width, *column)
            })
            .collect();
        let height = fields.iter().map(|(_, lines, ..)| lines.len()).max().unwrap_or(0);
        for at in 0..height {
            let mut owed = self.indent;
            for (cell, lines, width, column) in &fields {
                let line = lines.get(at).map_or("", String::as_str);
                let blanks = width.saturating_sub(line.width());
                let (before, after) = if *column == Column::Number { (blanks, 0) } else { (0, blanks) };
                // Blanks are written only when text follows, so that no line ends in blanks.
                owed += before;
                if !line.is_empty() {
                    let _ = write!(text, "{:owed$}", "");
                    let _ = cell.draw(line, text);
                    owed = 0;
                }
                owed += after + 2;
            }
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Column, Table};

    fn drawn(table: &Table, width: usize) -> String {
        anstream::adapter::strip_str(&table.render(width)).to_string()
    }

    #[test]
    fn columns_are_aligned_whatever_the_width_of_a_character() {
        let mut table = Table::new(&[
            ("NAME", Column::Word),
            ("SIZE", Column::Number),
            ("EMPTY", Column::Word),
            ("LAST", Column::Word),
        ]);
        table.row(["日本", "5", "", "x"].map(Cell::new).to_vec());
        table.row(["a", "12345", ""].map(Cell::new).to_vec());
        assert_eq!(drawn(&table, usize::MAX), "NAME   SIZE  LAST\n日本      5  x\na     12345\n");
    }

    #[test]
    fn flexible_columns_shrink_and_the_others_stay_complete() {
        let mut table = Table::new(&[
            ("NAME", Column::Word),
            ("PATH", Column::Path),
            ("REASON", Column::Text),
            ("WHAT", Column::Prose),
        ]);
        table.row(vec![
            Cell::new("a-name-that-is-long"),
            Cell::new("data/raw/2026/measured.csv"),
            Cell::message("it was not there\nmore"),
            Cell::message("some words about it\nand more"),
        ]);
        table.row(["b", "x", "y", "z"].map(Cell::new).to_vec());
        insta::assert_snapshot!([120, 80, 60, 20].map(|width| drawn(&table, width)).join("\n"));
        let longest = |width| drawn(&table, width).lines().map(|line| line.chars().count()).max().unwrap();
        assert!((58..120).all(|width| longest(width) <= width), "no line is too wide");
    }
}
