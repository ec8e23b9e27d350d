//! Compiles a component's file within bounds: its size is checked before it is parsed, counts are
//! checked before it is compiled, and the compiler's time, memory and priority are limited.
//!
//! A running compiler cannot be stopped from inside its process, and its memory cannot be bounded
//! there. So the compiler runs in a process of its own, which is this program called again
//! ([`compiler_main`]). If no program is configured (tests), it runs on a thread, and only the size
//! and the counts are bounded.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::Engine;

use crate::base::bounds::{MAX_COMPONENT_BYTES, cut};
use crate::base::{ByteSize, Digest, escape};

use super::{SandboxError, engine};

/// The hidden subcommand that starts the program as the compiler: `anacostia __compile OUT`, with
/// the component on standard input.
pub const COMPILE_VERB: &str = "__compile";

/// Bounds on one compilation.
#[derive(Debug, Clone, Copy)]
pub struct CompileBounds {
    /// Maximum wall time.
    pub wall: Duration,
    /// Maximum address space of the compiler.
    pub memory: ByteSize,
}

impl Default for CompileBounds {
    fn default() -> Self {
        Self { wall: Duration::from_mins(10), memory: ByteSize(4 << 30) }
    }
}

/// The maximum number of functions in a component: several times as many as an interpreter with its
/// library has.
const MAX_FUNCTIONS: u32 = 200_000;
/// Maximum size of a function body, in bytes. The compiler's time and memory grow faster than
/// linearly with it.
const MAX_BODY_BYTES: usize = 4 << 20;
/// The maximum number of modules and components inside a component.
const MAX_PARTS: usize = 1_000;
/// Maximum number of bytes of the compiler's error output that are kept.
const MAX_COMPLAINT_BYTES: usize = 4096;

/// Reads a component, which must have this digest, and checks it as far as is possible without
/// compiling it.
pub(super) fn read(file: &Path, digest: Digest) -> Result<Vec<u8>, SandboxError> {
    let unreadable = |why| SandboxError::Unreadable { file: file.to_owned(), why };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_COMPONENT_BYTES {
        return Err(SandboxError::TooLarge { file: file.to_owned(), limit: ByteSize(MAX_COMPONENT_BYTES) });
    }
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(SandboxError::WrongDigest { file: file.to_owned(), wanted: digest, found });
    }
    check(&bytes).map_err(|why| SandboxError::NotAComponent { file: file.to_owned(), why })?;
    Ok(bytes)
}

/// Checks that `bytes` are a component within the bounds.
fn check(bytes: &[u8]) -> Result<(), String> {
    if !bytes.starts_with(b"\0asm") {
        return Err("it does not begin as WebAssembly does".to_owned());
    }
    if Parser::is_core_wasm(bytes) {
        return Err("it is a core module; build it for `wasm32-wasip2`, or make a component of it".to_owned());
    }
    let (mut functions, mut parts) = (0_u32, 0_usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|why| format!("it is damaged: {why}"))? {
            Payload::Version { encoding: Encoding::Module | Encoding::Component, .. } => parts += 1,
            Payload::CodeSectionStart { count, .. } => functions = functions.saturating_add(count),
            Payload::CodeSectionEntry(body) if body.range().len() > MAX_BODY_BYTES => {
                return Err(format!("it has a function of more than {}", ByteSize(MAX_BODY_BYTES as u64)));
            }
            _ => {}
        }
        if functions > MAX_FUNCTIONS {
            return Err(format!("it has more than {MAX_FUNCTIONS} functions"));
        }
        if parts > MAX_PARTS {
            return Err(format!("it has more than {MAX_PARTS} modules in it"));
        }
    }
    Ok(())
}

/// Compiles the component to the new file `out`. Blocks until the compiler ends. Call it on a
/// separate thread, because that thread gets the lowest priority.
pub(super) fn compile(
    engine: &Engine,
    program: Option<&Path>,
    bounds: CompileBounds,
    bytes: &[u8],
    out: &Path,
) -> Result<(), String> {
    if let Some(program) = program {
        return in_child(program, bounds, bytes, out);
    }
    let _ = nice(19);
    let code = engine.precompile_component(bytes).map_err(|why| format!("{why:#}"))?;
    write_new(out, &code).map_err(|why| format!("the compiled code cannot be written: {why}"))
}

