//! Pauses of single resources and actions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;
use crate::base::Timestamp;
use crate::base::bounds::MAX_PAUSE_REASON_BYTES;

string_enum! {
    /// The kind of a node that can be paused.
    NodeKind {
        /// A resource: what arrives in it is recorded and waits, and no run claims it.
        Resource = "resource",
        /// An action: no attempt of it starts.
        Action = "action",
    }
}

/// A resource or an action that is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pause {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// Its name. The manifest may have lost it since.
    pub name: String,
    /// Since when it is paused.
    pub since: Timestamp,
    /// Why, as the person who paused it has written.
    #[schema(required)]
    pub reason: Option<String>,
}

impl Pause {
    /// How the description of each pause begins. The reason of an action that is paused is the
    /// description of its pause.
    pub const SINCE: &str = "paused since ";

    /// Returns since when and why, for display: `paused since 2026-03-01 12:00 UTC: moves`.
    #[must_use]
    pub fn describe(&self) -> String {
        let since = format!("{}{}", Self::SINCE, self.since.in_utc());
        match &self.reason {
            None => since,
            Some(reason) => format!("{since}: {reason}"),
        }
    }

    /// Returns a reason as it is recorded: without spaces around it, and `None` if nothing is left.
    ///
    /// # Errors
    /// When it has more than [`MAX_PAUSE_REASON_BYTES`] bytes.
    pub fn reason(text: &str) -> Result<Option<String>, String> {
        let text = text.trim();
        if text.len() > MAX_PAUSE_REASON_BYTES {
            let bytes = text.len();
            return Err(format!("the reason has {bytes} bytes, and may have at most {MAX_PAUSE_REASON_BYTES}"));
        }
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeKind, Pause};
    use crate::base::Timestamp;

    #[test]
    fn a_pause_says_since_when_and_why() {
        let pause = Pause {
            kind: NodeKind::Action,
            name: "train".to_owned(),
            since: Timestamp::from_micros(0),
            reason: Pause::reason("  the GPU is away\n").unwrap(),
        };
        assert_eq!(pause.describe(), "paused since 1970-01-01 00:00 UTC: the GPU is away");
        assert_eq!(Pause::reason(" "), Ok(None));
        assert_eq!(Pause { reason: None, ..pause }.describe(), "paused since 1970-01-01 00:00 UTC");
        assert_eq!(
            Pause::reason(&"a".repeat(1_001)),
            Err("the reason has 1001 bytes, and may have at most 1000".to_owned())
        );
    }
}
