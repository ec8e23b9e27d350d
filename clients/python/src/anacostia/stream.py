"""The event stream."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from . import types
from .errors import AnacostiaError
from .transport import BROKEN, Transport

#: Is told why events were missed, and which event is the newest now.
OnReset = Callable[[types.Reset], object]

#: The host sends something at least every 15 seconds, so a connection that is silent for longer is
#: broken.
_SILENCE = 40.0
#: Pauses between tries to connect again, in seconds; the last one is repeated.
_PAUSES = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)


def follow(
    transport: Transport, target: str, after: str | None, on_reset: OnReset | None
) -> Iterator[types.Event]:
    """Yields events from a path of the host on, over as many connections as it takes."""
    failures = 0
    while True:
        try:
            for name, position, data in _messages(transport, target, after):
                failures = 0
                after = position or after
                if name == "reset":
                    _reset(f"GET {target}", cast(types.Reset, data), on_reset)
                elif data is not None:
                    yield cast(types.Event, data)
        except BROKEN as error:
            # Without a position, events that come before the next connection would be lost.
            if after is None:
                raise transport.unreachable(f"GET {target}", error) from error
        except AnacostiaError as error:
            # The host may be starting, or have no place for another client at the moment.
            if error.status != 503 or after is None:
                raise
        time.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
        failures += 1


def _reset(request: str, data: types.Reset, on_reset: OnReset | None) -> None:
    if on_reset is None:
        detail = f"{data['reason']}; the newest event is {data['newest']}"
        advice = "fetch again what you need, then go on with `after`; or give `on_reset`"
        raise AnacostiaError(request, "events were missed", detail, kind="reset", advice=advice)
    on_reset(data)


def _messages(
    transport: Transport, target: str, after: str | None
) -> Iterator[tuple[str, str | None, Any]]:
    """Yields the messages of one connection: name, id and data."""
    headers = {"Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = after
    connection = transport.connect(_SILENCE)
    try:
        transport.send(connection, "GET", target, headers)
        response = connection.getresponse()
        if response.status != 200:
            transport.read(f"GET {target}", response, response.read())
        yield from parse(response)
    finally:
        connection.close()


def parse(lines: Iterable[bytes]) -> Iterator[tuple[str, str | None, Any]]:
    """Yields the messages of a stream of server-sent events: name, id and data. A message that the
    end of the stream cuts off does not count."""
    name = "message"
    position: str | None = None
    data: list[str] = []
    for line in lines:
        text = line.decode().rstrip("\r\n")
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            if data or position is not None:
                yield name, position, json.loads("\n".join(data)) if data else None
            name, position, data = "message", None, []
        elif field == "event":
            name = value
        elif field == "id":
            position = value
        elif field == "data":
            data.append(value)
