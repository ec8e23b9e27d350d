//! WASI 0.2, all of it, and empty: clocks and random are there, the environment is what the
//! manifest grants, standard output and standard error are the attempt's log, standard input is at
//! its end, there are no files, and sockets are denied. Commands have arguments, files and a
//! standard input besides (see `files`).
//!
//! A denied socket or name lookup is noted. A denied file cannot be, but for a command: without a
//! preopened folder a guest's own C library says that the file does not exist, and the host is
//! never asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult, TcpSocket, UdpSocket};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::model::{LogLevel, LogStream};
use crate::sandbox::halt::Halt;
use crate::sandbox::logs::AttemptLog;

use super::GuestState;
use super::lines::Lines;

/// Most random bytes of one call.
const MAX_RANDOM_BYTES: u64 = 1 << 20;
/// Most bytes that one call writes to standard output.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// Links WASI, with sockets that do not even exist.
pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    // Denying the use of a socket would be too late: the system would have made one.
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
    // As it comes, it shows the guest the stack of the host.
    linker.instance("wasi:io/error@0.2.12")?.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, GuestState>, (error,): (Resource<wasmtime::Error>,)| {
            Ok((format!("{:#}", store.data_mut().table.get(&error)?),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
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

/// What a guest finds of WASI: this environment, these arguments, and these two outputs.
pub(in crate::sandbox) fn context<'a>(
    env: impl Iterator<Item = (&'a str, &'a str)>,
    args: &[&str],
    stdout: &Arc<OutputLines>,
    stderr: &Arc<OutputLines>,
) -> WasiCtx {
    let mut wasi = WasiCtxBuilder::new();
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

/// Makes lines of what a guest writes to an output. However many handles a guest has of the output,
/// it is one.
pub(in crate::sandbox) struct OutputLines {
    log: Arc<AttemptLog>,
    stream: LogStream,
    began: Instant,
    lines: Mutex<Lines>,
}

impl OutputLines {
    /// Lines for `log`.
    pub(in crate::sandbox) fn new(log: &Arc<AttemptLog>, stream: LogStream) -> Arc<Self> {
        let lines = Mutex::new(Lines::new(log.line_window()));
        Arc::new(Self { log: Arc::clone(log), stream, began: Instant::now(), lines })
    }

    /// The guest is gone: what it has not ended with a newline is a line too.
    pub(in crate::sandbox) fn finish(&self) {
        if let Some(line) = self.lines.lock().unwrap_or_else(PoisonError::into_inner).finish() {
            let _ = self.say(&line);
        }
    }

    fn take(&self, bytes: &[u8]) -> Result<(), Halt> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.take(bytes, self.began.elapsed(), |line| self.say(line))
    }

    fn say(&self, line: &[u8]) -> Result<(), Halt> {
        self.log.say(LogLevel::Info, self.stream, &String::from_utf8_lossy(line), &[])
    }
}

/// An output, for WASI.
struct Output(Arc<OutputLines>);

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // For WASI 0.3, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.take(&bytes).map_err(|halt| StreamError::Trap(wasmtime::Error::new(halt)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}
