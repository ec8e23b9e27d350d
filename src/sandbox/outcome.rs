//! Converts the way in which a guest ended to the outcome of its attempt.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::base::bounds::{MAX_MESSAGE_BYTES, cut};
use crate::base::{ByteSize, escape};
use crate::model::{ErrorInfo, Outcome};

use super::bindings::anacostia::pipeline::types;
use super::ended::Ended;
use super::halt::Halt;
use super::host::GuestState;
use super::logs::AttemptLog;
use super::mask::Masker;
use super::{engine, limits};

/// Maximum length of a frame of a trap, in bytes.
const MAX_FRAME_BYTES: usize = 160;
/// The error code for a command that exits with a nonzero code.
pub(super) const EXIT_CODE: &str = "exit_code";
/// Maximum length of an error code, in bytes.
const MAX_CODE_BYTES: usize = 60;

/// wasmtime's message for a call with too much data. The type of that error is private.
const PAYLOAD_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// Returns the outcome of a guest that returned, trapped, or was halted.
pub(super) fn of(ended: Ended<types::Outcome>, state: &GuestState) -> Outcome {
    let outcome = match value(ended, state) {
        Ok(types::Outcome::Done(message)) => Outcome::Done(message.map(|text| clean(&state.masker, &text))),
        Ok(types::Outcome::Skip(reason)) => Outcome::Skip(clean(&state.masker, &reason)),
        Err(error) => Outcome::Failed(error),
    };
    unless_changed(outcome, state)
}

/// Returns the value that a call returned, or why it failed.
pub(super) fn value<T>(ended: Ended<T>, state: &GuestState) -> Result<T, ErrorInfo> {
    match ended {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(returned(error, state)),
        Err(why) => Err(stopped(&why, state)),
    }
}

/// Returns the outcome, or a failure if an input was found to have changed: the guest has then seen
/// content that is not on record, whatever it did with it.
pub(super) fn unless_changed(outcome: Outcome, state: &GuestState) -> Outcome {
    match state.gate.changed() {
        Some(changed) => Outcome::Failed(cleaned(&state.masker, changed.clone())),
        None => outcome,
    }
}

/// Converts an error that the guest returned.
fn returned(error: types::Error, state: &GuestState) -> ErrorInfo {
    let gate = &state.gate;
    let code = cut(&escape(state.masker.mask(&error.code).as_bytes()), MAX_CODE_BYTES).into_owned();
    let mut error = ErrorInfo { code, message: own_message(error.message, state), retryable: error.retryable };
    let mut reasons = String::new();
    if let Some(reached) = gate.reached().filter(|_| error.code == "limit") {
        error.code.clone_from(&reached.code);
        if !error.message.contains(&reached.message) {
            reasons = format!(": {}", reached.message);
        }
    } else if let Some(refused) = gate.refused() {
        if refused.retryable && error.code == EXIT_CODE {
            error.code.clone_from(&refused.code);
        }
        error.retryable |= refused.retryable;
        reasons = refusal(&error.message, refused);
    }
    if state.memory.refused() {
        let memory = limits::memory(&state.order.action, &state.order.limits);
        reasons = format!("{reasons} (it was refused memory: {})", memory.message);
    }
    ErrorInfo { message: with_reasons(&state.masker, &error.message, &reasons), ..error }
}

/// Describes why the host refused a call, unless the guest's message already does.
fn refusal(said: &str, refused: &ErrorInfo) -> String {
    if said.contains(&refused.message) {
        return String::new();
    }
    format!("\nThe host had refused a call: {}", refused.message)
}

/// Joins the guest's message and the host's reasons. If both do not fit, the guest's message is
/// truncated.
fn with_reasons(masker: &Masker, said: &str, reasons: &str) -> String {
    let reasons = if reasons.is_empty() { String::new() } else { clean(masker, reasons) };
    let room = MAX_MESSAGE_BYTES.saturating_sub(reasons.len());
    cut(&clean(masker, said), room).into_owned() + &reasons
}

/// Indents all lines of a guest's text except the first. The host proposes manifest lines without
/// indentation, and an action must not be able to propose grants for itself. Messages of the host
/// that the guest passes on unchanged are not indented.
fn own_message(message: String, state: &GuestState) -> String {
    let gate = &state.gate;
    let of_host = gate.denials().iter().any(|denial| denial.message == message)
        || gate.reached().is_some_and(|reached| reached.message == message);
    if of_host { message } else { set_in(&message) }
}

fn set_in(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |all, line| {
        let margin = if line.is_empty() || line.starts_with("  ") { "" } else { "  " };
        all + "\n" + margin + line
    })
}

