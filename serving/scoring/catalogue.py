"""Every item vector of a run, where each is, and what else speaks for it; kept up with what is published.

Shape suffixes: N items, B changed items, W memory entries, D width.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from serving.scoring.copy import CopyScorer
from serving.scoring.rows import IdRows, VectorRows
from state.arrays import Doubles, Floats, Int64s
from state.errors import InputError
from state.store.contract import Changes, Items
from state.store.copy_score import CopyScore
from state.store.records import single_vectors


class ServedCatalogue:
    """Items in order of their ids: so equal scores come in the same order always."""

    def __init__(self, items: Items, copy: CopyScore | None) -> None:
        self.row_of_id = IdRows(items.ids)
        self._vectors = VectorRows(items.vectors_ND)
        self._length_N: Floats | None = None
        self.weigh(copy)

    @property
    def ids(self) -> list[str]:
        return self.row_of_id.names

    @property
    def vectors_ND(self) -> Floats:
        return self._vectors.rows_ND

    def weigh(self, copy: CopyScore | None) -> None:
        """Go by this copy score, if it agrees with what it stands for."""
        self.copy = CopyScorer(copy, self.row_of_id.key_N) if copy and copy.agrees else None
        self._among_AD: Floats | None = None

    def take(self, changes: Changes) -> bool:
        """Take over what has changed; False, and nothing is taken, where vectors have got another width."""
        names, (_, vectors_BD) = changes.rows.names(), single_vectors(changes.rows)
        if not names:
            vectors_BD = self.vectors_ND[:0]
        elif not self.ids:
            self._vectors = VectorRows(np.zeros((0, vectors_BD.shape[1]), np.float32))
        if vectors_BD.shape[1] != self.width:
            return False
        self._length_N = self._among_AD = None
        row_B = np.array([self.row_of_id.get(name, -1) for name in names], np.int64)
        held_B = row_B >= 0
        self.vectors_ND[row_B[held_B]] = vectors_BD[held_B]
        leave = np.sort(self.row_of_id.rows_of(changes.gone))
        come = {names[b]: vectors_BD[b] for b in np.flatnonzero(~held_B).tolist()}
        if len(leave) or come:
            self._change(leave, come)
        return True

    def _change(self, leave: Int64s, come: Mapping[str, Floats]) -> None:
        """Rows leave, and others come, each to its place in the order of ids."""
        new = sorted(come)
        places = self.row_of_id.change(leave, new)
        self._vectors.change(leave, places, np.array([come[name] for name in new], np.float32))
        if self.copy is not None:
            self.copy.change(leave, places, self.row_of_id.key_N[places + np.arange(len(new))])

    @property
    def width(self) -> int:
        return int(self.vectors_ND.shape[1])

    def rows(self, keys: list[int]) -> Int64s:
        """The row of each key, or -1."""
        return self.row_of_id.rows_of_keys(keys)

    def of_rows(self, row_W: Int64s, width: int) -> Floats:
        """Vectors (W, D); zeros for a row of -1."""
        vectors_WD = np.zeros((len(row_W), width), np.float32)
        vectors_WD[row_W >= 0] = self._of_width(width)[row_W[row_W >= 0]]
        return vectors_WD

    def scores(self, query_D: Doubles) -> Doubles:
        """Dot products (N,) of every item with the query, in single precision as the vectors are."""
        return self.interest(query_D).of(None)

    def interest(self, query_D: Doubles) -> "Query":
        """The same, of any items."""
        return Query(self, query_D.astype(np.float32), self._of_width(len(query_D)))

    def among(self, vectors_ND: Floats) -> Floats:
        """Vectors of those that may be candidates for the interests' sake, together."""
        if self._among_AD is None:
            self._among_AD = vectors_ND[[] if self.copy is None else self.copy.among]
        return self._among_AD

    def cosines(self, vector_D: Floats) -> Doubles:
        """Cosines (N,) of every item with a vector, biases aside."""
        if self._length_N is None:
            self._length_N = np.sqrt(np.einsum("nd,nd->n", self.vectors_ND[:, :-1], self.vectors_ND[:, :-1]))
        length_N = np.maximum(self._length_N, 1e-30)
        length = max(float(np.linalg.norm(vector_D[:-1])), 1e-30)
        query_D = np.append(vector_D[:-1] / length, 0.0).astype(np.float32)
        return np.asarray(self._of_width(len(query_D)) @ query_D / length_N, np.float64)

    def _of_width(self, width: int) -> Floats:
        if self.ids and self.width != width:
            raise InputError(
                f"store: items have width {self.width}, the user {width}: two runs wrote under "
                "one name; give each its own (?run=NAME in the URL) and replay again"
            )
        return self.vectors_ND.reshape(-1, width)


class Query(NamedTuple):
    """Dot products with one query, in single precision as the vectors are."""

    catalogue: ServedCatalogue
    query_D: Floats
    vectors_ND: Floats

    def of(self, rows: Int64s | slice | None) -> Doubles:
        """Of some rows, or of all."""
        vectors_CD = self.vectors_ND if rows is None else self.vectors_ND[rows]
        return np.asarray(vectors_CD @ self.query_D, np.float64)

    def of_among(self) -> Doubles:
        """Of those that may be candidates for the interests' sake."""
        return np.asarray(self.catalogue.among(self.vectors_ND) @ self.query_D, np.float64)
