//! Keeps the lease of a store on a server: a thread of its own renews it, so neither a busy runtime
//! nor a long write is in its way, and gives it back at the end.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

use super::{Loss, Result, StoreError};

/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long one renewal may take. Then it is tried again, with another connection.
const RENEW_WITHIN: Duration = Duration::from_secs(3);
/// How long a host that ends tries to give the lease back.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// A lease, as its kind of store has it.
#[async_trait]
pub(super) trait Renew: Send + 'static {
    /// Renews it. Returns how it is lost, if it is.
    async fn renew(&mut self) -> std::result::Result<Option<Loss>, String>;

    /// Gives it back. If that fails, it ends by itself.
    async fn release(&mut self);

    /// Forgets the connection. The next call connects anew.
    fn disconnect(&mut self);
}

/// A lease that is renewed until this is dropped, and given back then.
#[derive(Debug)]
pub(super) struct Kept {
    lost: watch::Receiver<Option<Loss>>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Kept {
    /// Starts renewing a lease.
    pub(super) fn keep(mut lease: impl Renew) -> Result<Self> {
        let failed = |error: std::io::Error| StoreError::Unavailable {
            doing: "start a thread".to_owned(),
            why: error.to_string(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (told, lost) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let work = move || runtime.block_on(run(&mut lease, stopped, &told));
        let thread = std::thread::Builder::new().name("store-lease".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { lost, stop: Mutex::new(Some((stop, thread))) })
    }

    /// Waits until the lease is lost, or the thread has ended unasked.
    pub(super) async fn lost(&self) -> Loss {
        let mut lost = self.lost.clone();
        let loss = lost.wait_for(Option::is_some).await.ok().and_then(|loss| loss.clone());
        let panicked = "the thread that renews the lease panicked, which is a bug in Anacostia,";
        loss.unwrap_or_else(|| Loss::Files(panicked.to_owned()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // Fails if the thread has ended.
            let _ = stop.send(());
            // If it panicked, the message is in the log already.
            let _ = thread.join();
        }
    }
}

async fn run(lease: &mut impl Renew, mut stopped: oneshot::Receiver<()>, told: &watch::Sender<Option<Loss>>) {
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut fails = false;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        let renewed = tokio::select! {
            _ = &mut stopped => break,
            renewed = tokio::time::timeout(RENEW_WITHIN, lease.renew()) => renewed,
        };
        let failed = match renewed {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(loss))) => {
                told.send_replace(Some(loss));
                return;
            }
            Ok(Err(why)) => Some(why),
            Err(_) => Some(format!("the server does not answer within {} s", RENEW_WITHIN.as_secs())),
        };
        if let Some(why) = failed {
            lease.disconnect();
            if !std::mem::replace(&mut fails, true) {
                tracing::warn!("failed to renew the lease of the metadata store: {why}");
            }
        } else if std::mem::take(&mut fails) {
            tracing::info!("the lease of the metadata store is renewed again");
        }
    }
    // If this fails, the lease ends by itself.
    let _ = tokio::time::timeout(RELEASE_WITHIN, lease.release()).await;
}
