"""Every test is deterministic: Hypothesis draws the same examples each time, and no clock fails a test."""

from hypothesis import settings

settings.register_profile("ebbtide", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ebbtide")
