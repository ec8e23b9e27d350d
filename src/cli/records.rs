//! Reads the records of a pipeline, also beside a running host.

use std::str::FromStr;
use std::sync::Arc;

use super::failure::Failure;
use super::load::{PathArg, load_for_records};
use super::runtime::runtime;
use super::show::RunOutputs;
use super::{open, out, show};
use crate::base::RunId;
use crate::base::bounds::MAX_PAGE;
use crate::manifest::Pipeline;
use crate::model::{AccessKind, RunDetail};
use crate::store::logs::{self, LogStore};
use crate::store::{FactQuery, MetadataStore, PageRequest, RunQuery, StoreError};

/// Which run: its number, its id, or `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunRef {
    Number(u64),
    Id(RunId),
    Latest,
}

impl FromStr for RunRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let number = text.strip_prefix('#').unwrap_or(text);
        if let Ok(number) = number.parse() {
            return Ok(Self::Number(number));
        }
        text.parse()
            .map(Self::Id)
            .map_err(|_| "a run is named by its number (12), its id (a UUID), or `latest`".to_owned())
    }
}

impl std::fmt::Display for RunRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "#{number}"),
            Self::Id(id) => write!(f, "{id}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// The records of a pipeline, opened read-only.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) pipeline: Pipeline,
    pub(crate) store: Arc<dyn MetadataStore>,
    runtime: tokio::runtime::Runtime,
}

impl Records {
    /// Opens the records of the pipeline at `path`. A host may be using them, and the manifest may
    /// have faults.
    pub(crate) fn open(path: &PathArg) -> Result<Self, Failure> {
        let pipeline = load_for_records(path)?;
        let runtime = runtime()?;
        let store = runtime.block_on(open::for_reading(&pipeline, &path.shown()))?;
        Ok(Self { pipeline, store, runtime })
    }

    /// The log lines of the pipeline.
    pub(crate) fn logs(&self) -> Result<Arc<dyn LogStore>, Failure> {
        Ok(logs::open_read_only(&self.pipeline.state)?)
    }

    /// Waits for an answer of the store.
    pub(crate) fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
        Ok(self.runtime.block_on(question)?)
    }

    /// Waits for any other future.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Returns the message for an empty list of `what`. `path` is the PATH that the user gave.
    pub(crate) fn nothing_yet(&self, what: &str, path: &PathArg) -> Result<String, Failure> {
        let host = open::holder(&self.pipeline)?.is_some();
        Ok(show::nothing_yet(what, &self.pipeline, host, &path.shown()))
    }

    /// Warns if something unfinished is shown while no host is running, because it would look
    /// active. Returns whether it warned.
    pub(crate) fn warn_if_idle(&self, unfinished: bool, path: &PathArg) -> Result<bool, Failure> {
        let idle = unfinished && open::holder(&self.pipeline)?.is_none();
        if idle {
            let run = format!("anacostia run {}", path.shown());
            out::error(&format!("No host is running: unfinished runs continue when one starts (`{run}`).\n"));
        }
        Ok(idle)
    }

    /// The id of a run.
    pub(crate) fn resolve(&self, run: RunRef) -> Result<RunId, Failure> {
        self.runtime.block_on(resolve(self.store.as_ref(), run))
    }

    /// Returns the outputs and metrics of a run.
    pub(crate) fn outputs(&self, run: RunId) -> Result<RunOutputs, Failure> {
        let (mut edges, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.ask(self.store.lineage(run, PageRequest { cursor, limit: MAX_PAGE }))?;
            // A run may have read many artifacts, so only its outputs are kept.
            edges.extend(page.items.into_iter().filter(|edge| edge.kind == AccessKind::Wrote));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut outputs = RunOutputs::of(edges);
        let query = FactQuery { run: Some(run), ..FactQuery::default() };
        let mut cursor = None;
        loop {
            let page = self.ask(self.store.metrics(query.clone(), PageRequest { cursor, limit: MAX_PAGE }))?;
            outputs.take(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(outputs);
            }
        }
    }

    /// Returns a run with its actions and attempts.
    pub(crate) fn run(&self, run: RunRef) -> Result<RunDetail, Failure> {
        let id = self.resolve(run)?;
        self.ask(self.store.run_progress(id))?.ok_or_else(|| no_such_run(run))
    }
}

/// The id of a run.
pub(crate) async fn resolve(store: &dyn MetadataStore, run: RunRef) -> Result<RunId, Failure> {
    let found = match run {
        RunRef::Id(id) => Some(id),
        RunRef::Number(number) => store.run_by_number(number).await?,
        RunRef::Latest => {
            let page = store.runs(RunQuery::default(), PageRequest { cursor: None, limit: 1 }).await?;
            page.items.first().map(|run| run.id)
        }
    };
    found.ok_or_else(|| no_such_run(run))
}

/// The failure for a run that is not on record.
pub(crate) fn no_such_run(run: RunRef) -> Failure {
    match run {
        RunRef::Latest => Failure::usage("there are no runs yet"),
        _ => Failure::usage(format!("there is no run {run}; `anacostia runs list` shows those on record")),
    }
}

#[cfg(test)]
mod tests {
    use super::RunRef;
    use crate::base::RunId;

    #[test]
    fn a_run_is_found_by_number_id_or_latest() {
        let id = RunId::new();
        assert_eq!("12".parse(), Ok(RunRef::Number(12)));
        assert_eq!("#12".parse(), Ok(RunRef::Number(12)));
        assert_eq!("latest".parse(), Ok(RunRef::Latest));
        assert_eq!(id.to_string().parse(), Ok(RunRef::Id(id)));
        assert!("last".parse::<RunRef>().is_err());
    }
}
