//! `wasi:filesystem` for commands: programs that were not written for a pipeline, and use only
//! files.
//!
//! A command sees one folder, `/`. `/in/RESOURCE/PATH` holds its inputs, which are read-only. Files
//! that it writes below `/out/RESOURCE` are staged, and published when it exits with 0. Lines that
//! it writes to `/out/metrics.jsonl` are recorded as metrics. All other actions see no folder.
//!
//! None of these files are on a disk. A file in `/in` is the reader that `resources.open` opens,
//! and a file in `/out` is the writer of `resources.create`. So grants, lineage, the check that an
//! input has not changed, the limits on output and handles, and the rules for paths are shared with
//! `resources`.
//!
//! Rejected: folders of the host as preopened folders of WASI. They have no limit on bytes, and the
//! host does not learn when a file is opened. Lineage would be a guess from the files that were
//! present, a program that fills the disk would be stopped only by the disk, and every input would
//! have to be copied or linked into a folder first.
//!
//! A program can read and write a file in `/out` at any offset, truncate, rename and remove it, and
//! open it again, until the program ends. Existing content of the resource is not visible in
//! `/out`; a file with the name of an existing one replaces it. The output limit counts the current
//! sizes of the files, including holes.
//!
//! Errors of WASI are numbers. The attempt's log shows what each error means, once, in the words
//! that `resources` would use.
//!
//! The files of this module: `tree` holds the paths, `state` the files and what is open, `inputs`
//! and `outputs` implement the two folders, `item` is a file in `/out`, `metrics` and
//! `metric_lines` handle the metrics, `open` handles open files, `descriptor`, `folders` and
//! `streams` implement the interfaces of WASI, `entries` holds the types that the bindings name,
//! and `fail` handles errors.

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

/// Links the interfaces for commands, in place of wasmtime's own files.
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
    /// Prepares the files of a command that is about to start.
    pub(in crate::sandbox) async fn prepare_files(&mut self) -> Result<(), CallError> {
        let order = self.order.clone();
        for resource in &order.reads {
            self.add_inputs(resource).await?;
        }
        for resource in &order.writes {
            self.files.outputs.make_folder(resource);
        }
        if let Some(wanted) = &order.stdin {
            let open = self.open_stdin(wanted).await?;
            self.files.stdin = Some(self.files.add_open(open));
        }
        self.files.visible = true;
        Ok(())
    }

    /// Finishes all open files and prepares the written files for publication. Called after the
    /// command has exited with 0.
    pub(in crate::sandbox) async fn finish_files(&mut self) -> Result<(), CallError> {
        self.end_metrics().await?;
        self.finish_outputs().await
    }
}
