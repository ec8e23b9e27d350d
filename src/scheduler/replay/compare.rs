//! Compares the outputs of a replay with those on record.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::base::{Digest, RunId, escape};
use crate::model::{Artifact, StagedFile};
use crate::resource::{Content, Reader, Writer};
use crate::scheduler::definition::Definition;
use crate::store::{MetadataStore, Result};

/// Bytes that are compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The outputs of an attempt: resource and path, and the version that is on record.
pub(super) type Outputs = BTreeMap<(String, String), Artifact>;

/// The first output, by resource and path, that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The resource.
    pub resource: String,
    /// The path.
    pub path: String,
    /// The digest on record; `None` if it was not written then.
    pub recorded: Option<Digest>,
    /// The digest of the replay; `None` if it is not written now.
    pub replayed: Option<Digest>,
    /// The first byte that differs; `None` if the recorded bytes are gone.
    pub byte: Option<u64>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, path, recorded, replayed, byte } = self;
        write!(f, "`{resource}/{}` ", escape(path.as_bytes()))?;
        match (recorded, replayed) {
            (Some(recorded), Some(replayed)) => {
                write!(f, "was {recorded}, and is {replayed} now")?;
                byte.map_or(Ok(()), |byte| write!(f, "; byte {byte} is the first that differs"))
            }
            (Some(_), None) => f.write_str("was written, and is not now"),
            (None, _) => f.write_str("is written now, and was not"),
        }
    }
}

/// Returns the outputs of an action that are on record.
pub(super) async fn outputs_of(
    store: &dyn MetadataStore,
    run: RunId,
    action: &str,
    writes: &[String],
) -> Result<Outputs> {
    let mut all = Outputs::new();
    for resource in writes {
        let outputs = store.outputs(run, resource, &[action.to_owned()]).await?;
        all.extend(outputs.into_iter().map(|artifact| ((resource.clone(), artifact.path.clone()), artifact)));
    }
    Ok(all)
}

/// Returns the first difference between outputs on record and those of a replay.
pub(super) async fn first_difference(
    definition: &Definition,
    recorded: &Outputs,
    staged: &[StagedFile],
) -> Option<Difference> {
    let key = |file: &StagedFile| (file.resource.clone(), file.path.clone());
    let mut replayed: BTreeMap<_, _> = staged.iter().map(|file| (key(file), file)).collect();
    let mut first = None;
    for (place, artifact) in recorded {
        let file = replayed.remove(place);
        if file.map(|file| file.digest) != artifact.digest && first.is_none() {
            first = Some((place.clone(), Some(artifact), file));
        }
    }
    let added = replayed.into_iter().next().map(|(place, file)| (place, None, Some(file)));
    let ((resource, path), artifact, file) =
        [first, added].into_iter().flatten().min_by(|(one, ..), (other, ..)| one.cmp(other))?;
    let byte = match artifact.zip(file) {
        Some((artifact, file)) => first_byte(definition, artifact, file).await,
        None => None,
    };
    let (recorded, replayed) = (artifact.and_then(|artifact| artifact.digest), file.map(|file| file.digest));
    Some(Difference { resource, path, recorded, replayed, byte })
}

/// Returns the first byte that differs between an output on record and that of a replay, if both
/// can be read.
async fn first_byte(definition: &Definition, artifact: &Artifact, file: &StagedFile) -> Option<u64> {
    let resource = definition.services.resources.get(&file.resource)?;
    let now = definition.services.store.artifact(artifact.id).await.ok()??;
    let Artifact { path, size, digest, stamp, .. } = now;
    let mut recorded = resource.open(&Content { path, size, digest, stamp }).await.ok()?;
    let mut replayed = resource.reopen(file).await.ok()?;
    let mut at = 0;
    loop {
        let (one, other) = chunks(&mut *recorded, &mut *replayed, at).await?;
        if let Some(place) = one.iter().zip(&other).position(|(one, other)| one != other) {
            return Some(at + place as u64);
        }
        let same = one.len().min(other.len()) as u64;
        at += same;
        if one.len() != other.len() || same == 0 {
            return Some(at);
        }
    }
}

async fn chunks(recorded: &mut dyn Reader, replayed: &mut dyn Writer, at: u64) -> Option<(Vec<u8>, Vec<u8>)> {
    Some((recorded.read(at, CHUNK_BYTES).await.ok()?, replayed.read_at(at, CHUNK_BYTES).await.ok()?))
}
