-- The approvals that actions asked for. Of one that is open, nothing is decided, and its action waits.
CREATE TABLE approvals (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    action TEXT NOT NULL,
    who TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    open INTEGER NOT NULL,
    verdict TEXT,
    decided_by TEXT,
    note TEXT,
    decided_at INTEGER,
    -- The id of the write that decided.
    write BLOB
) STRICT;
CREATE INDEX approvals_run ON approvals (run, action, seq);
CREATE INDEX approvals_open ON approvals (seq) WHERE open = 1;
