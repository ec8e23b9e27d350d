//! What is remembered of an attempt, so that its action need not run again with the same result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Artifact, ArtifactTag, Entry, string_enum};
use crate::base::{ArtifactId, AttemptId, Digest};

string_enum! {
    /// What can change the result of an action and is not on record.
    Influence {
        /// A clock.
        Clock = "clock",
        /// Random numbers.
        Random = "random",
        /// Requests over the network.
        Network = "network",
        /// Which run and attempt it is, and which runs there were before.
        Run = "run",
    }
}

impl Influence {
    /// Returns what an action has used, for a sentence.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Clock => "the clock",
            Self::Random => "random numbers",
            Self::Network => "the network",
            Self::Run => "the number or the times of its run",
        }
    }
}

/// A list of artifacts, in short.
///
/// Two lists are the same if they have the same versions, or the same paths with the same content.
/// Both are needed: the digest of a content may become known after it was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The digest over the paths, the ids and the tags.
    pub versions: Digest,
    /// The digest over the paths, the sizes, the digests and the tags; `None` if a digest was not
    /// known.
    pub content: Option<Digest>,
}

impl Listing {
    /// Makes the short form of a list.
    #[must_use]
    pub fn of<'a>(artifacts: impl Iterator<Item = &'a Artifact>) -> Self {
        let (mut versions, mut content) = (Vec::new(), Some(Vec::new()));
        for Artifact { id, path, size, digest, tags, .. } in artifacts {
            let mut named = Vec::new();
            text(&mut named, path);
            number(&mut named, tags.len());
            for tag in tags {
                text(&mut named, tag);
            }
            versions.extend_from_slice(&named);
            text(&mut versions, &id.to_string());
            content = content.zip(*digest).map(|(mut content, digest)| {
                content.extend_from_slice(&named);
                content.extend_from_slice(&size.to_le_bytes());
                content.extend_from_slice(digest.as_bytes());
                content
            });
        }
        Self { versions: Digest::of(&versions), content: content.map(|content| Digest::of(&content)) }
    }

    /// Returns whether two lists are the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.versions == other.versions || (self.content.is_some() && self.content == other.content)
    }
}

/// Appends a number of fixed length.
fn number(to: &mut Vec<u8>, number: usize) {
    to.extend_from_slice(&u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
}

/// Appends a text with its length, so that where it ends is part of the digest.
fn text(to: &mut Vec<u8>, text: &str) {
    number(to, text.len());
    to.extend_from_slice(text.as_bytes());
}

/// Something that an attempt has asked the host, with the answer: its result depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependency {
    /// It has opened an artifact.
    Opened {
        /// The resource.
        resource: String,
        /// The path at which the run saw it.
        path: String,
        /// The version.
        id: ArtifactId,
        /// The digest of its content, if it was recorded, or if the attempt has read all of it.
        digest: Option<Digest>,
        /// How many bytes it has read.
        bytes: u64,
        /// In how many calls.
        calls: u64,
    },
    /// It has tried to open a path at which the run saw nothing.
    Absent {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
    },
    /// It has listed its inputs in a resource.
    Inputs {
        /// The resource.
        resource: String,
        /// All of them, however many it has asked for.
        listing: Listing,
    },
    /// It has listed what the run saw in a resource.
    List {
        /// The resource.
        resource: String,
        /// Only paths that begin so.
        prefix: Option<String>,
        /// Only paths after this one.
        after: Option<String>,
        /// At most this many.
        limit: u32,
        /// The answer.
        listing: Listing,
    },
    /// It has read a metric of earlier runs.
    Metrics {
        /// The name.
        name: String,
        /// At most this many values.
        limit: u32,
        /// The digest of the actions, values and steps in the answer.
        values: Digest,
    },
}

/// An output of a remembered attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedOutput {
    /// The artifact.
    pub id: ArtifactId,
    /// The resource.
    pub resource: String,
    /// The path.
    pub path: String,
    /// The digest of its content.
    pub digest: Digest,
    /// How many bytes the attempt has written to it.
    pub bytes: u64,
}

