//! Problems of a manifest, with their places.
//!
//! Problems are collected rather than returned one at a time, so that a user with three mistakes
//! sees all three. Each problem has its place in the text. The text itself is stored once, in
//! [`Problems`]. Characters that would affect a terminal are replaced before any of it is shown.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};
use serde::Serialize;

use crate::base::{bounds, escape};

/// Maximum number of problems that are reported for one manifest; the rest is counted.
pub const MAX_PROBLEMS: usize = 50;

/// Longest line of a manifest that is drawn, in bytes. For a longer one, only line and column are
/// shown.
const MAX_DRAWN_LINE: usize = 500;

/// One problem. As a [`miette::Diagnostic`] it is drawn with the surrounding text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    help: Option<String>,
    labels: Vec<(Range<usize>, String)>,
    text: Option<Arc<Source>>,
}

/// The text of a manifest, safe to draw: same length, same lines, no control characters.
#[derive(Debug)]
struct Source {
    named: NamedSource<String>,
}

/// The location of a problem as editors count it: line and column start at 1, columns count
/// characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Problem {
    /// Creates a problem. The message is a lowercase fragment.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, labels: Vec::new(), text: None }
    }

    /// Adds a labelled place. The first one is the main place of the problem.
    pub(super) fn at(mut self, span: &Range<usize>, label: impl Into<String>) -> Self {
        self.labels.push((span.clone(), label.into()));
        self
    }

    /// Adds advice on how to fix it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds advice on how to fix it, if there is any.
    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the advice on how to fix it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns the byte ranges of the manifest's text that the problem is about, the main place
    /// first. Always inside the text.
    pub fn spans(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.labels.iter().map(|(span, _)| span.clone())
    }

    /// Returns the location, or `None` for a problem without one, such as a missing manifest.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        let (span, _) = self.labels.first()?;
        let before = self.text.as_ref()?.named.inner().get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        Some(Location { line, column: before.get(line_start..)?.chars().count() + 1 })
    }

    /// Returns whether all lines that the problem is about are short enough to be drawn.
    fn drawable(&self) -> bool {
        let Some(source) = &self.text else { return false };
        let text = source.named.inner();
        let short = |span: &Range<usize>| {
            let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
            let end = text.get(span.end..).and_then(|after| after.find('\n')).map_or(text.len(), |at| span.end + at);
            text.get(start..end).is_some_and(|lines| lines.lines().all(|line| line.len() <= MAX_DRAWN_LINE))
        };
        !text.is_empty() && self.labels.iter().all(|(span, _)| short(span))
    }

    /// Clamps every span to the text and to character boundaries.
    fn clamp(&mut self, text: &str) {
        for (span, _) in &mut self.labels {
            span.start = floor_boundary(text, span.start);
            span.end = floor_boundary(text, span.end).max(span.start);
        }
    }
}

/// Returns the last character boundary of `text` that is not after `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl miette::Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        if self.drawable() {
            return None;
        }
        let Location { line, column } = self.location()?;
        let file = self.text.as_ref()?.named.name();
        Some(Box::new(format!("{file}:{line}:{column}")))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        let source = self.text.as_ref().filter(|_| self.drawable())?;
        Some(&source.named)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() || !self.drawable() {
            return None;
        }
        Some(Box::new(self.labels.iter().enumerate().map(|(place, (span, label))| {
            let label = (!label.is_empty()).then(|| label.clone());
            let span = SourceSpan::new(span.start.into(), span.len());
            if place == 0 {
                LabeledSpan::new_primary_with_span(label, span)
            } else {
                LabeledSpan::new_with_span(label, span)
            }
        })))
    }
}

/// All problems of a manifest, in the order of its text. Never empty.
#[derive(Debug, Clone)]
pub struct Problems {
    name: String,
    list: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// Creates the problems of the manifest `name` with this text.
    pub(super) fn new(name: &str, text: &str, mut list: Vec<Problem>) -> Self {
        let name = escape(name.as_bytes());
        let source = Arc::new(Source { named: NamedSource::new(&name, harmless(text)) });
        for problem in &mut list {
            problem.clamp(text);
            problem.text = Some(Arc::clone(&source));
        }
        list.sort_by_key(|problem| problem.labels.first().map(|(span, _)| span.start));
        let unlisted = list.len().saturating_sub(MAX_PROBLEMS);
        list.truncate(MAX_PROBLEMS);
        Self { name, list, unlisted }
    }

    /// Creates the single problem of a manifest that could not be read.
    pub(super) fn unread(name: &str, problem: Problem) -> Self {
        Self { name: escape(name.as_bytes()), list: vec![problem], unlisted: 0 }
    }

    /// Returns the manifest's file name as the caller gave it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.name
    }

    /// Returns the problems; at most [`MAX_PROBLEMS`].
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Draws all problems for display, `width` columns wide. `color` is for terminals only; without
    /// it the result is the same on every machine.
    #[must_use]
    pub fn render(&self, width: usize, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(width.max(20)).with_links(false).with_context_lines(1);
        let mut text = String::new();
        for (place, problem) in self.list.iter().enumerate() {
            if place > 0 {
                text.push('\n');
            }
            let mut picture = String::new();
            if handler.render_report(&mut picture, problem).is_err() {
                picture = format!("  × {problem}\n");
            }
            for line in picture.trim_start_matches('\n').lines() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        if self.unlisted > 0 {
            let _ = writeln!(text, "\n  and {} more", self.unlisted);
        }
        text
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list.as_slice() {
            [only] => write!(f, "{}: {only}", self.name),
            [first, ..] => {
                let others = self.list.len() - 1 + self.unlisted;
                let noun = if others == 1 { "problem" } else { "problems" };
                write!(f, "{}: {first} (and {others} more {noun})", self.name)
            }
            [] => write!(f, "{}: unknown problem", self.name),
        }
    }
}

impl std::error::Error for Problems {}

/// Returns `text` with each character that affects a terminal replaced by one of the same length,
/// so that spans stay valid.
fn harmless(text: &str) -> String {
    let acts = |c: char| c.is_control() || (!c.is_ascii() && escape(c.encode_utf8(&mut [0; 4]).as_bytes()).is_ascii());
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            '\r' => ' ',
            c if acts(c) => match c.len_utf8() {
                1 => '?',
                2 => '¿',
                _ => '\u{fffd}',
            },
            c => c,
        })
        .collect()
}

/// Quotes an external text for a message: in backticks, escaped, truncated.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", escape(bounds::cut(text, 100).as_bytes()).replace("\\\\", "\\"))
}

/// Joins names as `a`, `b` and `c`.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let mut names: Vec<String> = names.into_iter().map(quoted).collect();
    match names.pop() {
        None => String::new(),
        Some(only) if names.is_empty() => only,
        Some(end) => format!("{} {last} {end}", names.join(", ")),
    }
}
