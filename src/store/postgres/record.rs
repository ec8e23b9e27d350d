//! Records the observations of resources.

use serde_json::json;
use tokio::try_join;

use super::artifacts::{self, Change, CurrentVersion, NOT_VISIBLE, NewVersion, Paths, end, pending_as_of};
use super::events::{NewEvent, emit};
use super::settings;
use super::sql::{Work, params};
use super::writer::Tx;
use crate::base::{ArtifactId, Digest, Timestamp, WriteId};
use crate::model::{ArtifactState, EventKind, Observation};
use crate::store::{Batch, Recorded};

/// Records a batch of observations, in order. A repeat returns the first answer.
pub(super) async fn record(tx: &mut Tx, resource: &str, batch: &Batch, now: Timestamp) -> Work<Recorded> {
    let Batch { id, seen, as_of, cursor } = batch;
    let paths = Paths::read(&tx.db, resource, paths_of(seen));
    let (before, paths) = try_join!(recorded_before(tx, resource, *id), paths)?;
    let mut recorder = Recorder { tx, paths, resource, as_of: *as_of, now, new: 0, change: Change::default() };
    let mut outdated = Vec::new();
    for (at, observation) in seen.iter().enumerate() {
        if recorder.is_outdated(observation) {
            outdated.push(at);
        } else if before.is_none() {
            recorder.record(observation);
        }
    }
    let Recorder { new, change, .. } = recorder;
    if before.is_none() {
        let sql = "INSERT INTO waiting (resource, count, bytes, batch, batch_new) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (resource) DO UPDATE SET count = waiting.count + excluded.count,
            bytes = waiting.bytes + excluded.bytes, batch = excluded.batch, batch_new = excluded.batch_new";
        tx.db.later(sql, &params![resource, change.count, change.bytes, id, new]);
        if let Some(cursor) = cursor {
            settings::set_cursor(tx, resource, cursor, now);
        }
    }
    let pending = pending_as_of(&tx.db, resource, tx.at.event).await?;
    Ok(Recorded { new: before.unwrap_or(new), outdated, pending })
}

