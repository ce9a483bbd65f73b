"""The cells of a side table's columns as what learners take, in the order of its rows.

Shape suffixes: N rows, V numbers of a vector.
"""

from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from replay.reading.arrow import Column, pc
from replay.reading.cells import Ids, numbers, texts
from state.arrays import Floats
from state.examples import Doubles
from state.keys import NO_KEY, Int64s, Names
from state.side import Categories

LARGEST, LARGEST_VALUE = 2.0**63, 1e15
"""Of numbers, whose squares learners take, and of those in vectors, whose 32-bit squares they add up."""
_SHOWN = 3


def numbers_of(column: Column, order: Int64s, where: str, notes: list[str]) -> Doubles:
    if pa.types.is_temporal(column.type):
        column = pc.cast(column, pa.int64())
    cells = numbers(column)
    absurd_N = cells.bad_B | (np.abs(cells.value_B) > LARGEST)
    if absurd_N.any():
        shown = dict.fromkeys(map(repr, column.filter(pa.array(absurd_N)).to_pylist()))
        notes.append(
            f"{where}: {int(absurd_N.sum()):,} of {len(column):,} cells are no numbers of use"
            f" ({', '.join(list(shown)[:_SHOWN])}): missing"
        )
    return np.where(absurd_N, np.nan, cells.value_B)[order]


def texts_of(column: Column, order: Int64s) -> list[str]:
    uniques, index_N = texts(column)
    padded = [*uniques, ""]
    return [padded[i] for i in index_N[order].tolist()]


def vectors_of(column: Column, order: Int64s, width: int, where: str, notes: list[str]) -> Floats:
    """Lists of numbers (N, `width`); zeros for one of another length, or with a cell that is no number."""
    length_N = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    of_N = np.repeat(np.arange(len(column)), length_N)
    value_V = numbers(pc.list_flatten(column)).value_B
    sound_N = length_N == width
    sound_N[of_N[~(np.abs(value_V) <= LARGEST_VALUE)]] = False
    if (length_N > 0).sum() > sound_N.sum():
        notes.append(
            f"{where}: {int((length_N > 0).sum() - sound_N.sum()):,} of {len(column):,} cells are no vectors"
            f" of {width} numbers: missing"
        )
    vector_NV = np.zeros((len(column), width), np.float32)
    vector_NV[sound_N] = value_V[sound_N[of_N]].reshape(-1, width)
    return vector_NV[order]


def categories_of(column: Column, order: Int64s, names: Names, separator: str) -> Categories:
    if pa.types.is_list(column.type):
        cells: list[list[Any]] = [cell or [] for cell in column.to_pylist()]
        index_N = np.arange(len(cells))
    else:
        uniques, index_N = texts(column)
        cells = [*(text.split(separator) if separator else [text] for text in uniques), []]
    parts = [part and part.strip() for cell in cells for part in cell]
    keys = iter(Ids(names).keys(pa.array(parts, pa.string())).tolist())
    of_cell = [list(dict.fromkeys(key for key in islice(keys, len(cell)) if key != NO_KEY)) for cell in cells]
    flat = [of_cell[i] for i in index_N[order].tolist()]
    return Categories.of(flat)
