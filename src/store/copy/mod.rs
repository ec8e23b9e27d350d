//! Copies all records of a store to another store, which may be of another kind.
//!
//! Records go as they are, one kind after the other. Before the copy counts, all of them are read
//! back from it, and compared by a digest of each kind. Until then nothing can open it: a host
//! would begin an empty history there.

mod kinds;

use super::{Result, StoreError};
use crate::base::{Digest, Hasher, fault};
#[cfg(test)]
pub(super) use kinds::assert_copied;
pub(super) use kinds::{COUNTERS, FieldKind, KINDS, RecordKind};

/// How many records are read and written at once.
pub(super) const PAGE: usize = 1_000;
/// What a store fails to do here: fits "failed to …".
pub(super) const DOING: &str = "copy the records";

/// A value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    None,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The fields of a record, in the order of its kind.
pub(super) type Record = Vec<Field>;

/// A store whose records are read. Calls block, and are not for work on a runtime.
pub(super) trait RecordSource: std::fmt::Debug {
    /// Returns how many records there are.
    ///
    /// # Errors
    /// When they cannot be read.
    fn count(&mut self) -> Result<u64>;

    /// Begins with the records of a kind.
    ///
    /// # Errors
    /// When they cannot be read.
    fn begin(&mut self, kind: &'static RecordKind) -> Result<()>;

    /// Returns the next records of this kind, about [`PAGE`]; none after the last. Those whose key
    /// begins with a number come in its order, and others in any. All that is read from a source is
    /// of one moment.
    ///
    /// # Errors
    /// When they cannot be read.
    fn next(&mut self) -> Result<Vec<Record>>;
}

/// A store without records that takes those of another store. Until [`RecordTarget::complete`]
/// returns, it cannot be opened, except for another copy, which begins anew.
pub(super) trait RecordTarget: std::fmt::Debug {
    /// Reads back what was written.
    fn records(&mut self) -> &mut dyn RecordSource;

    /// Writes records of a kind.
    ///
    /// # Errors
    /// When they cannot be written.
    fn write(&mut self, kind: &'static RecordKind, records: &[Record]) -> Result<()>;

    /// Makes the records durable and the store usable, both at once.
    ///
    /// # Errors
    /// When that fails.
    fn complete(self: Box<Self>) -> Result<()>;
}

/// The records of a kind that were copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedRecords {
    /// The name of the kind.
    pub kind: &'static str,
    /// How many there are.
    pub count: u64,
    /// The digest of all their fields, whatever their order.
    pub digest: Digest,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// How many records were written.
    pub written: u64,
    /// How many were read back.
    pub verified: u64,
    /// How many there are.
    pub all: u64,
}

/// Copies all records. Calls `tell` now and then.
///
/// # Errors
/// When a store fails, or has other records afterwards than it was given. Nothing is in the target
/// then.
pub(super) fn copy(
    from: &mut dyn RecordSource,
    mut to: Box<dyn RecordTarget>,
    tell: &mut dyn FnMut(CopyProgress),
) -> Result<Vec<CopiedRecords>> {
    let mut at = CopyProgress { written: 0, verified: 0, all: from.count()? };
    let mut copied = Vec::new();
    for kind in KINDS {
        copied.push(each_page(from, kind, |page| {
            to.write(kind, page)?;
            fault::point("copy.written");
            at.written += page.len() as u64;
            tell(at);
            Ok(())
        })?);
    }
    for (kind, written) in KINDS.iter().zip(&copied) {
        let found = each_page(to.records(), kind, |page| {
            at.verified += page.len() as u64;
            tell(at);
            Ok(())
        })?;
        if found != *written {
            return Err(differs(written, &found));
        }
    }
    fault::point("copy.verified");
    to.complete()?;
    fault::point("copy.completed");
    Ok(copied)
}

/// Reads all records of a kind, and returns what they were.
fn each_page(
    store: &mut dyn RecordSource,
    kind: &'static RecordKind,
    mut use_page: impl FnMut(&[Record]) -> Result<()>,
) -> Result<CopiedRecords> {
    let (mut count, mut sum) = (0, Sum::default());
    store.begin(kind)?;
    loop {
        let page = store.next()?;
        if page.is_empty() {
            return Ok(CopiedRecords { kind: kind.name, count, digest: sum.digest() });
        }
        count += page.len() as u64;
        for record in &page {
            sum.add(digest(record));
        }
        use_page(&page)?;
    }
}

/// The digest of a record.
fn digest(record: &Record) -> Digest {
    let mut hasher = Hasher::default();
    for field in record {
        field.add_to(&mut hasher);
    }
    hasher.finish()
}

/// The sum of the digests of records, as numbers of 256 bits: kinds of stores have them in orders
/// of their own. With records that someone chooses, two sums can be made equal; with those that a
/// store has lost or changed, they never are.
#[derive(Debug, Default)]
struct Sum([u8; 32]);

impl Sum {
    fn add(&mut self, digest: Digest) {
        let mut carry = 0;
        for (byte, more) in self.0.iter_mut().zip(digest.as_bytes()).rev() {
            let [high, low] = (u16::from(*byte) + u16::from(*more) + carry).to_be_bytes();
            (*byte, carry) = (low, u16::from(high));
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

fn differs(written: &CopiedRecords, found: &CopiedRecords) -> StoreError {
    let CopiedRecords { kind, count, digest } = written;
    StoreError::Conflict(format!(
        "the copy has other records than it was given: of `{kind}`, {count} records with the digest {digest} were \
         written, and {} with the digest {} were read back; nothing of the copy is used",
        found.count, found.digest
    ))
}

impl Field {
    /// A number as every kind of store has it: with one zero, and one NaN.
    pub(super) fn real(value: f64) -> Self {
        Self::Real(if value.is_nan() { f64::NAN } else { value + 0.0 })
    }

    /// Adds the value to a digest, in a form that tells where it ends.
    fn add_to(&self, hasher: &mut Hasher) {
        let mut add = |kind: u8, length: &[u8], bytes: &[u8]| {
            hasher.update(&[kind]);
            hasher.update(length);
            hasher.update(bytes);
        };
        match self {
            Self::None => add(0, &[], &[]),
            Self::Bool(value) => add(1, &[], &[u8::from(*value)]),
            Self::Int(value) => add(2, &[], &value.to_be_bytes()),
            Self::Real(value) => add(3, &[], &value.to_be_bytes()),
            Self::Text(text) => add(4, &(text.len() as u64).to_be_bytes(), text.as_bytes()),
            Self::Bytes(bytes) => add(5, &(bytes.len() as u64).to_be_bytes(), bytes),
        }
    }
}

/// The error of opening a store that is not a whole copy of `from`.
pub(super) fn incomplete(from: &str) -> StoreError {
    StoreError::Corrupt(format!(
        "it is to become a copy of {from}, and the copy is not complete: it is still being made, or was interrupted; if nothing \
         makes it any more, run the same `anacostia store copy` again, which begins anew"
    ))
}

/// The error of copying to a store that has records.
pub(super) fn not_empty(place: &str) -> StoreError {
    StoreError::Invalid(format!(
        "{place} has records already; copy to a store in which nothing is on record yet: name another one, or remove this one \
         first"
    ))
}

#[cfg(test)]
mod tests;
