"""From a log to what was learned of it."""
