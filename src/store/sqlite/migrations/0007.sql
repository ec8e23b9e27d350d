-- Version 7: a metric may be NaN, which SQLite takes for NULL.
CREATE TABLE metrics_with_nan (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL,
    step INTEGER,
    recorded_at INTEGER NOT NULL
) STRICT;
INSERT INTO metrics_with_nan SELECT seq, run, attempt, name, value, step, recorded_at FROM metrics;
DROP TABLE metrics;
ALTER TABLE metrics_with_nan RENAME TO metrics;
CREATE INDEX metrics_name ON metrics (name, seq);
CREATE INDEX metrics_run ON metrics (run, seq);
CREATE INDEX metrics_run_name ON metrics (run, name, seq);