/// What is remembered of an attempt that has succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The digest over the action's name, the component, the params and `grants`.
    pub fingerprint: Digest,
    /// The digest over the inputs that the attempt could see. It only helps to find the memory.
    pub inputs: Digest,
    /// The component.
    pub component: Digest,
    /// The merged params.
    pub params: serde_json::Value,
    /// For each key of the manifest that grants the action something: a digest of its value.
    pub grants: BTreeMap<String, Digest>,
    /// What it has used that is not on record; the manifest said that it does not matter.
    pub used: Vec<Influence>,
    /// What it has asked, and the answers.
    pub dependencies: Vec<Dependency>,
    /// What it has written.
    pub outputs: Vec<RememberedOutput>,
    /// The tags that it has put on artifacts.
    pub artifact_tags: Vec<ArtifactTag>,
    /// The tags that it has put on its run.
    pub run_tags: Vec<Entry>,
    /// Whether it has returned `skip`.
    pub skip: bool,
}

impl Memory {
    /// Returns whether the store drops the oldest memories of the action after it has recorded this
    /// one: about one time in 64, because it looks at all of them for that.
    #[must_use]
    pub fn is_time_to_forget(&self) -> bool {
        let ([one, ..], [other, ..]) = (self.fingerprint.as_bytes(), self.inputs.as_bytes());
        (one ^ other) % 64 == 0
    }
}

/// An attempt that is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The number of the run in which the work was done; of the attempt's own run if that was
    /// removed.
    pub run_number: u64,
    /// What is remembered.
    pub memory: Memory,
    /// The message that it has returned.
    pub message: Option<String>,
}

/// Why the result of an attempt was, or was not, taken from an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheUse {
    /// The reason, for people.
    pub reason: String,
    /// The earlier attempt, which has done the work. It may have been removed since.
    #[schema(required)]
    pub attempt_id: Option<AttemptId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::model::ArtifactState;

    fn artifact(path: &str, content: Option<&str>, tags: &[&str]) -> Artifact {
        Artifact {
            id: ArtifactId::new(),
            resource: "raw".to_owned(),
            path: path.to_owned(),
            version: 1,
            digest: content.map(|content| Digest::of(content.as_bytes())),
            size: 1,
            state: ArtifactState::Current,
            reason: None,
            run_id: None,
            produced_by: None,
            created_at: Timestamp::from_micros(1),
            tags: tags.iter().map(ToString::to_string).collect(),
            present: true,
            stamp: String::new(),
        }
    }

    fn listing(artifacts: &[Artifact]) -> Listing {
        Listing::of(artifacts.iter())
    }

    #[test]
    fn lists_are_the_same_by_content_or_by_version() {
        let known = listing(&[artifact("a", Some("1"), &["gold"]), artifact("b", Some("2"), &[])]);
        let same = |other: &[Artifact]| known.is_same(&listing(other));
        assert!(same(&[artifact("a", Some("1"), &["gold"]), artifact("b", Some("2"), &[])]));
        assert!(!same(&[artifact("a", Some("1"), &["gold"]), artifact("b", Some("3"), &[])]), "another content");
        assert!(!same(&[artifact("a", Some("1"), &["gold"]), artifact("c", Some("2"), &[])]), "another path");
        assert!(!same(&[artifact("a", Some("1"), &[]), artifact("b", Some("2"), &[])]), "without the tag");
        assert!(!same(&[artifact("a", Some("1"), &["gold"])]), "fewer");
        assert!(!same(&[artifact("a", Some("1"), &["gold"]), artifact("b", None, &[])]), "an unknown content");
        let unknown = artifact("b", None, &[]);
        let later = Artifact { digest: Some(Digest::of(b"2")), ..unknown.clone() };
        assert!(listing(&[unknown]).is_same(&listing(&[later])), "the digest has become known");
        assert!(!listing(&[artifact("b", None, &[])]).is_same(&listing(&[artifact("b", None, &[])])));
    }

    #[test]
    fn the_ends_of_texts_are_part_of_a_list() {
        let one = listing(&[artifact("a", Some("1"), &["bc"])]);
        assert!(!one.is_same(&listing(&[artifact("ab", Some("1"), &["c"])])));
        assert!(!one.is_same(&listing(&[artifact("a", Some("1"), &["b", "c"])])));
    }
}
