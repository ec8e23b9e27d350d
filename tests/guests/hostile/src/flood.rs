//! Guests that use more resources than they are allowed.

use anacostia_guest::metadata::{self, Entry, Metric};
use anacostia_guest::resources::{self, CreateOptions};
use anacostia_guest::{Error, Result, log, run_context};

use crate::checks::Seen;

const CREATE: CreateOptions = CreateOptions { overwrite: false };
/// More handles than any host needs to provide.
const HANDLES: usize = 1_000_000;

/// Writes `bytes` bytes to `flood.bin` in `to`, in chunks of 1 MiB. Beyond the limit, the error
/// must be `limit`.
pub fn write(to: &str, bytes: u64) -> Result<String> {
    let mut seen = Seen::default();
    let writer = seen.allowed("create", resources::create(to, "flood.bin", CREATE))?;
    let chunk = vec![b'x'; 1 << 20];
    let mut written = 0_u64;
    while written < bytes {
        if let Err(error) = writer.write(&chunk) {
            seen.refused(&format!("write after {written} bytes"), "limit", Err::<(), Error>(error))?;
            seen.refused("write again", "limit", writer.write(&chunk))?;
            return Ok(seen.text());
        }
        written += chunk.len() as u64;
    }
    writer.finish()?;
    Ok(format!("wrote {written} bytes, and nothing stopped it"))
}

/// Writes `times` MiB, and ignores errors.
pub fn write_stubbornly(to: &str, times: u64) -> Result<String> {
    let writer = resources::create(to, "flood.bin", CREATE)?;
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..times {
        let _ = writer.write(&chunk);
    }
    Ok(format!("wrote {times} MiB"))
}

/// Logs `times` lines.
pub fn log_lines(times: u64) -> Result<String> {
    let line = "a line of a guest that logs without end ".repeat(20);
    for n in 0..times {
        log::info(&line, &[("n", &n)]);
    }
    Ok(format!("logged {times} lines"))
}

/// Writes `times` mebibytes to standard error, without a newline, and ignores errors.
pub fn stderr(times: u64) -> Result<String> {
    let stderr = wasip2::cli::stderr::get_stderr();
    let chunk = [b'e'; 4096];
    for _ in 0..times << 8 {
        let _ = stderr.blocking_write_and_flush(&chunk);
    }
    Ok(format!("wrote {times} MiB to standard error"))
}

/// Writes `times` empty lines to standard output.
pub fn stdout(times: u64) -> Result<String> {
    let stdout = wasip2::cli::stdout::get_stdout();
    let lines = [b'\n'; 1024];
    for _ in 0..times >> 10 {
        let _ = stdout.blocking_write_and_flush(&lines);
    }
    Ok(format!("wrote {times} lines to standard output"))
}

/// Reports progress, `times` times, each with a long text.
pub fn progress(times: u64) -> Result<String> {
    let text = "ä".repeat(4096);
    for n in 0..times {
        run_context::progress(n as f64 / times as f64, &text);
    }
    Ok(format!("reported {times} times"))
}

/// Records params, a thousand in a call and with the maximum length, until that is refused, or
/// `times` calls are made.
pub fn params(times: u64) -> Result<String> {
    let mut seen = Seen::default();
    let value = "v".repeat(10_000);
    for call in 0..times {
        let entry = |n| Entry { name: format!("param-{call}-{n}"), value: value.clone() };
        if let Err(error) = metadata::log_params(&(0..1000).map(entry).collect::<Vec<_>>()) {
            seen.refused(&format!("call {call}"), "limit", Err::<(), Error>(error))?;
            seen.refused("once more", "limit", metadata::log_params(&(0..1000).map(entry).collect::<Vec<_>>()))?;
            return Ok(seen.text());
        }
    }
    Ok(format!("recorded {times} thousand params"))
}

/// Adds tags to the first input in `from` until that is refused. Existing tags remain usable.
pub fn tags(from: &str) -> Result<String> {
    let mut seen = Seen::default();
    let inputs = resources::inputs(from)?;
    let input = inputs.first().ok_or_else(|| Error::permanent("an input is needed"))?;
    for n in 0..1_000_000 {
        if let Err(error) = metadata::tag_artifact(&input.id, &format!("tag-{n}"), false) {
            seen.refused(&format!("tag {}", n + 1), "limit", Err::<(), Error>(error))?;
            seen.allowed("tag 1 again", metadata::tag_artifact(&input.id, "tag-0", true))?;
            return Ok(seen.text());
        }
    }
    Err(Error::permanent("a million tags were taken"))
}

/// Writes empty artifacts to `to` until that is refused.
pub fn artifacts(to: &str) -> Result<String> {
    let mut seen = Seen::default();
    let folder = resources::create(to, "first.txt", CREATE)?;
    for n in 0..1_000_000 {
        match resources::create(to, &format!("{n}.txt"), CREATE) {
            Ok(writer) => drop(writer.finish()?),
            Err(error) => {
                seen.refused(&format!("artifact {}", n + 2), "limit", Err::<(), Error>(error))?;
                seen.allowed("finish the first", folder.finish())?;
                return Ok(seen.text());
            }
        }
    }
    Err(Error::permanent("a million artifacts were taken"))
}

