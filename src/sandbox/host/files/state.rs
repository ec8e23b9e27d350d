//! What a command finds at `/`, and what it has open.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Artifact;
use crate::sandbox::host::entries::ReaderEntry;

use super::item::Item;
use super::metric_lines::MetricLines;
use super::tree::{Found, Tree};

/// What calls are named in records of what was denied.
pub(super) const CALL: &str = "wasi:filesystem";
/// Most bytes that one call moves.
pub(super) const MAX_MOVE_BYTES: usize = 1 << 20;
/// The file whose lines are metrics, in `/out`.
pub(super) const METRICS: &str = "metrics.jsonl";

/// What a command finds at `/`. Of other actions: empty, and not shown.
#[derive(Default)]
pub(in crate::sandbox) struct Files {
    /// Whether the guest is a command.
    pub(super) shown: bool,
    /// What lies in `/in`.
    pub(super) inputs: Tree<Artifact>,
    /// What lies in `/out`: keys of `items`.
    pub(super) outputs: Tree<u64>,
    pub(super) items: BTreeMap<u64, Item>,
    /// What is open, by the number that descriptors and streams know it by.
    pub(super) open: BTreeMap<u64, Open>,
    pub(super) newest: u64,
    pub(super) streams: Streams,
    /// What standard input reads.
    pub(super) stdin: Option<u64>,
    pub(super) metrics: MetricLines,
    /// Resources whose absence was noted as a denial.
    pub(super) noted: BTreeSet<String>,
    /// What was said in the log about failed calls.
    pub(super) told: BTreeSet<String>,
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

/// What lies at a path.
pub(super) enum Seen<'f> {
    Folder,
    Input(&'f Artifact),
    Output(u64),
    Metrics,
    Nothing,
    /// Nothing, because a part above it is a file.
    InFile,
}

/// Streams of files, by their handle.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) inputs: BTreeMap<u32, Source>,
    pub(super) outputs: BTreeMap<u32, Sink>,
    /// How far standard input is read: all handles of it are one.
    pub(super) stdin_at: u64,
}

/// What is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) file: u64,
    /// From where; `None` for standard input.
    pub(super) at: Option<u64>,
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sink {
    pub(super) file: u64,
    /// Where; `None`: at the end.
    pub(super) at: Option<u64>,
}

impl Files {
    /// What lies at a path, which has no `/` at its ends.
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

    /// Bytes of a file below `/out`.
    pub(super) fn output_size(&self, item: u64) -> u64 {
        self.items.get(&item).map_or(0, Item::size)
    }

    /// A number that nothing has yet.
    pub(super) fn number(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// Keeps an open file.
    pub(super) fn keep(&mut self, open: Open) -> u64 {
        let number = self.number();
        self.open.insert(number, open);
        number
    }
}
