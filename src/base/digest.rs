//! Content digests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

/// The SHA-256 of some bytes (FIPS 180-4). Its text form is `sha256:` and 64 lower-case hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(
    value_type = String,
    pattern = "^sha256:[0-9a-f]{64}$",
    examples("sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c")
)]
pub struct Digest([u8; 32]);

/// The letters of base64 (RFC 4648).
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Digest {
    /// Computes the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Creates a digest from the 32 bytes of an existing one.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest as a value of the header `Content-Digest` (RFC 9530).
    #[must_use]
    pub fn to_content_digest(&self) -> String {
        let mut text = String::from("sha-256=:");
        for three in self.0.chunks(3) {
            let bits =
                three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
            for place in 0..4 {
                let letter = BASE64.get(bits >> (18 - 6 * place) & 63).filter(|_| place <= three.len());
                text.push(letter.map_or('=', |letter| char::from(*letter)));
            }
        }
        text.push(':');
        text
    }

    /// Reads the SHA-256 from a value of the header `Content-Digest`. `None` if it has none.
    #[must_use]
    pub fn from_content_digest(text: &str) -> Option<Self> {
        let members = text.split(',').filter_map(|member| member.split_once('='));
        let (_, value) = members.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("sha-256"))?;
        let base64 = value.trim().strip_prefix(':')?.strip_suffix(':')?;
        let letter = |byte: u8| BASE64.iter().position(|letter| *letter == byte);
        let (mut bytes, mut bits, mut count) = (Vec::with_capacity(32), 0_usize, 0);
        for byte in base64.trim_end_matches('=').bytes() {
            (bits, count) = ((bits << 6 | letter(byte)?) & 0xffff, count + 6);
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
            }
        }
        bytes.try_into().ok().map(Self)
    }

    /// Returns the digits without the prefix `sha256:`, for file names.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for a text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: it must be `sha256:` and 64 hexadecimal digits")]
pub struct DigestError(String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || DigestError(super::bounds::cut(text, 100).into_owned());
        let hex = text.strip_prefix("sha256:").ok_or_else(refuse)?;
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(refuse());
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest incrementally.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all added bytes.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Hasher};

    #[test]
    fn a_content_digest_is_written_and_read() {
        let digest = Digest::of(b"hello");
        let text = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
        assert_eq!(digest.to_content_digest(), text);
        assert_eq!(Digest::from_content_digest(text), Some(digest));
        assert_eq!(Digest::from_content_digest(&format!("sha-512=:AAAA:, {text}")), Some(digest));
        for none in ["", "sha-256=LPJN", "sha-256=:LPJN:", "sha-256=:?:", "md5=:AAAA:"] {
            assert_eq!(Digest::from_content_digest(none), None, "{none}");
        }
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let digest = Digest::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), digest);
        for bad in ["", "sha256:", "sha1:00", "sha256:zz", &text[..70], &format!("{text}0")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
