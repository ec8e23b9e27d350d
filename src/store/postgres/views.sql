-- The views that `docs/SQL.md` describes, over the tables of the newest version. They are temporary: each connection that is to be
-- queried makes its own, so they are not part of the schema, and need no migration. `views.rs` puts the name of the schema for `{schema}`.

CREATE FUNCTION pg_temp.moment(bigint) RETURNS text LANGUAGE sql STABLE AS
    $$SELECT to_char(timestamp 'epoch' + $1 * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')$$;

CREATE FUNCTION pg_temp.digest(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'sha256:' || encode($1, 'hex')$$;

CREATE TEMP VIEW runs AS SELECT
    r.number AS run,
    r.id::text AS id,
    r.state,
    r.cause,
    r.fired_by::json AS triggers,
    r.run_partition AS partition,
    r.params::json AS params,
    pg_temp.digest(r.revision) AS manifest,
    pg_temp.moment(r.created_at) AS created_at,
    pg_temp.moment(r.started_at) AS started_at,
    pg_temp.moment(r.ended_at) AS ended_at,
    r.duration::double precision / 1e6 AS seconds,
    r.reason,
    (SELECT number FROM {schema}.runs WHERE id = r.rerun_of) AS rerun_of
FROM {schema}.runs r;

CREATE TEMP VIEW attempts AS SELECT
    t.run,
    t.action,
    t.number AS attempt,
    t.id::text AS id,
    t.state,
    pg_temp.moment(t.started_at) AS started_at,
    pg_temp.moment(t.ended_at) AS ended_at,
    (t.ended_at - t.started_at)::double precision / 1e6 AS seconds,
    pg_temp.digest(t.component) AS component,
    t.error::json ->> 'code' AS error_code,
    t.error::json ->> 'message' AS error,
    t.message,
    t.cache,
    t.cached_from::text AS cached_from,
    (t.usage::json ->> 'cpu_time_us')::double precision / 1e6 AS cpu_seconds,
    (t.usage::json ->> 'peak_memory_bytes')::bigint AS peak_memory_bytes,
    (t.usage::json ->> 'bytes_read')::bigint AS bytes_read,
    (t.usage::json ->> 'bytes_written')::bigint AS bytes_written,
    (t.usage::json ->> 'host_calls')::bigint AS host_calls
FROM {schema}.attempts t;

CREATE TEMP VIEW artifacts AS SELECT
    a.id::text AS id,
    a.resource,
    a.path,
    a.version,
    a.state,
    pg_temp.digest(a.digest) AS digest,
    a.size,
    CASE WHEN a.ended IS NULL THEN 1 ELSE 0 END AS present,
    a.reason,
    (SELECT number FROM {schema}.runs WHERE id = a.run_id) AS claimed_by,
    t.run AS made_by,
    t.action AS made_by_action,
    pg_temp.moment(a.created_at) AS created_at
FROM {schema}.artifacts a LEFT JOIN {schema}.attempts t ON t.id = a.produced_by;

CREATE TEMP VIEW metrics AS SELECT
    m.run,
    t.action,
    t.number AS attempt,
    m.name,
    m.step,
    nullif(m.value, 'NaN') AS value,
    pg_temp.moment(m.recorded_at) AS recorded_at
FROM {schema}.metrics m JOIN {schema}.attempts t ON t.seq = m.attempt;

CREATE TEMP VIEW params AS SELECT
    p.run,
    t.action,
    t.number AS attempt,
    p.name,
    p.value,
    pg_temp.moment(p.recorded_at) AS recorded_at
FROM {schema}.params p JOIN {schema}.attempts t ON t.seq = p.attempt;

CREATE TEMP VIEW tags AS SELECT g.run, g.name, g.value, pg_temp.moment(g.recorded_at) AS recorded_at FROM {schema}.tags g;

CREATE TEMP VIEW lineage AS SELECT
    c.run,
    t.action,
    t.number AS attempt,
    c.kind,
    a.id::text AS artifact,
    a.resource,
    a.path,
    a.version,
    pg_temp.digest(a.digest) AS digest,
    c.bytes,
    c.calls
FROM {schema}.accesses c JOIN {schema}.attempts t ON t.seq = c.attempt JOIN {schema}.artifacts a ON a.seq = c.artifact;
