//! Steps that read and write artifacts.

use anacostia_guest::resources::{self, CreateOptions, Filter, Reader, Writer};
use anacostia_guest::{Artifact, CHUNK_BYTES, Error, Result, chunks, log, metadata};
use serde::Deserialize;

use crate::flow::sleep_ms;
use crate::text::fill;

fn chunk_bytes() -> u32 {
    CHUNK_BYTES
}

fn yes() -> bool {
    true
}

/// Copies each input in `from` to the same path in `to`, after `prefix`, with the text `append` at
/// the end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    from: String,
    to: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    append: String,
    #[serde(default)]
    overwrite: bool,
    #[serde(default = "chunk_bytes")]
    chunk: u32,
}

impl Copy {
    pub fn perform(&self) -> Result<()> {
        for input in resources::inputs(&self.from)? {
            let reader = resources::open(&input.id)?;
            let path = format!("{}{}", fill(&self.prefix), input.path);
            let writer = resources::create(&self.to, &path, CreateOptions { overwrite: self.overwrite })?;
            for chunk in chunks(&reader, self.chunk) {
                writer.write(&chunk?)?;
            }
            writer.write(fill(&self.append).as_bytes())?;
            let copied = writer.finish()?;
            say("copied", &copied);
        }
        Ok(())
    }
}

/// Writes a table of the inputs in `from` to `path` in `to`: one line `PATH VERSION DIGEST SIZE`
/// for each, sorted by path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summarise {
    from: String,
    to: String,
    path: String,
    #[serde(default)]
    overwrite: bool,
    /// How many inputs to request at a time. The default is all.
    page: Option<u32>,
}

impl Summarise {
    fn inputs(&self) -> Result<Vec<Artifact>> {
        let Some(limit) = self.page else { return resources::inputs(&self.from) };
        let mut all: Vec<Artifact> = Vec::new();
        loop {
            let page = resources::inputs_page(&self.from, all.last().map(|last| last.id.as_str()), Some(limit))?;
            let is_last = page.len() < limit as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    pub fn perform(&self) -> Result<()> {
        let writer = resources::create(&self.to, &fill(&self.path), CreateOptions { overwrite: self.overwrite })?;
        for input in self.inputs()? {
            writer.write(format!("{} {} {} {}\n", input.path, input.version, input.digest, input.size).as_bytes())?;
        }
        say("summarised", &writer.finish()?);
        Ok(())
    }
}

/// Writes `text`, or otherwise `bytes` bytes of a fixed pattern, to `path` in `to`. With `tag`,
/// tags the artifact. With `finish = false` drops the writer, so that nothing is published.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    to: String,
    path: String,
    text: Option<String>,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    overwrite: bool,
    #[serde(default = "yes")]
    finish: bool,
    tag: Option<String>,
    #[serde(default)]
    unique: bool,
    #[serde(default = "chunk_bytes")]
    chunk: u32,
}

impl Write {
    pub fn perform(&self) -> Result<()> {
        let writer = resources::create(&self.to, &fill(&self.path), CreateOptions { overwrite: self.overwrite })?;
        match &self.text {
            Some(text) => writer.write(fill(text).as_bytes())?,
            None => self.write_pattern(&writer)?,
        }
        if !self.finish {
            return Ok(());
        }
        let written = writer.finish()?;
        if let Some(tag) = &self.tag {
            metadata::tag_artifact(&written.id, tag, self.unique)?;
        }
        say("wrote", &written);
        Ok(())
    }

    /// Byte n of the pattern is n modulo 251, a prime, so that consecutive chunks differ.
    fn write_pattern(&self, writer: &Writer) -> Result<()> {
        let mut written = 0;
        while written < self.bytes {
            let end = self.bytes.min(written + u64::from(self.chunk.max(1)));
            let chunk: Vec<u8> = (written..end).map(|n| (n % 251) as u8).collect();
            writer.write(&chunk)?;
            written = end;
        }
        Ok(())
    }
}

/// Reads each input in `from` to its end, and waits `pause_ms` between the chunks. Fails if the
/// number of bytes is not the recorded size.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    from: String,
    #[serde(default = "chunk_bytes")]
    chunk: u32,
    #[serde(default)]
    pause_ms: u64,
}

