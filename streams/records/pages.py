"""A queue as records: rows in pages by number, a page written again only when rows were added to it.

Rows are numbered from 0 for ever; a queue holds those from its first to before its end. A record begins
with the number of its first row. What lies before the queue's first row may still be in a page, and is
passed over.

Shape suffixes: P rows, F words of a row, W words.
"""

from collections.abc import Callable, Iterator

import numpy as np

from state.keys import Int64s
from streams.records.sealed import damaged, sealed, taken


class Pages:
    """Records `prefix/PAGE` of a queue of rows of `width` words, about `page_words` words a page."""

    def __init__(self, prefix: bytes, width: int, page_words: int) -> None:
        self._prefix, self._width = prefix, width
        self._rows = max(page_words // width, 1)
        self._first = self._end = 0

    def changes(
        self, first: int, end: int, rows_of: Callable[[int, int], Int64s]
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Pages that are not as they were at the last call, or None where one is gone.

        The queue now has rows `first` to before `end`; `rows_of` gives some of them, (P, F).
        """
        size = self._rows
        for page in range(self._first // size, min(first // size, -(-self._end // size))):
            yield self._key(page), None
        for page in range(max(self._end, first) // size, -(-end // size)) if end > self._end else ():
            key, start = self._key(page), max(first, page * size)
            rows_PF = rows_of(start, min(end, (page + 1) * size))
            yield key, sealed(key, np.append(start, rows_PF))
        self._first, self._end = first, end

    def gone(self) -> Iterator[tuple[bytes, None]]:
        """Every page that there may be, when the whole queue is dropped."""
        for page in range(self._first // self._rows, -(-self._end // self._rows)):
            yield self._key(page), None

    def restored(self, left: dict[bytes, bytes], first: int, end: int) -> Int64s:
        """Rows (P, F) from `first` to before `end`, their pages taken out of `left`. Raises InputError."""
        parts = [np.empty((0, self._width), np.int64)]
        for page in range(first // self._rows, -(-end // self._rows)):
            key = self._key(page)
            if first == end:
                left.pop(key, None)
                continue
            words_W = taken(left, key)
            a, b = max(first, page * self._rows), min(end, (page + 1) * self._rows)
            start = int(words_W[0]) if len(words_W) else b
            rows_PF = words_W[1 : 1 + (len(words_W) - 1) // self._width * self._width].reshape(
                -1, self._width
            )
            if start > a or start + len(rows_PF) < b:
                raise damaged(key, f"expected rows {a} to {b - 1}, got {len(rows_PF)} from {start} on")
            parts.append(rows_PF[a - start : b - start])
        self._first, self._end = first, end
        return np.concatenate(parts)

    def _key(self, page: int) -> bytes:
        return b"%b/%d" % (self._prefix, page)
