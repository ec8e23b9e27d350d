//! Implements `database`: queries, and statements that are executed when the attempt is published.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wasmtime::component::Resource as Handle;

use crate::base::ArtifactId;
use crate::base::bounds::{MAX_MESSAGE_BYTES, cut};
use crate::model::{ErrorInfo, StagedFile};
use crate::resource::{Bytes, Database, Double, Resource, SqlGrant, SqlStatement, SqlValue};
use crate::sandbox::bindings::anacostia::pipeline::database::{Host, HostRows, Value};
use crate::sandbox::cpu::CpuMeter;

use super::GuestState;
use super::access::{CallError, Gate};
use super::entries::{JournalEntry, RowsEntry, WriterEntry};

/// The most rows of one call.
const MAX_ROWS: usize = 1_000;
/// The most texts that are remembered as checked, for each database.
const MAX_CHECKED: usize = 1_000;

impl Host for GuestState {
    async fn query(
        &mut self,
        resource: String,
        statement: String,
        parameters: Vec<Value>,
    ) -> Result<Handle<RowsEntry>, CallError> {
        self.gate.enter();
        let target = self.known("database.query", &resource, Self::may_read)?;
        self.gate.note_irregular(|| format!("it has used the database `{resource}`"));
        let database = database(&*target, &resource)?;
        let grant = self.granted(&resource);
        self.gate.open_handle()?;
        let cpu = Arc::clone(&self.cpu);
        let rows = match cpu.host(database.query(&grant, made(statement, parameters))).await {
            Ok(rows) => rows,
            Err(why) => {
                self.gate.close_handle();
                return Err(shortened(self.gate.database_failed("database.query", &why)));
            }
        };
        let handle = self.table.push(RowsEntry(rows));
        if handle.is_err() {
            self.gate.close_handle();
        }
        Ok(handle?)
    }

    async fn execute(&mut self, resource: String, statement: String, parameters: Vec<Value>) -> Result<(), CallError> {
        self.gate.enter();
        let target = self.known("database.execute", &resource, Self::may_write)?;
        self.gate.note_irregular(|| format!("it has used the database `{resource}`"));
        let database = database(&*target, &resource)?;
        let grant = self.granted(&resource);
        let statement = made(statement, parameters);
        let cpu = Arc::clone(&self.cpu);
        if !self.is_checked(&resource, &statement) {
            let checked = cpu.host(database.check(&grant, statement.clone())).await;
            checked.map_err(|why| shortened(self.gate.database_failed("database.execute", &why)))?;
        }
        if !self.work.journals.contains_key(&resource) {
            let journal = self.begin_journal(database, &resource, &grant).await?;
            self.work.journals.insert(resource.clone(), journal);
        }
        let Some(journal) = self.work.journals.get_mut(&resource) else { return Ok(()) };
        journal.lines.write(&cpu, &mut self.gate, &line(&statement)?).await?;
        if journal.checked.len() >= MAX_CHECKED {
            journal.checked.clear();
        }
        journal.checked.insert(statement.text, statement.parameters.len());
        Ok(())
    }
}

impl HostRows for GuestState {
    async fn columns(&mut self, rows: Handle<RowsEntry>) -> wasmtime::Result<Vec<String>> {
        self.gate.enter();
        Ok(self.table.get(&rows)?.0.columns().to_vec())
    }

    async fn next(&mut self, rows: Handle<RowsEntry>, limit: u32) -> Result<Vec<Vec<Value>>, CallError> {
        self.gate.enter();
        let limit = usize::try_from(limit).unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS);
        let entry = self.table.get_mut(&rows)?;
        let found = self.cpu.host(entry.0.next(limit)).await;
        let found = found.map_err(|why| shortened(self.gate.database_failed("database.query", &why)))?;
        self.gate.note_rows(found.iter().flatten().map(SqlValue::bytes).sum());
        Ok(found.into_iter().map(|row| row.into_iter().map(Value::from).collect()).collect())
    }

    async fn drop(&mut self, rows: Handle<RowsEntry>) -> wasmtime::Result<()> {
        self.table.delete(rows)?;
        self.gate.close_handle();
        Ok(())
    }
}

