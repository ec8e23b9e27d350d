//! Previews of content: what it is, and its beginning in a form for people.

use serde::Serialize;

/// Most rows and columns of a table.
const ROWS: usize = 100;
const COLUMNS: usize = 40;
/// Most characters of a cell.
const CELL_CHARS: usize = 200;
/// Bytes of content that is not text that are shown.
const DUMP_BYTES: usize = 256;

/// The beginning of some content.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Peek {
    /// Nothing.
    Empty,
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// Text in Markdown.
    Markdown {
        /// The text.
        text: String,
    },
    /// Rows of cells; the first is the head.
    Table {
        /// The head.
        head: Vec<String>,
        /// The other rows.
        rows: Vec<Vec<String>>,
        /// Whether rows or columns are left out.
        more: bool,
    },
    /// An image.
    Image,
    /// Other bytes, in lines of their places, their values and their letters.
    Bytes {
        /// The lines.
        lines: Vec<(String, String, String)>,
    },
}

/// A format of images that browsers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    Png,
    Jpeg,
    Gif,
    WebP,
    Svg,
}

impl Image {
    /// Returns its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
            Self::Svg => "image/svg+xml",
        }
    }
}

/// Returns the format of an image, by its first bytes. Only a vector image is recognised by its
/// name too, because it is text.
pub(super) fn image(path: &str, bytes: &[u8]) -> Option<Image> {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    if begins(b"\x89PNG\r\n\x1a\n") {
        Some(Image::Png)
    } else if begins(b"\xff\xd8\xff") {
        Some(Image::Jpeg)
    } else if begins(b"GIF87a") || begins(b"GIF89a") {
        Some(Image::Gif)
    } else if begins(b"RIFF") && bytes.get(8..12) == Some(b"WEBP".as_slice()) {
        Some(Image::WebP)
    } else if has_ending(path, &["svg"]) && looks_like_svg(bytes) {
        Some(Image::Svg)
    } else {
        None
    }
}

fn looks_like_svg(bytes: &[u8]) -> bool {
    let start = bytes.get(..bytes.len().min(1_024)).unwrap_or_default();
    String::from_utf8_lossy(start).contains("<svg")
}

fn has_ending(path: &str, endings: &[&str]) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| endings.iter().any(|it| ending.eq_ignore_ascii_case(it)))
}

/// Returns a preview of content of `size` bytes that begins with `bytes`.
pub(super) fn of(path: &str, bytes: &[u8], size: u64) -> Peek {
    let whole = bytes.len() as u64 >= size;
    if bytes.is_empty() {
        return Peek::Empty;
    }
    if image(path, bytes).is_some() {
        return Peek::Image;
    }
    let Some(text) = as_text(bytes, whole) else { return dump(bytes) };
    let separator =
        [("csv", b','), ("tsv", b'\t'), ("tab", b'\t')].into_iter().find(|(ending, _)| has_ending(path, &[*ending]));
    if let Some((_, separator)) = separator {
        return table(text, separator, whole);
    }
    if has_ending(path, &["json", "geojson", "ipynb"]) && whole {
        let pretty =
            serde_json::from_str::<serde_json::Value>(text).and_then(|value| serde_json::to_string_pretty(&value));
        return Peek::Text { text: pretty.unwrap_or_else(|_| text.to_owned()) };
    }
    let text = text.to_owned();
    if has_ending(path, &["md", "markdown"]) { Peek::Markdown { text } } else { Peek::Text { text } }
}

/// Returns bytes as text, without a character at the end that is cut.
fn as_text(bytes: &[u8], whole: bool) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if !whole && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}');
    (!text.contains(odd)).then_some(text)
}

fn dump(bytes: &[u8]) -> Peek {
    let lines = bytes.chunks(16).take(DUMP_BYTES / 16).enumerate().map(|(number, line)| {
        let values: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '·' };
        (format!("{:08x}", number * 16), values.join(" "), line.iter().map(letter).collect())
    });
    Peek::Bytes { lines: lines.collect() }
}

