//! Rust bindings generated from `wit`. All bindings are generated here, because each further
//! expansion would add seconds to the build.
//!
//! A world has no optional exports. So this uses a world that has everything, and looks up each
//! exported interface separately (see [`super::ready`]). What a guest may import is decided by what
//! is linked (see [`super::host::link`]).

wasmtime::component::bindgen!({
    path: "wit",
    inline: "
        package anacostia:host;
        world every-guest {
            include anacostia:pipeline/guest-with-hooks@0.1.0;
            include anacostia:pipeline/trigger@0.1.0;
        }
    ",
    world: "anacostia:host/every-guest",
    imports: {
        "anacostia:pipeline/run-context": trappable,
        "anacostia:pipeline/log": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "anacostia:pipeline/resources.reader": super::host::entries::ReaderEntry,
        "anacostia:pipeline/resources.writer": super::host::entries::WriterEntry,
        "anacostia:pipeline/database.rows": super::host::entries::RowsEntry,
    },
    trappable_error_type: {
        "anacostia:pipeline/types.error" => super::host::access::CallError,
    },
});

/// The interfaces of WASI that the host implements itself. Every function that may access a file is
/// `async`, because `resources` is.
pub(super) mod wasi {
    wasmtime::component::bindgen!({
        path: "src/sandbox/wasi.wit",
        world: "anacostia:host/files",
        imports: { default: async | trappable },
        with: {
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:io/error": wasmtime_wasi::p2::bindings::io::error,
            "wasi:io/poll": wasmtime_wasi::p2::bindings::io::poll,
            "wasi:io/streams.input-stream": wasmtime_wasi::p2::DynInputStream,
            "wasi:io/streams.output-stream": wasmtime_wasi::p2::DynOutputStream,
            "wasi:filesystem/types.descriptor": crate::sandbox::host::files::DescriptorEntry,
            "wasi:filesystem/types.directory-entry-stream": crate::sandbox::host::files::FolderEntries,
        },
        trappable_error_type: {
            "wasi:io/streams.stream-error" => wasmtime_wasi::p2::StreamError,
            "wasi:filesystem/types.error-code" => crate::sandbox::host::files::FileError,
        },
    });
}
