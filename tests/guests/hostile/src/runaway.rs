//! Guests that do not end by themselves, unless `times` bounds what they do. They return a
//! `Result<String>` in that case.

use std::hint::black_box;

use anacostia_guest::resources::{self, Filter};
use anacostia_guest::{Result, run_context};
use wasip2::clocks::monotonic_clock;

/// Computes, `times` times.
pub fn spin(times: u64) -> Result<String> {
    let mut x = 0_u64;
    while x < times {
        x = black_box(x.wrapping_add(1));
    }
    Ok(format!("counted to {x}"))
}

/// Calls the host, `times` times.
pub fn spin_in_host(times: u64) -> Result<String> {
    for _ in 0..times {
        black_box(run_context::cancelled());
    }
    Ok(format!("asked {times} times"))
}

/// Requests a list from the host, `times` times, which makes the host work.
pub fn list(from: &str, times: u64) -> Result<String> {
    let everything = Filter { prefix: None, after: None, limit: None };
    for _ in 0..times {
        black_box(resources::list(from, &everything)?);
    }
    Ok(format!("listed {times} times"))
}

/// Fills `bytes` of memory, `times` times, each with one instruction that cannot be interrupted.
pub fn fill(bytes: usize, times: u64) -> Result<String> {
    let mut memory = vec![0_u8; bytes];
    for round in 0..times {
        memory.fill(round as u8);
        black_box(&mut memory);
    }
    Ok(format!("filled {times} times"))
}

/// Waits that many nanoseconds without using the CPU.
pub fn sleep(nanoseconds: u64) -> Result<String> {
    monotonic_clock::subscribe_duration(nanoseconds).block();
    Ok("slept".to_owned())
}

/// Allocates memory, 1 MiB at a time, and writes to all of it, so that it is really used.
pub fn allocate(times: u64) -> Result<String> {
    let mut taken = Vec::new();
    for _ in 0..times {
        taken.push(vec![1_u8; 1 << 20]);
        black_box(&taken);
    }
    Ok(format!("took {} MiB", taken.len()))
}

/// Executes the instruction that traps.
pub fn trap() -> Result<String> {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// Reads beyond the end of the memory.
pub fn out_of_bounds() -> Result<String> {
    let end = black_box(usize::MAX - 8) as *const u64;
    // SAFETY: this is not safe, on purpose: the sandbox has to trap.
    let value = unsafe { end.read_volatile() };
    Ok(format!("read {value} from beyond the memory"))
}

/// Calls itself `times` deep, with very little data on the stack in the guest's memory, so that the
/// host's stack overflows.
pub fn recurse(times: u64) -> Result<String> {
    Ok(format!("came back with {}", deeper(black_box(times))))
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == 0 { 0 } else { deeper(depth - 1).wrapping_mul(31) ^ depth }
}

/// Calls itself `times` deep, with much data on the stack in the guest's memory, so that this stack
/// overflows.
pub fn recurse_in_memory(times: u64) -> Result<String> {
    Ok(format!("came back with {}", deeper_in_memory(black_box(times))))
}

#[inline(never)]
fn deeper_in_memory(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if depth == 0 { 0 } else { deeper_in_memory(depth - 1) ^ black_box(frame)[0] }
}
