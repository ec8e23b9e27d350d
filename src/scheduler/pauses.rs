//! The pauses of resources and actions, as the dispatcher and the drivers see them: a copy of what
//! is on record.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, watch};

use crate::model::{NodeKind, Pause};

/// The pauses, by kind and name.
#[derive(Debug, Clone, Default)]
pub(super) struct Pauses {
    resources: BTreeMap<String, Pause>,
    actions: BTreeMap<String, Pause>,
}

impl Pauses {
    fn of(&mut self, kind: NodeKind) -> &mut BTreeMap<String, Pause> {
        match kind {
            NodeKind::Resource => &mut self.resources,
            NodeKind::Action => &mut self.actions,
        }
    }

    /// Returns the pause of an action, if it is paused.
    pub(super) fn action(&self, name: &str) -> Option<&Pause> {
        self.actions.get(name)
    }
}

/// Holds the pauses in force, and announces their changes.
#[derive(Debug)]
pub(super) struct PauseBoard {
    pauses: watch::Sender<Arc<Pauses>>,
    /// Held from the write of a change until the change is in force. Without it, two changes could
    /// come into force in a different order from the record.
    turn: Mutex<()>,
}

impl PauseBoard {
    /// Creates a board with the pauses on record.
    pub(super) fn new(recorded: &[Pause]) -> Self {
        let mut pauses = Pauses::default();
        for pause in recorded {
            pauses.of(pause.kind).insert(pause.name.clone(), pause.clone());
        }
        Self { pauses: watch::Sender::new(Arc::new(pauses)), turn: Mutex::new(()) }
    }

    /// Waits until no other change is being recorded.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Puts a recorded pause in force.
    pub(super) fn set(&self, pause: Pause) {
        self.pauses.send_modify(|pauses| {
            Arc::make_mut(pauses).of(pause.kind).insert(pause.name.clone(), pause);
        });
    }

    /// Ends a pause that is no longer on record.
    pub(super) fn clear(&self, kind: NodeKind, name: &str) {
        self.pauses.send_modify(|pauses| {
            Arc::make_mut(pauses).of(kind).remove(name);
        });
    }

    /// Returns all pauses.
    pub(super) fn all(&self) -> Arc<Pauses> {
        Arc::clone(&self.pauses.borrow())
    }

    /// Returns since when and why each paused resource is paused, by name.
    pub(super) fn resources(&self) -> BTreeMap<String, String> {
        self.all().resources.iter().map(|(name, pause)| (name.clone(), pause.describe())).collect()
    }

    /// Returns a receiver that is woken by each change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Pauses>> {
        self.pauses.subscribe()
    }
}
