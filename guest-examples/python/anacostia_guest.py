"""Small helpers for Anacostia actions in Python.

Nothing here is needed: the functions of the host are in `wit_world.imports`, and `wit/pipeline.wit` describes them. It is here because data moves in
chunks, and most actions want lines, or all of a small file.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Self

from componentize_py_types import Err
from wit_world.imports import log, metadata, resources, run_context
from wit_world.imports.types import Artifact, Error

CHUNK_BYTES = 1 << 20
"""How much is moved at once: large enough that the calls cost nothing beside the bytes. At most 8 MiB."""


def params() -> dict[str, Any]:
    """The params of this action in this run."""
    return json.loads(run_context.params())


def failed(message: str, code: str = "failed", retryable: bool = False) -> Err:
    """What to raise when the action cannot do its work: `raise failed("…")`. With `retryable`, the host may try again."""
    return Err(Error(code, message, retryable))


def debug(message: str, **fields: object) -> None:
    """A line for whoever looks for a fault."""
    _log(log.Level.DEBUG, message, fields)


def info(message: str, **fields: object) -> None:
    """A line that says what is going on."""
    _log(log.Level.INFO, message, fields)


def warn(message: str, **fields: object) -> None:
    """A line about something that is odd, and does not stop the work."""
    _log(log.Level.WARN, message, fields)


def _log(level: log.Level, message: str, fields: dict[str, object]) -> None:
    log.log(level, message, [(name, str(value)) for name, value in fields.items()])


def log_metrics(step: int | None = None, **values: float) -> None:
    """Record metrics: `log_metrics(accuracy=0.9, loss=0.1)`."""
    metadata.log_metrics([metadata.Metric(name, float(value), step) for name, value in values.items()])


def chunks(artifact: Artifact) -> Iterator[bytes]:
    """The content of an artifact, in chunks."""
    with resources.open(artifact.id) as reader:
        offset = 0
        while chunk := reader.read(offset, CHUNK_BYTES):
            yield chunk
            offset += len(chunk)


def lines(artifact: Artifact) -> Iterator[str]:
    """The lines of an artifact, without what ends them. The artifact may be larger than memory; a line may not."""
    rest = b""
    for chunk in chunks(artifact):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode()
    if rest:
        yield rest.removesuffix(b"\r").decode()


def read_all(artifact: Artifact) -> bytes:
    """The whole content of an artifact that is known to be small."""
    return b"".join(chunks(artifact))


def write_all(resource: str, path: str, content: bytes | str) -> Artifact:
    """Write an artifact whose content is in memory. A path that exists gets its next version."""
    return write_chunks(resource, path, [content])


def write_chunks(resource: str, path: str, content: Iterable[bytes | str]) -> Artifact:
    """Write an artifact piece by piece, such as line by line. A path that exists gets its next version."""
    with resources.create(resource, path, resources.CreateOptions(overwrite=True)) as writer:
        gathered = bytearray()
        for piece in content:
            gathered += piece.encode() if isinstance(piece, str) else piece
            while len(gathered) >= CHUNK_BYTES:
                writer.write(bytes(gathered[:CHUNK_BYTES]))
                del gathered[:CHUNK_BYTES]
        writer.write(bytes(gathered))
        return writer.finish()