impl Read {
    pub fn perform(&self) -> Result<()> {
        for input in resources::inputs(&self.from)? {
            let reader = resources::open(&input.id)?;
            let size = read_all(&reader, self.chunk, self.pause_ms)?;
            if size != input.size || reader.artifact().id != input.id {
                return Err(Error::permanent(format!(
                    "{} gave {size} bytes, its record says {}",
                    input.path, input.size
                )));
            }
            say("read", &input);
        }
        Ok(())
    }
}

/// Reads the first input in `from` over and over until that fails, and fails with that error. Logs
/// `reading PATH` at the beginning: a test waits for that line before it changes the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadForever {
    from: String,
}

impl ReadForever {
    pub fn perform(&self) -> Result<()> {
        let inputs = resources::inputs(&self.from)?;
        let input = inputs.first().ok_or_else(|| Error::permanent(format!("no inputs in {}", self.from)))?;
        let reader = resources::open(&input.id)?;
        say("reading", input);
        loop {
            read_all(&reader, CHUNK_BYTES, 0)?;
            sleep_ms(2);
        }
    }
}

/// Reads `length` bytes from `offset` of the artifact at `path` in `from`, and logs them as text.
/// With `expect`, fails if they differ.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadRange {
    from: String,
    path: String,
    #[serde(default)]
    offset: u64,
    length: u32,
    expect: Option<String>,
}

impl ReadRange {
    pub fn perform(&self) -> Result<()> {
        let reader = resources::open_path(&self.from, &fill(&self.path))?;
        let bytes = reader.read(self.offset, self.length)?;
        let text = String::from_utf8_lossy(&bytes);
        log::info(&format!("range {text}"), &[("path", &self.path), ("offset", &self.offset)]);
        match &self.expect {
            Some(expected) if *expected != text => Err(unexpected(&self.path, expected, &text)),
            _ => Ok(()),
        }
    }
}

/// Lists `from` page by page, and logs each artifact as `listed PATH`. With `expect`, fails if the
/// paths differ. With `open_after_ms`, waits that long, opens each artifact by its id, and logs its
/// content as `opened PATH CONTENT`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    from: String,
    prefix: Option<String>,
    page: Option<u32>,
    expect: Option<Vec<String>>,
    open_after_ms: Option<u64>,
}

impl List {
    pub fn perform(&self) -> Result<()> {
        let mut paths: Vec<String> = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        loop {
            let filter = Filter { prefix: self.prefix.clone(), after: paths.last().cloned(), limit: self.page };
            let page = resources::list(&self.from, &filter)?;
            if page.is_empty() {
                break;
            }
            page.iter().for_each(|artifact| say("listed", artifact));
            ids.extend(page.iter().map(|artifact| artifact.id.clone()));
            paths.extend(page.into_iter().map(|artifact| artifact.path));
        }
        if let Some(pause) = self.open_after_ms {
            sleep_ms(pause);
            for (id, path) in ids.iter().zip(&paths) {
                let bytes = resources::open(id)?.read(0, CHUNK_BYTES)?;
                log::info(&format!("opened {path} {}", String::from_utf8_lossy(&bytes)), &[]);
            }
        }
        match &self.expect {
            Some(expected) if *expected != paths => {
                Err(unexpected(&self.from, &expected.join(", "), &paths.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

fn read_all(reader: &Reader, chunk: u32, pause_ms: u64) -> Result<u64> {
    let mut size = 0;
    for bytes in chunks(reader, chunk) {
        size += bytes?.len() as u64;
        if pause_ms > 0 {
            sleep_ms(pause_ms);
        }
    }
    Ok(size)
}

fn unexpected(what: &str, expected: &str, seen: &str) -> Error {
    Error::permanent(format!("{what}: expected \"{expected}\", saw \"{seen}\""))
}

/// Logs one line about an artifact, in the format that tests expect.
fn say(verb: &str, artifact: &Artifact) {
    log::info(
        &format!("{verb} {}", artifact.path),
        &[
            ("resource", &artifact.resource),
            ("version", &artifact.version),
            ("digest", &artifact.digest),
            ("size", &artifact.size),
        ],
    );
}
