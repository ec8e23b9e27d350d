-- Artifacts that a run was given, so that it works on them again. They stay claimed by the run that
-- claimed them.
CREATE TABLE given (
    run INTEGER NOT NULL,
    artifact INTEGER NOT NULL,
    PRIMARY KEY (run, artifact)
) STRICT, WITHOUT ROWID;

-- The run that this one repeats.
ALTER TABLE runs ADD COLUMN rerun_of BLOB;
