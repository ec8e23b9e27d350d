-- Finds runs by when they were created, how long they took, what led to them, and their params and tags. A run without params pays nothing
-- for these; one that no tag is set on, nothing for tags.
CREATE INDEX runs_created ON runs (created_at);
ALTER TABLE runs ADD COLUMN duration INTEGER;
UPDATE runs SET duration = ended_at - started_at WHERE ended_at IS NOT NULL;
CREATE INDEX runs_duration ON runs (duration, number) WHERE duration IS NOT NULL;

CREATE TABLE run_triggers (
    name TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (name, run)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO run_triggers SELECT j.value, r.number FROM runs r, json_each(r.fired_by) j;

-- What runs were given. A value that is not a text is JSON here.
CREATE TABLE run_params (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (name, value, run)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO run_params
    SELECT j.key, iif(j.type = 'text', j.value, r.params -> j.fullkey), r.number FROM runs r, json_each(r.params) j
    WHERE json_type(r.params) = 'object' AND length(iif(j.type = 'text', j.value, r.params -> j.fullkey)) <= 256;

-- What their actions recorded.
CREATE INDEX params_value ON params (name, value, run) WHERE length(value) <= 256;
CREATE INDEX tags_name_run ON tags (name, run);
CREATE INDEX tags_value ON tags (name, value, run) WHERE length(value) <= 256;
