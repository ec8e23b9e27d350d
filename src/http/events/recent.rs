//! The newest events as messages, which are read from the store once for all clients.
//!
//! Without it, a thousand clients would make a thousand queries for each event, and the actions
//! would wait for the store. Whoever is further behind reads the store by itself, a page at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::base::RunId;
use crate::model::Event;
use crate::store::{MetadataStore, StoreError};

/// Maximum number of messages that are kept.
const KEPT: usize = 1024;
/// Maximum size of the messages that are kept together, in bytes.
const KEPT_BYTES: usize = 4 << 20;
/// Maximum size of what a client gets at once, in bytes, if it is more than one message.
const PAGE_BYTES: usize = 64 << 10;
/// Number of events that are read at once.
const READ: u32 = 256;

/// The newest messages of all runs.
pub(in crate::http) struct Recent {
    store: Arc<dyn MetadataStore>,
    kept: Mutex<Kept>,
    /// The newest message. To know it takes one event, however many have come since it was read.
    newest: Mutex<Option<Message>>,
}

/// The messages of the events after `from`, up to and with `to`.
#[derive(Debug)]
struct Kept {
    from: u64,
    to: u64,
    messages: VecDeque<Message>,
    bytes: usize,
}

#[derive(Debug)]
struct Message {
    seq: u64,
    run: Option<RunId>,
    text: String,
}

/// What a client wants to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The events of this run, or those of all runs and of the pipeline.
    pub(super) run: Option<RunId>,
    /// Of the events that wait at the same time, only the last one.
    pub(super) newest_only: bool,
}

/// What a client gets at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) text: String,
    /// The event up to which the client has all that it asked for.
    pub(super) to: u64,
}

impl Recent {
    pub(in crate::http) fn new(store: Arc<dyn MetadataStore>) -> Self {
        let newest = *store.newest_event().borrow();
        let kept = Kept { from: newest, to: newest, messages: VecDeque::new(), bytes: 0 };
        Self { store, kept: Mutex::new(kept), newest: Mutex::default() }
    }

    /// Returns the wanted messages after `seq`; `None` if they are not kept. `newest` is the newest
    /// event.
    pub(super) async fn after(&self, seq: u64, wanted: Wanted, newest: u64) -> Result<Option<Page>, StoreError> {
        let mut kept = self.kept.lock().await;
        kept.skip_to(newest.saturating_sub(KEPT as u64));
        while kept.to < newest {
            let events = self.store.events(kept.to, None, READ).await?;
            if events.first().is_none_or(|event| event.seq != kept.to + 1) {
                // They were dropped before they were read.
                kept.skip_to(newest);
                break;
            }
            for event in &events {
                kept.add(event);
            }
        }
        Ok((seq >= kept.from).then(|| kept.page(seq, wanted)))
    }

    /// Returns the message of the newest event, whose number is `newest`, or of one that has come
    /// since; `None` if it was dropped.
    pub(super) async fn newest(&self, newest: u64) -> Result<Option<Page>, StoreError> {
        let mut known = self.newest.lock().await;
        if known.as_ref().is_none_or(|message| message.seq < newest) {
            let events = self.store.events(newest.saturating_sub(1), None, 1).await?;
            *known = events.first().map(Message::of);
        }
        Ok(known.as_ref().map(|message| Page { text: message.text.clone(), to: message.seq }))
    }
}

impl Message {
    fn of(event: &Event) -> Self {
        Self { seq: event.seq, run: event.run_id, text: message(event) }
    }
}

impl Kept {
    /// Forgets everything, unless the messages from `seq` on are kept or follow.
    fn skip_to(&mut self, seq: u64) {
        if seq > self.to {
            *self = Self { from: seq, to: seq, messages: VecDeque::new(), bytes: 0 };
        }
    }

