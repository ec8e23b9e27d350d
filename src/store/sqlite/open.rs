//! Opens a store: for a host (or for a verb that writes while no host is running), or for reading
//! while a host is running.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use super::backup;
use super::events::{NewEvent, emit};
use super::migrations::{self, SCRIPTS, Standing};
use super::queue::Queue;
use super::readers::{self, READERS, Read};
use super::sql::{Work, execute, from_sqlite, sync_commits};
use super::wal::{self, BUSY_TIMEOUT};
use super::writer::{self, Counters, Tx, Writer};
use super::{SqliteStore, Writing};
use crate::base::Timestamp;
use crate::model::{Durability, EventKind};
use crate::store::lock::{self, HostLock};
use crate::store::presence::Presence;
use crate::store::{Holder, Result, StoreError, writable};

/// How many prepared statements a connection caches: enough for all of them.
const STATEMENTS: usize = 256;

impl SqliteStore {
    /// Opens the store at `path` for reading and writing, as its only host: takes the host lock,
    /// makes or migrates the schema, and durably raises the epoch. Blocks for some milliseconds, or
    /// as long as it takes to copy records that have to be migrated.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it; [`StoreError::Corrupt`] if it is not a
    /// store, or a newer one.
    pub fn open(path: &Path, durability: Durability, now: Timestamp) -> Result<Arc<Self>> {
        writable::check([folder_of(path)].into_iter().chain(files(path).iter().map(PathBuf::as_path)))?;
        let in_use = |holder| StoreError::InUse { store: path.display().to_string(), holder };
        let lock = HostLock::take(&lock_path(path), now, in_use)?;
        let is_new = !path.exists();
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let standing = migrations::look(&db).map_err(|error| name(error, path))?;
        if let Standing::Ours(version) = standing
            && version < SCRIPTS.len()
        {
            keep_copy(&db, path, version)?;
        }
        // Synced with every durability: otherwise a power cut could undo an epoch, and it would be
        // used twice.
        pragmas(&db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").map_err(|error| name(error, path))?;
        migrations::migrate(&db).map_err(|error| name(error, path))?;
        let (epoch, counters) = raise_epoch(&db, now).map_err(|fail| fail.into_store("raise the epoch"))?;
        if is_new {
            sync_folder(path)?;
        }
        let syncs_all = durability == Durability::Full;
        sync_commits(&db, syncs_all).map_err(|error| from_sqlite(&error, "set up the connection"))?;
        let wal = format!(
            "PRAGMA wal_autocheckpoint = {}; PRAGMA journal_size_limit = {};",
            wal::CHECKPOINT_PAGES,
            wal::KEPT_BYTES
        );
        // Without `temp_store`, each savepoint makes and removes a file.
        pragmas(&db, &format!("{wal} PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;"))?;
        let (newest, told) = watch::channel(counters.event);
        let jobs = Arc::new(Queue::new(writer::MAX_WAITING));
        let log = wal::Log::new(path.to_owned(), beside(path, "-wal"));
        let work = Writer { db, syncs_all, log: log.clone(), counters, epoch, queue: Arc::clone(&jobs), newest };
        let thread = spawn("store-write", move || work.run())?;
        let presence = presence(path)?;
        let writing = Writing { jobs, thread: Mutex::new(Some(thread)), lock, presence, log };
        Self::with_readers(path, epoch, told, Some(writing))
    }

    /// Opens the store at `path` for reading only, with or without a running host. Its writing
    /// methods return [`StoreError::Conflict`]; [`crate::store::MetadataStore::newest_event`] stays
    /// where it was at opening.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is no such file; [`StoreError::Corrupt`] if it is not a
    /// store, or has another version.
    pub fn open_read_only(path: &Path) -> Result<Arc<Self>> {
        let db = connect_to_newest(path)?;
        let (epoch, counters) = counters(&db).map_err(|fail| fail.into_store("read the counters"))?;
        // There is no sender: the value does not change.
        let (_, told) = watch::channel(counters.event);
        Self::with_readers(path, epoch, told, None)
    }

    fn with_readers(
        path: &Path,
        epoch: u64,
        newest: watch::Receiver<u64>,
        writing: Option<Writing>,
    ) -> Result<Arc<Self>> {
        let reads: Arc<Queue<Read>> = Arc::new(Queue::new(readers::MAX_WAITING));
        let mut store = Self { path: path.to_owned(), epoch, newest, reads, readers: Mutex::new(Vec::new()), writing };
        for _ in 0..READERS {
            let db = connect_to_read(path)?;
            pragmas(&db, "PRAGMA query_only = ON; PRAGMA cache_size = -2048;")?;
            let reads = Arc::clone(&store.reads);
            let thread = spawn("store-read", move || readers::run(&db, &reads))?;
            store.readers.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).push(thread);
        }
        Ok(Arc::new(store))
    }
}

