// Removes the rows from sensor readings whose value is not a finite number.

import { ActionError, lines, logMetrics, params, warn, writeTexts } from "anacostia-guest";
import { inputs } from "anacostia:pipeline/resources@0.1.0";

const HEADER = "sensor,value";
const NUMBER = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/;

export const action = {
  run() {
    const { from = "readings", to = "clean" } = params();
    const files = inputs(from);
    if (files.length === 0) return { tag: "skip", val: `no inputs in ${from}` };

    const counts = { kept: 0, dropped: 0 };
    for (const file of files) writeTexts(to, file.path, clean(file, counts));

    logMetrics({ rows_kept: counts.kept, rows_dropped: counts.dropped });
    return { tag: "done", val: `kept ${counts.kept} rows of ${files.length} files, dropped ${counts.dropped}` };
  },
};

// Yields the lines of a file that are kept.
function* clean(file, counts) {
  const rest = lines(file);
  const { value: header = "" } = rest.next();
  if (header !== HEADER) {
    throw new ActionError(`${file.path} begins with "${header}", not with "${HEADER}"`, { code: "invalid" });
  }
  yield `${HEADER}\n`;
  let number = 1;
  for (const line of rest) {
    number += 1;
    if (line === "") continue;
    const value = line.includes(",") ? line.slice(line.indexOf(",") + 1) : "";
    if (NUMBER.test(value) && Number.isFinite(Number(value))) {
      counts.kept += 1;
      yield `${line}\n`;
    } else {
      counts.dropped += 1;
      const reason = `dropped line ${number} of ${file.path}: "${value}" is not a finite number`;
      warn(reason, { path: file.path, line: number });
    }
  }
}
