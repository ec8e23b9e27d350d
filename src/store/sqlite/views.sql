-- The views that `docs/SQL.md` describes, over the tables of the newest version. They are temporary: each connection that is to be
-- queried makes its own, so they are not part of the schema, and need no migration. The functions are in `views.rs`.

CREATE TEMP VIEW runs AS SELECT
    r.number AS run,
    uuid(r.id) AS id,
    r.state,
    r.cause,
    r.fired_by AS triggers,
    r.run_partition AS partition,
    r.params,
    digest(r.revision) AS manifest,
    moment(r.created_at) AS created_at,
    moment(r.started_at) AS started_at,
    moment(r.ended_at) AS ended_at,
    r.duration / 1e6 AS seconds,
    r.reason,
    (SELECT number FROM main.runs WHERE id = r.rerun_of) AS rerun_of
FROM main.runs r;

CREATE TEMP VIEW attempts AS SELECT
    t.run,
    t.action,
    t.number AS attempt,
    uuid(t.id) AS id,
    t.state,
    moment(t.started_at) AS started_at,
    moment(t.ended_at) AS ended_at,
    (t.ended_at - t.started_at) / 1e6 AS seconds,
    digest(t.component) AS component,
    t.error ->> 'code' AS error_code,
    t.error ->> 'message' AS error,
    t.message,
    t.cache,
    uuid(t.cached_from) AS cached_from,
    (t.usage ->> 'cpu_time_us') / 1e6 AS cpu_seconds,
    t.usage ->> 'peak_memory_bytes' AS peak_memory_bytes,
    t.usage ->> 'bytes_read' AS bytes_read,
    t.usage ->> 'bytes_written' AS bytes_written,
    t.usage ->> 'host_calls' AS host_calls
FROM main.attempts t;

CREATE TEMP VIEW artifacts AS SELECT
    uuid(a.id) AS id,
    a.resource,
    a.path,
    a.version,
    a.state,
    digest(a.digest) AS digest,
    a.size,
    a.ended IS NULL AS present,
    a.reason,
    (SELECT number FROM main.runs WHERE id = a.run_id) AS claimed_by,
    t.run AS made_by,
    t.action AS made_by_action,
    moment(a.created_at) AS created_at
FROM main.artifacts a LEFT JOIN main.attempts t ON t.id = a.produced_by;

CREATE TEMP VIEW metrics AS SELECT
    m.run,
    t.action,
    t.number AS attempt,
    m.name,
    m.step,
    m.value,
    moment(m.recorded_at) AS recorded_at
FROM main.metrics m JOIN main.attempts t ON t.seq = m.attempt;

CREATE TEMP VIEW params AS SELECT
    p.run,
    t.action,
    t.number AS attempt,
    p.name,
    p.value,
    moment(p.recorded_at) AS recorded_at
FROM main.params p JOIN main.attempts t ON t.seq = p.attempt;

CREATE TEMP VIEW tags AS SELECT g.run, g.name, g.value, moment(g.recorded_at) AS recorded_at FROM main.tags g;

CREATE TEMP VIEW lineage AS SELECT
    c.run,
    t.action,
    t.number AS attempt,
    c.kind,
    uuid(a.id) AS artifact,
    a.resource,
    a.path,
    a.version,
    digest(a.digest) AS digest,
    c.bytes,
    c.calls
FROM main.accesses c JOIN main.attempts t ON t.seq = c.attempt JOIN main.artifacts a ON a.seq = c.artifact;
