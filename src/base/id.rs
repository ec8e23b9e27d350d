//! Ids: UUIDs of version 7 (RFC 9562), which sort by their time of creation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The error for a text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: it must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct IdError(String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, format = "uuid", examples("01890a5d-ac96-774b-bcce-b302099a8057"))]
        pub struct $name(Uuid);

        impl $name {
            /// Creates a new id.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "each call gives another value, which `default` would hide")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Returns the 16 bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Returns whether it is a UUID of version 7, as all ids that the host creates are.
            #[must_use]
            pub fn is_version_7(&self) -> bool {
                self.0.get_version_num() == 7
            }

            /// Creates an id from its 16 bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self).map_err(|_| IdError(super::bounds::cut(text, 100).into_owned()))
            }
        }
    };
}

id!(
    /// Id of a run.
    RunId
);
id!(
    /// Id of a notification.
    NotificationId
);
id!(
    /// Id of an attempt.
    AttemptId
);
id!(
    /// Id of an artifact: one version of one path in one resource.
    ArtifactId
);
id!(
    /// Id of one write to the metadata store. The caller creates it before the first try and reuses
    /// it for every repeat, so that the store can distinguish a repeat whose first answer was lost
    /// from a new write.
    WriteId
);
