//! Errors of a store.

/// An error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The token is not the newest of its attempt, or the attempt has ended: another host has taken
    /// over. The caller stops at once.
    #[error("attempt {attempt} no longer belongs to this host: {why}")]
    Fenced {
        /// The attempt.
        attempt: crate::base::AttemptId,
        /// The recorded state of the attempt.
        why: String,
    },
    /// The write conflicts with the recorded state.
    #[error("{0}")]
    Conflict(String),
    /// A file exists at the path, and may not be replaced.
    #[error("`{path}` exists already in {resource}; create it with `overwrite` to make its next version")]
    PathTaken {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
    },
    /// An argument is invalid, such as a cursor that this store did not make.
    #[error("{0}")]
    Invalid(String),
    /// Another host has the store open.
    #[error("{store} is in use by {holder}")]
    InUse {
        /// Which store.
        store: String,
        /// The holder, for people: process id, and since when.
        holder: String,
    },
    /// Another host, with another store, has its logs and components in the same folder.
    #[error(
        "the state folder {folder} is in use by {holder}, which has another metadata store; two pipelines cannot share a \
         state folder: set another folder as `state` in `[pipeline]`, or stop that host"
    )]
    StateInUse {
        /// The folder.
        folder: String,
        /// The holder, for people.
        holder: String,
    },
    /// This user may not write a file or folder that has to be written.
    #[error(
        "{path} is read-only here: {why}; {what_next}. Commands that only read records, such as `anacostia runs list`, still work"
    )]
    ReadOnly {
        /// The file or folder.
        path: String,
        /// Why it cannot be written.
        why: String,
        /// What to do about it.
        what_next: &'static str,
    },
    /// The files that this host writes to were moved or removed. The caller stops at once, and
    /// closes nothing.
    #[error(
        "{what} while this host was running, so the host has stopped, because anything that it wrote would be lost; restore the \
         files, or run `anacostia run` again to create new ones"
    )]
    Lost {
        /// What was lost, and how.
        what: String,
    },
    /// Another host has taken the store over, because this one did not say for a while that it is
    /// running. The caller stops at once.
    #[error(
        "another host has taken over {store}: {by}; this host has stopped, because nothing that it writes is kept any more; \
         run `anacostia run` again once the other host has stopped"
    )]
    TakenOver {
        /// Which store.
        store: String,
        /// The other host, for people.
        by: String,
    },
    /// The server has less on record than it had confirmed to this host. The caller stops at once.
    #[error(
        "{store} has less on record than it had confirmed, because its server crashed, or was restored from a backup; this \
         host has stopped, because numbers that it gave would get another meaning; run `anacostia run` again: it goes on \
         from what is on record"
    )]
    Forgotten {
        /// Which store.
        store: String,
    },
    /// The store does not work at the moment: disk full, I/O error, connection lost. A write may
    /// have happened or not: the caller repeats it with the same ids.
    #[error("the metadata store failed to {doing}: {why}")]
    Unavailable {
        /// The operation, which fits "failed to …".
        doing: String,
        /// What went wrong.
        why: String,
    },
    /// A record is invalid, or a newer version wrote it.
    #[error("the metadata store is not readable: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Returns what failed and why, without the name of the store: the log store has these errors
    /// too.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unavailable { doing, why } => format!("failed to {doing}: {why}"),
            other => other.to_string(),
        }
    }
}
