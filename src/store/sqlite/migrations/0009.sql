-- What each condition of a trigger saw and wanted, as JSON.
ALTER TABLE ticks ADD COLUMN conditions TEXT NOT NULL DEFAULT '[]';

-- The names of the triggers that led to a run, as JSON.
ALTER TABLE runs ADD COLUMN fired_by TEXT NOT NULL DEFAULT '[]';
-- The group of artifacts that a run is about.
ALTER TABLE runs ADD COLUMN run_partition TEXT;
-- The event of the end of a run, which orders ends.
ALTER TABLE runs ADD COLUMN ended_seq INTEGER;
CREATE INDEX runs_ended ON runs (state, ended_seq) WHERE ended_seq IS NOT NULL;

-- What each condition of a trigger has accounted for.
CREATE TABLE trigger_marks (
    trigger_name TEXT NOT NULL,
    condition TEXT NOT NULL,
    at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (trigger_name, condition)
) STRICT, WITHOUT ROWID;
