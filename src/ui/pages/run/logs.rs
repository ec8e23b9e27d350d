//! `/runs/{run}/logs`: the log of one attempt, from its end or from a line on, and what is found in
//! it.
//!
//! The address of a line has the place at which its page begins, so that it opens at once in a log
//! of any size.

use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::lines::Line;
use super::outcome;
use super::top::{self, Tab, Top};
use crate::model::{Attempt, LogLevel, LogLine, LogRange, RunDetail};
use crate::scheduler::View;
use crate::store::logs::LogStore;
use crate::ui::page::{self, Params, Refusal, Result};
use crate::ui::{Pages, ansi, look};

/// Lines on a page.
const LINES: u32 = 500;
/// How long one page of a search goes through a log. A reader sees how far it has come, and lets it
/// go on.
const SEARCH: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each decides about a part of the template")]
struct Content {
    top: Top,
    attempts: Vec<Choice>,
    levels: Vec<Level>,
    find: String,
    lines: Vec<Line>,
    /// The attempt whose log is shown; `None` if none has started.
    shown: Option<String>,
    /// Whether lines were removed to make room.
    removed: bool,
    /// Whether more lines follow by themselves.
    follows: bool,
    /// Whether the page opens at its last line, because it is the end of a log that goes on before
    /// or after it.
    opens_at_end: bool,
    /// Whether only lines that were searched for are shown.
    filtered: bool,
    start: Option<String>,
    earlier: Option<String>,
    later: Option<String>,
    end: Option<String>,
    /// The line to which a search has come that can go on.
    come_to: Option<u64>,
    json: String,
}

#[derive(Debug, Serialize)]
struct Choice {
    id: String,
    text: String,
    chosen: bool,
}

#[derive(Debug, Serialize)]
struct Level {
    word: &'static str,
    text: &'static str,
    chosen: bool,
}

/// What to read of a log.
struct Reading {
    attempt: Attempt,
    at: Option<String>,
    before: Option<String>,
    from_start: bool,
    find: String,
    level: LogLevel,
}

/// A page of a log.
#[derive(Default)]
struct Part {
    /// The lines, with the cursor of a page that has them; `None` is the start of the log.
    lines: Vec<(Option<String>, Vec<LogLine>)>,
    /// The cursor of its first line.
    first: Option<String>,
    earlier: bool,
    /// The cursor after its last line, if more may follow.
    next: Option<String>,
    /// The last line that a search has looked at, if more may follow.
    come_to: Option<u64>,
    removed: bool,
}

/// `GET /runs/{run}/logs`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>, uri: Uri) -> Response {
    let gathered = gather(&pages.view, &name, &uri).await;
    page::answer(&pages, gathered.map(|(detail, content)| (top::head(&detail, "run_logs.html"), content))).await
}

async fn gather(view: &View, name: &str, uri: &Uri) -> Result<(RunDetail, Content)> {
    let (detail, params) = (top::find(view, name).await?, Params::of(uri)?);
    let attempt = chosen(&detail, &params)?.cloned();
    let level = level(&params)?;
    let path = format!("/runs/{}/logs", detail.run.number);
    let find = params.text("find").unwrap_or_default().to_owned();
    let filtered = !find.is_empty() || level != LogLevel::Debug;
    let ended = attempt.as_ref().is_none_or(|attempt| attempt.log_to.is_some());
    let reads_end = !["at", "before", "from"].iter().any(|name| params.text(name).is_some()) && !filtered;
    let part = match attempt.clone() {
        Some(attempt) => {
            read(
                view,
                Reading {
                    attempt,
                    at: params.text("at").map(str::to_owned),
                    before: params.text("before").map(str::to_owned),
                    from_start: params.text("from") == Some("start"),
                    find: find.to_lowercase(),
                    level,
                },
            )
            .await?
        }
        None => Part::default(),
    };
    let id = attempt.as_ref().map(|attempt| attempt.id.to_string());
    let own: Vec<(&str, &str)> = id.iter().map(|id| ("attempt", id.as_str())).collect();
    let go = |name: &str, value: &str| {
        params.link(&path, &["at", "before", "from", "line", "attempt"], &[own.as_slice(), &[(name, value)]].concat())
    };
    let here = |at: Option<&str>| {
        let place = at.map_or(("from", "start"), |at| ("at", at));
        Params::default().link(&path, &[], &[own.as_slice(), &[place]].concat())
    };
    let marked = params.text("line").and_then(|line| line.parse::<u64>().ok());
    let content = Content {
        top: Top::gather(view, &detail, Tab::Logs).await?,
        attempts: detail.attempts.iter().map(|it| choice(it, id.as_deref())).collect(),
        levels: levels(level),
        lines: part.lines.iter().flat_map(|(at, lines)| shown(lines, &here(at.as_deref()), marked)).collect(),
        removed: part.removed,
        follows: !ended && reads_end,
        opens_at_end: reads_end && (!ended || part.earlier),
        filtered,
        start: (part.earlier && !filtered).then(|| go("from", "start")),
        earlier: part.first.as_deref().filter(|_| part.earlier && !filtered).map(|first| go("before", first)),
        later: part.next.as_deref().map(|next| go("at", next)),
        end: (!reads_end && !filtered).then(|| Params::default().link(&path, &[], &own)),
        come_to: part.come_to,
        json: Params::default().link(&format!("/api/v1{path}"), &[], &own),
        shown: id,
        find,
    };
    Ok((detail, content))
}

