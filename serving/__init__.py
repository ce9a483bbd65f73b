"""What was published, as answers: over `state` alone, without numba and whatever learns."""
