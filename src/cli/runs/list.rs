//! `anacostia runs list`.

use std::collections::BTreeMap;

use crate::base::{Clock as _, SystemClock, Timestamp, When};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::{End, Failure, out, show};
use crate::http::bodies::RunBody;
use crate::model::{Page, Run, RunState};
use crate::store::{PageRequest, ParamFilter, RunQuery, RunSort, TagFilter, what_next};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Only runs in these states: queued, running, succeeded, failed, cancelling, cancelled
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<RunState>,
    /// Only runs that this trigger led to
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Only runs created at this time or later: 2026-03-01, 2026-03-01T12:00:00Z, or 24h (ago)
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only runs created before this time
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Only runs with this param, which they were given or an action recorded
    #[arg(long, value_name = "NAME=VALUE")]
    param: Option<ParamFilter>,
    /// Only runs with this tag
    #[arg(long, value_name = "NAME[=VALUE]")]
    tag: Option<TagFilter>,
    /// The order: newest, oldest, longest or shortest
    #[arg(long, value_name = "ORDER", default_value_t)]
    sort: RunSort,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Continue where the previous page ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the page as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let (cursor, filters) = (args.cursor.clone(), args.filters());
    let page = find(&records, &args.query(SystemClock.now()), cursor, args.limit)?;
    if args.json {
        out::json(&records.ask(RunBody::read_page(records.store.as_ref(), page))?)?;
    } else if page.items.is_empty() {
        let states: Vec<&str> = args.state.iter().map(|state| state.as_str()).collect();
        out::error(&match (filters.as_slice(), states.as_slice()) {
            ([], _) => records.nothing_yet("runs", &args.path)?,
            (["--state"], states) => {
                format!("no run is {}; leave out `--state` to see all\n", states.join(" or "))
            }
            (filters, _) => format!("no run fits; leave out `{}` to see all\n", filters.join("`, `")),
        });
    } else {
        let mut actions = BTreeMap::new();
        for run in page.items.iter().filter(|run| !run.state.ended()) {
            let detail = records.ask(records.store.run_progress(run.id))?;
            actions.extend(detail.map(|detail| (run.id, detail.actions)));
        }
        out::result(&show::run_list(&page.items, &actions, SystemClock.now(), out::result_width()))?;
        records.warn_if_idle(page.items.iter().any(|run| !run.state.ended()), &args.path)?;
        if let Some(failed) = page.items.iter().find(|run| run.state == RunState::Failed) {
            let path = show::beside(&show::plain(&args.path.shown()));
            let next = records.ask(what_next(records.store.as_ref(), failed, &path))?.unwrap_or_default();
            out::error(&format!("Run #{} failed; {}.\n", failed.number, show::plain(&next)));
        }
        if let Some(cursor) = page.next_cursor {
            out::error(&format!("There are more: add `--cursor {cursor}`.\n"));
        }
    }
    Ok(End::Well)
}

impl Args {
    fn query(&self, now: Timestamp) -> RunQuery {
        RunQuery {
            states: self.state.clone(),
            trigger: self.trigger.clone(),
            since: self.since.map(|when| when.at(now)),
            until: self.until.map(|when| when.at(now)),
            param: self.param.clone(),
            tag: self.tag.clone(),
            before_run: None,
            sort: self.sort,
        }
    }

    /// The filters that are given, which may leave out runs.
    fn filters(&self) -> Vec<&'static str> {
        let by_duration = matches!(self.sort, RunSort::Longest | RunSort::Shortest);
        let all = [
            ("--state", !self.state.is_empty()),
            ("--trigger", self.trigger.is_some()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
            ("--param", self.param.is_some()),
            ("--tag", self.tag.is_some()),
            ("--sort", by_duration),
            ("--cursor", self.cursor.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

/// Finds `limit` runs, if there are so many: a page of the store may be short before the last one.
fn find(records: &Records, query: &RunQuery, cursor: Option<String>, limit: u32) -> Result<Page<Run>, Failure> {
    let mut found = Page { items: Vec::new(), next_cursor: cursor };
    loop {
        let missing = limit.saturating_sub(u32::try_from(found.items.len()).unwrap_or(u32::MAX));
        let request = PageRequest { cursor: found.next_cursor.take(), limit: missing };
        let page = records.ask(records.store.runs(query.clone(), request))?;
        found.items.extend(page.items);
        found.next_cursor = page.next_cursor;
        if found.next_cursor.is_none() || found.items.len() >= limit as usize {
            return Ok(found);
        }
    }
}
