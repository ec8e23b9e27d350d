-- Resources and actions that are paused, also those that the manifest does not have any more.
CREATE TABLE paused_nodes (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    since INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
