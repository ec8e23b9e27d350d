//! Reads the parameters of the query and the ids in the path. Unknown parameters are refused,
//! because a filter that is silently ignored would return the wrong result.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::{Uri, request::Parts};

use super::problem::{Problem, Result, shown};
use crate::base::{ArtifactId, RunId, bounds::MAX_PAGE, read_query};
use crate::scheduler::View;
use crate::store::PageRequest;

/// Number of items of a page if the client gives no limit.
pub(super) const DEFAULT_LIMIT: u32 = 50;

/// Number of attempts in a row that a lineage has if the client gives no `depth`.
pub(super) const DEFAULT_DEPTH: u32 = 3;

/// The parameters of a query. A parameter without a value counts as absent, so that an empty form
/// field does not filter.
#[derive(Debug)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses the query of `uri`. Each parameter must be in `allowed` and occur at most once.
    pub(super) fn parse(uri: &Uri, allowed: &[&str]) -> Result<Self> {
        let mut pairs: Vec<(String, String)> = read_query(uri).map_err(Problem::bad_request)?;
        let mut seen: Vec<&str> = Vec::with_capacity(pairs.len());
        for (name, _) in &pairs {
            if !allowed.contains(&name.as_str()) {
                return Err(Problem::unknown_parameter(name, allowed));
            }
            if seen.contains(&name.as_str()) {
                return Err(Problem::bad_parameter(name, "it is given twice"));
            }
            seen.push(name);
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self { pairs })
    }

    /// Returns a value as it is written.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns a value as an owned string.
    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// Parses a value of a type with a text form.
    pub(super) fn value<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        self.text(name).map(|text| text.parse().map_err(|error| Problem::bad_parameter(name, error))).transpose()
    }

    /// Parses a comma-separated list of words from a fixed set.
    pub(super) fn words<T: FromStr<Err: Display>>(&self, name: &str, allowed: &[&'static str]) -> Result<Vec<T>> {
        let words = self.text(name).into_iter().flat_map(|text| text.split(','));
        words
            .map(|word| {
                word.parse().map_err(|error| Problem::bad_parameter(name, error).choices(word, allowed.iter().copied()))
            })
            .collect()
    }

    /// Reads `limit` and `cursor`.
    pub(super) fn page(&self) -> Result<PageRequest> {
        Ok(PageRequest { cursor: self.owned("cursor"), limit: self.limit()? })
    }

    /// Reads `limit`.
    pub(super) fn limit(&self) -> Result<u32> {
        self.number("limit", DEFAULT_LIMIT, MAX_PAGE)
    }

    /// Reads a number from 1 to `most`.
    pub(super) fn number(&self, name: &str, default: u32, most: u32) -> Result<u32> {
        let number = self.text(name).map_or(Ok(default), str::parse).ok();
        let why = || Problem::bad_parameter(name, format!("it must be 1 to {most}"));
        number.filter(|number| (1..=most).contains(number)).ok_or_else(why)
    }

    /// Reads a run, by id or number.
    pub(super) async fn run(&self, view: &View, name: &str) -> Result<Option<RunId>> {
        match self.text(name) {
            Some(text) => Ok(Some(find_run(view, text).await?)),
            None => Ok(None),
        }
    }
}

/// The variable part of the path, such as an id.
#[derive(Debug)]
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        Ok(Self(text))
    }
}

/// The two variable parts of the path, such as an id and a name.
#[derive(Debug)]
pub(super) struct Segments(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path((first, second)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        Ok(Self(first, second))
    }
}

/// Returns the id of the run that `text` names by UUID or number.
pub(super) async fn find_run(view: &View, text: &str) -> Result<RunId> {
    if let Ok(number) = text.parse::<u64>() {
        let id = view.store.run_by_number(number).await?;
        return id.ok_or_else(|| Problem::not_found(format!("there is no run {number}")));
    }
    text.parse().map_err(|_| {
        Problem::bad_request(format!("`{}` does not name a run: write its number or its UUID", shown(text)))
    })
}

/// Parses an artifact id.
pub(super) fn artifact_id(text: &str) -> Result<ArtifactId> {
    text.parse()
        .map_err(|_| Problem::bad_request(format!("`{}` does not name an artifact: write its UUID", shown(text))))
}

#[cfg(test)]
mod tests {
    use super::Query;

    fn parse(query: &str) -> Result<Query, String> {
        let uri = format!("/x?{query}").parse().unwrap();
        Query::parse(&uri, &["state", "limit", "cursor"]).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn values_are_decoded_and_empty_ones_are_absent() {
        let query = parse("state=a%20b+c&cursor=&limit=7").unwrap();
        assert_eq!(query.text("state"), Some("a b c"));
        assert_eq!(query.text("cursor"), None);
        assert_eq!(query.page().unwrap().limit, 7);
    }

    #[test]
    fn unknown_repeated_and_invalid_parameters_are_refused() {
        assert!(parse("limt=7").unwrap_err().contains("did_you_mean: Some(\"limit\")"));
        assert!(parse("limit=7&limit=8").unwrap_err().contains("twice"));
        for bad in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=99999999999999999999"] {
            assert!(parse(bad).unwrap().limit().is_err(), "{bad}");
        }
    }
}
