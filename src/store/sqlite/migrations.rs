//! The schema, and the migrations from older versions to it.
//!
//! Migrations are numbered scripts, one transaction each; `user_version` is the number of the last
//! one that was applied. A released script is never changed.

use rusqlite::Connection;

use super::sql::from_sqlite;
use crate::store::{Result, StoreError};

/// `anac` in ASCII, which marks a database as ours.
pub(super) const APPLICATION_ID: i32 = 0x616e_6163;
/// From nothing to version 1, from 1 to 2, and so on.
pub(super) const SCRIPTS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql"),
    include_str!("migrations/0013.sql"),
    include_str!("migrations/0014.sql"),
    include_str!("migrations/0016.sql"),
    include_str!("migrations/0017.sql"),
    include_str!("migrations/0018.sql"),
    include_str!("migrations/0019.sql"),
    include_str!("migrations/0020.sql"),
];

/// Whether this program can use a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has no tables.
    Empty,
    /// It is ours, of this version, which is at most our own.
    Ours(usize),
}

/// Checks a database, and refuses one that is not ours, or was written by a newer version.
pub(super) fn look(db: &Connection) -> Result<Standing> {
    let read = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let failed = |error| from_sqlite(&error, "read the schema");
    let version = read("PRAGMA user_version").map_err(failed)?;
    let application = read("PRAGMA application_id").map_err(failed)?;
    let tables = read("SELECT count(*) FROM sqlite_schema").map_err(failed)?;
    if version == 0 && tables == 0 {
        return Ok(Standing::Empty);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(StoreError::Corrupt(
            "the database belongs to another program; set `metadata_store.path` to a file that does not exist yet"
                .to_owned(),
        ));
    }
    match usize::try_from(version) {
        Ok(version @ 1..) if version <= SCRIPTS.len() => Ok(Standing::Ours(version)),
        _ => Err(StoreError::Corrupt(format!(
            "it has version {version} of the schema, and this anacostia knows up to {}; use the newer anacostia that wrote it",
            SCRIPTS.len()
        ))),
    }
}

/// Brings a database to the newest version.
pub(super) fn migrate(db: &Connection) -> Result<()> {
    migrate_to(db, SCRIPTS.len())
}

/// Brings a database to `version`, if it is older.
pub(super) fn migrate_to(db: &Connection, version: usize) -> Result<()> {
    let at = match look(db)? {
        Standing::Empty => 0,
        Standing::Ours(version) => version,
    };
    for (number, script) in (1..=version).zip(SCRIPTS).skip(at) {
        let text = format!(
            "BEGIN IMMEDIATE;\n{script}\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
        );
        if let Err(error) = db.execute_batch(&text) {
            // Fails if SQLite has rolled back already.
            let _ = db.execute_batch("ROLLBACK");
            return Err(from_sqlite(&error, "migrate the schema"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{SCRIPTS, Standing, look, migrate, migrate_to};

    fn schema(db: &Connection) -> Vec<String> {
        let mut statement = db.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn every_version_migrates_to_the_newest_and_migration_is_idempotent() {
        let fresh = Connection::open_in_memory().unwrap();
        migrate(&fresh).unwrap();
        for version in 1..=SCRIPTS.len() {
            let db = Connection::open_in_memory().unwrap();
            migrate_to(&db, version).unwrap();
            assert_eq!(look(&db).unwrap(), Standing::Ours(version));
            migrate(&db).unwrap();
            migrate(&db).unwrap();
            assert_eq!(look(&db).unwrap(), Standing::Ours(SCRIPTS.len()));
            assert_eq!(schema(&db), schema(&fresh));
        }
    }

    /// A database of the version before the ids of writes, with a row in each table that was
    /// changed since.
    #[test]
    fn records_survive_a_migration() {
        let db = Connection::open_in_memory().unwrap();
        migrate_to(&db, 2).unwrap();
        db.execute_batch(
            "INSERT INTO waiting VALUES ('raw', 3, 30);
             INSERT INTO runs (number, id, state, cause, params, revision, snapshot, created_at)
                VALUES (1, x'01', 'running', 'a file', '{}', x'02', 7, 8);
             INSERT INTO attempts (id, run, action, number, state, started_at, component, grants, skip, usage,
                log_from_segment, log_from_offset, epoch, token)
                VALUES (x'03', 1, 'train', 1, 'running', 9, x'04', '{}', 0, '{}', 1, 100, 1, 1);
             INSERT INTO accesses (run, attempt, artifact, kind, bytes, calls) VALUES (1, 1, 5, 'read', 6, 1);
             INSERT INTO artifacts (seq, id, resource, path, version, size, state, created_at, placed, stamp)
                VALUES (5, x'05', 'raw', 'a', 1, 6, 'new', 1, 5, ''), (6, x'06', 'raw', 'b', 1, 6, 'published', 1, 6, '');
             INSERT INTO intents VALUES (1, 0, '{}', x'06', 0);
             INSERT INTO metrics VALUES (3, 1, 1, 'loss', 0.5, 2, 9);",
        )
        .unwrap();
        migrate(&db).unwrap();
        let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(one("SELECT count FROM waiting WHERE resource = 'raw' AND batch IS NULL AND batch_new = 0"), 3);
        assert_eq!(one("SELECT snapshot FROM runs WHERE id = x'01' AND step IS NULL AND retry IS NULL"), 7);
        assert_eq!(one("SELECT log_from_offset FROM attempts WHERE id = x'03' AND facts IS NULL"), 100);
        assert_eq!(one("SELECT number FROM attempts WHERE id = x'03' AND cache IS NULL AND recording IS NULL"), 1);
        assert_eq!(one("SELECT count(*) FROM memories"), 0);
        assert_eq!(one("SELECT seq FROM artifacts WHERE visible = 9223372036854775807"), 6);
        assert_eq!(one("SELECT seq FROM artifacts WHERE visible IS NULL"), 5);
        assert_eq!(
            one("SELECT step FROM metrics INDEXED BY metrics_run_name WHERE run = 1 AND name = 'loss' AND value = 0.5"),
            2
        );
        assert_eq!(one("SELECT bytes FROM accesses INDEXED BY accesses_artifact WHERE artifact = 5"), 6);
    }

    #[test]
    fn a_newer_schema_and_a_database_of_another_program_are_refused() {
        let db = Connection::open_in_memory().unwrap();
        migrate(&db).unwrap();
        db.pragma_update(None, "user_version", SCRIPTS.len() + 1).unwrap();
        let text = migrate(&db).unwrap_err().to_string();
        assert!(text.contains("use the newer anacostia"), "{text}");
        let other = Connection::open_in_memory().unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        let text = migrate(&other).unwrap_err().to_string();
        assert!(text.contains("another program"), "{text}");
        assert_eq!(schema(&other).len(), 1, "nothing was written to it");
    }
}
