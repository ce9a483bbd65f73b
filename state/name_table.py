"""What hashed ids were called, of many at once.

Shape suffixes: N texts, K keys that are asked for, U bytes.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from state.arrays import Bytes, Int64s
from state.compiled import compiled
from state.keys import KeyMap

_DIGITS = 19
"""Of a hashed id's key, which is from 2^62 to 2^63 - 1."""
_AROUND = len('"": "", ') + _DIGITS
_QUOTE, _COLON, _COMMA, _SPACE, _BACKSLASH, _LAST, _ZERO = map(ord, '":, \\~0')


class NameTable(Mapping[int, str]):
    """Key -> text; of two texts with one key the first counts."""

    def __init__(self) -> None:
        self._rows = KeyMap()
        self._new: list[tuple[Int64s, Int64s, Int64s, Any]] = []
        self._spans_N2: Int64s = np.empty((0, 2), np.int64)
        self._said = b""

    def add(self, key_N: Int64s, start_N: Int64s, end_N: Int64s, said: Any) -> None:
        """Texts by where they lie in the bytes of `said`, in UTF-8, and their keys."""
        self._new.append((key_N, start_N, end_N, said))

    def add_text(self, key: int, text: str) -> None:
        """One more."""
        said = text.encode("utf-8", "surrogatepass")
        self.add(np.array([key]), np.zeros(1, np.int64), np.array([len(said)]), said)

    def __getitem__(self, key: int) -> str:
        self._settle()
        row = self._rows.row(key)
        if row < 0:
            raise KeyError(key)
        start, end = self._spans_N2[row].tolist()
        return self._said[start:end].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[int]:
        self._settle()
        return iter(self._rows)

    def __len__(self) -> int:
        self._settle()
        return len(self._rows)

    def as_json(self, key_K: Int64s) -> str:
        """An object of those keys that have a name, in their order, as `json.dumps` writes it."""
        self._settle()
        row_K = self._rows.rows(key_K)
        key_K, row_K = key_K[row_K >= 0], row_K[row_K >= 0]
        spans_K2 = self._spans_N2[row_K]
        out_U = np.empty(int((spans_K2[:, 1] - spans_K2[:, 0]).sum()) + _AROUND * len(key_K), np.uint8)
        size = _written(key_K, spans_K2, np.frombuffer(self._said, np.uint8), out_U)
        if size < 0:
            return json.dumps({key: self[key] for key in key_K.tolist()})
        return f"{{{out_U[:size].tobytes().decode()}}}"

    def _settle(self) -> None:
        """Take in what was added."""
        if not self._new:
            return
        new, self._new = self._new, []
        parts, texts = [(self._rows.keys[: len(self._rows)].copy(), self._spans_N2)], [self._said]
        size = len(self._said)
        for key_N, start_N, end_N, said in new:
            parts.append((key_N, np.stack([start_N, end_N], axis=1) + size))
            texts.append(said)
            size += len(said)
        key_N, spans_N2 = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._said = b"".join(texts)
        row_N = self._rows.rows(key_N, grow=True)
        self._spans_N2 = np.empty((len(self._rows), 2), np.int64)
        self._spans_N2[row_N[::-1]] = spans_N2[::-1]


@compiled
def _written(key_K: Int64s, spans_K2: Int64s, said_U: Bytes, out_U: Bytes) -> int:
    """Write the object without its braces; returns its bytes; -1 where JSON writes a character otherwise."""
    at = 0
    for k in range(len(key_K)):
        if k > 0:
            out_U[at], out_U[at + 1] = _COMMA, _SPACE
            at += 2
        out_U[at] = _QUOTE
        key = key_K[k]
        for digit in range(_DIGITS, 0, -1):
            out_U[at + digit] = _ZERO + key % 10
            key //= 10
        at += 1 + _DIGITS
        out_U[at], out_U[at + 1], out_U[at + 2], out_U[at + 3] = _QUOTE, _COLON, _SPACE, _QUOTE
        at += 4
        for u in range(spans_K2[k, 0], spans_K2[k, 1]):
            one = said_U[u]
            if one < _SPACE or one > _LAST or one in (_QUOTE, _BACKSLASH):
                return -1
            out_U[at] = one
            at += 1
        out_U[at] = _QUOTE
        at += 1
    return at
