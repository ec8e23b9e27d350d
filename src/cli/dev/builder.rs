//! Runs builds, and ends the current one with the session.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use tokio::task::JoinHandle;

use crate::cli::build::{BuildError, Job, end};
use crate::cli::progress::Progress;

/// How long a build may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(3);

/// Builds, one at a time.
#[derive(Default)]
pub(super) struct Builder {
    at_work: Option<(Pid, JoinHandle<Result<Duration, BuildError>>)>,
}

impl Builder {
    /// Builds, and returns how long that took. Safe to drop: the build continues then, until
    /// [`Builder::stop`] ends it.
    pub(super) async fn build(&mut self, job: Job, progress: Arc<Progress>) -> Result<Duration, BuildError> {
        let (action, command) = (job.action.clone(), job.command.clone());
        let running = job.start(true)?;
        let pid = running.pid();
        let (_, handle) = self.at_work.insert((pid, tokio::task::spawn_blocking(move || running.finish(&progress))));
        let ended = handle.await;
        self.at_work = None;
        ended.unwrap_or_else(|why| Err(BuildError::Start { action, command, why: std::io::Error::other(why) }))
    }

    /// Ends the current build, with all processes that it started.
    pub(super) async fn stop(&mut self) {
        let Some((group, mut handle)) = self.at_work.take() else { return };
        end(group, false);
        if tokio::time::timeout(GRACE, &mut handle).await.is_err() {
            end(group, true);
            // A process that left the group may hold the output open: that is not waited for.
            let _ = tokio::time::timeout(GRACE, handle).await;
        }
    }
}
