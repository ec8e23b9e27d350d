"""Writes what clocks tell it, and with the param `random` what random numbers do."""

import random
import time

import anacostia_guest as guest
from wit_world import exports
from wit_world.imports.types import Outcome, Outcome_Done


class Action(exports.Action):
    def run(self) -> Outcome:
        told = [clock() for clock in (time.time_ns, time.monotonic_ns, time.perf_counter_ns) for _ in range(2)]
        if guest.params().get("random"):
            told += [random.random(), random.sample(range(1000), 5)]
        guest.write_all("out", "python", "\n".join(map(str, told)))
        return Outcome_Done(None)
