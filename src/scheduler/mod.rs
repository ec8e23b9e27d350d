//! Floor 6: what runs when.

mod control;
pub mod core;

pub use control::{Control, View};
