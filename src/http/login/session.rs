//! The values of cookies: when the session ends, and a code that only this host can make.
//!
//! The key of the code is random and not kept, so a session ends with the host. The host stores
//! nothing for it. The code covers the token's digest too: another token, no old session.

use std::fmt::Write as _;
use std::io;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio_rustls::rustls::crypto::ring::default_provider;

use crate::base::Digest;

/// How long a session lasts, in seconds: a week.
pub(super) const LIFETIME_SECS: u64 = 7 * 24 * 3600;

/// Makes and checks the values of cookies.
pub(super) struct Sessions(Hmac<Sha256>);

impl Sessions {
    /// Creates sessions that are valid with the token of this digest.
    pub(super) fn new(token: &Digest) -> io::Result<Self> {
        let mut key = [0; 32];
        default_provider().secure_random.fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
        Self::with_key(&key, token)
    }

    fn with_key(key: &[u8], token: &Digest) -> io::Result<Self> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(io::Error::other)?;
        mac.update(token.to_string().as_bytes());
        Ok(Self(mac))
    }

    /// Returns the value of a new session. `now` is in seconds since 1970.
    pub(super) fn issue(&self, now: u64) -> String {
        let until = (now + LIFETIME_SECS).to_string();
        let mut value = format!("{until}.");
        for byte in self.mac(&until).finalize().into_bytes() {
            // Writing to a string never fails.
            let _ = write!(value, "{byte:02x}");
        }
        value
    }

    /// Returns whether the value is that of a session that has not ended.
    pub(super) fn is_valid(&self, value: &str, now: u64) -> bool {
        let Some((until, code)) = value.split_once('.') else { return false };
        let Some(code) = bytes(code) else { return false };
        // In constant time.
        self.mac(until).verify_slice(&code).is_ok() && until.parse::<u64>().is_ok_and(|until| now < until)
    }

    fn mac(&self, until: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(until.as_bytes());
        mac
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 64 {
        return None;
    }
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{LIFETIME_SECS, Sessions};
    use crate::base::Digest;

    fn sessions(key: &[u8], token: &[u8]) -> Sessions {
        Sessions::with_key(key, &Digest::of(token)).unwrap()
    }

    #[test]
    fn a_session_is_valid_until_its_end_and_nothing_else_is() {
        let (here, now) = (sessions(b"key", b"token"), 1_772_366_400);
        let value = here.issue(now);
        assert!(here.is_valid(&value, now) && here.is_valid(&value, now + LIFETIME_SECS - 1));
        assert!(!here.is_valid(&value, now + LIFETIME_SECS), "it has ended");
        let longer = value.replacen(&(now + LIFETIME_SECS).to_string(), &(now + 2 * LIFETIME_SECS).to_string(), 1);
        assert!(longer != value && !here.is_valid(&longer, now), "its end was changed");
        for bad in ["", ".", "9999999999.", "9999999999", "9999999999.00", "x.y", &value[..value.len() - 1]] {
            assert!(!here.is_valid(bad, now), "{bad}");
        }
        assert!(!sessions(b"other key", b"token").is_valid(&value, now), "another host");
        assert!(!sessions(b"key", b"other token").is_valid(&value, now), "another token");
        assert!(!value.contains("token") && Sessions::new(&Digest::of(b"t")).unwrap().issue(now) != value);
    }
}
