//! Limits the memory of a guest: the sum of all its linear memories and tables.
//!
//! wasmtime's own `StoreLimits` limits each memory separately, so a component of fifty instances
//! would have fifty times the limit.

use wasmtime::ResourceLimiter;

/// The size of a table element on the host: a pointer.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// The maximum number of core instances, of memories and of tables: more than any ordinary
/// component has. A Python component has about 14 instances.
const MAX_INSTANCES: usize = 100;

/// Counts memory, and refuses growth beyond the limit.
#[derive(Debug)]
pub(super) struct MemoryMeter {
    limit: u64,
    used: u64,
    peak: u64,
    /// The last granted growth, which is taken back if the system then cannot provide it.
    last: u64,
    refused: bool,
}

impl MemoryMeter {
    /// Creates a meter with a limit in bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, peak: 0, last: 0, refused: false }
    }

    /// Resets the usage for the next instance. Keeps the peak.
    pub(super) fn renew(&mut self) {
        *self = Self { peak: self.peak, ..Self::new(self.limit) };
    }

    /// Returns the peak usage, in bytes.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Returns whether a growth was refused. Guests seldom report it: they abort.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    fn grow(&mut self, more: usize) -> bool {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        let Some(used) = self.used.checked_add(more).filter(|used| *used <= self.limit) else {
            self.refused = true;
            return false;
        };
        self.used = used;
        self.last = more;
        self.peak = self.peak.max(used);
        true
    }

    fn take_back(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.last));
        self.refused = true;
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_INSTANCES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut meter = MemoryMeter::new(1_000);
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.memory_growing(0, 400, None).unwrap(), "a second memory counts too");
        assert!(meter.table_growing(0, 25, None).unwrap(), "25 pointers are 200 bytes");
        assert!(!meter.refused());
        assert!(!meter.table_growing(25, 26, None).unwrap());
        assert!(meter.refused());
        assert_eq!(meter.peak(), 1_000);
    }

    #[test]
    fn failed_allocations_are_not_counted() {
        let mut meter = MemoryMeter::new(1_000);
        assert!(meter.memory_growing(0, 900, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(meter.memory_growing(0, 1_000, None).unwrap());
    }
}
