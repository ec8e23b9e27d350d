//! Finds what earlier hosts have left unfinished.

use super::db::Db;
use super::needed;
use super::sql::{Json, Work, params};
use super::writer::Tx;
use super::{run_rows, runs};
use crate::base::{ArtifactId, AttemptId, RunId};
use crate::model::{AttemptState, StagedFile};
use crate::store::{UnfinishedAttempt, UnfinishedRun};

/// Returns every run that has not ended, oldest first, and gives their unfinished attempts tokens
/// of this epoch. In a repeat, they keep them.
pub(super) async fn take_over(tx: &mut Tx) -> Work<Vec<UnfinishedRun>> {
    let mut found = Vec::new();
    for number in needed::unfinished(&tx.db).await? {
        let sql = "SELECT seq FROM attempts WHERE run = $1 AND ended_at IS NULL AND epoch <> $2";
        for row in tx.db.rows(sql, &params![number, tx.epoch]).await? {
            let seq: u64 = row.get(0)?;
            tx.at.token += 1;
            let sql = "UPDATE attempts SET epoch = $2, token = $3,
                stopped = stopped OR epoch = (SELECT stopping FROM meta WHERE one) WHERE seq = $1";
            tx.db.later(sql, &params![seq, tx.epoch, tx.at.token]);
        }
        let run = run_rows::by_number(&tx.db, u64::try_from(number).unwrap_or(0)).await?;
        if let Some(run) = run {
            found.extend(unfinished(&tx.db, run.id).await?);
        }
    }
    Ok(found)
}

/// Records that the host of this epoch was asked to stop.
pub(super) fn note_stop(tx: &Tx) {
    tx.db.later("UPDATE meta SET stopping = $1 WHERE one", &params![tx.epoch]);
}

/// A run that has not ended; `None` if there is none of this id.
pub(super) async fn unfinished(db: &Db, id: RunId) -> Work<Option<UnfinishedRun>> {
    let Some(detail) = runs::progress(db, id).await?.filter(|detail| !detail.run.state.ended()) else {
        return Ok(None);
    };
    let mut attempts = Vec::new();
    for attempt in detail.attempts.iter().filter(|attempt| attempt.ended_at.is_none()) {
        let Some(fence) = attempt.fence else { continue };
        let publishing = attempt.state == AttemptState::Publishing;
        let (files, artifacts) = intent(db, attempt.id).await?.into_iter().unzip();
        let row = db
            .one("SELECT stopped, skip, cached_from IS NOT NULL FROM attempts WHERE id = $1", &params![attempt.id])
            .await?;
        attempts.push(UnfinishedAttempt {
            fence,
            action: attempt.action.clone(),
            files: publishing.then_some(files),
            stopped: row.get(0)?,
            skip: publishing && row.get(1)?,
            cached: row.get(2)?,
            message: attempt.message.clone(),
            artifacts,
        });
    }
    Ok(Some(UnfinishedRun { detail, attempts }))
}

/// What an attempt has committed to publish, and the artifacts that it becomes.
async fn intent(db: &Db, attempt: AttemptId) -> Work<Vec<(StagedFile, ArtifactId)>> {
    let sql = "SELECT i.file, i.became FROM intents i
        WHERE i.attempt = (SELECT seq FROM attempts WHERE id = $1) ORDER BY i.position";
    let rows = db.rows(sql, &params![attempt]).await?;
    rows.iter().map(|row| Ok((row.get::<Json<StagedFile>>(0)?.0, row.get(1)?))).collect()
}
