//! Records the observations of resources.

use rusqlite::{OptionalExtension as _, params};
use serde_json::json;

use super::artifacts::{
    self, Change, CurrentVersion, NOT_VISIBLE, NewVersion, current_version, end, highest_version, pending,
};
use super::events::{NewEvent, emit};
use super::settings;
use super::sql::{Work, execute, prepare};
use super::writer::Tx;
use crate::base::{ArtifactId, Digest, Timestamp, WriteId};
use crate::model::{ArtifactState, EventKind, Observation};
use crate::store::{Batch, Recorded};

/// Records a batch of observations, in order. A repeat returns the first answer.
pub(super) fn record(tx: &mut Tx<'_>, resource: &str, batch: &Batch, now: Timestamp) -> Work<Recorded> {
    let Batch { id, seen, as_of, cursor } = batch;
    let before = recorded_before(tx, resource, *id)?;
    let mut recorder = Recorder { tx, resource, as_of: *as_of, now, new: 0, change: Change::default() };
    let mut outdated = Vec::new();
    for (at, observation) in seen.iter().enumerate() {
        if recorder.is_outdated(observation)? {
            outdated.push(at);
        } else if before.is_none() {
            recorder.record(observation)?;
        }
    }
    if let Some(new) = before {
        return Ok(Recorded { new, outdated, pending: pending(tx.db, resource)? });
    }
    let Recorder { new, change, .. } = recorder;
    let sql = "INSERT INTO waiting (resource, count, bytes, batch, batch_new) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (resource) DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes,
        batch = excluded.batch, batch_new = excluded.batch_new";
    execute(tx.db, sql, params![resource, change.count, change.bytes, id, new])?;
    if let Some(cursor) = cursor {
        settings::set_cursor(tx, resource, cursor, now)?;
    }
    Ok(Recorded { new, outdated, pending: pending(tx.db, resource)? })
}

/// Returns how many artifacts this batch made `new`, if it is the last recorded batch of the
/// resource.
fn recorded_before(tx: &Tx<'_>, resource: &str, id: WriteId) -> Work<Option<u64>> {
    let sql = "SELECT batch_new FROM waiting WHERE resource = ?1 AND batch = ?2";
    Ok(prepare(tx.db, sql)?.query_row(params![resource, id], |row| row.get(0)).optional()?)
}

/// Replaces a version at `path` by another. It becomes `superseded` if it was not claimed.
/// Publishing uses this too.
pub(super) fn replace(
    tx: &mut Tx<'_>,
    resource: &str,
    path: &str,
    current: &CurrentVersion,
    change: &mut Change,
    now: Timestamp,
) -> Work<()> {
    if current.state != ArtifactState::New {
        return end(tx, current.seq, current.state);
    }
    end(tx, current.seq, ArtifactState::Superseded)?;
    change.less(current.size);
    let data = json!({ "resource": resource, "path": path, "version": current.version });
    emit(tx, now, NewEvent::of(EventKind::ArtifactSuperseded, data).artifact(current.id))
}

struct Recorder<'t, 'c, 'a> {
    tx: &'t mut Tx<'c>,
    resource: &'a str,
    as_of: u64,
    now: Timestamp,
    new: u64,
    change: Change,
}

