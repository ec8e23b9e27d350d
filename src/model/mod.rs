//! Floor 1: the types of the domain. Every record has one of these shapes, in every store.
//!
//! The types implement `serde` because the same shapes are used in the store, over HTTP and on the
//! command line; this module depends on none of these. States are enumerations whose text form is
//! the public lower-case word.

mod action;
mod again;
mod approval;
mod artifact;
mod attempt;
mod cache;
mod diff_list;
mod durability;
mod error;
mod event;
mod fact;
mod lineage;
mod log;
mod notification;
mod page;
mod pause;
mod recording;
mod registry;
mod request;
mod resource;
mod run;
mod run_diff;
mod trigger;

use std::fmt::Write as _;

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

pub use action::{ActionState, NOT_TRIGGERED, RunAction};
pub use again::{NAMED_INPUTS, quoted};
pub use approval::{Approval, Decision, Verdict};
pub use artifact::{Artifact, ArtifactState, Observation};
pub use attempt::{Access, AccessKind, Attempt, AttemptState, Denial, Fence, Outcome, Usage};
pub use cache::{CacheUse, Dependency, Influence, Listing, Memory, Remembered, RememberedOutput};
pub use diff_list::{DiffList, MAX_DIFF_ITEMS};
pub use durability::Durability;
pub use error::ErrorInfo;
pub use event::{Event, EventKind};
pub use fact::{ArtifactTag, Entry, Facts, Metric, MetricRecord, ParamRecord, RunTag};
pub use lineage::{Lineage, LineageAttempt, LineageLink};
pub use log::{LogLevel, LogLine, LogPosition, LogRange, LogStream};
pub use notification::{Delivery, Notification, NotificationState, NotifyCause};
pub use page::Page;
pub use pause::{NodeKind, Pause};
pub use recording::{MAX_TOLD, Recording};
pub use registry::{AliasMove, ModelAlias, ModelDetail, ModelVersion, RegisteredModel, check_alias, check_card};
pub use request::{HttpRequest, RequestOutcome};
pub use resource::{KnownPath, StagedFile};
pub use run::{Run, RunDetail, RunState};
pub use run_diff::{
    ActionRecord, ComponentDiff, DiffRun, FileDiff, FileVersion, MetricDiff, ParamDiff, RunDiff, RunRecords, TimingDiff,
};
pub use trigger::{ConditionSeen, EndedRun, Pending, Tick, TickOutcome, TriggerMark};

/// Defines an enumeration whose text form is a fixed word: `as_str`, `Display`, `FromStr`, the same
/// word in JSON, and its schema with what each word means.
macro_rules! string_enum {
    (
        $(#[doc = $doc:literal])*
        $name:ident { $($(#[doc = $variant_doc:literal])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl utoipa::ToSchema for $name {}

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let words = [$(($word, concat!($($variant_doc),*)),)+];
                crate::model::words_schema(concat!($($doc),*), &words)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::model::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| crate::model::UnknownWord {
                    word: crate::base::bounds::cut(text, 60).into_owned(),
                    known: Self::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}
use string_enum;

/// Returns the schema of one of some words, with what is said about each.
fn words_schema(about: &str, words: &[(&str, &str)]) -> RefOr<Schema> {
    let mut meanings = String::new();
    for (word, about) in words {
        let _ = write!(meanings, "\n- `{word}`:{about}");
    }
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(format!("{}\n{meanings}", about.trim_start())))
        .enum_values(Some(words.iter().map(|(word, _)| *word)))
        .into()
}

/// The error for a word that is not one of a fixed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not one of {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}
