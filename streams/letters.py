"""What a dead letter says of itself, in its headers; key and value are as they were."""

REASON, DETAIL = "ebbtide-reason", "ebbtide-detail"
"""A short phrase to count by, and what exactly."""
SOURCE = "ebbtide-source"
"""TOPIC/PARTITION/OFFSET, and /INDEX where it is one event of a batch."""
OMITTED = "ebbtide-omitted"
"""Bytes of a value that is too large to be kept twice; it is still at its source."""