/// Copies the records of an older version before they are migrated, into a file beside them: the
/// older anacostia can read them there. The copy of an earlier try is replaced.
fn keep_copy(db: &Connection, path: &Path, version: usize) -> Result<()> {
    let copy = beside(path, &format!(".version-{version}"));
    let part = beside(path, ".part");
    let failed = |why: String| StoreError::Unavailable {
        doing: format!(
            "copy the records to {} before they are migrated from version {version} to {}",
            copy.display(),
            SCRIPTS.len()
        ),
        why,
    };
    // What an earlier try has left, if any.
    let _ = fs::remove_file(&part);
    backup::copy(db, &part).map_err(|error| {
        let _ = fs::remove_file(&part);
        match error {
            StoreError::Unavailable { why, .. } => failed(why),
            other => name(other, path),
        }
    })?;
    fs::rename(&part, &copy).map_err(|error| failed(error.to_string()))?;
    sync_folder(path)?;
    tracing::info!(
        "migrating the records from version {version} to {}; a copy of them is in {}, and may be removed",
        SCRIPTS.len(),
        copy.display()
    );
    Ok(())
}

/// Opens a connection for reading to a database whose schema is that of this version.
///
/// # Errors
/// As [`SqliteStore::open_read_only`].
pub(super) fn connect_to_newest(path: &Path) -> Result<Connection> {
    let db = connect_to_read(path)?;
    let why = match migrations::look(&db).map_err(|error| name(error, path))? {
        Standing::Ours(version) if version == SCRIPTS.len() => return Ok(db),
        Standing::Ours(version) => format!(
            "its schema has version {version}, and this anacostia needs {}; run `anacostia run` once to migrate it",
            SCRIPTS.len()
        ),
        Standing::Empty => "nothing is in it yet; start `anacostia run` once".to_owned(),
    };
    Err(name(StoreError::Corrupt(why), path))
}

/// Opens a connection for reading, even if this user may not write.
///
/// SQLite creates files beside a database to read it. If it may not, and no process has the
/// database open (there is no log), the database is opened as immutable. If a host of another user
/// starts meanwhile, the reads may be wrong; verbs that read are short.
fn connect_to_read(path: &Path) -> Result<Connection> {
    let folder = folder_of(path);
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let may_write = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok();
    if may_write || Path::new(&log).exists() || !path.exists() {
        return connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    }
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri += "?immutable=1";
    connect(Path::new(&uri), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// The host that has the store at `path` open for writing; `None` if there is none.
///
/// # Errors
/// When its lock exists and cannot be read.
pub fn read_holder(path: &Path) -> Result<Option<Holder>> {
    lock::read_holder(&lock_path(path))
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Returns the path of the lock of the store at `path`.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// Returns the paths of all files of the store at `path`.
fn files(path: &Path) -> [PathBuf; 4] {
    [".lock", "", "-wal", "-shm"].map(|end| beside(path, end))
}

pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Notes which files the store has, once all of them exist.
fn presence(path: &Path) -> Result<Presence> {
    Presence::of(files(path)).map_err(|error| StoreError::Unavailable {
        doing: format!("look at {}", path.display()),
        why: error.to_string(),
    })
}

pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| name(from_sqlite(&error, "open"), path))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // Plans do not depend on values: otherwise SQLite prepares a statement again whenever a value
    // of a partial index or of a range changes, which cost a sixth of the writer's time.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|error| name(from_sqlite(&error, "open"), path))?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(|error| from_sqlite(&error, "open"))?;
    Ok(db)
}

/// Adds the file's name to an error of opening it.
pub(super) fn name(error: StoreError, path: &Path) -> StoreError {
    match error {
        StoreError::Corrupt(why) => StoreError::Corrupt(format!("{}: {why}", path.display())),
        StoreError::Unavailable { doing, why } => {
            StoreError::Unavailable { doing: format!("{doing} {}", path.display()), why }
        }
        other => other,
    }
}

fn pragmas(db: &Connection, text: &str) -> Result<()> {
    db.execute_batch(text).map_err(|error| from_sqlite(&error, "set up the connection"))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| StoreError::Unavailable { doing: "start a thread".to_owned(), why: error.to_string() })
}

/// Reads the epoch and the counters.
fn counters(db: &Connection) -> Work<(u64, Counters)> {
    let sql = "SELECT epoch, seq, max(event, ifnull((SELECT max(seq) FROM events), 0)),
        max(run, ifnull((SELECT max(number) FROM runs), 0)) FROM meta WHERE one = 1";
    Ok(db.query_row(sql, [], |row| {
        Ok((row.get(0)?, Counters { seq: row.get(1)?, event: row.get(2)?, run: row.get(3)?, token: 0, ended: 0 }))
    })?)
}

/// Begins the next epoch.
fn raise_epoch(db: &Connection, now: Timestamp) -> Work<(u64, Counters)> {
    execute(db, "BEGIN IMMEDIATE", [])?;
    let raised = (|| -> Work<(u64, Counters)> {
        let (epoch, mut counters) = counters(db)?;
        let epoch = epoch + 1;
        let mut tx = Tx { db, at: &mut counters, epoch };
        let data = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id() });
        emit(&mut tx, now, NewEvent::of(EventKind::HostStarted, data))?;
        execute(db, "UPDATE meta SET epoch = ?1, event = ?2 WHERE one = 1", [epoch, counters.event])?;
        execute(db, "COMMIT", [])?;
        Ok((epoch, counters))
    })();
    if raised.is_err() && !db.is_autocommit() {
        // Fails only if there is nothing to roll back.
        let _ = execute(db, "ROLLBACK", []);
    }
    raised
}

/// Syncs the folder of a new database, so that its name survives a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    std::fs::File::open(folder).and_then(|it| it.sync_all()).map_err(|error| StoreError::Unavailable {
        doing: format!("sync {}", folder.display()),
        why: error.to_string(),
    })
}
