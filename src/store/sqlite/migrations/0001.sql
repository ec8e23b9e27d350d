-- Version 1. Ids are the 16 bytes of a UUID, digests 32 bytes, times microseconds since 1970, states the public words.
-- Lists are paged newest first by a growing integer; every list that the trait offers has an index that ends in it. There is no index more
-- than that: a run costs what it writes, and it writes a page for each index that it touches.

-- The counters, in one row. `seq` orders artifacts, `event` events, `run` runs. The last two are at least what they say here: what is
-- on record may be ahead of them.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    event INTEGER NOT NULL,
    run INTEGER NOT NULL,
    paused INTEGER NOT NULL
) STRICT;
INSERT INTO meta (one, epoch, seq, event, run, paused) VALUES (1, 0, 0, 0, 0, 0);

CREATE TABLE revisions (
    digest BLOB NOT NULL UNIQUE,
    manifest TEXT NOT NULL,
    components TEXT NOT NULL,
    registered_at INTEGER NOT NULL
) STRICT;

-- A version of a path. It came to its path at the sequence `placed` (`seq`, unless it was renamed), and lay there until `ended`.
CREATE TABLE artifacts (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    resource TEXT NOT NULL,
    path TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest BLOB,
    size INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    run_id BLOB,
    produced_by BLOB,
    created_at INTEGER NOT NULL,
    placed INTEGER NOT NULL,
    ended INTEGER,
    stamp TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX artifacts_version ON artifacts (resource, path, version);
CREATE UNIQUE INDEX artifacts_present ON artifacts (resource, path) WHERE ended IS NULL;
CREATE INDEX artifacts_ended ON artifacts (resource, ended) WHERE ended IS NOT NULL;
CREATE INDEX artifacts_path ON artifacts (path, seq);
CREATE INDEX artifacts_resource ON artifacts (resource, seq);
CREATE INDEX artifacts_waiting ON artifacts (resource, state, seq);
CREATE INDEX artifacts_run ON artifacts (run_id, seq) WHERE run_id IS NOT NULL;

-- Where an artifact lay before it was renamed: for the snapshots of runs that began before, and so that a version number of a path
-- is never given twice.
CREATE TABLE old_places (
    resource TEXT NOT NULL,
    ended INTEGER NOT NULL,
    path TEXT NOT NULL,
    version INTEGER NOT NULL,
    placed INTEGER NOT NULL,
    artifact INTEGER NOT NULL,
    PRIMARY KEY (resource, ended, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX old_places_version ON old_places (resource, path, version);

-- How many artifacts of a resource are `new`, and their bytes.
CREATE TABLE waiting (
    resource TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE artifact_tags (
    tag TEXT NOT NULL,
    artifact INTEGER NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (tag, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_tags_artifact ON artifact_tags (artifact, tag);

CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    params TEXT NOT NULL,
    revision BLOB NOT NULL,
    snapshot INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    reason TEXT
) STRICT;
CREATE INDEX runs_state ON runs (state, number);

-- That an artifact was claimed is said twice: by its state, and by this key, which can not be there twice.
CREATE TABLE claims (
    artifact_id BLOB PRIMARY KEY,
    run INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE run_actions (
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    attempts INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    retry_at INTEGER,
    skipped_rest INTEGER NOT NULL,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    run INTEGER NOT NULL,
    action TEXT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    component BLOB NOT NULL,
    grants TEXT NOT NULL,
    error TEXT,
    message TEXT,
    skip INTEGER NOT NULL,
    usage TEXT NOT NULL,
    log_from_segment INTEGER NOT NULL,
    log_from_offset INTEGER NOT NULL,
    log_to_segment INTEGER,
    log_to_offset INTEGER,
    epoch INTEGER NOT NULL,
    token INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX attempts_run ON attempts (run, action, number);

-- What an attempt has committed to publish, until it has done so.
CREATE TABLE intents (
    attempt INTEGER NOT NULL,
    position INTEGER NOT NULL,
    file TEXT NOT NULL,
    became BLOB NOT NULL,
    retrigger INTEGER NOT NULL,
    PRIMARY KEY (attempt, position)
) STRICT, WITHOUT ROWID;

-- What the actions of a run published, under the path that it had then.
CREATE TABLE outputs (
    run INTEGER NOT NULL,
    resource TEXT NOT NULL,
    path TEXT NOT NULL,
    artifact INTEGER NOT NULL,
    action TEXT NOT NULL,
    PRIMARY KEY (run, resource, path, artifact, action)
) STRICT, WITHOUT ROWID;

CREATE TABLE accesses (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    artifact INTEGER NOT NULL,
    kind TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    calls INTEGER NOT NULL
) STRICT;
CREATE INDEX accesses_run ON accesses (run, seq);

CREATE TABLE denials (
    seq INTEGER PRIMARY KEY,
    attempt INTEGER NOT NULL,
    call TEXT NOT NULL,
    target TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX denials_attempt ON denials (attempt, seq);

CREATE TABLE metrics (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    step INTEGER,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX metrics_name ON metrics (name, seq);
CREATE INDEX metrics_run ON metrics (run, seq);
CREATE INDEX metrics_run_name ON metrics (run, name, seq);

CREATE TABLE params (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX params_attempt ON params (attempt, name);
CREATE INDEX params_name ON params (name, seq);
CREATE INDEX params_run ON params (run, seq);
CREATE INDEX params_run_name ON params (run, name, seq);

CREATE TABLE tags (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tags_run_name ON tags (run, name);
CREATE INDEX tags_name ON tags (name, seq);
CREATE INDEX tags_run ON tags (run, seq);

CREATE TABLE ticks (
    seq INTEGER PRIMARY KEY,
    resource TEXT NOT NULL,
    time INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    run_id BLOB
) STRICT;
CREATE INDEX ticks_resource ON ticks (resource, seq);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    v INTEGER NOT NULL,
    run_id BLOB,
    action TEXT,
    attempt BLOB,
    artifact_id BLOB,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX events_run ON events (run_id, seq) WHERE run_id IS NOT NULL;

CREATE TABLE cursors (
    resource TEXT PRIMARY KEY,
    cursor TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
