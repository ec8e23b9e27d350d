// Writes a report on sensor readings: a table with the number of values and the mean for each
// sensor.

import { type Action, ActionError, done, info, lines, params, skip, writeAll } from "anacostia-guest";
import { tagArtifact } from "anacostia:pipeline/metadata@0.1.0";
import { type Artifact, inputs } from "anacostia:pipeline/resources@0.1.0";

const HEADER = "sensor,value";
const REPORT = "report-typescript.md";

interface Sum {
  count: number;
  total: number;
}

export const action: Action = {
  run() {
    const { from = "clean", to = "reports" } = params<{ from: string; to: string }>();

    const sensors = new Map<string, Sum>();
    let values = 0;
    for (const file of inputs(from)) {
      for (const [sensor, value] of rows(file)) {
        const { count, total } = sensors.get(sensor) ?? { count: 0, total: 0 };
        sensors.set(sensor, { count: count + 1, total: total + value });
        values += 1;
      }
    }
    if (values === 0) return skip(`no values in ${from}`);

    const report = writeAll(to, REPORT, markdown(sensors));
    tagArtifact(report.id, "report", false);
    const summary = `${sensors.size} sensors, ${values} values`;
    info(`${REPORT} has ${summary}`);
    return done(summary);
  },
};

// Yields the rows of a file, one after the other, because the file may be larger than memory.
function* rows(file: Artifact): Generator<[sensor: string, value: number], void> {
  const rest = lines(file);
  const header = rest.next().value ?? "";
  if (header !== HEADER) {
    throw new ActionError(`${file.path} begins with "${header}", not with "${HEADER}"`, { code: "invalid" });
  }
  for (const line of rest) {
    if (line === "") continue;
    const comma = line.indexOf(",");
    yield [line.slice(0, comma), number(line.slice(comma + 1))];
  }
}

// `Number` returns 0 for an empty string, and NaN for text that is not a number. Here both are
// errors, which end the attempt.
function number(text: string): number {
  const value = text === "" ? NaN : Number(text);
  if (Number.isNaN(value)) throw new TypeError(`"${text}" is not a number`);
  return value;
}

function markdown(sensors: Map<string, Sum>): string {
  const table = ["# Sensors", "", "| sensor | count | mean |", "|---|---:|---:|"];
  for (const [sensor, { count, total }] of [...sensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    table.push(`| ${sensor} | ${count} | ${(total / count).toFixed(3)} |`);
  }
  return table.join("\n") + "\n";
}
