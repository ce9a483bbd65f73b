"""Ids that are texts, a column at a time: their keys, and what hashed ones were called.

Shape suffixes: B rows, U texts that differ, N texts.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from state.arrays import Bools
from state.keys import HASHED, NO_KEY, Int64s
from state.name_table import NameTable
from state.text_keys import text_keys

pc: Any = pyarrow.compute


def keys_of(texts: Any, names: NameTable | None) -> Int64s:
    """Keys (B,) of an Arrow array of texts; NO_KEY for a null and for an empty text.

    What hashed ids were called goes to `names`, where there is one: then each text is looked at once.
    """
    if names is None or not len(texts):
        return _keys(texts)
    coded = pc.dictionary_encode(texts)
    key_U = _keys(coded.dictionary)
    hashed_U = np.flatnonzero(key_U >= HASHED)
    edge_U1, said = _laid(coded.dictionary)
    names.add(key_U[hashed_U], edge_U1[hashed_U], edge_U1[hashed_U + 1], said)
    indices = coded.indices
    if indices.null_count:
        key_U, indices = np.append(key_U, NO_KEY), pc.fill_null(indices, len(key_U))
    key_B: Int64s = key_U[indices.to_numpy(zero_copy_only=False)]
    return key_B


def longer(texts: Any, most: int) -> Bools | None:
    """Which (B,) have more characters than `most`; None where none has."""
    if np.diff(_laid(texts)[0]).max(initial=0) <= most:  # in bytes there are no fewer
        return None
    return np.asarray(pc.fill_null(pc.utf8_length(texts), 0)) > most


def _keys(texts: Any) -> Int64s:
    edge_N1, said = _laid(texts)
    key_N = text_keys(said, edge_N1)
    if texts.null_count:
        key_N[np.asarray(texts.is_null())] = NO_KEY
    return key_N


def _laid(texts: Any) -> tuple[Int64s, Any]:
    """Where texts begin and the last ends (N + 1), and the bytes in which they lie."""
    if not len(texts):
        return np.zeros(1, np.int64), b""
    _, edges, said = texts.buffers()
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    edge_N1 = np.frombuffer(edges, width)[texts.offset : texts.offset + len(texts) + 1]
    return edge_N1.astype(np.int64), said or b""
