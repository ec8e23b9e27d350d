//! The rows that are delivered and that a look may read again.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::source::Failure;
use crate::base::Digest;

/// The most rows to remember: 16 MiB. At this bound, delivering waits for rows to settle.
pub(super) const MAX_ROWS: usize = 250_000;

/// The number of rows at which the window is so full that rows with times in the future settle as
/// well.
pub(super) const MANY_ROWS: usize = MAX_ROWS / 2;

/// The most rows to carry; see [`Window::carry`].
const MAX_CARRIED: usize = 100;
/// The number of batches up to which nothing is carried.
const MAX_BATCHES: u64 = 1_000;
/// The batch number of all rows that are carried.
const CARRIED: u64 = 0;

/// Identifies a row: the start of a digest.
pub(super) type RowId = [u8; 16];

/// How rows are told apart.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// By all their columns.
    Row,
    /// By these columns.
    Columns(Vec<String>),
}

impl Identity {
    /// `key` names the columns that identify a row together with the high-water column. If it is
    /// empty, all columns identify a row.
    pub(super) fn new(key: &[String], high_water: &str) -> Self {
        if key.is_empty() {
            return Self::Row;
        }
        Self::Columns(key.iter().cloned().chain([high_water.to_owned()]).collect())
    }

    /// Returns the id of a row, given as a JSON object.
    pub(super) fn of(&self, line: &str) -> Result<RowId, Failure> {
        let digest = match self {
            Self::Row => Digest::of(line.as_bytes()),
            Self::Columns(columns) => {
                let row: HashMap<&str, &RawValue> =
                    serde_json::from_str(line).map_err(|why| Failure(format!("a row cannot be read again: {why}")))?;
                let missing = |column| Failure(format!("the rows have no column `{column}`, which `key` names"));
                let values: Result<Vec<&str>, Failure> = columns
                    .iter()
                    .map(|column| row.get(column.as_str()).map(|value| value.get()).ok_or_else(|| missing(column)))
                    .collect();
                // A value has no raw line break in it.
                Digest::of(values?.join("\n").as_bytes())
            }
        };
        let mut id = RowId::default();
        id.copy_from_slice(digest.as_bytes().get(..16).unwrap_or(&[0; 16]));
        Ok(id)
    }
}

/// How often rows are delivered, and in which batch first.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    rows: HashMap<RowId, Delivered>,
    /// The number of entries of `rows` by their batch.
    by_batch: BTreeMap<u64, usize>,
    /// The sum of `times`.
    total: u64,
}

#[derive(Debug, Clone, Copy)]
struct Delivered {
    times: u32,
    batch: u64,
}

impl Window {
    /// Returns the number of rows that it remembers.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of rows that it remembers, each as often as it is delivered.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Returns how often a row is delivered.
    pub(super) fn times(&self, id: &RowId) -> u32 {
        self.rows.get(id).map_or(0, |row| row.times)
    }

    /// Remembers that a row is delivered once more. Batches come in the order of their numbers.
    pub(super) fn add(&mut self, id: RowId, batch: u64) {
        let by_batch = &mut self.by_batch;
        let row = self.rows.entry(id).or_insert_with(|| {
            *by_batch.entry(batch).or_default() += 1;
            Delivered { times: 0, batch }
        });
        row.times = row.times.saturating_add(1);
        self.total += 1;
    }

    /// Moves the rows of the oldest batches out of them, if they are few: one row that never
    /// settles must not keep the files of all batches after its own. `next` is the number of the
    /// next batch.
    pub(super) fn carry(&mut self, next: u64) {
        while let Some((batch, count)) = self.oldest().filter(|(batch, _)| batch + MAX_BATCHES < next) {
            let carried = self.by_batch.get(&CARRIED).copied().unwrap_or_default();
            let mut of_batch = self.rows.values_mut().filter(|row| row.batch == batch);
            // The cursor does not record how often a row was delivered.
            if carried + count > MAX_CARRIED || of_batch.any(|row| row.times > 1) {
                return;
            }
            self.rows.values_mut().filter(|row| row.batch == batch).for_each(|row| row.batch = CARRIED);
            self.by_batch.remove(&batch);
            self.by_batch.insert(CARRIED, carried + count);
        }
    }