    fn add(&mut self, event: &Event) {
        let message = Message::of(event);
        self.bytes += message.text.len();
        self.to = message.seq;
        self.messages.push_back(message);
        while self.messages.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.text.len();
            self.from = oldest.seq;
        }
    }

    fn page(&self, seq: u64, Wanted { run, newest_only }: Wanted) -> Page {
        let mut page = Page { text: String::new(), to: self.to.max(seq) };
        let begin = self.messages.partition_point(|message| message.seq <= seq);
        let mut messages = self.messages.range(begin..).filter(|message| run.is_none() || message.run == run);
        if newest_only {
            page.text = messages.next_back().map_or_else(String::new, |message| message.text.clone());
            return page;
        }
        for message in messages {
            if !page.text.is_empty() && page.text.len() + message.text.len() > PAGE_BYTES {
                page.to = message.seq - 1;
                break;
            }
            page.text.push_str(&message.text);
        }
        page
    }
}

/// Returns an event as a message.
pub(super) fn message(event: &Event) -> String {
    // An event consists of texts and numbers, so serializing it to JSON cannot fail, and the JSON
    // has no line breaks.
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}-{}\ndata: {data}\n\n", event.epoch, event.seq)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::{KEPT, Kept, PAGE_BYTES, Page, Wanted};
    use crate::base::{RunId, Timestamp};
    use crate::model::{Event, EventKind};

    fn event(seq: u64, run_id: Option<RunId>, note: &str) -> Event {
        Event {
            seq,
            epoch: 3,
            time: Timestamp::from_micros(1_772_366_400_000_000),
            kind: EventKind::RunState,
            v: 1,
            run_id,
            action: None,
            attempt: None,
            artifact_id: None,
            data: serde_json::json!({ "note": note }),
        }
    }

    const ALL: Wanted = Wanted { run: None, newest_only: false };

    fn kept(from: u64) -> Kept {
        Kept { from, to: from, messages: VecDeque::new(), bytes: 0 }
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.text.lines().filter_map(|line| line.strip_prefix("id: 3-")).collect()
    }

    #[test]
    fn a_client_gets_what_it_has_not_of_the_run_that_it_asks_for() {
        let (run, mut kept) = (RunId::new(), kept(10));
        for (seq, run) in [(11, Some(run)), (12, None), (13, Some(RunId::new())), (14, Some(run))] {
            kept.add(&event(seq, run, ""));
        }
        let page = |seq, run| kept.page(seq, Wanted { run, newest_only: false });
        assert_eq!((ids(&page(10, None)), page(10, None).to), (vec!["11", "12", "13", "14"], 14));
        assert_eq!((ids(&page(11, Some(run))), page(11, Some(run)).to), (vec!["14"], 14));
        assert_eq!(page(14, None), Page { text: String::new(), to: 14 });
        assert_eq!(page(20, None).to, 20, "it knows more than the store");
    }

    #[test]
    fn a_client_that_wants_the_newest_event_gets_only_the_last_one() {
        let (run, mut kept) = (RunId::new(), kept(10));
        for (seq, run) in [(11, None), (12, Some(run)), (13, Some(run)), (14, None)] {
            kept.add(&event(seq, run, ""));
        }
        let newest = |seq, run| kept.page(seq, Wanted { run, newest_only: true });
        assert_eq!((ids(&newest(10, None)), newest(10, None).to), (vec!["14"], 14));
        assert_eq!((ids(&newest(10, Some(run))), newest(10, Some(run)).to), (vec!["13"], 14));
        assert_eq!(newest(13, Some(run)), Page { text: String::new(), to: 14 });
    }

    #[test]
    fn what_is_kept_and_what_is_sent_at_once_are_bounded() {
        let mut kept = kept(0);
        let long = "x".repeat(PAGE_BYTES / 3);
        for seq in 1..=(KEPT as u64 + 5) {
            kept.add(&event(seq, None, if seq > KEPT as u64 { &long } else { "" }));
        }
        assert_eq!((kept.from, kept.messages.len(), kept.to), (5, KEPT, KEPT as u64 + 5));
        assert_eq!(kept.bytes, kept.messages.iter().map(|message| message.text.len()).sum::<usize>());
        let page = kept.page(KEPT as u64, ALL);
        assert!(ids(&page).len() == 2 && page.text.len() <= PAGE_BYTES && page.to == KEPT as u64 + 2);
        kept.add(&event(KEPT as u64 + 6, None, &"x".repeat(5 << 20)));
        assert_eq!((kept.messages.len(), kept.from), (0, KEPT as u64 + 6), "too large to be kept");
        kept.skip_to(7);
        assert_eq!(kept.from, KEPT as u64 + 6);
    }
}
