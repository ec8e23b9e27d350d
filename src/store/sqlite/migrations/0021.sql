-- The model registry. A version of a model is an artifact. An alias is a tag of the artifact of the version that it names. Each move of an
-- alias stays on record: `was` is the version that it named before, `back` the move to whose version a rollback returns.
CREATE TABLE models (
    name TEXT PRIMARY KEY,
    card TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE model_versions (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    artifact INTEGER NOT NULL,
    resource TEXT NOT NULL,
    who TEXT,
    note TEXT,
    registered_at INTEGER NOT NULL,
    PRIMARY KEY (model, version)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX model_versions_artifact ON model_versions (artifact, model);
CREATE INDEX model_versions_resource ON model_versions (resource, artifact);
CREATE TABLE alias_moves (
    seq INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    was INTEGER,
    back INTEGER,
    rolled_back INTEGER NOT NULL,
    who TEXT,
    note TEXT,
    run_id BLOB,
    run INTEGER,
    action TEXT,
    write BLOB,
    moved_at INTEGER NOT NULL
) STRICT;
CREATE INDEX alias_moves_model ON alias_moves (model, seq);
CREATE TABLE model_aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    move INTEGER NOT NULL,
    PRIMARY KEY (model, alias)
) STRICT, WITHOUT ROWID;