/// Returns the error of a guest that trapped or was stopped by the host.
fn stopped(why: &wasmtime::Error, state: &GuestState) -> ErrorInfo {
    let (action, limits) = (&state.order.action, &state.order.limits);
    let error = if let Some(halt) = why.downcast_ref::<Halt>() {
        halt.error(action, limits)
    } else if state.memory.refused() {
        // A guest that gets no memory seldom reports it: it aborts.
        limits::memory(action, limits)
    } else if returned_nonsense(why, state) {
        ErrorInfo::permanent("trap", format!("what it returned cannot be read: {}", why.root_cause()))
    } else if why.root_cause().to_string().contains(PAYLOAD_EXHAUSTED) {
        let most = ByteSize(limits::MAX_PAYLOAD_BYTES as u64);
        let message = format!("it passed more than {most} in one call of a host function: pass it in parts");
        ErrorInfo::permanent("payload_limit", message)
    } else {
        let trap = trap(why, last_output(&state.log));
        if let Some(reached) = state.gate.reached() {
            let message = format!("{}\nIt then stopped: {}", reached.message, trap.message);
            ErrorInfo { message, ..reached.clone() }
        } else if let Some(refused) = state.gate.refused() {
            let message = with_reasons(&state.masker, &trap.message, &refusal(&trap.message, refused));
            return ErrorInfo { message, retryable: trap.retryable || refused.retryable, ..trap };
        } else {
            trap
        }
    };
    cleaned(&state.masker, error)
}

/// Returns whether the guest returned an invalid value, such as a string outside its memory or an
/// unknown enum case. Such a failure has no backtrace, because nothing trapped.
fn returned_nonsense(why: &wasmtime::Error, state: &GuestState) -> bool {
    let too_much = why.root_cause().to_string().contains(PAYLOAD_EXHAUSTED);
    state.started && !too_much && !why.is::<WasmBacktrace>() && !why.is::<I32Exit>()
}

/// Returns the last output of the guest, as text that follows the description of how it ended. In
/// many languages it contains the reason.
pub(super) fn last_output(log: &AttemptLog) -> Option<String> {
    log.output_tail().map(|tail| format!(". Its last output:\n{tail}"))
}

/// Returns the error for a trap, with the last output of the guest.
fn trap(why: &wasmtime::Error, said: Option<String>) -> ErrorInfo {
    if let Some(I32Exit(status)) = why.downcast_ref::<I32Exit>() {
        let said = said.unwrap_or_default();
        return ErrorInfo::permanent("trap", format!("it called exit({status}) instead of returning{said}"));
    }
    let Some(place) = why.downcast_ref::<WasmBacktrace>() else {
        // The guest did not run: the host could not provide what it needs.
        return ErrorInfo::retryable("unavailable", format!("it could not be started: {why:#}"));
    };
    let (code, what) = match why.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => (
            "stack_overflow",
            "its stack overflowed: it calls itself without end, or keeps too much on the stack".to_owned(),
        ),
        Some(Trap::UnreachableCodeReached) if said.is_none() => (
            "trap",
            "it reached `unreachable`: a panic or an abort, whose text, if there is one, is in the log".to_owned(),
        ),
        Some(Trap::UnreachableCodeReached) => ("trap", "it reached `unreachable`: a panic or an abort".to_owned()),
        Some(other) => ("trap", format!("it trapped: {}", other.to_string().trim_start_matches("wasm trap: "))),
        None => ("trap", format!("it was stopped: {}", why.root_cause())),
    };
    ErrorInfo::permanent(code, what + &said.unwrap_or_default() + &frames(place))
}

/// Returns the frames of a trap, one per line, innermost first.
fn frames(backtrace: &WasmBacktrace) -> String {
    // Only the `Display` output contains readable names.
    let text = backtrace.to_string();
    let names = text.lines().filter_map(|line| line.split_once(" - ").map(|(_, name)| name.trim()));
    names
        .take(engine::MAX_FRAMES)
        .fold(String::new(), |all, name| all + "\n  at " + &cut(&escape(name.as_bytes()), MAX_FRAME_BYTES))
}

fn cleaned(masker: &Masker, error: ErrorInfo) -> ErrorInfo {
    ErrorInfo { message: clean(masker, &error.message), ..error }
}

/// Returns a guest's text for display: without secrets, truncated, and without control characters
/// other than newlines.
pub(super) fn clean(masker: &Masker, text: &str) -> String {
    let masked = masker.mask_cut(text, MAX_MESSAGE_BYTES);
    let lines: Vec<String> = masked.lines().map(|line| escape(line.as_bytes())).collect();
    cut(&lines.join("\n"), MAX_MESSAGE_BYTES).into_owned()
}

#[cfg(test)]
mod tests {
    use super::set_in;

    #[test]
    fn all_but_the_first_line_of_a_guest_message_are_indented() {
        assert_eq!(set_in("one line"), "one line");
        assert_eq!(set_in(""), "");
        assert_eq!(
            set_in("write in anacostia.toml:\n[actions.a]\r\n\n  at app.py:3"),
            "write in anacostia.toml:\n  [actions.a]\n\n  at app.py:3"
        );
    }
}
