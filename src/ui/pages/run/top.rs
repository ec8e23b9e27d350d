//! The head of a run's pages: its state, what explains it, and what can be done.

use serde::Serialize;

use super::outcome;
use crate::base::{Clock as _, RunId, SystemClock};
use crate::graph::Graph;
use crate::model::{ActionState, RunAction, RunDetail, RunState};
use crate::scheduler::View;
use crate::ui::page::{Head, Refusal, Result, Section};
use crate::ui::{look, text};

/// A page of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Graph,
    Logs,
    Artifacts,
    Metrics,
    Events,
}

/// The pages of a run: what follows in the address, and the name.
const TABS: [(Tab, &str, &str); 6] = [
    (Tab::Overview, "", "Overview"),
    (Tab::Graph, "/graph", "Graph"),
    (Tab::Logs, "/logs", "Logs"),
    (Tab::Artifacts, "/artifacts", "Artifacts"),
    (Tab::Metrics, "/metrics", "Metrics"),
    (Tab::Events, "/events", "Events"),
];

/// The head.
#[derive(Debug, Serialize)]
pub(super) struct Top {
    id: String,
    pub(super) number: u64,
    kind: &'static str,
    state: &'static str,
    /// The sentence that explains the state.
    sentence: String,
    /// What the sentence ends with after a colon, such as lines for the manifest.
    remedy: Option<String>,
    trigger: String,
    partition: Option<String>,
    created: text::Moment,
    started: Option<text::Moment>,
    ended: Option<text::Moment>,
    took: Option<String>,
    /// When details of it were removed.
    trimmed: Option<text::Moment>,
    /// The number of the run whose inputs it works on again.
    rerun_of: Option<u64>,
    revision: String,
    active: bool,
    tabs: Vec<TabLink>,
    /// The attempt whose log says why it failed.
    pub(super) culprit: Option<String>,
    /// The first action that waits for a person.
    asked: Option<String>,
    /// What a retry does; `None` if there is nothing to retry.
    retry: Option<Retry>,
    /// The id of the run that works on the same inputs again; `None` while this one is active.
    again: Option<String>,
    /// What a cancellation stops; `None` if there is nothing to cancel.
    cancel: Option<Cancel>,
}

#[derive(Debug, Serialize)]
struct TabLink {
    path: String,
    label: &'static str,
    current: bool,
}

/// The actions that a retry runs again, and those whose results stay.
#[derive(Debug, Serialize)]
pub(super) struct Retry {
    again: Vec<String>,
    kept: usize,
}

/// The actions that a cancellation stops, and how many it keeps from starting.
#[derive(Debug, Serialize)]
struct Cancel {
    stopped: Vec<String>,
    unstarted: usize,
}

/// Returns the run that a part of the address names, by number or id.
pub(super) async fn find(view: &View, name: &str) -> Result<RunDetail> {
    let missing = || Refusal::Missing(format!("There is no run {}.", crate::base::escape(name.as_bytes())));
    let id: RunId = match name.parse::<u64>() {
        Ok(number) => view.store.run_by_number(number).await?.ok_or_else(missing)?,
        Err(_) => name.parse().map_err(|_| missing())?,
    };
    view.store.run_progress(id).await?.ok_or_else(missing)
}

/// Returns the head of a page of a run.
pub(super) fn head(detail: &RunDetail, template: &'static str) -> Head {
    Head::below(Section::Runs, template, format!("Run {}", detail.run.number)).about(detail.run.id)
}

impl Top {
    /// Gathers the head of a run.
    pub(super) async fn gather(view: &View, detail: &RunDetail, tab: Tab) -> Result<Self> {
        let (run, now) = (&detail.run, SystemClock.now());
        let (kind, state) = look::run(run.state);
        let base = format!("/runs/{}", run.number);
        let tabs = TABS.iter().map(|(other, path, label)| {
            let path = format!("{base}{path}");
            TabLink { path, label, current: *other == tab }
        });
        let rerun_of = match run.rerun_of {
            Some(id) => view.store.run_summary(id).await?.map(|old| old.number),
            None => None,
        };
        Ok(Self {
            id: run.id.to_string(),
            number: run.number,
            kind,
            state,
            sentence: outcome::sentence(detail, now),
            remedy: outcome::remedy(&detail.run),
            trigger: run.trigger.clone(),
            partition: run.partition.clone(),
            created: text::both(run.created_at),
            started: run.started_at.map(text::both),
            ended: run.ended_at.map(text::both),
            took: run.started_at.map(|started| text::span(run.ended_at.unwrap_or(now).since(started))),
            trimmed: run.trimmed_at.map(text::both),
            rerun_of,
            revision: run.revision.hex().chars().take(12).collect(),
            active: !run.state.ended(),
            tabs: tabs.collect(),
            culprit: outcome::culprit(detail).map(|attempt| attempt.id.to_string()),
            asked: detail.actions.iter().find(|it| it.undecided().is_some()).map(|it| it.name.clone()),
            retry: retry(detail),
            again: run.state.ended().then(|| RunId::new().to_string()),
            cancel: cancel(detail),
        })
    }
}

fn retry(detail: &RunDetail) -> Option<Retry> {
    if !matches!(detail.run.state, RunState::Failed | RunState::Cancelled) {
        return None;
    }
    Some(Retry::of(detail, &[]))
}

impl Retry {
    fn of(detail: &RunDetail, again: &[String]) -> Self {
        let done = |action: &RunAction| action.state.succeeded();
        let stays = |action: &&RunAction| done(action) && !again.contains(&action.name);
        let kept = detail.actions.iter().filter(stays).count();
        let again = detail.actions.iter().filter(|it| !stays(it) && !it.not_triggered());
        Self { again: again.map(|it| it.name.clone()).collect(), kept }
    }

    /// Returns what a retry from an action on runs again. `None` if the run has not ended, or the
    /// action has not succeeded, so that every retry runs it again.
    pub(super) fn from(detail: &RunDetail, graph: Option<&Graph>, action: &RunAction) -> Option<Self> {
        let graph = graph.filter(|_| detail.run.state.ended() && action.state.succeeded())?;
        Some(Self::of(detail, &graph.and_after(graph.place(&action.name)?)))
    }
}

fn cancel(detail: &RunDetail) -> Option<Cancel> {
    if !matches!(detail.run.state, RunState::Queued | RunState::Running) {
        return None;
    }
    let (stopped, waiting): (Vec<_>, Vec<_>) =
        detail.actions.iter().filter(|it| !it.state.ended()).partition(|it| it.state == ActionState::Running);
    Some(Cancel { stopped: stopped.into_iter().map(|it| it.name.clone()).collect(), unstarted: waiting.len() })
}
