//! Hooks: functions that the host calls at the beginning and at the end of every attempt.

use crate::{Error, Outcome, Result};

/// The functions that the host calls around `run`. It calls each in its own instance, so nothing
/// in memory is left from one call to the next. By default a hook does nothing. `interface hooks`
/// in `wit/pipeline.wit` is the full documentation.
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
    /// Called before `run`. An error fails the attempt, and `run` is not called. This is the only
    /// hook that may write.
    fn before_run() -> Result<()> {
        Ok(())
    }

    /// Called after `before_run` and `run` succeeded, and before the host publishes what they
    /// wrote. An error is logged, and has no other effect.
    fn on_success(outcome: Outcome) -> Result<()> {
        let _ = outcome;
        Ok(())
    }

    /// Called after `before_run` or `run` failed, trapped, or reached a limit. An error is logged,
    /// and has no other effect.
    fn on_failure(error: Error) -> Result<()> {
        let _ = error;
        Ok(())
    }

    /// Called at the end of every attempt. An error is logged, and has no other effect.
    fn after_run() -> Result<()> {
        Ok(())
    }
}
