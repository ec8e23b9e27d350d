//! Expansion of `${NAME}` in string values.

use std::ops::Range;

/// Looks up a variable of the host's environment. Returns `None` if it is not set or not UTF-8.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Longest value after expansion, in bytes. Variables may be long, and a manifest may use them
/// often.
pub(super) const MAX_EXPANDED_BYTES: usize = 64 << 10;

/// Why a value cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ExpandError {
    /// The variable is not set.
    Missing(String),
    /// `${` without `}`.
    Unclosed,
    /// The text between the braces is not a valid variable name.
    BadName(String),
    /// The result is longer than [`MAX_EXPANDED_BYTES`].
    TooLong,
}

/// Returns `text` with each `${NAME}` replaced by the variable's value, and each `$$` by `$`. Any
/// other `$` is kept, so that `$HOME` in a shell command needs no escape. The values of variables
/// are not expanded again.
pub(super) fn expand(text: &str, env: Env<'_>) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (name, after) = after.split_once('}').ok_or(ExpandError::Unclosed)?;
            if !is_variable(name) {
                return Err(ExpandError::BadName(name.to_owned()));
            }
            expanded.push_str(&env(name).ok_or_else(|| ExpandError::Missing(name.to_owned()))?);
            after
        } else {
            expanded.push('$');
            after
        };
        if expanded.len() > MAX_EXPANDED_BYTES {
            return Err(ExpandError::TooLong);
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Returns whether `name` is a valid variable name: `[A-Za-z_][A-Za-z0-9_]*`.
pub(super) fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// Returns the place of the reference to the variable `name` inside `span`. If a TOML escape hides
/// the reference, returns the whole span.
pub(super) fn place_of(text: &str, span: &Range<usize>, name: &str) -> Range<usize> {
    let found = text.get(span.clone()).and_then(|value| value.find(&format!("${{{name}}}")));
    found.map_or_else(|| span.clone(), |at| span.start + at..span.start + at + name.len() + 3)
}

#[cfg(test)]
mod tests {
    use super::{ExpandError, MAX_EXPANDED_BYTES, expand};

    fn env(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/me".to_owned()),
            "DOLLAR" => Some("${HOME}".to_owned()),
            "LONG" => Some("x".repeat(MAX_EXPANDED_BYTES)),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once_and_dollars_escape() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${HOME}/data", "/home/me/data"),
            ("${HOME}${HOME}", "/home/me/home/me"),
            ("$${HOME}", "${HOME}"),
            ("$$$$", "$$"),
            ("echo $HOME costs 5$", "echo $HOME costs 5$"),
            ("${DOLLAR}", "${HOME}"),
        ] {
            assert_eq!(expand(text, &env).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn invalid_variables_are_refused() {
        assert_eq!(expand("${NOPE}", &env), Err(ExpandError::Missing("NOPE".to_owned())));
        assert_eq!(expand("a ${HOME", &env), Err(ExpandError::Unclosed));
        assert_eq!(expand("${}", &env), Err(ExpandError::BadName(String::new())));
        assert_eq!(expand("${a b}", &env), Err(ExpandError::BadName("a b".to_owned())));
        assert_eq!(expand("${LONG}${LONG}", &env), Err(ExpandError::TooLong));
    }
}
