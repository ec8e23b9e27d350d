-- Version 5: a tick belongs to a trigger, which need not be that of a resource.
CREATE TABLE ticks_by_trigger (
    seq INTEGER PRIMARY KEY,
    trigger_name TEXT NOT NULL,
    resource TEXT,
    time INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    run_id BLOB
) STRICT;
INSERT INTO ticks_by_trigger SELECT seq, resource, resource, time, outcome, reason, run_id FROM ticks;
DROP TABLE ticks;
ALTER TABLE ticks_by_trigger RENAME TO ticks;
CREATE INDEX ticks_trigger ON ticks (trigger_name, seq);
