//! Names of nodes.

/// The error for a text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name starts with a letter a-z, continues with a-z, 0-9, `_` or `-`, and has at most 63 characters")]
pub struct NameError;

/// Checks that `name` is a valid name of a node or a pipeline: `[a-z][a-z0-9_-]{0,62}`.
///
/// # Errors
/// Returns an error if it is not.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let mut characters = name.bytes();
    let first = characters.next().is_some_and(|c| c.is_ascii_lowercase());
    let rest = characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-');
    if first && rest && name.len() <= 63 { Ok(()) } else { Err(NameError) }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names() {
        for good in ["a", "data_store", "x-1", &"a".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "_a", "a b", "ä", "a/b", &"a".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