    /// Returns the ids of the rows that are carried, for the cursor.
    pub(super) fn carried(&self) -> Vec<String> {
        if !self.by_batch.contains_key(&CARRIED) {
            return Vec::new();
        }
        let carried = self.rows.iter().filter(|(_, row)| row.batch == CARRIED);
        carried.map(|(id, _)| format!("{:032x}", u128::from_be_bytes(*id))).collect()
    }

    /// Remembers rows that the last host carried.
    pub(super) fn add_carried(&mut self, ids: &[String]) {
        for id in ids.iter().filter_map(|id| u128::from_str_radix(id, 16).ok()) {
            self.add(id.to_be_bytes(), CARRIED);
        }
    }

    /// Forgets a row.
    pub(super) fn forget(&mut self, id: &RowId) {
        let Some(Delivered { times, batch }) = self.rows.remove(id) else { return };
        self.total = self.total.saturating_sub(times.into());
        if let Some(count) = self.by_batch.get_mut(&batch) {
            *count -= 1;
            if *count == 0 {
                self.by_batch.remove(&batch);
            }
        }
    }

    /// Forgets all rows but those that a complete look has read.
    pub(super) fn retain(&mut self, read: &HashMap<RowId, u32>) {
        let gone: Vec<RowId> = self.rows.keys().filter(|id| !read.contains_key(*id)).copied().collect();
        for id in gone {
            self.forget(&id);
        }
    }

    /// Returns the oldest batch with a row that it remembers.
    pub(super) fn oldest_batch(&self) -> Option<u64> {
        self.oldest().map(|(batch, _)| batch)
    }

    /// Returns the oldest batch with a row that it remembers, and the number of these rows.
    fn oldest(&self) -> Option<(u64, usize)> {
        self.by_batch.iter().find(|(batch, _)| **batch != CARRIED).map(|(batch, count)| (*batch, *count))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Identity, Window};

    #[test]
    fn rows_are_told_apart_by_all_columns_or_by_the_key() {
        let (one, two) = (r#"{"id":1,"at":5,"state":"a"}"#, r#"{"id":1,"at":5,"state":"b"}"#);
        let later = r#"{"id":1,"at":6,"state":"b"}"#;
        let whole = Identity::new(&[], "at");
        assert_ne!(whole.of(one).unwrap(), whole.of(two).unwrap());
        let keyed = Identity::new(&["id".to_owned()], "at");
        assert_eq!(keyed.of(one).unwrap(), keyed.of(two).unwrap());
        assert_ne!(keyed.of(two).unwrap(), keyed.of(later).unwrap());
        let error = Identity::new(&["nope".to_owned()], "at").of(one).unwrap_err();
        assert_eq!(error.0, "the rows have no column `nope`, which `key` names");
    }

    #[test]
    fn a_row_that_stays_does_not_keep_all_later_batches() {
        let mut window = Window::default();
        window.add([7; 16], 1);
        window.add([8; 16], 1_000);
        window.carry(1_001);
        assert_eq!((window.oldest_batch(), window.carried().len()), (Some(1), 0));
        window.carry(1_002);
        assert_eq!((window.oldest_batch(), window.carried()), (Some(1_000), vec!["07".repeat(16)]));
        let mut next = Window::default();
        next.add_carried(&window.carried());
        assert_eq!((next.times(&[7; 16]), next.oldest_batch()), (1, None));
        next.forget(&[7; 16]);
        assert!(next.carried().is_empty());
        // Carries no more rows than the cursor can hold.
        (20..121_u8).for_each(|id| window.add([id; 16], 5));
        window.carry(9_000);
        assert_eq!(window.oldest_batch(), Some(5));
    }

    #[test]
    fn equal_rows_are_counted_and_the_oldest_batch_is_known() {
        let mut window = Window::default();
        let [a, b] = [[1; 16], [2; 16]];
        window.add(a, 3);
        window.add(a, 4);
        window.add(b, 4);
        assert_eq!((window.times(&a), window.times(&b), window.len(), window.total()), (2, 1, 2, 3));
        assert_eq!(window.oldest_batch(), Some(3));
        window.retain(&HashMap::from([(b, 1)]));
        assert_eq!((window.times(&a), window.oldest_batch()), (0, Some(4)));
        window.forget(&b);
        window.forget(&b);
        assert_eq!((window.len(), window.total(), window.oldest_batch()), (0, 0, None));
    }
}
