//! What is on record between polls, as the cursor of the resource.

use serde::{Deserialize, Serialize};

use crate::base::Digest;

/// How far the polls have come. Recorded in the transaction of the artifacts that it describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The URL and the paging that it belongs to. Progress of another URL or paging is not used.
    of: Option<Digest>,
    /// The pages in order: all of them, or only the last if a poll continues there.
    pub(super) pages: Vec<Page>,
}

/// A page as it was when it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    /// 1 for the first.
    pub(super) number: u64,
    pub(super) address: Address,
    /// Its digest; absent if it had no content.
    pub(super) digest: Option<Digest>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) next: Option<Address>,
}

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Address {
    /// At the URL of the manifest.
    First,
    /// At a URL of the same server.
    Url(String),
    /// At the URL of the manifest with this value of the parameter.
    After(String),
}

impl Progress {
    pub(super) fn new(of: Digest) -> Self {
        Self { of: Some(of), pages: Vec::new() }
    }

    /// Reads what is on record. Progress that belongs to another URL or paging, or cannot be read,
    /// counts as none. Then the poll reads all pages again, and those on record make no new
    /// versions.
    pub(super) fn read(cursor: Option<&str>, of: Digest) -> Self {
        let read = cursor.and_then(|text| serde_json::from_str::<Self>(text).ok());
        read.filter(|progress| progress.of == Some(of)).unwrap_or_else(|| Self::new(of))
    }

    pub(super) fn to_cursor(&self) -> String {
        // Serializing plain data cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns what is known about a page, if it was at this address.
    pub(super) fn page(&self, number: u64, address: &Address) -> Option<&Page> {
        self.pages.iter().find(|page| page.number == number && page.address == *address)
    }
}
