//! Problems that are reported when a manifest is loaded, and not when a recorded one is parsed
//! again: a run that continues does not suffer from them.

use super::super::problem::Problem;

/// A problem that is reported when a manifest is loaded.
pub(in super::super) struct LateProblem {
    pub(in super::super) problem: Problem,
    /// There is no problem if the folder of the resource has a folder of this name.
    pub(in super::super) unless: Option<String>,
}

impl From<Problem> for LateProblem {
    fn from(problem: Problem) -> Self {
        Self { problem, unless: None }
    }
}
