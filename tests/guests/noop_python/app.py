"""Does nothing: what a run takes is what Python costs."""

from wit_world import exports
from wit_world.imports.types import Outcome, Outcome_Done


class Action(exports.Action):
    def run(self) -> Outcome:
        return Outcome_Done(None)
