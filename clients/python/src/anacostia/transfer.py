"""Uploads and downloads, in pieces."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from .errors import AnacostiaError
from .transport import BROKEN, CHUNK, Progress, Transport

#: How often a download goes on that brought nothing new since it was cut off.
_TRIES = 3


def upload(
    transport: Transport,
    target: str,
    content: str | os.PathLike[str] | bytes | IO[bytes],
    progress: Progress | None,
) -> Any:
    """Uploads to a path of the host, and returns the artifact."""
    if isinstance(content, (str, os.PathLike)):
        opened: Any = open(content, "rb")
    elif isinstance(content, (bytes, bytearray, memoryview)):
        opened = BytesIO(content)
    else:
        # The caller closes it.
        opened = nullcontext(content)
    with opened as file:
        return _send(transport, target, file, progress)


def _send(transport: Transport, target: str, file: IO[bytes], progress: Progress | None) -> Any:
    headers = {"Content-Type": "application/octet-stream"}
    total: int | None = None
    if file.seekable():
        # The digest goes first, so that the host refuses what arrives damaged.
        begin = file.tell()
        digest = hashlib.sha256()
        while piece := file.read(CHUNK):
            digest.update(piece)
        total = file.tell() - begin
        file.seek(begin)
        headers["Content-Length"] = str(total)
        headers["Content-Digest"] = f"sha-256=:{b64encode(digest.digest()).decode()}:"
    else:
        headers["Transfer-Encoding"] = "chunked"
    sent = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        done = 0
        while piece := file.read(CHUNK):
            sent.update(piece)
            yield piece
            done += len(piece)
            if progress is not None:
                progress(done, total)

    request = f"POST {target}"
    connection = transport.connect()
    try:
        try:
            transport.send(connection, "POST", target, headers, pieces())
        except (BrokenPipeError, ConnectionResetError):
            # The host may have refused the upload before it had all of it. Its answer says why.
            if connection.sock is None:
                raise
        response = connection.getresponse()
        artifact = transport.read(request, response, response.read())
    except BROKEN as error:
        raise transport.unreachable(request, error) from error
    finally:
        connection.close()
    _check(request, f"sha256:{sent.hexdigest()}", artifact["digest"], "what was sent")
    return artifact


def download(
    transport: Transport,
    target: str,
    artifact: Mapping[str, Any],
    place: Path,
    progress: Progress | None,
) -> None:
    """Downloads an artifact into a file that is complete or not there."""
    part = place.with_name(f".{place.name}.{artifact['id']}.part")
    request = f"GET {target}"
    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(transport, target, part, artifact, progress)
            break
        except BROKEN as error:
            after = part.stat().st_size if part.exists() else 0
            tries = 0 if after > before else tries + 1
            if tries >= _TRIES:
                raise transport.unreachable(request, error) from error
    size = part.stat().st_size
    digest = hashlib.sha256()
    with open(part, "rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    try:
        if artifact["digest"] is not None:
            _check(request, f"sha256:{digest.hexdigest()}", artifact["digest"], "what arrived")
        elif size != artifact["size"]:
            _check(request, f"{size} bytes", f"{artifact['size']} bytes", "what arrived")
    except AnacostiaError:
        part.unlink()
        raise
    os.replace(part, place)


def _receive(
    transport: Transport,
    target: str,
    part: Path,
    artifact: Mapping[str, Any],
    progress: Progress | None,
) -> None:
    have = part.stat().st_size if part.exists() else 0
    total = artifact["size"]
    headers = {"Accept": "application/octet-stream"}
    if 0 < have < total:
        headers["Range"] = f"bytes={have}-"
        headers["If-Range"] = f'"{artifact["digest"] or artifact["id"]}"'
    elif 0 < have == total:
        return
    connection = transport.connect()
    try:
        transport.send(connection, "GET", target, headers)
        response = connection.getresponse()
        if response.status not in (200, 206):
            transport.read(f"GET {target}", response, response.read())
        goes_on = response.status == 206
        done = have if goes_on else 0
        # What arrives is kept at once, so that another process can go on.
        with open(part, "ab" if goes_on else "wb", buffering=0) as file:
            while piece := response.read(CHUNK):
                file.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, total)
        if done < total:
            raise ConnectionResetError(f"the connection was closed after {done} of {total} bytes")
    finally:
        connection.close()


def _check(request: str, found: str, wanted: str | None, what: str) -> None:
    if found != wanted:
        raise AnacostiaError(
            request, "the content is damaged", f"{what} is {found}, and the record says {wanted}", advice="try again"
        )
