//! The statements of an attempt, as JSON lines: the grant under which they were made, then one line
//! for each statement. So a host that publishes them later needs nothing else.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Lines};
use std::path::Path;

use crate::resource::{SqlGrant, SqlStatement};

/// The statements of an attempt, one after another.
pub(super) struct Journal {
    /// What they may do.
    pub(super) grant: SqlGrant,
    lines: Lines<BufReader<File>>,
}

impl Journal {
    /// Opens the journal at a path.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut lines = BufReader::new(File::open(path)?).lines();
        let first = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
        Ok(Self { grant: serde_json::from_str(&first)?, lines })
    }
}

impl Iterator for Journal {
    type Item = io::Result<SqlStatement>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(line.and_then(|line| Ok(serde_json::from_str(&line)?)))
    }
}
