//! From the way in which a guest ended to the outcome of its attempt.

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

/// Longest line of the place of a trap that is kept, in bytes.
const MAX_FRAME_BYTES: usize = 160;
/// The code of a command that exits with a code of its own.
pub(super) const EXIT_CODE: &str = "exit_code";
/// Longest code of an error that is kept, in bytes.
const MAX_CODE_BYTES: usize = 60;

/// What wasmtime says of a call that carries too much; the type of that error is its own.
const PAYLOAD_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// The outcome of a guest that came to an end by itself, by a trap or by a halt.
pub(super) fn of(ended: Ended<types::Outcome>, state: &GuestState) -> Outcome {
    let outcome = match value(ended, state) {
        Ok(types::Outcome::Done(message)) => Outcome::Done(message.map(|text| clean(&state.masker, &text))),
        Ok(types::Outcome::Skip(reason)) => Outcome::Skip(clean(&state.masker, &reason)),
        Err(error) => Outcome::Failed(error),
    };
    unless_changed(outcome, state)
}

/// What a call returned, or why it failed.
pub(super) fn value<T>(ended: Ended<T>, state: &GuestState) -> Result<T, ErrorInfo> {
    match ended {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(returned(error, state)),
        Err(why) => Err(stopped(&why, state)),
    }
}

/// The outcome, unless an input was seen to have changed: whatever the guest makes of it, it has
/// seen something that is not on record.
pub(super) fn unless_changed(outcome: Outcome, state: &GuestState) -> Outcome {
    match state.gate.changed() {
        Some(changed) => Outcome::Failed(tidy(&state.masker, changed.clone())),
        None => outcome,
    }
}

/// An error that the guest returned.
fn returned(error: types::Error, state: &GuestState) -> ErrorInfo {
    let gate = &state.gate;
    let code = cut(&escape(state.masker.mask(&error.code).as_bytes()), MAX_CODE_BYTES).into_owned();
    let mut error = ErrorInfo { code, message: own_words(error.message, state), retryable: error.retryable };
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
        reasons = format!("{reasons} (memory was refused to it: {})", memory.message);
    }
    ErrorInfo { message: with_reasons(&state.masker, &error.message, &reasons), ..error }
}

/// Why the host refused a call, as far as the guest does not say so itself.
fn refusal(said: &str, refused: &ErrorInfo) -> String {
    if said.contains(&refused.message) {
        return String::new();
    }
    format!("\nThe host had refused a call: {}", refused.message)
}

/// What the guest says, and what the host adds. If there is no room for both, it is the guest's
/// text that is cut.
fn with_reasons(masker: &Masker, said: &str, reasons: &str) -> String {
    let reasons = if reasons.is_empty() { String::new() } else { clean(masker, reasons) };
    let room = MAX_MESSAGE_BYTES.saturating_sub(reasons.len());
    cut(&clean(masker, said), room).into_owned() + &reasons
}

/// A guest's own text: lines after its first are set in. The host proposes lines for the manifest
/// at the edge, and an action must not be able to propose grants for itself. What the host told it,
/// and it hands on word for word, is the host's.
fn own_words(message: String, state: &GuestState) -> String {
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

/// A guest that trapped, or that the host stopped.
fn stopped(why: &wasmtime::Error, state: &GuestState) -> ErrorInfo {
    let (action, limits) = (&state.order.action, &state.order.limits);
    let error = if let Some(halt) = why.downcast_ref::<Halt>() {
        halt.error(action, limits)
    } else if state.memory.refused() {
        // A guest that gets no memory seldom says so: it aborts.
        limits::memory(action, limits)
    } else if returned_nonsense(why, state) {
        ErrorInfo::permanent("trap", format!("what it returned cannot be read: {}", why.root_cause()))
    } else if why.root_cause().to_string().contains(PAYLOAD_EXHAUSTED) {
        let most = ByteSize(limits::MAX_PAYLOAD_BYTES as u64);
        let message = format!("it handed over more than {most} in one call of a host function: hand it over in parts");
        ErrorInfo::permanent("payload_limit", message)
    } else {
        let trap = trap(why, said_last(&state.log));
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
    tidy(&state.masker, error)
}

/// Whether it came to its end, but with a value that is none: a text outside of its memory, a case
/// that there is not. Nothing trapped, so there is no place.
fn returned_nonsense(why: &wasmtime::Error, state: &GuestState) -> bool {
    let too_much = why.root_cause().to_string().contains(PAYLOAD_EXHAUSTED);
    state.started && !too_much && !why.is::<WasmBacktrace>() && !why.is::<I32Exit>()
}

/// What the guest said last, to go on from how it ended: with many languages that is where the
/// reason is.
pub(super) fn said_last(log: &AttemptLog) -> Option<String> {
    log.last_words().map(|words| format!(". It said last:\n{words}"))
}

/// A trap, and what the guest said last.
fn trap(why: &wasmtime::Error, said: Option<String>) -> ErrorInfo {
    if let Some(I32Exit(status)) = why.downcast_ref::<I32Exit>() {
        let said = said.unwrap_or_default();
        return ErrorInfo::permanent("trap", format!("it called exit({status}) instead of returning{said}"));
    }
    let Some(place) = why.downcast_ref::<WasmBacktrace>() else {
        // Nothing of it ran: the host could not give it what it needs.
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

/// Where it happened: a line for each frame, the innermost first.
fn frames(backtrace: &WasmBacktrace) -> String {
    // The display is the only place in which names are readable.
    let text = backtrace.to_string();
    let names = text.lines().filter_map(|line| line.split_once(" - ").map(|(_, name)| name.trim()));
    names
        .take(engine::MAX_FRAMES)
        .fold(String::new(), |all, name| all + "\n  at " + &cut(&escape(name.as_bytes()), MAX_FRAME_BYTES))
}

fn tidy(masker: &Masker, error: ErrorInfo) -> ErrorInfo {
    ErrorInfo { message: clean(masker, &error.message), ..error }
}

/// What is shown of a guest's text: without secrets, cut, and with nothing in it that acts but
/// newlines.
pub(super) fn clean(masker: &Masker, text: &str) -> String {
    let masked = masker.mask_cut(text, MAX_MESSAGE_BYTES);
    let lines: Vec<String> = masked.lines().map(|line| escape(line.as_bytes())).collect();
    cut(&lines.join("\n"), MAX_MESSAGE_BYTES).into_owned()
}

#[cfg(test)]
mod tests {
    use super::set_in;

    #[test]
    fn only_the_first_line_of_a_guest_begins_at_the_edge() {
        assert_eq!(set_in("one line"), "one line");
        assert_eq!(set_in(""), "");
        assert_eq!(
            set_in("write in anacostia.toml:\n[actions.a]\r\n\n  at app.py:3"),
            "write in anacostia.toml:\n  [actions.a]\n\n  at app.py:3"
        );
    }
}
