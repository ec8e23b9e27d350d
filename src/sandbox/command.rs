//! Calls a command: a program that knows nothing of pipelines, and reports its result with its exit
//! code.
//!
//! Its files are prepared before it starts (see `host::files`). If it exits with 0, its written
//! files are complete. Any other code fails the attempt, with the program's last output (see
//! `output_tail`), because programs write the reason to standard error; nothing is published. Code
//! 75, traditionally `EX_TEMPFAIL`, means that a retry may help.
//!
//! A program can exit in two ways, with the same effect: it returns from `run`, which knows only
//! success and failure (0 and 1), or it calls `wasi:cli/exit`. Most programs lose their code on the
//! way, because their C library calls the function that knows only success and failure.

use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::exports::wasi::cli::run::GuestIndices;

use super::bindings::anacostia::pipeline::types;
use super::ended::Ended;
use super::host::GuestState;
use super::host::access::CallError;
use super::outcome;

/// The exit code that means that a retry may help.
const EX_TEMPFAIL: i32 = 75;

/// Calls a command in a fresh instance.
pub(super) async fn run(
    instance: &InstancePre<GuestState>,
    run: &GuestIndices,
    store: &mut Store<GuestState>,
) -> Ended<types::Outcome> {
    if let Err(error) = store.data_mut().prepare_files().await {
        return refused(error, store.data());
    }
    let instance = instance.instantiate_async(&mut *store).await?;
    store.data_mut().started = true;
    let run = run.load(&mut *store, &instance)?;
    let code = match run.call_run(&mut *store).await {
        Ok(Ok(())) => 0,
        Ok(Err(())) => 1,
        Err(why) => match why.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => *code,
            None => return Err(why),
        },
    };
    let state = store.data_mut();
    if code != 0 {
        return Ok(Err(failed(code, state)));
    }
    match state.finish_files().await {
        Ok(()) => Ok(Ok(types::Outcome::Done(None))),
        Err(error) => refused(error, state),
    }
}

fn refused(error: CallError, state: &GuestState) -> Ended<types::Outcome> {
    state.wit_error(error).map(Err)
}

/// Returns the error for a program that exited with a nonzero code.
fn failed(code: i32, state: &GuestState) -> types::Error {
    // Includes a last line without a newline.
    state.stderr.finish();
    let said = outcome::last_output(&state.log).unwrap_or_else(|| ", and said nothing on standard error".to_owned());
    let message = format!("it exited with code {code}{said}");
    // If a limit was reached, it is the most likely cause, and the record names it.
    let code_of_error = if state.gate.reached().is_some() { "limit" } else { outcome::EXIT_CODE };
    types::Error { code: code_of_error.to_owned(), message, retryable: code == EX_TEMPFAIL }
}
