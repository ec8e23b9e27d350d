"""Fires once `least` artifacts are new. With the param `of`, it asks for those of that resource, and with `fails` it raises an exception."""

import anacostia_guest as guest
from wit_world import exports
from wit_world.exports.decider import Decision, Decision_Fire, Decision_Skip, Skipped
from wit_world.imports import trigger_context


class Decider(exports.Decider):
    def decide(self) -> Decision:
        from datetime import datetime  # imported late, as an action may

        params = guest.params()
        info = trigger_context.info()
        guest.info("asked", trigger=info.trigger, year=datetime.fromisoformat(info.now).year)
        if "fails" in params:
            raise ValueError("no idea")
        resources = [params["of"]] if "of" in params else info.resources
        count = sum(trigger_context.count_new(resource).count for resource in resources)
        if count < params["least"]:
            return Decision_Skip(Skipped(f"{count} of {params['least']}", None))
        return Decision_Fire(f"{count} are enough")