/// The paths that observations are about.
fn paths_of(seen: &[Observation]) -> Vec<String> {
    let of_one = |observation: &Observation| match observation {
        Observation::Present { path, .. } | Observation::Gone { path } | Observation::Ignored { path, .. } => {
            vec![path.clone()]
        }
        Observation::Renamed { from, to, .. } => vec![from.clone(), to.clone()],
    };
    let mut paths: Vec<String> = seen.iter().flat_map(of_one).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Returns how many artifacts this batch made `new`, if it is the last recorded batch of the
/// resource.
async fn recorded_before(tx: &Tx, resource: &str, id: WriteId) -> Work<Option<u64>> {
    let sql = "SELECT batch_new FROM waiting WHERE resource = $1 AND batch = $2";
    tx.db.row(sql, &params![resource, id]).await?.map(|row| row.get(0)).transpose()
}

/// Replaces the version at `path` by another. It becomes `superseded` if it was not claimed.
/// Publishing uses this too.
pub(super) fn replace(tx: &mut Tx, paths: &mut Paths, resource: &str, path: &str, change: &mut Change, now: Timestamp) {
    let Some(current) = paths.take(path) else { return };
    if current.state != ArtifactState::New {
        end(tx, current.seq, current.state);
        return;
    }
    end(tx, current.seq, ArtifactState::Superseded);
    change.less(current.size);
    let data = json!({ "resource": resource, "path": path, "version": current.version });
    emit(tx, now, NewEvent::of(EventKind::ArtifactSuperseded, data).artifact(current.id));
}

struct Recorder<'t, 'a> {
    tx: &'t mut Tx,
    paths: Paths,
    resource: &'a str,
    as_of: u64,
    now: Timestamp,
    new: u64,
    change: Change,
}

impl Recorder<'_, '_> {
    /// Returns whether an output was published at a path of the observation after the examination
    /// began. Recording such an observation would end the output's version, and the next one would
    /// record the output as someone else's file.
    fn is_outdated(&self, observation: &Observation) -> bool {
        match observation {
            // The same content does not contradict the output: it is the output itself.
            Observation::Present { path, digest, .. } => self.came_later(path, *digest),
            Observation::Gone { path } | Observation::Ignored { path, .. } => self.came_later(path, None),
            Observation::Renamed { from, to, .. } => self.came_later(from, None) || self.came_later(to, None),
        }
    }

    /// Returns whether an output with content other than `seen` was published at a path after the
    /// examination began.
    fn came_later(&self, path: &str, seen: Option<Digest>) -> bool {
        let as_of = self.as_of.min(NOT_VISIBLE - 1);
        let later = self.paths.current(path).filter(|there| there.visible.is_some_and(|visible| visible > as_of));
        later.is_some_and(|there| seen.is_none() || there.digest != seen)
    }

    fn record(&mut self, observation: &Observation) {
        match observation {
            Observation::Present { path, digest, size, stamp } => self.present(path, *digest, *size, stamp),
            Observation::Gone { path } => self.gone(path),
            Observation::Renamed { from, to, stamp } => self.renamed(from, to, stamp),
            Observation::Ignored { path, reason, stamp } => self.ignored(path, reason, stamp),
        }
    }

    fn replace(&mut self, path: &str) {
        replace(self.tx, &mut self.paths, self.resource, path, &mut self.change, self.now);
    }

    fn present(&mut self, path: &str, digest: Option<Digest>, size: u64, stamp: &str) {
        if let Some(current) = self.paths.current(path).filter(|current| current.holds(digest, stamp)).cloned() {
            self.stamp(path, current, stamp);
            return;
        }
        self.replace(path);
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
        let (_, version) = artifacts::insert(self.tx, &mut self.paths, &new, self.now);
        self.new += 1;
        self.change.more(size);
        let data =
            json!({ "resource": self.resource, "path": path, "version": version, "digest": digest, "size": size });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactRecorded, data).artifact(new.id));
    }

    fn gone(&mut self, path: &str) {
        let Some(current) = self.paths.take(path) else { return };
        if current.state == ArtifactState::New {
            end(self.tx, current.seq, ArtifactState::Deleted);
            self.change.less(current.size);
        } else {
            end(self.tx, current.seq, current.state);
        }
        let data = json!({ "resource": self.resource, "path": path, "version": current.version });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactDeleted, data).artifact(current.id));
    }

    /// Ignores a rename of a path that is not on record: without a digest it cannot become a
    /// version. The next scan finds the file.
    fn renamed(&mut self, from: &str, to: &str, stamp: &str) {
        let Some(moved) = self.paths.current(from).cloned() else { return };
        if from == to {
            self.stamp(from, moved, stamp);
            return;
        }
        self.replace(to);
        self.paths.take(from);
        let highest = self.paths.highest(to);
        let version = if moved.version > highest { moved.version } else { highest + 1 };
        let at = self.tx.next_seq();
        let sql =
            "INSERT INTO old_places (resource, ended, path, version, placed, artifact) VALUES ($1, $2, $3, $4, $5, $6)";
        self.tx.db.later(sql, &params![self.resource, at, from, moved.version, moved.placed, moved.seq]);
        let sql = "UPDATE artifacts SET path = $2, version = $3, placed = $4, stamp = $5 WHERE seq = $1";
        self.tx.db.later(sql, &params![moved.seq, to, version, at, stamp]);
        let data = json!({ "resource": self.resource, "from": from, "path": to, "version": version });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactRenamed, data).artifact(moved.id));
        self.paths.put(to, CurrentVersion { version, placed: at, stamp: stamp.to_owned(), ..moved });
    }

    fn ignored(&mut self, path: &str, reason: &str, stamp: &str) {
        let known = self.paths.current(path);
        let known = known.filter(|it| it.state == ArtifactState::Ignored && it.reason.as_deref() == Some(reason));
        if let Some(current) = known.cloned() {
            self.stamp(path, current, stamp);
            return;
        }
        self.replace(path);
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
        artifacts::insert(self.tx, &mut self.paths, &new, self.now);
        let data = json!({ "resource": self.resource, "path": path, "reason": reason });
        emit(self.tx, self.now, NewEvent::of(EventKind::ArtifactIgnored, data).artifact(new.id));
    }

    /// Updates the stamp of a version whose content has not changed.
    fn stamp(&mut self, path: &str, current: CurrentVersion, stamp: &str) {
        if current.stamp != stamp {
            self.tx.db.later("UPDATE artifacts SET stamp = $2 WHERE seq = $1", &params![current.seq, stamp]);
            self.paths.put(path, CurrentVersion { stamp: stamp.to_owned(), ..current });
        }
    }
}
