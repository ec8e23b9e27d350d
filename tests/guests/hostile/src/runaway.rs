//! Guests that do not end by themselves. `Result<String>` is what they would give if they did.

use std::hint::black_box;

use anacostia_guest::{Result, run_context};
use wasip2::clocks::monotonic_clock;

/// Compute for ever.
pub fn spin() -> Result<String> {
    let mut x = 0_u64;
    loop {
        x = black_box(x.wrapping_add(1));
    }
}

/// Call the host for ever.
pub fn spin_in_host() -> Result<String> {
    loop {
        black_box(run_context::cancelled());
    }
}

/// Wait for ever, using no CPU.
pub fn sleep_forever() -> Result<String> {
    loop {
        monotonic_clock::subscribe_duration(u64::MAX).block();
    }
}

/// Take memory, 1 MiB at a time, and write to all of it, so that it is there in fact.
pub fn allocate() -> Result<String> {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1_u8; 1 << 20]);
        black_box(&taken);
    }
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

/// Call itself without end, with next to nothing on the stack that lies in the guest's memory: the host's stack is what runs out.
pub fn recurse() -> Result<String> {
    Ok(format!("came back with {}", deeper(black_box(1))))
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == 0 { 0 } else { deeper(depth + 1).wrapping_mul(31) ^ depth }
}

/// Call itself without end, with much on the stack that lies in the guest's memory: that is what runs out.
pub fn recurse_in_memory() -> Result<String> {
    Ok(format!("came back with {}", deeper_in_memory(black_box(1))))
}

#[inline(never)]
fn deeper_in_memory(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if depth == 0 { 0 } else { deeper_in_memory(depth + 1) ^ black_box(frame)[0] }
}
