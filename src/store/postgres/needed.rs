//! Which artifacts runs need, so that their content is kept.

use super::db::Db;
use super::sql::{Work, params};
use crate::base::Digest;
use crate::model::{Page, RunState};
use crate::store::{PageRequest, page};

/// The new artifacts of a resource, those claimed by a run that has not ended (they become `old`
/// when it ends), and the versions of models. None of these parts belongs to a single run, so `$3`
/// is 0.
const NEW: &str = "SELECT seq, digest FROM artifacts
    WHERE resource = $1 AND state = 'new' AND seq > $2 AND $3::bigint = 0 ORDER BY seq LIMIT $4";
const CLAIMED: &str = "SELECT seq, digest FROM artifacts
    WHERE resource = $1 AND state = 'current' AND seq > $2 AND $3::bigint = 0 ORDER BY seq LIMIT $4";
const REGISTERED: &str = "SELECT a.seq, a.digest FROM model_versions v JOIN artifacts a ON a.seq = v.artifact
    WHERE v.resource = $1 AND v.artifact > $2 AND $3::bigint = 0 ORDER BY v.artifact LIMIT $4";
/// The artifacts that one run was given, and those that it has written.
const GIVEN: &str = "SELECT a.seq, a.digest FROM given g JOIN artifacts a ON a.seq = g.artifact
    WHERE a.resource = $1 AND g.artifact > $2 AND g.run = $3 ORDER BY g.artifact LIMIT $4";
const WRITTEN: &str = "SELECT a.seq, a.digest FROM outputs o JOIN artifacts a ON a.seq = o.artifact
    WHERE o.resource = $1 AND o.artifact > $2 AND o.run = $3 ORDER BY o.artifact LIMIT $4";
/// In this order: an artifact that is claimed while the pages are read must not be missed.
const PARTS: [&str; 5] = [NEW, CLAIMED, REGISTERED, GIVEN, WRITTEN];

/// Where a page begins: after the artifact `after` of a run in one of the [`PARTS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    part: usize,
    run: i64,
    after: i64,
}

/// Returns a page of the digests of the artifacts of a resource that runs need.
pub(super) async fn digests(db: &Db, resource: &str, request: &PageRequest) -> Work<Page<Digest>> {
    let (from, limit) = (place(request)?, page::limit(request));
    let mut items = Vec::new();
    // Artifacts without a digest are skipped, but count, so that the work for a page is bounded.
    let mut room = limit;
    for source in sources(db).await?.into_iter().filter(|source| (source.part, source.run) >= (from.part, from.run)) {
        let is_first = (source.part, source.run) == (from.part, from.run);
        let mut place = Place { after: if is_first { from.after } else { 0 }, ..source };
        let Some(sql) = PARTS.get(source.part) else { continue };
        for row in db.rows(sql, &params![resource, place.after, place.run, room]).await? {
            items.extend(row.get::<Option<Digest>>(1)?);
            (place.after, room) = (row.get(0)?, room - 1);
        }
        if room == 0 {
            let next_cursor = Some(format!("{}.{}.{}", place.part, place.run, place.after));
            return Ok(Page { items, next_cursor });
        }
    }
    Ok(Page { items, next_cursor: None })
}

/// The beginnings of all parts, in the order in which they are read.
async fn sources(db: &Db) -> Work<Vec<Place>> {
    let runs = unfinished(db).await?;
    let of_resource = (0..3).map(|part| Place { part, run: 0, after: 0 });
    let of_runs = (3..PARTS.len()).flat_map(|part| runs.iter().map(move |run| Place { part, run: *run, after: 0 }));
    Ok(of_resource.chain(of_runs).collect())
}

fn place(request: &PageRequest) -> Work<Place> {
    let Some(cursor) = &request.cursor else { return Ok(Place::default()) };
    let numbers: Option<Vec<i64>> = cursor.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([part, run, after]) if (0..5).contains(part) && *run >= 0 && *after >= 0 => {
            Ok(Place { part: usize::try_from(*part).unwrap_or_default(), run: *run, after: *after })
        }
        _ => Err(page::refuse(cursor).into()),
    }
}

/// The numbers of the runs that have not ended, in order.
pub(super) async fn unfinished(db: &Db) -> Work<Vec<i64>> {
    let mut numbers = Vec::new();
    for state in RunState::ALL.iter().filter(|state| !state.ended()) {
        for row in db.rows("SELECT number FROM runs WHERE state = $1", &params![state]).await? {
            numbers.push(row.get(0)?);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
