//! The values of cookies: when the session ends, its number, and a code that only this host can
//! make.
//!
//! The key of the code is random and not kept, so a session ends with the host. The host remembers
//! only the sessions that were ended before their time. The code covers the token's digest too:
//! another token, no old session.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::ring::default_provider;

use crate::base::Digest;

/// How long a session lasts, in seconds: a week.
pub(super) const LIFETIME_SECS: u64 = 7 * 24 * 3600;

/// Most sessions that were ended and are remembered. Beyond that, those that would end first are
/// forgotten.
const MAX_ENDED: usize = 10_000;

/// Makes and checks the values of cookies.
pub(super) struct Sessions {
    mac: Hmac<Sha256>,
    issued: AtomicU64,
    /// When each session that was ended would end by itself, and its number.
    ended: Mutex<BTreeSet<(u64, u64)>>,
    /// Changes when a session is ended before its time.
    ends: watch::Sender<()>,
}

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
        Ok(Self { mac, issued: AtomicU64::new(0), ended: Mutex::default(), ends: watch::Sender::new(()) })
    }

    /// Returns the value of a new session. `now` is in seconds since 1970.
    pub(super) fn issue(&self, now: u64) -> String {
        let name = format!("{}-{}", now + LIFETIME_SECS, self.issued.fetch_add(1, Ordering::Relaxed));
        let mut value = format!("{name}.");
        for byte in self.mac(&name).finalize().into_bytes() {
            // Writing to a string never fails.
            let _ = write!(value, "{byte:02x}");
        }
        value
    }

    /// Returns whether the value is that of a session that has not ended.
    pub(super) fn is_valid(&self, value: &str, now: u64) -> bool {
        let ended = |session| self.ended.lock().unwrap_or_else(PoisonError::into_inner).contains(&session);
        self.session(value).is_some_and(|session| now < session.0 && !ended(session))
    }

    /// Ends a session before its time. Does nothing if the value is not that of a session.
    pub(super) fn end(&self, value: &str, now: u64) {
        let Some(session) = self.session(value) else { return };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = ended.split_off(&(now, 0));
        ended.insert(session);
        if ended.len() > MAX_ENDED {
            ended.pop_first();
        }
        self.ends.send_replace(());
    }

    /// Waits until the session of a value is over: by its age, or because it was ended.
    pub(super) async fn wait_for_end(&self, value: &str, clock: impl Fn() -> u64) {
        let mut ends = self.ends.subscribe();
        while self.is_valid(value, clock()) {
            let left = self.session(value).map_or(0, |(until, _)| until.saturating_sub(clock()));
            // Either way, the session is looked at again.
            let _ = timeout(Duration::from_secs(left), ends.changed()).await;
        }
    }

    /// Returns when the session of a value ends, and its number, if this host has issued it.
    fn session(&self, value: &str) -> Option<(u64, u64)> {
        let (name, code) = value.split_once('.')?;
        // In constant time.
        self.mac(name).verify_slice(&bytes(code)?).ok()?;
        let (until, number) = name.split_once('-')?;
        Some((until.parse().ok()?, number.parse().ok()?))
    }

    fn mac(&self, name: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(name.as_bytes());
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
    use super::{LIFETIME_SECS, MAX_ENDED, Sessions};
    use crate::base::Digest;

    fn sessions(key: &[u8], token: &[u8]) -> Sessions {
        Sessions::with_key(key, &Digest::of(token)).unwrap()
    }

    #[test]
    fn a_session_that_was_ended_is_over_and_others_are_not() {
        let (here, now) = (sessions(b"key", b"token"), 1_772_366_400);
        let (one, other) = (here.issue(now), here.issue(now));
        assert_ne!(one, other);
        here.end(&one, now);
        here.end("9999999999-1.00", now);
        assert!(!here.is_valid(&one, now) && here.is_valid(&other, now));
        // What has ended by itself is forgotten, and no more are remembered than the bound.
        here.end(&other, now + LIFETIME_SECS + 1);
        assert_eq!(here.ended.lock().unwrap().len(), 1);
        for _ in 0..=MAX_ENDED {
            here.end(&here.issue(now + 9), now);
        }
        assert_eq!(here.ended.lock().unwrap().len(), MAX_ENDED);
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
