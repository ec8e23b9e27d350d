// Counts the rows of each CSV file that arrived, and computes the mean of one of its columns.

import { type Action, ActionError, done, info, lines, logMetrics, params, skip, writeAll } from "anacostia-guest";
import { type Artifact, inputs } from "anacostia:pipeline/resources@0.1.0";

export const action: Action = {
  run() {
    const { column = "value" } = params<{ column: string }>();
    let [rows, total] = [0, 0];
    for (const file of inputs("readings")) {
      const numbers = values(file, column);
      const sum = numbers.reduce((all, value) => all + value, 0);
      info("summed up", { file: file.path, rows: numbers.length });
      if (numbers.length > 0) {
        const mean = (sum / numbers.length).toFixed(3);
        writeAll("summaries", `${file.path}.json`, `{"rows": ${numbers.length}, "mean": ${mean}}\n`);
      }
      rows += numbers.length;
      total += sum;
    }
    if (rows === 0) return skip("no rows");
    const mean = total / rows;
    logMetrics({ rows, mean });
    return done(`${rows} rows, mean ${mean.toFixed(3)}`);
  },
};

// The values of a column, read line by line.
function values(file: Artifact, column: string): number[] {
  const rest = lines(file);
  const header = rest.next().value ?? "";
  const place = header.split(",").findIndex((name) => name.trim() === column);
  if (place < 0) throw new ActionError(`${file.path} has no column \`${column}\``);
  const numbers: number[] = [];
  let number = 1;
  for (const line of rest) {
    number += 1;
    if (line.trim() === "") continue;
    const text = (line.split(",")[place] ?? "").trim();
    const value = text === "" ? NaN : Number(text);
    if (Number.isNaN(value)) throw new ActionError(`line ${number} of ${file.path}: \`${text}\` is not a number`);
    numbers.push(value);
  }
  return numbers;
}
