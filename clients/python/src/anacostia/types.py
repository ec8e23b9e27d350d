"""The bodies of the API.

A stand-in: every name is `Any` until `generate_types.py` has made this file from the OpenAPI
document of a host that describes its bodies.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return Any
