"""Which files make a log, and how it is opened."""
