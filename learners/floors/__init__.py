"""Simple counters that every learner must beat."""
