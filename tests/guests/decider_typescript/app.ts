// Fires once `least` artifacts are new. With the param `of`, it asks for those of that resource,
// and with `fails` it throws.

import { type Decider, info as log, params } from "anacostia-guest";
import { countNew, info } from "anacostia:pipeline/trigger-context@0.1.0";

export const decider: Decider = {
  decide() {
    const { trigger, resources } = info();
    const { least = 1, of, fails } = params<{ least: number; of: string; fails: string }>();
    log("asked", { trigger });
    if (fails) throw new TypeError("no idea");
    const count = (of ? [of] : resources).reduce((sum, resource) => sum + countNew(resource).count, 0n);
    if (count < least) return { tag: "skip", val: { reason: `${count} of ${least}` } };
    return { tag: "fire", val: `${count} are enough` };
  },
};
