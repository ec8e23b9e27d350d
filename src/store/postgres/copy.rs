//! Reads all records of a schema, and makes a schema from those of another store.
//!
//! A copy is one transaction. Meanwhile the schema has a table that says that the copy is not
//! complete, and a lock of the session keeps others from copying or migrating.

use std::pin::Pin;

use futures_util::{StreamExt as _, pin_mut};
use tokio::runtime::Runtime;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, RowStream};
use tokio_util::bytes::Bytes;

use super::connect::{Place, Use, runtime};
use super::migrations;
use super::sql::{Fail, Row, Value, Work};
use crate::manifest::SecretSource;
use crate::store::Result;
use crate::store::copy::{
    COUNTERS, DOING, Field, FieldKind, KINDS, PAGE, Record, RecordKind, RecordSource, RecordTarget,
};

/// Begins a transaction: all that is read is of one moment.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The tables whose `seq` the server gives to new rows.
const NUMBERED: &str = "SELECT c.relname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND a.attname = 'seq' AND a.attidentity <> ''";

/// A connection in a transaction that reads all records, and the runtime on which it does so.
pub(in crate::store) struct PostgresRecords {
    place: Place,
    client: Client,
    runtime: Runtime,
    reading: Option<(&'static RecordKind, Pin<Box<RowStream>>)>,
}

impl std::fmt::Debug for PostgresRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresRecords({})", self.place)
    }
}

