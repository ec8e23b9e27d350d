//! The files of a log.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::base::Timestamp;

/// How many bytes are read at once, from the end, to find the last whole line.
const STEP_BYTES: u64 = 64 << 10;

/// The bytes at the beginning of a line that have its time.
const FIRST_BYTES: u64 = 64;

/// Returns the path of a segment.
pub(super) fn path_of(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:08}.jsonl"))
}

/// Lists the numbers of the segments in a folder, ascending. Ignores other files.
pub(super) fn find_segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|it| it.parse::<u64>().ok());
        found.extend(number.filter(|number| *number > 0));
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns the time of the first line of a segment; `None` if it has none.
pub(super) fn first_time(path: &Path) -> io::Result<Option<Timestamp>> {
    let mut begin = Vec::new();
    File::open(path)?.take(FIRST_BYTES).read_to_end(&mut begin)?;
    let text = std::str::from_utf8(&begin).ok().and_then(|begin| begin.strip_prefix("{\"t\":\""));
    Ok(text.and_then(|text| text.split('"').next()?.parse().ok()))
}

/// Truncates a file after its last line feed, and returns its new length.
pub(super) fn cut_at_last_line(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut bytes = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP_BYTES);
        file.seek(SeekFrom::Start(start))?;
        bytes.clear();
        file.take(end - start).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}
