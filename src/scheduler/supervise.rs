//! Supervises tasks that must run for as long as the host does.
//!
//! A task that ends without being asked to is started again after a pause that doubles each time,
//! and a callback receives the reason. For every other task and thread of the scheduler, the code
//! that spawns it says what happens when it ends.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::{TimeSpan, panicked};

/// The pause before a task is started again for the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. After a task has worked for longer than this, the next pause is the first
/// again.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Runs the future that `begin` returns, again and again, until `stop`. Calls `ended` with the
/// reason when one has ended, except after `stop`.
pub async fn supervise<F>(name: &str, stop: CancellationToken, begin: impl FnMut() -> F, ended: impl FnMut(String))
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    keep_going(name, stop, FIRST_PAUSE, begin, ended).await;
}

async fn keep_going<F>(
    name: &str,
    stop: CancellationToken,
    first_pause: Duration,
    mut begin: impl FnMut() -> F,
    mut ended: impl FnMut(String),
) where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut pause = first_pause;
    loop {
        let began = Instant::now();
        // A set, not a handle, so that dropping this future also aborts the task.
        let mut task = JoinSet::new();
        task.spawn(begin());
        let why = match task.join_next().await {
            _ if stop.is_cancelled() => return,
            Some(Ok(Err(why))) => why,
            Some(Err(error)) => panic_text(error),
            Some(Ok(Ok(()))) | None => "it ended unexpectedly".to_owned(),
        };
        if began.elapsed() > LONGEST_PAUSE {
            pause = first_pause;
        }
        tracing::error!("{name} has ended: {why}; it starts again in {}", TimeSpan(pause));
        ended(why);
        if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns the message of a task that panicked.
pub(super) fn panic_text(error: JoinError) -> String {
    error.try_into_panic().map_or_else(|_| "it was aborted".to_owned(), |payload| panicked(&*payload))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::keep_going;

    #[tokio::test]
    async fn a_task_that_ends_is_restarted_and_the_reason_is_reported() {
        let (starts, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let reasons = Mutex::new(Vec::new());
        let begin = || {
            let (number, stop) = (starts.fetch_add(1, Ordering::SeqCst), stop.clone());
            async move {
                match number {
                    0 => panic!("no luck"),
                    1 => Err("refused".to_owned()),
                    2 => Ok(()),
                    _ => {
                        stop.cancel();
                        Ok(())
                    }
                }
            }
        };
        keep_going("a task", stop.clone(), Duration::from_millis(1), begin, |why| reasons.lock().unwrap().push(why))
            .await;
        let panicked = "it panicked, which is a bug in Anacostia: no luck";
        assert_eq!(*reasons.lock().unwrap(), [panicked, "refused", "it ended unexpectedly"]);
        assert_eq!(starts.load(Ordering::SeqCst), 4);
    }
}
