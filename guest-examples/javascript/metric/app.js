// Records the mean, the minimum, the maximum and the number of the values in sensor readings.

import { ActionError, info, lines, logMetrics, params } from "anacostia-guest";
import { logParams } from "anacostia:pipeline/metadata@0.1.0";
import { inputs } from "anacostia:pipeline/resources@0.1.0";

const HEADER = "sensor,value";

export const action = {
  run() {
    const { from = "clean" } = params();
    const files = inputs(from);

    let [count, total, least, greatest] = [0, 0, Infinity, -Infinity];
    for (const file of files) {
      for (const value of values(file)) {
        count += 1;
        total += value;
        least = Math.min(least, value);
        greatest = Math.max(greatest, value);
      }
    }
    if (count === 0) return { tag: "skip", val: `no values in ${from}` };

    const mean = total / count;
    logMetrics({ mean, min: least, max: greatest, count });
    logParams([{ name: "language", value: "javascript" }]);
    info(`mean ${mean.toFixed(3)} of ${count} values in ${files.length} files`);
    return { tag: "done", val: `mean ${mean.toFixed(3)} of ${count} values` };
  },
};

// Yields the values of a file, one after the other, because the file may be larger than memory.
function* values(file) {
  const rest = lines(file);
  const { value: header = "" } = rest.next();
  if (header !== HEADER) {
    throw new ActionError(`${file.path} begins with "${header}", not with "${HEADER}"`, { code: "invalid" });
  }
  for (const line of rest) {
    if (line !== "") yield number(line.slice(line.indexOf(",") + 1));
  }
}

// `Number` returns 0 for an empty string, and NaN for text that is not a number. Here both are
// errors, which end the attempt.
function number(text) {
  const value = text === "" ? NaN : Number(text);
  if (Number.isNaN(value)) throw new TypeError(`"${text}" is not a number`);
  return value;
}