impl Recorder<'_, '_, '_> {
    /// Returns whether an output was published at a path of the observation after the examination
    /// began. Recording such an observation would end the output's version, and the next one would
    /// record the output as someone else's file.
    fn is_outdated(&self, observation: &Observation) -> Work<bool> {
        match observation {
            // The same content does not contradict the output: it is the output itself.
            Observation::Present { path, digest, .. } => self.came_later(path, *digest),
            Observation::Gone { path } | Observation::Ignored { path, .. } => self.came_later(path, None),
            Observation::Renamed { from, to, .. } => Ok(self.came_later(from, None)? || self.came_later(to, None)?),
        }
    }

    /// Returns whether an output with content other than `seen` was published at a path after the
    /// examination began.
    fn came_later(&self, path: &str, seen: Option<Digest>) -> Work<bool> {
        let sql = "SELECT digest FROM artifacts INDEXED BY artifacts_present
            WHERE resource = ?1 AND path = ?2 AND ended IS NULL AND visible > ?3";
        let as_of = self.as_of.min(NOT_VISIBLE - 1);
        let found = prepare(self.tx.db, sql)?.query_row(params![self.resource, path, as_of], |row| row.get(0));
        let later: Option<Option<Digest>> = found.optional()?;
        Ok(later.is_some_and(|digest| seen.is_none() || digest != seen))
    }

    fn record(&mut self, observation: &Observation) -> Work<()> {
        match observation {
            Observation::Present { path, digest, size, stamp } => self.present(path, *digest, *size, stamp),
            Observation::Gone { path } => self.gone(path),
            Observation::Renamed { from, to, stamp } => self.renamed(from, to, stamp),
            Observation::Ignored { path, reason, stamp } => self.ignored(path, reason, stamp),
        }
    }

    fn present(&mut self, path: &str, digest: Option<Digest>, size: u64, stamp: &str) -> Work<()> {
        if let Some(current) = current_version(self.tx.db, self.resource, path)? {
            if current.holds(digest, stamp) {
                return self.stamp(&current, stamp);
            }
            replace(self.tx, self.resource, path, &current, &mut self.change, self.now)?;
        }
        let new = NewVersion {
            id: ArtifactId::new(),
            resource: self.resource,
            path,
            digest,
            size,
            state: ArtifactState::New,
            reason: None,
            produced_by: None,
            stamp,
            visible: None,
        };
        let (_, version) = artifacts::insert(self.tx, &new, self.now)?;
        self.new += 1;
        self.change.more(size);
        let data =
            json!({ "resource": self.resource, "path": path, "version": version, "digest": digest, "size": size });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactRecorded, data).artifact(new.id))
    }

    fn gone(&mut self, path: &str) -> Work<()> {
        let Some(current) = current_version(self.tx.db, self.resource, path)? else { return Ok(()) };
        if current.state == ArtifactState::New {
            end(self.tx, current.seq, ArtifactState::Deleted)?;
            self.change.less(current.size);
        } else {
            end(self.tx, current.seq, current.state)?;
        }
        let data = json!({ "resource": self.resource, "path": path, "version": current.version });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactDeleted, data).artifact(current.id))
    }

    /// Ignores a rename of a path that is not on record: without a digest it cannot become a
    /// version. The next scan finds the file.
    fn renamed(&mut self, from: &str, to: &str, stamp: &str) -> Work<()> {
        let Some(moved) = current_version(self.tx.db, self.resource, from)? else { return Ok(()) };
        if from == to {
            return self.stamp(&moved, stamp);
        }
        if let Some(current) = current_version(self.tx.db, self.resource, to)? {
            replace(self.tx, self.resource, to, &current, &mut self.change, self.now)?;
        }
        let highest = highest_version(self.tx.db, self.resource, to)?;
        let version = if moved.version > highest { moved.version } else { highest + 1 };
        let at = self.tx.next_seq();
        let sql =
            "INSERT INTO old_places (resource, ended, path, version, placed, artifact) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        execute(self.tx.db, sql, params![self.resource, at, from, moved.version, moved.placed, moved.seq])?;
        let sql = "UPDATE artifacts SET path = ?2, version = ?3, placed = ?4, stamp = ?5 WHERE seq = ?1";
        execute(self.tx.db, sql, params![moved.seq, to, version, at, stamp])?;
        let data = json!({ "resource": self.resource, "from": from, "path": to, "version": version });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactRenamed, data).artifact(moved.id))
    }

    fn ignored(&mut self, path: &str, reason: &str, stamp: &str) -> Work<()> {
        if let Some(current) = current_version(self.tx.db, self.resource, path)? {
            if current.state == ArtifactState::Ignored && current.reason.as_deref() == Some(reason) {
                return self.stamp(&current, stamp);
            }
            replace(self.tx, self.resource, path, &current, &mut self.change, self.now)?;
        }
        let new = NewVersion {
            id: ArtifactId::new(),
            resource: self.resource,
            path,
            digest: None,
            size: 0,
            state: ArtifactState::Ignored,
            reason: Some(reason),
            produced_by: None,
            stamp,
            visible: None,
        };
        artifacts::insert(self.tx, &new, self.now)?;
        let data = json!({ "resource": self.resource, "path": path, "reason": reason });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactIgnored, data).artifact(new.id))
    }

    /// Updates the stamp of a version whose content has not changed.
    fn stamp(&mut self, current: &CurrentVersion, stamp: &str) -> Work<()> {
        if current.stamp != stamp {
            execute(self.tx.db, "UPDATE artifacts SET stamp = ?2 WHERE seq = ?1", params![current.seq, stamp])?;
        }
        Ok(())
    }
}
