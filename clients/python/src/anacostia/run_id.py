"""Ids of new runs."""

import os
import time
import uuid


def new_run_id() -> uuid.UUID:
    """Returns a new UUID of version 7 (RFC 9562): the time in milliseconds, then random bits.

    Python has `uuid.uuid7` from 3.14 on.
    """
    millis = time.time_ns() // 1_000_000
    value = millis << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76  # the version
    value = value & ~(0x3 << 62) | 2 << 62  # the variant
    return uuid.UUID(int=value)