impl GuestState {
    fn granted(&self, resource: &str) -> SqlGrant {
        self.order.databases.get(resource).cloned().unwrap_or_default()
    }

    /// Returns whether the database has checked such a statement in this attempt.
    fn is_checked(&self, resource: &str, statement: &SqlStatement) -> bool {
        let journal = self.work.journals.get(resource);
        journal.and_then(|journal| journal.checked.get(&statement.text)) == Some(&statement.parameters.len())
    }

    /// Begins the journal of a database. Its first line is the grant.
    async fn begin_journal(
        &mut self,
        database: &dyn Database,
        resource: &str,
        grant: &SqlGrant,
    ) -> Result<JournalEntry, CallError> {
        let (id, order) = (ArtifactId::new(), Arc::clone(&self.order));
        let path = format!("{}/{:06}-{}.jsonl", order.action, order.run_number, order.number);
        self.work.touched.insert(resource.to_owned());
        let cpu = Arc::clone(&self.cpu);
        let made = cpu.host(database.journal(order.fence.attempt_id, id, &path)).await;
        let stage = Some(made.map_err(|why| self.gate.resource_failed(&why))?);
        let resource = resource.to_owned();
        let mut lines =
            WriterEntry { id, resource, path, bytes: 0, calls: 0, size: 0, stage, replaces: None, finished: false };
        lines.write(&cpu, &mut self.gate, &line(grant)?).await?;
        Ok(JournalEntry { lines, checked: HashMap::new() })
    }
}

/// Finishes the journals of an attempt that has succeeded.
pub(in crate::sandbox) async fn finish(
    journals: BTreeMap<String, JournalEntry>,
    cpu: &CpuMeter,
    gate: &mut Gate,
) -> Result<Vec<StagedFile>, ErrorInfo> {
    let mut finished = Vec::with_capacity(journals.len());
    for JournalEntry { mut lines, .. } in journals.into_values() {
        match lines.finish(cpu, gate).await {
            Ok(staged) => finished.push(staged),
            Err(CallError::Refused(error)) => return Err(error),
            Err(_) => return Err(ErrorInfo::permanent("failed", "its statements could not be kept")),
        }
        gate.note_written(lines.id, lines.bytes, lines.calls);
    }
    Ok(finished)
}

fn database<'a>(resource: &'a dyn Resource, name: &str) -> Result<&'a dyn Database, CallError> {
    resource.database().ok_or_else(|| {
        let message = format!("`{name}` is not a database: only a resource of the kind `sql` is queried and changed");
        CallError::invalid(message)
    })
}

fn made(text: String, parameters: Vec<Value>) -> SqlStatement {
    SqlStatement { text, parameters: parameters.into_iter().map(SqlValue::from).collect() }
}

/// Returns a value as a line of JSON.
fn line(value: &impl serde::Serialize) -> Result<Vec<u8>, CallError> {
    let mut line =
        serde_json::to_vec(value).map_err(|why| CallError::invalid(format!("it cannot be kept as JSON: {why}")))?;
    line.push(b'\n');
    Ok(line)
}

/// Shortens a message, which may have values of a database in it.
fn shortened(error: CallError) -> CallError {
    match error {
        CallError::Refused(error) => {
            let message = cut(&error.message, MAX_MESSAGE_BYTES).into_owned();
            CallError::Refused(ErrorInfo { message, ..error })
        }
        other => other,
    }
}

impl From<Value> for SqlValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Real(value) => Self::Real(Double(value)),
            Value::Text(value) => Self::Text(value),
            Value::Bytes(value) => Self::Bytes(Bytes(value)),
        }
    }
}

impl From<SqlValue> for Value {
    fn from(value: SqlValue) -> Self {
        match value {
            SqlValue::Null => Self::Null,
            SqlValue::Boolean(value) => Self::Boolean(value),
            SqlValue::Integer(value) => Self::Integer(value),
            SqlValue::Real(Double(value)) => Self::Real(value),
            SqlValue::Text(value) => Self::Text(value),
            SqlValue::Bytes(Bytes(value)) => Self::Bytes(value),
        }
    }
}
