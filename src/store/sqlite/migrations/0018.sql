-- What is remembered of attempts that may spare others, and whether an attempt was spared: why, and which attempt it took its result from.
CREATE TABLE memories (
    seq INTEGER PRIMARY KEY,
    action TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    inputs BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    memory TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX memories_fingerprint ON memories (fingerprint, inputs);
CREATE INDEX memories_action ON memories (action, seq);
ALTER TABLE attempts ADD COLUMN cache TEXT;
ALTER TABLE attempts ADD COLUMN cached_from BLOB;
