//! Detects numbers in JSON that 64 bits cannot hold, because parsers silently change their value.

/// Returns whether a JSON token is an integer that fits neither `i64` nor `u64`.
#[must_use]
pub fn is_large_integer(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && token.parse::<i64>().is_err()
        && token.parse::<u64>().is_err()
}

/// Returns whether a JSON token is a number that 64 bits cannot hold: a large integer, or a number
/// with a fraction or an exponent that would become infinite, or 0 although it is not 0.
#[must_use]
pub fn is_beyond_64_bits(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    if !mantissa.starts_with(|first: char| first.is_ascii_digit()) {
        return false;
    }
    let is_zero = mantissa.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let is_lost = |double: f64| double.is_infinite() || (double == 0.0 && !is_zero);
    is_large_integer(token) || digits.parse::<f64>().is_ok_and(is_lost)
}

/// Returns the first number in a JSON text that 64 bits cannot hold. Skips strings.
#[must_use]
pub fn first_beyond_64_bits(json: &str) -> Option<&str> {
    let mut rest = json;
    while let Some(at) = rest.find(|char: char| char == '"' || char == '-' || char.is_ascii_digit()) {
        rest = rest.get(at..)?;
        if let Some(inner) = rest.strip_prefix('"') {
            rest = after_string(inner);
            continue;
        }
        let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || "+-.".contains(char))).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        if is_beyond_64_bits(token) {
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
    use super::first_beyond_64_bits;

    #[test]
    fn only_numbers_beyond_64_bits_are_found() {
        for good in [
            "{}",
            "{\"a\":18446744073709551615,\"b\":-9223372036854775808}",
            "{\"a\":1e300,\"b\":123456789012345678901234567890.5}",
            "{\"a\":0.0,\"b\":-0e400,\"c\":5e-324}",
            "{\"a\":\"123456789012345678901234567890\",\"\\\"99999999999999999999\":0}",
            "[-inf, -infinity, 1e]",
        ] {
            assert_eq!(first_beyond_64_bits(good), None, "{good}");
        }
        for (json, number) in [
            ("{\"a\":[1,18446744073709551616]}", "18446744073709551616"),
            ("[\"x\",-9223372036854775809]", "-9223372036854775809"),
            ("1e400", "1e400"),
            ("[0, -1.5E+309]", "-1.5E+309"),
            ("{\"a\":1e-400}", "1e-400"),
        ] {
            assert_eq!(first_beyond_64_bits(json), Some(number), "{json}");
        }
    }
}
