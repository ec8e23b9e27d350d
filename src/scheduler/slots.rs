//! The named limits of `[pipeline.concurrency]`, which the drivers of all runs share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::core::{SlotUse, Slots, TicketId};

/// The named limits, and who uses them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct SlotBoard(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    slots: Slots,
    /// The driver to wake when a waiting ticket is granted.
    drivers: HashMap<TicketId, Arc<Notify>>,
}

impl Board {
    fn wake(&mut self, granted: &[TicketId]) {
        for driver in granted.iter().filter_map(|ticket| self.drivers.remove(ticket)) {
            driver.notify_one();
        }
    }
}

impl SlotBoard {
    /// Creates a board with these limits.
    pub(super) fn new(limits: BTreeMap<String, u32>) -> Self {
        let board = Self::default();
        board.set_limits(limits);
        board
    }

    /// Sets the limits for attempts that start from now on.
    pub(super) fn set_limits(&self, limits: BTreeMap<String, u32>) {
        let mut board = self.lock();
        let granted = board.slots.set_limits(limits);
        board.wake(&granted);
    }

    /// Takes a ticket for an action that uses these names. If it is not granted at once, `driver`
    /// is woken when it is.
    pub(super) fn take(&self, uses: Arc<[String]>, driver: &Arc<Notify>) -> Ticket {
        let mut board = self.lock();
        let id = board.slots.take(uses);
        if board.slots.waits_for(id).is_some() {
            board.drivers.insert(id, Arc::clone(driver));
        }
        Ticket { board: self.clone(), id }
    }

    /// Returns how much of each limit is used, by name.
    pub(super) fn used(&self) -> BTreeMap<String, SlotUse> {
        self.lock().slots.used()
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of one action to start under the named limits that it uses, or its place in line for
/// that right. Given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    board: SlotBoard,
    id: TicketId,
}

impl Ticket {
    /// Returns what it waits for, for display; `None` if it is granted.
    pub(super) fn waits_for(&self) -> Option<String> {
        self.board.lock().slots.waits_for(self.id)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut board = self.board.lock();
        board.drivers.remove(&self.id);
        let granted = board.slots.give_back(self.id);
        board.wake(&granted);
    }
}