fn table(text: &str, separator: u8, whole: bool) -> Peek {
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.delimiter(separator).has_headers(false).flexible(true).from_reader(text.as_bytes());
    // From a text every record can be read.
    let mut records = reader.into_records().map_while(std::result::Result::ok);
    let head = records.next().unwrap_or_default();
    let mut rows: Vec<csv::StringRecord> = records.take(ROWS + 1).collect();
    // The last one may be cut.
    if !whole && rows.len() <= ROWS {
        rows.pop();
    }
    let wide = head.len() > COLUMNS || rows.iter().any(|row| row.len() > COLUMNS);
    let more = rows.len() > ROWS || wide || !whole;
    let narrow = |row: &csv::StringRecord| row.iter().take(COLUMNS).map(short).collect::<Vec<_>>();
    Peek::Table { head: narrow(&head), rows: rows.iter().take(ROWS).map(narrow).collect(), more }
}

/// Cuts a long cell.
fn short(cell: &str) -> String {
    match cell.char_indices().nth(CELL_CHARS) {
        Some((at, _)) => format!("{}…", cell.get(..at).unwrap_or_default()),
        None => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, Peek, image, of};

    fn text(path: &str, content: &str) -> Peek {
        of(path, content.as_bytes(), content.len() as u64)
    }

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn content_is_recognised_by_its_bytes_and_its_name() {
        assert_eq!(text("a.txt", "héllo"), Peek::Text { text: "héllo".to_owned() });
        assert_eq!(text("a.MD", "# a"), Peek::Markdown { text: "# a".to_owned() });
        assert_eq!(text("a", ""), Peek::Empty);
        assert_eq!(text("a.json", "{\"a\":[1]}"), Peek::Text { text: "{\n  \"a\": [\n    1\n  ]\n}".to_owned() });
        assert_eq!(text("a.json", "{broken"), Peek::Text { text: "{broken".to_owned() });
        let Peek::Bytes { lines } = of("a.bin", b"\0\x01AB", 4) else { panic!("bytes") };
        assert_eq!(lines, [("00000000".to_owned(), "00 01 41 42".to_owned(), "··AB".to_owned())]);
        // A letter that is cut at the end of the part is no sign of other bytes.
        assert_eq!(of("a.txt", &"né".as_bytes()[..2], 10), Peek::Text { text: "n".to_owned() });
    }

    #[test]
    fn an_image_is_what_its_bytes_say() {
        assert_eq!(image("a.txt", b"\x89PNG\r\n\x1a\n..."), Some(Image::Png));
        assert_eq!(image("a.png", b"<script>alert(1)</script>"), None);
        assert_eq!(image("a.svg", b"<?xml version=\"1.0\"?><svg/>"), Some(Image::Svg));
        assert_eq!(image("a.html", b"<svg onload=alert(1)>"), None);
        assert_eq!(of("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", 16), Peek::Image);
    }

    #[test]
    fn tables_have_quotes_and_line_ends_in_cells() {
        let Peek::Table { head, rows, more } = text("a.csv", "a,b\r\n1,\"x, \"\"y\"\"\nz\"\n,\n2") else {
            panic!("table")
        };
        assert_eq!(head, cells(&["a", "b"]));
        assert_eq!(rows, [cells(&["1", "x, \"y\"\nz"]), cells(&["", ""]), cells(&["2"])]);
        assert!(!more);
        let long = "1\tx\n".repeat(500);
        let Peek::Table { rows, more, .. } = text("a.tsv", &long) else { panic!("table") };
        assert_eq!((rows.len(), more), (100, true));
        let Peek::Table { rows, more, .. } = of("a.csv", b"a\n1\n2", 100) else { panic!("table") };
        assert_eq!((rows, more), (vec![cells(&["1"])], true), "a record that is cut is left out");
    }
}
