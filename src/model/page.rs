//! Pages of lists.

use serde::{Deserialize, Serialize};

/// A page of a list. The store creates the cursors; they are opaque to all other code, and stay
/// valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Cursor of the next page, if there is one.
    pub next_cursor: Option<String>,
}
