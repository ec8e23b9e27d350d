//! Durability of commits in a power cut.

use super::string_enum;

string_enum! {
    /// What may be lost in a power cut. If only the process dies, neither setting loses anything.
    Durability {
        /// The store stays consistent, but the last commits may be lost; their work is then
        /// repeated.
        Normal = "normal",
        /// No commit is lost: the store and the resources sync what they write.
        Full = "full",
    }
}

#[expect(clippy::derivable_impls, reason = "`string_enum!` has no place for `#[default]`")]
impl Default for Durability {
    fn default() -> Self {
        Self::Normal
    }
}