/// Fails with an error of `times` bytes, which contains escape codes that clear a terminal.
pub fn huge_error(times: u64) -> Result<String> {
    let code = "x".repeat(times as usize / 2);
    Err(Error { code, message: "\u{1b}[2J".repeat(times as usize / 8), retryable: false })
}

/// Creates `times` pollables of WASI, keeps them all, and waits for all of them at once.
pub fn pollables(times: u64) -> Result<String> {
    let kept: Vec<_> = (0..times).map(|_| wasip2::clocks::monotonic_clock::subscribe_duration(1)).collect();
    Ok(format!("{} of {times} are ready", wasip2::io::poll::poll(&kept.iter().collect::<Vec<_>>()).len()))
}

/// Waits for one pollable, which is `times` times in one list.
pub fn poll_list(times: u64) -> Result<String> {
    let ready = wasip2::clocks::monotonic_clock::subscribe_duration(0);
    let list = vec![&ready; times as usize];
    Ok(format!("{} of {times} are ready", wasip2::io::poll::poll(&list).len()))
}

/// Requests `times` random bytes in one call.
pub fn random(times: u64) -> Result<String> {
    Ok(format!("{} random bytes", wasip2::random::random::get_random_bytes(times).len()))
}

/// Passes the same text of `times` bytes to every function in which the host masks secrets.
pub fn haystack(text: &str, times: u64) -> Result<String> {
    let long = text.repeat(times as usize / text.len());
    let network = wasip2::sockets::instance_network::instance_network();
    let denied = wasip2::sockets::ip_name_lookup::resolve_addresses(&network, &long).is_err();
    log::info(&long, &[(&long, &long)]);
    run_context::progress(0.5, &long);
    let value: String = long.chars().take(10_000).collect();
    let entry = |n| Entry { name: format!("p{n}"), value: value.clone() };
    metadata::log_params(&(0..100).map(entry).collect::<Vec<_>>())?;
    if !denied {
        return Err(Error::permanent("a name was looked up"));
    }
    Ok(long)
}

/// Logs a line of `times` MiB, then one with 100 fields of a hundredth of that each.
pub fn log_huge(times: u64) -> Result<String> {
    let message = "m".repeat((times as usize) << 20);
    log::info(&message, &[]);
    let value = "v".repeat(((times as usize) << 20) / 100);
    let fields: Vec<(&str, &dyn std::fmt::Display)> = (0..100).map(|_| ("field", &value as _)).collect();
    log::info("many fields", &fields);
    Ok("logged two huge lines".to_owned())
}

/// Logs metrics under a million names: one by one up to the first that is refused, then a thousand
/// in a call. Names beyond the limit are refused, and known names remain usable.
pub fn metric_names() -> Result<String> {
    let mut seen = Seen::default();
    let metric = |n: u32| Metric { name: format!("name-{n}"), value: 1.0, step: None };
    let mut taken = 0;
    let first = loop {
        match metadata::log_metrics(&[metric(taken)]) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    seen.refused(&format!("name {}", taken + 1), "limit", Err::<(), Error>(first))?;
    for thousand in 1..1000 {
        let metrics: Vec<Metric> = (thousand * 1000..(thousand + 1) * 1000).map(metric).collect();
        if let Ok(()) = metadata::log_metrics(&metrics) {
            return Err(Error::permanent(format!("a thousand names more than {taken} were taken")));
        }
    }
    seen.allowed("name 1 again", metadata::log_metrics(&[metric(0)]))?;
    seen.holds(&format!("of a million names {taken} were taken"), true)?;
    Ok(seen.text())
}

/// Opens readers of the first input in `from`, and keeps them all, until that is refused. The open
/// ones must still work.
pub fn readers(from: &str) -> Result<String> {
    let mut seen = Seen::default();
    let inputs = seen.allowed("inputs", resources::inputs(from))?;
    let input = inputs.first().ok_or_else(|| Error::permanent("an input is needed"))?;
    let mut open = Vec::new();
    while open.len() < HANDLES {
        match resources::open(&input.id) {
            Ok(reader) => open.push(reader),
            Err(error) => {
                seen.refused(&format!("open after {} readers", open.len()), "limit", Err::<(), Error>(error))?;
                seen.allowed("read from the first", open[0].read(0, 16))?;
                open.pop();
                seen.allowed("open after one was closed", resources::open(&input.id))?;
                return Ok(seen.text());
            }
        }
    }
    Err(Error::permanent(format!("{HANDLES} readers were opened")))
}

/// Starts artifacts in `to`, and keeps all the writers, until that is refused. The open ones must
/// still work.
pub fn writers(to: &str) -> Result<String> {
    let mut seen = Seen::default();
    let mut open = Vec::new();
    while open.len() < HANDLES {
        match resources::create(to, &format!("writer-{}", open.len()), CREATE) {
            Ok(writer) => open.push(writer),
            Err(error) => {
                seen.refused(&format!("create after {} writers", open.len()), "limit", Err::<(), Error>(error))?;
                seen.allowed("write to the first", open[0].write(b"still here"))?;
                seen.allowed("finish the first", open[0].finish())?;
                return Ok(seen.text());
            }
        }
    }
    Err(Error::permanent(format!("{HANDLES} writers were opened")))
}
