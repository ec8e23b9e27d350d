//! `/api/v1/runs/{id}/logs`: the log lines of a run, ordered by attempt. A client follows the log
//! by repeating the request with the cursor.
//!
//! The cursor has a separate position for each attempt that runs at the same time, so that an
//! attempt with a slow log does not delay the lines of the others, and none of its lines are
//! skipped. The cursor contains how many of the run's attempts have been started (their order never
//! changes), and the position in each of those that may have more lines: `3,1@…,2@…`.
//!
//! Lines of ended runs are removed when the log has reached its bound. A page names the attempts
//! with removed lines. If nothing of the requested log is left, the answer is 410.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::runs::find_progress;
use crate::base::{AttemptId, Timestamp};
use crate::http::App;
use crate::http::problem::{Problem, Result};
use crate::http::query::{Query, Segment};
use crate::model::{Attempt, LogLevel, LogLine, LogRange, LogStream};
use crate::store::logs::LogStore;

/// A line of the log of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LineBody {
    /// Time of the line.
    t: Timestamp,
    /// The action.
    action: String,
    /// The attempt.
    attempt: AttemptId,
    /// Line number within the attempt, from 1.
    #[schema(minimum = 1)]
    n: u64,
    /// Its level.
    level: LogLevel,
    /// Its source.
    stream: LogStream,
    /// One line, with secrets masked and control characters escaped.
    text: String,
    /// Structured fields of the line.
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl LineBody {
    /// Converts a line of an attempt of `action`.
    pub(crate) fn new(line: LogLine, action: &str) -> Self {
        Self {
            t: line.t,
            action: action.to_owned(),
            attempt: line.attempt,
            n: line.n,
            level: line.level,
            stream: line.stream,
            text: line.text,
            fields: line.fields.into_iter().map(|(name, value)| (name, value.into())).collect(),
        }
    }
}

/// A page of the log of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Log)]
pub(super) struct LogBody {
    /// The items of this page.
    items: Vec<LineBody>,
    /// Cursor of the next page. A run that has not ended always has one.
    #[schema(required)]
    next_cursor: Option<String>,
    /// The attempts on this page some of whose lines have been removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<AttemptId>,
}

/// `GET /api/v1/runs/{id}/logs`
pub(super) async fn list(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<LogBody>> {
    let query = Query::parse(&uri, &["action", "attempt", "limit", "cursor"])?;
    let limit = query.limit()?;
    let detail = find_progress(&app.view, &id).await?;
    let wanted = Wanted::new(&query, &detail.attempts)?;
    let cursor = match query.text("cursor") {
        Some(text) => LogCursor::parse(text, detail.attempts.len())
            .ok_or_else(|| Problem::bad_parameter("cursor", "it is not from a page of this run's log"))?,
        None => LogCursor::default(),
    };
    let (ended, attempts) = (detail.run.state.ended(), detail.attempts.len());
    let reading = Reading { logs: app.view.logs, attempts: detail.attempts, wanted, limit };
    // The log is a file, so it is read on a blocking thread.
    let RunPage { lines: items, after, removed } =
        tokio::task::spawn_blocking(move || reading.page(cursor))
            .await
            .map_err(|error| Problem::internal(format!("reading the log: {error}")))??;
    let more = after.has_more(attempts) || !ended;
    if items.is_empty() && !more && !removed.is_empty() {
        return Err(Problem::gone(
            "the requested log lines were removed; `logs` in `[pipeline]` and in `[retention]` say which are kept",
        ));
    }
    Ok(Json(LogBody { items, next_cursor: more.then(|| after.to_string()), removed }))
}

/// Lines of several attempts, the cursor after them, and the attempts some of whose lines have been
/// removed.
struct RunPage {
    lines: Vec<LineBody>,
    after: LogCursor,
    removed: Vec<AttemptId>,
}

/// The requested attempts.
struct Wanted {
    action: Option<String>,
    attempt: Option<AttemptId>,
}

impl Wanted {
    fn new(query: &Query, attempts: &[Attempt]) -> Result<Self> {
        let attempt = query.value::<AttemptId>("attempt")?;
        if let Some(id) = attempt
            && !attempts.iter().any(|known| known.id == id)
        {
            return Err(Problem::not_found(format!("the run has no attempt {id}")));
        }
        Ok(Self { action: query.owned("action"), attempt })
    }

    fn has(&self, attempt: &Attempt) -> bool {
        self.action.as_ref().is_none_or(|name| *name == attempt.action)
            && self.attempt.is_none_or(|id| id == attempt.id)
    }
}

/// The position of a client in the logs of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LogCursor {
    /// Number of attempts whose lines the client has begun to read.
    begun: usize,
    /// Those of them that may have more lines, and the positions of these lines.
    open: Vec<(usize, String)>,
}

