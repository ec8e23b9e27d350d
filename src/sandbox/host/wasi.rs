//! All of WASI 0.2, without access to the host. Clocks and random numbers work. The environment
//! contains what the manifest grants. Standard output and standard error are the attempt's log, and
//! standard input is empty. There are no files, and sockets are denied. Commands also have
//! arguments, files and a standard input (see `files`).
//!
//! Denied sockets and name lookups are recorded. Denied files can be recorded only for commands:
//! without a preopened folder, a guest's C library reports that the file does not exist without
//! calling the host.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::clocks::WasiClocksCtxView;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::{TcpSocket, UdpSocket};
use wasmtime_wasi::random::WasiRandomCtx;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::model::Influence;
use crate::sandbox::tape::Tape;

use super::GuestState;
use super::output::{Output, OutputLines};

/// Maximum number of random bytes in one call.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// Links WASI, with functions for sockets that never create one.
pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    // Denying the use of a socket would be too late, because the system would already have created
    // it.
    linker.allow_shadowing(true);
    linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?.func_wrap(
        "create-tcp-socket",
        |mut store: StoreContextMut<'_, GuestState>, (family,): (IpAddressFamily,)| {
            Ok((no_network::<TcpSocket>(store.data_mut(), "wasi:sockets/tcp-create-socket", address(family)),))
        },
    )?;
    linker.instance("wasi:sockets/udp-create-socket@0.2.12")?.func_wrap(
        "create-udp-socket",
        |mut store: StoreContextMut<'_, GuestState>, (family,): (IpAddressFamily,)| {
            Ok((no_network::<UdpSocket>(store.data_mut(), "wasi:sockets/udp-create-socket", address(family)),))
        },
    )?;
    linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?.func_wrap(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, GuestState>, (_, name): (Resource<Network>, String)| {
            Ok((no_network::<ResolveAddressStream>(store.data_mut(), "wasi:sockets/ip-name-lookup", &name),))
        },
    )?;
    // wasmtime's own function shows the host's stack to the guest.
    linker.instance("wasi:io/error@0.2.12")?.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, GuestState>, (error,): (Resource<wasmtime::Error>,)| {
            Ok((format!("{:#}", store.data_mut().table.get(&error)?),))
        },
    )?;
    link_influences(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Links clocks and random numbers with functions that note their use.
fn link_influences(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker
        .instance("wasi:clocks/wall-clock@0.2.12")?
        .func_wrap("now", |mut store: StoreContextMut<'_, GuestState>, (): ()| {
            Ok((wall_clock::Host::now(&mut clocks(&mut store))?,))
        })?;
    linker.instance("wasi:clocks/monotonic-clock@0.2.12")?.func_wrap(
        "now",
        |mut store: StoreContextMut<'_, GuestState>, (): ()| {
            Ok((monotonic_clock::Host::now(&mut clocks(&mut store))?,))
        },
    )?;
    let mut secure = linker.instance("wasi:random/random@0.2.12")?;
    secure.func_wrap("get-random-bytes", |mut store: StoreContextMut<'_, GuestState>, (length,): (u64,)| {
        Ok((random::Host::get_random_bytes(secure_numbers(&mut store), length)?,))
    })?;
    secure.func_wrap("get-random-u64", |mut store: StoreContextMut<'_, GuestState>, (): ()| {
        Ok((random::Host::get_random_u64(secure_numbers(&mut store))?,))
    })?;
    let mut insecure = linker.instance("wasi:random/insecure@0.2.12")?;
    insecure.func_wrap(
        "get-insecure-random-bytes",
        |mut store: StoreContextMut<'_, GuestState>, (length,): (u64,)| {
            Ok((insecure::Host::get_insecure_random_bytes(numbers(&mut store), length)?,))
        },
    )?;
    insecure.func_wrap("get-insecure-random-u64", |mut store: StoreContextMut<'_, GuestState>, (): ()| {
        Ok((insecure::Host::get_insecure_random_u64(numbers(&mut store))?,))
    })?;
    let mut seed = linker.instance("wasi:random/insecure-seed@0.2.12")?;
    seed.func_wrap("insecure-seed", |mut store: StoreContextMut<'_, GuestState>, (): ()| {
        let GuestState { tape, wasi, .. } = store.data_mut();
        tape.note_seed();
        Ok((insecure_seed::Host::insecure_seed(wasi.random())?,))
    })
}

/// Returns the clocks of a guest, which has asked for the time.
fn clocks<'s>(store: &'s mut StoreContextMut<'_, GuestState>) -> WasiClocksCtxView<'s> {
    let GuestState { gate, wasi, table, .. } = store.data_mut();
    gate.note_use(Influence::Clock);
    WasiClocksCtxView { ctx: wasi.clocks(), table }
}

/// Returns the random numbers of a guest, which has asked for insecure ones.
fn numbers<'s>(store: &'s mut StoreContextMut<'_, GuestState>) -> &'s mut WasiRandomCtx {
    let GuestState { gate, wasi, tape, .. } = store.data_mut();
    gate.note_use(Influence::Random);
    tape.note_seed();
    wasi.random()
}

/// Returns the random numbers of a guest, which has asked for secure ones.
fn secure_numbers<'s>(store: &'s mut StoreContextMut<'_, GuestState>) -> &'s mut WasiRandomCtx {
    let GuestState { gate, wasi, tape, .. } = store.data_mut();
    gate.note_use(Influence::Random);
    tape.note_secure_random();
    wasi.random()
}

fn no_network<T>(state: &mut GuestState, call: &str, target: &str) -> Result<Resource<T>, ErrorCode> {
    state.gate.enter();
    let message = "actions have no network: WASI sockets are never granted".to_owned();
    let target = state.masker.mask(target).into_owned();
    state.gate.deny(call, &target, message);
    Err(ErrorCode::AccessDenied)
}

fn address(family: IpAddressFamily) -> &'static str {
    match family {
        IpAddressFamily::Ipv4 => "an IPv4 socket",
        IpAddressFamily::Ipv6 => "an IPv6 socket",
    }
}

/// Returns a WASI context with this environment, these arguments, these outputs (standard output
/// and standard error), and these clocks and random numbers.
pub(in crate::sandbox) fn context<'a>(
    env: impl Iterator<Item = (&'a str, &'a str)>,
    args: &[&str],
    [stdout, stderr]: &[Arc<OutputLines>; 2],
    tape: &Arc<Tape>,
) -> WasiCtx {
    let mut wasi = WasiCtxBuilder::new();
    tape.put(&mut wasi);
    for (name, value) in env {
        wasi.env(name, value);
    }
    wasi.args(args)
        .stdout(Output(Arc::clone(stdout)))
        .stderr(Output(Arc::clone(stderr)))
        .max_random_size(MAX_RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}
