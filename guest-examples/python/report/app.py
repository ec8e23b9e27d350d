"""Writes a report on sensor readings: a table with the number of values and the mean for each sensor."""

from collections.abc import Iterator

import anacostia_guest as guest
from wit_world import exports
from wit_world.imports import metadata, resources
from wit_world.imports.types import Artifact, Outcome, Outcome_Done, Outcome_Skip

HEADER = "sensor,value"
REPORT = "report-python.md"


class Action(exports.Action):
    def run(self) -> Outcome:
        params = guest.params()
        source, target = params.get("from", "clean"), params.get("to", "reports")

        sensors: dict[str, tuple[int, float]] = {}
        for artifact in resources.inputs(source):
            for sensor, value in rows(artifact):
                count, total = sensors.get(sensor, (0, 0.0))
                sensors[sensor] = (count + 1, total + value)
        if not sensors:
            return Outcome_Skip(f"no values in {source}")

        report = guest.write_all(target, REPORT, markdown(sensors))
        metadata.tag_artifact(report.id, "report", unique=False)
        summary = f"{len(sensors)} sensors, {sum(count for count, _ in sensors.values())} values"
        guest.info(f"{REPORT} has {summary}")
        return Outcome_Done(summary)


def rows(artifact: Artifact) -> Iterator[tuple[str, float]]:
    """Yield the rows of a file, one after the other, because the file may be larger than memory."""
    lines = guest.lines(artifact)
    header = next(lines, "")
    if header != HEADER:
        raise guest.failed(f'{artifact.path} begins with "{header}", not with "{HEADER}"', code="invalid")
    for line in lines:
        if line:
            sensor, _, value = line.partition(",")
            yield sensor, float(value)


def markdown(sensors: dict[str, tuple[int, float]]) -> str:
    table = ["# Sensors", "", "| sensor | count | mean |", "|---|---:|---:|"]
    for sensor, (count, total) in sorted(sensors.items()):
        table.append(f"| {sensor} | {count} | {total / count:.3f} |")
    return "\n".join(table) + "\n"