impl LogCursor {
    fn parse(text: &str, attempts: usize) -> Option<Self> {
        let mut parts = text.split(',');
        let begun = parts.next()?.parse().ok().filter(|begun| *begun <= attempts)?;
        let mut open: Vec<(usize, String)> = Vec::new();
        for part in parts {
            let (place, inner) = part.split_once('@')?;
            let place = place.parse().ok()?;
            if place >= begun || open.last().is_some_and(|(last, _)| *last >= place) {
                return None;
            }
            open.push((place, inner.to_owned()));
        }
        Some(Self { begun, open })
    }

    /// Returns whether there may be more lines, now or later.
    fn has_more(&self, attempts: usize) -> bool {
        self.begun < attempts || !self.open.is_empty()
    }
}

impl std::fmt::Display for LogCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.begun)?;
        self.open.iter().try_for_each(|(place, inner)| write!(f, ",{place}@{inner}"))
    }
}

struct Reading {
    logs: Arc<dyn LogStore>,
    attempts: Vec<Attempt>,
    wanted: Wanted,
    limit: u32,
}

impl Reading {
    /// Returns up to `limit` lines from the cursor on, and the cursor after them.
    fn page(&self, cursor: LogCursor) -> Result<RunPage> {
        let (mut lines, mut removed) = (Vec::new(), Vec::new());
        let mut after = LogCursor { begun: cursor.begun, ..LogCursor::default() };
        let mut left = self.limit;
        let continued = cursor.open.into_iter().map(|(place, inner)| (place, Some(inner)));
        let fresh = (cursor.begun..self.attempts.len()).map(|place| (place, None));
        for (place, inner) in continued.chain(fresh) {
            let attempt = self.attempts.get(place).filter(|attempt| self.wanted.has(attempt));
            if left == 0 && attempt.is_some() {
                // An attempt that was begun keeps its position. The others stay unbegun.
                let Some(inner) = inner else { break };
                after.open.push((place, inner));
                continue;
            }
            after.begun = after.begun.max(place + 1);
            let Some(attempt) = attempt else { continue };
            let range = LogRange { from: attempt.log_from, to: attempt.log_to };
            let found = self.logs.read(attempt.id, range, inner.as_deref(), left)?;
            left = left.saturating_sub(u32::try_from(found.items.len()).unwrap_or(u32::MAX));
            lines.extend(found.items.into_iter().map(|line| LineBody::new(line, &attempt.action)));
            removed.extend(found.removed.then_some(attempt.id));
            if let Some(next) = found.next_cursor {
                after.open.push((place, next));
                if attempt.log_to.is_some() {
                    // Reading stopped because too many lines of other attempts lie in between; that
                    // is enough work for one request.
                    left = 0;
                }
            }
        }
        Ok(RunPage { lines, after, removed })
    }
}

#[cfg(test)]
mod tests {
    use super::LogCursor;

    #[test]
    fn a_cursor_round_trips_and_other_text_is_refused() {
        let cursor = LogCursor { begun: 3, open: vec![(0, "1:20".into()), (2, "7:0".into())] };
        assert_eq!(LogCursor::parse(&cursor.to_string(), 3), Some(cursor));
        assert_eq!(LogCursor::parse("0", 0), Some(LogCursor::default()));
        for bad in ["", "x", "4", "3,3@a", "3,1@a,1@b", "3,2@a,1@b", "3,1", "-1"] {
            assert_eq!(LogCursor::parse(bad, 3), None, "{bad}");
        }
    }
}
