//! What the tasks of notifications share.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::message::Writer;
use crate::base::Timestamp;
use crate::manifest::NotifySpec;
use crate::model::Notification;
use crate::scheduler::View;
use crate::store::{MetadataStore, StoreError};

/// What the tasks share.
pub(super) struct Shared {
    pub(super) view: View,
    pub(super) specs: Vec<NotifySpec>,
    pub(super) writer: Writer,
    /// Changes when something was recorded.
    pub(super) recorded: watch::Sender<()>,
    /// The event and the time of the newest arrival of an artifact in each resource, as far as the
    /// follower has read.
    pub(super) arrivals: watch::Sender<BTreeMap<String, (u64, Timestamp)>>,
}

impl Shared {
    pub(super) fn store(&self) -> &dyn MetadataStore {
        self.view.store.as_ref()
    }

    /// Records notifications, and wakes the deliverers.
    pub(super) async fn record(&self, examined: Option<u64>, new: Vec<Notification>) -> Result<(), StoreError> {
        self.store().record_notifications(examined, new).await?;
        self.recorded.send_replace(());
        Ok(())
    }
}
