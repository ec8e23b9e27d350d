//! The Rust side of `wit/pipeline.wit`, made from it. The only place that does: every further one would take its share of seconds to compile.
//!
//! A world has no optional exports. So this is the larger world, whose imports are those of the smaller one, and its exported interfaces are
//! looked up one by one (see [`super::ready`]).

wasmtime::component::bindgen!({
    path: "wit",
    world: "guest-with-hooks",
    imports: {
        "anacostia:pipeline/run-context": trappable,
        "anacostia:pipeline/log": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "anacostia:pipeline/resources.reader": super::host::resources::ReaderEntry,
        "anacostia:pipeline/resources.writer": super::host::resources::WriterEntry,
    },
    trappable_error_type: {
        "anacostia:pipeline/types.error" => super::host::access::CallError,
    },
});
