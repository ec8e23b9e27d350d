//! The names of the columns of a table in a text file.

use std::path::Path;
use std::time::Duration;

use crate::model::Artifact;
use crate::sandbox::open_version;
use crate::scheduler::View;

/// How much of a file is read for them.
const HEAD_BYTES: usize = 64 << 10;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns whether the name of an artifact says that it is such a table.
pub(super) fn is_table(artifact: &Artifact) -> bool {
    delimiter(&artifact.path).is_some()
}

/// Returns the names in the first line of an artifact whose name says that it is such a table.
/// `None` if it is none, cannot be read any more, or its first line is not one of names.
pub(super) async fn columns(view: &View, artifact: &Artifact) -> Option<Vec<String>> {
    let delimiter = delimiter(&artifact.path)?;
    let resource = view.resources.get(&artifact.resource).filter(|_| artifact.is_readable())?;
    let length = usize::try_from(artifact.size).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
    let head = tokio::time::timeout(PATIENCE, async {
        let mut reader = open_version(view.store.as_ref(), resource.as_ref(), artifact).await.ok()?;
        reader.read(0, length).await.ok()
    });
    names(&head.await.ok()??, delimiter)
}

fn delimiter(path: &str) -> Option<u8> {
    let kind = Path::new(path).extension()?;
    if kind.eq_ignore_ascii_case("csv") { Some(b',') } else { kind.eq_ignore_ascii_case("tsv").then_some(b'\t') }
}

/// Returns the names in the first line. A line with an empty cell, a number or a cell twice is a
/// row of data: to say nothing is better than to take data for names.
fn names(head: &[u8], delimiter: u8) -> Option<Vec<String>> {
    // Without its end, the last cell might be cut off.
    let end = head.iter().position(|byte| *byte == b'\n').or((head.len() < HEAD_BYTES).then_some(head.len()))?;
    let line = head.get(..end)?;
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let mut rows = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(line);
    let row = rows.records().next()?.ok()?;
    let names: Vec<String> = row.iter().map(|cell| cell.trim().to_owned()).collect();
    let is_name = |(at, name): (usize, &String)| {
        !name.is_empty() && name.parse::<f64>().is_err() && names.iter().position(|other| other == name) == Some(at)
    };
    names.iter().enumerate().all(is_name).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES, delimiter, names};

    #[test]
    fn names_are_read_from_the_first_line_if_it_has_some() {
        let read = |text: &str| names(text.as_bytes(), b',').unwrap_or_default().join("|");
        assert_eq!(read("a,b\n1,2\n"), "a|b");
        assert_eq!(read("\u{feff}a,\"b, c\" \r\n1,2\n"), "a|b, c");
        assert_eq!(read("a"), "a");
        for data in ["", "\n", "a,1\n", "a,,b\n", "a,a\n", "a,NaN\n"] {
            assert_eq!(read(data), "", "{data:?}");
        }
        assert_eq!(names(b"\xff,b\n", b','), None);
        assert_eq!(names("a".repeat(HEAD_BYTES).as_bytes(), b','), None);
        assert_eq!([delimiter("x/Y.CSV"), delimiter("a.tsv"), delimiter("a.txt")], [Some(b','), Some(b'\t'), None]);
    }
}
