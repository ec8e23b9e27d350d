//! `wasi:filesystem` for commands: programs that were written for no pipeline, and know files only.
//!
//! A command finds one folder, `/`. In `/in/RESOURCE/PATH` lie its inputs, to be read; what it
//! makes below `/out/RESOURCE` is staged, and published when it exits with 0; lines that it writes
//! to `/out/metrics.jsonl` are metrics. Every other action finds no folder at all.
//!
//! None of this is on a disk. A file in `/in` is the reader that `resources.open` opens, and a file
//! in `/out` is the writer of `resources.create`: so grants, lineage, the check that an input has
//! not changed, the limits of output and handles and the rules of paths are not rewritten here, but
//! used. Rejected: folders of the host as WASI's preopened folders. They know no limit of bytes,
//! and nobody is asked when a file is opened: what was read would be guessed from what lay there, a
//! program that fills the disk would be stopped by the disk, and every input would have to be
//! copied or linked into a folder first.
//!
//! A file in `/out` is read and written at any place, cut, renamed, removed and opened again until
//! the program ends. What the resource holds already does not show in `/out`, where a file with the
//! name of an existing one replaces it. The limit of output counts the bytes that the files have,
//! holes included.
//!
//! WASI's errors are numbers. What the numbers mean here is said once each in the log of the
//! attempt, in the words that `resources` would use.
//!
//! One file per job: `tree` is the paths, `inputs` and `outputs` the two halves, `metrics` the
//! lines, `open` what is open, `descriptor`, `folders` and `streams` what WASI calls, `fail` the
//! errors.

mod descriptor;
mod fail;
mod folders;
mod inputs;
mod metrics;
mod open;
mod outputs;
mod streams;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use wasmtime::component::{HasSelf, Linker};

use crate::model::Artifact;
use crate::sandbox::bindings::wasi::wasi::filesystem::{preopens, types};
use crate::sandbox::bindings::wasi::wasi::io::streams as io_streams;

use super::GuestState;
use super::access::CallError;
use super::resources::ReaderEntry;
use metrics::MetricLines;
use outputs::Item;
use tree::{Found, Tree};

#[expect(unreachable_pub, reason = "the generated bindings name them in public")]
pub use self::{descriptor::DescriptorEntry, fail::FileError, folders::FolderEntries};

/// What calls are named in records of what was denied.
const CALL: &str = "wasi:filesystem";
/// Most bytes that one call moves.
const MAX_MOVE_BYTES: usize = 1 << 20;
/// The file whose lines are metrics, in `/out`.
const METRICS: &str = "metrics.jsonl";

/// What a command finds at `/`. Of other actions: empty, and not shown.
#[derive(Default)]
pub(in crate::sandbox) struct Files {
    /// Whether the guest is a command.
    shown: bool,
    /// What lies in `/in`.
    inputs: Tree<Artifact>,
    /// What lies in `/out`: keys of `items`.
    outputs: Tree<u64>,
    items: BTreeMap<u64, Item>,
    /// What is open, by the number that descriptors and streams know it by.
    open: BTreeMap<u64, Open>,
    newest: u64,
    streams: streams::Streams,
    /// What standard input reads.
    stdin: Option<u64>,
    metrics: MetricLines,
    /// Resources whose absence was noted as a denial.
    noted: BTreeSet<String>,
    /// What was said in the log about failed calls.
    told: BTreeSet<String>,
}

/// An open file.
enum Open {
    /// In `/in`.
    Input(Box<ReaderEntry>),
    /// In `/out`: a key of `items`.
    Output(u64),
    /// `/out/metrics.jsonl`.
    Metrics,
}

/// What lies at a path.
enum Seen<'f> {
    Folder,
    Input(&'f Artifact),
    Output(u64),
    Metrics,
    Nothing,
    /// Nothing, because a part above it is a file.
    InFile,
}

impl Files {
    /// What lies at a path, which has no `/` at its ends.
    fn look(&self, place: &str) -> Seen<'_> {
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
    fn output_size(&self, item: u64) -> u64 {
        self.items.get(&item).map_or(0, Item::size)
    }

    /// A number that nothing has yet.
    fn number(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// Keeps an open file.
    fn keep(&mut self, open: Open) -> u64 {
        let number = self.number();
        self.open.insert(number, open);
        number
    }
}

/// Links what commands see, in the place of WASI's own files.
pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    io_streams::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    types::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    preopens::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    linker.instance("wasi:cli/stdin@0.2.12")?.func_wrap("get-stdin", streams::get_stdin)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl GuestState {
    /// Shows its files to a command that is about to start.
    pub(in crate::sandbox) async fn show_files(&mut self) -> Result<(), CallError> {
        let order = self.order.clone();
        for resource in &order.reads {
            self.show_inputs(resource).await?;
        }
        for resource in &order.writes {
            self.files.outputs.make_folder(resource);
        }
        if let Some(wanted) = &order.stdin {
            let open = self.open_stdin(wanted).await?;
            self.files.stdin = Some(self.files.keep(open));
        }
        self.files.shown = true;
        Ok(())
    }

    /// The command has exited with 0: what it has left open is complete, and what it has written is
    /// to be published.
    pub(in crate::sandbox) async fn settle_files(&mut self) -> Result<(), CallError> {
        self.end_metrics().await?;
        self.settle_outputs().await
    }
}
