//! Hooks: what an action does at the beginning and at the end of every attempt.

use crate::{Error, Outcome, Result};

/// What the host calls around `run`, in this order, each in an instance of its own: nothing in
/// memory is left from one to the next. A hook that is not written does nothing. `interface hooks`
/// in `wit/pipeline.wit` says all about them.
///
/// ```ignore
/// use anacostia_guest::{Error, Hooks, Outcome, Result, log, resources};
///
/// anacostia_guest::action!(run, hooks: Watch);
///
/// struct Watch;
///
/// impl Hooks for Watch {
///     fn before_run() -> Result<()> {
///         match resources::inputs("raw")?.len() {
///             0..10 => Err(Error::permanent("fewer than ten days are no basis for a model")),
///             _ => Ok(()),
///         }
///     }
///
///     fn on_failure(error: Error) -> Result<()> {
///         log::error("no new model today", &[("why", &error.message)]);
///         Ok(())
///     }
/// }
/// ```
pub trait Hooks {
    /// Before `run`. An error fails the attempt, and `run` is not called. The only hook that may
    /// write.
    fn before_run() -> Result<()> {
        Ok(())
    }

    /// `before_run` and `run` went well, and what was written is published next. An error is
    /// logged, and changes nothing.
    fn on_success(outcome: Outcome) -> Result<()> {
        let _ = outcome;
        Ok(())
    }

    /// `before_run` or `run` failed, trapped, or reached a limit. An error is logged, and changes
    /// nothing.
    fn on_failure(error: Error) -> Result<()> {
        let _ = error;
        Ok(())
    }

    /// At the end, however it went. An error is logged, and changes nothing.
    fn after_run() -> Result<()> {
        Ok(())
    }
}
