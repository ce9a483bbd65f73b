"""The copy path: candidates with evidence from the past, weighed by a mixture."""
