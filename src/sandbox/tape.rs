//! What an attempt is told that is different each time: by its clocks, by its insecure random
//! numbers, and by tags, which move. It is noted, so that the attempt can be replayed: the replay
//! gives the same answers in the same order, and the guest, which is deterministic otherwise, asks
//! for them in that order.
//!
//! Every reading is noted, not only the start of the clock: how much time passes between two
//! readings is different each time. Of random numbers the seed is enough. Secure random numbers
//! are always fresh, and only their use is noted: whoever could read the records would know the
//! keys that are made of them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand_core::TryRng;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use crate::base::{ArtifactId, Timestamp};
use crate::model::{MAX_TOLD, Recording};

/// The answers for one attempt, of all its instances.
#[derive(Debug)]
pub(super) struct Tape {
    seed: [u64; 2],
    /// What is replayed, if the attempt is a replay.
    replayed: Option<Recording>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    noted: Recording,
    wall: Readings,
    monotonic: Readings,
    random: SplitMix,
}

/// How far the readings of a clock have come.
#[derive(Debug, Default)]
struct Readings {
    last: i64,
    count: usize,
    /// What the real clock said when the last reading on record had been given, and another one was
    /// asked for.
    real: Option<i64>,
}

impl Tape {
    /// Returns the answers for an attempt. `seed` is for one that is not a replay.
    pub(super) fn new(seed: u128, replayed: Option<&Recording>) -> Self {
        let halves = [low_half(seed), low_half(seed >> 64)];
        let seed = replayed.and_then(|recording| recording.seed).unwrap_or(halves);
        let state = State {
            noted: Recording::default(),
            wall: Readings::default(),
            monotonic: Readings::default(),
            random: SplitMix(seed[0] ^ seed[1].rotate_left(32)),
        };
        Self { seed, replayed: replayed.cloned(), state: Mutex::new(state) }
    }

    /// Returns when the attempt began, if that is `now`.
    pub(super) fn began(&self, now: Timestamp) -> Timestamp {
        self.replayed.as_ref().and_then(|recording| recording.began).unwrap_or(now)
    }

    /// Notes that the attempt has asked when it has to end, and so when it began.
    pub(super) fn note_began(&self, began: Timestamp) {
        self.state().noted.began = Some(began);
    }

    /// Notes that the attempt has asked for insecure random numbers, or their seed.
    pub(super) fn note_seed(&self) {
        self.state().noted.seed = Some(self.seed);
    }

    /// Notes that the attempt has asked for secure random numbers.
    pub(super) fn note_secure_random(&self) {
        self.state().noted.secure_random = true;
    }

    /// Returns the tags of an artifact that the attempt is shown, which has `now`.
    pub(super) fn tags(&self, artifact: ArtifactId, now: &[String]) -> Vec<String> {
        let tags = match &self.replayed {
            Some(Recording { tags, is_cut, .. }) => match tags.get(&artifact) {
                None if *is_cut => now,
                tags => tags.map_or(&[][..], Vec::as_slice),
            },
            None => now,
        };
        if !tags.is_empty() {
            let noted = &mut self.state().noted;
            if noted.tags.len() < MAX_TOLD || noted.tags.contains_key(&artifact) {
                noted.tags.insert(artifact, tags.to_vec());
            } else {
                noted.is_cut = true;
            }
        }
        tags.to_vec()
    }

    /// Returns what was noted.
    pub(super) fn recording(&self) -> Recording {
        self.state().noted.clone()
    }

