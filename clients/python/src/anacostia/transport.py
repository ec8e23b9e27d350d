"""Requests over HTTP, with the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from .errors import AnacostiaError

#: What a broken connection raises.
BROKEN = (OSError, http.client.HTTPException)
#: Bytes that are sent or received at once.
CHUNK = 256 << 10

#: Is told how many bytes are done, and how many there are (`None` if that is not known).
Progress = Callable[[int, "int | None"], object]


class Transport:
    """The address of a host, and how to reach it.

    Each request has a connection of its own: nothing has to be closed, and threads may share it.
    """

    def __init__(self, url: str, token: str | None, timeout: float, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"`{url}` is not the address of a host: write it as `http://127.0.0.1:8000`")
        self.url = parts._replace(query="", fragment="").geturl().rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._timeout = timeout
        self._context = context
        self._headers = {"Accept": "application/json", "User-Agent": "anacostia-python"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def connect(self, timeout: float | None = None) -> http.client.HTTPConnection:
        timeout = self._timeout if timeout is None else timeout
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def target(self, path: str, query: Mapping[str, object] | None = None) -> str:
        """Returns path and query. Values that are `None` are left out."""
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        return f"{self._base}{path}" + (f"?{urlencode(given)}" if given else "")

    def json(
        self, method: str, path: str, query: Mapping[str, object] | None = None, body: object = None
    ) -> Any:
        """Sends a request, and returns the JSON of the answer."""
        target = self.target(path, query)
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        request = f"{method} {target}"
        connection = self.connect()
        try:
            self.send(connection, method, target, headers, data)
            response = connection.getresponse()
            text = response.read()
        except BROKEN as error:
            raise self.unreachable(request, error) from error
        finally:
            connection.close()
        return self.read(request, response, text)

    def fetch(self, target: str) -> bytes:
        """Returns the body of an answer to GET."""
        request = f"GET {target}"
        connection = self.connect()
        try:
            self.send(connection, "GET", target, {"Accept": "*/*"})
            response = connection.getresponse()
            body = response.read()
        except BROKEN as error:
            raise self.unreachable(request, error) from error
        finally:
            connection.close()
        if response.status != 200:
            self.read(request, response, body)
        return body

    def send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        data: bytes | Iterable[bytes] | None = None,
    ) -> None:
        all_headers = {**self._headers, **headers}
        chunked = "Transfer-Encoding" in headers
        connection.request(method, target, data, all_headers, encode_chunked=chunked)

    def read(self, request: str, response: http.client.HTTPResponse, text: bytes) -> Any:
        """Returns the JSON of an answer, or raises the error that it is."""
        try:
            value = json.loads(text) if text else None
        except ValueError:
            value = None
        if response.status < 300 and value is not None:
            return value
        problem = value if isinstance(value, dict) else {}
        if response.status < 300:
            raise AnacostiaError(
                request, "the answer is not JSON", f"is {self.url} the address of a pipeline?", status=response.status
            )
        raise AnacostiaError.of_answer(request, response.status, response.reason, problem)

    def unreachable(self, request: str, error: BaseException) -> AnacostiaError:
        what = str(error) or type(error).__name__
        return AnacostiaError(
            request,
            "the host cannot be reached",
            f"{self.url}: {what}",
            advice="is it running? `anacostia run` starts it, and says its address",
        )
