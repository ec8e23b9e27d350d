-- What is remembered of attempts whose results others can take, and of each attempt: why it took one or did not, and which attempt has done
-- the work.
CREATE TABLE memories (
    attempt bigint PRIMARY KEY,
    action text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    inputs bytea NOT NULL,
    memory text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX memories_fingerprint ON memories (fingerprint, inputs);
CREATE INDEX memories_action ON memories (action, attempt);
ALTER TABLE attempts ADD COLUMN cache text COLLATE "C";
ALTER TABLE attempts ADD COLUMN cached_from uuid;
