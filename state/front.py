"""The front of a queue that is kept in parts, such as micro-batches that wait."""

from collections import deque
from collections.abc import Callable
from typing import TypeVar

Part = TypeVar("Part")


def front(
    parts: deque[Part], count: int, size: Callable[[Part], int], cut: Callable[[Part, int, int], Part]
) -> list[Part]:
    """Take the first `count` rows off `parts`, whose rows are no fewer; the last part taken may be cut."""
    taken: list[Part] = []
    while count:
        part = parts.popleft()
        if size(part) > count:
            parts.appendleft(cut(part, count, size(part)))
            part = cut(part, 0, count)
        count -= size(part)
        taken.append(part)
    return taken
