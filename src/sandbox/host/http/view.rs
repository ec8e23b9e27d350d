//! Links `wasi:http`, and connects it to the state of a guest.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::sandbox::host::GuestState;

use super::request_error;

/// Links `wasi:http`.
pub(in crate::sandbox) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // wasmtime's own function looks for an error type that its streams do not return, so it never
    // finds a code.
    linker.allow_shadowing(true);
    linker.instance("wasi:http/types@0.2.12")?.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, GuestState>, (error,): (Resource<wasmtime::Error>,)| {
            Ok((store.data_mut().table.get(&error)?.downcast_ref().and_then(request_error::code_of),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.context }
    }
}
