"""Records the mean, the minimum, the maximum and the number of the values in sensor readings."""

from collections.abc import Iterator

import anacostia_guest as guest
from wit_world import exports
from wit_world.imports import metadata, resources
from wit_world.imports.types import Artifact, Outcome, Outcome_Done, Outcome_Skip

HEADER = "sensor,value"


class Action(exports.Action):
    def run(self) -> Outcome:
        source = guest.params().get("from", "clean")
        inputs = resources.inputs(source)

        count, total, least, greatest = 0, 0.0, float("inf"), float("-inf")
        for artifact in inputs:
            for value in values(artifact):
                count += 1
                total += value
                least = min(least, value)
                greatest = max(greatest, value)
        if count == 0:
            return Outcome_Skip(f"no values in {source}")

        mean = total / count
        guest.log_metrics(mean=mean, min=least, max=greatest, count=count)
        metadata.log_params([metadata.Entry("language", "python")])
        guest.info(f"mean {mean:.3f} of {count} values in {len(inputs)} files")
        return Outcome_Done(f"mean {mean:.3f} of {count} values")


def values(artifact: Artifact) -> Iterator[float]:
    """Yield the values of a file, one after the other, because the file may be larger than memory."""
    lines = guest.lines(artifact)
    header = next(lines, "")
    if header != HEADER:
        raise guest.failed(f'{artifact.path} begins with "{header}", not with "{HEADER}"', code="invalid")
    for line in lines:
        if line:
            _, _, value = line.partition(",")
            yield float(value)  # An exception here ends the attempt, and becomes its error.
