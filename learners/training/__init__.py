"""Score, then learn: the loop around learners."""
