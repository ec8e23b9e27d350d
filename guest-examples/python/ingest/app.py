"""Removes the rows from sensor readings whose value is not a finite number."""

import math
import re
from collections.abc import Iterator

import anacostia_guest as guest
from wit_world import exports
from wit_world.imports import resources
from wit_world.imports.types import Artifact, Outcome, Outcome_Done, Outcome_Skip

HEADER = "sensor,value"
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Action(exports.Action):
    def run(self) -> Outcome:
        params = guest.params()
        source, target = params.get("from", "readings"), params.get("to", "clean")
        inputs = resources.inputs(source)
        if not inputs:
            return Outcome_Skip(f"no inputs in {source}")

        counts = Counts()
        for artifact in inputs:
            guest.write_chunks(target, artifact.path, clean(artifact, counts))

        guest.log_metrics(rows_kept=counts.kept, rows_dropped=counts.dropped)
        return Outcome_Done(f"kept {counts.kept} rows of {len(inputs)} files, dropped {counts.dropped}")


class Counts:
    kept = 0
    dropped = 0


def clean(artifact: Artifact, counts: Counts) -> Iterator[str]:
    """Yield the lines of a file that are kept."""
    lines = guest.lines(artifact)
    header = next(lines, "")
    if header != HEADER:
        raise guest.failed(f'{artifact.path} begins with "{header}", not with "{HEADER}"', code="invalid")
    yield f"{HEADER}\n"
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        _, _, value = line.partition(",")
        if NUMBER.fullmatch(value) and math.isfinite(float(value)):
            counts.kept += 1
            yield f"{line}\n"
        else:
            counts.dropped += 1
            reason = f'dropped line {number} of {artifact.path}: "{value}" is not a finite number'
            guest.warn(reason, path=artifact.path, line=number)
