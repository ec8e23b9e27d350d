-- What is remembered of attempts whose results others can take, and of each attempt: why it took one or did not, and which attempt has done
-- the work.
CREATE TABLE memories (
    attempt INTEGER PRIMARY KEY,
    action TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    inputs BLOB NOT NULL,
    memory TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX memories_fingerprint ON memories (fingerprint, inputs);
CREATE INDEX memories_action ON memories (action, attempt);
ALTER TABLE attempts ADD COLUMN cache TEXT;
ALTER TABLE attempts ADD COLUMN cached_from BLOB;
