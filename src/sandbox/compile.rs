//! From a component's file to compiled code, within bounds: the size before anything is parsed,
//! counts before anything is compiled, then time, memory and priority of the compiler.
//!
//! A compiler that has begun cannot be stopped from inside of its process, and its memory not be
//! bounded. So it runs in a process of its own, which is this program called again
//! ([`compiler_main`]). Where no program is configured (tests) it runs on a thread, and only the
//! size and the counts are bounded.

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

/// The hidden verb by which the program is called as a compiler: `anacostia __compile OUT`, the
/// component on standard input.
pub const COMPILE_VERB: &str = "__compile";

/// Bounds of one compilation.
#[derive(Debug, Clone, Copy)]
pub struct CompileBounds {
    /// How long it may take.
    pub wall: Duration,
    /// Address space of the compiler.
    pub memory: ByteSize,
}

impl Default for CompileBounds {
    fn default() -> Self {
        Self { wall: Duration::from_mins(10), memory: ByteSize(4 << 30) }
    }
}

/// Most functions of a component: several times as many as an interpreter with its library has.
const MAX_FUNCTIONS: u32 = 200_000;
/// Longest body of a function. The compiler's time and memory grow faster than it.
const MAX_BODY_BYTES: usize = 4 << 20;
/// Most modules and components inside of a component.
const MAX_PARTS: usize = 1_000;
/// What is kept of what the compiler says.
const MAX_COMPLAINT_BYTES: usize = 4096;

/// Reads a component, which must have this digest, and looks at it as far as it can be done without
/// compiling.
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

/// Compiles to the file `out`, which is made. Blocks for as long as it takes; on a thread of its
/// own, which gets the lowest priority.
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

/// What the program does when it is called as a compiler: bounds itself, reads a component from
/// standard input, and writes its code to `out`. The bounds are in the environment. What went wrong
/// is on standard error.
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
            setrlimit(resource, limit).map_err(|why| format!("the compiler cannot be bounded: {why}"))?;
        }
    }
    let _ = nice(19);
    end_with_host()?;
    let mut bytes = Vec::new();
    io::stdin().take(MAX_COMPONENT_BYTES).read_to_end(&mut bytes).map_err(|why| format!("no component came: {why}"))?;
    let engine = engine::compiling().map_err(|why| why.to_string())?;
    let code = engine.precompile_component(&bytes).map_err(|why| format!("{why:#}"))?;
    write_new(out, &code).map_err(|why| format!("the compiled code cannot be written: {why}"))
}

/// A host that dies leaves nobody to stop its compiler at the end of the time.
fn end_with_host() -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|why| format!("the compiler cannot be tied to the host: {why}"))?;
    // It may have died before that.
    let host = std::env::var(HOST_VARIABLE).ok();
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if host.is_some() && host != parent { Err("the host is gone".to_owned()) } else { Ok(()) }
}

fn in_child(program: &Path, bounds: CompileBounds, bytes: &[u8], out: &Path) -> Result<(), String> {
    // CPU seconds of all its threads: twice the time of the wall is more than any compilation that
    // ends in time needs on two cores.
    let seconds = bounds.wall.as_secs().max(1).saturating_mul(2);
    let mut child = Command::new(program)
        .arg0("anacostia")
        .arg(COMPILE_VERB)
        .arg(out)
        // It reads what a stranger wrote: of the host's environment, secrets in it, it needs
        // nothing.
        .env_clear()
        .env(HOST_VARIABLE, std::process::id().to_string())
        .env(MEMORY_VARIABLE, bounds.memory.0.to_string())
        .env(SECONDS_VARIABLE, seconds.to_string())
        // What the allocator puts aside counts as much as what is in use: by default a quarter of
        // the bound.
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
    let status = child.wait().map_err(|why| format!("the compiler is lost: {why}"))?;
    match complaint {
        None => Err(format!("it takes longer than {}", crate::base::TimeSpan(bounds.wall))),
        Some(_) if status.success() => Ok(()),
        Some(text) if text.trim().is_empty() => {
            Err(format!("the compiler died ({status}); it has {} of memory", bounds.memory))
        }
        Some(text) => Err(text.trim().to_owned()),
    }
}

/// Hands a component to the compiler, and returns what it complained of once it has ended; `None`
/// if it has not in time.
fn converse(child: &mut Child, wall: Duration, bytes: &[u8]) -> Option<String> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let (ended, wait) = mpsc::channel();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = (&mut stderr).take(MAX_COMPLAINT_BYTES as u64).read_to_end(&mut text);
                // To the end, so that a chatty compiler does not wait for a reader.
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
            // Ends both threads: their pipes close.
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

/// The program that is running, for [`super::SandboxConfig::compiler`].
///
/// On Linux by a name that leads to this very program even after its file was replaced, as an
/// upgrade does: another version's code could not be loaded.
#[must_use]
pub fn this_program() -> Option<PathBuf> {
    let myself = Path::new("/proc/self/exe");
    if myself.exists() { Some(myself.to_owned()) } else { std::env::current_exe().ok() }
}
