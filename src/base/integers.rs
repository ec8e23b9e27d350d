//! Detects integers in JSON that only a float could hold, because parsers silently change their
//! value.

/// Returns whether a JSON token is an integer that fits neither `i64` nor `u64`.
#[must_use]
pub fn is_large_integer(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && token.parse::<i64>().is_err()
        && token.parse::<u64>().is_err()
}

/// Returns the first integer in a JSON text that fits neither `i64` nor `u64`. Skips strings.
#[must_use]
pub fn first_large_integer(json: &str) -> Option<&str> {
    let mut rest = json;
    while let Some(at) = rest.find(|char: char| char == '"' || char == '-' || char.is_ascii_digit()) {
        rest = rest.get(at..)?;
        if let Some(inner) = rest.strip_prefix('"') {
            rest = after_string(inner);
            continue;
        }
        let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || "+-.".contains(char))).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        if is_large_integer(token) {
            return Some(token);
        }
        rest = after;
    }
    None
}

/// Returns the text after the end of a string. `text` begins after the opening quote.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.get(at + 1..).unwrap_or_default(),
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::first_large_integer;

    #[test]
    fn only_integers_beyond_64_bits_are_found() {
        for good in [
            "{}",
            "{\"a\":18446744073709551615,\"b\":-9223372036854775808}",
            "{\"a\":1e300,\"b\":123456789012345678901234567890.5}",
            "{\"a\":\"123456789012345678901234567890\",\"\\\"99999999999999999999\":0}",
        ] {
            assert_eq!(first_large_integer(good), None, "{good}");
        }
        assert_eq!(first_large_integer("{\"a\":[1,18446744073709551616]}"), Some("18446744073709551616"));
        assert_eq!(first_large_integer("[\"x\",-9223372036854775809]"), Some("-9223372036854775809"));
    }
}
