"""The bodies of the API, as they are in its OpenAPI document.

`generate_types.py` makes this file: do not edit it. A later version of Anacostia may send members
that are not here.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


#: How an attempt used an artifact.
#:
#: - `read`: It read bytes of it.
#: - `wrote`: It wrote it.
AccessKind = Literal["read", "wrote"]


class ActionNode(TypedDict):
    """An action, as the manifest has it."""

    #: What runs.
    component: Component

    #: What it may use.
    grants: Grants

    #: The named limits that it uses, see `concurrency` of the pipeline.
    uses: list[str]

    #: Its limits.
    limits: Limits

    #: How it is tried again.
    retry: Retry

    #: When it runs, given how those before it ended.
    run_when: RunWhen

    #: The approval that it needs before it starts, if it needs one.
    approval: ApprovalRule | None

    #: Whether its outputs count as new in watched resources, so that they trigger runs.
    retrigger: bool

    #: Its params.
    params: dict[str, Any]

    #: The run that `state` refers to.
    run: RunRef | None


class ActionRecord(TypedDict):
    """What is compared of one action."""

    #: Its state.
    state: ActionState

    #: How many attempts it had.
    attempts: int

    #: The time of all its attempts together, in microseconds.
    took_us: int


#: The state of an action in a run.
#:
#: - `pending`: It waits for the actions before it.
#: - `ready`: It can start as soon as an executor is free.
#: - `running`: An attempt is running.
#: - `retrying`: The last attempt failed; the next one follows at `retry_at`.
#: - `awaiting_approval`: It waits until a person approves or rejects it.
#: - `succeeded`: It has succeeded.
#: - `cached`: It has succeeded without running: its result is that of an earlier attempt, because
#:   nothing that it depends on has changed.
#: - `failed`: It failed permanently.
#: - `skipped`: It is not run, for the given reason.
#: - `cancelled`: It was stopped or never started, because the run was cancelled.
ActionState = Literal[
    "pending",
    "ready",
    "running",
    "retrying",
    "awaiting_approval",
    "succeeded",
    "cached",
    "failed",
    "skipped",
    "cancelled",
]


class AliasMove(TypedDict):
    """A move of an alias to a version. It stays on record."""

    #: Sequence number, for order and paging.
    seq: int

    #: The alias.
    alias: str

    #: The version that it names since then.
    version: int

    #: The version that it named before.
    before: int | None

    #: Whether it was rolled back to an earlier version.
    rolled_back: bool

    #: Who moved it, as given. Absent if an action did.
    by: str | None

    #: Why, as given.
    note: str | None

    #: The run in which an action moved it, if one did.
    run_id: RunId | None

    #: The number of that run.
    run_number: int | None

    #: That action.
    action: str | None

    #: Time of the record.
    at: Timestamp


class Approval(TypedDict):
    """An approval that an action of a run has asked for."""

    #: Who should decide, as the manifest says: a text for people, which nothing enforces.
    who: str

    #: When it was asked for.
    since: Timestamp

    #: When it times out, if it does not wait without end.
    until: Timestamp | None

    #: The decision, once there is one.
    decision: Decision | None


class ApprovalRule(TypedDict):
    """The approval that an action needs."""

    #: Who should decide.
    who: str

    #: How long it waits, in milliseconds; without end if absent.
    timeout_ms: int | None


class Artifact(TypedDict):
    """One version of the content at one path of a resource."""

    #: Its id.
    id: ArtifactId

    #: The resource's name.
    resource: str

    #: Path in the resource; escaped if the artifact is `ignored`.
    path: str

    #: Version number, counted for each path.
    version: int

    #: Digest of the content. Absent if the artifact is `ignored`.
    digest: Digest | None

    #: Size in bytes.
    size: int

    #: Its state.
    state: ArtifactState

    #: Why it is ignored, or was not taken.
    reason: str | None

    #: The run that claimed it.
    run_id: RunId | None

    #: The attempt that wrote it.
    produced_by: AttemptId | None

    #: Time of the record.
    created_at: Timestamp

    #: Its tags, sorted.
    tags: list[str]

    #: Whether this version's content is still at its path, as far as the host knows.
    present: bool


#: Id of an artifact: one version of one path in one resource.
ArtifactId = str


#: The state of an artifact.
#:
#: - `new`: Recorded in a watched resource, and not yet claimed by a run.
#: - `current`: Claimed by a run that has not ended.
#: - `old`: Claimed by a run that has ended.
#: - `superseded`: Replaced before any run claimed it.
#: - `deleted`: Removed before any run claimed it.
#: - `ignored`: Found, but never used as an input, for the given reason.
#: - `published`: Written by an action.
#: - `not_taken`: Written by an action, and not taken by the service that it was for, for the given
#:   reason.
ArtifactState = Literal[
    "new",
    "current",
    "old",
    "superseded",
    "deleted",
    "ignored",
    "published",
    "not_taken",
]


class _Attempt(TypedDict):
    """What is always in `Attempt`."""

    #: Its id.
    id: AttemptId

    #: 1 for the first attempt of the action in the run.
    number: int

    #: Its state.
    state: AttemptState

    #: When it started.
    started_at: Timestamp

    #: When it ended.
    ended_at: Timestamp | None

    #: The component that ran.
    component_digest: Digest

    #: What it could use, for display: `reads`, `writes`, `env` (names), `secrets` (names), `http`,
    #: `limits`.
    grants: dict[str, Any]

    #: Why it failed.
    error: ErrorInfo | None

    #: The message that the action returned on success.
    message: str | None

    #: Why its result was, or was not, taken from an earlier attempt; `null` for an action that the
    #: manifest does not cache, and while it is not known.
    cache: CacheUse | None

    #: What it used.
    usage: Usage

    #: Denied calls, one by one up to a bound.
    denials: list[Denial]

    #: The first network requests, up to a bound. `usage` counts all.
    requests: list[HttpRequest]


class Attempt(_Attempt, total=False):
    """An attempt of an action, and what the host observed of it."""

    #: Why its outputs, which are committed, are not published yet.
    outage: Outage | None

    #: The progress that it reports while it is active.
    progress: Progress | None


#: Id of an attempt.
AttemptId = str


#: The state of an attempt.
#:
#: - `running`: The guest is running.
#: - `publishing`: The guest has ended and the commit point has passed: the host is making the
#:   outputs visible, and the attempt can no longer be stopped.
#: - `succeeded`: It has ended, and its outputs are visible.
#: - `failed`: It returned an error, trapped, or reached a limit.
#: - `timed_out`: It reached its limit of wall time.
#: - `crashed`: The host died while it was running.
#: - `cancelled`: The run was cancelled, or the host was stopped and handed the attempt back.
AttemptState = Literal[
    "running",
    "publishing",
    "succeeded",
    "failed",
    "timed_out",
    "crashed",
    "cancelled",
]


class AwaitingApproval(TypedDict):
    """An action of a run that waits for approval."""

    #: The run.
    run_id: RunId

    #: The run's number.
    run_number: int

    #: The action.
    action: str

    #: What it asks for.
    approval: Approval


class CacheUse(TypedDict):
    """Why the result of an attempt was, or was not, taken from an earlier one."""

    #: The reason, for people.
    reason: str

    #: The earlier attempt, which has done the work. It may have been removed since.
    attempt_id: AttemptId | None


class _Component(TypedDict):
    """What is always in `Component`."""

    #: Its file, as written in the manifest.
    path: str | None

    #: Its digest, once it is loaded.
    digest: Digest | None

    #: Names of its imports.
    imports: list[str]

    #: Whether it has functions that are called before and after each attempt: `interface hooks`.
    hooks: bool

    #: Whether it is a command: a program that exports `wasi:cli/run` and no `action`.
    command: bool


class Component(_Component, total=False):
    """A WebAssembly component."""

    #: Its imports and exports with their types, as WIT: in the answer about one node, if WIT can
    #: say them.
    wit: str | None


class _ComponentDiff(TypedDict):
    """What is always in `ComponentDiff`."""

    #: The action.
    action: str

    #: Whether both are the same.
    same: bool


class ComponentDiff(_ComponentDiff, total=False):
    """The component of an action in both runs."""

    #: Its digest in the first run.
    a: Digest | None

    #: Its digest in the second run.
    b: Digest | None


class ComponentDiffs(TypedDict):
    """What differs, then what is equal, each in order."""

    #: The items.
    items: list[ComponentDiff]

    #: How many differ, listed or not.
    different: int

    #: How many are equal, listed or not.
    equal: int

    #: How many are left out because the list would be too long.
    left_out: int


class _ConditionSeen(TypedDict):
    """What is always in `ConditionSeen`."""

    #: Its key in the manifest, such as `min_artifacts` or `cron`.
    condition: str

    #: What it waits for, such as `3` or `0 6 * * 1-5 Europe/Berlin`.
    wanted: str

    #: What it saw, for display.
    seen: str

    #: Whether it is met.
    met: bool


class ConditionSeen(_ConditionSeen, total=False):
    """What one condition of a trigger saw, and what it wanted."""

    #: For `all` and `any`: the conditions inside.
    conditions: list[ConditionSeen]


class Decision(TypedDict):
    """The decision about an approval. It never changes."""

    #: The verdict.
    verdict: Verdict

    #: Who decided, as given: there are no accounts that could prove it.
    by: str | None

    #: Why, as given.
    note: str | None

    #: When it was recorded.
    at: Timestamp


class DecisionRequest(TypedDict, total=False):
    """The body of a decision. An empty body counts as an empty object."""

    #: Who decides; an unchecked text.
    by: str | None

    #: Why.
    note: str | None


class Denial(TypedDict):
    """A call that the grants did not allow."""

    #: The capability, such as `resources.create`.
    call: str

    #: The target of the call, escaped.
    target: str

    #: The error message that the guest received.
    message: str


class DiffRun(TypedDict):
    """One of the two runs."""

    #: Its id.
    id: RunId

    #: Its number.
    number: int

    #: Its state.
    state: RunState

    #: Why it started.
    trigger: str

    #: When it was created.
    created_at: Timestamp

    #: The time from its start to its end, in microseconds; `null` until it has ended.
    took_us: int | None

    #: The kinds of records of which there were too many to compare, such as `inputs`.
    incomplete: list[str]


#: The SHA-256 of some bytes (FIPS 180-4). Its text form is `sha256:` and 64 lower-case hexadecimal
#: digits.
Digest = str


#: What may be lost in a power cut. If only the process dies, neither setting loses anything.
#:
#: - `normal`: The store stays consistent, but the last commits may be lost; their work is then
#:   repeated.
#: - `full`: No commit is lost: the store and the resources sync what they write.
Durability = Literal["normal", "full"]


#: A dependency: data flows from one node to the other.
Edge = TypedDict(
    "Edge",
    {
        "from": "str",
        "to": "str",
    },
)


#: A host and a port, such as `api.example.com:443`, `127.0.0.1:8080` or `[::1]:9000`.
Endpoint = str


class ErrorInfo(TypedDict):
    """Why an attempt or a call of it failed. The same three fields as `error` in the WIT package.
    """

    #: A code for programs, such as `denied`, `changed`, `limit` or `memory_limit`.
    code: str

    #: For people: what failed, where, why, and what to do next. Secrets are masked.
    message: str

    #: Whether a retry may succeed.
    retryable: bool


class _Event(TypedDict):
    """What is always in `Event`."""

    #: Sequence number: starts at 1, without gaps, in the order of commits.
    seq: int

    #: The store's epoch.
    epoch: int

    #: Time of the event.
    time: Timestamp

    #: Type of the event.
    type: EventKind

    #: Version of the format of `data` for this type.
    v: int

    #: Further data, which `type` describes.
    data: dict[str, Any]


class Event(_Event, total=False):
    """One thing that happened."""

    #: The related action.
    action: str | None

    #: The related artifact.
    artifact_id: ArtifactId | None

    #: The related attempt.
    attempt: AttemptId | None

    #: The related run.
    run_id: RunId | None


#: The type of an event.
#:
#: - `host_started`: A host opened the store. `data`: `version`, `pid`.
#: - `revision_registered`: A manifest became active. `data`: `revision`.
#: - `artifact_recorded`: An artifact was recorded as new. `data`: `resource`, `path`, `version`,
#:   `digest`, `size`.
#: - `artifact_ignored`: A file was ignored. `data`: `resource`, `path`, `reason`.
#: - `artifact_superseded`: An artifact was replaced before any run claimed it. `data`: `resource`,
#:   `path`, `version`.
#: - `artifact_deleted`: The content at a path was removed. `data`: `resource`, `path`, `version`.
#: - `artifact_renamed`: An artifact was moved to another path. `data`: `resource`, `from`, `path`,
#:   `version`.
#: - `artifact_published`: An attempt's output was committed. `data`: `resource`, `path`, `version`,
#:   `digest`, `size`.
#: - `artifact_not_taken`: A service did not take a committed output, so it is at its path no more.
#:   `data`: `resource`, `path`, `version`, `reason`.
#: - `run_created`: A run was created, and its inputs were claimed. `data`: `number`, `trigger`,
#:   `inputs` (count).
#: - `run_state`: A run's state changed. `data`: `number`, `state`, `reason`, and `retried` (true)
#:   if the run had ended and was retried.
#: - `action_state`: The state of an action in a run changed. `data`: `state`, `reason`.
#: - `approval_requested`: An action waits for approval. `data`: `number` (of the run), `who`,
#:   `until`.
#: - `approval_decided`: An approval was decided. `data`: `number` (of the run), `verdict`, `by`,
#:   `note`.
#: - `attempt_started`: An attempt started. `data`: `number`.
#: - `attempt_publishing`: An attempt's guest ended, and the commit point passed. `data`: `outputs`
#:   (count).
#: - `attempt_ended`: An attempt ended. `data`: `state`, `error`.
#: - `facts_recorded`: Metrics, params or tags were recorded. `data`: the count of each.
#: - `paused`: The pipeline was paused. No `data`.
#: - `resumed`: The pipeline was resumed. No `data`.
#: - `node_paused`: A resource or an action was paused, or is paused for another reason. `data`:
#:   `type`, `name`, `reason`.
#: - `node_resumed`: A resource or an action was resumed. `data`: `type`, `name`.
#: - `model_version_registered`: An artifact became a version of a model. `data`: `model`,
#:   `version`, `resource`, `path`, `by`.
#: - `alias_moved`: An alias of a model was moved to a version. `data`: `model`, `alias`, `version`,
#:   `before` (the version that it named), `rolled_back`, `by`.
#: - `model_card_changed`: A model has another card. `data`: `model`.
EventKind = Literal[
    "host_started",
    "revision_registered",
    "artifact_recorded",
    "artifact_ignored",
    "artifact_superseded",
    "artifact_deleted",
    "artifact_renamed",
    "artifact_published",
    "artifact_not_taken",
    "run_created",
    "run_state",
    "action_state",
    "approval_requested",
    "approval_decided",
    "attempt_started",
    "attempt_publishing",
    "attempt_ended",
    "facts_recorded",
    "paused",
    "resumed",
    "node_paused",
    "node_resumed",
    "model_version_registered",
    "alias_moved",
    "model_card_changed",
]


class _FileDiff(TypedDict):
    """What is always in `FileDiff`."""

    #: The resource.
    resource: str

    #: The path.
    path: str

    #: The action that wrote it; `null` for an input.
    action: str | None


class FileDiff(_FileDiff, total=False):
    """An input or an output at one path."""

    #: The version in the first run.
    a: FileVersion | None

    #: The version in the second run.
    b: FileVersion | None


class FileDiffs(TypedDict):
    """What differs, then what is equal, each in order."""

    #: The items.
    items: list[FileDiff]

    #: How many differ, listed or not.
    different: int

    #: How many are equal, listed or not.
    equal: int

    #: How many are left out because the list would be too long.
    left_out: int


class FileVersion(TypedDict):
    """A version of a file."""

    #: The artifact.
    artifact_id: ArtifactId

    #: Its version.
    version: int

    #: Its digest, if it is known.
    digest: Digest | None

    #: Its size in bytes.
    size: int


class Freed(TypedDict):
    """What was removed, or would be."""

    #: Whether nothing was removed.
    dry_run: bool

    #: Records of old runs.
    records: FreedRecords

    #: Stored components.
    components: FreedFiles

    #: Segments of the log.
    logs: FreedFiles

    #: Compiled code.
    compiled_code: FreedFiles


class FreedFiles(TypedDict):
    """How many files, and their bytes."""

    #: Number of files.
    files: int

    #: Their size.
    bytes: int


class FreedRecords(TypedDict):
    """How many records of old runs."""

    #: Runs with all that belongs to them.
    runs: int

    #: Runs that stay for the sake of lineage, and lose their metrics, recorded params, network
    #: requests and denied calls.
    trimmed_runs: int

    #: Attempts.
    attempts: int

    #: Reads and writes of artifacts.
    accesses: int

    #: Metrics.
    metrics: int

    #: Params that actions recorded.
    params: int

    #: Tags of runs.
    tags: int

    #: Denied calls.
    denials: int

    #: Network requests.
    requests: int


class GcRequest(TypedDict, total=False):
    """The body of a request to free disk space. An empty body counts as an empty object."""

    #: Whether to remove nothing, and only say what would be removed.
    dry_run: bool


class Grants(TypedDict):
    """What an action may use."""

    #: Resources that it may read.
    reads: list[str]

    #: Resources that it may write to.
    writes: list[str]

    #: Names of its environment variables.
    env: list[str]

    #: Names of its secrets.
    secrets: list[str]

    #: Names of secrets that the host puts into a header of requests. They are not visible to the
    #: action.
    header_secrets: list[str]

    #: Hosts that it may send requests to.
    http: list[Endpoint]


class GroupSeen(TypedDict):
    """A group of artifacts that waits."""

    #: Its name, such as `day=2026-03-01`.
    name: str

    #: The number of its artifacts.
    count: int

    #: What it waits for; absent if its conditions are met.
    waits_for: str | None


class Host(TypedDict):
    """The host, which runs the pipeline."""

    #: Its version.
    version: str

    #: When it started.
    started_at: Timestamp

    #: How many hosts have opened the store, this one included.
    epoch: int

    #: The sequence number of the newest event.
    newest_event: int

    #: Whether all parts of it are ready.
    ready: bool

    #: Why the host is not ready.
    reasons: list[str]

    #: What people should know about a host that is ready, such as that files grow.
    warnings: list[str]


class HttpRequest(TypedDict):
    """A request that an attempt made through `wasi:http`. Texts are escaped, truncated, and without
    secrets.
    """

    #: The method, such as `GET`.
    method: str

    #: `http` or `https`.
    scheme: str

    #: The host and the port.
    authority: str

    #: The path without its query, because queries may contain keys.
    path: str

    #: Its result.
    outcome: RequestOutcome

    #: The status of the answer, if there was one.
    status: int | None

    #: Bytes of the request's body that were handed to the network.
    bytes_sent: int

    #: Bytes of the answer's body that the guest read.
    bytes_received: int

    #: From the call to the end of the answer by the monotonic clock, in microseconds.
    duration_us: int

    #: Why it was denied or failed.
    error: str | None


class Input(Artifact):
    """An input of a run."""

    #: Whether a person gave it to the run. Otherwise the run has claimed it.
    given: bool


#: When a run starts, if several resources are watched.
Join = Literal["all", "any"]


class Limits(TypedDict):
    """The limits of an attempt."""

    #: Memory, in bytes.
    memory_bytes: int

    #: Time on a CPU, in milliseconds.
    cpu_ms: int

    #: Time from start to end, in milliseconds.
    wall_ms: int

    #: Bytes that it may write to resources.
    output_bytes: int

    #: Bytes of log lines.
    log_bytes: int

    #: Things that it may have open at once.
    handles: int

    #: Different names of metrics.
    metric_names: int

    #: Bytes of the bodies of its requests and their answers.
    http_body_bytes: int

    #: Network requests.
    http_requests: int

    #: Time that it may wait for answers, in milliseconds.
    http_wait_ms: int


class Lineage(TypedDict):
    """The part of the lineage around one artifact. Attempts and artifacts are the nodes of the
    graph, and each read or write of an artifact by an attempt is an edge.
    """

    #: The artifact in the middle.
    artifact: ArtifactId

    #: How many attempts are at most between that artifact and one at the end.
    depth: int

    #: Whether the graph goes on, because of `depth` or of another bound.
    more: bool

    #: The artifacts, that in the middle first.
    artifacts: list[Artifact]

    #: The attempts that used them.
    attempts: list[LineageAttempt]

    #: Who used what.
    edges: list[LineageLink]


class LineageAttempt(TypedDict):
    """An attempt in a lineage."""

    #: Its id.
    id: AttemptId

    #: Its run.
    run_id: RunId

    #: The run's number.
    run_number: int

    #: Its action.
    action: str


class LineageEdge(TypedDict):
    """The record that an attempt used an artifact."""

    #: The action.
    action: str

    #: The attempt.
    attempt_id: AttemptId

    #: How it used the artifact.
    kind: AccessKind

    #: The artifact's id.
    artifact_id: ArtifactId

    #: Number of bytes, over all calls.
    bytes: int

    #: The artifact.
    artifact: Artifact


class LineageLink(TypedDict):
    """An edge of a lineage."""

    #: The attempt.
    attempt: AttemptId

    #: The artifact that it used.
    artifact: ArtifactId

    #: How it used the artifact.
    kind: AccessKind

    #: Bytes in all calls.
    bytes: int


class Loaded(TypedDict):
    """What the host has loaded: runs that start now use it. The files may have changed since."""

    #: The digest of the manifest.
    manifest: Digest

    #: The digests of the components, by action; that of a trigger by `trigger NAME`.
    components: dict[str, Digest]


class _Log(TypedDict):
    """What is always in `Log`."""

    #: The items of this page.
    items: list[LogLine]

    #: Cursor of the next page. A run that has not ended always has one.
    next_cursor: str | None


class Log(_Log, total=False):
    """A page of the log of a run."""

    #: The attempts on this page some of whose lines have been removed.
    removed: list[AttemptId]


#: The level of a line.
#:
#: - `debug`: Details for debugging.
#: - `info`: Normal operation.
#: - `warn`: A possible problem.
#: - `error`: A failure.
LogLevel = Literal["debug", "info", "warn", "error"]


class _LogLine(TypedDict):
    """What is always in `LogLine`."""

    #: Time of the line.
    t: Timestamp

    #: The action.
    action: str

    #: The attempt.
    attempt: AttemptId

    #: Line number within the attempt, from 1.
    n: int

    #: Its level.
    level: LogLevel

    #: Its source.
    stream: LogStream

    #: One line, with secrets masked and control characters escaped.
    text: str


class LogLine(_LogLine, total=False):
    """A line of the log of a run."""

    #: Structured fields of the line.
    fields: dict[str, Any]


#: The source of a line.
#:
#: - `log`: The `log` interface.
#: - `stdout`: Standard output.
#: - `stderr`: Standard error.
#: - `host`: The host, with a message about the attempt.
LogStream = Literal["log", "stdout", "stderr", "host"]


class Metric(TypedDict):
    """A recorded metric."""

    #: Sequence number, for order and paging.
    seq: int

    #: The run.
    run_id: RunId

    #: The run's number.
    run_number: int

    #: The action.
    action: str

    #: The attempt.
    attempt_id: AttemptId

    #: Whether that attempt succeeded.
    succeeded: bool

    #: Name of the metric.
    name: str

    #: Any double. Negative zero becomes zero.
    value: Number

    #: Position on the curve.
    step: int | None

    #: Time of the record.
    recorded_at: Timestamp


class _MetricDiff(TypedDict):
    """What is always in `MetricDiff`."""

    #: The action that recorded it.
    action: str

    #: Its name.
    name: str

    #: The second value minus the first, if both are finite.
    change: Number | None

    #: The change in per cent of the absolute first value, which is not zero.
    change_percent: Number | None

    #: Whether both are the same.
    same: bool


class MetricDiff(_MetricDiff, total=False):
    """A metric of both runs."""

    #: Its last value in the first run.
    a: Number | None

    #: Its last value in the second run.
    b: Number | None


class MetricDiffs(TypedDict):
    """What differs, then what is equal, each in order."""

    #: The items.
    items: list[MetricDiff]

    #: How many differ, listed or not.
    different: int

    #: How many are equal, listed or not.
    equal: int

    #: How many are left out because the list would be too long.
    left_out: int


class Model(TypedDict):
    """A registered model."""

    #: Its name.
    name: str

    #: When it was registered.
    created_at: Timestamp

    #: The number of its newest version; 0 if it has none.
    newest_version: int

    #: Its aliases, by name.
    aliases: list[ModelAlias]


class ModelAlias(TypedDict):
    """A name for one version of a model at a time, such as `production`."""

    #: The name.
    alias: str

    #: The version that it names.
    version: int

    #: The artifact of that version.
    artifact_id: ArtifactId

    #: Since when it names that version.
    since: Timestamp

    #: The version that it names again after a rollback, if it has named another one.
    rollback_to: int | None


class ModelDetail(TypedDict):
    """A registered model, with what describes it."""

    #: Its name.
    name: str

    #: When it was registered.
    created_at: Timestamp

    #: The number of its newest version; 0 if it has none.
    newest_version: int

    #: Its aliases, by name.
    aliases: list[ModelAlias]

    #: What it is for and how far it can be trusted, in Markdown.
    card: str | None


class ModelRequest(TypedDict, total=False):
    """The body of `PUT /api/v1/models/{name}`."""

    #: What the model is for and how far it can be trusted, in Markdown. Replaces the card on
    #: record; without it the card stays.
    card: str | None


class ModelVersion(TypedDict):
    """A version of a model: an artifact, which never changes."""

    #: Its number, counted for each model from 1.
    version: int

    #: The artifact.
    artifact: Artifact

    #: The run that wrote the artifact, if one did.
    run_id: RunId | None

    #: The number of that run.
    run_number: int | None

    #: The action that wrote it.
    action: str | None

    #: Time of the record.
    registered_at: Timestamp

    #: Who registered it, as given. Absent if the action that wrote it did.
    by: str | None

    #: What is to be known about it, as given.
    note: str | None


class ModelVersionRequest(TypedDict, total=False):
    """The body of `POST /api/v1/models/{name}/versions`."""

    #: The artifact that becomes a version.
    artifact_id: ArtifactId | None

    #: Who registers it; an unchecked text.
    by: str | None

    #: What is to be known about it.
    note: str | None


class NodeHead(TypedDict):
    """What all kinds of node have."""

    #: Its name in the manifest; `metadata_store` for the store.
    name: str

    #: Its kind.
    type: NodeType

    #: For a watched resource: `starting watching scanning unreachable reconciling`; for another:
    #: `unwatched`, or `unreachable` while outputs cannot be published there. For an action: its
    #: state in the newest run, or `idle` without a run. For the store: `ready`.
    state: str

    #: Why it is in that state, if that is not obvious.
    reason: str | None

    #: Since when and why it is paused, if it is.
    paused: Paused | None

    #: The resources and actions before it.
    after: list[str]


class Node(NodeHead, total=False):
    """A node of the graph. It has one of `store`, `resource` and `action`."""

    #: Of an action.
    action: ActionNode | None

    #: Of a resource.
    resource: ResourceNode | None

    #: Of the metadata store.
    store: StoreNode | None


#: The kind of a node that can be paused.
#:
#: - `resource`: A resource: what arrives in it is recorded and waits, and no run claims it.
#: - `action`: An action: no attempt of it starts.
NodeKind = Literal["resource", "action"]


class NodePause(TypedDict):
    """A resource or an action, and its pause."""

    #: Its kind.
    type: NodeKind

    #: Its name.
    name: str

    #: Since when and why it is paused, if it is.
    paused: Paused | None


#: Which kind of node it is.
NodeType = Literal["metadata_store", "resource", "action"]


class Notification(TypedDict):
    """One message to one receiver, and the state of its delivery."""

    #: Its id. Receivers recognise a repeated delivery by it.
    id: NotificationId

    #: The receiver: NAME of `[notify.NAME]`.
    name: str

    #: The kind of the receiver: `webhook`, `email` or `slack`.
    channel: str

    #: Why it is sent.
    cause: NotifyCause

    #: The event that caused it, if one did.
    event: int | None

    #: The run that it is about.
    run_id: RunId | None

    #: The number of that run.
    run_number: int | None

    #: The resource that it is about.
    resource: str | None

    #: What happened, in one line.
    title: str

    #: The message, in several lines.
    text: str

    #: The state of the delivery.
    state: NotificationState

    #: How often it was sent, with or without success.
    attempts: int

    #: Why the last attempt failed.
    error: str | None

    #: When it was recorded.
    created_at: Timestamp

    #: When it was delivered or given up.
    ended_at: Timestamp | None


#: Id of a notification.
NotificationId = str


#: The state of a delivery.
#:
#: - `waiting`: Not delivered yet: it is sent, or sent again.
#: - `delivered`: The receiver took it.
#: - `given_up`: It is not sent any more; `error` says why.
NotificationState = Literal["waiting", "delivered", "given_up"]


#: Why a notification is sent.
#:
#: - `run_failed`: A run failed.
#: - `run_succeeded`: A run succeeded.
#: - `awaiting_approval`: An action waits for approval.
#: - `nothing_new`: No watched resource has received a new artifact for some time, or one of them
#:   has not.
#: - `resource_unreachable`: A resource that is watched, or that outputs are published to, cannot be
#:   reached.
NotifyCause = Literal[
    "run_failed",
    "run_succeeded",
    "awaiting_approval",
    "nothing_new",
    "resource_unreachable",
]


#: A double. JSON has no number for one that is not finite: it is a word.
Number = float


class Outage(TypedDict):
    """Why the outputs of an attempt, which are committed, are not published yet. The host goes on
    trying.
    """

    #: The resource that does not take them.
    resource: str

    #: Why the last try has failed.
    reason: str

    #: How often this host has tried.
    tries: int

    #: When the first try failed.
    since: Timestamp


class Param(TypedDict):
    """A recorded param."""

    #: Sequence number, for order and paging.
    seq: int

    #: The run.
    run_id: RunId

    #: The action.
    action: str

    #: The attempt.
    attempt_id: AttemptId

    #: Whether that attempt succeeded.
    succeeded: bool

    #: The name.
    name: str

    #: The value.
    value: str

    #: Time of the record.
    recorded_at: Timestamp


class _ParamDiff(TypedDict):
    """What is always in `ParamDiff`."""

    #: The action that recorded it; `null` if the runs were given it.
    action: str | None

    #: Its name.
    name: str

    #: Whether both are the same.
    same: bool


class ParamDiff(_ParamDiff, total=False):
    """A param of both runs."""

    #: Its value in the first run.
    a: Any

    #: Its value in the second run.
    b: Any


class ParamDiffs(TypedDict):
    """What differs, then what is equal, each in order."""

    #: The items.
    items: list[ParamDiff]

    #: How many differ, listed or not.
    different: int

    #: How many are equal, listed or not.
    equal: int

    #: How many are left out because the list would be too long.
    left_out: int


class Pause(TypedDict):
    """A resource or an action that is paused."""

    #: Its kind.
    type: NodeKind

    #: Its name. The manifest may have lost it since.
    name: str

    #: Since when it is paused.
    since: Timestamp

    #: Why, as the person who paused it has written.
    reason: str | None


class PauseRequest(TypedDict, total=False):
    """The body of a request to pause. An empty body counts as an empty object."""

    #: Why, for people: at most 1,000 bytes.
    reason: str | None


class Paused(TypedDict):
    """Since when and why something is paused."""

    #: Since when.
    since: Timestamp

    #: Why, as the person who paused it has written.
    reason: str | None


class Pending(TypedDict):
    """Count of the `new` artifacts of a watched resource."""

    #: Number of artifacts.
    count: int

    #: Total size in bytes.
    bytes: int

    #: When the oldest was recorded.
    oldest_at: Timestamp | None

    #: When the newest was recorded.
    newest_at: Timestamp | None


class Pipeline(TypedDict):
    """The graph, and the state of the host."""

    #: Its name in the manifest.
    name: str

    #: `running`, or `paused` if nothing new starts.
    state: PipelineState

    #: The resources and actions that are paused, including those that the manifest in force does
    #: not have.
    paused_nodes: list[Pause]

    #: When a run starts, if several resources are watched.
    join: Join

    #: Most runs at once.
    max_concurrent_runs: int

    #: Most attempts at once.
    max_concurrent_actions: int

    #: How much of each named limit is used.
    concurrency: dict[str, SlotUse]

    #: Params of the pipeline.
    params: dict[str, Any]

    #: The metadata store, the resources and the actions.
    nodes: list[NodeHead]

    #: The dependencies that `after` declares.
    edges: list[Edge]

    #: What new runs use.
    loaded: Loaded

    #: The host that answers.
    host: Host


#: Whether triggers start runs.
PipelineState = Literal["running", "paused"]


class PipelineStatus(TypedDict):
    """The state of the pipeline."""

    #: Whether triggers start runs.
    state: PipelineState


class ProblemAdvice(TypedDict, total=False):
    """What some problems say besides."""

    #: What is allowed instead.
    allowed: list[str] | None

    #: What was probably meant.
    did_you_mean: str | None

    #: The parameter whose value is invalid.
    parameter: str | None

    #: Why the host is not ready.
    reasons: list[str] | None


class Problem(ProblemAdvice):
    """What is wrong with a request (RFC 9457)."""

    #: What kind of problem it is, for programs: `urn:anacostia:problem:` and a word.
    type: str

    #: The kind, for people.
    title: str

    #: The status of the answer.
    status: int

    #: What is wrong with this request, and what to do about it.
    detail: str


class Progress(TypedDict):
    """What an attempt reports while it is active."""

    #: From 0 to 1.
    fraction: float

    #: What it does, for people.
    message: str


class _PromoteRequest(TypedDict):
    """What is always in `PromoteRequest`."""

    #: The alias, which is created if the model has none of this name.
    alias: str

    #: The number of the version that it names from now on.
    version: int


class PromoteRequest(_PromoteRequest, total=False):
    """The body of `POST /api/v1/models/{name}/promote`."""

    #: Who moves it; an unchecked text.
    by: str | None

    #: Why.
    note: str | None


#: The result of a request.
#:
#: - `answered`: The server answered, with any status, and the guest read the answer as far as it
#:   needed.
#: - `denied`: The grants did not allow it; nothing was sent.
#: - `failed`: It failed in transit, or reached a limit.
#: - `unfinished`: The attempt ended before the answer did.
RequestOutcome = Literal["answered", "denied", "failed", "unfinished"]


class Reset(TypedDict):
    """The data of a `reset` message: events were missed. What they are about must be fetched again.
    """

    #: Why they were missed.
    reason: str

    #: The sequence number of the newest event.
    newest: int


class _ResourceNode(TypedDict):
    """What is always in `ResourceNode`."""

    #: Its kind, such as `folder`.
    kind: str

    #: Where it is, as written in the manifest.
    path: str | None

    #: Patterns of the paths that are artifacts.
    include: list[str]

    #: Patterns of the paths that are none.
    exclude: list[str]

    #: Patterns of paths that are not looked at: those of the manifest, or the default.
    ignore: list[str]

    #: Whether it is watched.
    watch: bool

    #: Its trigger, if it is watched.
    trigger: Trigger | None

    #: The artifacts that wait for a run, if it is watched.
    pending: Pending | None

    #: The actions that may read it.
    read_by: list[str]

    #: The actions that may write to it.
    written_by: list[str]


class ResourceNode(_ResourceNode, total=False):
    """A resource, as the manifest has it, and what waits in it."""

    #: Paths that were found and cannot be recorded yet, if there are any.
    waiting: WaitingPaths | None


class Retry(TypedDict):
    """How an action is tried again."""

    #: How often it is tried at most.
    max_attempts: int

    #: The wait after the first failure, in milliseconds.
    backoff_ms: int

    #: The longest wait, in milliseconds.
    max_backoff_ms: int


#: The body of `POST /api/v1/runs/{id}/retry`. An empty body counts as an empty object.
RetryRequest = TypedDict(
    "RetryRequest",
    {
        "from": "str | None",
    },
)


class _RollbackRequest(TypedDict):
    """What is always in `RollbackRequest`."""

    #: The alias.
    alias: str


class RollbackRequest(_RollbackRequest, total=False):
    """The body of `POST /api/v1/models/{name}/rollback`."""

    #: Who moves it; an unchecked text.
    by: str | None

    #: Why.
    note: str | None


class Run(TypedDict):
    """A run in a list: the fields of its own record. Inputs and actions are at `/runs/{id}`."""

    #: Its permanent id.
    id: RunId

    #: Its number, from 1, in the order of creation.
    number: int

    #: Its state.
    state: RunState

    #: Why it failed or was cancelled.
    reason: str | None

    #: If it failed: the commands that do its work again.
    what_next: str | None

    #: Why it started, for display.
    trigger: str

    #: Params for this run only.
    params: dict[str, Any]

    #: Digest of the manifest that the run uses.
    revision: Digest

    #: When it was created.
    created_at: Timestamp

    #: When its first attempt started.
    started_at: Timestamp | None

    #: When it ended (the last time, if it was retried).
    ended_at: Timestamp | None

    #: The run whose inputs it works on again.
    rerun_of: RunId | None

    #: The triggers that led to it.
    fired_by: list[str]

    #: The group of artifacts that it is about, if its trigger groups them.
    partition: str | None

    #: When its metrics, recorded params, network requests and denied calls were removed, because it
    #: was old and only its lineage was needed.
    trimmed_at: Timestamp | None


class _RunAction(TypedDict):
    """What is always in `RunAction`."""

    #: Its name in the manifest.
    name: str

    #: Its state.
    state: ActionState

    #: Why it is skipped, failed or waiting; or the message of an action that has succeeded.
    reason: str | None

    #: Whether it succeeded by returning `skip`: there was nothing worth doing, and its dependents
    #: are skipped.
    skip: bool

    #: When the next attempt is due, while `retrying`.
    retry_at: Timestamp | None

    #: The approval that it has asked for last, if it has asked for one.
    approval: Approval | None

    #: Its attempts, in the order in which they started.
    attempts: list[Attempt]


class RunAction(_RunAction, total=False):
    """An action of a run."""

    #: Those that it asked for before the run was retried, oldest first.
    earlier_approvals: list[Approval]


class RunDetail(Run):
    """A run with its inputs, actions and attempts."""

    #: Its first inputs, in the order of recording.
    inputs: list[Input]

    #: Number of all inputs.
    inputs_count: int

    #: For `/runs/{id}/inputs?cursor=`, which has the rest; `null` if `inputs` has all.
    inputs_next_cursor: str | None

    #: Its actions, in the order of the manifest.
    actions: list[RunAction]


class RunDiff(TypedDict):
    """The difference between two runs. In every list `a` or `b` is absent where only the other run
    has the item.
    """

    #: The first run.
    a: DiffRun

    #: The second run.
    b: DiffRun

    #: Whether both ran with the same manifest.
    same_manifest: bool

    #: Params that the runs were given, or that their actions recorded.
    params: ParamDiffs

    #: The components that ran.
    components: ComponentDiffs

    #: Inputs that differ.
    inputs: FileDiffs

    #: The last values of metrics, of attempts that succeeded.
    metrics: MetricDiffs

    #: How long the actions took.
    timings: TimingDiffs

    #: Outputs that differ.
    outputs: FileDiffs


#: Id of a run.
RunId = str


class RunRef(TypedDict):
    """A run, by its names."""

    #: Its id.
    id: RunId

    #: Its number.
    number: int


#: The state of a run.
#:
#: - `queued`: Created; nothing has started yet.
#: - `running`: At least one action has started, is ready to start, or waits for approval.
#: - `succeeded`: Every action that had to run succeeded.
#: - `failed`: An action failed permanently.
#: - `cancelling`: Cancellation was requested; attempts are being stopped.
#: - `cancelled`: It ended because cancellation was requested.
RunState = Literal["queued", "running", "succeeded", "failed", "cancelling", "cancelled"]


#: When an action runs, given how those before it ended.
RunWhen = Literal["all_succeeded", "all_done", "any_failed"]


class SlotUse(TypedDict):
    """How much of one limit is used."""

    #: Most attempts at once.
    limit: int

    #: The attempts that use it. Exceeds the limit if that was lowered since they began.
    in_use: int

    #: The actions that wait for it, or for another limit besides.
    waiting: int


class StartRequest(TypedDict, total=False):
    """The body of `PUT /api/v1/runs/{id}`. An empty body counts as an empty object."""

    #: Artifacts that it works on, whichever run claimed them.
    inputs: list[ArtifactId] | None

    #: Params for this run alone. By default those of the run to repeat, or else none.
    params: dict[str, Any] | None

    #: The run whose inputs it works on again: a number or an id. Without it, the run claims what is
    #: new.
    rerun_of: str | None


class Status(TypedDict):
    """That all is well."""

    #: `ok` for the process, `ready` for all parts of the host.
    status: str


class StoreNode(TypedDict):
    """The metadata store."""

    #: Its kind, such as `sqlite`.
    kind: str

    #: What may be lost in a power cut.
    durability: Durability

    #: How many hosts have opened it, this one included.
    epoch: int

    #: The sequence number of the newest event.
    newest_event: int

    #: The sequence number of the oldest event that is kept.
    oldest_event: int


class Tag(TypedDict):
    """A recorded tag of a run."""

    #: Sequence number, for order and paging.
    seq: int

    #: The run.
    run_id: RunId

    #: The name.
    name: str

    #: The value.
    value: str

    #: Time of the record.
    recorded_at: Timestamp


class _Tick(TypedDict):
    """What is always in `Tick`."""

    #: Sequence number, for order and paging; 0 until the store has assigned one.
    seq: int

    #: The trigger's name. The trigger of a watched resource has the resource's name.
    trigger: str

    #: Time of the evaluation.
    time: Timestamp

    #: Its result.
    outcome: TickOutcome

    #: The reason, for display: `3 new artifacts`, `1 of 5 artifacts`, `waits for labels`, `1 of 1
    #: runs active`, `paused`.
    reason: str

    #: The created run, if the outcome is `fired`.
    run_id: RunId | None

    #: Each condition, with what it saw and what it wanted.
    conditions: list[ConditionSeen]


class Tick(_Tick, total=False):
    """One evaluation of a trigger. An evaluation is recorded only if its outcome, its reason or its
    conditions differ from the one before.
    """

    #: The resource whose artifacts it counts, if it counts artifacts.
    resource: str | None


#: The result of one evaluation of a trigger.
#:
#: - `fired`: A run was created.
#: - `held`: The trigger is satisfied, but no run was created, for the given reason.
#: - `not_ready`: The trigger is not yet satisfied.
#: - `error`: The trigger is not satisfied, because a component of it has failed to decide.
TickOutcome = Literal["fired", "held", "not_ready", "error"]


#: A point in time: microseconds since 1970-01-01T00:00:00Z. Its text form is RFC 3339 in UTC with
#: six digits, such as `2026-03-01T12:00:00.000000Z`.
Timestamp = str


class _TimingDiff(TypedDict):
    """What is always in `TimingDiff`."""

    #: The action.
    action: str

    #: The second time minus the first, in microseconds.
    change_us: int | None

    #: The change in per cent of the first time, which is not zero.
    change_percent: Number | None


class TimingDiff(_TimingDiff, total=False):
    """How long an action took in both runs."""

    #: In the first run.
    a: ActionRecord | None

    #: In the second run.
    b: ActionRecord | None


class TimingDiffs(TypedDict):
    """What differs, then what is equal, each in order."""

    #: The items.
    items: list[TimingDiff]

    #: How many differ, listed or not.
    different: int

    #: How many are equal, listed or not.
    equal: int

    #: How many are left out because the list would be too long.
    left_out: int


class Trigger(TypedDict):
    """When a watched resource starts runs."""

    #: How many new artifacts it waits for.
    min_artifacts: int

    #: The most artifacts that one run gets.
    max_artifacts: int | None

    #: How many bytes of new artifacts it waits for.
    min_bytes: int

    #: For how long nothing new may have come, in milliseconds.
    quiet_for_ms: int

    #: How long artifacts wait at most, in milliseconds.
    max_wait_ms: int | None

    #: The pattern that puts artifacts into groups, each of which has its own runs.
    group_by: str | None

    #: Further conditions, each in one line.
    when: list[str]

    #: Whether runs that it led to count for its own conditions.
    retrigger: bool


class _TriggerPreview(TypedDict):
    """What is always in `TriggerPreview`."""

    #: The trigger.
    trigger: str

    #: What would happen now.
    outcome: TickOutcome

    #: Why.
    reason: str

    #: Why no run starts, even if its own conditions are met.
    held: str | None

    #: When time alone would meet its conditions, if they are not met and time alone is enough.
    next_at: Timestamp | None

    #: Each condition, with what it sees and what it wants.
    conditions: list[ConditionSeen]

    #: How many more groups wait.
    more_groups: int

    #: How many new artifacts belong to no group of its `group_by`.
    without_group: int

    #: How many new artifacts are left out of the groups until older ones are claimed, because of
    #: the bound on artifacts in groups.
    beyond: int


class TriggerPreview(_TriggerPreview, total=False):
    """What a trigger would do now, and when it could fire next."""

    #: The group of artifacts that this is about, if its trigger groups them: one that is ready, or
    #: the oldest.
    group: str | None

    #: The groups that wait, that of the oldest artifact first, at most 20.
    groups: list[GroupSeen]

    #: The resource whose trigger it is, if it is the trigger of one.
    resource: str | None


class TriggerRequest(TypedDict, total=False):
    """The body of `POST /api/v1/resources/{name}/trigger`. An empty body counts as an empty object.
    """

    #: Params for this run alone.
    params: dict[str, Any] | None


class Usage(TypedDict):
    """What an attempt used, as measured by the host."""

    #: Peak size of all its linear memories and tables together, in bytes.
    peak_memory_bytes: int

    #: Time on a CPU inside the guest, in microseconds.
    cpu_time_us: int

    #: Time from start to end by the monotonic clock, in microseconds.
    wall_time_us: int

    #: Bytes read from resources.
    bytes_read: int

    #: Bytes written to resources.
    bytes_written: int

    #: Bytes of log lines.
    log_bytes: int

    #: Calls to host functions of `anacostia:pipeline`.
    host_calls: int

    #: Requests through `wasi:http`, including denied ones.
    http_requests: int

    #: Bytes of the bodies of these requests.
    http_bytes_sent: int

    #: Bytes of the bodies of the answers.
    http_bytes_received: int


#: How an approval was decided.
#:
#: - `approved`: A person has approved: the action starts.
#: - `rejected`: A person has rejected: the action has failed.
#: - `timed_out`: Nobody decided in time: the action has failed.
Verdict = Literal["approved", "rejected", "timed_out"]


class WaitingPath(TypedDict):
    """A path that cannot be recorded yet."""

    #: The path, escaped.
    path: str

    #: Why not, for display: a fragment that continues a sentence after "is".
    reason: str

    #: Since when it has been waiting, as far as the watch knows.
    since: Timestamp


class WaitingPaths(TypedDict):
    """Paths that cannot be recorded yet."""

    #: Number of such paths.
    count: int

    #: The first of them.
    items: list[WaitingPath]
