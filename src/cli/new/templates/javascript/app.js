// Counts the rows of each CSV file that arrived, and computes the mean of one of its columns.

import { ActionError, info, lines, logMetrics, params, writeAll } from "anacostia-guest";
import { inputs } from "anacostia:pipeline/resources@0.1.0";

export const action = {
  run() {
    const { column = "value" } = params();
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
    if (rows === 0) return { tag: "skip", val: "no rows" };
    const mean = total / rows;
    logMetrics({ rows, mean });
    return { tag: "done", val: `${rows} rows, mean ${mean.toFixed(3)}` };
  },
};

// The values of a column, read line by line.
function values(file, column) {
  const rest = lines(file);
  const { value: header = "" } = rest.next();
  const place = header.split(",").findIndex((name) => name.trim() === column);
  if (place < 0) throw new ActionError(`${file.path} has no column \`${column}\``);
  const numbers = [];
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
