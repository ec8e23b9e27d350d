//! Finds the artifact that an argument names.

use std::str::FromStr;

use crate::base::ArtifactId;
use crate::base::bounds::MAX_PAGE;
use crate::cli::Failure;
use crate::cli::records::Records;
use crate::cli::show::plain;
use crate::model::Artifact;
use crate::store::{ArtifactQuery, PageRequest};

/// An artifact as users name it: by its id, or by resource and path, with a version if it is not
/// the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArtifactRef {
    Id(ArtifactId),
    Place { resource: String, path: String },
}

impl FromStr for ArtifactRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        match text.split_once('/') {
            Some((resource, path)) if !resource.is_empty() && !path.is_empty() => {
                Ok(Self::Place { resource: resource.to_owned(), path: path.to_owned() })
            }
            _ => Err(
                "an artifact is named by RESOURCE/PATH (the newest version), RESOURCE/PATH@VERSION, or its id (a UUID)"
                    .to_owned(),
            ),
        }
    }
}

/// Finds the artifact. If a path ends in `@` and a number, an artifact with exactly this path comes
/// first.
pub(crate) fn find(records: &Records, wanted: &ArtifactRef) -> Result<Artifact, Failure> {
    match wanted {
        ArtifactRef::Id(id) => {
            let found = records.ask(records.store.artifact(*id))?;
            found.ok_or_else(|| missing(&format!("artifact {id}")))
        }
        ArtifactRef::Place { resource, path } => {
            if let Some(newest) = version_of(records, resource, path, None)? {
                return Ok(newest);
            }
            let Some((path, version)) = with_version(path) else {
                return Err(missing(&format!("artifact `{resource}/{path}`")));
            };
            let found = version_of(records, resource, path, Some(version))?;
            found.ok_or_else(|| missing(&format!("version {version} of `{resource}/{path}`")))
        }
    }
}

fn missing(what: &str) -> Failure {
    Failure::usage(format!("there is no {}; `anacostia artifacts list` shows what is on record", plain(what)))
}

/// Splits `path@3` into path and version.
fn with_version(path: &str) -> Option<(&str, u64)> {
    let (path, version) = path.rsplit_once('@')?;
    Some((path, version.trim_start_matches('v').parse().ok()?))
}

/// Returns this version of the artifact at a path, or the newest one.
fn version_of(
    records: &Records,
    resource: &str,
    path: &str,
    version: Option<u64>,
) -> Result<Option<Artifact>, Failure> {
    let query =
        ArtifactQuery { resource: Some(resource.to_owned()), path: Some(path.to_owned()), ..ArtifactQuery::default() };
    let mut cursor = None;
    loop {
        let limit = if version.is_some() { MAX_PAGE } else { 1 };
        let page = records.ask(records.store.artifacts(query.clone(), PageRequest { cursor, limit }))?;
        let found = page.items.into_iter().find(|it| version.is_none_or(|version| it.version == version));
        if found.is_some() || page.next_cursor.is_none() {
            return Ok(found);
        }
        cursor = page.next_cursor;
    }
}

#[cfg(test)]
mod tests {
    use super::{ArtifactRef, with_version};
    use crate::base::ArtifactId;

    #[test]
    fn an_artifact_is_found_by_id_or_path() {
        let id = ArtifactId::new();
        assert_eq!(id.to_string().parse(), Ok(ArtifactRef::Id(id)));
        let place = ArtifactRef::Place { resource: "raw".to_owned(), path: "a/b.csv@2".to_owned() };
        assert_eq!("raw/a/b.csv@2".parse(), Ok(place));
        for bad in ["", "raw", "/a", "raw/"] {
            assert!(bad.parse::<ArtifactRef>().unwrap_err().contains("RESOURCE/PATH@VERSION"), "{bad}");
        }
        assert_eq!(["a@2", "a@v12", "a@b@3"].map(with_version), [Some(("a", 2)), Some(("a", 12)), Some(("a@b", 3))]);
        assert_eq!(["a", "a@", "a@x"].map(with_version), [None; 3]);
    }
}
