// Writes what clocks tell it, and with the param `random` what random numbers do.
import { params, writeAll } from "anacostia-guest";

export const action = {
  run() {
    const told = [Date.now(), performance.now(), new Date().toISOString(), performance.now()];
    if (params().random) told.push(Math.random(), Math.random());
    writeAll("out", "javascript", told.join("\n"));
    return { tag: "done" };
  },
};
