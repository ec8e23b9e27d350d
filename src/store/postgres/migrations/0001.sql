-- Version 1. Ids are `uuid`, digests are 32 bytes, times are microseconds since 1970, states are the public words. All texts are compared by
-- their bytes. Lists are paged by a growing number; every list that the trait offers has an index that ends in it.

CREATE TABLE schema_version (
    version bigint NOT NULL
);

-- The counters, in one row. Every transaction that writes locks it first, so transactions follow one another, and none is missing a number.
-- `seq` orders artifacts, `event` events, `run` runs; `token` counts fencing tokens of this epoch. Updates stay in the page of the row.
CREATE TABLE meta (
    one boolean PRIMARY KEY CHECK (one),
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    event bigint NOT NULL,
    run bigint NOT NULL,
    token bigint NOT NULL,
    paused boolean NOT NULL,
    -- The last event that was examined for notifications; none if there never was a receiver.
    notified bigint,
    -- The epoch of the last host that was asked to stop.
    stopping bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO meta VALUES (true, 0, 0, 0, 0, 0, false, NULL, 0);

-- The host that has the store, and until when it does unless it says so again. In a table of its own, because a transaction that writes may
-- take longer than that.
CREATE TABLE host (
    one boolean PRIMARY KEY CHECK (one),
    epoch bigint NOT NULL,
    holder text COLLATE "C",
    until timestamptz
) WITH (fillfactor = 10);
INSERT INTO host VALUES (true, 0, NULL, NULL);

CREATE TABLE revisions (
    digest bytea PRIMARY KEY,
    manifest text COLLATE "C" NOT NULL,
    components text COLLATE "C" NOT NULL,
    registered_at bigint NOT NULL
);

-- An index takes texts of up to about 2,700 bytes, and a path may be longer. So indexes have the beginning of a path, which keeps the order
-- of paths, and what comes after it as a digest, where paths must not be there twice. Queries compare the beginnings, and then the paths.
-- `convert_to` only depends on the encoding of the database, which does not change.
CREATE FUNCTION rest_of(path text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$SELECT CASE WHEN length(path) > 400 THEN sha256(convert_to(substr(path, 401), 'UTF8')) ELSE '' END$$;

-- A version of a path. It came to its path at the sequence `placed` (`seq`, unless it was renamed), and lay there until `ended`. `visible` is
-- the event by which an output was visible at its path; the largest number while the output is committed and not published; none if no
-- attempt has put the version where it lies.
CREATE TABLE artifacts (
    seq bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    resource text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    digest bytea,
    size bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    reason text COLLATE "C",
    run_id uuid,
    produced_by uuid,
    created_at bigint NOT NULL,
    placed bigint NOT NULL,
    ended bigint,
    stamp text COLLATE "C" NOT NULL,
    visible bigint
);
CREATE UNIQUE INDEX artifacts_version ON artifacts (resource, left(path, 400), version, rest_of(path));
CREATE UNIQUE INDEX artifacts_present ON artifacts (resource, left(path, 400), rest_of(path)) WHERE ended IS NULL;
CREATE INDEX artifacts_ended ON artifacts (resource, ended) WHERE ended IS NOT NULL;
CREATE INDEX artifacts_path ON artifacts (left(path, 400), seq);
CREATE INDEX artifacts_resource ON artifacts (resource, seq);
CREATE INDEX artifacts_waiting ON artifacts (resource, state, seq);
CREATE INDEX artifacts_run ON artifacts (run_id, seq) WHERE run_id IS NOT NULL;

-- Where an artifact lay before it was renamed: for the snapshots of runs that began before, and so that a version number of a path is never
-- given twice.
CREATE TABLE old_places (
    resource text COLLATE "C" NOT NULL,
    ended bigint NOT NULL,
    path text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    placed bigint NOT NULL,
    artifact bigint NOT NULL,
    PRIMARY KEY (resource, ended)
);
CREATE INDEX old_places_version ON old_places (resource, left(path, 400), version);

-- How many artifacts of a resource are `new`, and their bytes; the last batch of observations, and how many artifacts it made `new`.
CREATE TABLE waiting (
    resource text COLLATE "C" PRIMARY KEY,
    count bigint NOT NULL,
    bytes bigint NOT NULL,
    batch uuid,
    batch_new bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE artifact_tags (
    tag text COLLATE "C" NOT NULL,
    artifact bigint NOT NULL,
    resource text COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, artifact)
);
CREATE INDEX artifact_tags_artifact ON artifact_tags (artifact, tag);

CREATE TABLE runs (
    number bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    state text COLLATE "C" NOT NULL,
    cause text COLLATE "C" NOT NULL,
    params text COLLATE "C" NOT NULL,
    revision bytea NOT NULL,
    snapshot bigint NOT NULL,
    created_at bigint NOT NULL,
    started_at bigint,
    ended_at bigint,
    reason text COLLATE "C",
    rerun_of uuid,
    -- The names of the triggers that led to it, as JSON.
    fired_by text COLLATE "C" NOT NULL,
    run_partition text COLLATE "C",
    -- The event of its end, which orders ends.
    ended_seq bigint,
    duration bigint,
    -- The last step that no attempt's end caused, and the last retry.
    step uuid,
    retry uuid
);
CREATE INDEX runs_state ON runs (state, number);
CREATE INDEX runs_ended ON runs (state, ended_seq) WHERE ended_seq IS NOT NULL;
CREATE INDEX runs_created ON runs (created_at);
CREATE INDEX runs_duration ON runs (duration, number) WHERE duration IS NOT NULL;

CREATE TABLE run_triggers (
    name text COLLATE "C" NOT NULL,
    run bigint NOT NULL,
    PRIMARY KEY (name, run)
);

-- What runs were given. A value that is not a text is JSON here.
CREATE TABLE run_params (
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    run bigint NOT NULL,
    PRIMARY KEY (name, value, run)
);

-- That an artifact was claimed is said twice: by its state, and by this key, which cannot be there twice.
CREATE TABLE claims (
    artifact_id uuid PRIMARY KEY,
    run bigint NOT NULL
);

-- Artifacts that a run was given. They stay claimed by the run that claimed them.
CREATE TABLE given (
    run bigint NOT NULL,
    artifact bigint NOT NULL,
    PRIMARY KEY (run, artifact)
);

CREATE TABLE run_actions (
    run bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    reason text COLLATE "C",
    attempts bigint NOT NULL,
    tries bigint NOT NULL,
    crashes bigint NOT NULL,
    retry_at bigint,
    skipped_rest boolean NOT NULL,
    PRIMARY KEY (run, name)
) WITH (fillfactor = 70);

CREATE TABLE attempts (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    run bigint NOT NULL,
    action text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint,
    component bytea NOT NULL,
    grants text COLLATE "C" NOT NULL,
    error text COLLATE "C",
    message text COLLATE "C",
    skip boolean NOT NULL DEFAULT false,
    usage text COLLATE "C" NOT NULL,
    log_from_segment bigint NOT NULL,
    log_from_offset bigint NOT NULL,
    log_to_segment bigint,
    log_to_offset bigint,
    epoch bigint NOT NULL,
    token bigint NOT NULL,
    -- The last facts that it recorded.
    facts uuid,
    -- Whether its host was asked to stop.
    stopped boolean NOT NULL DEFAULT false
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX attempts_run ON attempts (run, action, number);

-- What an attempt has committed to publish, until it has done so.
CREATE TABLE intents (
    attempt bigint NOT NULL,
    position bigint NOT NULL,
    file text COLLATE "C" NOT NULL,
    became uuid NOT NULL,
    retrigger boolean NOT NULL,
    PRIMARY KEY (attempt, position)
);

-- What the actions of a run published, under the path that it had then.
CREATE TABLE outputs (
    run bigint NOT NULL,
    resource text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    artifact bigint NOT NULL,
    action text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX outputs_path ON outputs (run, resource, left(path, 400), artifact, action, rest_of(path));

CREATE TABLE accesses (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    attempt bigint NOT NULL,
    artifact bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL,
    calls bigint NOT NULL
);
CREATE INDEX accesses_run ON accesses (run, seq);
CREATE INDEX accesses_artifact ON accesses (artifact, seq);

CREATE TABLE denials (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    attempt bigint NOT NULL,
    call text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    message text COLLATE "C" NOT NULL
);
CREATE INDEX denials_attempt ON denials (attempt, seq);

CREATE TABLE requests (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    attempt bigint NOT NULL,
    method text COLLATE "C" NOT NULL,
    scheme text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    status bigint,
    bytes_sent bigint NOT NULL,
    bytes_received bigint NOT NULL,
    duration_us bigint NOT NULL,
    error text COLLATE "C"
);
CREATE INDEX requests_attempt ON requests (attempt, seq);

CREATE TABLE metrics (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    attempt bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    value double precision NOT NULL,
    step bigint,
    recorded_at bigint NOT NULL
);
CREATE INDEX metrics_name ON metrics (name, seq);
CREATE INDEX metrics_run ON metrics (run, seq);
CREATE INDEX metrics_run_name ON metrics (run, name, seq);

-- Values of at most 256 characters have at most 1,024 bytes here. An index takes no long ones.
CREATE TABLE params (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    attempt bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    recorded_at bigint NOT NULL
);
CREATE UNIQUE INDEX params_attempt ON params (attempt, name);
CREATE INDEX params_name ON params (name, seq);
CREATE INDEX params_run ON params (run, seq);
CREATE INDEX params_run_name ON params (run, name, seq);
CREATE INDEX params_value ON params (name, value, run) WHERE octet_length(value) <= 1024;

CREATE TABLE tags (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    recorded_at bigint NOT NULL
);
CREATE UNIQUE INDEX tags_run_name ON tags (run, name);
CREATE INDEX tags_name ON tags (name, seq);
CREATE INDEX tags_run ON tags (run, seq);
CREATE INDEX tags_name_run ON tags (name, run);
CREATE INDEX tags_value ON tags (name, value, run) WHERE octet_length(value) <= 1024;

CREATE TABLE ticks (
    seq bigint PRIMARY KEY,
    trigger_name text COLLATE "C" NOT NULL,
    resource text COLLATE "C",
    time bigint NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    run_id uuid,
    -- What each condition saw and wanted, as JSON.
    conditions text COLLATE "C" NOT NULL
);
CREATE INDEX ticks_trigger ON ticks (trigger_name, seq);

-- What each condition of a trigger has accounted for.
CREATE TABLE trigger_marks (
    trigger_name text COLLATE "C" NOT NULL,
    condition text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    seq bigint NOT NULL,
    value double precision,
    PRIMARY KEY (trigger_name, condition)
);

CREATE TABLE events (
    seq bigint PRIMARY KEY,
    epoch bigint NOT NULL,
    time bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    v bigint NOT NULL,
    run_id uuid,
    action text COLLATE "C",
    attempt uuid,
    artifact_id uuid,
    data text COLLATE "C" NOT NULL
);
CREATE INDEX events_run ON events (run_id, seq) WHERE run_id IS NOT NULL;

CREATE TABLE cursors (
    resource text COLLATE "C" PRIMARY KEY,
    cursor text COLLATE "C" NOT NULL,
    updated_at bigint NOT NULL
);

-- Notifications, with the state of their delivery.
CREATE TABLE notifications (
    seq bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    cause text COLLATE "C" NOT NULL,
    event bigint,
    run_id uuid,
    run_number bigint,
    resource text COLLATE "C",
    title text COLLATE "C" NOT NULL,
    text text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    error text COLLATE "C",
    created_at bigint NOT NULL,
    ended_at bigint
);
CREATE INDEX notifications_name ON notifications (name, seq);
CREATE INDEX notifications_cause ON notifications (name, cause, resource, seq);
CREATE INDEX notifications_waiting ON notifications (name, seq) WHERE state = 'waiting';

-- Who was told that a resource cannot be reached, until it can be reached again.
CREATE TABLE told_outages (
    resource text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (resource, name)
);

-- Resources and actions that are paused, also those that the manifest does not have any more.
CREATE TABLE paused_nodes (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    reason text COLLATE "C",
    PRIMARY KEY (kind, name)
);

-- The approvals that actions asked for. Of one that is open, nothing is decided, and its action waits.
CREATE TABLE approvals (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    action text COLLATE "C" NOT NULL,
    who text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    until bigint,
    open boolean NOT NULL,
    verdict text COLLATE "C",
    decided_by text COLLATE "C",
    note text COLLATE "C",
    decided_at bigint,
    -- The id of the write that decided.
    write uuid
);
CREATE INDEX approvals_run ON approvals (run, action, seq);
CREATE INDEX approvals_open ON approvals (seq) WHERE open;
