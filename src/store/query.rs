//! The queries of a store, and results that are not in the model.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::bounds::{MAX_FILTER_VALUE_CHARS, cut};
use crate::base::{ArtifactId, AttemptId, RunId, Timestamp};
use crate::model::{AccessKind, Approval, Artifact, ArtifactState, Attempt, Denial, RunState, StagedFile};

/// Selects a page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// `next_cursor` of the page before; `None` for the first.
    pub cursor: Option<String>,
    /// At most this many items, clamped to 1 to [`crate::base::bounds::MAX_PAGE`].
    pub limit: u32,
}

/// Selects runs. An empty query selects all. A run must fit everything that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only those in one of these states; empty: in any.
    pub states: Vec<RunState>,
    /// Only those that the trigger of this name led to, alone or with others.
    pub trigger: Option<String>,
    /// Only those that were created at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that were created before this time.
    pub until: Option<Timestamp>,
    /// Only those with this param.
    pub param: Option<ParamFilter>,
    /// Only those with this tag.
    pub tag: Option<TagFilter>,
    /// Only runs before this one (by number), for a guest that looks back.
    pub before_run: Option<u64>,
    /// Their order.
    pub sort: RunSort,
}

/// The order of a list of runs. A cursor belongs to one order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunSort {
    /// By number, the newest first.
    #[default]
    Newest,
    /// By number, the oldest first.
    Oldest,
    /// Those that have started and ended, by the time between the two, the longest first.
    Longest,
    /// The same, the shortest first.
    Shortest,
}

impl RunSort {
    /// Every order.
    pub const ALL: [Self; 4] = [Self::Newest, Self::Oldest, Self::Longest, Self::Shortest];

    /// Returns the public word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Longest => "longest",
            Self::Shortest => "shortest",
        }
    }
}

impl fmt::Display for RunSort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RunSort {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|sort| sort.as_str() == text);
        found.ok_or_else(|| FilterError::NoSort(cut(text, 100).into_owned()))
    }
}

/// A param of a run: one that the run was given, or one that an action recorded. Its text form is
/// `NAME=VALUE`. The value of a given param that is not a text is compared as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamFilter {
    /// Its name.
    pub name: String,
    /// Its whole value, at most [`MAX_FILTER_VALUE_CHARS`] characters.
    pub value: String,
}

/// A tag of a run. Its text form is `NAME` or `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagFilter {
    /// Its name.
    pub name: String,
    /// Its whole value, at most [`MAX_FILTER_VALUE_CHARS`] characters; `None` for any.
    pub value: Option<String>,
}

/// The error for a text that is not a valid filter or order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It has no value.
    #[error("`{0}` has no value: write NAME=VALUE, such as lr=0.1")]
    NoValue(String),
    /// It has no name.
    #[error("`{0}` has no name before `=`")]
    NoName(String),
    /// Its value is too long.
    #[error("the value of `{0}` is too long: a filter value has at most {MAX_FILTER_VALUE_CHARS} characters")]
    TooLong(String),
    /// It is not an order.
    #[error("`{0}` is not an order of runs: newest, oldest, longest or shortest")]
    NoSort(String),
}

fn checked(name: &str, value: &str) -> Result<(), FilterError> {
    if name.is_empty() {
        return Err(FilterError::NoName(cut(&format!("={value}"), 100).into_owned()));
    }
    if value.chars().count() > MAX_FILTER_VALUE_CHARS {
        return Err(FilterError::TooLong(cut(name, 100).into_owned()));
    }
    Ok(())
}

impl FromStr for ParamFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or_else(|| FilterError::NoValue(cut(text, 100).into_owned()))?;
        checked(name, value)?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl FromStr for TagFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        checked(name, value.unwrap_or_default())?;
        Ok(Self { name: name.to_owned(), value: value.map(str::to_owned) })
    }
}

/// Selects artifacts. An empty query selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactQuery {
    /// Only of this resource.
    pub resource: Option<String>,
    /// Only at this path.
    pub path: Option<String>,
    /// Only in this state.
    pub state: Option<ArtifactState>,
    /// Only inputs of this run: what it claimed, and what it was given.
    pub run: Option<RunId>,
    /// Only with this tag.
    pub tag: Option<String>,
}

