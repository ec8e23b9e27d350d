//! Problems that are reported when a manifest is loaded, and not when a recorded one is parsed
//! again: a run that continues does not suffer from them.

use super::super::problem::Problem;

/// A problem that is reported when a manifest is loaded.
pub(in super::super) struct LateProblem {
    pub(in super::super) problem: Problem,
    pub(in super::super) depends: Depends,
}

/// What a problem depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Depends {
    /// On nothing else.
    Nothing,
    /// It is one if there is nothing at this path in the folder of the resource.
    IsAbsent(String),
    /// It is one if there is a folder at this path in the folder of the resource.
    IsFolder(String),
}

impl From<Problem> for LateProblem {
    fn from(problem: Problem) -> Self {
        Self { problem, depends: Depends::Nothing }
    }
}
