//! Guests that do not end by themselves, unless they are told to be modest: `times` says how often.
//! `Result<String>` is what they give then.

use std::hint::black_box;

use anacostia_guest::resources::{self, Filter};
use anacostia_guest::{Result, run_context};
use wasip2::clocks::monotonic_clock;

/// Compute, `times` times.
pub fn spin(times: u64) -> Result<String> {
    let mut x = 0_u64;
    while x < times {
        x = black_box(x.wrapping_add(1));
    }
    Ok(format!("counted to {x}"))
}

/// Call the host, `times` times.
pub fn spin_in_host(times: u64) -> Result<String> {
    for _ in 0..times {
        black_box(run_context::cancelled());
    }
    Ok(format!("asked {times} times"))
}

/// Ask the host for a list, `times` times: each is work for the host.
pub fn list(from: &str, times: u64) -> Result<String> {
    let everything = Filter { prefix: None, after: None, limit: None };
    for _ in 0..times {
        black_box(resources::list(from, &everything)?);
    }
    Ok(format!("listed {times} times"))
}

/// Fill `bytes` of memory, `times` times, each with one instruction that nothing interrupts.
pub fn fill(bytes: usize, times: u64) -> Result<String> {
    let mut memory = vec![0_u8; bytes];
    for round in 0..times {
        memory.fill(round as u8);
        black_box(&mut memory);
    }
    Ok(format!("filled {times} times"))
}

/// Wait so many nanoseconds, using no CPU.
pub fn sleep(nanoseconds: u64) -> Result<String> {
    monotonic_clock::subscribe_duration(nanoseconds).block();
    Ok("slept".to_owned())
}

/// Take memory, 1 MiB at a time, and write to all of it, so that it is there in fact.
pub fn allocate(times: u64) -> Result<String> {
    let mut taken = Vec::new();
    for _ in 0..times {
        taken.push(vec![1_u8; 1 << 20]);
        black_box(&taken);
    }
    Ok(format!("took {} MiB", taken.len()))
}

/// The instruction that traps.
pub fn trap() -> Result<String> {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// Read where there is no memory.
pub fn out_of_bounds() -> Result<String> {
    let end = black_box(usize::MAX - 8) as *const u64;
    // SAFETY: it is not, which is what this is for: the sandbox has to trap.
    let value = unsafe { end.read_volatile() };
    Ok(format!("read {value} from beyond the memory"))
}

/// Call itself `times` deep, with next to nothing on the stack that lies in the guest's memory: the
/// host's stack is what runs out.
pub fn recurse(times: u64) -> Result<String> {
    Ok(format!("came back with {}", deeper(black_box(times))))
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == 0 { 0 } else { deeper(depth - 1).wrapping_mul(31) ^ depth }
}

/// Call itself `times` deep, with much on the stack that lies in the guest's memory: that is what
/// runs out.
pub fn recurse_in_memory(times: u64) -> Result<String> {
    Ok(format!("came back with {}", deeper_in_memory(black_box(times))))
}

#[inline(never)]
fn deeper_in_memory(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if depth == 0 { 0 } else { deeper_in_memory(depth - 1) ^ black_box(frame)[0] }
}
