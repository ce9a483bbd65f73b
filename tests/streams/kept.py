"""Records as a log keeps them that is compacted by key."""

Kept = dict[bytes, bytes]


def merge(kept: Kept, changes: dict[bytes, bytes | None]) -> None:
    """What compaction leaves of both."""
    for key, value in changes.items():
        kept.pop(key, b"")
        if value is not None:
            kept[key] = value
