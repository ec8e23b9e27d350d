//! What a power cut may take.

use super::words;

words! {
    /// What a power cut may take. When only the process dies, nothing is lost in either.
    Durability {
        /// The store stays consistent, but the last moments may be forgotten; they are worked on
        /// again.
        Normal = "normal",
        /// Nothing that was committed is lost: the store and the resources sync what they write.
        Full = "full",
    }
}

#[expect(clippy::derivable_impls, reason = "`words!` has no place for `#[default]`")]
impl Default for Durability {
    fn default() -> Self {
        Self::Normal
    }
}
