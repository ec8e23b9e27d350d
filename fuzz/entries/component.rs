//! Any bytes as a component that is looked at, not compiled: what it is, what it imports, who made
//! it.

use anacostia::manifest::{ComponentInfo, inspect};

/// Looks at the bytes.
pub(crate) fn run(data: &[u8]) {
    match inspect(data) {
        Ok(info) => {
            let ComponentInfo { size, .. } = &info;
            assert_eq!(*size, data.len() as u64);
            // Each import is told what it needs, and whether this is an action.
            let _ = (info.needs().count(), info.not_an_action(), info.has_hooks());
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
