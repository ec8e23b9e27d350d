//! What a trigger decided: a list, page by page, and the newest decisions on an axis of time.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::triggers::TickRow;
use crate::base::RunId;
use crate::model::Tick;
use crate::scheduler::View;
use crate::store::{PageRequest, TickQuery};
use crate::ui::page::{Params, Result};
use crate::ui::svg::decisions::{self, Decisions};

/// Ticks on a page.
const TICKS: u32 = 12;
/// The most ticks on the time axis: the newest.
const DRAWN_TICKS: u32 = 500;

/// The decisions of a trigger.
#[derive(Debug, Serialize)]
pub(super) struct Decided {
    ticks: Vec<TickRow>,
    /// The newest ticks on an axis of time.
    decisions: Option<Decisions>,
    first_ticks: Option<String>,
    next_ticks: Option<String>,
}

impl Decided {
    /// Reads the decisions of the trigger `name` for its page at `path`.
    pub(super) async fn gather(view: &View, name: &str, params: &Params, path: &str) -> Result<Self> {
        let page = async |cursor, limit| {
            let query = TickQuery { trigger: Some(name.to_owned()) };
            view.store.ticks(query, PageRequest { cursor, limit }).await.map(|page| page.items)
        };
        let (newest, most) = (page(None, DRAWN_TICKS).await?, TICKS as usize);
        // One more than fit on the page, which says that there is a next one.
        let mut listed: Vec<Tick> = match params.text("ticks") {
            None => newest.iter().take(most + 1).cloned().collect(),
            Some(cursor) => page(Some(cursor.to_owned()), TICKS + 1).await?,
        };
        let is_last = listed.len() <= most;
        listed.truncate(most);
        let next = listed.last().filter(|_| !is_last).map(|tick| tick.seq.to_string());
        let shown: BTreeSet<u64> = listed.iter().map(|tick| tick.seq).collect();
        let line = |tick: &Tick| {
            let line = format!("#tick-{}", tick.seq);
            if shown.contains(&tick.seq) {
                return line;
            }
            // The page that begins with it.
            params.link(path, &["ticks"], &[("ticks", &(tick.seq + 1).to_string())]) + &line
        };
        let numbers = run_numbers(view, listed.iter().filter_map(|tick| tick.run_id).collect()).await?;
        Ok(Self {
            decisions: decisions::draw(&newest, line),
            ticks: listed.into_iter().map(|tick| TickRow::of(tick, &numbers)).collect(),
            first_ticks: params.text("ticks").map(|_| params.link(path, &["ticks"], &[])),
            next_ticks: next.map(|cursor| params.link(path, &["ticks"], &[("ticks", &cursor)])),
        })
    }
}

/// Returns the numbers of runs.
pub(super) async fn run_numbers(view: &View, runs: BTreeSet<RunId>) -> Result<BTreeMap<RunId, u64>> {
    let mut numbers = BTreeMap::new();
    for id in runs {
        numbers.extend(view.store.run_summary(id).await?.map(|run| (id, run.number)));
    }
    Ok(numbers)
}
