"""The state of a join as keyed records, and of those only what has changed.

| key | value (`streams.records.sealed`) |
|---|---|
| `join` | the clock, counts, and where the queue begins and ends |
| `join/done/PAGE` | ids that have left (`streams.records.pages`) |
| `join/event/PAGE` | impressions by number of arrival: number and words of each |
| `join/waits/BLOCK` | which numbers of a block still wait: a bit each |

A page of impressions is written while those arrive that belong to it, and then no more: who leaves loses a
bit. It is gone when none of it waits.

Shape suffixes: W waiting impressions, P rows of a page, F words of an event.
"""

from collections.abc import Iterator

import numpy as np

from state.errors import InputError
from state.keys import Int64s
from streams.join.impressions import WORDS, Join
from streams.records.pages import Pages
from streams.records.sealed import damaged, sealed, taken

_JOIN, _EVENT, _WAITS = b"join", b"join/event/", b"join/waits/"


class JoinRecords:
    """What is kept of one join."""

    def __init__(self, join: Join, page_words: int) -> None:
        self._join = join
        self._done = Pages(b"join/done", 3, page_words)
        self._rows = max(page_words // (1 + WORDS), 1)
        self._block_bytes = page_words
        self._arrived = 0
        self._pages = set[int]()
        self._bits: dict[int, bytes] = {}

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """All records at first, then those that have changed since the last call; None where one is gone."""
        yield _JOIN, sealed(_JOIN, self._numbers())
        yield from self._done.changes(*self._join.span, self._join.done)
        arrival_W, slot_W = self._join.arrivals()
        pages = set(np.unique(arrival_W // self._rows).tolist())
        for page in self._pages - pages:
            yield b"%b%d" % (_EVENT, page), None
        if self._join.arrived > self._arrived:
            for page in (page for page in pages if page >= self._arrived // self._rows):
                some = slice(*np.searchsorted(arrival_W, [page * self._rows, (page + 1) * self._rows]))
                rows_PF = np.column_stack([arrival_W[some], self._join.words(slot_W[some])])
                key = b"%b%d" % (_EVENT, page)
                yield key, sealed(key, rows_PF.reshape(-1))
        bits = _bits(arrival_W, self._block_bytes)
        for block in self._bits.keys() - bits.keys():
            yield b"%b%d" % (_WAITS, block), None
        for block, those in bits.items():
            if self._bits.get(block) != those:
                key = b"%b%d" % (_WAITS, block)
                yield key, sealed(key, np.frombuffer(those, np.int64))
        self._arrived, self._pages, self._bits = self._join.arrived, pages, bits

    def restore(self, left: dict[bytes, bytes]) -> None:
        """Bring a fresh join to where `changes` was called last; its records are taken out of `left`.

        Raises InputError where a record is missing or damaged.
        """
        numbers = taken(left, _JOIN)
        if len(numbers) != len(self._numbers()):
            raise damaged(_JOIN, f"expected {len(self._numbers())} numbers, got {len(numbers)}")
        waits, first, end, *_ = numbers.tolist()
        done_D3 = self._done.restored(left, first, end)
        self._bits = dict(self._read_bits(left))
        arrival_W = _arrivals(self._bits, self._block_bytes)
        self._pages = set((arrival_W // self._rows).tolist())
        pages = [self._read_page(left, page) for page in sorted(self._pages)]
        rows_WF = np.concatenate([np.empty((0, 1 + WORDS), np.int64), *pages])
        rows_WF = rows_WF[np.isin(rows_WF[:, 0], arrival_W)]
        if len(arrival_W) != waits or not np.array_equal(rows_WF[:, 0], arrival_W):
            raise InputError(
                f"state records join/: expected {waits:,} impressions that wait, got {len(arrival_W):,} bits "
                f"and {len(rows_WF):,} impressions"
            )
        of_queue = {"left": first, "done": done_D3}
        of_events = {"arrival": arrival_W, "words": rows_WF[:, 1:]}
        self._join.load({"numbers": numbers[3:], **of_events, **of_queue})
        self._arrived = self._join.arrived

    def _numbers(self) -> Int64s:
        waits = self._join.counts.waiting
        return np.array([waits, *self._join.span, *self._join.numbers], np.int64)

    def _read_page(self, left: dict[bytes, bytes], page: int) -> Int64s:
        key = b"%b%d" % (_EVENT, page)
        words_W = taken(left, key)
        if len(words_W) % (1 + WORDS):
            raise damaged(key, f"expected {1 + WORDS} words an impression, got {len(words_W)} in all")
        return words_W.reshape(-1, 1 + WORDS)

    def _read_bits(self, left: dict[bytes, bytes]) -> Iterator[tuple[int, bytes]]:
        for key in [key for key in left if key.startswith(_WAITS)]:
            block, bits = key[len(_WAITS) :], taken(left, key).tobytes()
            if not block.isdigit() or len(bits) != self._block_bytes:
                raise damaged(key, f"expected {self._block_bytes:,} bytes of bits, got {len(bits):,}")
            yield int(block), bits


def _bits(arrival_W: Int64s, block_bytes: int) -> dict[int, bytes]:
    """A bit for each number, in blocks; none for a block without one. Numbers are sorted."""
    block_W = arrival_W // (8 * block_bytes)
    blocks, starts = np.unique(block_W, return_index=True)
    found = {}
    for block, start, end in zip(blocks.tolist(), starts, [*starts[1:], len(block_W)], strict=False):
        flags = np.zeros(8 * block_bytes, np.bool_)
        flags[arrival_W[start:end] - block * 8 * block_bytes] = True
        found[block] = np.packbits(flags, bitorder="little").tobytes()
    return found


def _arrivals(bits: dict[int, bytes], block_bytes: int) -> Int64s:
    """The inverse of `_bits`."""
    parts = [np.empty(0, np.int64)]
    for block in sorted(bits):
        flags = np.unpackbits(np.frombuffer(bits[block], np.uint8), bitorder="little")
        parts.append(np.flatnonzero(flags) + block * 8 * block_bytes)
    return np.concatenate(parts)
