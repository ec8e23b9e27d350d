//! Bounds how many wrong tokens may be typed from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Number of attempts that an address has at once.
const MOST: u32 = 10;
/// Time after which an address has one more.
const EACH: Duration = Duration::from_secs(6);
/// Most addresses that are remembered.
const MAX_ADDRESSES: usize = 1024;

/// The addresses from which attempts came, each with the moment at which it has all of them again.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Instant>>);

impl Attempts {
    /// Uses up an attempt, or returns how long to wait for the next one.
    pub(super) fn take(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&from) {
            all.retain(|_, full_at| *full_at > now);
            // If all have tried just now, the one with most attempts left is forgotten.
            let spare = all.iter().min_by_key(|(_, full_at)| **full_at).map(|(address, _)| *address);
            if let Some(spare) = spare.filter(|_| all.len() >= MAX_ADDRESSES) {
                all.remove(&spare);
            }
        }
        let full_at = all.entry(from).or_insert(now);
        let next = (*full_at).max(now) + EACH;
        let latest = now + EACH * MOST;
        if next > latest {
            return Err(next - latest);
        }
        *full_at = next;
        Ok(())
    }

    /// Forgets the attempts of an address: it has the right token.
    pub(super) fn give_back(&self, from: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&from);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Instant;

    use super::{Attempts, EACH, MAX_ADDRESSES, MOST};

    #[test]
    fn each_address_has_ten_attempts_and_then_one_every_six_seconds() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..MOST {
            assert_eq!(attempts.take(one, now), Ok(()));
        }
        assert_eq!(attempts.take(one, now), Err(EACH));
        assert_eq!(attempts.take(other, now), Ok(()), "another address");
        assert_eq!(attempts.take(one, now + EACH / 2), Err(EACH / 2));
        assert_eq!(attempts.take(one, now + EACH), Ok(()));
        assert!(attempts.take(one, now + EACH).is_err());
        attempts.give_back(one);
        assert_eq!(attempts.take(one, now), Ok(()), "it had the right token");
    }

    #[test]
    fn no_more_addresses_are_remembered_than_its_bound() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let many = u32::try_from(MAX_ADDRESSES).unwrap() + 100;
        let busy = IpAddr::from([255, 0, 0, 1]);
        for _ in 0..MOST {
            assert_eq!(attempts.take(busy, now), Ok(()));
        }
        for number in 0..many {
            assert_eq!(attempts.take(IpAddr::from(number.to_be_bytes()), now), Ok(()));
        }
        assert_eq!(attempts.0.lock().unwrap().len(), MAX_ADDRESSES);
        assert!(attempts.take(busy, now).is_err(), "who has tried often is not forgotten");
    }
}
