//! Pages of lists.

use serde::{Deserialize, Serialize};

/// A page of a list. Cursors are made by the store, mean nothing to anyone else, and stay valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}
