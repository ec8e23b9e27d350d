//! Delivers the OpenLineage events to one receiver, in order.

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::channel::Refusal;
use super::super::deliver::pause;
use super::run_event::Writer;
use super::target::Target;
use super::{read_cursor, write_cursor};
use crate::base::bounds::MAX_PAGE;
use crate::base::fault;
use crate::manifest::OpenLineageSpec;
use crate::scheduler::View;

/// How long to gather events after the first, so that a burst of runs costs few reads.
const GATHER: Duration = Duration::from_millis(50);
/// After how many deliveries the cursor is recorded at the latest. A host that dies sends at most
/// as many again.
const RECORD_EVERY: u64 = 100;
/// After how many events that lead to nothing the cursor is recorded, so that the next host does
/// not begin far back.
const RECORD_EVERY_READ: u64 = 10_000;

/// Delivers to one receiver.
pub(in super::super) struct Emitter {
    view: View,
    spec: OpenLineageSpec,
    target: Target,
    writer: Writer,
    /// Ends it once what is on record has been tried.
    drain: CancellationToken,
    /// Ends it at once.
    abandon: CancellationToken,
    /// The last event that was delivered.
    read: u64,
    /// The last event of which that is on record.
    recorded: u64,
    /// How many deliveries are not on record.
    unrecorded: u64,
}

impl Emitter {
    /// Prepares the delivery to a receiver.
    pub(in super::super) fn new(
        view: View,
        spec: OpenLineageSpec,
        client: Result<reqwest::Client, String>,
        drain: CancellationToken,
        abandon: CancellationToken,
    ) -> Self {
        let target = Target::open(&spec, client, view.pipeline().durability);
        let writer = Writer::new(view.clone(), &spec.namespace);
        Self { view, spec, target, writer, drain, abandon, read: 0, recorded: 0, unrecorded: 0 }
    }

    /// Delivers until `drain`, and then what is on record, unless the receiver is down.
    ///
    /// # Errors
    /// When the store fails. The next call continues from the record.
    pub(in super::super) async fn emit(mut self) -> Result<(), String> {
        let mut newest = self.view.store.newest_event();
        let begin = read_cursor(self.view.store.as_ref(), &self.spec).await.map_err(|error| error.to_string())?;
        (self.read, self.recorded) = (begin.unwrap_or(0), begin.unwrap_or(0));
        loop {
            newest.mark_unchanged();
            let last = self.drain.is_cancelled();
            let goes_on = self.catch_up().await?;
            if last || !goes_on {
                return Ok(());
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return Ok(()) },
                () = self.drain.cancelled() => continue,
            }
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = self.drain.cancelled() => {}
            }
        }
    }

    /// Delivers what follows from all events on record. Returns `false` if the host stops before
    /// that.
    async fn catch_up(&mut self) -> Result<bool, String> {
        loop {
            let events = self.view.store.events(self.read, None, MAX_PAGE).await.map_err(|error| error.to_string())?;
            let Some(first) = events.first() else {
                self.record().await?;
                return Ok(true);
            };
            if first.seq > self.read.saturating_add(1) {
                let (name, count) = (&self.spec.name, first.seq - self.read - 1);
                tracing::error!(
                    "{name} was down for so long that {count} events are no longer on record: their lineage is lost to it"
                );
            }
            for event in events {
                // It may read the first lines of artifacts, over a network perhaps.
                let bodies = tokio::select! {
                    bodies = self.writer.follow(&event) => bodies.map_err(|error| error.to_string())?,
                    () = self.abandon.cancelled() => {
                        self.record().await?;
                        return Ok(false);
                    }
                };
                for body in bodies {
                    fault::point("openlineage.derived");
                    if !self.deliver(&body).await {
                        self.record().await?;
                        return Ok(false);
                    }
                    fault::point("openlineage.delivered");
                    self.unrecorded += 1;
                }
                self.read = event.seq;
                if self.unrecorded >= RECORD_EVERY || self.read >= self.recorded.saturating_add(RECORD_EVERY_READ) {
                    self.unrecorded = self.unrecorded.max(1);
                    self.record().await?;
                }
            }
        }
    }

    /// Records how far it has delivered, if something was delivered since.
    async fn record(&mut self) -> Result<(), String> {
        if self.unrecorded == 0 || self.read == self.recorded {
            return Ok(());
        }
        let written = write_cursor(self.view.store.as_ref(), &self.spec, self.read).await;
        written.map_err(|error| error.to_string())?;
        (self.recorded, self.unrecorded) = (self.read, 0);
        Ok(())
    }

    /// Delivers an event, or gives it up if the receiver refuses it by itself. Returns `false` if
    /// the host stops before that.
    async fn deliver(&self, body: &Value) -> bool {
        let (name, mut failures) = (&self.spec.name, 0_u32);
        loop {
            let last = self.drain.is_cancelled();
            let sent = tokio::select! {
                sent = self.target.send(body) => sent,
                () = self.abandon.cancelled() => return false,
            };
            match sent {
                Ok(()) if failures > 0 => tracing::info!("{name} takes lineage again"),
                Ok(()) => {}
                Err(Refusal::Permanent(why)) => {
                    tracing::error!("{name} refused an event of lineage, which is given up: {why}");
                }
                Err(Refusal::Temporary(_)) if last => return false,
                Err(Refusal::Temporary(why)) => {
                    // Once for each outage.
                    if failures == 0 {
                        tracing::warn!("{name} does not take lineage: {why}; it is tried again");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause(failures)) => {}
                        () = self.drain.cancelled() => {}
                    }
                    failures = failures.saturating_add(1);
                    continue;
                }
            }
            return true;
        }
    }
}
