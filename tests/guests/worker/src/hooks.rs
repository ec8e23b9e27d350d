//! Hooks that execute the param `hooks`: a list of steps for each of them.

use anacostia_guest::{Error, Hooks, Outcome, Result, log};

use crate::{Step, params, perform};

/// Each hook logs its name and its argument, and then executes its steps, until one ends it.
pub struct Steps;

impl Hooks for Steps {
    fn before_run() -> Result<()> {
        log::info("before-run", &[]);
        all(&params()?.hooks.before_run)
    }

    fn on_success(outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Done(text) => log::info(&format!("on-success: done {}", text.unwrap_or_default()), &[]),
            Outcome::Skip(reason) => log::info(&format!("on-success: skip {reason}"), &[]),
        }
        all(&params()?.hooks.on_success)
    }

    fn on_failure(error: Error) -> Result<()> {
        log::info(&format!("on-failure: {} {}", error.code, error.message), &[("retryable", &error.retryable)]);
        all(&params()?.hooks.on_failure)
    }

    fn after_run() -> Result<()> {
        log::info("after-run", &[]);
        all(&params()?.hooks.after_run)
    }
}

fn all(steps: &[Step]) -> Result<()> {
    for step in steps {
        if perform(step)?.is_some() {
            break;
        }
    }
    Ok(())
}
