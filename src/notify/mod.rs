//! Floor 7: tells people and programs what happened: by webhook, Slack or e-mail, and as
//! OpenLineage events (`openlineage`).
//!
//! Notifications never delay a run. The scheduler does not know this module: a *follower* reads the
//! events that are on record already, and records in one transaction which notifications follow
//! from them and how far it has read. *Conditions* records what no event says: silence, and
//! resources that cannot be reached. A *deliverer* for each receiver sends what waits for it,
//! oldest first, so a receiver that hangs delays its own messages only.
//!
//! The queue is the store, so a notification survives `kill -9` from the event on, and is delivered
//! at least once: a host that dies between the receiver's answer and the record sends it again,
//! with the same id. After a temporary failure, the deliverer tries again with growing pauses for
//! `retry_for`. After a permanent one (an unknown recipient, a status such as 404), it gives up at
//! once.
//!
//! Rejected: sending from the scheduler when a run ends (a crash in between would lose it), and a
//! queue in memory (its bound would have to drop messages).

mod channel;
mod conditions;
mod deliver;
mod follow;
mod message;
mod openlineage;
mod secret;
mod shared;
mod time;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::manifest::{NotifySpec, OpenLineageSpec, Pipeline};
use crate::scheduler::{View, supervise};
use crate::store::{MetadataStore, StoreError};
use message::Writer;
use openlineage::Emitter;
use shared::Shared;

/// How long deliveries may take when the host stops. What is left waits for the next start.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// Records the newest event, after which the first host with receivers begins to notify, and each
/// new receiver of lineage to get events. Called
/// before the host does anything, so that a crash does not move that point.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn begin(store: &dyn MetadataStore, pipeline: &Pipeline) -> Result<(), StoreError> {
    openlineage::begin(store, pipeline).await?;
    if pipeline.notify.is_empty() || store.notified().await?.is_some() {
        return Ok(());
    }
    let newest = *store.newest_event().borrow();
    store.record_notifications(Some(newest), Vec::new()).await
}

/// The notifications and the lineage of a running host. Without `[notify]` and `[openlineage]` it
/// does nothing.
pub struct Notifier {
    followers: Vec<JoinHandle<()>>,
    deliverers: Vec<JoinHandle<()>>,
    /// Ends the followers once they have read what is on record.
    finish: CancellationToken,
    /// Ends the deliverers after one more try of what waits.
    drain: CancellationToken,
    /// Ends the deliverers at once.
    abandon: CancellationToken,
}

impl Notifier {
    /// Starts to notify about the events that no earlier host has examined. `address` is the URL of
    /// this host's server, without a slash at the end.
    #[must_use]
    pub fn start(view: View, address: &str) -> Self {
        let (finish, drain, abandon) = Default::default();
        let mut notifier = Self { followers: Vec::new(), deliverers: Vec::new(), finish, drain, abandon };
        let pipeline = view.pipeline();
        notifier.spawn_emitters(&view, &pipeline.openlineage);
        if pipeline.notify.is_empty() {
            return notifier;
        }
        let address = pipeline.public_url.as_deref().unwrap_or(address);
        let shared = Arc::new(Shared {
            specs: pipeline.notify.clone(),
            writer: Writer::new(&pipeline.name, address),
            view,
            recorded: watch::Sender::new(()),
            arrivals: watch::Sender::default(),
        });
        let client = channel::client();
        for spec in &shared.specs {
            let sender = Arc::new(channel::Sender::new(spec, client.clone(), &pipeline.name));
            notifier.spawn_deliverer(&shared, spec, &sender);
        }
        notifier.spawn_followers(&shared);
        notifier
    }

    fn spawn_emitters(&mut self, view: &View, specs: &[OpenLineageSpec]) {
        for spec in specs {
            let (view, spec, client) = (view.clone(), spec.clone(), channel::client());
            let (drain, abandon) = (self.drain.clone(), self.abandon.clone());
            self.deliverers.push(tokio::spawn(async move {
                let begin = || {
                    let (spec, client) = (spec.clone(), client.clone());
                    Emitter::new(view.clone(), spec, client, drain.clone(), abandon.clone()).emit()
                };
                supervise(&format!("the lineage for {}", spec.name), drain.clone(), begin, |_| {}).await;
            }));
        }
    }

    fn spawn_followers(&mut self, shared: &Arc<Shared>) {
        let (follower, stop) = (Arc::clone(shared), self.finish.clone());
        self.followers.push(tokio::spawn(async move {
            let begin = || follow::follow(Arc::clone(&follower), stop.clone());
            supervise("the follower of events for notifications", stop.clone(), begin, |_| {}).await;
        }));
        if shared.specs.iter().any(conditions::concern) {
            let (watcher, stop) = (Arc::clone(shared), self.finish.clone());
            self.followers.push(tokio::spawn(async move {
                let begin = || conditions::watch(Arc::clone(&watcher), stop.clone());
                supervise("the watch for silence and unreachable resources", stop.clone(), begin, |_| {}).await;
            }));
        }
    }

    fn spawn_deliverer(&mut self, shared: &Arc<Shared>, spec: &NotifySpec, sender: &Arc<channel::Sender>) {
        let (shared, spec, sender) = (Arc::clone(shared), spec.clone(), Arc::clone(sender));
        let (drain, abandon) = (self.drain.clone(), self.abandon.clone());
        self.deliverers.push(tokio::spawn(async move {
            let begin = || {
                let deliverer = deliver::Deliverer {
                    shared: Arc::clone(&shared),
                    spec: spec.clone(),
                    sender: Arc::clone(&sender),
                    abandon: abandon.clone(),
                };
                deliverer.deliver(drain.clone())
            };
            supervise(&format!("the delivery to {}", spec.name), drain.clone(), begin, |_| {}).await;
        }));
    }

    /// Records what happened until now, sends what waits once, and ends. Takes a few seconds at
    /// most; what was not delivered is sent by the next host.
    pub async fn close(self) {
        self.finish.cancel();
        for task in self.followers {
            // A panic is in the log already.
            let _ = task.await;
        }
        self.drain.cancel();
        let abandon = self.abandon.clone();
        let patience = tokio::spawn(async move {
            tokio::time::sleep(LAST_DELIVERIES).await;
            abandon.cancel();
        });
        for task in self.deliverers {
            let _ = task.await;
        }
        patience.abort();
    }
}