    /// Puts the clocks and the random numbers into the context of an instance.
    pub(super) fn put(self: &Arc<Self>, wasi: &mut WasiCtxBuilder) {
        let [low, high] = self.seed.map(u128::from);
        wasi.insecure_random_seed(low | (high << 64))
            .insecure_random(Random(Arc::clone(self)))
            .wall_clock(Wall(Arc::clone(self)))
            .monotonic_clock(Monotonic { tape: Arc::clone(self), start: Instant::now() });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wall(&self, now: impl FnOnce() -> i64) -> i64 {
        let mut state = self.state();
        let State { noted, wall, .. } = &mut *state;
        let replayed = self.replayed.as_ref().map(|recording| &*recording.wall);
        wall.next(replayed, now, &mut noted.wall, &mut noted.is_cut)
    }

    fn monotonic(&self, now: impl FnOnce() -> i64) -> i64 {
        let mut state = self.state();
        let State { noted, monotonic, .. } = &mut *state;
        let replayed = self.replayed.as_ref().map(|recording| &*recording.monotonic);
        monotonic.next(replayed, now, &mut noted.monotonic, &mut noted.is_cut)
    }
}

impl Readings {
    /// Returns the next reading: that on record, or `now`. After the last one on record the clock
    /// goes on from there, because a guest may wait until it does.
    fn next(
        &mut self,
        replayed: Option<&[i64]>,
        now: impl FnOnce() -> i64,
        noted: &mut Vec<i64>,
        is_cut: &mut bool,
    ) -> i64 {
        let reading = match replayed {
            Some(all) => {
                let step = all.get(self.count).copied().unwrap_or_else(|| {
                    let now = now();
                    now.saturating_sub(self.real.replace(now).unwrap_or(now))
                });
                self.last.saturating_add(step)
            }
            None => now(),
        };
        if self.count < MAX_TOLD {
            noted.push(reading.saturating_sub(self.last));
        } else {
            *is_cut = true;
        }
        self.last = reading;
        self.count += 1;
        reading
    }
}

struct Wall(Arc<Tape>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let now = || nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Duration::from_nanos(self.0.wall(now).unsigned_abs())
    }
}

struct Monotonic {
    tape: Arc<Tape>,
    start: Instant,
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.tape.monotonic(|| nanos(self.start.elapsed())).unsigned_abs()
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "the other half is taken by its own call")]
fn low_half(number: u128) -> u64 {
    number as u64
}

/// Insecure random numbers.
struct Random(Arc<Tape>);

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.state().random.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(number.get(..chunk.len()).unwrap_or_default());
        }
        Ok(())
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014). What a seed on record leads to must never change, and
/// the generators of libraries do not promise that.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_gives_the_same_answers_and_notes_the_same() {
        let live = Tape::new(7, None);
        let readings = [live.wall(|| 100), live.wall(|| 90), live.monotonic(|| 5), live.wall(|| 300)];
        assert_eq!(readings, [100, 90, 5, 300]);
        live.note_seed();
        let recording = live.recording();
        assert_eq!((&*recording.wall, &*recording.monotonic), (&[100, -10, 210][..], &[5][..]));

        let again = Tape::new(8, Some(&recording));
        let never = || -> i64 { panic!("the real clock is read") };
        assert_eq!([again.wall(never), again.wall(never), again.monotonic(never), again.wall(never)], readings);
        again.note_seed();
        assert_eq!(again.recording(), recording);
        assert_eq!(again.state().random.next(), live.state().random.next());
        let more = [again.wall(|| 5_000), again.wall(|| 5_007), again.wall(|| 5_010)];
        assert_eq!(more, [300, 307, 310], "it goes on from the last reading on record");
        assert_ne!(again.recording(), recording, "it was read more often");
    }

    #[test]
    fn a_replay_sees_the_tags_of_then() {
        let live = Tape::new(7, None);
        let (one, other) = (ArtifactId::new(), ArtifactId::new());
        let tag = ["best".to_owned()];
        assert_eq!((live.tags(one, &tag), live.tags(other, &[])), (tag.to_vec(), vec![]));
        let again = Tape::new(7, Some(&live.recording()));
        assert_eq!((again.tags(one, &[]), again.tags(other, &tag)), (tag.to_vec(), vec![]), "it has moved since");
        assert_eq!(again.recording(), live.recording());
    }

    #[test]
    fn what_is_noted_is_bounded() {
        let live = Tape::new(7, None);
        (0..=MAX_TOLD).for_each(|_| _ = live.tags(ArtifactId::new(), &["best".to_owned()]));
        assert!(live.recording().is_cut && live.recording().tags.len() == MAX_TOLD);
        let live = Tape::new(7, None);
        (0..=MAX_TOLD).for_each(|_| _ = live.monotonic(|| 1));
        let recording = live.recording();
        assert!(recording.is_cut && recording.monotonic.len() == MAX_TOLD && recording.seed.is_none());
    }

    /// The values of the reference implementation.
    #[test]
    fn a_seed_leads_to_the_same_numbers_for_ever() {
        let mut random = SplitMix(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
