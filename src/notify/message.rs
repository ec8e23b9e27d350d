//! The text of notifications: what happened, where, why, and where to look.

use std::fmt::Write as _;
use std::time::Duration;

use super::time::now;
use crate::base::bounds::cut;
use crate::base::{NotificationId, TimeSpan};
use crate::manifest::NotifySpec;
use crate::model::{ActionState, Artifact, Event, Notification, NotificationState, NotifyCause, Page, Run, RunDetail};

/// The most actions that a message names.
const MAX_ACTIONS: usize = 20;
/// The most bytes of an error or a message of an action.
const MAX_DETAIL: usize = 1_000;

/// Writes notifications about one pipeline.
pub(super) struct Writer {
    pipeline: String,
    /// The URL of the server, without a slash at the end.
    address: String,
}

impl Writer {
    pub(super) fn new(pipeline: &str, address: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), address: address.to_owned() }
    }

    /// Writes about a run that ended, as the event `event` says. `inputs` is the first page of its
    /// inputs.
    pub(super) fn about_run(
        &self,
        spec: &NotifySpec,
        cause: NotifyCause,
        event: u64,
        run: &RunDetail,
        inputs: &Page<Artifact>,
    ) -> Notification {
        let number = run.run.number;
        let ended = if cause == NotifyCause::RunFailed { "failed" } else { "succeeded" };
        let title = format!("{}: run #{number} {ended}", self.pipeline);
        let mut text = format!("Run #{number} of the pipeline {} {ended}.\n\n", self.pipeline);
        for line in action_lines(run) {
            text.push_str(&line);
        }
        text.push('\n');
        if cause == NotifyCause::RunFailed {
            let [retry, show] = Run::next_commands(number, "");
            let choose = Run::choose_inputs("", &inputs.items, inputs.next_cursor.is_none())
                .map(|command| format!("  {command}\n"))
                .unwrap_or_default();
            let _ = writeln!(text, "After a fix:\n  {retry}\n{choose}See:\n  {show}");
        }
        let _ = writeln!(text, "Trigger: {}", cut(&run.run.trigger, MAX_DETAIL));
        let _ = writeln!(text, "Run: {}/runs/{number}", self.address);
        Notification {
            event: Some(event),
            run_id: Some(run.run.id),
            run_number: Some(number),
            ..blank(spec, cause, title, text)
        }
    }

    /// Writes that an action waits for approval, as `event` says. `None` if it no longer waits,
    /// because nobody needs a message about a decided approval.
    pub(super) fn about_approval(&self, spec: &NotifySpec, event: &Event, run: &RunDetail) -> Option<Notification> {
        let (number, name) = (run.run.number, event.action.as_deref()?);
        let action = run.actions.iter().find(|action| action.name == name)?;
        let approval = action.undecided()?;
        let title = format!("{}: run #{number} waits for approval of {name}", self.pipeline);
        let until = approval.until.map(|until| format!(" Without a decision it fails at {until}.")).unwrap_or_default();
        let mut text = format!(
            "The action {name} of run #{number} of the pipeline {} waits for approval: {}.{until}\n\n",
            self.pipeline, approval.who
        );
        for line in action_lines(run) {
            text.push_str(&line);
        }
        let url = format!("{}/api/v1/runs/{number}/actions/{name}/approve", self.address);
        let _ = writeln!(text, "\nApprove: anacostia runs approve {number} {name}, or POST {url}");
        let _ = writeln!(text, "Reject: the same with `reject`; both take a note");
        let _ = writeln!(text, "Page: {}/approvals", self.address);
        let _ = writeln!(text, "Trigger: {}", cut(&run.run.trigger, MAX_DETAIL));
        let _ = writeln!(text, "Run: {}/runs/{number}", self.address);
        Some(Notification {
            event: Some(event.seq),
            run_id: Some(run.run.id),
            run_number: Some(number),
            ..blank(spec, NotifyCause::AwaitingApproval, title, text)
        })
    }

    /// Writes that no artifact has arrived for some time in a resource, or in all that are watched.
    pub(super) fn about_silence(
        &self,
        spec: &NotifySpec,
        span: Duration,
        resource: Option<&str>,
        watched: &[String],
    ) -> Notification {
        let (pipeline, span) = (&self.pipeline, TimeSpan(span));
        let (title, place) = match resource {
            Some(name) => (
                format!("{pipeline}: nothing new in {name} for {span}"),
                format!("the resource {name} of the pipeline {pipeline}"),
            ),
            None => (
                format!("{pipeline}: nothing new for {span}"),
                format!("the watched resources of the pipeline {pipeline}: {}", watched.join(", ")),
            ),
        };
        let text = format!("No new artifact has arrived for {span} in {place}.\n\nPipeline: {}/\n", self.address);
        let resource = resource.map(str::to_owned);
        Notification { resource, ..blank(spec, NotifyCause::NothingNew, title, text) }
    }

    /// Writes that a resource cannot be reached.
    pub(super) fn about_unreachable(&self, spec: &NotifySpec, resource: &str, why: &str) -> Notification {
        let title = format!("{}: {resource} cannot be reached", self.pipeline);
        let text = format!(
            "The resource {resource} of the pipeline {} cannot be reached: {}\n\nOnce it can be reached again, new \
             artifacts are recorded and waiting outputs are published.\n\nPipeline: {}/\n",
            self.pipeline,
            cut(why, MAX_DETAIL),
            self.address
        );
        let resource = Some(resource.to_owned());
        Notification { resource, ..blank(spec, NotifyCause::ResourceUnreachable, title, text) }
    }
}

/// Says how actions ended: failed ones with their error, succeeded ones with their message.
fn action_lines(run: &RunDetail) -> Vec<String> {
    let failed = |state| state == ActionState::Failed;
    let mut actions: Vec<_> = run.actions.iter().filter(|action| !action.not_triggered()).collect();
    // Put the failed actions first: a message has few lines, and they are what it is about.
    actions.sort_by_key(|action| !failed(action.state));
    let more = actions.len().saturating_sub(MAX_ACTIONS);
    let mut lines: Vec<String> = actions
        .iter()
        .take(MAX_ACTIONS)
        .map(|action| {
            let last = run.attempts.iter().filter(|attempt| attempt.action == action.name).max_by_key(|it| it.number);
            let error = last.and_then(|attempt| attempt.error.as_ref()).map(|error| error.message.as_str());
            let message = last.and_then(|attempt| attempt.message.as_deref());
            let detail = if failed(action.state) { error.or(message) } else { message };
            match detail.or(action.reason.as_deref()) {
                Some(detail) => format!("{} {}: {}\n", action.name, action.state, cut(detail, MAX_DETAIL).trim_end()),
                None => format!("{} {}\n", action.name, action.state),
            }
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {more} more actions\n"));
    }
    lines
}

fn blank(spec: &NotifySpec, cause: NotifyCause, title: String, text: String) -> Notification {
    Notification {
        id: NotificationId::new(),
        name: spec.name.clone(),
        channel: spec.channel.kind().to_owned(),
        cause,
        event: None,
        run_id: None,
        run_number: None,
        resource: None,
        title,
        text,
        state: NotificationState::Waiting,
        attempts: 0,
        error: None,
        created_at: now(),
        ended_at: None,
    }
}
