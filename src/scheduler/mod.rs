//! Floor 6: what runs when.

mod control;

pub use control::{Control, View};
