//! Implements `run-context`: the identity of the run, its params, progress, and cancellation. Calls
//! are answered from memory, and their CPU time is charged to the guest.

use crate::base::escape;
use crate::model::Influence;
use crate::sandbox::bindings::anacostia::pipeline::run_context::{Host, RunInfo};
use crate::sandbox::order::{Progress, Stop};

use super::GuestState;

/// Maximum length of a progress message, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

impl Host for GuestState {
    fn info(&mut self) -> wasmtime::Result<RunInfo> {
        self.gate.enter();
        self.gate.note_use(Influence::Run);
        self.tape.note_began(self.began);
        let order = &self.order;
        Ok(RunInfo {
            pipeline: order.pipeline.clone(),
            run_id: order.run_id.to_string(),
            run_number: order.run_number,
            action: order.action.clone(),
            attempt: order.number,
            trigger: order.trigger.clone(),
            deadline: Some(self.began.after(order.limits.wall).to_string()),
        })
    }

    fn params(&mut self) -> wasmtime::Result<String> {
        self.gate.enter();
        Ok(self.order.params.clone())
    }

    fn progress(&mut self, fraction: f64, message: String) -> wasmtime::Result<()> {
        self.gate.enter();
        // `clamp` returns NaN unchanged.
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        // A character has at most four bytes, so this truncates only text that would be truncated
        // below.
        let message = self.masker.mask_cut(&message, MAX_MESSAGE_CHARS * 4);
        let message = escape(message.as_bytes()).chars().take(MAX_MESSAGE_CHARS).collect();
        self.progress.report(Progress { fraction, message });
        Ok(())
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        self.gate.enter();
        let is_cancelled = *self.stop.borrow() == Stop::Cancel;
        if is_cancelled {
            self.gate.note_irregular(|| "its run was being cancelled".to_owned());
        }
        Ok(is_cancelled)
    }
}
