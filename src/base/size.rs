//! Byte sizes with units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes. Its text form is a number and a unit: `512 B`, `64KiB`, `1.5 GiB`, `10MB`
/// (binary and decimal units).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// The error for a text that is not a byte size, or a too large one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The text is not a byte size.
    #[error("`{0}` is not a size: write a number and a unit, such as \"64KiB\", \"256MiB\" or \"1GiB\"")]
    NoSize(String),
    /// The size is above the bound.
    #[error("`{0}` is too large: the maximum is {max}TiB", max = MAX_BYTES >> 40)]
    TooLarge(String),
}

/// Up to this bound, each number of bytes is exact as a floating-point number.
const MAX_BYTES: u64 = 8 << 50;

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || super::bounds::cut(text, 100).into_owned();
        let refuse = || SizeError::NoSize(shown());
        let too_large = || SizeError::TooLarge(shown());
        let (unit, factor) = UNITS
            .iter()
            .find(|(unit, _)| text.to_ascii_lowercase().ends_with(&unit.to_ascii_lowercase()))
            .ok_or_else(refuse)?;
        let number = text.get(..text.len() - unit.len()).ok_or_else(refuse)?.trim();
        if let Ok(whole) = number.parse::<u64>() {
            let bytes = whole.checked_mul(*factor).filter(|bytes| *bytes <= MAX_BYTES);
            return bytes.map(Self).ok_or_else(too_large);
        }
        let fraction: f64 = number.parse().map_err(|_| refuse())?;
        #[expect(clippy::cast_precision_loss, reason = "a unit is far below 2^53")]
        let bytes = fraction * *factor as f64;
        // `inf` and `nan` would parse as numbers too.
        if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Err(refuse());
        }
        #[expect(clippy::cast_precision_loss, reason = "it is exactly 2^53")]
        if bytes > MAX_BYTES as f64 {
            return Err(too_large());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, as was just seen")]
        Ok(Self(bytes.round() as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS.iter().take(4).find(|(_, factor)| self.0 >= *factor).copied().unwrap_or(("B", 1));
        if self.0.is_multiple_of(factor) {
            return write!(f, "{} {unit}", self.0 / factor);
        }
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        let number = self.0 as f64 / factor as f64;
        write!(f, "{number:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, SizeError};

    #[test]
    fn sizes_parse_and_display() {
        for (text, bytes, shown) in [
            ("0B", 0, "0 B"),
            ("512 B", 512, "512 B"),
            ("64KiB", 65_536, "64 KiB"),
            ("1.5 GiB", 1_610_612_736, "1.5 GiB"),
            ("10MB", 10_000_000, "9.5 MiB"),
            ("1gib", 1 << 30, "1 GiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), shown);
        }
        for bad in ["", "12", "MiB", "-1MiB", "-1.5MiB", "1 XB", "nanMiB", "infMiB"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(SizeError::NoSize(bad.to_owned())));
        }
        for large in ["8193TiB", "99999999999TiB", "8192.5TiB", "1e400B", "99999999999999999999999B"] {
            assert_eq!(large.parse::<ByteSize>(), Err(SizeError::TooLarge(large.to_owned())));
        }
        assert_eq!("8192TiB".parse::<ByteSize>(), Ok(ByteSize(8 << 50)));
    }
}
