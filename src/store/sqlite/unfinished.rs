//! Finds what earlier hosts have left unfinished.

use rusqlite::Connection;

use super::sql::{Json, Work, execute, prepare};
use super::writer::Tx;
use super::{run_rows, runs};
use crate::base::{ArtifactId, AttemptId, RunId};
use crate::model::{AttemptState, RunState, StagedFile};
use crate::store::{UnfinishedAttempt, UnfinishedRun};

/// Returns every run that has not ended, oldest first, and gives their unfinished attempts tokens
/// of this epoch. In a repeat, they keep them.
pub(super) fn take_over(tx: &mut Tx<'_>) -> Work<Vec<UnfinishedRun>> {
    let mut numbers = Vec::new();
    for state in RunState::ALL.iter().filter(|state| !state.ended()) {
        let sql = "SELECT number FROM runs INDEXED BY runs_state WHERE state = ?1";
        let mut statement = prepare(tx.db, sql)?;
        for number in statement.query_map([state], |row| row.get::<_, u64>(0))? {
            numbers.push(number?);
        }
    }
    numbers.sort_unstable();
    let mut found = Vec::with_capacity(numbers.len());
    for number in numbers {
        let mut statement = prepare(
            tx.db,
            "SELECT seq FROM attempts INDEXED BY attempts_run WHERE run = ?1 AND ended_at IS NULL AND epoch <> ?2",
        )?;
        let attempts = statement.query_map([number, tx.epoch], |row| row.get(0))?.collect::<Result<Vec<u64>, _>>()?;
        for seq in attempts {
            tx.at.token += 1;
            let sql = "UPDATE attempts SET epoch = ?2, token = ?3,
                stopped = stopped OR epoch = (SELECT stopping FROM meta WHERE one = 1) WHERE seq = ?1";
            execute(tx.db, sql, [seq, tx.epoch, tx.at.token])?;
        }
        if let Some(run) = run_rows::by_number(tx.db, number)? {
            found.extend(unfinished(tx.db, run.id)?);
        }
    }
    Ok(found)
}

/// Records that the host of this epoch was asked to stop.
pub(super) fn note_stop(tx: &mut Tx<'_>) -> Work<()> {
    execute(tx.db, "UPDATE meta SET stopping = ?1 WHERE one = 1", [tx.epoch])?;
    Ok(())
}

/// A run that has not ended; `None` if there is none of this id.
pub(super) fn unfinished(db: &Connection, id: RunId) -> Work<Option<UnfinishedRun>> {
    let Some(detail) = runs::progress(db, id)?.filter(|detail| !detail.run.state.ended()) else { return Ok(None) };
    let mut attempts = Vec::new();
    for attempt in detail.attempts.iter().filter(|attempt| attempt.ended_at.is_none()) {
        let Some(fence) = attempt.fence else { continue };
        let publishing = attempt.state == AttemptState::Publishing;
        let (files, artifacts) = intent(db, attempt.id)?.into_iter().unzip();
        attempts.push(UnfinishedAttempt {
            fence,
            action: attempt.action.clone(),
            files: publishing.then_some(files),
            stopped: was_stopped(db, attempt.id)?,
            skip: publishing && said_skip(db, attempt.id)?,
            cached: publishing && attempt.is_cached(),
            message: attempt.message.clone(),
            artifacts,
        });
    }
    Ok(Some(UnfinishedRun { detail, attempts }))
}

fn was_stopped(db: &Connection, attempt: AttemptId) -> Work<bool> {
    Ok(prepare(db, "SELECT stopped FROM attempts WHERE id = ?1")?.query_row([attempt], |row| row.get(0))?)
}

fn said_skip(db: &Connection, attempt: AttemptId) -> Work<bool> {
    Ok(prepare(db, "SELECT skip FROM attempts WHERE id = ?1")?.query_row([attempt], |row| row.get(0))?)
}

/// What an attempt has committed to publish, and the artifacts that it becomes.
fn intent(db: &Connection, attempt: AttemptId) -> Work<Vec<(StagedFile, ArtifactId)>> {
    let sql = "SELECT i.file, i.became FROM intents i
        WHERE i.attempt = (SELECT seq FROM attempts WHERE id = ?1) ORDER BY i.position";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([attempt], |row| Ok((row.get::<_, Json<StagedFile>>(0)?.0, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
