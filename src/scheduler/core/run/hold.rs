//! Actions that are held back: paused, or waiting for a named limit.

use super::RunCore;
use crate::model::{ActionState, RunAction};

impl RunCore {
    /// Holds an action back for a reason, or releases it. While it is held back, it does not
    /// start; once it is `ready`, it shows the reason. An attempt that is running continues.
    pub fn hold(&mut self, place: usize, why: Option<String>) {
        let (Some(action), Some(hold)) = (self.actions.get_mut(place), self.holds.get_mut(place)) else { return };
        if action.state == ActionState::Ready && (why.is_some() || hold.is_some()) {
            action.reason.clone_from(&why);
        }
        *hold = why;
    }

    /// Returns whether the run has not ended, and nothing in it continues by itself: all that could
    /// is held back, or waits for approval.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let goes_on = |(place, action): (usize, &RunAction)| {
            matches!(action.state, ActionState::Running | ActionState::Retrying) || self.can_start(place)
        };
        !self.state.ended() && !self.actions.iter().enumerate().any(goes_on)
    }
}
