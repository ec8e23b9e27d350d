//! Reads the end of a log first: a person who opens the log of a long attempt wants to see its last
//! lines at once, however many come before them.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::segment::{find_segments, path_of};

/// How many bytes are read at once.
const BLOCK_BYTES: u64 = 256 << 10;
/// The most bytes that one call reads.
const MAX_SCAN_BYTES: u64 = 64 << 20;

/// A segment, and a byte in it.
pub(super) type Place = (u64, u64);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The lines with their places, the last one first.
    pub(super) lines: Vec<(Place, Vec<u8>)>,
    /// The place at which reading stopped, if there is more before it.
    pub(super) stopped: Option<Place>,
    /// Whether segments are missing in the part that was asked for.
    pub(super) removed: bool,
}

/// Returns the last lines between two places that are wanted, `limit` of them at most.
pub(super) fn last_lines(
    folder: &Path,
    (from, end): (Place, Place),
    limit: usize,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> io::Result<Found> {
    let mut search = Search { wanted, limit, left: MAX_SCAN_BYTES, found: Found::default() };
    let segments = find_segments(folder)?;
    let mut expected = end.0;
    for segment in segments.into_iter().rev().filter(|segment| *segment <= end.0) {
        if segment < from.0 {
            break;
        }
        search.found.removed |= segment < expected;
        expected = segment.saturating_sub(1);
        let low = if segment == from.0 { from.1 } else { 0 };
        let mut file = match File::open(path_of(folder, segment)) {
            Ok(file) => file,
            // It was removed since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                search.found.removed = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let high = if segment == end.0 { end.1.min(length) } else { length };
        if search.segment(&mut file, segment, (low, high))? {
            return Ok(search.found);
        }
    }
    search.found.removed |= expected >= from.0.max(1);
    Ok(search.found)
}

struct Search<'a> {
    wanted: &'a dyn Fn(&[u8]) -> bool,
    limit: usize,
    /// How many bytes may still be read.
    left: u64,
    found: Found,
}

impl Search<'_> {
    /// Goes through a part of a segment from its end. Returns whether that is enough.
    fn segment(&mut self, file: &mut File, segment: u64, (low, high): (u64, u64)) -> io::Result<bool> {
        let mut at = high;
        // The end of a line whose beginning is in the block before.
        let mut rest: Vec<u8> = Vec::new();
        while at > low {
            if self.left == 0 {
                self.found.stopped = Some((segment, at + rest.len() as u64));
                return Ok(true);
            }
            let begin = at.saturating_sub(BLOCK_BYTES).max(low);
            let mut block = Vec::new();
            file.seek(SeekFrom::Start(begin))?;
            file.by_ref().take(at - begin).read_to_end(&mut block)?;
            self.left = self.left.saturating_sub(at - begin);
            block.append(&mut rest);
            // The part starts with a line. A block in its middle may start within one.
            let whole =
                if begin == low { Some(0) } else { block.iter().position(|byte| *byte == b'\n').map(|at| at + 1) };
            let Some(whole) = whole else {
                (at, rest) = (begin, block);
                continue;
            };
            let lines = block.split_off(whole);
            if self.lines(&lines, segment, begin + whole as u64) {
                return Ok(true);
            }
            (at, rest) = (begin, block);
        }
        Ok(false)
    }

    /// Takes the wanted lines out of whole lines, the last one first. Returns whether that is
    /// enough.
    fn lines(&mut self, text: &[u8], segment: u64, begin: u64) -> bool {
        let mut end = text.len() as u64;
        for line in text.split_inclusive(|byte| *byte == b'\n').rev() {
            end -= line.len() as u64;
            // A line without its end is still being written.
            if line.last() == Some(&b'\n') && (self.wanted)(line) {
                let place = (segment, begin + end);
                self.found.lines.push((place, line.to_vec()));
                if self.found.lines.len() >= self.limit {
                    self.found.stopped = Some(place);
                    return true;
                }
            }
        }
        false
    }
}
