//! What an attempt was told that no other record has, so that it can be replayed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{ArtifactId, Timestamp};

/// The most readings of each clock that are on record, and the most artifacts with tags.
pub const MAX_TOLD: usize = 1_000;

/// What an attempt was told by its clocks, the seed of its insecure random numbers, and the tags
/// that it saw, which move. The numbers of `wasi:random/random` are never on record, because keys
/// and tokens are made of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// When it began, if it has asked for its deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// The seed of its insecure random numbers, if it has asked for any: the low half first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<[u64; 2]>,
    /// Its readings of the wall clock, in nanoseconds: the first since 1970, and each other one
    /// since the one before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wall: Vec<i64>,
    /// Its readings of the monotonic clock, in the same way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub monotonic: Vec<i64>,
    /// The tags of the artifacts in the lists that it was given. Others had none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<ArtifactId, Vec<String>>,
    /// Whether it was told more than [`MAX_TOLD`] of one sort.
    #[serde(skip_serializing_if = "is_false")]
    pub is_cut: bool,
    /// Whether it has asked for secure random numbers.
    #[serde(skip_serializing_if = "is_false")]
    pub secure_random: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Recording {
    /// Returns whether the attempt has asked for nothing of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