/// Runs the program as the compiler: sets its own bounds from the environment, reads a component
/// from standard input, and writes the compiled code to `out`. Reports errors on standard error.
#[must_use]
pub fn compiler_main(out: &Path) -> ExitCode {
    match compile_here(out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

const MEMORY_VARIABLE: &str = "ANACOSTIA_COMPILE_MEMORY_BYTES";
const HOST_VARIABLE: &str = "ANACOSTIA_COMPILE_HOST";
const SECONDS_VARIABLE: &str = "ANACOSTIA_COMPILE_SECONDS";

fn compile_here(out: &Path) -> Result<(), String> {
    let bound = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    for (resource, most) in
        [(Resource::As, bound(MEMORY_VARIABLE)), (Resource::Cpu, bound(SECONDS_VARIABLE)), (Resource::Core, Some(0))]
    {
        if most.is_some() {
            let limit = Rlimit { current: most, maximum: most };
            setrlimit(resource, limit).map_err(|why| format!("the compiler's limits cannot be set: {why}"))?;
        }
    }
    let _ = nice(19);
    end_with_host()?;
    let mut bytes = Vec::new();
    io::stdin()
        .take(MAX_COMPONENT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|why| format!("the component could not be read: {why}"))?;
    let engine = engine::compiling().map_err(|why| why.to_string())?;
    let code = engine.precompile_component(&bytes).map_err(|why| format!("{why:#}"))?;
    write_new(out, &code).map_err(|why| format!("the compiled code cannot be written: {why}"))
}

/// Makes the compiler end when the host dies, because no process would be left to stop it when its
/// time is over.
fn end_with_host() -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|why| format!("the compiler cannot be set to end with the host: {why}"))?;
    // The host may have died before the signal was set.
    let host = std::env::var(HOST_VARIABLE).ok();
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if host.is_some() && host != parent { Err("the host is gone".to_owned()) } else { Ok(()) }
}

fn in_child(program: &Path, bounds: CompileBounds, bytes: &[u8], out: &Path) -> Result<(), String> {
    // CPU seconds of all threads. Twice the wall time is more than a compilation that ends in time
    // needs on two cores.
    let seconds = bounds.wall.as_secs().max(1).saturating_mul(2);
    let mut child = Command::new(program)
        .arg0("anacostia")
        .arg(COMPILE_VERB)
        .arg(out)
        // The compiler reads untrusted input, and needs nothing from the host's environment, which
        // may contain secrets.
        .env_clear()
        .env(HOST_VARIABLE, std::process::id().to_string())
        .env(MEMORY_VARIABLE, bounds.memory.0.to_string())
        .env(SECONDS_VARIABLE, seconds.to_string())
        // Memory that the allocator reserves counts against the bound like memory in use. By
        // default it reserves a quarter of the bound.
        .env("MIMALLOC_ARENA_RESERVE", "32MiB")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("the compiler {} cannot be started: {why}", program.display()))?;
    let complaint = converse(&mut child, bounds.wall, bytes);
    if complaint.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|why| format!("the compiler cannot be waited for: {why}"))?;
    match complaint {
        None => Err(format!("it takes longer than {}", crate::base::TimeSpan(bounds.wall))),
        Some(_) if status.success() => Ok(()),
        Some(text) if text.trim().is_empty() => {
            Err(format!("the compiler died ({status}); it has {} of memory", bounds.memory))
        }
        Some(text) => Err(text.trim().to_owned()),
    }
}

/// Sends a component to the compiler, and returns the compiler's error output when it has ended.
/// Returns `None` if it has not ended in time.
fn converse(child: &mut Child, wall: Duration, bytes: &[u8]) -> Option<String> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let (ended, wait) = mpsc::channel();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = (&mut stderr).take(MAX_COMPLAINT_BYTES as u64).read_to_end(&mut text);
                // Reads to the end, so that a compiler with much output is not blocked.
                let _ = io::copy(&mut stderr, &mut io::sink());
            }
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<String> = text.lines().map(|line| escape(line.as_bytes())).collect();
            let _ = ended.send(cut(&lines.join("\n"), MAX_COMPLAINT_BYTES).into_owned());
        });
        threads.spawn(move || {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(bytes);
            }
        });
        let answer = wait.recv_timeout(wall).ok();
        if answer.is_none() {
            // Ends both threads, because their pipes close.
            let _ = child.kill();
        }
        answer
    })
}

fn write_new(out: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(out)?;
    file.write_all(code).inspect_err(|_| {
        let _ = fs::remove_file(out);
    })
}

/// Returns the path of the running program, for [`super::SandboxConfig::compiler`].
///
/// On Linux the path refers to this very program even after its file was replaced by an upgrade.
/// Code that another version compiled could not be loaded.
#[must_use]
pub fn this_program() -> Option<PathBuf> {
    let myself = Path::new("/proc/self/exe");
    if myself.exists() { Some(myself.to_owned()) } else { std::env::current_exe().ok() }
}