impl PostgresRecords {
    /// Connects to the store. `None` if nothing was ever recorded there. Not for work on a runtime.
    ///
    /// # Errors
    /// As [`PostgresStore::open_read_only`](super::PostgresStore::open_read_only).
    pub(in crate::store) fn open(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Option<Self>> {
        let records = Self::connect(url, password, schema)?;
        if !records.runtime.block_on(migrations::is_newest(&records.client, &records.place))? {
            return Ok(None);
        }
        records.work(async |client| Ok(client.batch_execute(BEGIN).await?))?;
        Ok(Some(records))
    }

    fn connect(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Self> {
        let runtime = runtime(DOING)?;
        let (place, client) = runtime.block_on(async {
            let place = Place::of(url, password, schema).await?;
            let connected = place.connect(Use::Upkeep).await;
            let (client, _) = connected.map_err(|error| place.failed(&error, "connect"))?;
            Ok::<_, crate::store::StoreError>((place, client))
        })?;
        Ok(Self { place, client, runtime, reading: None })
    }

    fn work<T>(&self, work: impl AsyncFnOnce(&Client) -> Work<T>) -> Result<T> {
        self.runtime.block_on(work(&self.client)).map_err(|fail| self.place.name(fail.into_store(DOING)))
    }
}

impl RecordSource for PostgresRecords {
    fn count(&mut self) -> Result<u64> {
        let counts: Vec<String> = KINDS.iter().map(|kind| format!("(SELECT count(*) FROM {})", kind.name)).collect();
        let sql = format!("SELECT {}", counts.join(" + "));
        self.work(async |client| Row::new(client.query_one(&sql, &[]).await?).get(0))
    }

    fn begin(&mut self, kind: &'static RecordKind) -> Result<()> {
        let (columns, key) = (kind.columns().join(", "), kind.key_columns().join(", "));
        let order = if kind.key == 0 { String::new() } else { format!("ORDER BY {key}") };
        let sql = format!("SELECT {columns} FROM {} {order}", kind.name);
        let rows = self.work(async |client| {
            let statement = client.prepare(&sql).await?;
            Ok(client.query_raw(&statement, std::iter::empty::<&Value>()).await?)
        })?;
        self.reading = Some((kind, Box::pin(rows)));
        Ok(())
    }

    fn next(&mut self) -> Result<Vec<Record>> {
        let Some((kind, rows)) = &mut self.reading else { return Ok(Vec::new()) };
        let page = self.runtime.block_on(async {
            let mut page = Vec::new();
            while page.len() < PAGE {
                let Some(row) = rows.next().await else { break };
                page.push(record(&Row::new(row?), kind)?);
            }
            Ok::<_, Fail>(page)
        });
        let page = page.map_err(|fail| self.place.name(fail.into_store(DOING)))?;
        if page.len() < PAGE {
            // A stream that has ended must not be asked again.
            self.reading = None;
        }
        Ok(page)
    }
}

fn record(row: &Row, kind: &RecordKind) -> Work<Record> {
    let field = |(at, (_, kind)): (usize, &(&str, FieldKind))| {
        Ok(match kind {
            FieldKind::Bool => row.get::<Option<bool>>(at)?.map_or(Field::None, Field::Bool),
            FieldKind::Int => row.get::<Option<i64>>(at)?.map_or(Field::None, Field::Int),
            FieldKind::Real | FieldKind::Measure => row.get::<Option<f64>>(at)?.map_or(Field::None, Field::real),
            FieldKind::Text => row.get::<Option<String>>(at)?.map_or(Field::None, Field::Text),
            FieldKind::Bytes => row.get::<Option<Vec<u8>>>(at)?.map_or(Field::None, Field::Bytes),
        })
    };
    kind.fields.iter().enumerate().map(field).collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::None => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Int(value) => Value::Int(*value),
        Field::Real(value) => Value::Real(*value),
        Field::Text(text) => Value::Text(text.clone()),
        Field::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

/// A connection in a transaction that takes the records of another store.
#[derive(Debug)]
pub(in crate::store) struct PostgresCopy(PostgresRecords);

impl PostgresCopy {
    /// Begins a copy of the store `from`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](crate::store::StoreError::Invalid) if there are records already;
    /// [`StoreError::InUse`](crate::store::StoreError::InUse) if another process copies to it or
    /// migrates it.
    pub(in crate::store) fn begin(
        url: &str,
        password: Option<&SecretSource>,
        schema: &str,
        from: &str,
    ) -> Result<Self> {
        let records = PostgresRecords::connect(url, password, schema)?;
        records.runtime.block_on(migrations::begin_copy(&records.client, &records.place, from))?;
        Ok(Self(records))
    }
}

impl RecordTarget for PostgresCopy {
    fn records(&mut self) -> &mut dyn RecordSource {
        &mut self.0
    }

    fn write(&mut self, kind: &'static RecordKind, records: &[Record]) -> Result<()> {
        self.0.work(async |client| match kind.name {
            COUNTERS => set_counters(client, kind, records).await,
            _ => insert(client, kind, records).await,
        })
    }

    fn complete(self: Box<Self>) -> Result<()> {
        self.0.work(async |client| {
            for row in client.query(NUMBERED, &[]).await? {
                let table: String = Row::new(row).get(0)?;
                let sql = format!(
                    "SELECT setval(pg_get_serial_sequence('{table}', 'seq'), max(seq)) FROM {table} HAVING max(seq) > 0"
                );
                client.batch_execute(&sql).await?;
            }
            Ok(migrations::complete_copy(client).await?)
        })
    }
}

async fn insert(client: &Client, kind: &RecordKind, records: &[Record]) -> Work<()> {
    let (table, columns) = (kind.name, kind.columns().join(", "));
    let statement = client.prepare(&format!("SELECT {columns} FROM {table}")).await?;
    let types: Vec<Type> = statement.columns().iter().map(|column| column.type_().clone()).collect();
    let sink = client.copy_in::<str, Bytes>(&format!("COPY {table} ({columns}) FROM STDIN BINARY")).await?;
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    for record in records {
        let values: Vec<Value> = record.iter().map(value).collect();
        writer.as_mut().write_raw(values.iter()).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// Sets the counters, which an empty store has too.
async fn set_counters(client: &Client, kind: &RecordKind, records: &[Record]) -> Work<()> {
    let marks: Vec<String> = (1..=kind.fields.len()).map(|at| format!("${at}")).collect();
    let sql = format!("UPDATE {} SET ({}) = ({})", kind.name, kind.columns().join(", "), marks.join(", "));
    let statement = client.prepare(&sql).await?;
    for record in records {
        let values: Vec<Value> = record.iter().map(value).collect();
        client.execute_raw(&statement, values.iter()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::Schema;
    use super::{COUNTERS, Field, FieldKind, KINDS, PAGE, PostgresCopy, PostgresRecords, Record, RecordKind};
    use super::{RecordSource, Row};
    use crate::base::{Clock as _, SystemClock};
    use crate::manifest::StoreSpec;
    use crate::store::{Result, copy};

    /// Records of every kind, with values that some kind of store has in a form of its own.
    #[derive(Debug)]
    struct Odd {
        kind: &'static RecordKind,
        next: usize,
    }

    /// The number of records of each kind: more than a page.
    const RECORDS: usize = PAGE + 1;

    fn odd(kind: &RecordKind, at: usize) -> Record {
        let is_last = at + 1 == RECORDS || kind.name == COUNTERS;
        let field = |(_, kind): &(&str, FieldKind)| match kind {
            FieldKind::Bool => Field::Bool(at % 2 == 1),
            // No number is beyond the counters.
            FieldKind::Int if is_last => Field::Int(i64::MAX - 1),
            FieldKind::Int => Field::Int(i64::try_from(at).unwrap() + 1),
            FieldKind::Real => Field::real([-0.0, f64::INFINITY, f64::MIN_POSITIVE][at % 3]),
            FieldKind::Measure => Field::real([f64::NAN, -0.0, f64::MAX][at % 3]),
            FieldKind::Text => Field::Text(format!("{at:06}\0\u{1}\u{2}ß\u{10ffff}'\"\\")),
            FieldKind::Bytes => Field::Bytes(u128::try_from(at).unwrap().to_be_bytes().to_vec()),
        };
        kind.fields.iter().map(field).collect()
    }

    impl RecordSource for Odd {
        fn count(&mut self) -> Result<u64> {
            Ok(0)
        }

        fn begin(&mut self, kind: &'static RecordKind) -> Result<()> {
            (self.kind, self.next) = (kind, 0);
            Ok(())
        }

        fn next(&mut self) -> Result<Vec<Record>> {
            let all = if self.kind.name == COUNTERS { 1 } else { RECORDS };
            let page = self.next..all.min(self.next + PAGE);
            self.next = page.end;
            Ok(page.map(|at| odd(self.kind, at)).collect())
        }
    }

    #[test]
    fn odd_values_of_every_kind_come_back_over_both_kinds_of_stores() {
        let folder = tempfile::tempdir().unwrap();
        let [first, last] = [Schema::new(), Schema::new()];
        let spec = |schema: &Schema| StoreSpec::Postgres {
            url: schema.url(),
            password: None,
            schema: schema.name().to_owned(),
        };
        let file = StoreSpec::Sqlite { path: folder.path().join("between.db") };
        let target = PostgresCopy::begin(&first.url(), None, first.name(), "odd").unwrap();
        let mut source = Odd { kind: &KINDS[0], next: 0 };
        let given = copy::copy(&mut source, Box::new(target), &mut |_| {}).unwrap();
        let there = crate::store::copy_store(&spec(&first), &file, SystemClock.now(), &mut |_| {}).unwrap().unwrap();
        let back = crate::store::copy_store(&file, &spec(&last), SystemClock.now(), &mut |_| {}).unwrap().unwrap();
        assert_eq!(given, there);
        assert_eq!(there, back);
        let mut found = PostgresRecords::open(&last.url(), None, last.name()).unwrap().unwrap();
        for kind in KINDS.iter().filter(|kind| kind.name != COUNTERS) {
            found.begin(kind).unwrap();
            let records: Vec<Record> = [found.next().unwrap(), found.next().unwrap()].concat();
            let expected: Vec<Record> = (0..RECORDS).map(|at| odd(kind, at)).collect();
            // A NaN differs from itself.
            assert_eq!(format!("{records:?}"), format!("{expected:?}"), "{}", kind.name);
            assert_eq!(found.next().unwrap(), [] as [Record; 0]);
        }
    }

    #[test]
    fn every_column_of_every_table_is_copied() {
        let schema = Schema::new();
        let target = PostgresCopy::begin(&schema.url(), None, schema.name(), "nothing").unwrap();
        let sql = "SELECT table_name::text, column_name::text FROM information_schema.columns
            WHERE table_schema = current_schema()";
        let rows = target.0.work(async |client| Ok(client.query(sql, &[]).await?)).unwrap();
        let mut columns: BTreeSet<(String, String)> = BTreeSet::new();
        for row in rows.into_iter().map(Row::new) {
            columns.insert((row.get(0).unwrap(), row.get(1).unwrap()));
        }
        // What belongs to the store, and what begins anew with each host.
        columns.retain(|(table, _)| !["host", "schema_version", "copy_of"].contains(&table.as_str()));
        for own in ["one", "token"] {
            assert!(columns.remove(&(COUNTERS.to_owned(), own.to_owned())));
        }
        copy::assert_copied(&columns);
    }
}
