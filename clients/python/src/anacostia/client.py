"""The client."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote

from . import types
from .errors import AnacostiaError
from .items import Items
from .run_id import new_run_id
from .stream import OnReset, follow
from .transfer import download, upload
from .transport import Progress, Transport

T = TypeVar("T")

#: A run: its number, its id, or a dict that a method has returned.
RunLike = int | str | Mapping[str, Any]
#: An artifact: its id, or a dict that a method has returned.
ArtifactLike = str | Mapping[str, Any]

#: The most items of a page.
_PAGE = 1000
#: How long one request waits for the end of a run: less than what a proxy bears.
_WAIT_SECONDS = 20
#: States of a run that has ended.
ENDED = ("succeeded", "failed", "cancelled")


class Client:
    """A pipeline that runs at `url`, such as `http://127.0.0.1:8000`.

    `token` is the token of the pipeline, if it has one; `timeout` how many seconds an answer may
    take; `ssl_context` the trusted certificates, if the system's are not enough. Methods raise
    `AnacostiaError`. Threads may share a client.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout: float = 60.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = Transport(url, token, timeout, ssl_context)
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    # --- Runs -------------------------------------------------------------------------------------

    def runs(
        self, state: str | Sequence[str] | None = None, limit: int | None = None, **filters: object
    ) -> Items[types.Run]:
        """Returns runs, newest first: all, or at most `limit`; all, or those in a state or in one
        of several. Further `filters` are parameters of `GET /api/v1/runs`."""
        states = state if state is None or isinstance(state, str) else ",".join(state)
        return self._items("/api/v1/runs", {"state": states, **filters}, limit)

    def run(self, run: RunLike) -> types.RunDetail:
        """Returns a run with its first inputs, its actions and their attempts."""
        return cast(types.RunDetail, self._get(_run(run)))

    def trigger(
        self,
        params: Mapping[str, Any] | None = None,
        inputs: Sequence[ArtifactLike] | None = None,
        *,
        resource: str | None = None,
        rerun_of: RunLike | None = None,
    ) -> types.Run:
        """Starts a run, and returns it.

        Without more, it works on what is new. `inputs` are artifacts that it works on instead,
        `rerun_of` is a run whose inputs it works on again, and `resource` is the one resource whose
        new artifacts it takes. `params` are for this run alone.
        """
        body: dict[str, Any] = {}
        if params is not None:
            body["params"] = dict(params)
        if resource is not None:
            if inputs is not None or rerun_of is not None:
                raise ValueError("`resource` goes with neither `inputs` nor `rerun_of`: leave one out")
            path = f"/api/v1/resources/{_part(resource)}/trigger"
            return cast(types.Run, self._transport.json("POST", path, body=body))
        if inputs is not None:
            body["inputs"] = [_id(artifact) for artifact in inputs]
        if rerun_of is not None:
            body["rerun_of"] = _id(rerun_of)
        return cast(types.Run, self._transport.json("PUT", f"/api/v1/runs/{new_run_id()}", body=body))

    def wait(self, run: RunLike, timeout: float | None = None) -> types.RunDetail:
        """Waits until a run has ended, however, and returns it. Raises `TimeoutError` if it has not
        within `timeout` seconds; the run goes on. A failed run is no error here: see `state` and
        `reason`."""
        until = None if timeout is None else time.monotonic() + timeout
        most = max(1, min(_WAIT_SECONDS, int(self._timeout / 2))) * 1000
        while True:
            left = most if until is None else int((until - time.monotonic()) * 1000)
            span = max(0, min(most, left))
            found = cast(types.RunDetail, self._get(_run(run), {"wait": f"{span}ms"}))
            if found["state"] in ENDED:
                return found
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"run {found['number']} is {found['state']} after {timeout} s")

    def cancel(self, run: RunLike) -> types.Run:
        """Cancels a run. It ends soon after: see `wait`."""
        return cast(types.Run, self._post(f"{_run(run)}/cancel"))

    def retry(self, run: RunLike, *, from_action: str | None = None) -> types.Run:
        """Retries a run that failed or was cancelled: what did not succeed. With `from_action`, also
        of a run that succeeded: that action and all that come after it run again."""
        body = None if from_action is None else {"from": from_action}
        return cast(types.Run, self._post(f"{_run(run)}/retry", body))

    def approve(
        self, run: RunLike, action: str, *, by: str | None = None, note: str | None = None
    ) -> types.Run:
        """Approves an action that waits for it. `by` and `note` say who decides, and why."""
        return self._decide(run, action, "approve", by, note)

    def reject(
        self, run: RunLike, action: str, *, by: str | None = None, note: str | None = None
    ) -> types.Run:
        """Rejects an action that waits for approval: it has failed."""
        return self._decide(run, action, "reject", by, note)

    def _decide(
        self, run: RunLike, action: str, verb: str, by: str | None, note: str | None
    ) -> types.Run:
        body = {name: text for name, text in (("by", by), ("note", note)) if text is not None}
        return cast(types.Run, self._post(f"{_run(run)}/actions/{_part(action)}/{verb}", body))

    def approvals(self, limit: int | None = None) -> Items[types.AwaitingApproval]:
        """Returns the actions that wait for approval, in the order in which they asked."""
        return self._items("/api/v1/approvals", {}, limit)

    def inputs(self, run: RunLike, limit: int | None = None) -> Items[types.Input]:
        """Returns the inputs of a run, in the order of recording."""
        return self._items(f"{_run(run)}/inputs", {}, limit)

    def lineage(self, run: RunLike, limit: int | None = None) -> Items[types.LineageEdge]:
        """Returns what a run read and wrote."""
        return self._items(f"{_run(run)}/lineage", {}, limit)

    def logs(
        self,
        run: RunLike,
        *,
        action: str | None = None,
        attempt: str | None = None,
        limit: int | None = None,
    ) -> Items[types.LogLine]:
        """Returns what a run has logged so far: all, or one action, or one attempt."""
        return self._items(f"{_run(run)}/logs", {"action": action, "attempt": attempt}, limit)

    # --- Facts ------------------------------------------------------------------------------------

    def metrics(
        self, name: str | None = None, *, run: RunLike | None = None, limit: int | None = None
    ) -> Items[types.Metric]:
        """Returns recorded metrics: all, or of one name, or of one run. A `value` is a float, also
        if it is not a finite one."""

        def read(metric: Any) -> types.Metric:
            # JSON has no numbers for these, so they come as words, which `float` reads.
            metric["value"] = float(metric["value"])
            return cast(types.Metric, metric)

        query = {"name": name, "run": None if run is None else _id(run)}
        return self._items("/api/v1/metrics", query, limit, read)

    def params(
        self, name: str | None = None, *, run: RunLike | None = None, limit: int | None = None
    ) -> Items[types.Param]:
        """Returns params that actions recorded: all, or of one name, or of one run."""
        return self._items("/api/v1/params", {"name": name, "run": None if run is None else _id(run)}, limit)

    def tags(
        self, name: str | None = None, *, run: RunLike | None = None, limit: int | None = None
    ) -> Items[types.Tag]:
        """Returns tags that actions set on runs: all, or of one name, or of one run."""
        return self._items("/api/v1/tags", {"name": name, "run": None if run is None else _id(run)}, limit)

    # --- The pipeline -----------------------------------------------------------------------------

    def pipeline(self) -> types.Pipeline:
        """Returns the pipeline: its graph, its state, and the host that runs it."""
        return cast(types.Pipeline, self._get("/api/v1/pipeline"))

    def nodes(self) -> Items[types.Node]:
        """Returns the store, the resources and the actions, with their state and their details."""
        return self._items("/api/v1/nodes", {}, None, paged=False)

    def node(self, name: str) -> types.Node:
        """Returns one resource or action."""
        return cast(types.Node, self._get(f"/api/v1/nodes/{_part(name)}"))

    def triggers(self, trigger: str | None = None, limit: int | None = None) -> Items[types.Tick]:
        """Returns evaluations of triggers, newest first: why runs started, or did not."""
        return self._items("/api/v1/triggers", {"trigger": trigger}, limit)

    def pause(
        self, *, resource: str | None = None, action: str | None = None, reason: str | None = None
    ) -> None:
        """Pauses the pipeline, or one resource or action of it."""
        body = None if reason is None else {"reason": reason}
        self._post(f"{_paused(resource, action)}/pause", body)

    def resume(self, *, resource: str | None = None, action: str | None = None) -> None:
        """Resumes what was paused."""
        self._post(f"{_paused(resource, action)}/resume")

    # --- Artifacts --------------------------------------------------------------------------------

    def artifacts(
        self,
        resource: str | None = None,
        *,
        state: str | None = None,
        path: str | None = None,
        run: RunLike | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> Items[types.Artifact]:
        """Returns artifacts, newest first. With `run`, those are the inputs of that run; what it
        has written is in its `outputs`."""
        of = None if run is None else _id(run)
        query = {"resource": resource, "state": state, "path": path, "run": of, "tag": tag}
        return self._items("/api/v1/artifacts", query, limit)

    def artifact(self, artifact: ArtifactLike) -> types.Artifact:
        """Returns one artifact."""
        return cast(types.Artifact, self._get(_artifact(artifact)))

    def upload(
        self,
        resource: str,
        path: str,
        content: str | os.PathLike[str] | bytes | IO[bytes],
        progress: Progress | None = None,
    ) -> types.Artifact:
        """Uploads an artifact to a resource with `push = true`, and returns it once it is on record.

        `content` is the name of a file, a file that is open for reading in binary mode, or the
        bytes. A file is not held in memory. The digest is checked. `progress(done, total)` is
        called as bytes are sent. The same content again makes no second version, so an upload that
        failed may be repeated.
        """
        target = self._transport.target(f"/api/v1/resources/{_part(resource)}/artifacts", {"path": path})
        return cast(types.Artifact, upload(self._transport, target, content, progress))

    def download(
        self,
        artifact: ArtifactLike,
        to: str | os.PathLike[str] = ".",
        progress: Progress | None = None,
    ) -> Path:
        """Downloads the content of an artifact into the file `to`, or into the folder `to` under
        its own name, and returns the file.

        The file is complete or not there: until then, the bytes are in a file beside it whose name
        ends in `.part`. A download that was cut off goes on from there, by itself or when it is
        called again. The digest is checked. `progress(done, total)` is called as bytes arrive.
        """
        found = self.artifact(artifact)
        place = Path(to)
        if place.is_dir():
            place = place / (found["path"].rpartition("/")[2] or "artifact")
        target = self._transport.target(f"{_artifact(found)}/content")
        download(self._transport, target, found, place, progress)
        return place

    def outputs(self, run: RunLike) -> list[types.Artifact]:
        """Returns the artifacts that a run has written."""
        return [edge["artifact"] for edge in self.lineage(run) if edge["kind"] == "wrote"]

    def read(self, artifact: ArtifactLike) -> bytes:
        """Returns the content of a small artifact."""
        return self._transport.fetch(self._transport.target(f"{_artifact(artifact)}/content"))

    # --- Models -----------------------------------------------------------------------------------

    def models(self, limit: int | None = None) -> Items[types.Model]:
        """Returns the registered models, by name."""
        return self._items("/api/v1/models", {}, limit)

    def model(self, name: str) -> types.ModelDetail:
        """Returns one model, with its card and what each alias names."""
        return cast(types.ModelDetail, self._get(_model(name)))

    def model_versions(self, name: str, limit: int | None = None) -> Items[types.ModelVersion]:
        """Returns the versions of a model, newest first."""
        return self._items(f"{_model(name)}/versions", {}, limit)

    def register(
        self, model: str, artifact: ArtifactLike, *, by: str | None = None, note: str | None = None
    ) -> types.ModelVersion:
        """Registers an artifact as the next version of a model, which is created if there is none
        of this name. An artifact is one version: registered again, it is returned as it is."""
        body = {"artifact_id": _id(artifact), "by": by, "note": note}
        return cast(types.ModelVersion, self._post(f"{_model(model)}/versions", body))

    def promote(
        self, model: str, version: int, alias: str, *, by: str | None = None, note: str | None = None
    ) -> types.AliasMove:
        """Makes an alias of a model, such as `production`, name a version."""
        body = {"alias": alias, "version": version, "by": by, "note": note}
        return cast(types.AliasMove, self._post(f"{_model(model)}/promote", body))

    def rollback(self, model: str, alias: str, *, by: str | None = None, note: str | None = None) -> types.AliasMove:
        """Makes an alias name the version again that it named before the last promotion."""
        body = {"alias": alias, "by": by, "note": note}
        return cast(types.AliasMove, self._post(f"{_model(model)}/rollback", body))

    # --- Events -----------------------------------------------------------------------------------

    def events(
        self,
        after: int | str | types.Event | None = None,
        *,
        run: RunLike | None = None,
        on_reset: OnReset | None = None,
    ) -> Iterator[types.Event]:
        """Yields events as they happen, without end: those after `after` (an event that this method
        has yielded, or a sequence number; 0 is the beginning), or from now on.

        A cut connection is restored, and no event is lost by that. If events were missed because
        the host keeps them no longer, `on_reset` is called with the reason; without one, that is an
        error. Begins when the first event is asked for.
        """
        position = f"{after['epoch']}-{after['seq']}" if isinstance(after, Mapping) else after
        query = {"run": None if run is None else _id(run)}
        target = self._transport.target("/api/v1/events", query)
        return follow(self._transport, target, None if position is None else str(position), on_reset)

    # --- Common parts -----------------------------------------------------------------------------

    def _get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        return self._transport.json("GET", path, query)

    def _post(self, path: str, body: object = None) -> Any:
        return self._transport.json("POST", path, body=body)

    def _items(
        self,
        path: str,
        query: Mapping[str, object],
        limit: int | None,
        read: Any = None,
        *,
        paged: bool = True,
    ) -> Items[Any]:
        most = _PAGE if limit is None else max(1, min(_PAGE, limit))
        page = most if paged else None

        def fetch(cursor: str | None) -> tuple[list[Any], str | None]:
            answer = self._get(path, {**query, "limit": page, "cursor": cursor})
            items = answer["items"] if read is None else [read(item) for item in answer["items"]]
            return items, answer["next_cursor"]

        return Items(fetch, limit)


def _part(text: str) -> str:
    return quote(text, safe="")


def _id(thing: int | str | Mapping[str, Any]) -> str:
    return str(thing["id"] if isinstance(thing, Mapping) else thing)


def _run(run: RunLike) -> str:
    return f"/api/v1/runs/{_part(_id(run))}"


def _artifact(artifact: ArtifactLike) -> str:
    return f"/api/v1/artifacts/{_part(_id(artifact))}"


def _model(name: str) -> str:
    return f"/api/v1/models/{_part(name)}"


def _paused(resource: str | None, action: str | None) -> str:
    if resource is not None and action is not None:
        raise ValueError("give `resource` or `action`, not both")
    if resource is not None:
        return f"/api/v1/resources/{_part(resource)}"
    return "/api/v1/pipeline" if action is None else f"/api/v1/actions/{_part(action)}"


__all__ = ["ENDED", "AnacostiaError", "ArtifactLike", "Client", "RunLike"]
