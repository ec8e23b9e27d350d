//! `anacostia runs logs`: the lines of all attempts of a run, merged by time.
//!
//! Each attempt has its own cursor and one buffered page; the oldest buffered line is printed next.
//! So memory holds one page for each attempt, however long the logs are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::AttemptId;
use crate::cli::load::PathArg;
use crate::cli::records::{Records, RunRef};
use crate::cli::{End, Failure, out, show};
use crate::http::bodies::LineBody;
use crate::model::{Attempt, LogLine, LogRange, RunDetail};
use crate::store::logs::LogStore;

/// Buffered lines of each attempt.
const PAGE: u32 = 500;
/// Most attempts that a message names.
const MAX_NAMES: usize = 5;
/// How often `--follow` looks for new lines. Another process writes them, so this process cannot
/// wait for a notification.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run: its number, its id, or `latest`
    run: RunRef,
    #[command(flatten)]
    path: PathArg,
    /// Only of this action
    #[arg(long)]
    action: Option<String>,
    /// Follow the log until the run has ended
    #[arg(long, short)]
    follow: bool,
    /// Print each line as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn logs(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let mut detail = records.run(args.run)?;
    check_action(args.action.as_deref(), &detail)?;
    let logs = records.logs()?;
    let mut merge = Merge::default();
    let mut printed = 0_u64;
    loop {
        // The state is read before the lines: all lines of an ended run are there by then, so none
        // is missed.
        let ended = detail.run.state.ended();
        merge.meet(&detail, args.action.as_deref());
        while let Some((line, source)) = merge.next(logs.as_ref())? {
            print(args, line, &source, merge.width)?;
            printed += 1;
        }
        // Without a host no more lines are written.
        if ended || !args.follow || records.warn_if_idle(true, &args.path)? {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
        detail = records.ask(records.store.run_progress(detail.run.id))?.unwrap_or(detail);
    }
    if let Some(what) = merge.removed() {
        let key = "`[pipeline] logs` and `[retention] logs` in the manifest say which are kept";
        let summary = format!("run #{}: {what}; {key}", detail.run.number);
        if printed == 0 {
            return Err(Failure::work(summary));
        }
        out::error(&format!("{summary}\n"));
    } else if printed == 0 && !args.json {
        let what = args.action.as_deref().map_or("its actions have".to_owned(), |action| format!("`{action}` has"));
        let yet = if detail.run.state.ended() { "" } else { " yet; `--follow` waits for lines" };
        out::error(&format!("run #{}: {what} logged nothing{yet}\n", detail.run.number));
    }
    Ok(End::Well)
}

fn check_action(action: Option<&str>, detail: &RunDetail) -> Result<(), Failure> {
    let Some(action) = action else { return Ok(()) };
    if detail.actions.iter().any(|known| known.name == action) {
        return Ok(());
    }
    let known: Vec<&str> = detail.actions.iter().map(|action| action.name.as_str()).collect();
    Err(Failure::usage(format!("run #{} has no action `{action}`; it has {}", detail.run.number, known.join(", "))))
}

fn print(args: &Args, line: LogLine, name: &AttemptName, width: usize) -> std::io::Result<()> {
    if args.json {
        out::json(&LineBody::new(line, &name.action))
    } else {
        out::result(&show::log_line(&line, &name.shown, width))
    }
}

/// The attempts whose lines are merged.
#[derive(Debug, Default)]
struct Merge {
    sources: Vec<Source>,
    /// The width of the widest name.
    width: usize,
}

/// The name of the attempt that wrote the lines.
#[derive(Debug)]
struct AttemptName {
    action: String,
    /// The action, with the number of the attempt if it is not the first.
    shown: String,
}

#[derive(Debug)]
struct Source {
    attempt: AttemptId,
    name: Arc<AttemptName>,
    range: LogRange,
    cursor: Option<String>,
    /// All lines have been read.
    read_all: bool,
    /// There was no further line at the last look; there may be one in the next round.
    dry: bool,
    /// Some of its lines have been removed.
    removed: bool,
    at_hand: VecDeque<LogLine>,
}

impl Merge {
    /// Begins a round: adds attempts that have started, and updates those that have ended since.
    fn meet(&mut self, detail: &RunDetail, action: Option<&str>) {
        for attempt in detail.attempts.iter().filter(|attempt| action.is_none_or(|name| attempt.action == name)) {
            if let Some(known) = self.sources.iter_mut().find(|known| known.attempt == attempt.id) {
                (known.range.to, known.dry) = (attempt.log_to, false);
            } else {
                self.sources.push(Source::of(attempt));
            }
        }
        self.width = self.sources.iter().map(|source| source.name.shown.chars().count()).max().unwrap_or(0);
    }

    /// The message about removed lines, with their attempts; `None` if none were removed.
    fn removed(&self) -> Option<String> {
        let mut whose: Vec<&str> =
            self.sources.iter().filter(|source| source.removed).map(|source| source.name.shown.as_str()).collect();
        let more = whose.len().saturating_sub(MAX_NAMES);
        whose.truncate(MAX_NAMES);
        let others =
            if more > 0 { format!(" and {}", show::plural(more as u64, "other attempt")) } else { String::new() };
        let names = Some(whose.join(", ")).filter(|names| !names.is_empty())?;
        Some(format!("log lines of {names}{others} have been removed"))
    }

    /// Returns the oldest line that was not returned yet.
    fn next(&mut self, logs: &dyn LogStore) -> Result<Option<(LogLine, Arc<AttemptName>)>, Failure> {
        for source in &mut self.sources {
            source.fill(logs)?;
        }
        let oldest = self
            .sources
            .iter_mut()
            .filter(|source| !source.at_hand.is_empty())
            .min_by_key(|source| source.at_hand.front().map(|line| line.t));
        Ok(oldest.and_then(|source| source.at_hand.pop_front().map(|line| (line, Arc::clone(&source.name)))))
    }
}

impl Source {
    fn of(attempt: &Attempt) -> Self {
        let shown = match attempt.number {
            1 => attempt.action.clone(),
            number => format!("{}#{number}", attempt.action),
        };
        Self {
            attempt: attempt.id,
            name: Arc::new(AttemptName { action: attempt.action.clone(), shown }),
            range: LogRange { from: attempt.log_from, to: attempt.log_to },
            cursor: None,
            read_all: false,
            dry: false,
            removed: false,
            at_hand: VecDeque::new(),
        }
    }

    fn fill(&mut self, logs: &dyn LogStore) -> Result<(), Failure> {
        if !self.at_hand.is_empty() || self.read_all || self.dry {
            return Ok(());
        }
        let page = logs.read(self.attempt, self.range, self.cursor.as_deref(), PAGE)?;
        self.removed |= page.removed;
        self.dry = page.items.is_empty();
        self.read_all = page.next_cursor.is_none();
        self.cursor = page.next_cursor.or(self.cursor.take());
        self.at_hand.extend(page.items);
        Ok(())
    }
}
