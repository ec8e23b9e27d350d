//! `anacostia artifacts cat`: writes the bytes of the recorded version, or fails; it never writes
//! those of another version.

use std::io::Write as _;
use std::sync::Arc;

use super::find::{ArtifactRef, find};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::{End, Failure, out, show};
use crate::model::{Artifact, ArtifactState};
use crate::resource::{self, Content, Resource, ResourceError};

/// Bytes that are read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The artifact: RESOURCE/PATH (its newest version), RESOURCE/PATH@VERSION, or its id
    artifact: ArtifactRef,
    #[command(flatten)]
    path: PathArg,
}

pub(crate) fn cat(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let artifact = find(&records, &args.artifact)?;
    let (resource, content) = lies_at(&records, &artifact)?;
    let name = show::plain(&format!("{}/{}", artifact.resource, artifact.path));
    let failed = |error: ResourceError| Failure::work(format!("failed to read `{name}`: {error}"));
    let mut reader = records.wait(resource.open(&content)).map_err(failed)?;
    let mut stream = std::io::stdout().lock();
    let person = out::person_reads();
    let mut at = 0;
    while at < artifact.size {
        let chunk = records.wait(reader.read(at, CHUNK_BYTES)).map_err(failed)?;
        if chunk.is_empty() {
            return Err(Failure::work(format!("`{name}` is shorter than what was recorded")));
        }
        if person && !harmless(&chunk) {
            return Err(Failure::usage(format!(
                "`{name}` contains bytes that are not text and could affect the terminal; send them to a file or a program"
            )));
        }
        stream.write_all(&chunk).map_err(out::unwritten)?;
        at += chunk.len() as u64;
    }
    stream.flush().map_err(out::unwritten)?;
    Ok(End::Well)
}

/// Returns where the bytes of this version are stored, if they still exist.
fn lies_at(records: &Records, artifact: &Artifact) -> Result<(Arc<dyn Resource>, Content), Failure> {
    let Artifact { resource, path, version, digest, size, stamp, .. } = artifact;
    let name = show::plain(&format!("{resource}/{path}"));
    if artifact.state == ArtifactState::Ignored {
        let why = artifact.reason.as_deref().unwrap_or("it was ignored");
        return Err(Failure::usage(format!("`{name}` has no content: {}", show::plain(why))));
    }
    if !artifact.is_readable() {
        let why = "it was overwritten or deleted, and only its record is left";
        return Err(Failure::usage(format!("version {version} of `{name}` is gone: {why}")));
    }
    let Some(spec) = records.pipeline.resource(resource) else {
        return Err(Failure::usage(format!("the manifest has no resource `{resource}` any more")));
    };
    let resource = resource::open(spec, records.pipeline.durability, &records.pipeline.state)
        .map_err(|error| Failure::Work(error.into()))?;
    Ok((resource, Content { path: path.clone(), size: *size, digest: *digest, stamp: stamp.clone() }))
}

/// Whether the bytes contain nothing that controls a terminal. A character that is cut by the end
/// of a chunk has no effect on a terminal.
fn harmless(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().all(|chunk| {
        chunk.valid().chars().all(|c| matches!(c, '\n' | '\t' | '\r') || !c.is_control())
            && chunk.invalid().iter().all(|byte| *byte >= 0xc0)
    })
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn control_characters_are_found_and_plain_text_is_not() {
        assert!(harmless("a,b\r\n\t日本ä".as_bytes()) && harmless(b"") && harmless(&"ä".as_bytes()[..1]));
        for bytes in [&b"\x1b[2J"[..], b"a\0b", b"\x9b2J", "\u{9b}2J".as_bytes()] {
            assert!(!harmless(bytes), "{bytes:?}");
        }
    }
}
