"""Small helpers for Anacostia actions and trigger components in Python.

The module is optional: the functions of the host are in `wit_world.imports`, and the WIT documents them. The helpers exist because data is passed
in chunks, while most actions need lines, or the whole content of a small file.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Self

from componentize_py_types import Err
from wit_world.imports import log, metadata
from wit_world.imports.types import Artifact, Error

try:
    from wit_world.imports import resources
    from wit_world.imports import run_context as context
except ImportError:  # A trigger component has no access to data.
    from wit_world.imports import trigger_context as context

CHUNK_BYTES = 1 << 20
"""How much one call transfers: large enough that the overhead of the call is negligible. At most 8 MiB."""


def params() -> dict[str, Any]:
    """Return the params of this action in this run, or of this trigger component."""
    return json.loads(context.params())


def failed(message: str, code: str = "failed", retryable: bool = False) -> Err:
    """Return the exception to raise when the guest cannot do its work: `raise failed("…")`. With `retryable`, the host may try again."""
    return Err(Error(code, message, retryable))


def debug(message: str, **fields: object) -> None:
    """Log details that help to find a fault."""
    _log(log.Level.DEBUG, message, fields)


def info(message: str, **fields: object) -> None:
    """Log what is going on."""
    _log(log.Level.INFO, message, fields)


def warn(message: str, **fields: object) -> None:
    """Log something unexpected that does not stop the work."""
    _log(log.Level.WARN, message, fields)


def _log(level: log.Level, message: str, fields: dict[str, object]) -> None:
    log.log(level, message, [(name, str(value)) for name, value in fields.items()])


def log_metrics(step: int | None = None, **values: float) -> None:
    """Record metrics: `log_metrics(accuracy=0.9, loss=0.1)`."""
    metadata.log_metrics([metadata.Metric(name, float(value), step) for name, value in values.items()])


def chunks(artifact: Artifact) -> Iterator[bytes]:
    """Yield the content of an artifact, in chunks."""
    with resources.open(artifact.id) as reader:
        offset = 0
        while chunk := reader.read(offset, CHUNK_BYTES):
            yield chunk
            offset += len(chunk)


def lines(artifact: Artifact) -> Iterator[str]:
    """Yield the lines of an artifact, without line endings. The artifact may be larger than memory; a line may not."""
    rest = b""
    for chunk in chunks(artifact):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode()
    if rest:
        yield rest.removesuffix(b"\r").decode()


def read_all(artifact: Artifact) -> bytes:
    """Return the whole content of an artifact, which must fit into memory."""
    return b"".join(chunks(artifact))


def write_all(resource: str, path: str, content: bytes | str) -> Artifact:
    """Write an artifact whose content is in memory. If the path exists, the artifact becomes its next version."""
    return write_chunks(resource, path, [content])


def write_chunks(resource: str, path: str, content: Iterable[bytes | str]) -> Artifact:
    """Write an artifact piece by piece, such as line by line. If the path exists, the artifact becomes its next version."""
    with resources.create(resource, path, resources.CreateOptions(overwrite=True)) as writer:
        gathered = bytearray()
        for piece in content:
            gathered += piece.encode() if isinstance(piece, str) else piece
            while len(gathered) >= CHUNK_BYTES:
                writer.write(bytes(gathered[:CHUNK_BYTES]))
                del gathered[:CHUNK_BYTES]
        writer.write(bytes(gathered))
        return writer.finish()
