"""Counts the rows of each CSV file that arrived, and computes the mean of one of its columns."""

import json

import anacostia_guest as guest
from wit_world import exports
from wit_world.imports import resources
from wit_world.imports.types import Artifact, Outcome, Outcome_Done, Outcome_Skip


class Action(exports.Action):
    def run(self) -> Outcome:
        column = guest.params().get("column", "value")
        rows, total = 0, 0.0
        for file in resources.inputs("readings"):
            numbers = values(file, column)
            guest.info("summed up", file=file.path, rows=len(numbers))
            if numbers:
                summary = {"rows": len(numbers), "mean": round(sum(numbers) / len(numbers), 3)}
                guest.write_all("summaries", f"{file.path}.json", json.dumps(summary) + "\n")
            rows += len(numbers)
            total += sum(numbers)
        if rows == 0:
            return Outcome_Skip("no rows")
        mean = total / rows
        guest.log_metrics(rows=rows, mean=mean)
        return Outcome_Done(f"{rows} rows, mean {mean:.3f}")


def values(file: Artifact, column: str) -> list[float]:
    """The values of a column, read line by line."""
    lines = guest.lines(file)
    names = [name.strip() for name in next(lines, "").split(",")]
    if column not in names:
        raise guest.failed(f"{file.path} has no column `{column}`")
    place = names.index(column)
    numbers = []
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        fields = line.split(",")
        text = fields[place].strip() if place < len(fields) else ""
        try:
            numbers.append(float(text))
        except ValueError:
            raise guest.failed(f"line {number} of {file.path}: `{text}` is not a number") from None
    return numbers
