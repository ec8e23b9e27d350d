//! Approvals: what a person decides before an action starts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;
use crate::base::{TimeSpan, Timestamp};

string_enum! {
    /// How an approval was decided.
    Verdict {
        /// A person has approved: the action starts.
        Approved = "approved",
        /// A person has rejected: the action has failed.
        Rejected = "rejected",
        /// Nobody decided in time: the action has failed.
        TimedOut = "timed_out",
    }
}

/// The decision about an approval. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Who decided, as given: there are no accounts that could prove it.
    #[schema(required, max_length = 200)]
    pub by: Option<String>,
    /// Why, as given.
    #[schema(required, max_length = 2000)]
    pub note: Option<String>,
    /// When it was recorded.
    pub at: Timestamp,
}

impl Decision {
    /// Creates a decision. Texts without content count as absent.
    #[must_use]
    pub fn new(verdict: Verdict, by: Option<&str>, note: Option<&str>, at: Timestamp) -> Self {
        let text = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        Self { verdict, by: text(by), note: text(note), at }
    }

    /// Returns whether it says the same as another, regardless of when each was made.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.verdict == other.verdict && self.by == other.by && self.note == other.note
    }
}

/// An approval that an action of a run has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// Who should decide, as the manifest says: a text for people, which nothing enforces.
    pub who: String,
    /// When it was asked for.
    pub since: Timestamp,
    /// When it times out, if it does not wait without end.
    #[schema(required)]
    pub until: Option<Timestamp>,
    /// The decision, once there is one.
    #[schema(required)]
    pub decision: Option<Decision>,
}

impl Approval {
    /// Returns how it was decided, for people, such as `rejected by ann: too few rows`. `None`
    /// before.
    #[must_use]
    pub fn outcome(&self) -> Option<String> {
        let decision = self.decision.as_ref()?;
        if decision.verdict == Verdict::TimedOut {
            let within = self.until.map(|until| format!(" within {}", TimeSpan(until.since(self.since))));
            return Some(format!("nobody decided{}", within.unwrap_or_default()));
        }
        let by = decision.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let note = decision.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        Some(format!("{}{by}{note}", decision.verdict))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Approval, Decision, Verdict};
    use crate::base::Timestamp;

    #[test]
    fn an_outcome_says_who_decided_and_why() {
        let since = Timestamp::from_micros(0);
        let until = Some(since.after(Duration::from_hours(36)));
        let outcome = |verdict, by: Option<&str>, note: Option<&str>| {
            let decision = Decision { verdict, by: by.map(str::to_owned), note: note.map(str::to_owned), at: since };
            Approval { who: "data team".to_owned(), since, until, decision: Some(decision) }.outcome().unwrap()
        };
        assert_eq!(outcome(Verdict::Approved, Some("ann"), None), "approved by ann");
        assert_eq!(outcome(Verdict::Rejected, Some("ann"), Some("too few rows")), "rejected by ann: too few rows");
        assert_eq!(outcome(Verdict::Rejected, None, None), "rejected");
        assert_eq!(outcome(Verdict::TimedOut, None, None), "nobody decided within 36h");
    }
}