/// Converts lines that are on the page `page`, of which one may be marked.
fn shown(lines: &[LogLine], page: &str, marked: Option<u64>) -> Vec<Line> {
    lines.iter().map(|line| Line::of(line, page, marked == Some(line.n))).collect()
}

/// Returns the attempt whose log is asked for: by default the one with which the run failed, or the
/// last one that has started.
fn chosen<'a>(detail: &'a RunDetail, params: &Params) -> Result<Option<&'a Attempt>> {
    if let Some(id) = params.text("attempt") {
        let found = detail.attempts.iter().find(|attempt| attempt.id.to_string() == id);
        let missing = || Refusal::Missing(format!("Run {} has no attempt with this id.", detail.run.number));
        return found.map(Some).ok_or_else(missing);
    }
    let of_action = params.text("action").map(|name| detail.attempts.iter().rfind(|it| it.action == name));
    Ok(of_action.unwrap_or_else(|| outcome::culprit(detail).or_else(|| detail.attempts.last())))
}

fn level(params: &Params) -> Result<LogLevel> {
    let level = params.text("level").map_or(Ok(LogLevel::Debug), str::parse);
    level.map_err(|error| Refusal::Invalid(format!("The level is not valid: {error}.")))
}

fn levels(chosen: LogLevel) -> Vec<Level> {
    let names = [
        (LogLevel::Debug, "", "All levels"),
        (LogLevel::Info, "info", "Info and above"),
        (LogLevel::Warn, "warn", "Warnings and errors"),
        (LogLevel::Error, "error", "Errors"),
    ];
    names.map(|(level, word, text)| Level { word, text, chosen: level == chosen }).into()
}

fn choice(attempt: &Attempt, chosen: Option<&str>) -> Choice {
    let id = attempt.id.to_string();
    let (_, state) = look::attempt(attempt.state);
    let text = format!("{}, attempt {}: {state}", attempt.action, attempt.number);
    Choice { chosen: Some(id.as_str()) == chosen, text, id }
}

/// Reads a log on a blocking thread, because it is a file.
async fn read(view: &View, reading: Reading) -> Result<Part> {
    let logs = view.logs.clone();
    let part = tokio::task::spawn_blocking(move || reading.part(logs.as_ref()));
    Ok(part.await.map_err(|error| Refusal::Internal(format!("reading the log: {error}")))??)
}

impl Reading {
    fn part(&self, logs: &dyn LogStore) -> crate::store::Result<Part> {
        let range = LogRange { from: self.attempt.log_from, to: self.attempt.log_to };
        if !self.find.is_empty() || self.level != LogLevel::Debug {
            return self.search(logs, range);
        }
        if self.from_start || self.at.is_some() {
            let page = logs.read(self.attempt.id, range, self.at.as_deref(), LINES)?;
            let first = self.at.clone();
            let earlier = first.is_some();
            let next = page.next_cursor.filter(|_| page.items.len() >= LINES as usize || range.to.is_some());
            let lines = vec![(first.clone(), page.items)];
            return Ok(Part { lines, first, earlier, next, come_to: None, removed: page.removed });
        }
        let tail = logs.tail(self.attempt.id, range, self.before.as_deref(), LINES)?;
        let (next, first) = (self.before.clone(), Some(tail.first));
        let lines = vec![(first.clone(), tail.items)];
        Ok(Part { lines, first, earlier: tail.earlier, next, come_to: None, removed: tail.removed })
    }

    /// Goes through the log for lines that fit, for as long as a page may take: the next one goes
    /// on from there. A page is read at once, so that each line is on the page that begins there.
    fn search(&self, logs: &dyn LogStore, range: LogRange) -> crate::store::Result<Part> {
        let mut part = Part { first: self.at.clone(), ..Part::default() };
        let (mut at, mut count, began) = (self.at.clone(), 0, Instant::now());
        loop {
            let page = logs.read(self.attempt.id, range, at.as_deref(), LINES)?;
            part.come_to = page.items.last().map(|line| line.n).or(part.come_to);
            part.removed |= page.removed;
            let fit: Vec<LogLine> = page.items.into_iter().filter(|line| self.fits(line)).collect();
            count += fit.len();
            // A log that still grows has no end, but its last page leads to itself.
            let ended = page.next_cursor.is_none() || page.next_cursor == at;
            if !fit.is_empty() {
                part.lines.push((at, fit));
            }
            if ended {
                return Ok(Part { come_to: None, ..part });
            }
            at = page.next_cursor;
            if count >= LINES as usize || began.elapsed() >= SEARCH {
                part.next = at;
                return Ok(part);
            }
        }
    }

    fn fits(&self, line: &LogLine) -> bool {
        let rank = |level| LogLevel::ALL.iter().position(|other| *other == level);
        let has = |text: &str| text.to_lowercase().contains(&self.find);
        rank(line.level) >= rank(self.level)
            && (has(&ansi::plain(&line.text))
                || line.fields.iter().any(|(name, value)| has(&format!("{name}={value}"))))
    }
}
