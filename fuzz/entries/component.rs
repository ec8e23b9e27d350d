//! Inspects arbitrary bytes as a component, without compiling them: its kind, its imports and its
//! producers.

use anacostia::manifest::{ComponentInfo, inspect};

/// Inspects the bytes.
pub(crate) fn run(data: &[u8]) {
    match inspect(data) {
        Ok(info) => {
            let ComponentInfo { size, .. } = &info;
            assert_eq!(*size, data.len() as u64);
            // For each import, the result says what it needs, and whether this is an action.
            let _ = (info.needs().count(), info.not_an_action(), info.has_hooks());
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
