//! Guests that take more than is theirs.

use anacostia_guest::metadata::{self, Metric};
use anacostia_guest::resources::{self, CreateOptions};
use anacostia_guest::{Error, Result, log};

use crate::checks::Seen;

const CREATE: CreateOptions = CreateOptions { overwrite: false };
/// More handles than any host needs to give.
const HANDLES: usize = 1_000_000;

/// Write `bytes` bytes to `flood.bin` in `to`, in chunks of 1 MiB. Beyond the limit, `limit` is what must come.
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

/// Write for ever, whatever the host says.
pub fn write_stubbornly(to: &str) -> Result<String> {
    let writer = resources::create(to, "flood.bin", CREATE)?;
    let chunk = vec![b'x'; 1 << 20];
    loop {
        let _ = writer.write(&chunk);
    }
}

/// Log for ever.
pub fn log_forever() -> Result<String> {
    let line = "a line of a guest that logs without end ".repeat(20);
    for n in 0_u64.. {
        log::info(&line, &[("n", &n)]);
    }
    Ok("logged all numbers".to_owned())
}

/// Log lines of 32 MiB, with 100 fields of 1 MiB each beside them.
pub fn log_huge() -> Result<String> {
    let message = "m".repeat(32 << 20);
    log::info(&message, &[]);
    let value = "v".repeat(1 << 20);
    let fields: Vec<(&str, &dyn std::fmt::Display)> = (0..100).map(|_| ("field", &value as _)).collect();
    log::info("many fields", &fields);
    Ok("logged two huge lines".to_owned())
}

/// Log metrics under more and more names, until that is refused. The names that are known stay good.
pub fn metric_names() -> Result<String> {
    let mut seen = Seen::default();
    let log = |n: u32| metadata::log_metrics(&[Metric { name: format!("name-{n}"), value: 1.0, step: None }]);
    for n in 0..1_000_000 {
        if let Err(error) = log(n) {
            seen.refused(&format!("name {}", n + 1), "limit", Err::<(), Error>(error))?;
            seen.allowed("name 1 again", log(0))?;
            return Ok(seen.text());
        }
    }
    Err(Error::permanent("a million metric names were taken"))
}

/// Open readers of the first input in `from`, and keep them all, until that is refused. Those that are open must go on.
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

/// Begin artifacts in `to`, and keep all the writers, until that is refused. Those that are open must go on.
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
