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
mod entries;
mod fail;
mod folders;
mod inputs;
mod item;
mod metric_lines;
mod metrics;
mod open;
mod outputs;
mod state;
mod streams;
mod tree;

use wasmtime::component::{HasSelf, Linker};

use crate::sandbox::bindings::wasi::wasi::filesystem::{preopens, types};
use crate::sandbox::bindings::wasi::wasi::io::streams as io_streams;

use super::GuestState;
use super::access::CallError;

#[expect(unreachable_pub, reason = "the generated bindings name them in public")]
pub use self::entries::{DescriptorEntry, FileError, FolderEntries};
pub(in crate::sandbox) use self::state::Files;

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
