"""What a side table says of items as numbers of one width, a modality a column: categories, texts, vectors.

A category, and a word of a text, is a direction of its own, hashed from its key: items that share words lie
near each other, with no model of language. A vector of another width (what a model outside has made of a text
or a picture) is projected. Every modality is of unit length, or zeros where the item has nothing there.

Shape suffixes: B rows asked for, N rows of the table, R rows that are new, M modalities, V width, K keys.
"""

import re
from collections.abc import Sequence

import numpy as np

from learners.tables.side_columns import Columns
from state.examples import Floats
from state.keys import Int64s, key_of, mix

WIDTH = 32
_WORD = re.compile(r"\w+")
_BITS = np.arange(WIDTH, dtype=np.uint64)


class Content:
    """Follows a table that grows, as its columns do."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        table = columns.table
        self.texts = tuple(sorted(table.texts))
        self._projections = {
            name: directions(np.arange(table.vectors[name].shape[1])) for name in columns.vectors
        }
        self._empty()

    @property
    def modalities(self) -> tuple[str, ...]:
        return (*self.columns.categories, *self.texts, *self.columns.vectors)

    def of(self, row_B: Int64s) -> Floats:
        """What is known by each row of the table, -1 for none (B, M, V)."""
        self._follow()
        padded_NMV = self._kept_NMV[: self._filled + 1]  # the row behind the last is of zeros
        return padded_NMV[np.where(row_B >= 0, row_B, self._filled)]

    def _empty(self) -> None:
        self._kept_NMV = np.zeros((1, len(self.modalities), WIDTH), np.float32)
        self._filled = 0
        self._rebuilt = self.columns.table.rebuilt

    def _follow(self) -> None:
        if self._rebuilt != self.columns.table.rebuilt:
            self._empty()
        first, size = self._filled, len(self.columns.start_NC1)
        if first == size:
            return
        if size >= len(self._kept_NMV):
            grown_NMV = np.zeros((max(size + 1, 2 * first), *self._kept_NMV.shape[1:]), np.float32)
            grown_NMV[:first] = self._kept_NMV[:first]
            self._kept_NMV = grown_NMV
        made = [self._category(c, first, size) for c in range(len(self.columns.categories))]
        made += [_words(self.columns.table.texts[name][first:size]) for name in self.texts]
        made += [
            self.columns.table.vectors[name][first:size] @ projection
            for name, projection in self._projections.items()
        ]
        for m, value_RV in enumerate(made):
            length_R1 = np.linalg.norm(value_RV, axis=1, keepdims=True)
            self._kept_NMV[first:size, m] = value_RV / np.where(length_R1 > 0.0, length_R1, 1.0)
        self._filled = size

    def _category(self, column: int, first: int, size: int) -> Floats:
        """Sums of the directions of a column's keys in new rows (R, V)."""
        start_R1 = self.columns.start_NC1[first:size, column]
        count_R = self.columns.start_NC1[first:size, column + 1] - start_R1
        row_K = np.repeat(np.arange(size - first), count_R)
        before_R = np.cumsum(count_R) - count_R
        key_K = self.columns.keys[np.repeat(start_R1 - before_R, count_R) + np.arange(len(row_K))]
        return _summed(row_K, key_K, size - first)


def directions(key_K: Int64s) -> Floats:
    """A direction for each key, of unit length, nearly at right angles to any other (K, V)."""
    bits_K = np.array([mix(key) for key in key_K.tolist()], np.int64).astype(np.uint64)
    sign_KV = ((bits_K[:, None] >> _BITS) & np.uint64(1)).astype(np.float32)
    return np.asarray((2.0 * sign_KV - 1.0) / np.sqrt(WIDTH), np.float32)


def _words(text_R: Sequence[str | None]) -> Floats:
    """Sums of the directions of each text's words (R, V)."""
    words_R = [_WORD.findall(text.lower()) if text else [] for text in text_R]
    row_K = np.repeat(np.arange(len(words_R)), list(map(len, words_R)))
    key_K = np.array([key_of(word) for words in words_R for word in words], np.int64)
    return _summed(row_K, key_K, len(words_R))


def _summed(row_K: Int64s, key_K: Int64s, size: int) -> Floats:
    distinct_U, at_K = np.unique(key_K, return_inverse=True)
    sum_RV = np.zeros((size, WIDTH), np.float32)
    np.add.at(sum_RV, row_K, directions(distinct_U)[at_K])
    return sum_RV
