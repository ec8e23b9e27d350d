//! The files that a command sees, and the files and streams that it has open.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Artifact;
use crate::sandbox::host::entries::ReaderEntry;

use super::item::Item;
use super::metric_lines::MetricLines;
use super::tree::{Found, Tree};

/// The name of the call in records of denials.
pub(super) const CALL: &str = "wasi:filesystem";
/// Maximum number of bytes that one call reads or writes.
pub(super) const MAX_MOVE_BYTES: usize = 1 << 20;
/// The file in `/out` whose lines are metrics.
pub(super) const METRICS: &str = "metrics.jsonl";

/// The files of a command. Empty and not visible for other actions.
#[derive(Default)]
pub(in crate::sandbox) struct Files {
    /// Whether the guest is a command.
    pub(super) visible: bool,
    /// The files in `/in`.
    pub(super) inputs: Tree<Artifact>,
    /// The files in `/out`, as keys of `items`.
    pub(super) outputs: Tree<u64>,
    pub(super) items: BTreeMap<u64, Item>,
    /// Open files, by the number that descriptors and streams use.
    pub(super) open: BTreeMap<u64, Open>,
    pub(super) newest: u64,
    pub(super) streams: Streams,
    /// The open file that standard input reads.
    pub(super) stdin: Option<u64>,
    pub(super) metrics: MetricLines,
    /// Folders whose absence was already recorded as a denial.
    pub(super) noted: BTreeSet<String>,
    /// Lines about failed calls that are already in the log.
    pub(super) logged: BTreeSet<String>,
}

/// An open file.
pub(super) enum Open {
    /// In `/in`.
    Input(Box<ReaderEntry>),
    /// In `/out`: a key of `items`.
    Output(u64),
    /// `/out/metrics.jsonl`.
    Metrics,
}

/// What a path refers to.
pub(super) enum Seen<'f> {
    Folder,
    Input(&'f Artifact),
    Output(u64),
    Metrics,
    Nothing,
    /// Nothing, because a part above it is a file.
    InFile,
}

/// Open streams of files, by handle.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) inputs: BTreeMap<u32, Source>,
    pub(super) outputs: BTreeMap<u32, Sink>,
    /// The read position of standard input, shared by all its handles.
    pub(super) stdin_at: u64,
}

/// The source of an input stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) file: u64,
    /// The offset; `None` for standard input.
    pub(super) at: Option<u64>,
}

/// The target of an output stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sink {
    pub(super) file: u64,
    /// The offset; `None` appends.
    pub(super) at: Option<u64>,
}

impl Files {
    /// Returns what a path refers to. The path does not start or end with `/`.
    pub(super) fn look(&self, place: &str) -> Seen<'_> {
        match place.split_once('/').unwrap_or((place, "")) {
            ("", _) => Seen::Folder,
            ("in", rest) => match self.inputs.find(rest) {
                Found::Folder => Seen::Folder,
                Found::File(artifact) => Seen::Input(artifact),
                Found::Nothing => Seen::Nothing,
                Found::InFile => Seen::InFile,
            },
            ("out", METRICS) => {
                if self.metrics.exists() {
                    Seen::Metrics
                } else {
                    Seen::Nothing
                }
            }
            ("out", rest) => match self.outputs.find(rest) {
                Found::Folder => Seen::Folder,
                Found::File(item) => Seen::Output(*item),
                Found::Nothing => Seen::Nothing,
                Found::InFile => Seen::InFile,
            },
            _ => Seen::Nothing,
        }
    }

    /// Returns the size of a file below `/out`.
    pub(super) fn output_size(&self, item: u64) -> u64 {
        self.items.get(&item).map_or(0, Item::size)
    }

    /// Returns an unused number.
    pub(super) fn number(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// Adds an open file and returns its number.
    pub(super) fn add_open(&mut self, open: Open) -> u64 {
        let number = self.number();
        self.open.insert(number, open);
        number
    }
}
