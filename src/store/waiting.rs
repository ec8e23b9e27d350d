//! How many artifacts of a resource wait for a run.

/// A change of the counters of a resource's pending artifacts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) count: i64,
    pub(super) bytes: i64,
}

impl Change {
    /// Adds a pending artifact of `size` bytes.
    pub(super) fn more(&mut self, size: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add_unsigned(size);
    }

    /// Subtracts a pending artifact of `size` bytes.
    pub(super) fn less(&mut self, size: u64) {
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub_unsigned(size);
    }
}
