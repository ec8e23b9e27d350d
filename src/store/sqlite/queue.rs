//! A bounded queue from asynchronous callers to threads.
//!
//! A caller waits for room without blocking its thread. A worker blocks until there is something,
//! and may take all waiting items at once, which makes group commit possible. (`tokio::sync::mpsc`
//! has one consumer, and `std`'s channel blocks the sender.)

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

struct Waiting<T> {
    items: VecDeque<T>,
    closed: bool,
    /// How many items it takes to wake a worker.
    enough: usize,
}

/// See the module's docs.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    filled: Condvar,
    room: Semaphore,
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// The queue is closed, and takes no more items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed;

impl<T> Queue<T> {
    /// A queue in which at most `bound` items wait.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting { items: VecDeque::new(), closed: false, enough: 1 }),
            filled: Condvar::new(),
            room: Semaphore::new(bound),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        // Nothing under this lock can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item at the end, as soon as there is room.
    pub(super) async fn push(&self, item: T) -> Result<(), Closed> {
        self.room.acquire().await.map_err(|_| Closed)?.forget();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Closed);
        }
        waiting.items.push_back(item);
        let wake = waiting.items.len() >= waiting.enough;
        drop(waiting);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for items, and takes at most `most` of them. Returns no items only when the queue is
    /// closed and empty, and `None` if none came `within` that time. Without `within` it waits for
    /// as long as it takes.
    pub(super) fn take(&self, most: usize, within: Option<Duration>) -> Option<Vec<T>> {
        let idle = |waiting: &mut Waiting<T>| waiting.items.is_empty() && !waiting.closed;
        let waiting = self.lock();
        let mut waiting = match within {
            None => self.filled.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner),
            Some(within) => {
                self.filled.wait_timeout_while(waiting, within, idle).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        if idle(&mut waiting) {
            return None;
        }
        let count = waiting.items.len().min(most);
        let taken = waiting.items.drain(..count).collect();
        drop(waiting);
        self.room.add_permits(count);
        Some(taken)
    }

    /// Adds items that come within a span of time to those that were taken, until there are
    /// `enough`. Only for a queue with one worker: callers do not wake it before there are enough.
    pub(super) fn top_up(&self, taken: &mut Vec<T>, enough: usize, within: Duration) {
        let lacking = enough.saturating_sub(taken.len());
        if lacking == 0 {
            return;
        }
        let mut waiting = self.lock();
        waiting.enough = lacking;
        let lacks = |waiting: &mut Waiting<T>| waiting.items.len() < lacking && !waiting.closed;
        waiting = self.filled.wait_timeout_while(waiting, within, lacks).unwrap_or_else(PoisonError::into_inner).0;
        waiting.enough = 1;
        let count = waiting.items.len().min(lacking);
        taken.extend(waiting.items.drain(..count));
        drop(waiting);
        self.room.add_permits(count);
    }

    /// Closes the queue to new items. Workers still take those that wait.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.filled.notify_all();
    }

    /// Closes the queue to new items, and drops those that wait.
    pub(super) fn abandon(&self) {
        self.close();
        self.lock().items.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Queue;

    #[tokio::test]
    async fn a_full_queue_blocks_its_caller_until_a_worker_takes_an_item() {
        let queue = Queue::new(2);
        queue.push(1).await.unwrap();
        queue.push(2).await.unwrap();
        let mut third = Box::pin(queue.push(3));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(queue.take(10, None).unwrap(), [1, 2]);
        third.await.unwrap();
        queue.close();
        assert!(queue.push(4).await.is_err());
        assert_eq!(queue.take(10, None).unwrap(), [3], "queued items are still processed");
        assert!(queue.take(10, None).unwrap().is_empty());
    }
    #[tokio::test]
    async fn topping_up_ends_when_enough_items_arrived() {
        let queue = Arc::new(Queue::new(10));
        let worker = Arc::clone(&queue);
        let topped_up = std::thread::spawn(move || {
            let mut taken = vec![0];
            worker.top_up(&mut taken, 3, Duration::from_hours(1));
            taken
        });
        queue.push(1).await.unwrap();
        queue.push(2).await.unwrap();
        assert_eq!(topped_up.join().unwrap(), [0, 1, 2]);
    }

    #[tokio::test]
    async fn topping_up_ends_at_its_timeout_and_when_the_queue_closes() {
        let queue = Queue::new(10);
        queue.push(1).await.unwrap();
        let mut taken = vec![0];
        queue.top_up(&mut taken, 3, Duration::from_millis(1));
        assert_eq!(taken, [0, 1]);
        queue.close();
        queue.top_up(&mut taken, 3, Duration::from_hours(1));
        assert_eq!(taken, [0, 1]);
    }
}