/// Selects what a run sees in a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// The run.
    pub run: RunId,
    /// The resource.
    pub resource: String,
    /// The actions whose outputs in this run are included.
    pub actions: Vec<String>,
    /// Only paths that start with this.
    pub prefix: Option<String>,
    /// Only paths after this one, in byte order.
    pub after: Option<String>,
    /// Only this path.
    pub path: Option<String>,
    /// Only this artifact, whatever its path was when the run was created.
    pub artifact: Option<ArtifactId>,
}

/// Selects facts. An empty query selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactQuery {
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only of runs before this one (by number), for a guest that looks back.
    pub before_run: Option<u64>,
    /// Only with this name.
    pub name: Option<String>,
    /// Only of succeeded attempts.
    pub succeeded_only: bool,
}

/// Selects ticks. An empty query selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TickQuery {
    /// Only of the trigger of this name.
    pub trigger: Option<String>,
}

/// Selects notifications. An empty query selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationQuery {
    /// Only for the receiver of this name.
    pub name: Option<String>,
}

/// One edge of lineage: an attempt used an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageEdge {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Its action.
    pub action: String,
    /// How it used the artifact.
    pub kind: AccessKind,
    /// The artifact.
    pub artifact: Artifact,
    /// Bytes in all calls.
    pub bytes: u64,
}

/// One edge of lineage, seen from the artifact: an attempt used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactUse {
    /// The run of the attempt.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Its action.
    pub action: String,
    /// The attempt's number.
    pub attempt: u32,
    /// How it used the artifact.
    pub kind: AccessKind,
    /// Bytes in all calls.
    pub bytes: u64,
}

/// How many of the newest reads and writes, and of the newest denied calls,
/// [`resource_accesses`](super::MetadataStore::resource_accesses) looks at.
pub const ACCESSES_LOOKED_AT: u64 = 10_000;

/// What an attempt did with a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceAccess {
    /// The run's number.
    pub run_number: u64,
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Its action.
    pub action: String,
    /// The attempt's number.
    pub attempt: u32,
    /// When the attempt ended.
    pub ended_at: Option<Timestamp>,
    /// What it read there.
    pub read: AccessSum,
    /// What it wrote there.
    pub wrote: AccessSum,
    /// Its calls on the resource that were denied.
    pub denied: Vec<Denial>,
}

/// Reads or writes in sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessSum {
    /// Number of artifacts.
    pub artifacts: u64,
    /// Bytes in all calls.
    pub bytes: u64,
}

/// How many of the newest runs [`action_attempts`](super::MetadataStore::action_attempts) looks at.
pub const ATTEMPT_RUNS: u64 = 1_000;

/// An attempt of an action, with the number of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionAttempt {
    /// The run's number.
    pub run_number: u64,
    /// The attempt.
    pub attempt: Attempt,
}

/// An action of a run that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AwaitingApproval {
    /// The run.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// The action.
    pub action: String,
    /// What it asks for.
    pub approval: Approval,
}

/// A committed output that may not be visible yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedOutput {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The file.
    pub file: StagedFile,
}

#[cfg(test)]
mod tests {
    use super::{ParamFilter, RunSort, TagFilter};

    #[test]
    fn filters_have_a_text_form() {
        let param: ParamFilter = "lr=a=b".parse().unwrap();
        assert_eq!((param.name.as_str(), param.value.as_str()), ("lr", "a=b"));
        let tag: TagFilter = "best".parse().unwrap();
        assert_eq!((tag.name.as_str(), tag.value), ("best", None));
        assert_eq!("best=".parse::<TagFilter>().unwrap().value.as_deref(), Some(""));
        for sort in RunSort::ALL {
            assert_eq!(sort.as_str().parse(), Ok(sort));
        }
        let long = format!("lr={}", "ä".repeat(257));
        let told = |text: &str| text.parse::<ParamFilter>().unwrap_err().to_string();
        assert_eq!(told("lr"), "`lr` has no value: write NAME=VALUE, such as lr=0.1");
        assert_eq!(told("=1"), "`=1` has no name before `=`");
        assert_eq!(told(&long), "the value of `lr` is too long: a filter value has at most 256 characters");
        assert_eq!("".parse::<TagFilter>().unwrap_err().to_string(), "`=` has no name before `=`");
        assert_eq!(
            "best".parse::<RunSort>().unwrap_err().to_string(),
            "`best` is not an order of runs: newest, oldest, longest or shortest"
        );
    }
}
