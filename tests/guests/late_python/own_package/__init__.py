"""A package of the action, with data."""
