//! The artifacts that `anacostia trigger --inputs` starts runs on.

use globset::{GlobBuilder, GlobMatcher};

use crate::base::bounds::MAX_PAGE;
use crate::base::{TimeSpan, Timestamp};
use crate::cli::records::Records;
use crate::cli::{Failure, show};
use crate::model::{Artifact, ArtifactState};
use crate::store::{ArtifactQuery, PageRequest};

/// A resource, and the paths in it.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    resource: String,
    paths: Option<(String, GlobMatcher)>,
}

/// Parses `RESOURCE` or `RESOURCE/GLOB`.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    let (resource, glob) = text.split_once('/').map_or((text, None), |(resource, glob)| (resource, Some(glob)));
    let paths = match glob {
        None => None,
        Some(glob) => {
            let built = GlobBuilder::new(glob).literal_separator(true).build();
            Some((glob.to_owned(), built.map_err(|why| format!("{}", why.kind()))?.compile_matcher()))
        }
    };
    Ok(Pattern { resource: resource.to_owned(), paths })
}

impl Pattern {
    /// Returns whether an artifact of the resource matches. A path that is written out matches
    /// itself, also with characters that mean something in a glob.
    fn matches(&self, path: &str) -> bool {
        self.paths.as_ref().is_none_or(|(text, glob)| text == path || glob.is_match(path))
    }
}

/// Parses a date or a time (UTC), or a span that ends now.
pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(TimeSpan(span)) = text.parse() {
        let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_micros(now.as_micros().saturating_sub(span)));
    }
    let full = if text.contains(['T', ' ']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
    full.parse()
        .map_err(|_| "write a date (2026-03-01), a time (2026-03-01T12:00:00Z), or how long ago (2h, 7d)".to_owned())
}

/// Returns the artifacts that are still in their resources and match, oldest first.
///
/// # Errors
/// When the records cannot be read, or the manifest has no such resource.
pub(super) fn select(
    records: &Records,
    patterns: &[Pattern],
    state: Option<ArtifactState>,
    since: Option<Timestamp>,
) -> Result<Vec<Artifact>, Failure> {
    let mut found: Vec<Artifact> = Vec::new();
    for pattern in patterns {
        let resources = &records.pipeline.resources;
        if !resources.iter().any(|resource| resource.name == pattern.resource) {
            let names: Vec<&str> = resources.iter().map(|resource| resource.name.as_str()).collect();
            let name = show::plain(&pattern.resource);
            return Err(Failure::usage(format!("there is no resource `{name}`; there are {}", names.join(", "))));
        }
        let mut cursor = None;
        loop {
            let query = ArtifactQuery { resource: Some(pattern.resource.clone()), state, ..ArtifactQuery::default() };
            let page = records.ask(records.store.artifacts(query, PageRequest { cursor, limit: MAX_PAGE }))?;
            found.extend(page.items.into_iter().filter(|it| {
                it.present
                    && it.state != ArtifactState::Ignored
                    && since.is_none_or(|since| it.created_at >= since)
                    && pattern.matches(&it.path)
            }));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    // Ids grow with the time at which they were made.
    found.sort_by_key(|it| it.id);
    found.dedup_by_key(|it| it.id);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{pattern, since};
    use crate::base::Timestamp;

    #[test]
    fn a_pattern_has_a_resource_and_paths() {
        let all = pattern("raw").unwrap();
        assert!(all.resource == "raw" && all.matches("a/b.csv"));
        let march = pattern("raw/2026-03-*").unwrap();
        assert!(march.matches("2026-03-01.csv") && !march.matches("2026-04-01.csv") && !march.matches("2026-03-/x"));
        let deep = pattern("raw/**/*.csv").unwrap();
        assert!(deep.matches("a/b/c.csv") && deep.matches("c.csv") && !deep.matches("c.txt"));
        assert!(pattern("raw/a[1].csv").unwrap().matches("a[1].csv"), "the path is taken literally");
        assert!(pattern("raw/[").is_err());
    }

    #[test]
    fn since_accepts_a_date_a_time_or_a_duration() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = time("2026-03-08T12:00:00Z");
        assert_eq!(since("2026-03-01", now), Ok(time("2026-03-01T00:00:00Z")));
        assert_eq!(since("2026-03-01T12:30:00Z", now), Ok(time("2026-03-01T12:30:00Z")));
        assert_eq!(since("7d", now), Ok(time("2026-03-01T12:00:00Z")));
        let why = "write a date (2026-03-01), a time (2026-03-01T12:00:00Z), or how long ago (2h, 7d)";
        assert_eq!(since("yesterday", now).unwrap_err(), why);
    }
}
