"""A module of the action that nothing imports while the action is built."""

ANSWER = 42
