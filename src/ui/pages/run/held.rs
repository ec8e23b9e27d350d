//! When actions of a run were ready and did not start, from its events.

use std::collections::BTreeMap;

use crate::base::Timestamp;
use crate::model::{ActionState, Event, EventKind};
use crate::ui::svg::timeline::Held;

/// Returns the times that are over. Why an action waits now, its state says.
pub(super) fn times(events: &[Event]) -> Vec<Held> {
    let mut open: BTreeMap<&str, (Timestamp, Option<String>)> = BTreeMap::new();
    let mut times = Vec::new();
    for event in events.iter().filter(|event| event.kind == EventKind::ActionState) {
        let Some(action) = event.action.as_deref() else { continue };
        let of = |name: &str| event.data.get(name).and_then(serde_json::Value::as_str);
        if of("state") == Some(ActionState::Ready.as_str()) {
            open.insert(action, (event.time, of("reason").map(str::to_owned)));
        } else if let Some((from, why)) = open.remove(action) {
            times.push(Held { action: action.to_owned(), from, to: event.time, why });
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Held, times};
    use crate::base::Timestamp;
    use crate::model::{Event, EventKind};

    fn event(seq: u64, kind: EventKind, action: &str, data: serde_json::Value) -> Event {
        Event {
            seq,
            epoch: 1,
            time: Timestamp::from_micros(0).after(Duration::from_secs(seq)),
            kind,
            v: 1,
            run_id: None,
            action: Some(action.to_owned()),
            attempt: None,
            artifact_id: None,
            data,
        }
    }

    #[test]
    fn an_action_is_held_from_ready_to_its_next_state() {
        let why = "waits for gpu (1 of 1 in use)";
        let state = |seq, action: &str, state: &str, reason: Option<&str>| {
            event(seq, EventKind::ActionState, action, json!({ "state": state, "reason": reason }))
        };
        let events = [
            state(1, "train", "ready", Some(why)),
            state(2, "tune", "ready", None),
            event(3, EventKind::AttemptStarted, "train", json!({ "number": 1 })),
            state(4, "train", "running", None),
            state(5, "train", "succeeded", None),
        ];
        let at = |seq| Timestamp::from_micros(0).after(Duration::from_secs(seq));
        let train = Held { action: "train".to_owned(), from: at(1), to: at(4), why: Some(why.to_owned()) };
        // The other one still waits.
        assert_eq!(times(&events), [train]);
    }
}
