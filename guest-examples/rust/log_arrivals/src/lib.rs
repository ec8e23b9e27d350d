//! Logs the files that arrived in the resource `data_store`: path, version, size and first line of
//! each input of this run.

use anacostia_guest::resources::{self, Reader};
use anacostia_guest::{Outcome, Result, chunks, log, run_context};

anacostia_guest::action!(run);

/// A longer first line is cut here, so that a file with a single line does not fill the log.
const FIRST_LINE_BYTES: usize = 200;
/// The file is read in pieces of this size until the first line ends.
const CHUNK_BYTES: u32 = 4096;

fn run() -> Result<Outcome> {
    let arrived = resources::inputs("data_store")?;
    for (done, artifact) in arrived.iter().enumerate() {
        let reader = resources::open(&artifact.id)?;
        let first_line = first_line(&reader)?;
        log::info(
            &format!("{} has arrived", artifact.path),
            &[("version", &artifact.version), ("size", &artifact.size), ("first_line", &first_line)],
        );
        run_context::progress((done + 1) as f64 / arrived.len() as f64, &artifact.path);
    }
    Ok(Outcome::Done(Some(format!("{} arrived", arrived.len()))))
}

/// Returns the text before the first line break. Reads only as much of the file as needed.
fn first_line(reader: &Reader) -> Result<String> {
    let mut line = Vec::new();
    for chunk in chunks(reader, CHUNK_BYTES) {
        let chunk = chunk?;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        line.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
        if end.is_some() || line.len() > FIRST_LINE_BYTES {
            break;
        }
    }
    line.truncate(FIRST_LINE_BYTES);
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
